//! What units that run at the same time do to each other. On SQLite they share one commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chassis::db::{DbOptions, Engine};
use chassis::testing::TestDatabase;
use chassis::{Db, Fault, Outcome, on, while_doing};
use futures_util::future::join_all;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::{insert_note, notes, opened};

/// Starts a unit that holds the SQLite writer until it is told to go on, so that the units behind it gather.
async fn hold_the_writer(db: &Db) -> (Arc<Notify>, JoinHandle<Result<(), Fault>>) {
    let (began, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (db, told, released) = (db.clone(), Arc::clone(&began), Arc::clone(&go));
    let holding = tokio::spawn(async move {
        db.write(move |_tx| {
            let (told, released) = (Arc::clone(&told), Arc::clone(&released));
            Box::pin(async move {
                told.notify_one();
                released.notified().await;
                Ok(())
            })
        })
        .await
    });
    began.notified().await;
    (go, holding)
}

fn spawn_insert(db: &Db, id: String) -> JoinHandle<Result<(), Fault>> {
    let db = db.clone();
    tokio::spawn(async move {
        db.write(move |tx| {
            let id = id.clone();
            Box::pin(async move { insert_note(tx, &id).await })
        })
        .await
    })
}

/// Lets the spawned tasks reach the queue.
async fn gather() {
    sleep(Duration::from_millis(50)).await;
}

#[tokio::test]
async fn a_faulty_unit_fails_alone() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        insert_first(&db, "n07").await;
        let (go, holding) = hold_the_writer(&db).await;
        let units: Vec<_> = (0..20).map(|n| spawn_insert(&db, format!("n{n:02}"))).collect();
        gather().await;
        go.notify_one();
        holding.await.unwrap().unwrap();
        let endings: Vec<bool> =
            join_all(units).await.into_iter().map(|ended| ended.unwrap().is_ok()).collect();
        let expected: Vec<bool> = (0..20).map(|n| n != 7).collect();
        assert_eq!(endings, expected, "{:?}", database.engine());
        assert_eq!(notes(&db).await.len(), 20);
    }
}

async fn insert_first(db: &Db, id: &'static str) {
    db.write(move |tx| Box::pin(insert_note(tx, id))).await.unwrap();
}

#[tokio::test]
async fn units_of_one_group_run_at_most_twice_when_one_is_faulty() {
    let database = TestDatabase::sqlite();
    let db = opened(&database).await;
    insert_first(&db, "n07").await;
    let (go, holding) = hold_the_writer(&db).await;
    let runs: Arc<Vec<AtomicU32>> = Arc::new((0..20).map(|_| AtomicU32::new(0)).collect());
    let units: Vec<_> = (0..20)
        .map(|n| {
            let (db, runs) = (db.clone(), Arc::clone(&runs));
            tokio::spawn(async move {
                db.write(move |tx| {
                    runs[n].fetch_add(1, Ordering::Relaxed);
                    Box::pin(async move { insert_note(tx, &format!("n{n:02}")).await })
                })
                .await
            })
        })
        .collect();
    gather().await;
    go.notify_one();
    holding.await.unwrap().unwrap();
    let failed = join_all(units).await.into_iter().filter(|ended| ended.as_ref().unwrap().is_err()).count();
    assert_eq!(failed, 1);
    let counts: Vec<u32> = runs.iter().map(|count| count.load(Ordering::Relaxed)).collect();
    assert_eq!(counts[..8], [2; 8], "those before the faulty one, and itself, ran again");
    assert_eq!(counts[8..], [1; 12], "those behind it had not begun");
}

#[tokio::test]
async fn an_undo_leaves_nothing_while_its_neighbours_commit() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let (go, holding) = hold_the_writer(&db).await;
        let units: Vec<_> = (0..20)
            .map(|n| {
                let db = db.clone();
                tokio::spawn(async move {
                    db.write_or_undo(move |tx| {
                        Box::pin(async move {
                            insert_note(tx, &format!("n{n:02}")).await?;
                            Ok(if n % 3 == 0 { Outcome::Undo(n) } else { Outcome::Commit(n) })
                        })
                    })
                    .await
                })
            })
            .collect();
        gather().await;
        go.notify_one();
        holding.await.unwrap().unwrap();
        let answers: Vec<u32> =
            join_all(units).await.into_iter().map(|ended| ended.unwrap().unwrap()).collect();
        assert_eq!(answers, (0..20).collect::<Vec<_>>());
        let kept: Vec<String> = (0..20).filter(|n| n % 3 != 0).map(|n| format!("n{n:02}")).collect();
        assert_eq!(notes(&db).await, kept, "{:?}", database.engine());
    }
}

