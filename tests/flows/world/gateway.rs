//! Events of the payment gateway, as it would sign and send them.

use keys::webhook::{Signed, WebhookSecret};
use serde_json::{Value, json};

use super::{Call, EVENT_SECRET, MERCHANT, World};

/// The charge of an order.
pub(crate) fn charge_of(order: &Value) -> String {
    let charge = order.pointer("/charge/id").and_then(Value::as_str);
    charge.unwrap_or_else(|| panic!("no charge: {order}")).to_owned()
}

/// An event about the charge of an order, as the gateway would write it.
pub(crate) fn gateway_event(order: &Value, status: &str) -> Value {
    let charge = charge_of(order);
    json!({
        "type": format!("charge.{status}"), "merchant": MERCHANT, "created_at": 1_767_225_600, "data": {
            "id": format!("gch_{charge}"), "reference": charge, "amount": order["money"]["amount"],
            "currency": order["money"]["currency"], "status": status,
            "decline_code": if status == "declined" { json!("insufficient_funds") } else { Value::Null },
        },
    })
}

/// An event about a refund as we show it, as the gateway would write it.
pub(crate) fn refund_event(refund: &Value, status: &str) -> Value {
    let id = refund["id"].as_str().expect("an id");
    json!({
        "type": format!("refund.{status}"), "merchant": MERCHANT, "created_at": 1_767_225_600, "data": {
            "id": format!("grf_{id}"), "reference": id, "charge": refund["charge_id"],
            "amount": refund["money"]["amount"], "currency": refund["money"]["currency"], "status": status,
            "decline_code": if status == "failed" { json!("refund_declined") } else { Value::Null },
        },
    })
}

/// An event about a dispute of a charge, as the gateway would write it.
pub(crate) fn dispute_event(charge: &str, amount: i64, turn: &str) -> Value {
    json!({
        "type": format!("dispute.{turn}"), "merchant": MERCHANT, "created_at": 1_767_225_600,
        "data": { "id": format!("gdp_{charge}"), "charge": charge, "amount": amount, "currency": "EUR" },
    })
}

impl World {
    /// A delivery of an event, signed under this secret at this moment.
    pub(crate) fn event_delivery(&self, id: &str, body: &str, (secret, at): ([u8; 32], i64)) -> Call {
        let secret = WebhookSecret::parse(&WebhookSecret::text(&secret)).expect("a secret");
        let timestamp = at.to_string();
        let signature = secret.sign(&Signed { id, timestamp: &timestamp, body: body.as_bytes() });
        Call::post_text(format!("{}/v1/gateway-events/sandbox", self.resource), body)
            .header("webhook-id", id)
            .header("webhook-timestamp", &timestamp)
            .header("webhook-signature", &signature)
    }

    /// A genuine delivery of an event, now.
    pub(crate) fn genuine_event(&self, id: &str, body: &Value) -> Call {
        self.event_delivery(id, &body.to_string(), (EVENT_SECRET, self.now().0))
    }
}
