//! Transaction C: what was said of a charge becomes charge, ledger, order, answer and events in one commit. Own calls,
//! probes, the gateway's events and people all come here. Whoever brings a definite answer first writes it; everybody
//! later finds it written.
//!
//! It is a batch command: all verdicts that wait are written together, one statement for each table.

use std::collections::{BTreeMap, HashMap, HashSet};

use chassis::claim::{ClaimRef, StoredAnswer, find_answer_of, record_answer_of, record_answers_of};
use chassis::failpoint::reach;
use chassis::outbox::insert_events;
use chassis::{Batch, Db, Fault, Tx, while_doing};

use super::events;
use super::late::late_success;
use super::record::answer;
use super::verdict::{Effect, Held, Settled, Step, Verdict};
use crate::domain::charge::ChargeState;
use crate::domain::fiat_in::{FiatIn, FiatInState};
use crate::domain::ledger::{AccountId, Leg, NewPosting, SystemAccount};
use crate::ledger;
use crate::store::charge_attempts::{NewAttempt, insert_attempts};
use crate::store::charges::{ChargeStep, Late, park_charge, step_charges};
use crate::store::fiat_ins::find_claim;
use crate::store::order_steps::{Follow, Followed, follow_charges};

/// The verdicts that wait to be written down.
pub type Settlements = Batch<Verdict, Settled>;

/// The batch command of transaction C.
pub fn settlements(db: &Db) -> Settlements {
    db.batch("settle charges", |tx, verdicts| Box::pin(settle(tx, verdicts)))
}

/// What was written for the verdicts that moved their charge, by charge.
#[derive(Default)]
struct Moved {
    /// By which verdict of the batch each charge moved.
    by: HashMap<String, usize>,
    /// The answers that stand for requests that are answered now.
    told: HashMap<String, StoredAnswer>,
    /// Charges that were captured, and their order did not follow.
    late: HashSet<String>,
}

/// Writes one verdict down in a transaction that does more than that.
///
/// # Errors
/// As for the batch: the store's fault.
pub(crate) async fn settle_in(tx: &mut Tx, verdict: Verdict) -> Result<Settled, Fault> {
    let settled = settle(tx, vec![verdict]).await?.pop();
    settled.ok_or_else(|| Fault::new("settle a charge: nothing came of it"))
}

/// Writes verdicts down and returns what came of each.
///
/// # Errors
/// The store's fault; also when a captured charge belongs to an order that was not waiting for it and has not ended.
async fn settle(tx: &mut Tx, verdicts: Vec<Verdict>) -> Result<Vec<Settled>, Fault> {
    let mut moved = write_steps(tx, &furthest(&verdicts)).await?;
    let mut settled = Vec::with_capacity(verdicts.len());
    for (index, verdict) in verdicts.iter().enumerate() {
        let by_this = moved.by.get(&verdict.charge_id) == Some(&index);
        settled.push(conclude(tx, verdict, by_this, &mut moved).await?);
    }
    let heard: Vec<NewAttempt<'_>> = verdicts.iter().flat_map(Verdict::attempts).collect();
    insert_attempts(tx, &heard).await?;
    reach("fiat_in.in_c").await;
    Ok(settled)
}

/// For each charge the verdict that leads furthest, the first of equal ones. Charges are in the order of their ids.
fn furthest(verdicts: &[Verdict]) -> Vec<(usize, Step<'_>)> {
    let mut chosen: BTreeMap<&str, (usize, ChargeState)> = BTreeMap::new();
    for (index, verdict) in verdicts.iter().enumerate() {
        let Some(state) = verdict.answer.leads_to() else { continue };
        let best = chosen.entry(&verdict.charge_id).or_insert((index, state));
        if rank(state) > rank(best.1) {
            *best = (index, state);
        }
    }
    let step = |(index, charge): (usize, ChargeState)| {
        let verdict = &verdicts[index];
        (index, Step { verdict, charge, order: verdict.followed(charge) })
    };
    chosen.into_values().map(step).collect()
}

