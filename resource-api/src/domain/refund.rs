//! Refunds: money of an order on its way back to the payer, and what refunds and disputes do to the order.

use keys::UnixSeconds;

use super::customer::words;
use super::fiat_in::{FiatIn, FiatInState};
use super::money::Money;
use super::refusal::Refusal;

words! {
    /// Where a refund stands. `Succeeded` and `Failed` are final.
    RefundState {
        /// The money is set aside; the gateway was not asked yet.
        Held = "held",
        /// Being sent by the holder of the lease.
        Submitting = "submitting",
        /// Sent; what became of it is not known and being found out. The money stays set aside.
        Unknown = "unknown",
        /// Not found out within the time given: a person has to look. The money stays set aside.
        Manual = "manual",
        /// The payer has the money.
        Succeeded = "succeeded",
        /// Definitely not returned; the money is back where it was.
        Failed = "failed",
    }
}

words! {
    /// Who wanted a refund.
    RefundKind {
        /// The partner asked for it; a wallet pays.
        Requested = "requested",
        /// The charge succeeded when its order had ended; the money that came too late goes back.
        Automatic = "automatic",
    }
}

impl RefundState {
    /// Whether nothing changes any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed)
    }
}

/// A refund as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refund {
    /// `rfd_…`, the gateway's idempotency key.
    pub refund_id: String,
    /// The tenant.
    pub partner_id: String,
    /// The order that is given back.
    pub fiat_in_id: String,
    /// The charge that collected it.
    pub charge_id: String,
    /// The gateway.
    pub provider: String,
    /// Who wanted it.
    pub kind: RefundKind,
    /// How much.
    pub money: Money,
    /// Why: the caller's words, or a code for an automatic one.
    pub reason: String,
    /// The client that asked.
    pub requested_by: Option<String>,
    /// The ledger account that pays.
    pub account_id: String,
    /// Where the money is set aside.
    pub hold_id: String,
    /// Where it stands.
    pub state: RefundState,
    /// Calls of the gateway begun.
    pub attempt: i64,
    /// The gateway's reason of a decline.
    pub decline_code: Option<String>,
    /// When it was made.
    pub created_at: UnixSeconds,
    /// When it succeeded or failed.
    pub settled_at: Option<UnixSeconds>,
}

/// Longest reason, characters.
pub const REASON_CHARS_MAX: usize = 500;

/// What a caller asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundAsk {
    /// Minor units of the order's currency; `None`: all that is left.
    pub amount: Option<i64>,
    /// Why, in the caller's words.
    pub reason: String,
}

impl RefundAsk {
    /// Checks what can be said without looking anything up.
    ///
    /// # Errors
    /// 422 `amount_not_positive`, `reason_required`, `reason_too_long`.
    pub fn checked(amount: Option<i64>, reason: &str) -> Result<Self, Refusal> {
        if amount.is_some_and(|amount| amount <= 0) {
            let detail = "an amount is at least one minor unit; leave it out to refund all that is left";
            return Err(Refusal::unprocessable("amount_not_positive", "/amount", detail));
        }
        let reason = reason.trim();
        if reason.is_empty() {
            let detail = "say why the money goes back";
            return Err(Refusal::unprocessable("reason_required", "/reason", detail));
        }
        if reason.chars().count() > REASON_CHARS_MAX {
            let detail = "a reason has at most 500 characters";
            return Err(Refusal::unprocessable("reason_too_long", "/reason", detail));
        }
        Ok(Self { amount, reason: reason.to_owned() })
    }

