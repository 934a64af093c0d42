//! Transaction A: everything that makes an order, in one commit.

use std::sync::Arc;

use chassis::audit::{NewAudit, insert_audit, node};
use chassis::claim::StoredAnswer;
use chassis::outbox::insert_events_by;
use chassis::{Fault, Outcome as Ending, Platform, Tx, while_doing};
use keys::UnixSeconds;
use keys::digest::sha256_b64;

use super::events::{self, EventIds};
use super::place::FiatInAsk;
use crate::auth::{Attempt, Begun, Bound, begin, finish};
use crate::crypto::vault::SealedPii;
use crate::domain::customer::{Customer, CustomerKind, CustomerStatus};
use crate::domain::entity::Entity;
use crate::domain::fiat_in::{ChargeState, ChargeView, FiatIn, FiatInState};
use crate::domain::refusal::Refusal;
use crate::monitoring::{Decision, Inputs, MonitoringConfig, Outcome, evaluate};
use crate::store::charges::{NewCharge, insert_charge};
use crate::store::customers::{self, NewCustomer};
use crate::store::fiat_ins::{find_fiat_in_id, insert_fiat_in};
use crate::store::monitoring::{NewDecision, insert_decision, read_window};
use crate::store::reviews::{Review, insert_review};
use crate::store::{entities, pii};

/// Ids drawn before the transaction, which may run twice.
#[derive(Debug, Clone)]
pub(super) struct Ids {
    pub(super) fiat_in: String,
    charge: String,
    customer: String,
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
            customer: platform.new_id("cus"),
            decision: platform.new_id("dec"),
            review: platform.new_id("rev"),
            audit: platform.new_id("aud"),
            events: EventIds::draw(platform),
        }
    }
}

/// Everything transaction A needs.
#[derive(Debug, Clone)]
pub(super) struct Recording {
    pub(super) attempt: Attempt,
    pub(super) ask: FiatInAsk,
    pub(super) sub: String,
    pub(super) sealed: Option<SealedPii>,
    pub(super) ids: Ids,
    pub(super) limits: Arc<MonitoringConfig>,
    pub(super) provider: &'static str,
    /// When a worker may send the charge if this process does not, Unix milliseconds.
    pub(super) due_at_ms: i64,
}

/// How transaction A ended.
#[derive(Debug, Clone)]
pub(super) enum Recorded {
    /// The answer is known: a repeat, a recorded refusal, or an order that needs no charge.
    Answered(StoredAnswer),
    /// A repeat of a request that is still being worked on.
    Running {
        /// The order that the first request made.
        fiat_in_id: String,
    },
    /// The order goes on: its charge is ready.
    Charged(Box<FiatIn>),
}

/// Records the order, or finds out that it was recorded before.
///
/// # Errors
/// The store's fault. A refusal that made no order undoes, so that the token stays unused.
pub(super) async fn record(tx: &mut Tx, ask: &Recording) -> Result<Ending<Result<Recorded, Refusal>>, Fault> {
    let caller = ask.attempt.caller();
    let bound = Bound {
        money: Some(keys::token::Money {
            amount: ask.ask.money.amount,
            currency: ask.ask.money.currency.code().to_owned(),
        }),
        entity_id: Some(ask.ask.entity_id.clone()),
    };
    match begin(tx, &ask.attempt, &ask.ids.fiat_in, &bound).await? {
        Begun::Fresh => {}
        Begun::Answered(answer) => return Ok(Ending::Commit(Ok(Recorded::Answered(answer)))),
        Begun::Refused(refusal) => return Ok(Ending::Undo(Err(refusal))),
        Begun::Running { resource_id } => {
            return Ok(Ending::Undo(Ok(Recorded::Running { fiat_in_id: resource_id })));
        }
    }
    let now = ask.attempt.now();
    let mut customer = customers::upsert_for_subject(tx, &new_customer(ask, now)).await?;
    let entity = entities::find(tx, &caller.partner_id, &ask.ask.entity_id).await?;
    if let Err(refusal) = check(ask, &customer, entity.as_ref()) {
        return Ok(Ending::Undo(Err(refusal)));
    }
    if let Some(sealed) = &ask.sealed
        && pii::update_pii(tx, &mut customer, sealed, now).await?
    {
        insert_audit(tx, &[pii_written(ask, &customer)]).await?;
    }
    let judged = judge(tx, ask, &customer).await?;
    let order = order(ask, &customer, &judged);
    let claim =
        serde_json::to_string(&ask.attempt.claim()).map_err(while_doing("write where an answer is kept"))?;
    if !insert_fiat_in(tx, &order, &claim).await? {
        let existing = find_fiat_in_id(tx, &order.partner_id, &order.client_reference).await?;
        return Ok(Ending::Undo(Err(reference_taken(existing))));
    }
    keep(tx, ask, &order, &judged).await?;
    insert_events_by(tx, &ask.attempt.actor(), &events::judged(&order, &ask.ids.events)).await?;
    if order.state == FiatInState::Processing {
        return Ok(Ending::Commit(Ok(Recorded::Charged(Box::new(order)))));
    }
    let answer = answer(&order)?;
    finish(tx, &ask.attempt, &answer).await?;
    Ok(Ending::Commit(Ok(Recorded::Answered(answer))))
}

