//! Events about charges: what one means beside the charge it names, and how it is written down.

use chassis::Fault;
use chassis::failpoint::reach;

use super::super::fiat_ins::{Effect, Verdict};
use super::{UNSTATED, decide};
use crate::app::App;
use crate::domain::charge::Channel;
use crate::domain::charge_event::{EventState, KNOWN, Meaning, Told, meaning};
use crate::domain::fiat_in::FiatIn;
use crate::gateway::{Answer, DeclineCategory};
use crate::store::charge_views::{ChargeRow, find_charge_at, look_now};
use crate::store::charges::{Charge, find_charge};
use crate::store::fiat_ins::find_any_fiat_in;
use crate::store::gateway_events::StoredGatewayEvent;

/// What an event means, seen beside the charge it names.
struct Judged {
    meaning: Meaning,
    at: Option<(Charge, FiatIn)>,
}

/// Does what the event means for its charge.
pub(super) async fn apply(app: &App, event: &StoredGatewayEvent, told: Told) -> Result<(), Fault> {
    let Judged { meaning, at } = judge(app, event, told).await?;
    match (meaning, at) {
        (Meaning::Settle, Some((charge, order))) => settle(app, (event, told), (order, &charge)).await,
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
async fn settle(
    app: &App,
    (event, told): (&StoredGatewayEvent, Told),
    at: (FiatIn, &Charge),
) -> Result<(), Fault> {
    let verdict = Verdict::heard(app, at, answer(event, told)?, Channel::Event, None);
    let effect = app.settlements.submit(verdict).await?.effect;
    app.outbox.wake();
    reach("gateway_event.before_note").await;
    match effect {
        Effect::Moved(_) => decide(app, event, EventState::Applied, None).await,
        Effect::Late(_) => decide(app, event, EventState::Applied, Some("late_success")).await,
        Effect::Ignored => match judge(app, event, told).await?.meaning {
            Meaning::Ignore(reason) => decide(app, event, EventState::Ignored, Some(reason)).await,
            Meaning::Park(reason) => decide(app, event, EventState::Parked, Some(reason)).await,
            // Collected after the charge's end, and booked for that before.
            Meaning::Settle | Meaning::Look => decide(app, event, EventState::Ignored, Some(KNOWN)).await,
        },
        Effect::Waits => Err(Fault::new("apply a gateway event: it was not definite")),
    }
}

async fn judge(app: &App, event: &StoredGatewayEvent, told: Told) -> Result<Judged, Fault> {
    let park = |reason| Judged { meaning: Meaning::Park(reason), at: None };
    let Some(reference) = event.reference.clone() else { return Ok(park("not_understood")) };
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
    if let Some(reason) = mismatch(event, &view) {
        return Ok(park(reason));
    }
    Ok(Judged { meaning: meaning(view.state()?, told), at: Some(at) })
}

/// In what an event differs from the charge it names.
fn mismatch(event: &StoredGatewayEvent, charge: &ChargeRow) -> Option<&'static str> {
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
fn answer(event: &StoredGatewayEvent, told: Told) -> Result<Answer, Fault> {
    let provider_ref = event.provider_ref.clone();
    match (told, provider_ref, event.decline_code.clone()) {
        (Told::Captured, Some(provider_ref), _) => Ok(Answer::Captured { provider_ref }),
        (Told::Authorized, Some(provider_ref), _) => Ok(Answer::Authorized { provider_ref }),
        (Told::Voided, provider_ref, _) => Ok(Answer::Voided { provider_ref }),
        (Told::Declined, provider_ref, Some(code)) => {
            let hard = event.decline_category.as_deref() == Some(DeclineCategory::Hard.as_str());
            let category = if hard { DeclineCategory::Hard } else { DeclineCategory::Soft };
            Ok(Answer::Declined { code, category, provider_ref })
        }
        _ => Err(Fault::new("apply a gateway event: it is not definite")),
    }
}
