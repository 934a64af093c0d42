//! Disputes: the payer contests a charge at the bank, and wins or loses. Called with what the gateway told, on the
//! transaction that keeps the telling; each turn counts once, in whatever order they come.

use chassis::outbox::insert_events;
use chassis::{Fault, Platform, Tx, while_doing};
use keys::UnixSeconds;

use super::super::fiat_ins::events::{EventIds, moved};
use super::events;
use super::told::ToldVerdict;
use crate::domain::fiat_in::{FiatIn, FiatInState};
use crate::domain::ledger::{AccountId, Leg, NewPosting, PostingRefusal, SystemAccount};
use crate::domain::money::Money;
use crate::domain::refund::{DisputeTurn, after_dispute};
use crate::ledger;
use crate::store::disputes::{
    Dispute, DisputeRow, find_dispute, find_order_of_charge, has_open_dispute, sum_lost_disputes,
    turn_dispute,
};
use crate::store::fiat_ins::find_any_fiat_in;
use crate::store::refunds::{change_fiat_in, lock_fiat_in};

/// Ids drawn before the transaction, which may run twice.
#[derive(Debug, Clone)]
pub struct DisputeIds {
    txn_ids: [String; 2],
    pub(super) event_id: String,
    order_events: EventIds,
}

impl DisputeIds {
    /// Draws them.
    pub fn draw(platform: &Platform) -> Self {
        Self {
            txn_ids: [platform.new_id("txn"), platform.new_id("txn")],
            event_id: platform.new_id("evt"),
            order_events: EventIds::draw(platform),
        }
    }
}

/// What a gateway told of a dispute.
#[derive(Debug, Clone)]
pub struct DisputeTold {
    /// The gateway's own id of the dispute.
    pub dispute_id: String,
    /// Our id of the contested charge.
    pub charge_id: String,
    /// How much is contested.
    pub money: Money,
    /// Ids for what is written.
    pub ids: DisputeIds,
    /// When.
    pub now: UnixSeconds,
}

/// The payer contests a charge: its order is `disputed` and not refunded until the end.
///
/// # Errors
/// The store's fault.
pub async fn dispute_opened(tx: &mut Tx, told: &DisputeTold) -> Result<ToldVerdict, Fault> {
    turn(tx, told, DisputeTurn::Opened).await
}

/// The payer was not right: the order is what its refunds make of it, once no other dispute is open.
///
/// # Errors
/// The store's fault.
pub async fn dispute_won(tx: &mut Tx, told: &DisputeTold) -> Result<ToldVerdict, Fault> {
    turn(tx, told, DisputeTurn::Won).await
}

/// The bank took the money back: the order is `charged_back`. The wallet pays if it holds enough that is available;
/// if not, the customer owes it to us.
///
/// # Errors
/// The store's fault.
pub async fn dispute_lost(tx: &mut Tx, told: &DisputeTold) -> Result<ToldVerdict, Fault> {
    turn(tx, told, DisputeTurn::Lost).await
}

async fn turn(tx: &mut Tx, told: &DisputeTold, turn: DisputeTurn) -> Result<ToldVerdict, Fault> {
    let Some((fiat_in_id, provider)) = find_order_of_charge(tx, &told.charge_id).await? else {
        return Ok(ToldVerdict::Unfit("unknown_reference"));
    };
    lock_fiat_in(tx, &fiat_in_id).await?;
    let before = find_any_fiat_in(tx, &fiat_in_id).await?;
    let before = before.ok_or_else(|| Fault::new("write a dispute: the order is gone"))?;
    let known = find_dispute(tx, &before.partner_id, &told.dispute_id).await?;
    if let Some(verdict) = known.and_then(|known| against_known(&known, told, (turn, &before))) {
        return Ok(verdict);
    }
    if let Some(why) = unfit(tx, told, (turn, &before)).await? {
        return Ok(ToldVerdict::Unfit(why));
    }
    let row = DisputeRow {
        partner_id: &before.partner_id,
        dispute_id: &told.dispute_id,
        fiat_in_id: &before.fiat_in_id,
        amount: told.money.amount,
        currency: told.money.currency.code(),
        state: turn.state(),
        now: told.now,
    };
    if !turn_dispute(tx, row).await? {
        return Err(Fault::new("a dispute changed although its order was locked"));
    }
    if turn == DisputeTurn::Lost {
        charge_back(tx, told, (&before, &provider)).await?;
    }
    move_order(tx, told, (turn, &before)).await?;
    Ok(ToldVerdict::Done)
}

