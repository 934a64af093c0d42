//! Customers: registering, finding, and their personal data.
//!
//! A customer that is registered here first is registered at the authorization server before it is answered; that
//! call is idempotent, so a crash between the two leaves a subject that the repeated request finds again.

use chassis::audit::{Actor, NewAudit, insert_audit};
use chassis::claim::StoredAnswer;
use chassis::outbox::{NewEvent, insert_events_by};
use chassis::{Fault, Outcome, Tx};
use serde_json::json;

use super::views::{CustomerView, PiiView, created};
use super::{Failure, once};
use crate::app::App;
use crate::auth::{Attempt, Begun, Bound, actor, look};
use crate::crypto::vault::SealedPii;
use crate::domain::caller::Caller;
use crate::domain::cursor::{self, ListScope, Page};
use crate::domain::customer::{Customer, CustomerKind, CustomerStatus, ExternalId};
use crate::domain::pii::Pii;
use crate::domain::refusal::Refusal;
use crate::store;
use crate::store::customers::{CustomerFilter, NewCustomer};

/// The scope that personal data in a registration needs beside the endpoint's own.
pub const PII_WRITE: &str = "customers.pii:write";

/// What a caller wants registered.
#[derive(Debug, Clone)]
pub struct Registration {
    /// The partner's own id.
    pub external_id: ExternalId,
    /// Person or business.
    pub kind: CustomerKind,
    /// Residence.
    pub country: Option<String>,
    /// Personal data, possibly none.
    pub pii: Pii,
    /// The customer on whose behalf this one will be paid; `None` for a customer in its own right.
    pub third_party_of: Option<String>,
}

/// A registration that waits only for the database: the subject exists, the data is sealed, ids are drawn.
#[derive(Debug, Clone)]
pub struct PreparedRegistration {
    new: NewCustomer,
    pii: SealedPii,
    third_party_of: Option<String>,
    actor: Actor,
    event_id: String,
}

/// Registers a customer for a partner's backend and answers 201 with its view.
///
/// # Errors
/// 409 `external_id_taken` (with the id it is taken by), 422 `external_id_not_allowed`, 403 `insufficient_scope` when
/// the caller may not write personal data, 503 when the authorization server does not answer.
pub async fn register(app: &App, attempt: Attempt, ask: Registration) -> Result<StoredAnswer, Failure> {
    let caller = attempt.caller();
    if !ask.pii.is_empty() && !caller.scope.contains(PII_WRITE) {
        let detail = format!("personal data needs the scope {PII_WRITE}");
        return Err(Refusal::forbidden("insufficient_scope", detail).into());
    }
    // A repeat must not depend on the authorization server, nor a reused key register anybody there.
    let asked = attempt.clone();
    match app.db.read(move |tx| Box::pin(async move { look(tx, &asked).await })).await? {
        Begun::Answered(answer) => return Ok(answer),
        Begun::Refused(refusal) => return Err(refusal.into()),
        Begun::Running { .. } | Begun::Fresh => {}
    }
    let prepared = prepare(app, caller, ask).await?;
    let customer_id = prepared.new.customer_id.clone();
    once(app, attempt, customer_id, Bound::default(), move |tx| {
        let prepared = prepared.clone();
        Box::pin(async move {
            Ok(match record(tx, &prepared).await? {
                Ok(customer) => Ok(created(&CustomerView::from(&customer))?),
                Err(refusal) => Err(refusal),
            })
        })
    })
    .await
}

/// As [`register`], for a dialect that has no key for repeats: a second registration is a conflict.
///
/// # Errors
/// As [`register`].
pub async fn register_plainly(app: &App, caller: &Caller, ask: Registration) -> Result<Customer, Failure> {
    let prepared = prepare(app, caller, ask).await?;
    let customer = app
        .db
        .write_or_undo(move |tx| {
            let prepared = prepared.clone();
            Box::pin(async move {
                Ok(match record(tx, &prepared).await? {
                    Ok(customer) => Outcome::Commit(Ok(customer)),
                    Err(refusal) => Outcome::Undo(Err(refusal)),
                })
            })
        })
        .await??;
    app.outbox.wake();
    Ok(customer)
}

