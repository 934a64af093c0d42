//! The `PostgreSQL` side: pooled transactions, READ COMMITTED; the server groups commits by itself.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolOptions;
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, PgPool, Postgres, Transaction};
use tokio::time::sleep;

use super::fault::{Fault, Kind, while_doing};
use super::tx::{Counter, PostgresTx, Tx};
use super::unit::{Unit, Verdict, attempt};
use super::url::{DatabaseUrl, DbOptions};
use crate::failpoint::is_planted;

/// Runs of one unit that the database asks to see again (40001, 40P01).
const RUNS_MAX: u32 = 8;

/// How long the planted mistake that answers before the commit takes until it commits.
const PLANTED_DELAY: Duration = Duration::from_secs(2);

/// Opens the pool and proves that the server answers.
pub(crate) async fn open(url: &DatabaseUrl, options: &DbOptions) -> Result<PgPool, Fault> {
    let millis = |limit: Duration| limit.as_millis().to_string();
    let connect: PgConnectOptions = url.expose().parse().map_err(while_doing("read the PostgreSQL URL"))?;
    let connect = connect
        .application_name("countersign")
        .options([
            ("statement_timeout", millis(options.read_limit)),
            ("lock_timeout", millis(options.unit_limit)),
            ("idle_in_transaction_session_timeout", millis(options.read_limit * 4)),
        ])
        .statement_cache_capacity(128)
        .disable_statement_logging();
    PoolOptions::new()
        .max_connections(options.connections)
        .acquire_timeout(options.wait_limit)
        .test_before_acquire(false)
        .connect_with(connect)
        .await
        .map_err(while_doing("connect to PostgreSQL"))
}

/// Begins a transaction. A pooled connection may have died since its last use (the server was restarted): each
/// one found dead is dropped, and the next is tried.
pub(crate) async fn begin(
    pool: &PgPool,
    statement: &'static str,
) -> Result<Transaction<'static, Postgres>, Fault> {
    let mut left = pool.options().get_max_connections();
    loop {
        match pool.begin_with(statement).await.map_err(while_doing("begin a transaction")) {
            Err(fault) if fault.kind() == Kind::Lost && left > 0 => left -= 1,
            begun => return begun,
        }
    }
}

/// Runs a unit to its end and answers its caller. Runs in a task of its own, so that a unit that began is
/// finished even if its caller left.
pub(crate) async fn settle(pool: PgPool, mut unit: Box<dyn Unit>, statements: Counter) {
    for run in 1..=RUNS_MAX {
        let begun = begin(&pool, "BEGIN ISOLATION LEVEL READ COMMITTED").await;
        if unit.is_abandoned() {
            return;
        }
        let ending = match begun {
            Ok(transaction) => run_once(transaction, &mut *unit, &statements).await,
            Err(fault) => Err(fault),
        };
        match ending {
            Err(fault) if fault.kind() == Kind::Serialization && run < RUNS_MAX => {
                // The address of the unit differs between racers, so their pauses do too.
                let spread = (std::ptr::from_ref(&*unit).cast::<u8>() as usize / 16 % 7) as u64;
                sleep(Duration::from_millis((1 << run) + spread)).await;
            }
            ending => return unit.answer(ending),
        }
    }
}

async fn run_once(
    transaction: Transaction<'static, Postgres>,
    unit: &mut dyn Unit,
    statements: &Counter,
) -> Result<(), Fault> {
    let mut tx = Tx::Postgres(PostgresTx::new(transaction, Arc::clone(statements)));
    match (attempt(unit, &mut tx).await?, tx) {
        (Verdict::Commit, Tx::Postgres(held)) => commit(held).await,
        // Dropping a transaction rolls it back.
        _ => Ok(()),
    }
}

async fn commit(held: PostgresTx) -> Result<(), Fault> {
    if is_planted("answer_before_commit") {
        // The answer goes out at once, the commit follows when it follows.
        tokio::spawn(async move {
            sleep(PLANTED_DELAY).await;
            drop(held.commit().await);
        });
        return Ok(());
    }
    held.commit().await.map_err(while_doing("commit a unit"))
}

/// Runs a read in one state of the database.
pub(crate) async fn read<T, F>(pool: &PgPool, statements: Counter, work: F) -> Result<T, Fault>
where
    F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, Fault>>,
{
    // In a task of its own: the caller of a read may leave at any moment, and a connection whose BEGIN was dropped
    // half-way would go back to the pool inside a transaction that nobody ends.
    let pool = pool.clone();
    let begun =
        tokio::spawn(async move { begin(&pool, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await });
    let transaction = begun.await.map_err(while_doing("begin a read"))??;
    let mut tx = Tx::Postgres(PostgresTx::new(transaction, statements));
    let value = work(&mut tx).await?;
    if let Tx::Postgres(held) = tx {
        held.commit().await.map_err(while_doing("end a read"))?;
    }
    Ok(value)
}