    /// How much of an order is to go back.
    ///
    /// # Errors
    /// 409 `not_refundable` in a state in which nothing goes back; 422 `amount_exceeds_refundable`, with what is left.
    pub fn amount_of(&self, order: &FiatIn) -> Result<i64, Refusal> {
        use FiatInState::{Completed, PartiallyRefunded, Refunded};
        if !matches!(order.state, Completed | PartiallyRefunded | Refunded) {
            let detail = format!("an order that is {} is not refunded", order.state);
            return Err(Refusal::conflict("not_refundable", detail));
        }
        let left = refundable(order);
        let amount = self.amount.unwrap_or(left);
        if (1..=left).contains(&amount) {
            return Ok(amount);
        }
        let (currency, held) = (order.money.currency.code(), order.refunds.held);
        let detail = format!(
            "{left} minor units of {currency} are left to be refunded, {held} more are in refunds under way"
        );
        Err(Refusal::unprocessable("amount_exceeds_refundable", "/amount", detail))
    }
}

/// What of an order neither went back nor is on its way.
pub fn refundable(order: &FiatIn) -> i64 {
    order.money.amount.saturating_sub(order.refunds.refunded).saturating_sub(order.refunds.held)
}

/// The order with one more refund under way. `None`: not so much is left.
pub fn with_held(order: &FiatIn, amount: i64, now: UnixSeconds) -> Option<FiatIn> {
    if !(1..=refundable(order)).contains(&amount) {
        return None;
    }
    let mut next = changed(order, now);
    next.refunds.held += amount;
    Some(next)
}

/// The order after a refund under way has ended. `None`: no such amount was under way.
pub fn with_ended(order: &FiatIn, amount: i64, succeeded: bool, now: UnixSeconds) -> Option<FiatIn> {
    if !(1..=order.refunds.held).contains(&amount) {
        return None;
    }
    let mut next = changed(order, now);
    next.refunds.held -= amount;
    if succeeded {
        next.refunds.refunded = next.refunds.refunded.checked_add(amount)?;
        // A contested order, and one that ended before its money came, stay what they are.
        if matches!(next.state, FiatInState::Completed | FiatInState::PartiallyRefunded) {
            next.state = settled_state(&next);
        }
    }
    Some(next)
}

/// What an order is that was collected and is not contested: it follows from what went back.
fn settled_state(order: &FiatIn) -> FiatInState {
    match order.refunds.refunded {
        0 => FiatInState::Completed,
        refunded if refunded >= order.money.amount => FiatInState::Refunded,
        _ => FiatInState::PartiallyRefunded,
    }
}

words! {
    /// What a gateway can tell of a dispute.
    DisputeTurn {
        /// The payer contests the charge.
        Opened = "opened",
        /// The payer was not right.
        Won = "won",
        /// The bank took the money back.
        Lost = "lost",
    }
}

impl DisputeTurn {
    /// The state of the dispute after it.
    pub fn state(self) -> &'static str {
        match self {
            Self::Opened => "open",
            Self::Won => "won",
            Self::Lost => "lost",
        }
    }
}

/// The order after a dispute took a turn. `others_open`: another dispute of it is still open. The same order comes back
/// where nothing changes; `None`: such an order is not contested, because nothing was collected for it.
pub fn after_dispute(
    order: &FiatIn,
    turn: DisputeTurn,
    others_open: bool,
    now: UnixSeconds,
) -> Option<FiatIn> {
    use FiatInState::{ChargedBack, Completed, Disputed, PartiallyRefunded, Refunded};
    let to = match (order.state, turn) {
        (ChargedBack, _) | (Completed | PartiallyRefunded | Refunded | Disputed, DisputeTurn::Lost) => {
            ChargedBack
        }
        (Completed | PartiallyRefunded | Refunded | Disputed, DisputeTurn::Opened) => Disputed,
        (Disputed, DisputeTurn::Won) if others_open => Disputed,
        (Completed | PartiallyRefunded | Refunded | Disputed, DisputeTurn::Won) => settled_state(order),
        _ => return None,
    };
    if to == order.state {
        return Some(order.clone());
    }
    Some(FiatIn { state: to, ..changed(order, now) })
}

fn changed(order: &FiatIn, now: UnixSeconds) -> FiatIn {
    FiatIn { version: order.version + 1, updated_at: now, ..order.clone() }
}

#[cfg(test)]
#[path = "refund_tests.rs"]
mod tests;
