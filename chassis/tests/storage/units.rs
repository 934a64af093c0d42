//! Single reads and writes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chassis::db::{DbOptions, Engine};
use chassis::testing::TestDatabase;
use chassis::{Db, Fault, Outcome, on, row, while_doing};
use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use super::{insert_note, notes, opened};

#[derive(Debug, PartialEq)]
struct Note {
    id: String,
    body: String,
    pinned: bool,
}

row!(Note { id, body, pinned });

#[tokio::test]
async fn what_a_unit_wrote_is_read_back() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let answer = db
            .write(|tx| {
                Box::pin(async move {
                    insert_note(tx, "a").await?;
                    Ok(17)
                })
            })
            .await;
        assert_eq!(answer.unwrap(), 17);
        let note: Option<Note> = db
            .read(|tx| {
                Box::pin(async move {
                    on!(tx, conn => sqlx::query_as("SELECT * FROM note WHERE id = $1 AND pinned = $2")
                        .bind("a")
                        .bind(true)
                        .fetch_optional(conn)
                        .await)
                    .map_err(while_doing("find note"))
                })
            })
            .await
            .unwrap();
        assert_eq!(note, Some(Note { id: "a".into(), body: "text".into(), pinned: true }));
        assert_eq!(db.engine(), database.engine());
    }
}

#[tokio::test]
async fn a_read_cannot_write() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let refused = db.read(|tx| Box::pin(insert_note(tx, "a"))).await;
        assert!(!refused.unwrap_err().is_retryable());
        assert!(notes(&db).await.is_empty());
    }
}

#[tokio::test]
async fn a_read_sees_one_state_of_the_database() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let other = db.clone();
        let (before, after) = db
            .read(move |tx| {
                Box::pin(async move {
                    const COUNT: &str = "SELECT COUNT(*) FROM note";
                    let counting = while_doing("count notes");
                    let before: (i64,) = on!(&mut *tx, conn => sqlx::query_as(COUNT).fetch_one(conn).await)
                        .map_err(&counting)?;
                    other.write(|tx| Box::pin(insert_note(tx, "a"))).await?;
                    let after: (i64,) =
                        on!(tx, conn => sqlx::query_as(COUNT).fetch_one(conn).await).map_err(counting)?;
                    Ok((before.0, after.0))
                })
            })
            .await
            .unwrap();
        assert_eq!((before, after), (0, 0), "{:?}", database.engine());
        assert_eq!(notes(&db).await, ["a"]);
    }
}

#[tokio::test]
async fn a_fault_leaves_nothing_and_reaches_the_caller() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let failed: Result<(), Fault> = db
            .write(|tx| {
                Box::pin(async move {
                    insert_note(tx, "a").await?;
                    insert_note(tx, "a").await
                })
            })
            .await;
        let fault = failed.unwrap_err();
        assert!(fault.to_string().starts_with("insert note: "), "{fault}");
        assert!(!fault.is_retryable());
        assert!(notes(&db).await.is_empty());
    }
}

#[tokio::test]
async fn an_undo_answers_and_leaves_nothing() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        for (id, keep) in [("a", true), ("b", false)] {
            let answer = db
                .write_or_undo(move |tx| {
                    Box::pin(async move {
                        insert_note(tx, id).await?;
                        Ok(if keep { Outcome::Commit(id) } else { Outcome::Undo(id) })
                    })
                })
                .await;
            assert_eq!(answer.unwrap(), id);
        }
        assert_eq!(notes(&db).await, ["a"]);
    }
}

#[tokio::test]
async fn a_panic_in_a_unit_is_a_fault_and_the_next_unit_runs() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let panicked: Result<(), Fault> = db
            .write(|tx| {
                Box::pin(async move {
                    insert_note(tx, "a").await?;
                    panic!("a mistake in a rule");
                })
            })
            .await;
        assert!(!panicked.unwrap_err().is_retryable());
        db.write(|tx| Box::pin(insert_note(tx, "b"))).await.unwrap();
        assert_eq!(notes(&db).await, ["b"]);
    }
}

#[tokio::test]
async fn a_unit_over_its_limit_is_a_retryable_fault() {
    for database in TestDatabase::both().await {
        opened(&database).await.close().await;
        let options = DbOptions { unit_limit: Duration::from_millis(50), ..DbOptions::default() };
        let db = Db::open(database.url(), &options).await.unwrap();
        let slow: Result<(), Fault> = db
            .write(|tx| {
                Box::pin(async move {
                    insert_note(tx, "a").await?;
                    sleep(Duration::from_secs(5)).await;
                    Ok(())
                })
            })
            .await;
        assert!(slow.unwrap_err().is_retryable());
        db.write(|tx| Box::pin(insert_note(tx, "b"))).await.unwrap();
        assert_eq!(notes(&db).await, ["b"]);
    }
}

