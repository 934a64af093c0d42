//! Finishes what a crash or a silent gateway left: charges that are due are taken, looked for at the
//! gateway, sent again under the same key and settled.
//!
//! One node at a time looks for work; the charge's own lease decides who acts, so two that both look do
//! no harm.

use std::time::Duration;

use chassis::Fault;
use chassis::lease::run_leased;
use chassis::shutdown::Shutdown;
use futures_util::StreamExt as _;
use futures_util::stream;

use super::execute::{Take, execute_by_id};
use crate::app::App;
use crate::store::charges::list_due_orders;

/// Pause between looks when nothing is due.
const IDLE: Duration = Duration::from_millis(500);

/// Charges taken up in one look.
const BATCH: i64 = 32;

/// Charges worked on at once: a silent gateway must not stop the others.
const AT_ONCE: usize = 8;

/// Runs until shutdown.
pub(crate) async fn run(app: App, shutdown: Shutdown) {
    let (db, platform) = (app.db.clone(), app.platform.clone());
    run_leased(db, platform, "charge_recovery", shutdown, move |_held| {
        let app = app.clone();
        Box::pin(async move {
            loop {
                match run_once(&app).await {
                    Ok(0) => tokio::time::sleep(IDLE).await,
                    Ok(_) => {}
                    Err(fault) => {
                        tracing::warn!(%fault, "could not look for due charges");
                        tokio::time::sleep(IDLE).await;
                    }
                }
            }
        })
    })
    .await;
}

/// Takes up every charge that is due now; returns how many were settled or parked.
///
/// # Errors
/// The store's fault while looking; faults of single charges are logged, they stay due.
pub(crate) async fn run_once(app: &App) -> Result<usize, Fault> {
    let now_ms = app.platform.clock.now_ms();
    let due =
        app.db.read(move |tx| Box::pin(async move { list_due_orders(tx, now_ms, BATCH).await })).await?;
    let done = stream::iter(due)
        .map(|fiat_in_id| async move {
            match execute_by_id(app, &fiat_in_id, Take::Due).await {
                Ok(told) => usize::from(told.is_some()),
                Err(fault) => {
                    tracing::warn!(%fault, order = fiat_in_id, "could not settle a due charge");
                    0
                }
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    Ok(done.into_iter().sum())
}
