//! Fast transfers: asked for, judged and booked in one transaction.

use chassis::audit::Actor;
use chassis::claim::StoredAnswer;
use chassis::failpoint::is_planted;
use chassis::outbox::{NewEvent, insert_events_by};
use chassis::{Fault, Tx};
use keys::token;
use serde_json::json;

use super::views::{TransferView, created};
use super::{Failure, Owner, once};
use crate::app::App;
use crate::auth::{Attempt, Bound};
use crate::domain::caller::Caller;
use crate::domain::cursor::{self, ListScope, Page};
use crate::domain::entity::Entity;
use crate::domain::ledger::{AccountId, Leg, NewPosting, PostingRefusal};
use crate::domain::refusal::Refusal;
use crate::domain::transfer::{Transfer, TransferOrder};
use crate::ledger;
use crate::store;
use crate::store::transfers::TransferFilter;

/// A transfer that waits only for the database: ids are drawn.
#[derive(Debug, Clone)]
pub struct PreparedTransfer {
    order: TransferOrder,
    caller: Caller,
    actor: Actor,
    transfer_id: String,
    txn_id: String,
    event_id: String,
    now: keys::UnixSeconds,
}

/// Moves money between two entities of the partner and answers 201 with the completed transfer.
///
/// A user, also through a one-time token, pays only from own wallets. A refusal leaves no row, and the token or key
/// unused.
///
/// # Errors
/// 404 for an entity that does not exist, is another tenant's, or (as the source) is not the caller's own; 422
/// `same_entity`, `currency_mismatch`, `route_not_allowed`, `insufficient_funds`, `entity_closed`, `entity_blocked`,
/// `customer_blocked`, `customer_restricted`; 409 `client_reference_taken`.
pub async fn execute(app: &App, attempt: Attempt, order: TransferOrder) -> Result<StoredAnswer, Failure> {
    order.check()?;
    let bound = Bound {
        money: Some(token::Money {
            amount: order.money.amount,
            currency: order.money.currency.code().to_owned(),
        }),
        entity_id: Some(order.source.clone()),
    };
    let prepared = PreparedTransfer {
        order,
        caller: attempt.caller().clone(),
        actor: attempt.actor(),
        transfer_id: app.platform.new_id("trf"),
        txn_id: app.platform.new_id("txn"),
        event_id: app.platform.new_id("evt"),
        now: app.platform.now(),
    };
    let transfer_id = prepared.transfer_id.clone();
    let told_late = is_planted("event_outside").then(|| prepared.clone());
    let answer = once(app, attempt, transfer_id, bound, move |tx| {
        let prepared = prepared.clone();
        Box::pin(async move {
            Ok(match record(tx, &prepared).await? {
                Ok(transfer) => Ok(created(&TransferView::from(&transfer))?),
                Err(refusal) => Err(refusal),
            })
        })
    })
    .await?;
    if let Some(prepared) = told_late {
        tell_late(app, prepared).await?;
    }
    Ok(answer)
}

/// The event of the planted mistake that writes it in a transaction of its own, after that of the change.
async fn tell_late(app: &App, prepared: PreparedTransfer) -> Result<(), Fault> {
    app.db
        .write(move |tx| {
            let prepared = prepared.clone();
            Box::pin(async move {
                let found =
                    store::transfers::find(tx, &prepared.caller.partner_id, &prepared.transfer_id).await?;
                let events = found.map(|transfer| completed_event(&transfer, &prepared.event_id));
                insert_events_by(tx, &prepared.actor, events.as_slice()).await
            })
        })
        .await
}

