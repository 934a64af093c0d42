//! Entities: a customer's wallets and a partner's own accounts.

use chassis::audit::Actor;
use chassis::claim::StoredAnswer;
use chassis::outbox::{NewEvent, insert_events_by};
use chassis::{Fault, Outcome, Tx};
use serde_json::json;

use super::views::{EntityView, created};
use super::{Failure, Owner, once};
use crate::app::App;
use crate::auth::{Attempt, Bound, actor};
use crate::domain::caller::Caller;
use crate::domain::cursor::{self, ListScope, Page};
use crate::domain::customer::CustomerStatus;
use crate::domain::entity::{Entity, EntityKind, EntityWithBalance};
use crate::domain::ledger::{Account, AccountId};
use crate::domain::money::Currency;
use crate::domain::refusal::Refusal;
use crate::ledger;
use crate::store;
use crate::store::entities::NewEntity;

/// What a caller wants made.
#[derive(Debug, Clone)]
pub struct EntityOrder {
    /// What it is for.
    pub kind: EntityKind,
    /// The owning customer's id, exactly for a customer's wallet.
    pub owner: Option<String>,
    /// The owner's name for it.
    pub label: Option<String>,
    /// What it holds.
    pub currency: Currency,
}

#[derive(Debug, Clone)]
struct Prepared {
    new: NewEntity,
    actor: Actor,
    event_id: String,
}

/// Makes an entity with its ledger account and answers 201 with its view.
///
/// # Errors
/// 404 when the owner is not a customer of the partner; 422 `owner_not_allowed`, `customer_blocked`; 409
/// `entity_exists` when the owner has one of this label.
pub async fn open(app: &App, attempt: Attempt, order: EntityOrder) -> Result<StoredAnswer, Failure> {
    let prepared = prepare(app, attempt.caller(), order)?;
    let entity_id = prepared.new.entity_id.clone();
    once(app, attempt, entity_id, Bound::default(), move |tx| {
        let prepared = prepared.clone();
        Box::pin(async move {
            Ok(match record(tx, &prepared).await? {
                Ok(found) => Ok(created(&EntityView::from(&found))?),
                Err(refusal) => Err(refusal),
            })
        })
    })
    .await
}

/// As [`open`], for a dialect that has no key for repeats.
///
/// # Errors
/// As [`open`].
pub async fn open_plainly(
    app: &App,
    caller: &Caller,
    order: EntityOrder,
) -> Result<EntityWithBalance, Failure> {
    let prepared = prepare(app, caller, order)?;
    let found = app
        .db
        .write_or_undo(move |tx| {
            let prepared = prepared.clone();
            Box::pin(async move {
                Ok(match record(tx, &prepared).await? {
                    Ok(found) => Outcome::Commit(Ok(found)),
                    Err(refusal) => Outcome::Undo(Err(refusal)),
                })
            })
        })
        .await??;
    app.outbox.wake();
    Ok(found)
}

fn prepare(app: &App, caller: &Caller, order: EntityOrder) -> Result<Prepared, Refusal> {
    let partner_id = caller.partner_id.clone();
    let owner_id = match (order.kind, order.owner) {
        (EntityKind::Customer, Some(owner)) => owner,
        (EntityKind::Customer, None) => {
            return Err(Refusal::unprocessable("owner_required", "/owner", "a wallet belongs to a customer"));
        }
        (_, None) => partner_id.clone(),
        (_, Some(_)) => {
            let detail = "only a wallet belongs to a customer";
            return Err(Refusal::unprocessable("owner_not_allowed", "/owner", detail));
        }
    };
    let new = NewEntity {
        partner_id,
        entity_id: app.platform.new_id("ent"),
        kind: order.kind,
        owner_id,
        label: order.label,
        currency: order.currency.code().to_owned(),
        now: app.platform.now(),
    };
    Ok(Prepared { new, actor: actor(caller), event_id: app.platform.new_id("evt") })
}

async fn record(tx: &mut Tx, prepared: &Prepared) -> Result<Result<EntityWithBalance, Refusal>, Fault> {
    let new = &prepared.new;
    if new.kind == EntityKind::Customer {
        match store::customers::find(tx, &new.partner_id, &new.owner_id).await? {
            None => return Ok(Err(Refusal::not_found("customer"))),
            Some(owner) if matches!(owner.status, CustomerStatus::Blocked | CustomerStatus::Closed) => {
                return Ok(Err(Refusal::unprocessable(
                    "customer_blocked",
                    "/owner",
                    "the customer is blocked",
                )));
            }
            Some(_) => {}
        }
    }
    if !store::entities::insert(tx, new).await? {
        return Ok(Err(Refusal::conflict("entity_exists", "the owner has an entity of this label")));
    }
    ledger::open_entity_account(tx, &new.partner_id, &new.entity_id, &new.currency, new.now).await?;
    insert_events_by(tx, &prepared.actor, &[created_event(prepared)]).await?;
    let entity = store::entities::find(tx, &new.partner_id, &new.entity_id).await?;
    let entity = entity.ok_or_else(|| Fault::new("an entity vanished in its own transaction"))?;
    Ok(Ok(with_balances(tx, vec![entity]).await?.pop().ok_or_else(no_account)?))
}