/// What is to be said of a dispute that was told of before; `None`: it goes on.
fn against_known(
    known: &Dispute,
    told: &DisputeTold,
    (turn, order): (DisputeTurn, &FiatIn),
) -> Option<ToldVerdict> {
    let same = known.fiat_in_id == order.fiat_in_id
        && known.amount == told.money.amount
        && known.currency == told.money.currency.code();
    if !same {
        return Some(ToldVerdict::Unfit("other_dispute"));
    }
    if known.state == turn.state() || turn == DisputeTurn::Opened {
        return Some(ToldVerdict::Repeated);
    }
    (known.state != DisputeTurn::Opened.state()).then_some(ToldVerdict::Unfit("ended_otherwise"))
}

/// Why the telling does not fit the order, as a code, if it does not.
async fn unfit(
    tx: &mut Tx,
    told: &DisputeTold,
    (turn, order): (DisputeTurn, &FiatIn),
) -> Result<Option<&'static str>, Fault> {
    if told.money.currency != order.money.currency {
        return Ok(Some("wrong_currency"));
    }
    if told.money.amount > order.money.amount {
        return Ok(Some("wrong_amount"));
    }
    if after_dispute(order, turn, false, told.now).is_none() {
        return Ok(Some("not_collected"));
    }
    if turn != DisputeTurn::Lost {
        return Ok(None);
    }
    let lost = sum_lost_disputes(tx, &order.partner_id, &order.fiat_in_id).await?;
    let gone = lost.saturating_add(order.refunds.refunded).saturating_add(told.money.amount);
    Ok((gone > order.money.amount).then_some("exceeds_collected"))
}

/// The gateway owes us so much less: the wallet pays, or else the customer owes it.
async fn charge_back(
    tx: &mut Tx,
    told: &DisputeTold,
    (order, provider): (&FiatIn, &str),
) -> Result<(), Fault> {
    let [first, second] = &told.ids.txn_ids;
    let wallet = AccountId::entity(&order.entity_id);
    let paid = ledger::post(tx, &[posting(told, (order, provider), (first, wallet))], told.now).await?.pop();
    let paid = match paid.unwrap_or(Ok(())) {
        Err(PostingRefusal::InsufficientFunds(_)) => {
            let owed = SystemAccount::ChargebackReceivable(&order.customer_id);
            let owed = AccountId::system(owed, told.money.currency.code());
            let posting = posting(told, (order, provider), (second, owed));
            ledger::post(tx, &[posting], told.now).await?.pop().unwrap_or(Ok(()))
        }
        paid => paid,
    };
    paid.map_err(while_doing("book a chargeback"))
}

fn posting(
    told: &DisputeTold,
    (order, provider): (&FiatIn, &str),
    (txn_id, payer): (&str, AccountId),
) -> NewPosting {
    let (currency, amount) = (told.money.currency.code(), told.money.amount);
    let clearing = AccountId::system(SystemAccount::GatewayClearing(provider), currency);
    NewPosting {
        partner_id: order.partner_id.clone(),
        txn_id: txn_id.to_owned(),
        reference: format!("dispute:{}:chargeback", told.dispute_id),
        kind: "chargeback",
        currency: currency.to_owned(),
        legs: vec![Leg::debit(payer, amount), Leg::credit(clearing, amount)],
        takes_hold: None,
        reverses: None,
    }
}

/// Moves the order where the dispute takes it, and tells of both.
async fn move_order(
    tx: &mut Tx,
    told: &DisputeTold,
    (turn, before): (DisputeTurn, &FiatIn),
) -> Result<(), Fault> {
    let others_open = has_open_dispute(tx, &before.partner_id, &before.fiat_in_id).await?;
    let order = after_dispute(before, turn, others_open, told.now);
    let order = order.ok_or_else(|| Fault::new("write a dispute: nothing was collected"))?;
    let mut all = vec![events::dispute(told, turn, &order)];
    if order.state != before.state {
        change_fiat_in(tx, &order).await?;
        if matches!(order.state, FiatInState::Disputed | FiatInState::ChargedBack) {
            all.extend(moved(&order, &told.ids.order_events));
        }
    }
    insert_events(tx, &all).await
}
