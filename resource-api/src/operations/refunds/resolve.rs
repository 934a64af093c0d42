//! A refund in the hands of a person: settling what could not be found out, under the rules of charges.
//!
//! Four eyes: neither the client that asked for the refund nor the one that made its order settles it. Only a refund
//! that was left to a person is settled by hand; whoever takes it first, a person or an event of the gateway, settles
//! it, and nobody after.

use chassis::audit::{NewAudit, insert_audit};
use chassis::claim::StoredAnswer;
use chassis::{Fault, Outcome as Ending, Tx, while_doing};
use serde_json::json;

use super::super::Failure;
use super::super::gateway_events::UNSTATED;
use super::super::testimony::{Stated, Testimony};
use super::settle::{SettleIds, Verdict, settle_in};
use super::view::RefundView;
use crate::app::App;
use crate::auth::{Attempt, Begun, Bound, begin, finish, still_running};
use crate::domain::refund::Refund;
use crate::domain::refusal::Refusal;
use crate::gateway::RefundAnswer;
use crate::store::fiat_ins::find_any_fiat_in;
use crate::store::refund_resolutions::{
    ManualRefundTake, NewRefundResolution, find_refund_resolution, insert_refund_resolution,
    take_manual_refund,
};
use crate::store::refunds::find_refund;

/// How a person settles a refund.
#[derive(Debug, Clone)]
pub(crate) struct ResolveRefund {
    fiat_in_id: String,
    refund_id: String,
    testimony: Testimony,
}

impl ResolveRefund {
    /// Checks what a person says.
    ///
    /// # Errors
    /// As [`Testimony::checked`].
    pub(crate) fn checked(
        (fiat_in_id, refund_id): (String, String),
        succeeded: bool,
        stated: Stated,
    ) -> Result<Self, Refusal> {
        Ok(Self { fiat_in_id, refund_id, testimony: Testimony::checked(stated, !succeeded)? })
    }

    fn outcome(&self) -> &'static str {
        if self.testimony.decline.is_some() { "failed" } else { "succeeded" }
    }

    /// As the answer of the gateway that it stands for.
    fn answer(&self) -> RefundAnswer {
        let Testimony { provider_ref, decline, .. } = self.testimony.clone();
        match decline {
            None => {
                RefundAnswer::Succeeded { provider_ref: provider_ref.unwrap_or_else(|| UNSTATED.to_owned()) }
            }
            Some(code) => RefundAnswer::Declined { code, provider_ref },
        }
    }
}

/// Drawn before the transaction, which may run twice.
#[derive(Debug, Clone)]
struct Drawn {
    attempt: Attempt,
    ask: ResolveRefund,
    verdict: Verdict,
    /// Name under which the refund is taken.
    holder: String,
    now_ms: i64,
    audit: NewAudit,
}

/// Settles a refund that was left to a person: ledger, order and events as if the gateway had answered.
///
/// # Errors
/// 404; 403 `four_eyes_required`; 409 `invalid_state`, `terminal`; a fault is the store's.
pub(crate) async fn resolve(
    app: &App,
    attempt: Attempt,
    ask: ResolveRefund,
) -> Result<StoredAnswer, Failure> {
    let partner_id = attempt.caller().partner_id.clone();
    let refund_id = ask.refund_id.as_str();
    let audit = NewAudit::change(&app.platform, attempt.actor(), partner_id, "refund.resolved", refund_id);
    let audit = audit.with(json!({ "outcome": ask.outcome(), "evidence": ask.testimony.evidence }));
    let verdict = Verdict {
        refund_id: ask.refund_id.clone(),
        answer: ask.answer(),
        park: None,
        ids: SettleIds::draw(&app.platform),
        now: attempt.now(),
    };
    let (holder, now_ms) = (app.platform.new_id("lse"), app.platform.clock.now_ms());
    let drawn = Drawn { attempt, ask, verdict, holder, now_ms, audit };
    let answer = app
        .db
        .write_or_undo(move |tx| {
            let drawn = drawn.clone();
            Box::pin(async move { resolve_in(tx, drawn).await })
        })
        .await??;
    app.outbox.wake();
    Ok(answer)
}

