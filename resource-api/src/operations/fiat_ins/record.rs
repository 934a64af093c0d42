//! Transaction A: everything that makes an order, in one commit.
//!
//! It is a batch command: the orders that wait are decided one after the other and written together, one statement
//! for each table. An order that is not plain (a repeat, a token for something else, a reference or personal data that
//! depend on a neighbour) is recorded in a unit of its own, by the same rule.

mod make;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chassis::claim::StoredAnswer;
use chassis::{Batch, Db, Fault, Outcome as Ending, Platform, Tx, while_doing};
use keys::digest::sha256_b64;

use super::events::EventIds;
use super::place::FiatInAsk;
use crate::auth::{Attempt, Beginning, Begun, Bound, Ended, begin, begin_plain, end_all, finish};
use crate::crypto::vault::SealedPii;
use crate::domain::charge::{ChargeState, ChargeView};
use crate::domain::fiat_in::FiatIn;
use crate::domain::refusal::Refusal;
use crate::monitoring::{Decision, Inputs, MonitoringConfig, evaluate};
use crate::store::charges::NewCharge;

use make::make;

/// Ids drawn before the transaction, which may run twice.
#[derive(Debug, Clone)]
pub(super) struct Ids {
    pub(super) fiat_in: String,
    charge: String,
    decision: String,
    review: String,
    audit: String,
    events: EventIds,
}

impl Ids {
    pub(super) fn draw(platform: &Platform) -> Self {
        Self {
            fiat_in: platform.new_id("fin"),
            charge: platform.new_id("chg"),
            decision: platform.new_id("dec"),
            review: platform.new_id("rev"),
            audit: platform.new_id("aud"),
            events: EventIds::draw(platform),
        }
    }
}

/// Everything transaction A needs.
#[derive(Debug)]
pub struct Recording {
    pub(super) attempt: Attempt,
    pub(super) bound: Bound,
    pub(super) ask: FiatInAsk,
    pub(super) sub: String,
    pub(super) sealed: Option<SealedPii>,
    pub(super) ids: Ids,
    pub(super) limits: Arc<MonitoringConfig>,
    pub(super) provider: &'static str,
    /// Who calls the gateway once the order is recorded: the holder of the charge's lease.
    pub(super) holder: String,
    /// Until when nobody else may send the charge, Unix milliseconds.
    pub(super) due_at_ms: i64,
}

impl Recording {
    fn partner_id(&self) -> &str {
        &self.attempt.caller().partner_id
    }

    /// Which customer orders.
    fn subject(&self) -> (String, String) {
        (self.partner_id().to_owned(), self.sub.clone())
    }

    /// The charge of its order, taken by [`Recording::holder`].
    pub(super) fn charge(&self, order: &FiatIn) -> NewCharge {
        let charge = new_charge(order, &self.ids.charge, self.provider, self.due_at_ms);
        charge.paid_by(&self.ask.instrument.token)
    }
}

/// How transaction A ended.
#[derive(Debug, Clone)]
pub enum Recorded {
    /// The answer is known: a repeat, a recorded refusal, or an order that needs no charge.
    Answered(StoredAnswer),
    /// A repeat of a request that is still being worked on.
    Running {
        /// The order that the first request made.
        fiat_in_id: String,
    },
    /// The order goes on: its charge is ours to send.
    Charged(Box<FiatIn>),
}

/// What became of one order that was recorded together with others; `None`: it is to be recorded by itself.
pub(super) type Made = Result<Recorded, Refusal>;

/// The orders that wait to be recorded.
pub type Orders = Batch<Arc<Recording>, Option<Made>>;

/// The batch command of transaction A.
pub fn orders(db: &Db) -> Orders {
    db.batch("record orders", |tx, asks| Box::pin(record_all(tx, asks)))
}

