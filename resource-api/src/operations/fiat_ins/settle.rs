//! Transaction C: what the gateway said becomes charge, ledger, order, answer and events in one commit.
//! Whoever brings a definite answer first writes it; everybody later finds it written.
//!
//! It is a batch command: all verdicts that wait are written together, one statement for each table.

use std::collections::{BTreeSet, HashMap, HashSet};

use chassis::claim::{ClaimRef, StoredAnswer, find_answer_of, record_answer_of, record_answers_of};
use chassis::outbox::insert_events;
use chassis::{Batch, Db, Fault, Platform, Tx, while_doing};
use keys::UnixSeconds;

use super::events::{self, EventIds};
use super::record::answer;
use crate::domain::fiat_in::{ChargeState, FiatIn, FiatInState};
use crate::domain::ledger::{AccountId, Leg, NewPosting, SystemAccount};
use crate::gateway::Answer;
use crate::ledger;
use crate::store::charges::{Settlement, park_charge, settle_charges};
use crate::store::fiat_ins::{Ending, end_fiat_ins, find_claim};

/// What the gateway said of a charge, and everything needed to write it down.
#[derive(Debug, Clone)]
pub struct Verdict {
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

/// The verdicts that wait to be written down.
pub type Settlements = Batch<Verdict, StoredAnswer>;

/// The batch command of transaction C.
pub fn settlements(db: &Db) -> Settlements {
    db.batch("settle charges", |tx, verdicts| Box::pin(settle(tx, verdicts)))
}

impl Verdict {
    /// The ids that the transaction, which may run twice, needs.
    pub(super) fn ids(platform: &Platform) -> (String, EventIds) {
        (platform.new_id("txn"), EventIds::draw(platform))
    }

    /// The order as a definite answer leaves it; `None` when the answer is not definite.
    fn ended(&self) -> Option<FiatIn> {
        let decline = match &self.answer {
            Answer::Unknown(_) => return None,
            Answer::Captured { .. } => None,
            Answer::Declined { code, category, .. } => Some((code.clone(), category.as_str().to_owned())),
        };
        let mut order = self.order.clone();
        order.version += 1;
        order.updated_at = self.now;
        order.state = if decline.is_some() { FiatInState::Failed } else { FiatInState::Completed };
        order.state_reason = decline.as_ref().map(|(code, _)| code.clone());
        if let Some(charge) = &mut order.charge {
            charge.state = if decline.is_some() { ChargeState::Declined } else { ChargeState::Captured };
            (charge.decline_code, charge.decline_category) = decline.unzip();
        }
        Some(order)
    }

    fn settlement(&self) -> Settlement<'_> {
        let (provider_ref, decline) = match &self.answer {
            Answer::Unknown(_) => (None, None),
            Answer::Captured { provider_ref } => (Some(provider_ref.as_str()), None),
            Answer::Declined { code, category, provider_ref } => {
                (provider_ref.as_deref(), Some((code.as_str(), category.as_str())))
            }
        };
        Settlement { charge_id: &self.charge_id, provider_ref, decline, now: self.now }
    }
}

/// Writes verdicts down and returns the answer to each order's request, now or before.
///
/// # Errors
/// The store's fault; also when a captured charge belongs to an order that was not waiting for it.
pub(super) async fn settle(tx: &mut Tx, verdicts: Vec<Verdict>) -> Result<Vec<StoredAnswer>, Fault> {
    let mut seen = BTreeSet::new();
    let definite: Vec<(&Verdict, FiatIn)> = verdicts
        .iter()
        .filter_map(|verdict| verdict.ended().map(|order| (verdict, order)))
        .filter(|(verdict, _)| seen.insert(verdict.charge_id.as_str()))
        .collect();
    let mut told = write_ends(tx, &definite).await?;
    let mut answers = Vec::with_capacity(verdicts.len());
    for verdict in &verdicts {
        answers.push(match (told.remove(&verdict.charge_id), &verdict.answer) {
            (Some(answer), _) => answer,
            (None, Answer::Unknown(_)) => park(tx, verdict).await?,
            (None, _) => given(tx, &verdict.order).await?,
        });
    }
    Ok(answers)
}

