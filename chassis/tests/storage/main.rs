//! The storage ground on real databases: every test runs on SQLite and on `PostgreSQL`, unless it is about
//! what only one of them does.

#![allow(clippy::unwrap_used, reason = "a helper that fails must fail its test")]

mod backups;
mod batch;
mod claims;
mod faults;
mod groups;
mod keyring;
mod leases;
mod migrations;
mod rekey;
mod replay;
mod sweeper;
mod units;

use chassis::db::{Db, Fault, Migration, Tx, while_doing};
use chassis::on;
use chassis::testing::TestDatabase;

/// A table to write to.
pub(crate) const NOTES: &[Migration] = &[Migration {
    version: 1,
    name: "note",
    sql: "CREATE TABLE note (id TEXT PRIMARY KEY, body TEXT NOT NULL, pinned BOOLEAN NOT NULL);
          CREATE INDEX note_body ON note (body);",
}];

/// The database with the chassis' tables and `note`.
pub(crate) async fn opened(database: &TestDatabase) -> Db {
    database.migrated(&[("notes", NOTES)]).await
}

/// Inserts a note. An id that is there already makes the statement fail.
pub(crate) async fn insert_note(tx: &mut Tx, id: &str) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query("INSERT INTO note (id, body, pinned) VALUES ($1, 'text', $2)")
        .bind(id)
        .bind(true)
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("insert note"))
}

/// The ids of all notes, in order.
pub(crate) async fn notes(db: &Db) -> Vec<String> {
    let found: Result<Vec<(String,)>, Fault> = db
        .read(|tx| {
            Box::pin(async move {
                on!(tx, conn => sqlx::query_as("SELECT id FROM note ORDER BY id").fetch_all(conn).await)
                    .map_err(while_doing("list notes"))
            })
        })
        .await;
    found.unwrap().into_iter().map(|(id,)| id).collect()
}