#[tokio::test]
async fn a_unit_that_began_is_finished_though_its_caller_left() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let began = Arc::new(Notify::new());
        let told = Arc::clone(&began);
        let unit = db.write(move |tx| {
            let told = Arc::clone(&told);
            Box::pin(async move {
                told.notify_one();
                sleep(Duration::from_millis(100)).await;
                insert_note(tx, "a").await
            })
        });
        tokio::select! {
            _ = unit => panic!("it takes longer than its caller waits"),
            () = began.notified() => {}
        }
        let mut found = Vec::new();
        for _ in 0..50 {
            sleep(Duration::from_millis(20)).await;
            found = notes(&db).await;
            if !found.is_empty() {
                break;
            }
        }
        assert_eq!(found, ["a"], "{:?}", database.engine());
    }
}

#[tokio::test]
async fn a_closed_database_refuses_and_has_served_what_waited() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let ids: Vec<String> = (0..20).map(|n| format!("n{n:02}")).collect();
        let writes = ids.clone().into_iter().map(|id| {
            let db = db.clone();
            tokio::spawn(async move {
                db.write(move |tx| {
                    let id = id.clone();
                    Box::pin(async move {
                        sleep(Duration::from_millis(10)).await;
                        insert_note(tx, &id).await
                    })
                })
                .await
            })
        });
        let writes: Vec<_> = writes.collect();
        sleep(Duration::from_millis(5)).await; // they are queued, and the first has begun
        db.close().await;
        assert!(join_all(writes).await.into_iter().all(|written| written.unwrap().is_ok()));
        let refused = db.write(|tx| Box::pin(insert_note(tx, "late"))).await;
        assert!(refused.unwrap_err().is_retryable());
        let again = database.open().await;
        assert_eq!(notes(&again).await, ids);
    }
}

#[tokio::test]
async fn statements_are_counted() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let before = db.statements();
        db.write(|tx| {
            Box::pin(async move {
                insert_note(tx, "a").await?;
                insert_note(tx, "b").await
            })
        })
        .await
        .unwrap();
        assert_eq!(db.statements() - before, 2, "{:?}", database.engine());
    }
}

/// Two units that lock two rows in opposite order: `PostgreSQL` ends one of them with 40P01, and it runs again.
#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_met_a_deadlock_runs_again() {
    let database = TestDatabase::postgres().await;
    opened(&database).await.close().await;
    // The server looks for deadlocks after a second; the unit must outlast that.
    let options = DbOptions { unit_limit: Duration::from_secs(5), ..DbOptions::default() };
    let db = Db::open(database.url(), &options).await.unwrap();
    for id in ["a", "b"] {
        db.write(move |tx| Box::pin(insert_note(tx, id))).await.unwrap();
    }
    let runs = Arc::new(AtomicU32::new(0));
    let racers = [["a", "b"], ["b", "a"]].map(|order| {
        let (db, runs) = (db.clone(), Arc::clone(&runs));
        tokio::spawn(async move {
            db.write(move |tx| {
                runs.fetch_add(1, Ordering::Relaxed);
                Box::pin(async move {
                    for id in order {
                        on!(&mut *tx, conn => sqlx::query("UPDATE note SET body = body WHERE id = $1")
                            .bind(id)
                            .execute(conn)
                            .await
                            .map(drop))
                        .map_err(while_doing("touch note"))?;
                        sleep(Duration::from_millis(50)).await;
                    }
                    Ok(())
                })
            })
            .await
        })
    });
    for racer in racers {
        let ending = timeout(Duration::from_secs(10), racer).await.unwrap().unwrap();
        assert!(ending.is_ok(), "{ending:?}");
    }
    assert!(runs.load(Ordering::Relaxed) >= 3, "one of the two ran again");
    assert_eq!(db.engine(), Engine::Postgres);
}

#[tokio::test]
async fn a_read_whose_caller_leaves_at_any_point_spoils_no_connection() {
    for database in TestDatabase::both().await {
        let options = DbOptions { connections: 1, readers: 1, ..DbOptions::default() };
        let db = Db::open(database.url(), &options).await.unwrap();
        db.migrate("chassis", chassis::MIGRATIONS).await.unwrap();
        for polls in 0..8 {
            let mut reading = Box::pin(db.read(|tx| {
                Box::pin(async move {
                    on!(tx, conn => sqlx::query("SELECT 1").execute(conn).await.map(drop))
                        .map_err(while_doing("read"))
                })
            }));
            for _ in 0..polls {
                if futures_util::poll!(reading.as_mut()).is_ready() {
                    break;
                }
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            drop(reading);
            let written = db.write(|tx| {
                Box::pin(async move {
                    let delete = "DELETE FROM lease WHERE name = 'nobody'";
                    on!(tx, conn => sqlx::query(delete).execute(conn).await.map(drop))
                        .map_err(while_doing("write"))
                })
            });
            written.await.unwrap_or_else(|fault| panic!("after {polls} polls: {fault}"));
        }
    }
}
