//! Seals committed rows into their chains, and removes what has expired, oldest first. One node at a time does it for
//! all, so what a crashed node left is sealed too.

use std::sync::Arc;
use std::time::Duration;

use keys::UnixSeconds;
use sqlx::QueryBuilder;

use super::AuditQueue;
use super::chain::{Head, Heads, list_heads, move_pruned};
use super::row::{AuditRow, COLUMNS};
use crate::db::{Tx, while_doing};
use crate::lease::{TTL_MS, release_lease, try_lease};
use crate::shutdown::Shutdown;
use crate::{Db, Fault, Platform, on, row};

/// The name of the lease. Its row is the first thing a pass writes, so passes of two nodes cannot overlap.
const LEASE: &str = "audit-sealer";

/// Rows sealed, or looked at for removal, in one pass; a pass is one unit of the writer.
const ROWS_PER_PASS: i64 = 256;

/// How often waiting rows are looked for.
const PAUSE: Duration = Duration::from_secs(1);

/// Expired rows are looked for once in so many rounds.
const ROUNDS_BETWEEN_REMOVALS: u32 = 60;

/// Seals the audit rows of one database. Every node runs it.
#[derive(Debug, Clone)]
pub struct AuditSealer {
    db: Db,
    platform: Platform,
    holder: Arc<str>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Passed {
    NotOurs,
    All,
    Some,
}

/// What a unit of the sealer needs; it may run twice.
#[derive(Debug, Clone)]
struct Pass {
    holder: Arc<str>,
    now: UnixSeconds,
    now_ms: i64,
}

impl AuditSealer {
    /// A sealer of this database.
    pub fn new(db: Db, platform: Platform) -> Self {
        let holder = platform.new_id("node").into();
        Self { db, platform, holder }
    }

    fn pass(&self) -> Pass {
        let clock = &self.platform.clock;
        Pass { holder: Arc::clone(&self.holder), now: clock.now(), now_ms: clock.now_ms() }
    }

    /// Seals everything that waits, unless another node does.
    ///
    /// # Errors
    /// The store's fault; what was sealed before stays sealed.
    pub async fn seal(&self) -> Result<(), Fault> {
        loop {
            let now = self.platform.now();
            if !self.db.read(move |tx| Box::pin(is_any_waiting(tx, now))).await? {
                return Ok(());
            }
            let pass = self.pass();
            let passed = self.db.write(move |tx| {
                let pass = pass.clone();
                Box::pin(async move { seal_waiting(tx, &pass).await })
            });
            if passed.await? != Passed::Some {
                return Ok(());
            }
        }
    }

    /// Removes the rows whose time is over, the oldest of each chain first, unless another node does. Returns how
    /// many.
    ///
    /// # Errors
    /// The store's fault; what was removed before stays removed.
    pub async fn remove_expired(&self) -> Result<u64, Fault> {
        let heads = self.db.read(|tx| Box::pin(list_heads(tx))).await?;
        let mut removed = 0;
        for head in heads {
            loop {
                let (pass, chain) = (self.pass(), head.chain.clone());
                let batch = self.db.write(move |tx| {
                    let (pass, chain) = (pass.clone(), chain.clone());
                    Box::pin(async move { remove_oldest(tx, &pass, &chain).await })
                });
                let batch = batch.await?;
                removed += batch;
                if batch < ROWS_PER_PASS.unsigned_abs() {
                    break;
                }
            }
        }
        Ok(removed)
    }

