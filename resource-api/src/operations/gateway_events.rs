//! What a payment gateway tells by itself of charges, refunds and disputes. An event is verified, stored and answered;
//! then a leased worker applies it through the same transaction as an answer to a call of our own. What does not fit
//! what it names is parked for a person, and nothing is booked for it.
//!
//! It is stored before it is answered, so an event that got its 200 is never lost; a gateway sends the others again.

mod charges;
mod repayments;

use std::time::Duration;

use chassis::failpoint::reach;
use chassis::http::RequestNotes;
use chassis::lease::run_leased;
use chassis::shutdown::Shutdown;
use chassis::{Fault, Tx};
use futures_util::{StreamExt as _, stream};
use keys::UnixSeconds;

use super::Failure;
use crate::app::App;
use crate::domain::charge_event::EventState;
use crate::domain::refusal::Refusal;
use crate::domain::telling::Telling;
use crate::gateway::Arrived;
use crate::store::gateway_events::{
    EventDecision, Kept, StoredGatewayEvent, count_parked_gateway_events, decide_gateway_event,
    insert_gateway_event, list_due_gateway_events, postpone_gateway_event,
};

/// Pause between looks when nothing waits and nobody says that something arrived.
const IDLE: Duration = Duration::from_millis(500);
/// Looks between two counts of the parked events.
const COUNT_EVERY: u32 = 30;
/// Events applied in one pass.
const BATCH: i64 = 64;
/// Events applied at once.
const AT_ONCE: usize = 8;
/// Tries after which an event that cannot be applied is left to a person.
const ATTEMPTS_MAX: i64 = 10;

/// What stands for the gateway's own id of a charge or refund when a person settled it without one.
pub(crate) const UNSTATED: &str = "unstated";

/// Verifies an event and stores it.
///
/// # Errors
/// 404 for another gateway than ours, 400 `bad_signature`: nothing is stored. A fault is the store's; the gateway
/// sends the event again.
pub(crate) async fn receive(app: &App, provider: &str, arrived: &Arrived<'_>) -> Result<(), Failure> {
    let ours = app.gateway.provider();
    if provider != ours {
        return Err(Refusal::not_found("gateway").into());
    }
    let event = app.gateway.parse_event(arrived).map_err(|not_genuine| {
        RequestNotes::reason(not_genuine.to_string());
        metrics::counter!("gateway_events_refused_total", "provider" => ours).increment(1);
        Refusal::bad_request(
            "bad_signature",
            "The event is not shown to come from the gateway: sign id, timestamp and body with the shared secret, \
             with a timestamp at most five minutes off.",
        )
    })?;
    let (event_id, now) = (event.event_id.clone(), (arrived.now, app.platform.clock.now_ms()));
    let kept = app
        .db
        .write(move |tx| {
            let event = event.clone();
            Box::pin(async move { insert_gateway_event(tx, ours, &event, now).await })
        })
        .await?;
    match kept {
        Kept::New => app.gateway_event_arrived.notify_one(),
        Kept::Repeated => {}
        Kept::Differing => tracing::warn!(event_id, "a gateway event was sent again with another body"),
    }
    Ok(())
}

/// Applies events until shutdown, on one node at a time.
pub(crate) async fn run(app: App, shutdown: Shutdown) {
    let (db, platform) = (app.db.clone(), app.platform.clone());
    run_leased(db, platform, "gateway_events", shutdown, move |_held| {
        let app = app.clone();
        Box::pin(async move { apply_for_ever(&app).await })
    })
    .await;
}

async fn apply_for_ever(app: &App) {
    let mut looks = 0_u32;
    loop {
        let applied = run_once(app).await.unwrap_or_else(|fault| {
            tracing::warn!(%fault, "gateway events wait: could not look for them");
            0
        });
        if applied > 0 || looks.is_multiple_of(COUNT_EVERY) {
            publish_parked(app).await;
        }
        looks = looks.wrapping_add(1);
        if applied == 0 {
            tokio::select! {
                () = app.gateway_event_arrived.notified() => {}
                () = tokio::time::sleep(IDLE) => {}
            }
        }
    }
}

async fn publish_parked(app: &App) {
    let counted = app.db.read(|tx| Box::pin(async move { count_parked_gateway_events(tx).await })).await;
    if let Ok(count) = counted {
        #[allow(clippy::cast_precision_loss, reason = "a gauge; nobody has 2^52 parked events")]
        metrics::gauge!("gateway_events_parked").set(count as f64);
    }
}

