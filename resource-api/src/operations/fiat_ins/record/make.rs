//! The rule of transaction A, for one order as for many: who orders, what monitoring says, what is written.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chassis::audit::{NewAudit, insert_audit, node};
use chassis::failpoint::reach;
use chassis::outbox::insert_events_of;
use chassis::{Fault, Tx, while_doing};
use keys::UnixSeconds;

use super::super::events;
use super::{Made, Recorded, Recording, answer, charge_view, judged};
use crate::domain::customer::{Customer, CustomerStatus};
use crate::domain::entity::Entity;
use crate::domain::fiat_in::{ChargeState, FiatIn, FiatInState, RefundTotals};
use crate::domain::refusal::Refusal;
use crate::monitoring::{Decision, Inputs, Outcome, Window};
use crate::store::charges::insert_taken_charges;
use crate::store::customers::lock_for_subjects;
use crate::store::entities;
use crate::store::fiat_ins::{find_references, insert_fiat_ins};
use crate::store::monitoring::{AskedWindow, NewDecision, insert_decisions, read_windows};
use crate::store::pii::{PiiUpdate, update_many};
use crate::store::reviews::{Review, insert_reviews};

/// Things of several tenants by (partner, key).
type ByKey<T> = BTreeMap<(String, String), T>;

/// Makes orders whose tokens and keys are taken; one result each, in the order given. A refusal left nothing.
///
/// The customers are locked first: a customer's orders are judged one after the other, those of this call in the order
/// given, whoever else is at work.
///
/// # Errors
/// The store's fault; everything is then rolled back.
pub(super) async fn make(tx: &mut Tx, asks: &[&Recording]) -> Result<Vec<Made>, Fault> {
    let mut customers = lock_customers(tx, asks).await?;
    let entities = find_entities(tx, asks).await?;
    let used = find_used(tx, asks).await?;
    let refusals: Vec<Option<Refusal>> = asks
        .iter()
        .map(|ask| {
            let checked = check(ask, customers.get(&ask.subject()), entities.get(&wallet(ask)));
            let taken = || used.get(&reference(ask)).map(reference_taken);
            checked.err().or_else(taken)
        })
        .collect();
    let accepted: Vec<&Recording> =
        asks.iter().zip(&refusals).filter(|(_, refusal)| refusal.is_none()).map(|(ask, _)| *ask).collect();
    update_personal_data(tx, &accepted, &mut customers).await?;
    let drafts = judge(tx, &accepted, &customers).await?;
    write(tx, &drafts).await?;
    let mut recorded = drafts.into_iter().map(Draft::recorded);
    let missing = || Fault::new("record orders: one has no end");
    refusals
        .into_iter()
        .map(|refusal| match refusal {
            Some(refusal) => Ok(Err(refusal)),
            None => recorded.next().ok_or_else(missing)?.map(Ok),
        })
        .collect()
}

fn wallet(ask: &Recording) -> (String, String) {
    (ask.partner_id().to_owned(), ask.ask.entity_id.clone())
}

fn reference(ask: &Recording) -> (String, String) {
    (ask.partner_id().to_owned(), ask.ask.client_reference.clone())
}

/// The customers who order. A subject that is not there has no customer yet, and so no wallet that could be credited.
async fn lock_customers(tx: &mut Tx, asks: &[&Recording]) -> Result<ByKey<Customer>, Fault> {
    let subjects: BTreeSet<(&str, &str)> =
        asks.iter().map(|ask| (ask.partner_id(), ask.sub.as_str())).collect();
    let found = lock_for_subjects(tx, &subjects.into_iter().collect::<Vec<_>>()).await?;
    Ok(found
        .into_iter()
        .map(|customer| ((customer.partner_id.clone(), customer.sub.clone()), customer))
        .collect())
}

async fn find_entities(tx: &mut Tx, asks: &[&Recording]) -> Result<ByKey<Entity>, Fault> {
    let wanted: BTreeSet<(&str, &str)> =
        asks.iter().map(|ask| (ask.partner_id(), ask.ask.entity_id.as_str())).collect();
    let found = entities::find_many(tx, &wanted.into_iter().collect::<Vec<_>>()).await?;
    Ok(found
        .into_iter()
        .map(|entity| ((entity.partner_id.clone(), entity.entity_id.clone()), entity))
        .collect())
}

