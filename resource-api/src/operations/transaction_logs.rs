//! Transactions that a partner logs to have them judged by monitoring. A log moves no money, and it does not count in
//! the windows of orders: those hold what this platform itself carried out.

use chassis::audit::Actor;
use chassis::claim::StoredAnswer;
use chassis::outbox::{NewEvent, insert_events_by};
use chassis::{Fault, Tx};
use keys::UnixSeconds;
use serde_json::json;

use super::fiat_ins::judged;
use super::{Failure, once};
use crate::app::App;
use crate::auth::{Attempt, Bound};
use crate::domain::caller::Caller;
use crate::domain::customer::{Customer, CustomerStatus};
use crate::domain::fiat_in::FiatIn;
use crate::domain::kyc::{LEVEL_BY_RULES_MAX, fields_for_level_1};
use crate::domain::money::Money;
use crate::domain::refusal::Refusal;
use crate::domain::transaction_log::{TransactionKind, TransactionLog};
use crate::monitoring::{Decision, Inputs, MonitoringConfig, Outcome, evaluate};
use crate::store;
use crate::store::fiat_ins::{FiatInFilter, find_fiat_in, find_references, list_fiat_ins};
use crate::store::monitoring::read_window;

/// The code of a refusal whose fields, once stored, make the same transaction acceptable.
pub const MORE_NEEDED: &str = "more_information_needed";

/// A transaction to be judged.
#[derive(Debug, Clone)]
pub struct LogAsk {
    /// Whose transaction it is.
    pub customer_id: String,
    /// What kind it is.
    pub kind: TransactionKind,
    /// How much.
    pub money: Money,
    /// The partner's own id of it.
    pub client_reference: String,
}

#[derive(Debug, Clone)]
struct Prepared {
    ask: LogAsk,
    caller: Caller,
    actor: Actor,
    log_id: String,
    event_id: String,
    limits: std::sync::Arc<MonitoringConfig>,
    now: UnixSeconds,
}

/// Judges a transaction, keeps it with the verdict and answers 201 with `id`, `client_reference`, `outcome` and
/// `reason_code`.
///
/// # Errors
/// 403 `customer_blocked`; 409 `client_reference_taken`; 422 [`MORE_NEEDED`], whose fields are the personal data that
/// is missing. A refusal leaves nothing, so the same request may come again.
pub async fn log(app: &App, attempt: Attempt, ask: LogAsk) -> Result<StoredAnswer, Failure> {
    let prepared = Prepared {
        ask,
        caller: attempt.caller().clone(),
        actor: attempt.actor(),
        log_id: app.platform.new_id("txl"),
        event_id: app.platform.new_id("evt"),
        limits: app.limits.clone(),
        now: attempt.now(),
    };
    let log_id = prepared.log_id.clone();
    once(app, attempt, log_id, Bound::default(), move |tx| {
        let prepared = prepared.clone();
        Box::pin(async move { record(tx, &prepared).await })
    })
    .await
}

async fn record(tx: &mut Tx, prepared: &Prepared) -> Result<Result<StoredAnswer, Refusal>, Fault> {
    let ask = &prepared.ask;
    let partner_id = prepared.caller.partner_id.as_str();
    let Some(customer) = store::customers::lock(tx, partner_id, &ask.customer_id).await? else {
        return Ok(Err(Refusal::not_found("customer")));
    };
    if matches!(customer.status, CustomerStatus::Blocked | CustomerStatus::Closed) {
        return Ok(Err(Refusal::forbidden("customer_blocked", "the customer is not active")));
    }
    let inputs = Inputs {
        kyc_level: customer.kyc_level,
        limit_value: prepared.limits.limit_value(ask.money.amount, ask.money.currency.code()),
        window: read_window(tx, (partner_id, &customer.customer_id), &prepared.log_id, prepared.now).await?,
        residence: customer.country.clone(),
        ip_country: None,
        instrument_country: None,
    };
    let (decision, inputs_hash) = judged(&prepared.limits, &inputs)?;
    if decision.outcome == Outcome::Refuse
        && let Some(refusal) = more_needed(tx, &customer, &inputs, &prepared.limits).await?
    {
        return Ok(Err(refusal));
    }
    let log = logged(prepared, &customer, &decision);
    if !store::transaction_logs::insert(tx, &log, &decision, &inputs_hash).await? {
        let detail = "the partner has logged another transaction under this id";
        return Ok(Err(Refusal::conflict("client_reference_taken", detail)));
    }
    insert_events_by(tx, &prepared.actor, &[event(&log, &customer, &prepared.event_id)]).await?;
    let body = json!({
        "id": log.log_id,
        "client_reference": log.client_reference,
        "outcome": log.outcome.as_str(),
        "reason_code": log.reason_code,
    });
    Ok(Ok(StoredAnswer { status: 201, body: body.to_string() }))
}