/// Applies what waits; returns how many events were decided.
async fn run_once(app: &App) -> Result<usize, Fault> {
    let now_ms = app.platform.clock.now_ms();
    let due = app
        .db
        .read(move |tx| Box::pin(async move { list_due_gateway_events(tx, now_ms, BATCH).await }))
        .await?;
    let decided = stream::iter(due)
        .map(|event| async move {
            match apply(app, &event).await {
                Ok(()) => 1,
                Err(fault) => {
                    tracing::warn!(%fault, event_id = event.event_id, "a gateway event could not be applied");
                    put_off(app, event).await;
                    0
                }
            }
        })
        .buffer_unordered(AT_ONCE)
        .collect::<Vec<usize>>()
        .await;
    Ok(decided.into_iter().sum())
}

async fn apply(app: &App, event: &StoredGatewayEvent) -> Result<(), Fault> {
    reach("gateway_event.before_apply").await;
    match event.telling()? {
        None => decide(app, event, EventState::Parked, Some("not_understood")).await,
        Some(_) if is_of_another(app, event) => {
            decide(app, event, EventState::Parked, Some("wrong_merchant")).await
        }
        Some(Telling::Charge(told)) => charges::apply(app, event, told).await,
        Some(Telling::Refund(word)) => repayments::apply_refund(app, event, word).await,
        Some(Telling::Dispute(turn)) => repayments::apply_dispute(app, event, turn).await,
    }
}

/// Whether it is about another account at the gateway than ours.
fn is_of_another(app: &App, event: &StoredGatewayEvent) -> bool {
    let ours = app.config.gateway.events.merchant.as_deref();
    ours.is_some() && event.merchant.as_deref() != ours
}

async fn decide(
    app: &App,
    event: &StoredGatewayEvent,
    to: EventState,
    reason: Option<&'static str>,
) -> Result<(), Fault> {
    let (waiting, now) = (event.clone(), app.platform.now());
    let decided = app
        .db
        .write(move |tx| {
            let waiting = waiting.clone();
            Box::pin(async move { decide_in(tx, &waiting, (to, reason), now).await })
        })
        .await?;
    if decided {
        tell_decided(event, to, reason);
    }
    Ok(())
}

/// Decides an event that waits; `false` when somebody else has.
async fn decide_in(
    tx: &mut Tx,
    event: &StoredGatewayEvent,
    (to, reason): (EventState, Option<&str>),
    now: UnixSeconds,
) -> Result<bool, Fault> {
    let (provider, event_id) = (event.provider.as_str(), event.event_id.as_str());
    let decision = EventDecision { provider, event_id, from: EventState::Received, to, reason, now };
    decide_gateway_event(tx, &decision).await
}

/// Counts what was decided, and calls for a person where one is needed.
fn tell_decided(event: &StoredGatewayEvent, to: EventState, reason: Option<&'static str>) {
    let labels = [("state", to.as_str()), ("reason", reason.unwrap_or("none"))];
    metrics::counter!("gateway_events_total", &labels).increment(1);
    if to == EventState::Parked {
        tracing::error!(
            event_id = event.event_id,
            about = event.about,
            reference = event.reference,
            reason,
            "a gateway event does not fit and waits for a person"
        );
    }
}

/// An event that could not be applied is tried again later, and in the end left to a person.
async fn put_off(app: &App, event: StoredGatewayEvent) {
    if event.attempts + 1 >= ATTEMPTS_MAX {
        if let Err(fault) = decide(app, &event, EventState::Parked, Some("not_applied")).await {
            tracing::warn!(%fault, event_id = event.event_id, "a gateway event could not be parked");
        }
        return;
    }
    let wait_ms = 1_000_i64 << event.attempts.clamp(0, 9);
    let due_at_ms = app.platform.clock.now_ms().saturating_add(wait_ms);
    let put_off = app.db.write(move |tx| {
        let event = event.clone();
        Box::pin(async move { postpone_gateway_event(tx, &event.provider, &event.event_id, due_at_ms).await })
    });
    if let Err(fault) = put_off.await {
        tracing::warn!(%fault, "a gateway event could not be put off");
    }
}
