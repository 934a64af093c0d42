//! Ending an order before its charge was submitted, or while its payer is awaited. One guarded update of what the
//! order waits for (its review, its charge) decides between the reviewer, the sender, the gateway, the caller and the
//! clock; the order follows.

use chassis::{Fault, Tx};
use keys::UnixSeconds;

use crate::domain::charge::ChargeState;
use crate::domain::fiat_in::{FiatIn, FiatInState, ReviewState};
use crate::store::charges::{request_void, withdraw_ready_charge};
use crate::store::fiat_ins::{Move, move_fiat_in};
use crate::store::reviews::close_review;

/// How an order ends early.
#[derive(Debug, Clone, Copy)]
pub(super) struct EarlyEnd {
    /// `cancelled` or `expired`.
    pub(super) state: FiatInState,
    /// What becomes of its open review.
    pub(super) review: ReviewState,
    /// Why, as a public code.
    pub(super) reason: &'static str,
    pub(super) now: UnixSeconds,
    pub(super) now_ms: i64,
}

/// An order that ended early.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) order: FiatIn,
    /// Where the answer to the order's request is kept.
    pub(super) claim: String,
}

/// Ends an order as it was read. `None`: it does not wait any more, or its charge was submitted; nothing was written.
///
/// A charge that waits for the payer is not given up here but marked, and voided at the gateway by the recovery
/// worker. Should it turn out captured, its money goes to suspense.
///
/// # Errors
/// The store's fault.
pub(super) async fn end_early(tx: &mut Tx, mut order: FiatIn, end: EarlyEnd) -> Result<Option<Ended>, Fault> {
    let id = order.fiat_in_id.as_str();
    let given_up = match order.state {
        FiatInState::InReview => close_review(tx, id, end.review, end.now).await?,
        FiatInState::Processing => withdraw_ready_charge(tx, id, end.now).await?,
        FiatInState::RequiresAction => request_void(tx, id, end.now, end.now_ms).await?,
        _ => false,
    };
    if !given_up {
        return Ok(None);
    }
    let step = Move {
        fiat_in_id: id,
        from: order.state,
        to: end.state,
        reason: Some(end.reason),
        decision: order.decision,
        now: end.now,
    };
    let moved = move_fiat_in(tx, &step).await?;
    let claim = moved.ok_or_else(|| Fault::new("end a fiat-in: it was not as what it waited for"))?;
    if order.state == FiatInState::Processing
        && let Some(charge) = &mut order.charge
    {
        charge.state = ChargeState::Voided;
    }
    order.state = end.state;
    order.state_reason = Some(end.reason.to_owned());
    order.expires_at = None;
    order.version += 1;
    order.updated_at = end.now;
    Ok(Some(Ended { order, claim }))
}
