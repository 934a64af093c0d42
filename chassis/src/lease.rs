//! Work that one node at a time does: numbering, dispatching, polling, sweeping.
//!
//! A lease is a row that names its holder and expires after [`TTL_MS`]; the holder renews it each second. A
//! node that stalls longer than that loses it without noticing at once, so work that must not be done twice
//! also checks [`Held::confirm`] in its transaction, or decides winners by guarded statements.

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::Platform;
use crate::db::{Db, Fault, Tx, while_doing};
use crate::on;
use crate::shutdown::Shutdown;

/// Life of a lease that is not renewed, milliseconds.
pub const TTL_MS: i64 = 3_000;

/// Pause between renewals, and between attempts to take a lease.
const RENEWAL: Duration = Duration::from_secs(1);

const TAKE_LEASE: &str = "INSERT INTO lease (name, holder, expires_at_ms) VALUES ($1, $2, $3)
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, expires_at_ms = excluded.expires_at_ms
    WHERE lease.holder = excluded.holder OR lease.expires_at_ms <= $4
    RETURNING holder";

const CONFIRM_LEASE: &str = "UPDATE lease SET holder = holder
    WHERE name = $1 AND holder = $2 AND expires_at_ms > $3 RETURNING holder";

const RELEASE_LEASE: &str = "DELETE FROM lease WHERE name = $1 AND holder = $2";

/// Takes or renews a lease; false while another holder's has not expired.
pub async fn try_lease(
    tx: &mut Tx,
    name: &str,
    holder: &str,
    now_ms: i64,
    ttl_ms: i64,
) -> Result<bool, Fault> {
    let taken: Option<(String,)> = on!(tx, conn => sqlx::query_as(TAKE_LEASE)
        .bind(name)
        .bind(holder)
        .bind(now_ms.saturating_add(ttl_ms))
        .bind(now_ms)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("take a lease"))?;
    Ok(taken.is_some())
}

/// Gives a lease back, so that the next holder need not wait for its expiry.
pub async fn release_lease(tx: &mut Tx, name: &str, holder: &str) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query(RELEASE_LEASE).bind(name).bind(holder).execute(conn).await.map(drop))
        .map_err(while_doing("release a lease"))
}

/// Whether any process holds a lease now: a service runs on this database.
pub async fn is_anybody_at_work(tx: &mut Tx, now_ms: i64) -> Result<bool, Fault> {
    const FIND: &str = "SELECT name FROM lease WHERE expires_at_ms > $1 LIMIT 1";
    let found: Option<(String,)> =
        on!(tx, conn => sqlx::query_as(FIND).bind(now_ms).fetch_optional(conn).await)
            .map_err(while_doing("look for leases"))?;
    Ok(found.is_some())
}

/// A lease that is held, given to the work that needs it.
#[derive(Debug, Clone)]
pub struct Held {
    name: &'static str,
    holder: String,
}

impl Held {
    /// Whether the lease is still ours, decided inside the work's own transaction: nobody else can take it
    /// before that transaction ends.
    pub async fn confirm(&self, tx: &mut Tx, now_ms: i64) -> Result<bool, Fault> {
        let ours: Option<(String,)> = on!(tx, conn => sqlx::query_as(CONFIRM_LEASE)
            .bind(self.name)
            .bind(self.holder.as_str())
            .bind(now_ms)
            .fetch_optional(conn)
            .await)
        .map_err(while_doing("confirm a lease"))?;
        Ok(ours.is_some())
    }
}

/// Runs `job` whenever this process holds the lease `name`, until shutdown.
///
/// A job is a loop of its own that goes on for ever; it is dropped at its next wait when the lease is lost or
/// the process is to end (units that began are finished all the same). If it returns, it is started again
/// after a pause. The lease is given back at the end.
pub async fn run_leased<J>(db: Db, platform: Platform, name: &'static str, shutdown: Shutdown, mut job: J)
where
    J: FnMut(Held) -> BoxFuture<'static, ()> + Send,
{
    let held = Held { name, holder: platform.new_id("node") };
    let mut ticks = interval(RENEWAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = shutdown.triggered() => break,
            _ = ticks.tick() => {}
        }
        if !renew(&db, &platform, &held).await {
            continue;
        }
        tracing::debug!(lease = name, "taken");
        tokio::select! {
            () = shutdown.triggered() => break,
            () = keep(&db, &platform, &held) => tracing::warn!(lease = name, "lost"),
            () = repeat(&mut job, &held) => {}
        }
    }
    let holder = held.holder;
    let released = db
        .write(move |tx| {
            let holder = holder.clone();
            Box::pin(async move { release_lease(tx, name, &holder).await })
        })
        .await;
    if let Err(fault) = released {
        tracing::debug!(lease = name, %fault, "not released: it will expire");
    }
}

/// Starts the job again and again.
async fn repeat<J: FnMut(Held) -> BoxFuture<'static, ()>>(job: &mut J, held: &Held) {
    loop {
        job(held.clone()).await;
        sleep(RENEWAL / 5).await;
    }
}

/// Renews the lease each second; returns when it is lost.
async fn keep(db: &Db, platform: &Platform, held: &Held) {
    loop {
        sleep(RENEWAL).await;
        if !renew(db, platform, held).await {
            return;
        }
    }
}

/// Takes or renews the lease. A fault counts as not held: what cannot be proved is not assumed.
async fn renew(db: &Db, platform: &Platform, held: &Held) -> bool {
    let (held, now_ms) = (held.clone(), platform.clock.now_ms());
    let name = held.name;
    let taken = db
        .write(move |tx| {
            let held = held.clone();
            Box::pin(async move { try_lease(tx, held.name, &held.holder, now_ms, TTL_MS).await })
        })
        .await;
    taken.unwrap_or_else(|fault| {
        tracing::warn!(lease = name, %fault, "could not take or renew");
        false
    })
}
