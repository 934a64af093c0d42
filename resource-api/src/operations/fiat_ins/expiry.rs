//! Ends orders that waited in vain: for a reviewer, or for the payer.
//!
//! One node at a time looks; one guarded update decides each order, so two that both look do no harm.

use std::time::Duration;

use chassis::lease::run_leased;
use chassis::outbox::insert_events;
use chassis::shutdown::Shutdown;
use chassis::{Fault, Outcome, Tx};

use super::early_end::{EarlyEnd, Ended, end_early};
use super::events::{EventIds, moved};
use crate::app::App;
use crate::domain::fiat_in::{FiatInState, ReviewState};
use crate::store::fiat_ins::find_any_fiat_in;
use crate::store::order_steps::list_expired;

/// Pause between looks when nothing has expired.
const IDLE: Duration = Duration::from_secs(1);

/// Orders ended in one look.
const BATCH: i64 = 64;

/// Runs until shutdown.
pub(crate) async fn run(app: App, shutdown: Shutdown) {
    let (db, platform) = (app.db.clone(), app.platform.clone());
    run_leased(db, platform, "fiat_in_expiry", shutdown, move |_held| {
        let app = app.clone();
        Box::pin(async move {
            loop {
                match run_once(&app).await {
                    Ok(ended) if ended > 0 => {}
                    Ok(_) => tokio::time::sleep(IDLE).await,
                    Err(fault) => {
                        tracing::warn!(%fault, "could not look for expired orders");
                        tokio::time::sleep(IDLE).await;
                    }
                }
            }
        })
    })
    .await;
}

/// Ends every order whose time is up; returns how many.
///
/// # Errors
/// The store's fault.
pub(crate) async fn run_once(app: &App) -> Result<usize, Fault> {
    let now = app.platform.now();
    let due = app.db.read(move |tx| Box::pin(async move { list_expired(tx, now, BATCH).await })).await?;
    let mut ended = 0;
    for fiat_in_id in due {
        ended += usize::from(expire(app, fiat_in_id).await?);
    }
    if ended > 0 {
        app.outbox.wake();
    }
    Ok(ended)
}

async fn expire(app: &App, fiat_in_id: String) -> Result<bool, Fault> {
    let events = EventIds::draw(&app.platform);
    let end = EarlyEnd {
        state: FiatInState::Expired,
        review: ReviewState::Expired,
        reason: "",
        now: app.platform.now(),
        now_ms: app.platform.clock.now_ms(),
    };
    app.db
        .write_or_undo(move |tx| {
            let (id, events) = (fiat_in_id.clone(), events.clone());
            Box::pin(async move {
                let ended = expire_in(tx, &id, end, &events).await?;
                Ok(if ended { Outcome::Commit(true) } else { Outcome::Undo(false) })
            })
        })
        .await
}

async fn expire_in(tx: &mut Tx, id: &str, end: EarlyEnd, events: &EventIds) -> Result<bool, Fault> {
    let Some(order) = find_any_fiat_in(tx, id).await? else { return Ok(false) };
    let reason = match order.state {
        FiatInState::InReview => "review_timed_out",
        FiatInState::RequiresAction => "payer_timed_out",
        _ => return Ok(false),
    };
    if order.expires_at.is_none_or(|until| end.now < until) {
        return Ok(false);
    }
    let ended = end_early(tx, order, EarlyEnd { reason, ..end }).await?;
    let Some(Ended { order, .. }) = ended else { return Ok(false) };
    insert_events(tx, &moved(&order, events)).await?;
    Ok(true)
}
