//! An event in the vendor's words: `USER`, `USER_ASSESSMENT`, `TRANSACTION_MONITORING`, `TRANSACTION_STATUS`.
//!
//! Ids, states, amounts and codes only. The vendor's own messages also carry the payer's e-mail address and digits of
//! the card; ours never do: an event holds no personal data that could be written here.

use chassis::outbox::{StoredEvent, rfc3339};
use serde_json::{Map, Value, json};

use super::words;
use crate::domain::customer::CustomerStatus;
use crate::domain::kyc::KycStatus;
use crate::domain::money::{BadCurrency, Currency};

/// The message for a client, or `None` for an event that the vendor has no message for.
pub(super) fn of(event: &StoredEvent, client_id: &str) -> Option<Value> {
    let data: Value = serde_json::from_str(&event.data).ok()?;
    let (family, _) = event.kind.split_once('.')?;
    let (resource, mut members) = match family {
        "customer" => ("USER", user(&data)?),
        "kyc" => ("USER_ASSESSMENT", assessment(&data)?),
        "monitoring" => ("TRANSACTION_MONITORING", monitoring(&data, event)?),
        "fiat_in" => ("TRANSACTION_STATUS", payment(&data, event, "DEPOSIT")?),
        "transfer" => ("TRANSACTION_STATUS", payment(&data, event, "TRANSFER")?),
        _ => return None,
    };
    members.insert("resourceType".to_owned(), resource.into());
    members.insert("clientId".to_owned(), client_id.into());
    // Beside the vendor's members: what a receiver knows a repeat and a gap by.
    members.insert("eventId".to_owned(), event.event_id.as_str().into());
    members.insert("sequence".to_owned(), event.seq.into());
    if let Some(user_id) = data.get("external_id") {
        members.insert("userId".to_owned(), user_id.clone());
    }
    Some(Value::Object(members))
}

fn text<'v>(data: &'v Value, member: &str) -> Option<&'v str> {
    data.get(member)?.as_str()
}

fn object(value: Value) -> Option<Map<String, Value>> {
    if let Value::Object(members) = value { Some(members) } else { None }
}

fn user(data: &Value) -> Option<Map<String, Value>> {
    let status: CustomerStatus = text(data, "status")?.parse().ok()?;
    object(json!({ "status": words::user(status) }))
}

fn assessment(data: &Value) -> Option<Map<String, Value>> {
    let status: KycStatus = text(data, "status")?.parse().ok()?;
    let mut members = object(json!({ "status": words::assessment(status), "tier": data.get("level")? }))?;
    if let Some(decision) = data.get("decision_id") {
        members.insert("requestId".to_owned(), decision.clone());
    }
    let list = |member: &str| data.get(member).and_then(Value::as_array).cloned().unwrap_or_default();
    if let Some(code) = list("reason_codes").first().and_then(Value::as_str) {
        members.insert("refusalReason".to_owned(), words::reason(code).into());
    }
    let missing = list("missing_fields");
    let missing: Vec<&str> = missing.iter().filter_map(Value::as_str).map(words::field).collect();
    if !missing.is_empty() {
        members.insert("fields".to_owned(), json!(missing));
    }
    Some(members)
}

fn monitoring(data: &Value, event: &StoredEvent) -> Option<Map<String, Value>> {
    let mut members = object(json!({
        "status": words::monitoring(text(data, "decision")?),
        "transactionDate": rfc3339(event.occurred_at),
        "transactionType": text(data, "transaction_type").map_or("DEPOSIT".to_owned(), transaction_type),
    }))?;
    add_money(&mut members, data)?;
    add_request(&mut members, data);
    if let Some(code) = text(data, "state_reason") {
        let detail = json!({ "complianceProviderResponseCode": words::reason(code) });
        members.insert("transactionMonitoringResultDetail".to_owned(), detail);
    }
    Some(members)
}

fn payment(data: &Value, event: &StoredEvent, kind: &str) -> Option<Map<String, Value>> {
    let mut members = object(json!({
        "status": words::payment(text(data, "state")?),
        "date": rfc3339(event.occurred_at),
        "transactionType": kind,
    }))?;
    add_money(&mut members, data)?;
    add_request(&mut members, data);
    if let Some(code) = text(data, "state_reason") {
        members
            .insert("paymentStatusDetail".to_owned(), json!({ "providerResponseCode": words::reason(code) }));
    }
    Some(members)
}

/// `funding` is a deposit in the words of the vendor's webhooks.
pub(super) fn transaction_type(kind: &str) -> String {
    if kind == "funding" { "DEPOSIT".to_owned() } else { kind.to_ascii_uppercase() }
}