/// Client references that an order has already, with its id.
async fn find_used(tx: &mut Tx, asks: &[&Recording]) -> Result<ByKey<String>, Fault> {
    let wanted: Vec<(&str, &str)> =
        asks.iter().map(|ask| (ask.partner_id(), ask.ask.client_reference.as_str())).collect();
    Ok(find_references(tx, &wanted).await?.into_iter().collect())
}

/// What customer and wallet allow. A wallet of somebody else looks like none.
fn check(ask: &Recording, customer: Option<&Customer>, entity: Option<&Entity>) -> Result<(), Refusal> {
    let customer_id = customer.map(|customer| &customer.customer_id);
    if ask.ask.customer.is_some() && ask.ask.customer.as_ref() != customer_id {
        let detail = "the credential stands for another customer";
        return Err(Refusal::unprocessable("customer_mismatch", "/customer", detail));
    }
    let own = |entity: &&Entity| customer_id == Some(&entity.owner_id);
    let (Some(customer), Some(entity)) = (customer, entity.filter(own)) else {
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

fn reference_taken(existing: &String) -> Refusal {
    Refusal::conflict("client_reference_taken", "an order with this client_reference exists")
        .at("/client_reference", "client_reference_taken")
        .existing(existing)
}

/// Stores the personal data that came with the orders; the customers are brought up to date.
async fn update_personal_data(
    tx: &mut Tx,
    asks: &[&Recording],
    customers: &mut ByKey<Customer>,
) -> Result<(), Fault> {
    let mut told: ByKey<&Recording> =
        asks.iter().filter(|ask| ask.sealed.is_some()).map(|ask| (ask.subject(), *ask)).collect();
    let mut updates = Vec::with_capacity(told.len());
    let mut tellers = Vec::with_capacity(told.len());
    for (subject, customer) in customers.iter_mut() {
        let Some(ask) = told.remove(subject) else { continue };
        let Some(pii) = &ask.sealed else { continue };
        updates.push(PiiUpdate { customer, pii, now: ask.attempt.now() });
        tellers.push(ask);
    }
    let changed = update_many(tx, &mut updates).await?;
    let audits: Vec<NewAudit> = tellers
        .iter()
        .zip(&updates)
        .zip(changed)
        .filter(|(_, changed)| *changed)
        .map(|((ask, update), _)| pii_written(ask, update.customer))
        .collect();
    insert_audit(tx, &audits).await
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

/// A verdict and what it rests on.
struct Judged {
    decision: Decision,
    limit_value: Option<i64>,
    inputs_hash: String,
}

/// An order that only has to be written.
struct Draft<'a> {
    ask: &'a Recording,
    order: FiatIn,
    judged: Judged,
    /// Where the answer to its request is kept.
    claim: String,
}

impl Draft<'_> {
    fn recorded(self) -> Result<Recorded, Fault> {
        if self.order.state == FiatInState::Processing {
            return Ok(Recorded::Charged(Box::new(self.order)));
        }
        answer(&self.order).map(Recorded::Answered)
    }
}

/// Judges the orders one after the other. The velocity windows are read once; an order that counts is counted in the
/// windows of those of the same customer that follow it.
async fn judge<'a>(
    tx: &mut Tx,
    asks: &[&'a Recording],
    customers: &ByKey<Customer>,
) -> Result<Vec<Draft<'a>>, Fault> {
    let unknown = || Fault::new("judge an order: its customer is not known");
    let customers: Vec<&Customer> =
        asks.iter().map(|ask| customers.get(&ask.subject()).ok_or_else(unknown)).collect::<Result<_, _>>()?;
    let asked: Vec<AskedWindow<'_>> =
        asks.iter().zip(&customers).map(|(ask, customer)| window(ask, customer)).collect();
    let windows = read_windows(tx, &asked).await?;
    let mut earlier: HashMap<&str, Vec<(Option<i64>, UnixSeconds)>> = HashMap::new();
    let mut drafts = Vec::with_capacity(asks.len());
    for ((ask, customer), mut window) in asks.iter().zip(customers).zip(windows) {
        let before = earlier.entry(&customer.customer_id).or_default();
        for (limit_value, made_at) in before.iter() {
            window.count(*limit_value, *made_at, ask.attempt.now());
        }
        let draft = judge_one(ask, customer, window)?;
        if draft.judged.decision.outcome != Outcome::Refuse {
            before.push((draft.judged.limit_value, draft.order.created_at));
        }
        drafts.push(draft);
    }
    Ok(drafts)
}

