//! Between transactions A and C: take the charge (B0), call the gateway, write down what it said (C). What is
//! authorized is captured in a second round of the same three steps.

use chassis::claim::StoredAnswer;
use chassis::{Fault, while_doing};

use super::call::{Asked, ask_gateway};
use super::schedule::next_look;
use super::verdict::{Effect, Held, Settled, Verdict};
use crate::app::App;
use crate::domain::charge::ChargeState;
use crate::domain::fiat_in::FiatIn;
use crate::gateway::Answer;
use crate::store::charges::{Charge, Lease, take_due_charge, take_ready_charge};
use crate::store::fiat_ins::find_any_fiat_in;

/// Time beyond the gateway's deadline within which the holder of a lease writes down what it heard. Where a look and a
/// call together take longer, somebody else may ask the same under the same key, which does no harm.
const LEASE_MARGIN_MS: i64 = 2_000;

/// How long a charge belongs to the one who calls the gateway, milliseconds.
pub(crate) fn lease_ms(app: &App) -> i64 {
    i64::try_from(app.config.gateway.deadline_ms).unwrap_or(i64::MAX / 2).saturating_add(LEASE_MARGIN_MS)
}

/// Which charges may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Take {
    /// One that was never sent.
    Ready,
    /// One whose time has come, whatever happened to it.
    Due,
}

/// Takes the charge of an order, sends it and settles it. `None`: somebody else has it, or nothing was answered yet.
///
/// # Errors
/// The store's fault; the charge is then taken up again by the recovery worker.
pub(crate) async fn execute(app: &App, order: FiatIn, take: Take) -> Result<Option<StoredAnswer>, Fault> {
    let fiat_in_id = order.fiat_in_id.clone();
    let Some(settled) = act(app, order, take).await? else { return Ok(None) };
    if settled.effect == Effect::Moved(ChargeState::Authorized)
        && let Some(order) = find_order(app, &fiat_in_id).await?
        && let Some(captured) = act(app, order, Take::Due).await?
    {
        return Ok(captured.answer.or(settled.answer));
    }
    Ok(settled.answer)
}

/// One round: B0, the call, C.
async fn act(app: &App, order: FiatIn, take: Take) -> Result<Option<Settled>, Fault> {
    let Some(charge_id) = order.charge.as_ref().map(|charge| charge.charge_id.clone()) else {
        return Ok(None);
    };
    let holder = app.platform.new_id("lse");
    let Some(charge) = take_charge(app, &charge_id, &holder, take).await? else { return Ok(None) };
    let Asked { answer, trail } = ask_gateway(app, &charge).await?;
    if let Answer::Unknown(reason) = &answer {
        tracing::warn!(charge = charge.charge_id, attempt = charge.attempt, reason, "the outcome is unknown");
    }
    metrics::counter!("charges_total", "outcome" => answer.word()).increment(1);
    let next = next_look(app, &charge)?;
    let mut verdict = Verdict::new(app, (order, &charge), answer, trail);
    verdict.held = Some(Held { holder, next });
    let settled = app.settlements.submit(verdict).await?;
    app.outbox.wake();
    Ok(Some(settled))
}

/// Transaction B0.
async fn take_charge(app: &App, charge_id: &str, holder: &str, take: Take) -> Result<Option<Charge>, Fault> {
    let (charge_id, holder) = (charge_id.to_owned(), holder.to_owned());
    let now_ms = app.platform.clock.now_ms();
    let until_ms = now_ms.saturating_add(lease_ms(app));
    app.db
        .write(move |tx| {
            let (charge_id, holder) = (charge_id.clone(), holder.clone());
            Box::pin(async move {
                let lease = Lease { holder: &holder, now_ms, until_ms };
                match take {
                    Take::Ready => take_ready_charge(tx, &charge_id, lease).await,
                    Take::Due => take_due_charge(tx, &charge_id, lease).await,
                }
            })
        })
        .await
}

/// Reads an order and runs [`execute`] on its charge.
///
/// # Errors
/// The store's fault.
pub(crate) async fn execute_by_id(
    app: &App,
    fiat_in_id: &str,
    take: Take,
) -> Result<Option<StoredAnswer>, Fault> {
    match find_order(app, fiat_in_id).await? {
        Some(order) => execute(app, order, take).await,
        None => Ok(None),
    }
}

async fn find_order(app: &App, fiat_in_id: &str) -> Result<Option<FiatIn>, Fault> {
    let id = fiat_in_id.to_owned();
    app.db
        .read(move |tx| Box::pin(async move { find_any_fiat_in(tx, &id).await }))
        .await
        .map_err(while_doing("read the order of a charge"))
}
