//! Rows whose time is over.

use chassis::claim::{ClaimKey, claim};
use chassis::replay::remember_once;
use chassis::shutdown::Shutdown;
use chassis::sweeper::Sweeper;
use chassis::testing::{TestDatabase, platform};
use chassis::{Db, Fault, Platform, on, while_doing};
use keys::UnixSeconds;

use super::opened;

async fn fill(db: &Db, now: UnixSeconds) {
    db.write(move |tx| {
        Box::pin(async move {
            for n in 0..450 {
                remember_once(tx, "assertion_jti", "cli_1", &format!("old {n}"), now).await?;
            }
            for n in 0..10 {
                remember_once(tx, "assertion_jti", "cli_1", &format!("new {n}"), now.plus(1)).await?;
            }
            let key = |key: &str| ClaimKey {
                kind: "one_time",
                owner: "ptr_1".into(),
                key: key.into(),
                route: "POST /v1/fiat-ins".into(),
            };
            claim(tx, &key("old"), "f", "fin_1", now.plus(-60), now.plus(-1)).await?;
            claim(tx, &key("new"), "f", "fin_2", now, now.plus(60)).await?;
            Ok(())
        })
    })
    .await
    .unwrap();
}

async fn rows(db: &Db) -> (i64, i64) {
    let counted: Result<(i64, i64), Fault> = db
        .read(|tx| {
            Box::pin(async move {
                const COUNT: &str =
                    "SELECT (SELECT COUNT(*) FROM replay_guard), (SELECT COUNT(*) FROM claim)";
                on!(tx, conn => sqlx::query_as(COUNT).fetch_one(conn).await).map_err(while_doing("count"))
            })
        })
        .await;
    counted.unwrap()
}

#[tokio::test]
async fn expired_rows_go_and_the_others_stay() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let (platform, clock) = platform();
        fill(&db, platform.now()).await;
        let sweeper = Sweeper::new(db.clone(), platform.clone());
        assert_eq!(sweeper.sweep().await.unwrap(), 451, "more than one batch");
        assert_eq!(rows(&db).await, (10, 1));
        assert_eq!(sweeper.sweep().await.unwrap(), 0);
        clock.advance(3_600);
        assert_eq!(sweeper.sweep().await.unwrap(), 11);
        assert_eq!(rows(&db).await, (0, 0));
    }
}

#[tokio::test]
async fn a_table_of_a_service_is_swept_by_its_own_columns() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let (platform, _clock) = platform();
        fill(&db, platform.now()).await;
        let by_creation = Sweeper::new(db.clone(), platform).table("claim", "created_at_s", "key_hash");
        assert_eq!(by_creation.sweep().await.unwrap(), 452);
        assert_eq!(rows(&db).await, (10, 0));
    }
}

#[tokio::test]
async fn a_wrong_table_is_a_fault() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let sweeper = Sweeper::new(db, platform().0).table("no_such_table", "expires_at_s", "id");
        assert!(sweeper.sweep().await.is_err());
    }
}

#[tokio::test]
async fn a_running_sweeper_sweeps_until_shutdown() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let (platform, _clock): (Platform, _) = platform();
        fill(&db, platform.now()).await;
        let shutdown = Shutdown::new();
        let running = tokio::spawn(Sweeper::new(db.clone(), platform).run(shutdown.clone()));
        while rows(&db).await != (10, 1) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        shutdown.trigger();
        running.await.unwrap();
        assert_eq!(rows(&db).await, (10, 1));
    }
}
