//! The second look at an order whose review was accepted, and its charge.

use chassis::{Fault, Tx};
use keys::UnixSeconds;

use super::execute::lease_ms;
use super::record::{charge_view, judged, new_charge};
use crate::app::App;
use crate::domain::customer::{CustomerKind, CustomerStatus};
use crate::domain::fiat_in::{ChargeState, FiatIn};
use crate::monitoring::{Inputs, MonitoringConfig, Outcome};
use crate::store::charges::insert_charge;
use crate::store::customers::{self, NewCustomer};
use crate::store::entities;
use crate::store::monitoring::{NewDecision, insert_decision, read_window};

/// What the second look said.
pub(crate) struct Rejudged {
    pub(crate) outcome: Outcome,
    /// Public code, when it is refused.
    pub(crate) reason: Option<&'static str>,
}

/// Judges an order again, under the customer's lock, and keeps the decision. A customer or wallet that may
/// no longer receive counts as a refusal.
pub(crate) async fn rejudge(
    tx: &mut Tx,
    limits: &MonitoringConfig,
    order: &FiatIn,
    (decision_id, now): (&str, UnixSeconds),
) -> Result<Rejudged, Fault> {
    let customer = customers::upsert_for_subject(tx, &known(order, now)).await?;
    let entity = entities::find(tx, &order.partner_id, &order.entity_id).await?;
    let inputs = Inputs {
        kyc_level: customer.kyc_level,
        limit_value: order.limit_value,
        window: read_window(tx, (&order.partner_id, &order.customer_id), &order.fiat_in_id, now).await?,
        residence: customer.country.clone(),
        ip_country: order.origin.ip_country.clone(),
        instrument_country: order.origin.instrument_country.clone(),
    };
    let (decision, inputs_hash) = judged(limits, &inputs)?;
    let new = NewDecision {
        decision_id,
        partner_id: &order.partner_id,
        fiat_in_id: &order.fiat_in_id,
        decision: &decision,
        inputs_hash: &inputs_hash,
        now,
    };
    insert_decision(tx, &new).await?;
    let open = entity.is_some_and(|entity| entity.may_receive("/entity_id").is_ok())
        && !matches!(customer.status, CustomerStatus::Blocked | CustomerStatus::Closed);
    if !open {
        return Ok(Rejudged { outcome: Outcome::Refuse, reason: Some("entity_blocked") });
    }
    Ok(Rejudged { outcome: decision.outcome, reason: decision.reason_code() })
}

/// The customer exists: registering it again only locks its row.
fn known(order: &FiatIn, now: UnixSeconds) -> NewCustomer {
    NewCustomer {
        partner_id: order.partner_id.clone(),
        customer_id: order.customer_id.clone(),
        sub: order.sub.clone(),
        external_id: order.external_id.clone(),
        kind: CustomerKind::Person,
        country: None,
        now,
    }
}

/// Writes the charge of an accepted order, ready to be sent.
pub(crate) async fn charge_reviewed(
    tx: &mut Tx,
    app: &App,
    mut order: FiatIn,
    (charge_id, source): (&str, &str),
) -> Result<FiatIn, Fault> {
    let due_at_ms = app.platform.clock.now_ms().saturating_add(lease_ms(app));
    let charge = new_charge(&order, charge_id, app.gateway.provider(), due_at_ms).paid_by(source);
    insert_charge(tx, &charge).await?;
    order.charge = Some(charge_view(charge_id, ChargeState::Ready));
    Ok(order)
}
