//! Refunds that nobody asks for: a charge succeeded after its order had ended, its money stands in the suspense
//! account, and goes back to the payer.

use chassis::audit::Actor;
use chassis::{Fault, Platform, Tx};
use keys::UnixSeconds;

use super::open::{NotOpened, Opening, open};
use crate::domain::ledger::{AccountId, SystemAccount};
use crate::domain::money::Money;
use crate::domain::refund::{Refund, RefundKind, RefundState};
use crate::store::fiat_ins::find_any_fiat_in;
use crate::store::refunds::lock_fiat_in;

/// Ids drawn before the transaction, which may run twice.
#[derive(Debug, Clone)]
pub struct AutomaticIds {
    /// `rfd_…`: pass it to [`execute`](super::execute) after the commit, or leave it to the worker.
    pub refund_id: String,
    hold_id: String,
    event_id: String,
}

impl AutomaticIds {
    /// Draws them.
    pub fn draw(platform: &Platform) -> Self {
        Self {
            refund_id: platform.new_id("rfd"),
            hold_id: platform.new_id("hld"),
            event_id: platform.new_id("evt"),
        }
    }
}

/// Money that came after its order had ended.
#[derive(Debug, Clone, Copy)]
pub struct LateMoney<'a> {
    /// The order.
    pub fiat_in_id: &'a str,
    /// The charge that collected it.
    pub charge_id: &'a str,
    /// The gateway that owes it to us.
    pub provider: &'a str,
    /// How much is to go back.
    pub money: Money,
    /// Why, as a public code.
    pub reason: &'a str,
    /// From when on a worker may send it, Unix milliseconds.
    pub due_at_ms: i64,
    /// When.
    pub now: UnixSeconds,
}

/// Opens the refund of money that stands in the suspense account, on the transaction that booked it there or a later
/// one. `false`: the charge has such a refund already, and nothing was done.
///
/// # Errors
/// A fault (so everything is rolled back) when there is no such order, or more would go back than it was for.
pub async fn open_automatic(tx: &mut Tx, late: LateMoney<'_>, ids: &AutomaticIds) -> Result<bool, Fault> {
    lock_fiat_in(tx, late.fiat_in_id).await?;
    let order = find_any_fiat_in(tx, late.fiat_in_id).await?;
    let order = order.ok_or_else(|| Fault::new("refund late money: its order is gone"))?;
    let suspense = AccountId::system(SystemAccount::Suspense, late.money.currency.code());
    let refund = Refund {
        refund_id: ids.refund_id.clone(),
        partner_id: order.partner_id.clone(),
        fiat_in_id: order.fiat_in_id.clone(),
        charge_id: late.charge_id.to_owned(),
        provider: late.provider.to_owned(),
        kind: RefundKind::Automatic,
        money: late.money,
        reason: late.reason.to_owned(),
        requested_by: None,
        account_id: suspense.as_str().to_owned(),
        hold_id: ids.hold_id.clone(),
        state: RefundState::Held,
        attempt: 0,
        decline_code: None,
        created_at: late.now,
        settled_at: None,
    };
    let opening = Opening {
        refund: &refund,
        order: &order,
        claim: None,
        due_at_ms: late.due_at_ms,
        event_id: &ids.event_id,
        actor: &Actor::node(),
    };
    match open(tx, &opening).await? {
        Ok(()) => Ok(true),
        Err(NotOpened::Before) => Ok(false),
        Err(other) => Err(Fault::new(format!("refund late money: {other:?}"))),
    }
}