/// What must be done outside the transaction: the subject, the sealing, the ids.
async fn prepare(app: &App, caller: &Caller, ask: Registration) -> Result<PreparedRegistration, Failure> {
    let partner_id = caller.partner_id.clone();
    let external_id = ask.external_id.as_str().to_owned();
    let user = app.authz.register_user(&partner_id, &external_id).await.map_err(Refusal::from)?;
    let pii = app.vault.seal(&partner_id, &user.sub, &ask.pii, &*app.platform.entropy)?;
    let new = NewCustomer {
        partner_id,
        customer_id: app.platform.new_id("cus"),
        sub: user.sub,
        external_id,
        kind: ask.kind,
        country: ask.country,
        now: app.platform.now(),
    };
    Ok(PreparedRegistration {
        new,
        pii,
        third_party_of: ask.third_party_of,
        actor: actor(caller),
        event_id: app.platform.new_id("evt"),
    })
}

async fn record(tx: &mut Tx, prepared: &PreparedRegistration) -> Result<Result<Customer, Refusal>, Fault> {
    let new = &prepared.new;
    let Some(mut customer) = store::customers::insert(tx, new).await? else {
        let taken_by =
            match store::customers::find_by_external_id(tx, &new.partner_id, &new.external_id).await? {
                Some(found) => Some(found),
                None => store::customers::find_by_subject(tx, &new.partner_id, &new.sub).await?,
            };
        let refusal =
            Refusal::conflict("external_id_taken", "a customer is registered under this external id");
        let known = taken_by.map(|customer| customer.customer_id);
        return Ok(Err(known.into_iter().fold(refusal, Refusal::existing)));
    };
    if let Some(principal_id) = &prepared.third_party_of {
        if let Some(refusal) = principal_refused(tx, &new.partner_id, principal_id).await? {
            return Ok(Err(refusal));
        }
        store::third_parties::insert(tx, &new.partner_id, (&customer.customer_id, principal_id), new.now)
            .await?;
    }
    store::pii::update_pii(tx, &mut customer, &prepared.pii, new.now).await?;
    let mut event = created_event(&customer, &prepared.event_id);
    if let Some(principal_id) = &prepared.third_party_of {
        event.data["third_party_of"] = json!(principal_id);
    }
    insert_events_by(tx, &prepared.actor, &[event]).await?;
    Ok(Ok(customer))
}

/// Whether somebody may be paid on this customer's behalf: it has to be there, active, and here in its own right.
async fn principal_refused(
    tx: &mut Tx,
    partner_id: &str,
    principal_id: &str,
) -> Result<Option<Refusal>, Fault> {
    let refused = |code, detail: &str| Some(Refusal::unprocessable(code, "/third_party_of", detail));
    let Some(principal) = store::customers::find(tx, partner_id, principal_id).await? else {
        return Ok(refused("principal_unknown", "there is no such customer"));
    };
    if matches!(principal.status, CustomerStatus::Blocked | CustomerStatus::Closed) {
        return Ok(refused("customer_blocked", "the customer is not active"));
    }
    if store::third_parties::find_principal(tx, partner_id, principal_id).await?.is_some() {
        return Ok(refused("principal_is_third_party", "a third party has no third parties of its own"));
    }
    Ok(None)
}

/// The customer on whose behalf this one is paid, as its partner knows it; `None` for one in its own right.
///
/// # Errors
/// The store's fault.
pub async fn find_principal(app: &App, customer: &Customer) -> Result<Option<Customer>, Failure> {
    let (partner_id, id) = (customer.partner_id.clone(), customer.customer_id.clone());
    let found = app
        .db
        .read(move |tx| {
            let (partner_id, id) = (partner_id.clone(), id.clone());
            Box::pin(async move {
                match store::third_parties::find_principal(tx, &partner_id, &id).await? {
                    Some(principal_id) => store::customers::find(tx, &partner_id, &principal_id).await,
                    None => Ok(None),
                }
            })
        })
        .await?;
    Ok(found)
}

/// Everybody who is registered to be paid on this customer's behalf, oldest first.
///
/// # Errors
/// 404 as [`find`].
pub async fn third_parties(app: &App, caller: &Caller, customer_id: &str) -> Result<Vec<Customer>, Failure> {
    let customer = find(app, caller, customer_id).await?;
    let found = app
        .db
        .read(move |tx| {
            let (partner_id, id) = (customer.partner_id.clone(), customer.customer_id.clone());
            Box::pin(async move { store::customers::list_third_parties(tx, &partner_id, &id).await })
        })
        .await?;
    Ok(found)
}

fn created_event(customer: &Customer, event_id: &str) -> NewEvent {
    NewEvent {
        event_id: event_id.to_owned(),
        partner_id: customer.partner_id.clone(),
        kind: "customer.created",
        occurred_at: customer.created_at,
        data: json!({
            "customer_id": customer.customer_id,
            "external_id": customer.external_id,
            "kind": customer.kind.as_str(),
            "status": customer.status.as_str(),
            "version": customer.version,
        }),
    }
}