/// Amounts are decimal text here, as the vendor writes them: no receiver reads them through a float unawares.
fn add_money(members: &mut Map<String, Value>, data: &Value) -> Option<()> {
    let money = data.get("amount")?;
    let currency: Currency = text(money, "currency")?.parse().map_err(|BadCurrency| ()).ok()?;
    let amount = words::decimal(money.get("amount")?.as_i64()?, currency.exponent());
    members.insert("amount".to_owned(), amount.into());
    members.insert("currency".to_owned(), currency.code().into());
    Some(())
}

/// The partner's own id of the transaction; ours where it gave none.
fn add_request(members: &mut Map<String, Value>, data: &Value) {
    let names = ["client_reference", "fiat_in_id", "transaction_log_id", "transfer_id"];
    let id = names.iter().filter_map(|name| data.get(*name)).find(|id| id.is_string());
    if let Some(id) = id {
        members.insert("requestId".to_owned(), id.clone());
    }
}

#[cfg(test)]
mod tests {
    use keys::UnixSeconds;

    use super::*;

    fn message(kind: &str, data: &Value) -> Option<Value> {
        let event = StoredEvent {
            event_id: "evt_1".to_owned(),
            partner_id: "par_1".to_owned(),
            seq: 7,
            kind: kind.to_owned(),
            schema_version: 1,
            occurred_at: UnixSeconds(0),
            data: data.to_string(),
        };
        of(&event, "cli_1")
    }

    #[test]
    fn each_family_has_its_message_and_the_others_none() {
        let user =
            json!({ "customer_id": "cus_1", "external_id": "ann", "kind": "person", "status": "closed" });
        let expected = json!({
            "resourceType": "USER", "clientId": "cli_1", "userId": "ann", "status": "INACTIVE",
            "eventId": "evt_1", "sequence": 7,
        });
        assert_eq!(message("customer.closed", &user), Some(expected));
        let kyc = json!({
            "customer_id": "cus_1", "external_id": "ann", "decision_id": "kyd_1", "level": 0, "status": "needs_input",
            "missing_fields": ["birth_date"], "reason_codes": [],
        });
        let expected = json!({
            "resourceType": "USER_ASSESSMENT", "clientId": "cli_1", "userId": "ann", "requestId": "kyd_1",
            "status": "REQUESTED_MORE_INFORMATION", "tier": 0, "fields": ["dateOfBirth"], "eventId": "evt_1",
            "sequence": 7,
        });
        assert_eq!(message("kyc.updated", &kyc), Some(expected));
        for kind in ["entity.created", "charge.manual", "user_token.replayed", "customer"] {
            assert_eq!(message(kind, &user), None, "{kind}");
        }
    }

    #[test]
    fn payments_and_verdicts_carry_decimal_amounts_and_the_partners_own_id() {
        let order = json!({
            "fiat_in_id": "fin_1", "client_reference": "order-1", "external_id": "ann",
            "amount": { "amount": 2050, "currency": "EUR" }, "state": "refused", "state_reason": "transaction_velocity",
            "decision": "refuse",
        });
        let verdict = message("monitoring.refused", &order).unwrap();
        let expected = json!({
            "resourceType": "TRANSACTION_MONITORING", "clientId": "cli_1", "userId": "ann", "requestId": "order-1",
            "status": "DENY", "transactionDate": "1970-01-01T00:00:00Z", "amount": "20.50", "currency": "EUR",
            "transactionType": "DEPOSIT", "eventId": "evt_1", "sequence": 7,
            "transactionMonitoringResultDetail": { "complianceProviderResponseCode": "TRANSACTION_VELOCITY_VIOLATION" },
        });
        assert_eq!(verdict, expected);
        let status = message("fiat_in.refused", &order).unwrap();
        assert_eq!((&status["status"], &status["transactionType"]), (&json!("REFUSED"), &json!("DEPOSIT")));
        let transfer = json!({
            "transfer_id": "trf_1", "client_reference": null, "state": "completed",
            "amount": { "amount": 7, "currency": "JPY" },
        });
        let told = message("transfer.completed", &transfer).unwrap();
        assert_eq!((&told["requestId"], &told["amount"]), (&json!("trf_1"), &json!("7")));
        assert_eq!((&told["status"], &told["transactionType"]), (&json!("SETTLED"), &json!("TRANSFER")));
    }

    #[test]
    fn what_the_vendor_adds_of_the_payer_is_left_out() {
        let order = json!({
            "fiat_in_id": "fin_1", "external_id": "ann", "amount": { "amount": 1, "currency": "EUR" },
            "state": "completed", "decision": "accept", "last4": "4242", "billing_email": "a@b.example",
        });
        let text = message("fiat_in.completed", &order).unwrap().to_string();
        assert!(!text.contains("4242") && !text.contains("a@b.example"), "{text}");
    }
}