/// The audit row of personal data that came with an order.
fn pii_written(ask: &Recording, customer: &Customer) -> NewAudit {
    NewAudit {
        audit_id: ask.ids.audit.clone(),
        node: node().to_owned(),
        partner_id: customer.partner_id.clone(),
        actor: ask.attempt.actor(),
        action: "customer.pii_written",
        object_id: customer.customer_id.clone(),
        occurred_at: ask.attempt.now(),
        details: serde_json::json!({ "fiat_in_id": ask.ids.fiat_in, "pii_version": customer.pii_version }),
    }
}

/// The answer that tells an order as it stands.
pub(super) fn answer(order: &FiatIn) -> Result<StoredAnswer, Fault> {
    let body = order.body().map_err(while_doing("write the view of a fiat-in"))?;
    Ok(StoredAnswer { status: order.answer_status(), body })
}

fn new_customer(ask: &Recording, now: UnixSeconds) -> NewCustomer {
    NewCustomer {
        partner_id: ask.attempt.caller().partner_id.clone(),
        customer_id: ask.ids.customer.clone(),
        sub: ask.sub.clone(),
        external_id: ask.sub.clone(),
        kind: CustomerKind::Person,
        country: None,
        now,
    }
}

/// What customer and wallet allow. A wallet of somebody else looks like none.
fn check(ask: &Recording, customer: &Customer, entity: Option<&Entity>) -> Result<(), Refusal> {
    let named = ask.ask.customer.as_ref();
    if named.is_some_and(|named| *named != customer.customer_id) {
        let detail = "the credential stands for another customer";
        return Err(Refusal::unprocessable("customer_mismatch", "/customer", detail));
    }
    let Some(entity) = entity.filter(|entity| entity.owner_id == customer.customer_id) else {
        return Err(Refusal::not_found("entity"));
    };
    if matches!(customer.status, CustomerStatus::Blocked | CustomerStatus::Closed) {
        return Err(Refusal::forbidden("customer_blocked", "the customer is blocked"));
    }
    if entity.currency != ask.ask.money.currency.code() {
        let detail = "a wallet holds one currency only";
        return Err(Refusal::unprocessable("currency_mismatch", "/money/currency", detail));
    }
    entity.may_receive("/entity_id")
}

fn reference_taken(existing: Option<String>) -> Refusal {
    let refusal = Refusal::conflict("client_reference_taken", "an order with this client_reference exists")
        .at("/client_reference", "client_reference_taken");
    match existing {
        Some(id) => refusal.existing(id),
        None => refusal,
    }
}

/// A verdict and what it rests on.
struct Judged {
    decision: Decision,
    limit_value: Option<i64>,
    inputs_hash: String,
}

async fn judge(tx: &mut Tx, ask: &Recording, customer: &Customer) -> Result<Judged, Fault> {
    let money = &ask.ask.money;
    let keys = (customer.partner_id.as_str(), customer.customer_id.as_str());
    let inputs = Inputs {
        kyc_level: customer.kyc_level,
        limit_value: ask.limits.limit_value(money.amount, money.currency.code()),
        window: read_window(tx, keys, &ask.ids.fiat_in, ask.attempt.now()).await?,
        residence: customer.country.clone(),
        ip_country: ask.ask.device.ip_country.clone(),
        instrument_country: ask.ask.instrument.country.clone(),
    };
    judged(&ask.limits, &inputs).map(|(decision, inputs_hash)| Judged {
        decision,
        limit_value: inputs.limit_value,
        inputs_hash,
    })
}