/// A customer the caller may see.
///
/// # Errors
/// 404 for one that does not exist, is another tenant's, or is not the caller's own.
pub async fn find(app: &App, caller: &Caller, customer_id: &str) -> Result<Customer, Failure> {
    let (partner_id, id) = (caller.partner_id.clone(), customer_id.to_owned());
    let found = app
        .db
        .read(move |tx| Box::pin(async move { store::customers::find(tx, &partner_id, &id).await }))
        .await?;
    visible(caller, found)
}

/// As [`find`], by the partner's own id.
///
/// # Errors
/// As [`find`].
pub async fn find_by_external_id(app: &App, caller: &Caller, external_id: &str) -> Result<Customer, Failure> {
    let (partner_id, id) = (caller.partner_id.clone(), external_id.to_owned());
    let found = app
        .db
        .read(move |tx| {
            Box::pin(async move { store::customers::find_by_external_id(tx, &partner_id, &id).await })
        })
        .await?;
    visible(caller, found)
}

fn visible(caller: &Caller, found: Option<Customer>) -> Result<Customer, Failure> {
    let own = found.filter(|customer| caller.may_see(&customer.sub));
    own.ok_or_else(|| Refusal::not_found("customer").into())
}

/// What narrows and pages a list of customers.
#[derive(Debug, Clone, Default)]
pub struct CustomerQuery {
    /// Only the one with this external id.
    pub external_id: Option<String>,
    /// Only those in this state.
    pub status: Option<CustomerStatus>,
    /// Rows at most.
    pub limit: Option<i64>,
    /// Where to go on.
    pub cursor: Option<String>,
}

/// Customers the caller may see, newest first.
///
/// # Errors
/// 400 `invalid_cursor` or `invalid_limit`.
pub async fn list(app: &App, caller: &Caller, query: CustomerQuery) -> Result<Page<Customer>, Failure> {
    let limit = cursor::checked_limit(query.limit)?;
    let filter = CustomerFilter {
        external_id: query.external_id,
        status: query.status.map(|status| status.as_str().to_owned()),
        sub: caller.own_sub().map(str::to_owned),
    };
    let scope_text = json!([filter.external_id, filter.status, filter.sub]).to_string();
    let scope = ListScope { partner_id: &caller.partner_id, list: "customers", filter: &scope_text };
    let after =
        query.cursor.map(|text| cursor::open(&app.cursor_key, scope, &text)).transpose()?.unwrap_or_default();
    let partner_id = caller.partner_id.clone();
    let rows = app
        .db
        .read(move |tx| {
            Box::pin(async move { store::customers::list(tx, &partner_id, &filter, &after, limit + 1).await })
        })
        .await?;
    Ok(cursor::page(rows, limit, |customer| cursor::sign(&app.cursor_key, scope, &customer.customer_id)))
}

/// Stores personal data of a customer; fields that were not sent stay. A change queues a KYC refresh.
///
/// # Errors
/// 404 as [`find`]; 409 `customer_closed`.
pub async fn put_pii(app: &App, caller: &Caller, customer_id: &str, pii: &Pii) -> Result<PiiView, Failure> {
    let customer = find(app, caller, customer_id).await?;
    let sealed = app.vault.seal(&customer.partner_id, &customer.sub, pii, &*app.platform.entropy)?;
    let now = app.platform.now();
    let id = customer.customer_id.as_str();
    let audit =
        NewAudit::change(&app.platform, actor(caller), &customer.partner_id, "customer.pii_written", id);
    let stored = app
        .db
        .write_or_undo(move |tx| {
            let (sealed, customer, audit) = (sealed.clone(), customer.clone(), audit.clone());
            Box::pin(async move {
                let found = store::customers::find(tx, &customer.partner_id, &customer.customer_id).await?;
                let Some(mut customer) = found.filter(|customer| customer.status != CustomerStatus::Closed)
                else {
                    return Ok(Outcome::Undo(Err(Refusal::conflict(
                        "customer_closed",
                        "the customer is closed",
                    ))));
                };
                let changed = store::pii::update_pii(tx, &mut customer, &sealed, now).await?;
                if changed {
                    let version = json!({ "pii_version": customer.pii_version });
                    insert_audit(tx, &[audit.with(version)]).await?;
                }
                Ok(Outcome::Commit(Ok(PiiView {
                    customer_id: customer.customer_id,
                    pii_version: customer.pii_version,
                    changed,
                })))
            })
        })
        .await??;
    Ok(stored)
}
