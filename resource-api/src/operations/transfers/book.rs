//! The rule of fast transfers, for one as for many.
//!
//! It is a batch command: the transfers that wait are judged and booked one after the other on accounts that are
//! loaded once, and written together. So an account that all of them touch costs no more than many accounts.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chassis::claim::StoredAnswer;
use chassis::failpoint::{is_planted, reach};
use chassis::outbox::{NewEvent, insert_events_of};
use chassis::{Batch, Db, Fault, Tx};
use keys::UnixSeconds;
use serde_json::json;

use super::super::once::Ruled;
use super::super::views::{TransferView, created};
use crate::auth::{Attempt, Beginning, Bound, Ended, begin_plain, end_all};
use crate::domain::entity::Entity;
use crate::domain::ledger::{AccountId, Leg, NewPosting, PostingRefusal};
use crate::domain::refusal::Refusal;
use crate::domain::transfer::{Transfer, TransferOrder};
use crate::ledger;
use crate::store;

/// A transfer that waits only for the database: ids are drawn.
#[derive(Debug)]
pub struct PreparedTransfer {
    pub(super) order: TransferOrder,
    pub(super) attempt: Attempt,
    pub(super) bound: Bound,
    pub(super) transfer_id: String,
    pub(super) txn_id: String,
    pub(super) event_id: String,
    pub(super) now: UnixSeconds,
}

impl PreparedTransfer {
    fn partner_id(&self) -> &str {
        &self.attempt.caller().partner_id
    }

    fn reference(&self) -> Option<(String, String)> {
        Some((self.partner_id().to_owned(), self.order.client_reference.clone()?))
    }
}

/// The transfers that wait to be booked. `None`: it is to be booked by itself.
pub type Transfers = Batch<Arc<PreparedTransfer>, Option<Result<StoredAnswer, Refusal>>>;

/// The batch command of fast transfers.
pub fn transfers(db: &Db) -> Transfers {
    db.batch("book transfers", |tx, asks| Box::pin(book_all(tx, asks)))
}

/// Books one transfer whose token or key is taken.
///
/// # Errors
/// The store's fault.
pub(super) async fn book_one(tx: &mut Tx, ask: &PreparedTransfer) -> Ruled {
    let made = book(tx, &[ask]).await?.pop();
    made.ok_or_else(|| Fault::new("book a transfer: it has no end"))
}

