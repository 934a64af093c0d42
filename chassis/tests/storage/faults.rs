//! What happens when the database itself fails.

use std::time::Duration;

use chassis::db::{Engine, Fault};
use chassis::testing::TestDatabase;
use chassis::{Db, on, while_doing};
use tokio::time::{sleep, timeout};

use super::{insert_note, notes, opened};

async fn run(db: &Db, sql: &'static str) -> Result<(), Fault> {
    db.write(move |tx| {
        Box::pin(async move {
            on!(tx, conn => sqlx::query(sql).execute(conn).await.map(drop))
                .map_err(while_doing("run a statement"))
        })
    })
    .await
}

/// A constraint that is checked at COMMIT only: the caller must not be told that it went well.
#[tokio::test]
async fn a_failed_commit_is_a_fault_and_the_next_unit_runs() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        run(
            &db,
            "CREATE TABLE remark (note_id TEXT NOT NULL REFERENCES note (id) DEFERRABLE INITIALLY DEFERRED)",
        )
        .await
        .unwrap();
        let fault = run(&db, "INSERT INTO remark (note_id) VALUES ('no such note')").await.unwrap_err();
        assert!(fault.to_string().starts_with("commit a "), "{fault}");
        db.write(|tx| Box::pin(insert_note(tx, "a"))).await.unwrap();
        run(&db, "INSERT INTO remark (note_id) VALUES ('a')").await.unwrap();
        assert_eq!(notes(&db).await, ["a"]);
    }
}

/// SQLite with no room for another page.
#[tokio::test]
async fn a_full_disk_is_retryable_and_heals() {
    let database = TestDatabase::sqlite();
    let db = opened(&database).await;
    run(&db, "PRAGMA max_page_count = 1").await.unwrap(); // it cannot shrink: the present size is the limit
    let fill = "INSERT INTO note (id, body, pinned) SELECT 'big', hex(zeroblob(1000000)), TRUE";
    let fault = run(&db, fill).await.unwrap_err();
    assert!(fault.is_retryable(), "{fault}");
    assert!(notes(&db).await.is_empty(), "reads go on");
    let mut healed = run(&db, "PRAGMA max_page_count = 1000000").await;
    healed = healed.and(run(&db, fill).await);
    assert!(healed.is_ok(), "{healed:?}");
    assert_eq!(notes(&db).await, ["big"]);
}

/// Another process holds the SQLite file for longer than anybody wants to wait.
#[tokio::test]
async fn a_locked_file_is_retryable_and_heals() {
    let database = TestDatabase::sqlite();
    let (db, other) = (opened(&database).await, database.open().await);
    let holding = tokio::spawn(async move {
        other
            .write(|tx| {
                Box::pin(async move {
                    insert_note(tx, "other").await?;
                    sleep(Duration::from_millis(900)).await;
                    Ok(())
                })
            })
            .await
    });
    sleep(Duration::from_millis(200)).await;
    assert!(notes(&db).await.is_empty(), "reads do not wait for writers");
    db.write(|tx| Box::pin(insert_note(tx, "patient"))).await.unwrap();
    holding.await.unwrap().unwrap();
    assert_eq!(notes(&db).await, ["other", "patient"]);

    let impatient = chassis::DbOptions { wait_limit: Duration::from_millis(100), ..Default::default() };
    let hasty = Db::open(database.url(), &impatient).await.unwrap();
    let holding = tokio::spawn(async move {
        db.write(|_tx| {
            Box::pin(async {
                sleep(Duration::from_millis(600)).await;
                Ok(())
            })
        })
        .await
    });
    sleep(Duration::from_millis(100)).await;
    let fault = hasty.write(|tx| Box::pin(insert_note(tx, "hasty"))).await.unwrap_err();
    assert!(fault.is_retryable(), "{fault}");
    holding.await.unwrap().unwrap();
    hasty.write(|tx| Box::pin(insert_note(tx, "later"))).await.unwrap();
    assert_eq!(notes(&hasty).await, ["later", "other", "patient"]);
}

/// The server was restarted: every pooled connection is dead, and nobody notices but the pool.
#[tokio::test]
async fn lost_connections_are_replaced() {
    let database = TestDatabase::postgres().await;
    let (db, admin) = (opened(&database).await, database.open().await);
    let several =
        (0..8).map(|n| db.write(move |tx| Box::pin(async move { insert_note(tx, &format!("n{n}")).await })));
    assert!(futures_util::future::join_all(several).await.into_iter().all(|written| written.is_ok()));
    run(
        &admin,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
            WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .await
    .unwrap();
    sleep(Duration::from_millis(100)).await;
    assert_eq!(notes(&db).await.len(), 8);
    db.write(|tx| Box::pin(insert_note(tx, "after"))).await.unwrap();
    assert_eq!(notes(&db).await.len(), 9);
}

/// A statement that waits for another's lock ends with the unit's limit and blocks nothing afterwards.
#[tokio::test]
async fn a_unit_behind_a_lock_gives_up_in_time() {
    let database = TestDatabase::postgres().await;
    let (db, other) = (opened(&database).await, database.open().await);
    let slow = chassis::DbOptions { unit_limit: Duration::from_secs(5), ..Default::default() };
    let holder = Db::open(database.url(), &slow).await.unwrap();
    let holding = tokio::spawn(async move {
        holder
            .write(|tx| {
                Box::pin(async move {
                    insert_note(tx, "contested").await?;
                    sleep(Duration::from_millis(2_500)).await;
                    Ok(())
                })
            })
            .await
    });
    sleep(Duration::from_millis(200)).await;
    let unit = db.write(|tx| Box::pin(insert_note(tx, "contested")));
    let fault = timeout(Duration::from_secs(2), unit).await.unwrap().unwrap_err();
    assert!(fault.is_retryable(), "{fault}");
    other.write(|tx| Box::pin(insert_note(tx, "free"))).await.unwrap();
    holding.await.unwrap().unwrap();
    assert_eq!(notes(&db).await, ["contested", "free"]);
    assert_eq!(db.engine(), Engine::Postgres);
}
