//! The events of a fiat-in: ids, states, amounts and public codes, never personal data.

use chassis::Platform;
use chassis::outbox::NewEvent;
use keys::UnixSeconds;
use serde_json::json;

use crate::domain::fiat_in::{FiatIn, FiatInState};
use crate::monitoring::Outcome;

/// Event ids, drawn before the transaction that may run twice.
#[derive(Debug, Clone)]
pub(crate) struct EventIds([String; 2]);

impl EventIds {
    /// Draws two.
    pub(crate) fn draw(platform: &Platform) -> Self {
        Self([platform.new_id("evt"), platform.new_id("evt")])
    }
}

/// What monitoring said and where the order stands after it.
pub(crate) fn judged(order: &FiatIn, ids: &EventIds) -> Vec<NewEvent> {
    let verdict = match order.decision {
        Outcome::Accept => "monitoring.accepted",
        Outcome::Review => "monitoring.review",
        Outcome::Refuse => "monitoring.refused",
    };
    vec![event(order, ids, 0, verdict), event(order, ids, 1, state_kind(order.state))]
}

/// Where the order stands; with the credit of the wallet when it is completed.
pub(crate) fn moved(order: &FiatIn, ids: &EventIds) -> Vec<NewEvent> {
    let mut events = vec![event(order, ids, 0, state_kind(order.state))];
    if order.state == FiatInState::Completed {
        events.push(event(order, ids, 1, "entity.credited"));
    }
    events
}

/// A charge that was collected although its order had ended: the money is in suspense, to be given back.
pub(crate) fn captured_late(order: &FiatIn, ids: &EventIds, now: UnixSeconds) -> NewEvent {
    NewEvent { occurred_at: now, ..charge_event(order, ids, "charge.late_success") }
}

/// A charge whose outcome could not be found out in time. The order stays as it is until a person has looked.
pub(crate) fn left_to_a_person(order: &FiatIn, ids: &EventIds, now: UnixSeconds) -> NewEvent {
    NewEvent { occurred_at: now, ..charge_event(order, ids, "charge.manual") }
}

/// An event of an order's charge.
fn charge_event(order: &FiatIn, ids: &EventIds, kind: &'static str) -> NewEvent {
    let mut event = event(order, ids, 0, kind);
    if let Some(charge) = &order.charge {
        event.data["charge_id"] = json!(charge.charge_id);
    }
    event
}

fn state_kind(state: FiatInState) -> &'static str {
    match state {
        FiatInState::InReview => "fiat_in.in_review",
        FiatInState::Processing => "fiat_in.processing",
        FiatInState::Completed => "fiat_in.completed",
        FiatInState::Refused => "fiat_in.refused",
        FiatInState::Failed => "fiat_in.failed",
        FiatInState::RequiresAction => "fiat_in.requires_action",
        FiatInState::Cancelled => "fiat_in.cancelled",
        FiatInState::Expired => "fiat_in.expired",
        FiatInState::PartiallyRefunded => "fiat_in.partially_refunded",
        FiatInState::Refunded => "fiat_in.refunded",
        FiatInState::Disputed => "fiat_in.disputed",
        FiatInState::ChargedBack => "fiat_in.charged_back",
    }
}

fn event(order: &FiatIn, ids: &EventIds, index: usize, kind: &'static str) -> NewEvent {
    let data = json!({
        "fiat_in_id": order.fiat_in_id,
        "customer_id": order.customer_id,
        "external_id": order.external_id,
        "entity_id": order.entity_id,
        "amount": { "amount": order.money.amount, "currency": order.money.currency.code() },
        "state": order.state.as_str(),
        "state_reason": order.state_reason,
        "decision": order.decision.as_str(),
        "version": order.version,
    });
    NewEvent {
        event_id: ids.0[index].clone(),
        partner_id: order.partner_id.clone(),
        kind,
        occurred_at: order.updated_at,
        data,
    }
}
