//! Migrations and first starts.

use chassis::db::{Fault, Migration, while_doing};
use chassis::testing::TestDatabase;
use chassis::{Db, MIGRATIONS, on};
use futures_util::future::join_all;

use super::{NOTES, notes};

const APPLIED: &str = "SELECT COUNT(*) FROM schema_migration WHERE set_name = 'notes' AND version > 0";

const CHANGED: &[Migration] = &[Migration { version: 1, name: "note", sql: "CREATE TABLE note (id TEXT)" }];

const TWO_STEPS: &[Migration] = &[
    NOTES[0],
    Migration { version: 2, name: "note_author", sql: "ALTER TABLE note ADD COLUMN author TEXT" },
];

const BROKEN: &[Migration] = &[
    NOTES[0],
    Migration { version: 2, name: "broken", sql: "CREATE TABLE half (id TEXT); CREATE TABLE half (id TEXT)" },
];

async fn count(db: &Db, sql: &'static str) -> Result<i64, Fault> {
    db.read(move |tx| {
        Box::pin(async move {
            let found: (i64,) =
                on!(tx, conn => sqlx::query_as(sql).fetch_one(conn).await).map_err(while_doing("count"))?;
            Ok(found.0)
        })
    })
    .await
}

#[tokio::test]
async fn steps_are_applied_once_and_in_order() {
    for database in TestDatabase::both().await {
        let db = database.open().await;
        for steps in [NOTES, NOTES, TWO_STEPS, TWO_STEPS] {
            db.migrate("notes", steps).await.unwrap();
        }
        assert_eq!(count(&db, APPLIED).await.unwrap(), 2);
        assert_eq!(count(&db, "SELECT COUNT(author) FROM note").await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_changed_step_is_refused() {
    for database in TestDatabase::both().await {
        let db = database.open().await;
        db.migrate("notes", NOTES).await.unwrap();
        let fault = db.migrate("notes", CHANGED).await.unwrap_err();
        assert!(fault.to_string().contains("different text"), "{fault}");
    }
}

#[tokio::test]
async fn a_schema_of_a_later_release_is_refused() {
    for database in TestDatabase::both().await {
        let db = database.open().await;
        db.migrate("notes", TWO_STEPS).await.unwrap();
        let fault = db.migrate("notes", NOTES).await.unwrap_err();
        assert!(fault.to_string().contains("version 2, which this program does not know"), "{fault}");
    }
}

#[tokio::test]
async fn a_step_that_fails_leaves_nothing_and_the_steps_before_it() {
    for database in TestDatabase::both().await {
        let db = database.open().await;
        assert!(db.migrate("notes", BROKEN).await.is_err());
        assert!(count(&db, "SELECT COUNT(*) FROM half").await.is_err());
        db.migrate("notes", TWO_STEPS).await.unwrap();
        assert!(notes(&db).await.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_first_starts_make_one_schema() {
    for database in TestDatabase::both().await {
        let starts = (0..6).map(|_| {
            let url = database.url().clone();
            tokio::spawn(async move {
                let db = Db::open(&url, &chassis::DbOptions { connections: 2, ..Default::default() }).await?;
                db.migrate("chassis", MIGRATIONS).await?;
                db.migrate("notes", TWO_STEPS).await?;
                Ok::<Db, Fault>(db)
            })
        });
        for started in join_all(starts.collect::<Vec<_>>()).await {
            let db = started.unwrap().unwrap_or_else(|fault| panic!("{:?}: {fault}", database.engine()));
            assert_eq!(count(&db, APPLIED).await.unwrap(), 2);
        }
    }
}