/// Records one order, or finds out that it was recorded before.
///
/// # Errors
/// The store's fault. A refusal that made no order undoes, so that the token stays unused.
pub(super) async fn record(tx: &mut Tx, ask: &Recording) -> Result<Ending<Made>, Fault> {
    match begin(tx, &ask.attempt, &ask.ids.fiat_in, &ask.bound).await? {
        Begun::Fresh => {}
        Begun::Answered(answer) => return Ok(Ending::Commit(Ok(Recorded::Answered(answer)))),
        Begun::Refused(refusal) => return Ok(Ending::Undo(Err(refusal))),
        Begun::Running { resource_id } => {
            return Ok(Ending::Undo(Ok(Recorded::Running { fiat_in_id: resource_id })));
        }
    }
    let made = make(tx, &[ask]).await?.pop().ok_or_else(|| Fault::new("record an order: it has no end"))?;
    match &made {
        Err(_) => return Ok(Ending::Undo(made)),
        Ok(Recorded::Answered(answer)) => finish(tx, &ask.attempt, answer).await?,
        Ok(_) => {}
    }
    Ok(Ending::Commit(made))
}

/// Records the plain ones of the orders that wait. A refused one leaves nothing, as if it had not been there.
async fn record_all(tx: &mut Tx, asks: Vec<Arc<Recording>>) -> Result<Vec<Option<Made>>, Fault> {
    let independent = independent(&asks);
    let beginnings: Vec<Beginning<'_>> = independent
        .iter()
        .map(|(_, ask)| Beginning { attempt: &ask.attempt, resource_id: &ask.ids.fiat_in, bound: &ask.bound })
        .collect();
    let begun = begin_plain(tx, &beginnings).await?;
    let fresh: Vec<(usize, &Recording)> =
        independent.into_iter().zip(begun).filter(|(_, begun)| *begun).map(|(ask, _)| ask).collect();
    let made = make(tx, &fresh.iter().map(|(_, ask)| *ask).collect::<Vec<_>>()).await?;
    let ends: Vec<(&Attempt, Ended<'_>)> = fresh
        .iter()
        .zip(&made)
        .map(|((_, ask), made)| {
            let end = match made {
                Err(_) => Ended::Refused,
                Ok(Recorded::Answered(answer)) => Ended::Answered(answer),
                Ok(_) => Ended::GoesOn,
            };
            (&ask.attempt, end)
        })
        .collect();
    end_all(tx, &ends).await?;
    let mut places: BTreeMap<usize, Made> = fresh.iter().map(|(place, _)| *place).zip(made).collect();
    Ok((0..asks.len()).map(|place| places.remove(&place)).collect())
}

/// The orders that can be recorded together, with their places: not one whose client reference an earlier one has,
/// and of a customer whose personal data comes along only the first.
fn independent(asks: &[Arc<Recording>]) -> Vec<(usize, &Recording)> {
    let mut references = BTreeSet::new();
    let mut customers: BTreeMap<(String, String), bool> = BTreeMap::new();
    let mut is_independent = |ask: &Recording| {
        if !references.insert((ask.partner_id().to_owned(), ask.ask.client_reference.clone())) {
            return false;
        }
        let with_data = ask.sealed.is_some();
        match customers.get(&ask.subject()) {
            Some(earlier_with_data) => !with_data && !earlier_with_data,
            None => customers.insert(ask.subject(), with_data).is_none(),
        }
    };
    asks.iter().map(|ask| &**ask).enumerate().filter(|(_, ask)| is_independent(ask)).collect()
}

/// The answer that tells an order as it stands.
pub(super) fn answer(order: &FiatIn) -> Result<StoredAnswer, Fault> {
    let body = order.body().map_err(while_doing("write the view of a fiat-in"))?;
    Ok(StoredAnswer { status: order.answer_status(), body })
}

/// Runs the rules and hashes what they looked at.
pub(in crate::operations) fn judged(
    limits: &MonitoringConfig,
    inputs: &Inputs,
) -> Result<(Decision, String), Fault> {
    let text = serde_json::to_vec(inputs).map_err(while_doing("write the inputs of a decision"))?;
    Ok((evaluate(limits, inputs), sha256_b64(&text)))
}

pub(super) fn charge_view(charge_id: &str, state: ChargeState) -> ChargeView {
    ChargeView::new(charge_id, state)
}

/// The charge of an order, without its instrument.
pub(super) fn new_charge(
    order: &FiatIn,
    charge_id: &str,
    provider: &'static str,
    due_at_ms: i64,
) -> NewCharge {
    NewCharge {
        charge_id: charge_id.to_owned(),
        partner_id: order.partner_id.clone(),
        fiat_in_id: order.fiat_in_id.clone(),
        provider,
        amount: order.money.amount,
        currency: order.money.currency.code(),
        source_token: String::new(),
        due_at_ms,
        now: order.updated_at,
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;
