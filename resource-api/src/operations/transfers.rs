//! Fast transfers: asked for, judged and booked in one transaction.

mod book;

use std::sync::Arc;

use chassis::Fault;
use chassis::claim::StoredAnswer;
use chassis::failpoint::{is_planted, reach};
use chassis::outbox::insert_events_by;
use keys::token;
use serde_json::json;

use super::{Failure, Owner, once};
use crate::app::App;
use crate::auth::{Attempt, Bound};
use crate::domain::caller::Caller;
use crate::domain::cursor::{self, ListScope, Page};
use crate::domain::refusal::Refusal;
use crate::domain::transfer::{Transfer, TransferOrder};
use crate::store;
use crate::store::transfers::TransferFilter;

use book::{PreparedTransfer, book_one, completed_event};

pub use book::{Transfers, transfers};

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
    let prepared = Arc::new(PreparedTransfer {
        order,
        attempt,
        bound,
        transfer_id: app.platform.new_id("trf"),
        txn_id: app.platform.new_id("txn"),
        event_id: app.platform.new_id("evt"),
        now: app.platform.now(),
    });
    let told_late = is_planted("event_outside").then(|| Arc::clone(&prepared));
    // The planted mistake is in the way a transfer takes alone.
    if told_late.is_none()
        && let Some(made) = app.transfers.submit(Arc::clone(&prepared)).await?
    {
        reach("transfer.after_commit").await;
        app.outbox.wake();
        return Ok(made?);
    }
    let (attempt, bound) = (prepared.attempt.clone(), prepared.bound.clone());
    let answer = once(app, attempt, prepared.transfer_id.clone(), bound, move |tx| {
        let prepared = Arc::clone(&prepared);
        Box::pin(async move { book_one(tx, &prepared).await })
    })
    .await?;
    if let Some(prepared) = told_late {
        tell_late(app, prepared).await?;
    }
    Ok(answer)
}

/// The event of the planted mistake that writes it in a transaction of its own, after that of the change.
async fn tell_late(app: &App, prepared: Arc<PreparedTransfer>) -> Result<(), Fault> {
    app.db
        .write(move |tx| {
            let prepared = Arc::clone(&prepared);
            Box::pin(async move {
                let partner_id = &prepared.attempt.caller().partner_id;
                let found = store::transfers::find(tx, partner_id, &prepared.transfer_id).await?;
                let events = found.map(|transfer| completed_event(&transfer, &prepared.event_id));
                insert_events_by(tx, &prepared.attempt.actor(), events.as_slice()).await
            })
        })
        .await
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
