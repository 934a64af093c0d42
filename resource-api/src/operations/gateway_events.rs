//! What a payment gateway tells by itself. An event is verified, stored and answered; then a leased worker applies it
//! through the same transaction as an answer to a call of our own. What does not fit the charge it names is parked for
//! a person, and nothing is booked for it.
//!
//! It is stored before it is answered, so an event that got its 200 is never lost; a gateway sends the others again.

use std::time::Duration;

use chassis::Fault;
use chassis::http::RequestNotes;
use chassis::lease::run_leased;
use chassis::shutdown::Shutdown;
use futures_util::{StreamExt as _, stream};

use super::Failure;
use super::fiat_ins::{Effect, Verdict};
use crate::app::App;
use crate::domain::charge::Channel;
use crate::domain::charge_event::{EventState, KNOWN, Meaning, Told, meaning};
use crate::domain::fiat_in::FiatIn;
use crate::domain::refusal::Refusal;
use crate::gateway::{Answer, Arrived, DeclineCategory};
use crate::store::charge_views::{ChargeRow, find_charge_at, look_now};
use crate::store::charges::{Charge, find_charge};
use crate::store::fiat_ins::find_any_fiat_in;
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

/// What stands for the gateway's own id of a charge when a person settled it without one.
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

/// What an event means, seen beside the charge it names.
struct Judged {
    meaning: Meaning,
    at: Option<(Charge, FiatIn)>,
}

async fn apply(app: &App, event: &StoredGatewayEvent) -> Result<(), Fault> {
    let Judged { meaning, at } = judge(app, event).await?;
    match (meaning, at) {
        (Meaning::Settle, Some((charge, order))) => settle(app, event, (order, &charge)).await,
        (Meaning::Look, Some((charge, _))) => {
            let now_ms = app.platform.clock.now_ms();
            app.db
                .write(move |tx| {
                    let charge_id = charge.charge_id.clone();
                    Box::pin(async move { look_now(tx, &charge_id, now_ms).await })
                })
                .await?;
            decide(app, event, EventState::Applied, None).await
        }
        (Meaning::Ignore(reason), _) => decide(app, event, EventState::Ignored, Some(reason)).await,
        (Meaning::Park(reason), _) => decide(app, event, EventState::Parked, Some(reason)).await,
        (Meaning::Settle | Meaning::Look, None) => Err(Fault::new("apply a gateway event: it has no charge")),
    }
}

/// Writes a definite event down. Our own answer, a person or another event may be faster: then it told nothing new.
async fn settle(app: &App, event: &StoredGatewayEvent, at: (FiatIn, &Charge)) -> Result<(), Fault> {
    let verdict = Verdict::heard(app, at, answer(event)?, Channel::Event, None);
    let effect = app.settlements.submit(verdict).await?.effect;
    app.outbox.wake();
    match effect {
        Effect::Moved(_) => decide(app, event, EventState::Applied, None).await,
        Effect::Late(_) => decide(app, event, EventState::Applied, Some("late_success")).await,
        Effect::Ignored => match judge(app, event).await?.meaning {
            Meaning::Ignore(reason) => decide(app, event, EventState::Ignored, Some(reason)).await,
            Meaning::Park(reason) => decide(app, event, EventState::Parked, Some(reason)).await,
            // Collected after the charge's end, and booked for that before.
            Meaning::Settle | Meaning::Look => decide(app, event, EventState::Ignored, Some(KNOWN)).await,
        },
        Effect::Waits => Err(Fault::new("apply a gateway event: it was not definite")),
    }
}

async fn judge(app: &App, event: &StoredGatewayEvent) -> Result<Judged, Fault> {
    let park = |reason| Judged { meaning: Meaning::Park(reason), at: None };
    let (Some(reference), Some(told)) = (event.reference.clone(), event.told()?) else {
        return Ok(park("not_understood"));
    };
    let provider = event.provider.clone();
    let found = app
        .db
        .read(move |tx| {
            Box::pin(async move {
                let Some(view) = find_charge_at(tx, &provider, &reference).await? else { return Ok(None) };
                let charge = find_charge(tx, &view.charge_id).await?;
                let order = find_any_fiat_in(tx, &view.fiat_in_id).await?;
                Ok(charge.zip(order).map(|at| (view, at)))
            })
        })
        .await?;
    let Some((view, at)) = found else { return Ok(park("unknown_reference")) };
    if let Some(reason) = mismatch(event, &view, app.config.gateway.events.merchant.as_deref()) {
        return Ok(park(reason));
    }
    Ok(Judged { meaning: meaning(view.state()?, told), at: Some(at) })
}

/// In what an event differs from the charge it names.
fn mismatch(event: &StoredGatewayEvent, charge: &ChargeRow, merchant: Option<&str>) -> Option<&'static str> {
    if merchant.is_some() && event.merchant.as_deref() != merchant {
        return Some("wrong_merchant");
    }
    if event.currency.as_deref() != Some(charge.currency.as_str()) {
        return Some("wrong_currency");
    }
    if event.amount != Some(charge.amount) {
        return Some("wrong_amount");
    }
    let known = charge.provider_ref.as_deref().filter(|known| *known != UNSTATED);
    if known.is_some() && event.provider_ref.as_deref() != known {
        return Some("other_charge_at_gateway");
    }
    None
}

/// A definite event as the answer that it is.
fn answer(event: &StoredGatewayEvent) -> Result<Answer, Fault> {
    let provider_ref = event.provider_ref.clone();
    match (event.told()?, provider_ref, event.decline_code.clone()) {
        (Some(Told::Captured), Some(provider_ref), _) => Ok(Answer::Captured { provider_ref }),
        (Some(Told::Authorized), Some(provider_ref), _) => Ok(Answer::Authorized { provider_ref }),
        (Some(Told::Voided), provider_ref, _) => Ok(Answer::Voided { provider_ref }),
        (Some(Told::Declined), provider_ref, Some(code)) => {
            let hard = event.decline_category.as_deref() == Some(DeclineCategory::Hard.as_str());
            let category = if hard { DeclineCategory::Hard } else { DeclineCategory::Soft };
            Ok(Answer::Declined { code, category, provider_ref })
        }
        _ => Err(Fault::new("apply a gateway event: it is not definite")),
    }
}

async fn decide(
    app: &App,
    event: &StoredGatewayEvent,
    to: EventState,
    reason: Option<&'static str>,
) -> Result<(), Fault> {
    let (provider, event_id) = (event.provider.clone(), event.event_id.clone());
    let now = app.platform.now();
    let decided = app
        .db
        .write(move |tx| {
            let (provider, event_id) = (provider.clone(), event_id.clone());
            Box::pin(async move {
                let (provider, event_id) = (provider.as_str(), event_id.as_str());
                let decision =
                    EventDecision { provider, event_id, from: EventState::Received, to, reason, now };
                decide_gateway_event(tx, &decision).await
            })
        })
        .await?;
    if decided {
        let labels = [("state", to.as_str()), ("reason", reason.unwrap_or("none"))];
        metrics::counter!("gateway_events_total", &labels).increment(1);
        if to == EventState::Parked {
            tracing::error!(
                event_id = event.event_id,
                charge = event.reference,
                reason,
                "a gateway event does not fit and waits for a person"
            );
        }
    }
    Ok(())
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