    /// Seals each second, and removes what has expired, until the service ends.
    async fn run(&self, shutdown: Shutdown) {
        let mut round = 0_u32;
        while !shutdown.is_triggered() {
            self.round(round.is_multiple_of(ROUNDS_BETWEEN_REMOVALS)).await;
            round = round.wrapping_add(1);
            tokio::select! {
                () = shutdown.triggered() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    /// Gives the sealing to another node.
    async fn release(&self) {
        let holder = Arc::clone(&self.holder);
        let released = self.db.write(move |tx| {
            let holder = Arc::clone(&holder);
            Box::pin(async move { release_lease(tx, LEASE, &holder).await })
        });
        if let Err(fault) = released.await {
            tracing::debug!(%fault, "the sealing was not handed over: its lease will expire");
        }
    }

    async fn round(&self, remove: bool) {
        if let Err(fault) = self.seal().await {
            tracing::warn!(%fault, "audit rows wait: cannot seal");
        }
        if remove && let Err(fault) = self.remove_expired().await {
            tracing::warn!(%fault, "expired audit rows stay: cannot remove");
        }
    }
}

/// Writes what the queue holds and seals what was written, each second until the service ends; what waits then is
/// written and sealed first. Every node runs it.
pub async fn run_audit(queue: AuditQueue, db: Db, platform: Platform, shutdown: Shutdown) {
    let sealer = AuditSealer::new(db.clone(), platform);
    tokio::join!(queue.run(db, shutdown.clone()), sealer.run(shutdown));
    sealer.round(false).await;
    sealer.release().await;
}

const IS_WAITING: &str = "SELECT audit_id FROM audit_event
    WHERE seq IS NULL AND (open_until_s IS NULL OR open_until_s <= $1) LIMIT 1";

/// Cheap, so that an idle service writes nothing.
async fn is_any_waiting(tx: &mut Tx, now: UnixSeconds) -> Result<bool, Fault> {
    let first: Option<(String,)> =
        on!(tx, conn => sqlx::query_as(IS_WAITING).bind(now.0).fetch_optional(conn).await)
            .map_err(while_doing("look for unsealed audit rows"))?;
    Ok(first.is_some())
}

async fn seal_waiting(tx: &mut Tx, pass: &Pass) -> Result<Passed, Fault> {
    if !try_lease(tx, LEASE, &pass.holder, pass.now_ms, TTL_MS).await? {
        return Ok(Passed::NotOurs);
    }
    let mut rows: Vec<AuditRow> = on!(tx, conn => {
        let mut statement = QueryBuilder::new("SELECT ");
        statement.push(COLUMNS).push(" FROM audit_event WHERE seq IS NULL AND (open_until_s IS NULL OR open_until_s <= ");
        statement.push_bind(pass.now.0).push(") ORDER BY audit_id LIMIT ").push_bind(ROWS_PER_PASS);
        statement.build_query_as().fetch_all(conn).await
    })
    .map_err(while_doing("find unsealed audit rows"))?;
    if rows.is_empty() {
        return Ok(Passed::All);
    }
    let mut heads = Heads::lock(tx, &rows).await?;
    heads.append(&mut rows)?;
    write_seals(tx, &rows).await?;
    heads.store(tx).await?;
    Ok(if i64::try_from(rows.len()) == Ok(ROWS_PER_PASS) { Passed::Some } else { Passed::All })
}

/// Writes numbers and hashes. All of them or none: a number that was given and not written would be a gap.
async fn write_seals(tx: &mut Tx, rows: &[AuditRow]) -> Result<(), Fault> {
    let changed = on!(tx, conn => {
        let mut statement =
            QueryBuilder::new("UPDATE audit_event SET seq = sealed.column2, chain_hash = sealed.column3 FROM (");
        statement.push_values(rows, |mut values, row| {
            values
                .push_bind(row.audit_id.as_str())
                .push_bind(row.seq.unwrap_or_default())
                .push_bind(row.chain_hash.as_deref().unwrap_or_default());
        });
        statement.push(") AS sealed WHERE audit_event.audit_id = sealed.column1 AND audit_event.seq IS NULL");
        statement.build().execute(conn).await.map(|done| done.rows_affected())
    })
    .map_err(while_doing("seal audit rows"))?;
    if usize::try_from(changed) == Ok(rows.len()) {
        Ok(())
    } else {
        Err(Fault::new("seal audit rows: a row was sealed by another"))
    }
}

/// The place and the end of a sealed row.
struct Oldest {
    seq: i64,
    chain_hash: String,
    expires_at_s: Option<i64>,
}

row!(Oldest { seq, chain_hash, expires_at_s });

const FIND_HEAD: &str =
    "SELECT chain, last_seq, last_hash, pruned_seq, pruned_hash FROM audit_chain WHERE chain = $1";

const OLDEST: &str = "SELECT seq, chain_hash, expires_at_s FROM audit_event
    WHERE chain = $1 AND seq > $2 ORDER BY seq LIMIT $3";

const REMOVE: &str = "DELETE FROM audit_event WHERE chain = $1 AND seq <= $2";

/// Removes the expired rows at the beginning of a chain, and notes the hash on which the next one rests.
async fn remove_oldest(tx: &mut Tx, pass: &Pass, chain: &str) -> Result<u64, Fault> {
    if !try_lease(tx, LEASE, &pass.holder, pass.now_ms, TTL_MS).await? {
        return Ok(0);
    }
    let head: Option<Head> =
        on!(tx, conn => sqlx::query_as(FIND_HEAD).bind(chain).fetch_optional(conn).await)
            .map_err(while_doing("find an audit chain"))?;
    let Some(head) = head else { return Ok(0) };
    let oldest: Vec<Oldest> = on!(tx, conn => sqlx::query_as(OLDEST)
        .bind(chain)
        .bind(head.pruned_seq)
        .bind(ROWS_PER_PASS)
        .fetch_all(conn)
        .await)
    .map_err(while_doing("find the oldest audit rows"))?;
    let expired = |row: &&Oldest| row.expires_at_s.is_some_and(|expires| expires <= pass.now.0);
    let Some(last) = oldest.iter().take_while(expired).last() else { return Ok(0) };
    move_pruned(tx, chain, last.seq, &last.chain_hash).await?;
    on!(tx, conn => sqlx::query(REMOVE)
        .bind(chain)
        .bind(last.seq)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("remove expired audit rows"))
}