/// Writes the definite ends that are new; returns the answers of their requests by charge.
async fn write_ends(
    tx: &mut Tx,
    definite: &[(&Verdict, FiatIn)],
) -> Result<HashMap<String, StoredAnswer>, Fault> {
    let settlements: Vec<Settlement<'_>> = definite.iter().map(|(verdict, _)| verdict.settlement()).collect();
    let settled: BTreeSet<String> = settle_charges(tx, &settlements).await?.into_iter().collect();
    let new: Vec<&(&Verdict, FiatIn)> =
        definite.iter().filter(|(verdict, _)| settled.contains(&verdict.charge_id)).collect();
    let endings: Vec<Ending<'_>> = new
        .iter()
        .map(|(verdict, order)| Ending {
            fiat_in_id: &order.fiat_in_id,
            state: order.state,
            reason: order.state_reason.as_deref(),
            now: verdict.now,
        })
        .collect();
    let claims: HashMap<String, String> = end_fiat_ins(tx, &endings).await?.into_iter().collect();
    if claims.len() != new.len() {
        return Err(Fault::new("settle charges: an order was not waiting for its charge"));
    }
    book(tx, &new).await?;
    let events: Vec<_> =
        new.iter().flat_map(|(verdict, order)| events::moved(order, &verdict.events)).collect();
    insert_events(tx, &events).await?;
    record_all(tx, &new, &claims).await
}

/// The gateway owes us what it collected; we owe it to the wallets.
async fn book(tx: &mut Tx, new: &[&(&Verdict, FiatIn)]) -> Result<(), Fault> {
    let completed = new.iter().filter(|(_, order)| order.state == FiatInState::Completed);
    let postings: Vec<NewPosting> = completed.map(|(verdict, order)| capture(order, verdict)).collect();
    let Some(now) = new.iter().map(|(verdict, _)| verdict.now).max() else { return Ok(()) };
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

/// Records the answers of ended orders; where one was recorded before, that one stays.
async fn record_all(
    tx: &mut Tx,
    new: &[&(&Verdict, FiatIn)],
    claims: &HashMap<String, String>,
) -> Result<HashMap<String, StoredAnswer>, Fault> {
    let mut asked = Vec::with_capacity(new.len());
    for (_, order) in new {
        let claim = claims.get(&order.fiat_in_id).map(String::as_str).unwrap_or_default();
        asked.push((claim_ref(claim)?, answer(order)?));
    }
    let recorded = record_answers_of(tx, &asked).await?;
    let recorded: HashSet<_> = recorded.iter().map(|claim| (&claim.owner, &claim.key_hash)).collect();
    let mut told = HashMap::with_capacity(new.len());
    for ((verdict, _), (claim, answer)) in new.iter().zip(asked) {
        let stands = if recorded.contains(&(&claim.owner, &claim.key_hash)) {
            None
        } else {
            find_answer_of(tx, &claim).await?
        };
        told.insert(verdict.charge_id.clone(), stands.unwrap_or(answer));
    }
    Ok(told)
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
    let claim = claim_ref(claim)?;
    if record_answer_of(tx, &claim, &told).await? {
        return Ok(told);
    }
    // A claim that has expired and was swept: nobody can ask for the answer any more.
    Ok(find_answer_of(tx, &claim).await?.unwrap_or(told))
}

/// The answer that was given to the order's request already.
async fn given(tx: &mut Tx, order: &FiatIn) -> Result<StoredAnswer, Fault> {
    let claim = claim_ref(&claim_of(tx, order).await?)?;
    match find_answer_of(tx, &claim).await? {
        Some(answer) => Ok(answer),
        None => answer(order),
    }
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