/// States are passed in this order only.
fn rank(state: ChargeState) -> u8 {
    match state {
        ChargeState::RequiresAction => 1,
        ChargeState::Authorized => 2,
        state if state.is_final() => 3,
        _ => 0,
    }
}

/// Takes the charges on, and with them their orders, the books, the events and the answers.
async fn write_steps(tx: &mut Tx, chosen: &[(usize, Step<'_>)]) -> Result<Moved, Fault> {
    let steps: Vec<ChargeStep<'_>> = chosen.iter().filter_map(|(_, step)| step.verdict.step()).collect();
    let stepped: HashSet<String> = step_charges(tx, &steps).await?.into_iter().collect();
    let new = || chosen.iter().filter(|(_, step)| stepped.contains(&step.charge_id));
    let follows: Vec<Follow<'_>> = new().map(|(_, step)| follow(step)).collect();
    let followed = follow_charges(tx, &follows).await?;
    let by_order: HashMap<&str, &Followed> =
        followed.iter().map(|row| (row.fiat_in_id.as_str(), row)).collect();
    let mut moved = Moved::default();
    let mut following = Vec::with_capacity(followed.len());
    for (index, step) in new() {
        moved.by.insert(step.charge_id.clone(), *index);
        match by_order.get(step.order.fiat_in_id.as_str()) {
            Some(row) => following.push((step.verdict, versioned(&step.order, row), row.claim.as_str())),
            None if step.charge == ChargeState::Captured => {
                moved.late.insert(step.charge_id.clone());
            }
            None => {}
        }
    }
    book(tx, &following).await?;
    let events: Vec<_> =
        following.iter().flat_map(|(verdict, order, _)| events::moved(order, &verdict.events)).collect();
    insert_events(tx, &events).await?;
    moved.told = record_all(tx, &following).await?;
    Ok(moved)
}

fn follow<'a>(step: &'a Step<'_>) -> Follow<'a> {
    Follow {
        fiat_in_id: &step.order.fiat_in_id,
        state: step.order.state,
        reason: step.order.state_reason.as_deref(),
        expires_at: step.order.expires_at,
        now: step.verdict.now,
    }
}

fn versioned(order: &FiatIn, row: &Followed) -> FiatIn {
    FiatIn { version: row.version, ..order.clone() }
}

/// An order that followed its charge, by which verdict, and where the answer to its request is kept.
type Following<'a> = (&'a Verdict, FiatIn, &'a str);

/// The gateway owes us what it collected; we owe it to the wallets.
async fn book(tx: &mut Tx, following: &[Following<'_>]) -> Result<(), Fault> {
    let completed = following.iter().filter(|(_, order, _)| order.state == FiatInState::Completed);
    let postings: Vec<NewPosting> = completed.map(|(verdict, order, _)| capture(order, verdict)).collect();
    let Some(now) = following.iter().map(|(verdict, ..)| verdict.now).max() else { return Ok(()) };
    for booked in ledger::post(tx, &postings, now).await? {
        booked.map_err(while_doing("book a captured charge"))?;
    }
    Ok(())
}

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

/// Records the answers of orders that ended or wait for their payer; where one was recorded before, that one stays.
async fn record_all(
    tx: &mut Tx,
    following: &[Following<'_>],
) -> Result<HashMap<String, StoredAnswer>, Fault> {
    let mut asked = Vec::with_capacity(following.len());
    for (verdict, order, claim) in following {
        // What goes on by itself is not answered yet.
        if order.state != FiatInState::Processing {
            asked.push((verdict.charge_id.as_str(), (claim_ref(claim)?, answer(order)?)));
        }
    }
    let (charges, asked): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
    let recorded = record_answers_of(tx, &asked).await?;
    let recorded: HashSet<_> = recorded.iter().map(|claim| (&claim.owner, &claim.key_hash)).collect();
    let mut told = HashMap::with_capacity(asked.len());
    for (charge_id, (claim, answer)) in charges.into_iter().zip(&asked) {
        let stands = if recorded.contains(&(&claim.owner, &claim.key_hash)) {
            None
        } else {
            find_answer_of(tx, claim).await?
        };
        told.insert(charge_id.to_owned(), stands.unwrap_or_else(|| answer.clone()));
    }
    Ok(told)
}

/// What came of one verdict.
async fn conclude(
    tx: &mut Tx,
    verdict: &Verdict,
    by_this: bool,
    moved: &mut Moved,
) -> Result<Settled, Fault> {
    let definite = verdict.answer.leads_to();
    if let (true, Some(state)) = (by_this, definite) {
        let effect = if moved.late.contains(&verdict.charge_id) {
            late_success(tx, verdict, Late::Captured).await?.map_or(Effect::Moved(state), Effect::Late)
        } else {
            Effect::Moved(state)
        };
        let told = moved.told.remove(&verdict.charge_id);
        let answer = if told.is_none() && state.is_final() { given(tx, &verdict.order).await? } else { told };
        return Ok(Settled { effect, answer });
    }
    if definite == Some(ChargeState::Captured)
        && let Some(late) = late_success(tx, verdict, Late::AfterItsEnd).await?
    {
        return Ok(Settled { effect: Effect::Late(late), answer: given(tx, &verdict.order).await? });
    }
    match &verdict.held {
        Some(held) => park(tx, verdict, held).await,
        None => Ok(Settled { effect: Effect::Ignored, answer: None }),
    }
}

/// Nothing new: the charge waits for its next probe, and the caller is told that it goes on.
async fn park(tx: &mut Tx, verdict: &Verdict, held: &Held) -> Result<Settled, Fault> {
    let parked = park_charge(tx, &verdict.charge_id, &held.holder, held.next).await?;
    if !parked {
        return Ok(Settled { effect: Effect::Ignored, answer: given(tx, &verdict.order).await? });
    }
    if held.next.0 == ChargeState::Manual {
        insert_events(tx, &[events::left_to_a_person(&verdict.order, &verdict.events, verdict.now)]).await?;
    }
    let claim = claim_of(tx, &verdict.order).await?;
    let mut order = verdict.order.clone();
    if let Some(charge) = &mut order.charge {
        charge.state = held.next.0;
    }
    let told = record(tx, &claim, answer(&order)?).await?;
    Ok(Settled { effect: Effect::Waits, answer: Some(told) })
}

/// Records an answer unless one was recorded before, and returns the one that stands.
pub(super) async fn record(tx: &mut Tx, claim: &str, told: StoredAnswer) -> Result<StoredAnswer, Fault> {
    let claim = claim_ref(claim)?;
    if record_answer_of(tx, &claim, &told).await? {
        return Ok(told);
    }
    // A claim that has expired and was swept: nobody can ask for the answer any more.
    Ok(find_answer_of(tx, &claim).await?.unwrap_or(told))
}

/// The answer that was given to the order's request already, if one was.
async fn given(tx: &mut Tx, order: &FiatIn) -> Result<Option<StoredAnswer>, Fault> {
    let claim = claim_ref(&claim_of(tx, order).await?)?;
    find_answer_of(tx, &claim).await
}

async fn claim_of(tx: &mut Tx, order: &FiatIn) -> Result<String, Fault> {
    find_claim(tx, &order.fiat_in_id).await?.ok_or_else(|| Fault::new("settle a charge: its order is gone"))
}

fn claim_ref(text: &str) -> Result<ClaimRef, Fault> {
    serde_json::from_str(text).map_err(while_doing("read where an answer is kept"))
}

#[cfg(test)]
#[path = "settle_tests.rs"]
mod tests;
