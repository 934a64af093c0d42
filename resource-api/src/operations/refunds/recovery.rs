//! Finishes what a crash or a silent gateway left of refunds: those that are due are taken, looked for at the gateway,
//! sent again under the same key and settled.
//!
//! One node at a time looks for work; the refund's own lease decides who acts, so two that both look do no harm.

use std::time::Duration;

use chassis::Fault;
use chassis::lease::run_leased;
use chassis::shutdown::Shutdown;
use futures_util::StreamExt as _;
use futures_util::stream;

use super::execute::{Take, execute};
use crate::app::App;
use crate::store::refunds::list_due_refunds;

/// Pause between looks when nothing is due.
const IDLE: Duration = Duration::from_millis(500);

/// Refunds taken up in one look.
const BATCH: i64 = 32;

/// Refunds worked on at once: a silent gateway must not stop the others.
const AT_ONCE: usize = 8;

/// Runs until shutdown.
pub(crate) async fn run(app: App, shutdown: Shutdown) {
    let (db, platform) = (app.db.clone(), app.platform.clone());
    run_leased(db, platform, "refund_recovery", shutdown, move |_held| {
        let app = app.clone();
        Box::pin(async move {
            loop {
                match run_once(&app).await {
                    Ok(0) => tokio::time::sleep(IDLE).await,
                    Ok(_) => {}
                    Err(fault) => {
                        tracing::warn!(%fault, "could not look for due refunds");
                        tokio::time::sleep(IDLE).await;
                    }
                }
            }
        })
    })
    .await;
}

/// Takes up every refund that is due now; returns how many were settled or parked. Faults of single refunds are
/// logged, they stay due.
async fn run_once(app: &App) -> Result<usize, Fault> {
    let now_ms = app.platform.clock.now_ms();
    let due =
        app.db.read(move |tx| Box::pin(async move { list_due_refunds(tx, now_ms, BATCH).await })).await?;
    let done = stream::iter(due)
        .map(|refund_id| async move {
            match execute(app, &refund_id, Take::Due).await {
                Ok(told) => usize::from(told.is_some()),
                Err(fault) => {
                    tracing::warn!(%fault, refund = refund_id, "could not settle a due refund");
                    0
                }
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<_>>()
        .await;
    Ok(done.into_iter().sum())
}
