//! The part of transaction A that a partner's refund and an automatic one have in common.

use chassis::audit::Actor;
use chassis::outbox::insert_events_by;
use chassis::{Fault, Tx};

use super::events;
use crate::domain::fiat_in::FiatIn;
use crate::domain::ledger::{AccountId, NewHold, PostingRefusal};
use crate::domain::refund::{Refund, with_held};
use crate::ledger;
use crate::store::refunds::{change_fiat_in, insert_refund};

/// A refund to be opened, of an order that is locked.
pub(super) struct Opening<'a> {
    pub(super) refund: &'a Refund,
    pub(super) order: &'a FiatIn,
    /// Where the answer to its request is kept.
    pub(super) claim: Option<&'a str>,
    /// When a worker may send it if this process does not, Unix milliseconds.
    pub(super) due_at_ms: i64,
    pub(super) event_id: &'a str,
    pub(super) actor: &'a Actor,
}

/// Why a refund was not opened. What was written until then has to be undone, except for `Before`.
#[derive(Debug)]
pub(super) enum NotOpened {
    /// The charge has an automatic refund already; nothing was written.
    Before,
    /// More than is left of the order.
    Exceeds,
    /// The account that has to pay cannot.
    Unpaid(PostingRefusal),
}

/// Writes the refund down and sets its money aside: the row, the order's totals, the hold, the event.
pub(super) async fn open(tx: &mut Tx, opening: &Opening<'_>) -> Result<Result<(), NotOpened>, Fault> {
    let Opening { refund, order, .. } = opening;
    let now = refund.created_at;
    if !insert_refund(tx, refund, (opening.claim, opening.due_at_ms)).await? {
        return Ok(Err(NotOpened::Before));
    }
    let Some(order) = with_held(order, refund.money.amount, now) else {
        return Ok(Err(NotOpened::Exceeds));
    };
    change_fiat_in(tx, &order).await?;
    if let Some(Err(refusal)) = ledger::hold(tx, &[hold(refund)], now).await?.pop() {
        return Ok(Err(NotOpened::Unpaid(refusal)));
    }
    let event = events::told(refund, &order, (opening.event_id, now));
    insert_events_by(tx, opening.actor, &[event]).await?;
    Ok(Ok(()))
}

fn hold(refund: &Refund) -> NewHold {
    NewHold {
        partner_id: refund.partner_id.clone(),
        hold_id: refund.hold_id.clone(),
        reference: format!("refund:{}", refund.refund_id),
        account_id: AccountId::stored(refund.account_id.clone()),
        counter_account_id: None,
        amount: refund.money.amount,
        currency: refund.money.currency.code().to_owned(),
    }
}
