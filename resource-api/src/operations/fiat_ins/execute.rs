//! Between transactions A and C: take the charge (B0), call the gateway, write down what it said (C).

use chassis::claim::StoredAnswer;
use chassis::failpoint::reach;
use chassis::{Fault, while_doing};
use keys::token::Money;

use super::settle::Verdict;
use crate::app::App;
use crate::domain::fiat_in::{ChargeState, FiatIn};
use crate::gateway::{Answer, ChargeAsk, Found};
use crate::store::charges::{Charge, Lease, take_due_charge, take_ready_charge};

/// Time beyond the gateway's deadline within which the holder of a lease writes down what it heard.
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

/// Takes the charge of an order, sends it and settles it. `None`: somebody else has it.
///
/// # Errors
/// The store's fault; the charge is then taken up again by the recovery worker.
pub(crate) async fn execute(app: &App, order: FiatIn, take: Take) -> Result<Option<StoredAnswer>, Fault> {
    let Some(charge_id) = order.charge.as_ref().map(|charge| charge.charge_id.clone()) else {
        return Ok(None);
    };
    let holder = app.platform.new_id("lse");
    let Some(charge) = take_charge(app, &charge_id, &holder, take).await? else { return Ok(None) };
    reach("fiat_in.after_b0").await;
    let answer = ask_gateway(app, &charge).await;
    reach("fiat_in.after_call").await;
    if let Answer::Unknown(reason) = &answer {
        tracing::warn!(charge = charge.charge_id, attempt = charge.attempt, reason, "the outcome is unknown");
    }
    metrics::counter!("charges_total", "outcome" => outcome_label(&answer)).increment(1);
    let (txn_id, events) = Verdict::ids(&app.platform);
    let verdict = Verdict {
        next: next_look(app, &charge),
        order,
        charge_id: charge.charge_id,
        provider: charge.provider,
        answer,
        holder,
        txn_id,
        events,
        now: app.platform.now(),
    };
    let told = app.settlements.submit(verdict).await?;
    reach("fiat_in.after_c").await;
    app.outbox.wake();
    Ok(Some(told))
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

/// Sends the charge. One that may have been sent before is looked for first; when the gateway does not
/// know it, it is sent again under the same key, which can never collect twice.
async fn ask_gateway(app: &App, charge: &Charge) -> Answer {
    let ask = ChargeAsk {
        charge_id: charge.charge_id.clone(),
        money: Money { amount: charge.amount, currency: charge.currency.clone() },
        source: charge.source_token.clone(),
    };
    if charge.attempt > 1
        && let Found::Charge(answer @ (Answer::Captured { .. } | Answer::Declined { .. })) =
            app.gateway.find(&ask).await
    {
        return answer;
    }
    app.gateway.charge(&ask).await
}

fn outcome_label(answer: &Answer) -> &'static str {
    match answer {
        Answer::Captured { .. } => "captured",
        Answer::Declined { .. } => "declined",
        Answer::Unknown(_) => "unknown",
    }
}

/// When an unknown charge is looked at again; once the time is used up a person has to.
fn next_look(app: &App, charge: &Charge) -> (ChargeState, i64) {
    let gateway = &app.config.gateway;
    let now_ms = app.platform.clock.now_ms();
    let age_s = app.platform.now().0.saturating_sub(charge.created_at_s);
    if age_s >= gateway.give_up_after_s {
        tracing::error!(charge = charge.charge_id, age_s, "the outcome of a charge was not found out");
        return (ChargeState::Manual, now_ms);
    }
    let tried = usize::try_from(charge.attempt - 1).unwrap_or_default();
    let schedule = &gateway.look_again_after_s;
    let wait_s = schedule.get(tried).or(schedule.last()).copied().unwrap_or(60);
    (ChargeState::Unknown, now_ms.saturating_add(wait_s.saturating_mul(1_000)))
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
    let id = fiat_in_id.to_owned();
    let found = app
        .db
        .read(move |tx| Box::pin(async move { crate::store::fiat_ins::find_any_fiat_in(tx, &id).await }))
        .await
        .map_err(while_doing("read the order of a charge"))?;
    match found {
        Some(order) => execute(app, order, take).await,
        None => Ok(None),
    }
}
