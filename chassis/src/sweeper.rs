//! Removes rows whose time is over, in small batches, on one node at a time. How long each table keeps its rows
//! is written in `docs/retention.md`.

use std::time::Duration;

use keys::UnixSeconds;
use sqlx::AssertSqlSafe;
use tokio::time::sleep;

use crate::Platform;
use crate::db::{Db, Fault, Tx, while_doing};
use crate::lease::run_leased;
use crate::on;
use crate::shutdown::Shutdown;

/// Rows that one unit deletes at most, so that no other unit waits long.
const ROWS_MAX: usize = 200;

/// Pause between two passes over all tables.
const PAUSE: Duration = Duration::from_secs(30);

/// A list of tables with rows that expire.
#[derive(Debug, Clone)]
pub struct Sweeper {
    db: Db,
    platform: Platform,
    tables: Vec<Expiring>,
}

#[derive(Debug, Clone, Copy)]
struct Expiring {
    table: &'static str,
    expires_column: &'static str,
    key_columns: &'static str,
}

impl Sweeper {
    /// A sweeper of this crate's own tables; a service adds its own.
    pub fn new(db: Db, platform: Platform) -> Self {
        let empty = Self { db, platform, tables: Vec::new() };
        empty.table("replay_guard", "expires_at_s", "kind, owner, value_hash").table(
            "claim",
            "expires_at_s",
            "kind, owner, key_hash",
        )
    }

    /// Adds a table: `expires_column` holds Unix seconds (indexed; NULL never expires), `key_columns` is the
    /// primary key, comma-separated.
    #[must_use]
    pub fn table(
        mut self,
        table: &'static str,
        expires_column: &'static str,
        key_columns: &'static str,
    ) -> Self {
        self.tables.push(Expiring { table, expires_column, key_columns });
        self
    }

    /// Deletes everything that has expired by now and says how many rows it was.
    ///
    /// # Errors
    /// When a table cannot be swept; the tables before it have been.
    pub async fn sweep(&self) -> Result<u64, Fault> {
        let mut deleted = 0;
        for table in self.tables.iter().copied() {
            loop {
                let now = self.platform.now();
                let batch = self.db.write(move |tx| Box::pin(delete_expired(tx, table, now))).await?;
                deleted += batch;
                if batch < ROWS_MAX as u64 {
                    break;
                }
            }
        }
        Ok(deleted)
    }

    /// Sweeps again and again while this process holds the lease, until shutdown.
    pub async fn run(self, shutdown: Shutdown) {
        let (db, platform) = (self.db.clone(), self.platform.clone());
        run_leased(db, platform, "sweeper", shutdown, move |_held| {
            let sweeper = self.clone();
            Box::pin(async move {
                loop {
                    match sweeper.sweep().await {
                        Ok(0) => {}
                        Ok(rows) => tracing::debug!(rows, "expired rows deleted"),
                        Err(fault) => tracing::warn!(%fault, "sweep failed"),
                    }
                    sleep(PAUSE).await;
                }
            })
        })
        .await;
    }
}

async fn delete_expired(tx: &mut Tx, table: Expiring, now: UnixSeconds) -> Result<u64, Fault> {
    let Expiring { table, expires_column: expires, key_columns: key } = table;
    // Names come from the program, never from a request; values are bound.
    let delete = format!(
        "DELETE FROM {table} WHERE ({key}) IN
            (SELECT {key} FROM {table} WHERE {expires} <= $1 ORDER BY {expires} LIMIT {ROWS_MAX})"
    );
    on!(tx, conn => sqlx::query(AssertSqlSafe(delete))
        .bind(now.0)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("delete expired rows"))
}
