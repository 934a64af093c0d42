//! Late success: a charge turns out collected although its order was cancelled, had expired or failed, or although
//! the charge itself had been declined or voided. The gateway owes us the money and the wallet must not get it any
//! more, so it goes to suspense, once, and a refund of its own takes it back to the payer.

use chassis::outbox::insert_events;
use chassis::{Fault, Tx, while_doing};

use super::events;
use super::verdict::Verdict;
use crate::domain::fiat_in::{FiatIn, FiatInState};
use crate::domain::ledger::{AccountId, Leg, NewPosting, SystemAccount};
use crate::ledger;
use crate::operations::refunds::{LateMoney, open_automatic};
use crate::store::charges::{Late, note_late_success};
use crate::store::fiat_ins::find_any_fiat_in;

/// Money in suspense that is on its way back to the payer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LateSuccess {
    /// The tenant.
    pub partner_id: String,
    /// The order that had ended.
    pub fiat_in_id: String,
    /// The charge that was collected.
    pub charge_id: String,
    /// The gateway that has the money.
    pub provider: String,
    /// Minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: &'static str,
}

/// Books a captured charge of an order that does not wait for it any more. `None`: it was booked before.
///
/// # Errors
/// The store's fault; also when the order is gone, or is in a state in which its charge cannot be captured anew:
/// then the whole verdict is rolled back.
pub(super) async fn late_success(
    tx: &mut Tx,
    verdict: &Verdict,
    late: Late,
) -> Result<Option<LateSuccess>, Fault> {
    let charge = (verdict.charge_id.as_str(), verdict.answer.provider_ref());
    if !note_late_success(tx, charge, late, verdict.now).await? {
        return Ok(None);
    }
    let found = find_any_fiat_in(tx, &verdict.order.fiat_in_id).await?;
    let order = found
        .filter(|order| has_ended(order.state))
        .ok_or_else(|| Fault::new("settle charges: an order was not waiting for its charge"))?;
    for booked in ledger::post(tx, &[into_suspense(&order, verdict)], verdict.now).await? {
        booked.map_err(while_doing("book a charge that was captured late"))?;
    }
    insert_events(tx, &[events::captured_late(&order, &verdict.events, verdict.now)]).await?;
    open_automatic(tx, back(&order, verdict), &verdict.refund).await?;
    tracing::warn!(
        charge = verdict.charge_id,
        order = order.fiat_in_id,
        "captured after its order had ended"
    );
    metrics::counter!("charges_late_success_total").increment(1);
    Ok(Some(LateSuccess {
        partner_id: order.partner_id,
        fiat_in_id: order.fiat_in_id,
        charge_id: verdict.charge_id.clone(),
        provider: verdict.provider.clone(),
        amount: order.money.amount,
        currency: order.money.currency.code(),
    }))
}

/// The refund that takes the money back; the worker sends it at its next look.
fn back<'a>(order: &FiatIn, verdict: &'a Verdict) -> LateMoney<'a> {
    LateMoney {
        fiat_in_id: &verdict.order.fiat_in_id,
        charge_id: &verdict.charge_id,
        provider: &verdict.provider,
        money: order.money,
        reason: "late_success",
        due_at_ms: verdict.now_ms,
        now: verdict.now,
    }
}

/// Ended without the money.
fn has_ended(state: FiatInState) -> bool {
    matches!(
        state,
        FiatInState::Cancelled | FiatInState::Expired | FiatInState::Failed | FiatInState::Refused
    )
}

/// The gateway owes us what it collected; whose it is, is not settled.
fn into_suspense(order: &FiatIn, verdict: &Verdict) -> NewPosting {
    let currency = order.money.currency.code();
    let clearing = AccountId::system(SystemAccount::GatewayClearing(&verdict.provider), currency);
    let suspense = AccountId::system(SystemAccount::Suspense, currency);
    NewPosting {
        partner_id: order.partner_id.clone(),
        txn_id: verdict.txn_id.clone(),
        reference: format!("charge:{}:late_success", verdict.charge_id),
        kind: "late_success",
        currency: currency.to_owned(),
        legs: vec![Leg::debit(clearing, order.money.amount), Leg::credit(suspense, order.money.amount)],
        takes_hold: None,
        reverses: None,
    }
}
