//! Migrations: numbered SQL files that bring a schema from nothing to what this program knows.
//!
//! Several processes may start at once on an empty database: on SQLite the writer's lock on the file, on
//! `PostgreSQL` a lock on one row makes them take turns, and each finds what the one before has done.

use std::time::Duration;

use keys::digest::sha256_b64;
use sqlx::raw_sql;
use tokio::time::{Instant, sleep};

use super::Db;
use super::fault::{Fault, Kind, while_doing};
use super::tx::Tx;
use super::unit::{Terms, Verdict};
use crate::on;

/// One step of a schema. A released step never changes; the next change is a new step.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// Its number in the set, from 1 without gaps.
    pub version: i64,
    /// What it adds, for people.
    pub name: &'static str,
    /// One or more statements.
    pub sql: &'static str,
}

/// How long one step may take, also waiting for another process that migrates.
const LIMIT: Duration = Duration::from_mins(1);

const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migration (
    set_name TEXT   NOT NULL,
    version  BIGINT NOT NULL,
    name     TEXT   NOT NULL,
    hash     TEXT   NOT NULL,
    PRIMARY KEY (set_name, version)
)";

/// The row of version 0 is the set's lock: whoever wrote it last holds it until the end of the transaction.
const LOCK_SET: &str =
    "INSERT INTO schema_migration (set_name, version, name, hash) VALUES ($1, 0, 'lock', '')
    ON CONFLICT (set_name, version) DO UPDATE SET name = excluded.name";

const LIST_APPLIED: &str = "SELECT version, hash FROM schema_migration
    WHERE set_name = $1 AND version > 0 ORDER BY version";

const INSERT_APPLIED: &str =
    "INSERT INTO schema_migration (set_name, version, name, hash) VALUES ($1, $2, $3, $4)";

impl Db {
    /// Applies those steps of a set that the database does not have yet, each in its own transaction, so an
    /// interrupted migration goes on where it stopped.
    ///
    /// # Errors
    /// When a step that was applied differs from what this program holds, when the database has a step that is
    /// newer than this program, or when a step fails.
    pub async fn migrate(&self, set: &'static str, steps: &'static [Migration]) -> Result<(), Fault> {
        self.create_migration_table().await?;
        let terms = Terms { may_undo: false, limit: LIMIT };
        let deadline = Instant::now() + LIMIT;
        loop {
            let step =
                self.submit(move |tx| Box::pin(apply_next(tx, set, steps)), terms, |_| Verdict::Commit);
            match step.await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                // Another process migrates the same SQLite file.
                Err(fault) if fault.kind() == Kind::Busy && Instant::now() < deadline => {
                    sleep(Duration::from_millis(50)).await;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Of racing first starts on `PostgreSQL` some see a half-made table and fail; then it is there.
    async fn create_migration_table(&self) -> Result<(), Fault> {
        let create = || {
            self.write(|tx| {
                Box::pin(async move {
                    on!(tx, conn => sqlx::query(CREATE_TABLE).execute(conn).await.map(drop))
                        .map_err(while_doing("create schema_migration"))
                })
            })
        };
        for _ in 0..4 {
            if create().await.is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(50)).await;
        }
        create().await
    }
}

/// Applies the first missing step; false when there was none.
async fn apply_next(tx: &mut Tx, set: &'static str, steps: &'static [Migration]) -> Result<bool, Fault> {
    if let Tx::Postgres(held) = &mut *tx {
        raw_sql("SET LOCAL statement_timeout = '60s'; SET LOCAL lock_timeout = '60s'")
            .execute(held.connection())
            .await
            .map_err(while_doing("give a migration its time"))?;
    }
    on!(&mut *tx, conn => sqlx::query(LOCK_SET).bind(set).execute(conn).await.map(drop))
        .map_err(while_doing("lock the migration set"))?;
    let applied: Vec<(i64, String)> =
        on!(&mut *tx, conn => sqlx::query_as(LIST_APPLIED).bind(set).fetch_all(conn).await)
            .map_err(while_doing("list applied migrations"))?;
    let Some(step) = next_step(set, steps, &applied)? else { return Ok(false) };
    on!(&mut *tx, conn => raw_sql(step.sql).execute(conn).await.map(drop))
        .map_err(while_doing("apply a migration"))?;
    on!(tx, conn => sqlx::query(INSERT_APPLIED)
        .bind(set)
        .bind(step.version)
        .bind(step.name)
        .bind(sha256_b64(step.sql.as_bytes()))
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("record a migration"))?;
    tracing::info!(set, version = step.version, name = step.name, "migration applied");
    Ok(true)
}

/// The first step that is missing, if what is there is a prefix of what we know.
fn next_step(
    set: &str,
    steps: &'static [Migration],
    applied: &[(i64, String)],
) -> Result<Option<&'static Migration>, Fault> {
    let mut known = steps.iter();
    for (version, hash) in applied {
        let Some(step) = known.next().filter(|step| step.version == *version) else {
            return Err(Fault::new(format!(
                "migrate {set}: the database has version {version}, which this program does not know; \
                 run the release that made it, or a later one"
            )));
        };
        if *hash != sha256_b64(step.sql.as_bytes()) {
            return Err(Fault::new(format!(
                "migrate {set}: version {version} ({}) was applied with a different text; \
                 released migrations never change",
                step.name
            )));
        }
    }
    Ok(known.next())
}