fn no_account() -> Fault {
    Fault::new("an entity has no ledger account")
}

fn created_event(prepared: &Prepared) -> NewEvent {
    let new = &prepared.new;
    NewEvent {
        event_id: prepared.event_id.clone(),
        partner_id: new.partner_id.clone(),
        kind: "entity.created",
        occurred_at: new.now,
        data: json!({
            "entity_id": new.entity_id,
            "kind": new.kind.as_str(),
            "owner": new.owner_id,
            "currency": new.currency,
            "status": "activated",
        }),
    }
}

/// Joins entities with their accounts.
async fn with_balances(tx: &mut Tx, entities: Vec<Entity>) -> Result<Vec<EntityWithBalance>, Fault> {
    let wanted: Vec<(String, AccountId)> = entities
        .iter()
        .map(|entity| (entity.partner_id.clone(), AccountId::entity(&entity.entity_id)))
        .collect();
    let accounts = ledger::find_accounts(tx, &wanted).await?;
    let account_of = |entity: &Entity| -> Option<Account> {
        let id = AccountId::entity(&entity.entity_id);
        accounts
            .iter()
            .find(|account| account.partner_id == entity.partner_id && account.account_id == id)
            .cloned()
    };
    entities
        .into_iter()
        .map(|entity| {
            let account = account_of(&entity).ok_or_else(no_account)?;
            Ok(EntityWithBalance { entity, account })
        })
        .collect()
}

/// An entity the caller may see, with its balances.
///
/// # Errors
/// 404 for one that does not exist, is another tenant's, or is not the caller's own.
pub async fn find(app: &App, caller: &Caller, entity_id: &str) -> Result<EntityWithBalance, Failure> {
    let (caller, id) = (caller.clone(), entity_id.to_owned());
    let found = app
        .db
        .read(move |tx| {
            Box::pin(async move {
                let found = store::entities::find(tx, &caller.partner_id, &id).await?;
                let own = found.filter(|entity| caller.own_sub().is_none_or(|sub| entity.belongs_to(sub)));
                Ok(with_balances(tx, own.into_iter().collect()).await?.pop())
            })
        })
        .await?;
    found.ok_or_else(|| Refusal::not_found("entity").into())
}

/// What narrows and pages a list of entities.
#[derive(Debug, Clone, Default)]
pub struct EntityQuery {
    /// Only those of this owner.
    pub owner: Option<String>,
    /// Rows at most.
    pub limit: Option<i64>,
    /// Where to go on.
    pub cursor: Option<String>,
}

/// Entities the caller may see, newest first.
///
/// # Errors
/// 400 `invalid_cursor` or `invalid_limit`.
pub async fn list(
    app: &App,
    caller: &Caller,
    query: EntityQuery,
) -> Result<Page<EntityWithBalance>, Failure> {
    let limit = cursor::checked_limit(query.limit)?;
    let scope_text = json!([query.owner, caller.own_sub()]).to_string();
    let scope = ListScope { partner_id: &caller.partner_id, list: "entities", filter: &scope_text };
    let after =
        query.cursor.map(|text| cursor::open(&app.cursor_key, scope, &text)).transpose()?.unwrap_or_default();
    let (asker, owner) = (caller.clone(), query.owner);
    let rows = app
        .db
        .read(move |tx| {
            Box::pin(async move {
                let owner = match Owner::of(tx, &asker).await? {
                    Owner::Any => owner,
                    Owner::Customer(own) if owner.is_none_or(|asked| asked == own) => Some(own),
                    Owner::Customer(_) | Owner::Nobody => return Ok(Vec::new()),
                };
                let rows =
                    store::entities::list(tx, &asker.partner_id, owner.as_deref(), &after, limit + 1).await?;
                with_balances(tx, rows).await
            })
        })
        .await?;
    Ok(cursor::page(rows, limit, |found| cursor::sign(&app.cursor_key, scope, &found.entity.entity_id)))
}
