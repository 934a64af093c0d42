//! The events of refunds and disputes: ids, states, amounts and public codes, never personal data or a caller's words.

use chassis::outbox::NewEvent;
use keys::UnixSeconds;
use serde_json::json;

use super::disputes::DisputeTold;
use crate::domain::fiat_in::FiatIn;
use crate::domain::refund::{DisputeTurn, Refund, RefundState};

/// Where a refund stands.
pub(super) fn told(refund: &Refund, order: &FiatIn, (event_id, now): (&str, UnixSeconds)) -> NewEvent {
    let kind = match refund.state {
        RefundState::Held | RefundState::Submitting | RefundState::Unknown => "refund.created",
        RefundState::Manual => "refund.manual",
        RefundState::Succeeded => "refund.succeeded",
        RefundState::Failed => "refund.failed",
    };
    NewEvent {
        event_id: event_id.to_owned(),
        partner_id: refund.partner_id.clone(),
        kind,
        occurred_at: now,
        data: json!({
            "refund_id": refund.refund_id,
            "fiat_in_id": refund.fiat_in_id,
            "customer_id": order.customer_id,
            "external_id": order.external_id,
            "entity_id": order.entity_id,
            "amount": { "amount": refund.money.amount, "currency": refund.money.currency.code() },
            "state": refund.state.as_str(),
            "kind": refund.kind.as_str(),
            "decline_code": refund.decline_code,
            "fiat_in_state": order.state.as_str(),
        }),
    }
}

/// A turn of a dispute, with the order as it is after it.
pub(super) fn dispute(told: &DisputeTold, turn: DisputeTurn, order: &FiatIn) -> NewEvent {
    let kind = match turn {
        DisputeTurn::Opened => "dispute.opened",
        DisputeTurn::Won => "dispute.won",
        DisputeTurn::Lost => "dispute.lost",
    };
    NewEvent {
        event_id: told.ids.event_id.clone(),
        partner_id: order.partner_id.clone(),
        kind,
        occurred_at: told.now,
        data: json!({
            "dispute_id": told.dispute_id,
            "fiat_in_id": order.fiat_in_id,
            "customer_id": order.customer_id,
            "external_id": order.external_id,
            "entity_id": order.entity_id,
            "amount": { "amount": told.money.amount, "currency": told.money.currency.code() },
            "state": turn.state(),
            "fiat_in_state": order.state.as_str(),
        }),
    }
}