fn window<'a>(ask: &'a Recording, customer: &'a Customer) -> AskedWindow<'a> {
    AskedWindow {
        partner_id: &customer.partner_id,
        customer_id: &customer.customer_id,
        judged: &ask.ids.fiat_in,
        now: ask.attempt.now(),
    }
}

fn judge_one<'a>(ask: &'a Recording, customer: &Customer, window: Window) -> Result<Draft<'a>, Fault> {
    let money = &ask.ask.money;
    let inputs = Inputs {
        kyc_level: customer.kyc_level,
        limit_value: ask.limits.limit_value(money.amount, money.currency.code()),
        window,
        residence: customer.country.clone(),
        ip_country: ask.ask.device.ip_country.clone(),
        instrument_country: ask.ask.instrument.country.clone(),
    };
    let (decision, inputs_hash) = judged(&ask.limits, &inputs)?;
    let judged = Judged { decision, limit_value: inputs.limit_value, inputs_hash };
    let claim =
        serde_json::to_string(&ask.attempt.claim()).map_err(while_doing("write where an answer is kept"))?;
    Ok(Draft { ask, order: order(ask, customer, &judged), judged, claim })
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
        Outcome::Accept => {
            (FiatInState::Processing, Some(charge_view(&ask.ids.charge, ChargeState::Submitting)))
        }
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
        refunds: RefundTotals::default(),
        decision: judged.decision.outcome,
        version: 1,
        created_at: now,
        updated_at: now,
        expires_at,
        charge,
    }
}

/// Writes everything of the orders, one statement for each table.
async fn write(tx: &mut Tx, drafts: &[Draft<'_>]) -> Result<(), Fault> {
    let orders: Vec<(&FiatIn, &str)> =
        drafts.iter().map(|draft| (&draft.order, draft.claim.as_str())).collect();
    if insert_fiat_ins(tx, &orders).await? != drafts.len() {
        return Err(Fault::overtaken("record orders: a client reference was used meanwhile"));
    }
    let decisions: Vec<NewDecision<'_>> = drafts.iter().map(decision).collect();
    insert_decisions(tx, &decisions).await?;
    let with_outcome = |outcome| drafts.iter().filter(move |draft| draft.judged.decision.outcome == outcome);
    let charges: Vec<_> = with_outcome(Outcome::Accept)
        .map(|draft| (draft.ask.charge(&draft.order), draft.ask.holder.as_str()))
        .collect();
    insert_taken_charges(tx, &charges).await?;
    let reviews = with_outcome(Outcome::Review)
        .map(|draft| review(draft.ask, &draft.order, &draft.judged.decision))
        .collect::<Result<Vec<_>, _>>()?;
    insert_reviews(tx, &reviews).await?;
    let mut told = Vec::with_capacity(2 * drafts.len());
    for draft in drafts {
        let actor = draft.ask.attempt.actor();
        let events = events::judged(&draft.order, &draft.ask.ids.events);
        told.extend(events.into_iter().map(|event| (actor.clone(), event)));
    }
    insert_events_of(tx, &told).await?;
    reach("fiat_in.in_a").await;
    Ok(())
}

fn decision<'a>(draft: &'a Draft<'_>) -> NewDecision<'a> {
    NewDecision {
        decision_id: &draft.ask.ids.decision,
        partner_id: &draft.order.partner_id,
        fiat_in_id: &draft.order.fiat_in_id,
        decision: &draft.judged.decision,
        inputs_hash: &draft.judged.inputs_hash,
        now: draft.order.created_at,
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