/// Judges and books on the open transaction.
async fn record(tx: &mut Tx, prepared: &PreparedTransfer) -> Result<Result<Transfer, Refusal>, Fault> {
    let (source, destination) = match find_entities(tx, prepared).await? {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    if let Err(refusal) = prepared.order.check_entities(&source, &destination) {
        return Ok(Err(refusal));
    }
    let transfer = transfer(prepared, source, destination);
    if !store::transfers::insert(tx, &transfer).await? {
        let detail = "the partner has used this reference for another transfer";
        return Ok(Err(Refusal::conflict("client_reference_taken", detail)));
    }
    let posted = ledger::post(tx, &[posting(&transfer)], prepared.now).await?.pop();
    if let Some(Err(refusal)) = posted {
        return refused(&refusal).map(Err);
    }
    if !is_planted("event_outside") {
        let event = completed_event(&transfer, &prepared.event_id);
        insert_events_by(tx, &prepared.actor, &[event]).await?;
    }
    Ok(Ok(transfer))
}

/// Both entities, the source one that the caller may spend from.
async fn find_entities(
    tx: &mut Tx,
    prepared: &PreparedTransfer,
) -> Result<Result<(Entity, Entity), Refusal>, Fault> {
    let (caller, order) = (&prepared.caller, &prepared.order);
    let wanted = [
        (caller.partner_id.as_str(), order.source.as_str()),
        (caller.partner_id.as_str(), order.destination.as_str()),
    ];
    let mut found = store::entities::find_many(tx, &wanted).await?;
    let mut take = |id: &str| {
        let at = found.iter().position(|entity| entity.entity_id == id)?;
        Some(found.swap_remove(at))
    };
    let source =
        take(&order.source).filter(|entity| caller.own_sub().is_none_or(|sub| entity.belongs_to(sub)));
    let Some(source) = source else {
        return Ok(Err(Refusal::not_found("entity").at("/source", "not_found")));
    };
    let Some(destination) = take(&order.destination) else {
        return Ok(Err(Refusal::not_found("entity").at("/destination", "not_found")));
    };
    Ok(Ok((source, destination)))
}

fn transfer(prepared: &PreparedTransfer, source: Entity, destination: Entity) -> Transfer {
    let order = &prepared.order;
    Transfer {
        partner_id: source.partner_id,
        transfer_id: prepared.transfer_id.clone(),
        mode: "fast".to_owned(),
        source_entity_id: source.entity_id,
        destination_entity_id: destination.entity_id,
        source_owner_id: source.owner_id,
        destination_owner_id: destination.owner_id,
        amount: order.money.amount,
        currency: order.money.currency.code().to_owned(),
        category: order.category.clone(),
        client_reference: order.client_reference.clone(),
        initiator_client_id: prepared.caller.client_id.clone(),
        initiator_sub: prepared.caller.sub.clone(),
        state: "completed".to_owned(),
        ledger_txn_id: prepared.txn_id.clone(),
        created_at: prepared.now,
        completed_at: Some(prepared.now),
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

fn completed_event(transfer: &Transfer, event_id: &str) -> NewEvent {
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

/// A transfer the caller may see: a user sees those from or to own wallets.
///
/// # Errors
/// 404 for one that does not exist, is another tenant's, or is not the caller's own.
pub async fn find(app: &App, caller: &Caller, transfer_id: &str) -> Result<Transfer, Failure> {
    let (caller, id) = (caller.clone(), transfer_id.to_owned());
    let found = app
        .db
        .read(move |tx| {
            Box::pin(async move {
                let owner = Owner::of(tx, &caller).await?;
                let found = store::transfers::find(tx, &caller.partner_id, &id).await?;
                Ok(found.filter(|transfer| match &owner {
                    Owner::Any => true,
                    Owner::Nobody => false,
                    Owner::Customer(id) => {
                        transfer.source_owner_id == *id || transfer.destination_owner_id == *id
                    }
                }))
            })
        })
        .await?;
    found.ok_or_else(|| Refusal::not_found("transfer").into())
}

/// What narrows and pages a list of transfers.
#[derive(Debug, Clone, Default)]
pub struct TransferQuery {
    /// Only the one with this reference.
    pub client_reference: Option<String>,
    /// Rows at most.
    pub limit: Option<i64>,
    /// Where to go on.
    pub cursor: Option<String>,
}

/// Transfers the caller may see, newest first.
///
/// # Errors
/// 400 `invalid_cursor` or `invalid_limit`.
pub async fn list(app: &App, caller: &Caller, query: TransferQuery) -> Result<Page<Transfer>, Failure> {
    let limit = cursor::checked_limit(query.limit)?;
    let scope_text = json!([query.client_reference, caller.own_sub()]).to_string();
    let scope = ListScope { partner_id: &caller.partner_id, list: "transfers", filter: &scope_text };
    let after =
        query.cursor.map(|text| cursor::open(&app.cursor_key, scope, &text)).transpose()?.unwrap_or_default();
    let (asker, client_reference) = (caller.clone(), query.client_reference);
    let rows = app
        .db
        .read(move |tx| {
            Box::pin(async move {
                let owner_id = match Owner::of(tx, &asker).await? {
                    Owner::Any => None,
                    Owner::Nobody => return Ok(Vec::new()),
                    Owner::Customer(id) => Some(id),
                };
                let filter = TransferFilter { owner_id, client_reference };
                store::transfers::list(tx, &asker.partner_id, &filter, &after, limit + 1).await
            })
        })
        .await?;
    Ok(cursor::page(rows, limit, |transfer| cursor::sign(&app.cursor_key, scope, &transfer.transfer_id)))
}