#[tokio::test]
async fn a_unit_whose_caller_left_before_it_began_is_skipped() {
    let database = TestDatabase::sqlite();
    let db = opened(&database).await;
    let (go, holding) = hold_the_writer(&db).await;
    let leaver = spawn_insert(&db, "left".to_owned());
    let stayer = spawn_insert(&db, "stayed".to_owned());
    gather().await;
    leaver.abort();
    assert!(leaver.await.unwrap_err().is_cancelled());
    go.notify_one();
    holding.await.unwrap().unwrap();
    stayer.await.unwrap().unwrap();
    assert_eq!(notes(&db).await, ["stayed"]);
}

/// On `PostgreSQL` a unit begins when it has a connection.
#[tokio::test]
async fn a_unit_whose_caller_left_before_it_had_a_connection_is_skipped() {
    let database = TestDatabase::postgres().await;
    opened(&database).await.close().await;
    let options = DbOptions { connections: 1, ..DbOptions::default() };
    let db = Db::open(database.url(), &options).await.unwrap();
    let (go, holding) = hold_the_writer(&db).await;
    let leaver = spawn_insert(&db, "left".to_owned());
    gather().await;
    leaver.abort();
    let stayer = spawn_insert(&db, "stayed".to_owned());
    gather().await;
    go.notify_one();
    holding.await.unwrap().unwrap();
    stayer.await.unwrap().unwrap();
    assert_eq!(notes(&db).await, ["stayed"]);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    for database in TestDatabase::both().await {
        opened(&database).await.close().await;
        let options = DbOptions { queue_max: 2, connections: 2, ..DbOptions::default() };
        let db = Db::open(database.url(), &options).await.unwrap();
        let (go, holding) = hold_the_writer(&db).await;
        let (go_too, holding_too) = match db.engine() {
            Engine::Postgres => hold_the_writer(&db).await,
            Engine::Sqlite => (Arc::new(Notify::new()), tokio::spawn(async { Ok(()) })),
        };
        let waiting: Vec<_> = (0..3).map(|n| spawn_insert(&db, format!("n{n}"))).collect();
        gather().await;
        let refused = db.write(|tx| Box::pin(insert_note(tx, "one too many"))).await.unwrap_err();
        assert!(refused.is_retryable(), "{refused}");
        assert!(refused.to_string().contains("too many units"), "{refused}");
        go.notify_one();
        go_too.notify_one();
        assert!(holding.await.unwrap().is_ok() && holding_too.await.unwrap().is_ok());
        for unit in waiting {
            let _either_way = unit.await.unwrap();
        }
    }
}

/// Many racing units on one row: each sees what those before it did.
#[tokio::test(flavor = "multi_thread")]
async fn no_update_is_lost() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        insert_first(&db, "counter").await;
        let units: Vec<_> = (0..100)
            .map(|_| {
                let db = db.clone();
                tokio::spawn(async move {
                    db.write(|tx| {
                        Box::pin(async move {
                            on!(tx, conn => sqlx::query("UPDATE note SET body = body || '+' WHERE id = 'counter'")
                                .execute(conn)
                                .await
                                .map(drop))
                            .map_err(while_doing("count"))
                        })
                    })
                    .await
                })
            })
            .collect();
        assert!(join_all(units).await.into_iter().all(|ended| ended.unwrap().is_ok()));
        let body: (String,) = db
            .read(|tx| {
                Box::pin(async move {
                    on!(tx, conn => sqlx::query_as("SELECT body FROM note").fetch_one(conn).await)
                        .map_err(while_doing("read the counter"))
                })
            })
            .await
            .unwrap();
        assert_eq!(body.0.matches('+').count(), 100, "{:?}", database.engine());
    }
}

/// Another process (here: another `Db`) writes to the same file at the same time.
#[tokio::test(flavor = "multi_thread")]
async fn two_writers_on_one_database_take_turns() {
    for database in TestDatabase::both().await {
        let (one, two) = (opened(&database).await, database.open().await);
        let units: Vec<_> =
            (0..60).map(|n| spawn_insert(if n % 2 == 0 { &one } else { &two }, format!("n{n:02}"))).collect();
        assert!(join_all(units).await.into_iter().all(|ended| ended.unwrap().is_ok()));
        assert_eq!(notes(&two).await.len(), 60, "{:?}", database.engine());
    }
}
