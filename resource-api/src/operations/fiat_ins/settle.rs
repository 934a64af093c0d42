//! Transaction C: what the gateway said becomes charge, ledger, order, answer and events in one commit.
//! Whoever brings a definite answer first writes it; everybody later finds it written.

use chassis::claim::{ClaimRef, StoredAnswer, find_answer_of, record_answer_of};
use chassis::outbox::insert_events;
use chassis::{Fault, Platform, Tx, while_doing};
use keys::UnixSeconds;

use super::events::{self, EventIds};
use super::record::answer;
use crate::domain::fiat_in::{ChargeState, FiatIn, FiatInState};
use crate::domain::ledger::{AccountId, Leg, NewPosting, SystemAccount};
use crate::gateway::Answer;
use crate::ledger;
use crate::store::charges::{Settlement, park_charge, settle_charge};
use crate::store::fiat_ins::{Move, find_claim, move_fiat_in};

/// What the gateway said of a charge, and everything needed to write it down.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    /// The order, as it was when its charge was sent: `processing`, and nothing else moves it from there.
    pub(super) order: FiatIn,
    pub(super) charge_id: String,
    pub(super) provider: String,
    pub(super) answer: Answer,
    /// Holder of the charge's lease.
    pub(super) holder: String,
    /// Where the charge goes when nothing definite is known: `unknown` or `manual`, and when it is due.
    pub(super) next: (ChargeState, i64),
    pub(super) txn_id: String,
    pub(super) events: EventIds,
    pub(super) now: UnixSeconds,
}

impl Verdict {
    /// The ids that the transaction, which may run twice, needs.
    pub(super) fn ids(platform: &Platform) -> (String, EventIds) {
        (platform.new_id("txn"), EventIds::draw(platform))
    }
}

/// Writes a verdict down and returns the answer to the order's request, now or before.
///
/// # Errors
/// The store's fault; also when a captured charge belongs to an order that was not waiting for it.
pub(super) async fn settle(tx: &mut Tx, verdict: &Verdict) -> Result<StoredAnswer, Fault> {
    let end = match &verdict.answer {
        Answer::Unknown(_) => return park(tx, verdict).await,
        Answer::Captured { provider_ref } => Settlement { provider_ref: Some(provider_ref), decline: None },
        Answer::Declined { code, category, provider_ref } => {
            Settlement { provider_ref: provider_ref.as_deref(), decline: Some((code, category.as_str())) }
        }
    };
    let order = settled(verdict, &end);
    if !settle_charge(tx, &verdict.charge_id, &end, verdict.now).await? {
        return given(tx, &verdict.order).await;
    }
    let step = Move {
        fiat_in_id: &order.fiat_in_id,
        from: FiatInState::Processing,
        to: order.state,
        reason: order.state_reason.as_deref(),
        decision: order.decision,
        now: verdict.now,
    };
    let claim = move_fiat_in(tx, &step)
        .await?
        .ok_or_else(|| Fault::new("settle a charge: its order was not waiting"))?;
    if order.state == FiatInState::Completed {
        let posting = capture(&order, verdict);
        for booked in ledger::post(tx, &[posting], verdict.now).await? {
            booked.map_err(while_doing("book a captured charge"))?;
        }
    }
    insert_events(tx, &events::moved(&order, &verdict.events)).await?;
    let told = answer(&order)?;
    record(tx, &claim, told).await
}

/// Nothing definite: the charge waits for its next probe and the caller is told that it goes on.
async fn park(tx: &mut Tx, verdict: &Verdict) -> Result<StoredAnswer, Fault> {
    let parked = park_charge(tx, &verdict.charge_id, &verdict.holder, verdict.next).await?;
    if parked && verdict.next.0 == ChargeState::Manual {
        insert_events(tx, &[events::left_to_a_person(&verdict.order, &verdict.events, verdict.now)]).await?;
    }
    let claim = claim_of(tx, &verdict.order).await?;
    let mut order = verdict.order.clone();
    if let Some(charge) = &mut order.charge {
        charge.state = verdict.next.0;
    }
    let told = answer(&order)?;
    record(tx, &claim, told).await
}

/// Records an answer unless one was recorded before, and returns the one that stands.
pub(super) async fn record(tx: &mut Tx, claim: &str, told: StoredAnswer) -> Result<StoredAnswer, Fault> {
    let claim: ClaimRef = serde_json::from_str(claim).map_err(while_doing("read where an answer is kept"))?;
    if record_answer_of(tx, &claim, &told).await? {
        return Ok(told);
    }
    // A claim that has expired and was swept: nobody can ask for the answer any more.
    Ok(find_answer_of(tx, &claim).await?.unwrap_or(told))
}

/// The answer that was given to the order's request already.
async fn given(tx: &mut Tx, order: &FiatIn) -> Result<StoredAnswer, Fault> {
    let claim = claim_of(tx, order).await?;
    let claim: ClaimRef =
        serde_json::from_str(&claim).map_err(while_doing("read where an answer is kept"))?;
    match find_answer_of(tx, &claim).await? {
        Some(answer) => Ok(answer),
        None => answer(order),
    }
}

async fn claim_of(tx: &mut Tx, order: &FiatIn) -> Result<String, Fault> {
    find_claim(tx, &order.fiat_in_id).await?.ok_or_else(|| Fault::new("settle a charge: its order is gone"))
}

/// The order as it will be.
fn settled(verdict: &Verdict, end: &Settlement<'_>) -> FiatIn {
    let mut order = verdict.order.clone();
    order.version += 1;
    order.updated_at = verdict.now;
    order.state = if end.decline.is_some() { FiatInState::Failed } else { FiatInState::Completed };
    order.state_reason = end.decline.map(|(code, _)| code.to_owned());
    if let Some(charge) = &mut order.charge {
        charge.state = if end.decline.is_some() { ChargeState::Declined } else { ChargeState::Captured };
        charge.decline_code = end.decline.map(|(code, _)| code.to_owned());
        charge.decline_category = end.decline.map(|(_, category)| category.to_owned());
    }
    order
}

/// The gateway owes us what it collected; we owe it to the wallet.
fn capture(order: &FiatIn, verdict: &Verdict) -> NewPosting {
    let currency = order.money.currency.code();
    let clearing = AccountId::system(SystemAccount::GatewayClearing(&verdict.provider), currency);
    NewPosting {
        partner_id: order.partner_id.clone(),
        txn_id: verdict.txn_id.clone(),
        reference: format!("charge:{}:capture", verdict.charge_id),
        kind: "fiat_in",
        currency: currency.to_owned(),
        legs: vec![
            Leg::debit(clearing, order.money.amount),
            Leg::credit(AccountId::entity(&order.entity_id), order.money.amount),
        ],
        takes_hold: None,
        reverses: None,
    }
}