type Ruled = Result<Ending<Result<StoredAnswer, Refusal>>, Fault>;

async fn resolve_in(tx: &mut Tx, drawn: Drawn) -> Ruled {
    let Drawn { attempt, ask, verdict, holder, now_ms, audit } = drawn;
    match begin(tx, &attempt, &ask.refund_id, &Bound::default()).await? {
        Begun::Fresh => {}
        Begun::Answered(answer) => return Ok(Ending::Commit(Ok(answer))),
        Begun::Refused(refusal) => return Ok(Ending::Undo(Err(refusal))),
        Begun::Running { .. } => return Ok(Ending::Undo(Err(still_running()))),
    }
    let caller = attempt.caller();
    let (partner_id, refund_id) = (caller.partner_id.as_str(), ask.refund_id.as_str());
    let fiat_in_id = ask.fiat_in_id.as_str();
    let take = ManualRefundTake {
        partner_id,
        fiat_in_id,
        refund_id,
        client_id: &caller.client_id,
        holder: &holder,
        now_ms,
    };
    if !take_manual_refund(tx, &take).await? {
        let Some(refund) = find_refund(tx, partner_id, (fiat_in_id, refund_id)).await? else {
            return Ok(Ending::Undo(Err(Refusal::not_found("refund"))));
        };
        return Ok(Ending::Undo(Err(not_to_resolve(tx, &refund, &caller.client_id).await?)));
    }
    if !settle_in(tx, &verdict).await?.ended {
        return Err(Fault::new("resolve a refund: it was taken and yet not settled"));
    }
    let resolution = NewRefundResolution {
        refund_id,
        partner_id,
        outcome: ask.outcome(),
        evidence: &ask.testimony.evidence,
        resolved_by: &caller.client_id,
        now: attempt.now(),
    };
    insert_refund_resolution(tx, &resolution).await?;
    insert_audit(tx, &[audit]).await?;
    let answer = StoredAnswer { status: 200, body: told(tx, partner_id, (fiat_in_id, refund_id)).await? };
    finish(tx, &attempt, &answer).await?;
    Ok(Ending::Commit(Ok(answer)))
}

/// The refund as it stands now, with how it was settled.
async fn told(tx: &mut Tx, partner_id: &str, (fiat_in_id, refund_id): (&str, &str)) -> Result<String, Fault> {
    let refund = find_refund(tx, partner_id, (fiat_in_id, refund_id)).await?;
    let refund = refund.ok_or_else(|| Fault::new("resolve a refund: its row is gone"))?;
    let resolution = find_refund_resolution(tx, partner_id, refund_id).await?;
    let view = RefundView::from(&refund).resolved(resolution);
    serde_json::to_string(&view).map_err(while_doing("write the view of a refund"))
}

async fn not_to_resolve(tx: &mut Tx, refund: &Refund, client_id: &str) -> Result<Refusal, Fault> {
    if refund.state.is_final() {
        return Ok(Refusal::conflict("terminal", "The refund has its end, which nothing changes."));
    }
    let order = find_any_fiat_in(tx, &refund.fiat_in_id).await?;
    let order = order.ok_or_else(|| Fault::new("resolve a refund: its order is gone"))?;
    if order.client_id == client_id || refund.requested_by.as_deref() == Some(client_id) {
        let detail = "The clients that made the order and that asked for the refund do not settle it; another client \
                      of the partner does.";
        return Ok(Refusal::forbidden("four_eyes_required", detail));
    }
    let detail =
        "The outcome is still being found out; a refund is settled by hand once its state is `manual`.";
    Ok(Refusal::conflict("invalid_state", detail))
}