/// Books the plain ones of the transfers that wait. A refused one leaves nothing, as if it had not been there.
async fn book_all(
    tx: &mut Tx,
    asks: Vec<Arc<PreparedTransfer>>,
) -> Result<Vec<Option<Result<StoredAnswer, Refusal>>>, Fault> {
    let mut references = BTreeSet::new();
    let independent: Vec<(usize, &PreparedTransfer)> = asks
        .iter()
        .map(|ask| &**ask)
        .enumerate()
        .filter(|(_, ask)| ask.reference().is_none_or(|reference| references.insert(reference)))
        .collect();
    let beginnings: Vec<Beginning<'_>> = independent
        .iter()
        .map(|(_, ask)| Beginning { attempt: &ask.attempt, resource_id: &ask.transfer_id, bound: &ask.bound })
        .collect();
    let begun = begin_plain(tx, &beginnings).await?;
    let fresh: Vec<(usize, &PreparedTransfer)> =
        independent.into_iter().zip(begun).filter(|(_, begun)| *begun).map(|(ask, _)| ask).collect();
    let booked = book(tx, &fresh.iter().map(|(_, ask)| *ask).collect::<Vec<_>>()).await?;
    let ends: Vec<(&Attempt, Ended<'_>)> = fresh
        .iter()
        .zip(&booked)
        .map(|((_, ask), booked)| (&ask.attempt, booked.as_ref().map_or(Ended::Refused, Ended::Answered)))
        .collect();
    end_all(tx, &ends).await?;
    reach("transfer.in_unit").await;
    let mut places: BTreeMap<usize, _> = fresh.iter().map(|(place, _)| *place).zip(booked).collect();
    Ok((0..asks.len()).map(|place| places.remove(&place)).collect())
}

/// Judges and books in the order given; one answer or refusal each. A refusal left nothing.
async fn book(tx: &mut Tx, asks: &[&PreparedTransfer]) -> Result<Vec<Result<StoredAnswer, Refusal>>, Fault> {
    let entities = find_entities(tx, asks).await?;
    let used = find_used(tx, asks).await?;
    let mut judged: Vec<Result<Transfer, Refusal>> =
        asks.iter().map(|ask| judge(ask, &entities, &used)).collect();
    post(tx, asks, &mut judged).await?;
    let booked: Vec<Transfer> = judged.iter().flatten().cloned().collect();
    if store::transfers::insert_many(tx, &booked).await? != booked.len() {
        return Err(Fault::overtaken("book transfers: a reference was used meanwhile"));
    }
    let events: Vec<_> = asks
        .iter()
        .zip(&judged)
        .filter_map(|(ask, judged)| {
            let event = completed_event(judged.as_ref().ok()?, &ask.event_id);
            Some((ask.attempt.actor(), event))
        })
        .collect();
    if !is_planted("event_outside") {
        insert_events_of(tx, &events).await?;
    }
    let answer = |transfer| created(&TransferView::from(&transfer));
    judged
        .into_iter()
        .map(|judged| match judged {
            Ok(transfer) => answer(transfer).map(Ok),
            Err(refusal) => Ok(Err(refusal)),
        })
        .collect()
}

/// Entities of several partners by (partner, entity).
type Entities = BTreeMap<(String, String), Entity>;

async fn find_entities(tx: &mut Tx, asks: &[&PreparedTransfer]) -> Result<Entities, Fault> {
    let wanted: BTreeSet<(&str, &str)> = asks
        .iter()
        .flat_map(|ask| [&ask.order.source, &ask.order.destination].map(|id| (ask.partner_id(), id.as_str())))
        .collect();
    let found = store::entities::find_many(tx, &wanted.into_iter().collect::<Vec<_>>()).await?;
    Ok(found
        .into_iter()
        .map(|entity| ((entity.partner_id.clone(), entity.entity_id.clone()), entity))
        .collect())
}

/// References that a transfer has already.
async fn find_used(tx: &mut Tx, asks: &[&PreparedTransfer]) -> Result<BTreeSet<(String, String)>, Fault> {
    let wanted: Vec<(&str, &str)> = asks
        .iter()
        .filter_map(|ask| Some((ask.partner_id(), ask.order.client_reference.as_deref()?)))
        .collect();
    Ok(store::transfers::find_references(tx, &wanted).await?.into_iter().collect())
}

/// Everything but the funds: both entities, the source one that the caller may spend from, and the reference.
fn judge(
    ask: &PreparedTransfer,
    entities: &Entities,
    used: &BTreeSet<(String, String)>,
) -> Result<Transfer, Refusal> {
    let (caller, order) = (ask.attempt.caller(), &ask.order);
    let find = |id: &str| entities.get(&(caller.partner_id.clone(), id.to_owned()));
    let source =
        find(&order.source).filter(|entity| caller.own_sub().is_none_or(|sub| entity.belongs_to(sub)));
    let Some(source) = source else {
        return Err(Refusal::not_found("entity").at("/source", "not_found"));
    };
    let Some(destination) = find(&order.destination) else {
        return Err(Refusal::not_found("entity").at("/destination", "not_found"));
    };
    order.check_entities(source, destination)?;
    if ask.reference().is_some_and(|reference| used.contains(&reference)) {
        let detail = "the partner has used this reference for another transfer";
        return Err(Refusal::conflict("client_reference_taken", detail));
    }
    Ok(transfer(ask, source, destination))
}

/// Books those that were not refused so far, in order; what the ledger refuses becomes a refusal.
async fn post(
    tx: &mut Tx,
    asks: &[&PreparedTransfer],
    judged: &mut [Result<Transfer, Refusal>],
) -> Result<(), Fault> {
    let Some(now) = asks.iter().map(|ask| ask.now).max() else { return Ok(()) };
    let postings: Vec<NewPosting> = judged.iter().flatten().map(posting).collect();
    let mut verdicts = ledger::post(tx, &postings, now).await?.into_iter();
    for slot in judged.iter_mut().filter(|slot| slot.is_ok()) {
        if let Some(Err(refusal)) = verdicts.next() {
            *slot = Err(refused(&refusal)?);
        }
    }
    Ok(())
}

fn transfer(ask: &PreparedTransfer, source: &Entity, destination: &Entity) -> Transfer {
    let (caller, order) = (ask.attempt.caller(), &ask.order);
    Transfer {
        partner_id: source.partner_id.clone(),
        transfer_id: ask.transfer_id.clone(),
        mode: "fast".to_owned(),
        source_entity_id: source.entity_id.clone(),
        destination_entity_id: destination.entity_id.clone(),
        source_owner_id: source.owner_id.clone(),
        destination_owner_id: destination.owner_id.clone(),
        amount: order.money.amount,
        currency: order.money.currency.code().to_owned(),
        category: order.category.clone(),
        client_reference: order.client_reference.clone(),
        initiator_client_id: caller.client_id.clone(),
        initiator_sub: caller.sub.clone(),
        state: "completed".to_owned(),
        ledger_txn_id: ask.txn_id.clone(),
        created_at: ask.now,
        completed_at: Some(ask.now),
    }
}

fn posting(transfer: &Transfer) -> NewPosting {
    NewPosting {
        partner_id: transfer.partner_id.clone(),
        txn_id: transfer.ledger_txn_id.clone(),
        reference: format!("transfer:{}", transfer.transfer_id),
        kind: "transfer",
        currency: transfer.currency.clone(),
        legs: vec![
            Leg::debit(AccountId::entity(&transfer.source_entity_id), transfer.amount),
            Leg::credit(AccountId::entity(&transfer.destination_entity_id), transfer.amount),
        ],
        takes_hold: None,
        reverses: None,
    }
}

/// What a refused posting means for the caller of a transfer.
///
/// # Errors
/// A fault for what the checks before the posting have ruled out.
fn refused(refusal: &PostingRefusal) -> Result<Refusal, Fault> {
    match refusal {
        PostingRefusal::InsufficientFunds(_) => Ok(Refusal::unprocessable(
            "insufficient_funds",
            "/money/amount",
            "the source does not hold enough that is available",
        )),
        PostingRefusal::Overflow => Ok(Refusal::unprocessable(
            "amount_too_large",
            "/money/amount",
            "the destination cannot hold that much",
        )),
        other => Err(Fault::new(format!("book a transfer: {other}"))),
    }
}

pub(super) fn completed_event(transfer: &Transfer, event_id: &str) -> NewEvent {
    NewEvent {
        event_id: event_id.to_owned(),
        partner_id: transfer.partner_id.clone(),
        kind: "transfer.completed",
        occurred_at: transfer.created_at,
        data: json!({
            "transfer_id": transfer.transfer_id,
            "source": transfer.source_entity_id,
            "destination": transfer.destination_entity_id,
            "amount": { "amount": transfer.amount, "currency": transfer.currency },
            "state": transfer.state,
            "client_reference": transfer.client_reference,
        }),
    }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
