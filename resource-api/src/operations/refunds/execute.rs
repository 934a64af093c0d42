//! Between transactions A and C: take the refund (B0), call the gateway, write down what it said (C).

use chassis::Fault;
use chassis::claim::StoredAnswer;
use keys::token::Money;

use super::super::fiat_ins::lease_ms;
use super::settle::{SettleIds, Verdict, settle};
use crate::app::App;
use crate::domain::refund::{Refund, RefundState};
use crate::gateway::{RefundAnswer, RefundOrder};
use crate::store::charges::Lease;
use crate::store::refunds::{take_due_refund, take_held_refund};

/// How often the end of a refund is tried to be written.
const SETTLE_TRIES: usize = 3;

/// Which refunds may be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Take {
    /// One that was never sent.
    Held,
    /// One whose time has come, whatever happened to it.
    Due,
}

/// Takes a refund, sends it and settles it; the answer to its request. `None`: somebody else has it.
///
/// # Errors
/// The store's fault; the refund is then taken up again by the recovery worker.
pub async fn execute(app: &App, refund_id: &str, take: Take) -> Result<Option<StoredAnswer>, Fault> {
    let holder = app.platform.new_id("lse");
    let Some(refund) = take_refund(app, refund_id, &holder, take).await? else { return Ok(None) };
    let said = ask_gateway(app, &refund).await;
    if let RefundAnswer::Unknown(reason) = &said {
        tracing::warn!(
            refund = refund.refund_id,
            attempt = refund.attempt,
            reason,
            "the outcome of a refund is unknown"
        );
    }
    metrics::counter!("refunds_total", "outcome" => outcome_label(&said)).increment(1);
    let verdict = Verdict {
        refund_id: refund.refund_id.clone(),
        answer: said,
        park: Some((holder, next_look(app, &refund))),
        ids: SettleIds::draw(&app.platform),
        now: app.platform.now(),
    };
    settle_insistently(app, verdict).await.map(Some)
}

/// Writes down what the gateway said, again where the database was only busy: what is not written has to be found out
/// anew once the lease has ended.
async fn settle_insistently(app: &App, verdict: Verdict) -> Result<StoredAnswer, Fault> {
    for _ in 1..SETTLE_TRIES {
        match settle(app, verdict.clone()).await {
            Err(fault) if fault.is_retryable() => {
                tracing::warn!(%fault, refund = verdict.refund_id, "the end of a refund is written again");
            }
            settled => return settled,
        }
    }
    settle(app, verdict).await
}

/// Transaction B0.
async fn take_refund(app: &App, refund_id: &str, holder: &str, take: Take) -> Result<Option<Refund>, Fault> {
    let (refund_id, holder) = (refund_id.to_owned(), holder.to_owned());
    let now_ms = app.platform.clock.now_ms();
    let until_ms = now_ms.saturating_add(lease_ms(app));
    let taken = app.db.write(move |tx| {
        let (refund_id, holder) = (refund_id.clone(), holder.clone());
        Box::pin(async move {
            let lease = Lease { holder: &holder, now_ms, until_ms };
            match take {
                Take::Held => take_held_refund(tx, &refund_id, lease).await,
                Take::Due => take_due_refund(tx, &refund_id, lease).await,
            }
        })
    });
    taken.await
}

/// Sends the refund. One that may have been sent before is looked for first; when the gateway does not know it, it is
/// sent again under the same key, which can never give back twice.
async fn ask_gateway(app: &App, refund: &Refund) -> RefundAnswer {
    let order = RefundOrder {
        refund_id: refund.refund_id.clone(),
        charge_id: refund.charge_id.clone(),
        money: Money { amount: refund.money.amount, currency: refund.money.currency.code().to_owned() },
    };
    if refund.attempt > 1
        && let Some(said @ (RefundAnswer::Succeeded { .. } | RefundAnswer::Declined { .. })) =
            app.gateway.find_refund(&order).await
    {
        return said;
    }
    app.gateway.refund(&order).await
}

fn outcome_label(said: &RefundAnswer) -> &'static str {
    match said {
        RefundAnswer::Succeeded { .. } => "succeeded",
        RefundAnswer::Declined { .. } => "declined",
        RefundAnswer::Unknown(_) => "unknown",
    }
}

/// When an unknown refund is looked at again, on the schedule of charges; once the time is used up a person has to.
fn next_look(app: &App, refund: &Refund) -> (RefundState, i64) {
    let gateway = &app.config.gateway;
    let now_ms = app.platform.clock.now_ms();
    let age_s = app.platform.now().0.saturating_sub(refund.created_at.0);
    if age_s >= gateway.give_up_after_s {
        tracing::error!(refund = refund.refund_id, age_s, "the outcome of a refund was not found out");
        return (RefundState::Manual, now_ms);
    }
    let tried = usize::try_from(refund.attempt - 1).unwrap_or_default();
    let schedule = &gateway.look_again_after_s;
    let wait_s = schedule.get(tried).or(schedule.last()).copied().unwrap_or(60);
    (RefundState::Unknown, now_ms.saturating_add(wait_s.saturating_mul(1_000)))
}