/// Runs the rules and hashes what they looked at.
pub(super) fn judged(limits: &MonitoringConfig, inputs: &Inputs) -> Result<(Decision, String), Fault> {
    let text = serde_json::to_vec(inputs).map_err(while_doing("write the inputs of a decision"))?;
    Ok((evaluate(limits, inputs), sha256_b64(&text)))
}

fn order(ask: &Recording, customer: &Customer, judged: &Judged) -> FiatIn {
    let (caller, now) = (ask.attempt.caller(), ask.attempt.now());
    let mut origin = ask.ask.device.clone();
    origin.brand.clone_from(&ask.ask.instrument.brand);
    origin.last4.clone_from(&ask.ask.instrument.last4);
    origin.instrument_country.clone_from(&ask.ask.instrument.country);
    let expires_at = (judged.decision.outcome == Outcome::Review).then(|| now.plus(ask.limits.review_ttl_s));
    let (state, charge) = match judged.decision.outcome {
        Outcome::Refuse => (FiatInState::Refused, None),
        Outcome::Review => (FiatInState::InReview, None),
        Outcome::Accept => (FiatInState::Processing, Some(charge_view(&ask.ids.charge, ChargeState::Ready))),
    };
    FiatIn {
        fiat_in_id: ask.ids.fiat_in.clone(),
        partner_id: caller.partner_id.clone(),
        customer_id: customer.customer_id.clone(),
        sub: customer.sub.clone(),
        external_id: customer.external_id.clone(),
        entity_id: ask.ask.entity_id.clone(),
        client_id: caller.client_id.clone(),
        token_jti: caller.one_time.as_ref().map(|token| token.jti.clone()),
        money: ask.ask.money,
        limit_value: judged.limit_value,
        client_reference: ask.ask.client_reference.clone(),
        origin,
        state,
        state_reason: judged.decision.reason_code().map(str::to_owned),
        decision: judged.decision.outcome,
        version: 1,
        created_at: now,
        updated_at: now,
        expires_at,
        charge,
    }
}

pub(super) fn charge_view(charge_id: &str, state: ChargeState) -> ChargeView {
    ChargeView::new(charge_id, state)
}

/// The decision, and the charge or the review that follows from it.
async fn keep(tx: &mut Tx, ask: &Recording, order: &FiatIn, judged: &Judged) -> Result<(), Fault> {
    let decision = NewDecision {
        decision_id: &ask.ids.decision,
        partner_id: &order.partner_id,
        fiat_in_id: &order.fiat_in_id,
        decision: &judged.decision,
        inputs_hash: &judged.inputs_hash,
        now: order.created_at,
    };
    insert_decision(tx, &decision).await?;
    match judged.decision.outcome {
        Outcome::Accept => {
            let charge = new_charge(order, &ask.ids.charge, ask.provider, ask.due_at_ms);
            insert_charge(tx, &charge.paid_by(&ask.ask.instrument.token)).await
        }
        Outcome::Review => insert_review(tx, &review(ask, order, &judged.decision)?).await,
        Outcome::Refuse => Ok(()),
    }
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

fn review(ask: &Recording, order: &FiatIn, decision: &Decision) -> Result<Review, Fault> {
    let codes: Vec<_> = decision.hits.iter().map(|hit| hit.reason_code).collect();
    Ok(Review {
        review_id: ask.ids.review.clone(),
        partner_id: order.partner_id.clone(),
        fiat_in_id: order.fiat_in_id.clone(),
        ordered_by: order.client_id.clone(),
        state: "open".to_owned(),
        reason_codes: serde_json::to_string(&codes).map_err(while_doing("write the reasons of a review"))?,
        source_token: Some(ask.ask.instrument.token.clone()),
        decided_by: None,
        decision_note: None,
        created_at_s: order.created_at.0,
        decided_at_s: None,
    })
}