/// Whether nothing but missing personal data stands in the way: at the level that complete data gives, the same
/// transaction would not be refused.
async fn more_needed(
    tx: &mut Tx,
    customer: &Customer,
    inputs: &Inputs,
    limits: &MonitoringConfig,
) -> Result<Option<Refusal>, Fault> {
    if customer.kyc_level >= LEVEL_BY_RULES_MAX {
        return Ok(None);
    }
    let with_data = Inputs { kyc_level: LEVEL_BY_RULES_MAX, ..inputs.clone() };
    if evaluate(limits, &with_data).outcome == Outcome::Refuse {
        return Ok(None);
    }
    let profile = store::kyc::find_profile(tx, &customer.partner_id, &customer.customer_id).await?;
    let missing = profile.map_or_else(|| fields_for_level_1(customer.kind), |known| known.missing_fields);
    if missing.is_empty() {
        return Ok(None);
    }
    let detail = "more has to be known of the customer; store these fields and send the request again";
    let refusal = Refusal::new(crate::domain::refusal::Class::Unprocessable, MORE_NEEDED, detail);
    Ok(Some(missing.iter().fold(refusal, |refusal, field| refusal.at(&format!("/{field}"), "missing"))))
}

fn logged(prepared: &Prepared, customer: &Customer, decision: &Decision) -> TransactionLog {
    TransactionLog {
        partner_id: customer.partner_id.clone(),
        log_id: prepared.log_id.clone(),
        customer_id: customer.customer_id.clone(),
        client_id: prepared.caller.client_id.clone(),
        kind: prepared.ask.kind,
        client_reference: prepared.ask.client_reference.clone(),
        money: prepared.ask.money,
        outcome: decision.outcome,
        reason_code: decision.reason_code().map(str::to_owned),
        created_at: prepared.now,
    }
}

fn event(log: &TransactionLog, customer: &Customer, event_id: &str) -> NewEvent {
    NewEvent {
        event_id: event_id.to_owned(),
        partner_id: log.partner_id.clone(),
        kind: match log.outcome {
            Outcome::Accept => "monitoring.accepted",
            Outcome::Review => "monitoring.review",
            Outcome::Refuse => "monitoring.refused",
        },
        occurred_at: log.created_at,
        data: json!({
            "transaction_log_id": log.log_id,
            "transaction_type": log.kind.as_str(),
            "client_reference": log.client_reference,
            "customer_id": log.customer_id,
            "external_id": customer.external_id,
            "amount": { "amount": log.money.amount, "currency": log.money.currency.code() },
            "decision": log.outcome.as_str(),
            "state_reason": log.reason_code,
        }),
    }
}

/// What monitoring judged of a customer: a logged transaction, or an order.
#[derive(Debug, Clone)]
pub enum Judged {
    /// A transaction that was logged only.
    Log(TransactionLog),
    /// A fiat-in.
    Order(Box<FiatIn>),
}

impl Judged {
    /// Our id of it.
    pub fn id(&self) -> &str {
        match self {
            Self::Log(log) => &log.log_id,
            Self::Order(order) => &order.fiat_in_id,
        }
    }

    /// The partner's own id of it.
    pub fn client_reference(&self) -> &str {
        match self {
            Self::Log(log) => &log.client_reference,
            Self::Order(order) => &order.client_reference,
        }
    }

    /// Where it stands in the order of ids: they begin with the moment at which they were drawn.
    fn moment(&self) -> &str {
        self.id().split_once('_').map_or("", |(_, digits)| digits)
    }
}

/// Everything of a customer that monitoring judged, newest first, at most `limit`.
///
/// # Errors
/// The store's fault.
pub async fn list(app: &App, customer: &Customer, limit: usize) -> Result<Vec<Judged>, Failure> {
    let (customer, rows) = (customer.clone(), i64::try_from(limit).unwrap_or(i64::MAX));
    let mut found = app
        .db
        .read(move |tx| {
            let (partner_id, customer_id) = (customer.partner_id.clone(), customer.customer_id.clone());
            let filter = FiatInFilter { sub: Some(customer.sub.clone()), ..FiatInFilter::default() };
            Box::pin(async move {
                let logs = store::transaction_logs::list(tx, &partner_id, &customer_id, rows).await?;
                let orders = list_fiat_ins(tx, &partner_id, &filter, "", rows).await?;
                let orders = orders.into_iter().map(|order| Judged::Order(Box::new(order)));
                Ok(logs.into_iter().map(Judged::Log).chain(orders).collect::<Vec<_>>())
            })
        })
        .await?;
    found.sort_by(|one, other| other.moment().cmp(one.moment()));
    found.truncate(limit);
    Ok(found)
}

/// One of them, by our id or by the partner's own; a log comes before an order of the same name.
///
/// # Errors
/// 404 for what does not exist or is another customer's.
pub async fn find(app: &App, customer: &Customer, id: &str) -> Result<Judged, Failure> {
    let (customer, id) = (customer.clone(), id.to_owned());
    let found = app
        .db
        .read(move |tx| {
            let (customer, id) = (customer.clone(), id.clone());
            Box::pin(async move {
                let partner_id = customer.partner_id.as_str();
                let log = store::transaction_logs::find(tx, partner_id, &customer.customer_id, &id).await?;
                if let Some(log) = log {
                    return Ok(Some(Judged::Log(log)));
                }
                let named =
                    find_references(tx, &[(partner_id, &id)]).await?.pop().map_or(id, |(_, order)| order);
                let order = find_fiat_in(tx, partner_id, &named).await?;
                let order = order.filter(|order| order.customer_id == customer.customer_id);
                Ok(order.map(|order| Judged::Order(Box::new(order))))
            })
        })
        .await?;
    found.ok_or_else(|| Refusal::not_found("transaction log").into())
}
