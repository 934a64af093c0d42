//! Paying in, transferring, and the books.

use std::collections::BTreeMap;

use resource_api::ledger;
use resource_api::sandbox::{Outcome, RefundOutcome};
use serde_json::{Value, json};

use super::{Call, Customer, Reply, World};

/// Values of the form that may appear in no event, log line or plain column.
pub(crate) const PII_CANARIES: &[&str] = &[
    "Quirina",
    "Zaunkoenig",
    "1987-03-29",
    "quirina.zaunkoenig@canary.example",
    "+4915299887766",
    "Rotkehlchenpfad 77",
    "Vogelsangen",
    "QZ-99817",
];

/// What a customer types into the partner's form.
pub(crate) fn personal_data() -> Value {
    json!({
        "given_name": PII_CANARIES[0], "family_name": PII_CANARIES[1], "birth_date": PII_CANARIES[2],
        "emails": [PII_CANARIES[3]], "phones": [PII_CANARIES[4]],
        "addresses": [{
            "line1": PII_CANARIES[5], "city": PII_CANARIES[6], "postal_code": PII_CANARIES[7], "country": "DE",
        }],
    })
}

impl World {
    /// The app's request for a fiat-in, without a customer and without personal data.
    pub(crate) fn payment(&self, customer: &Customer, amount: i64, instrument: &str) -> Value {
        json!({
            "entity_id": customer.wallet,
            "money": { "amount": amount, "currency": "EUR" },
            "payment_method": { "token": instrument },
            "client_reference": self.unique("order"),
        })
    }

    /// The fiat-in call with a one-time token.
    pub(crate) fn pay_call(&self, token: &str, body: &Value) -> Call {
        Call::post(format!("{}/v1/fiat-ins", self.resource), body).bearer(token)
    }

    /// Sends a fiat-in with a one-time token.
    pub(crate) async fn pay(&self, token: &str, body: &Value) -> Reply {
        self.send(self.pay_call(token, body)).await
    }

    /// A fiat-in call by the partner's backend with its client token and this key.
    pub(crate) async fn order_call(&self, customer: &Customer, body: &Value) -> Call {
        let mut body = body.clone();
        body["customer"] = json!(customer.customer_id);
        self.call_as(&format!("{}/backend", customer.partner), "POST", "/v1/fiat-ins", Some(&body)).await
    }

    /// A fiat-in by the partner's backend.
    pub(crate) async fn order(&self, customer: &Customer, amount: i64, instrument: &str) -> Reply {
        self.send(self.order_call(customer, &self.payment(customer, amount, instrument)).await).await
    }

    /// Puts money into the wallet, at most 10,000.00: the customer is verified for it.
    pub(crate) async fn fund(&self, customer: &Customer, amount: i64) {
        self.verified(customer, 3).await;
        let paid = self.order(customer, amount, "tok_success").await.expect(201);
        assert_eq!(paid["state"], "completed", "{paid}");
    }

    /// A transfer between two wallets of one partner.
    pub(crate) fn transfer(source: &str, destination: &str, amount: i64) -> Value {
        json!({
            "mode": "fast", "source": source, "destination": destination,
            "money": { "amount": amount, "currency": "EUR" },
        })
    }

    /// What a wallet has at its owner's disposal, minor units.
    pub(crate) async fn available(&self, customer: &Customer) -> i64 {
        let path = format!("/v1/entities/{}", customer.wallet);
        let wallet = self.get_as(&format!("{}/backend", customer.partner), &path).await;
        wallet.pointer("/balances/available").and_then(Value::as_i64).expect("a balance")
    }

    /// The ids of a partner's fiat-ins, newest first.
    pub(crate) async fn order_ids(&self, partner: &str) -> Vec<String> {
        let list = self.get_as(&format!("{partner}/backend"), "/v1/fiat-ins?limit=100").await;
        let ids = list["data"]
            .as_array()
            .expect("data")
            .iter()
            .map(|order| order["id"].as_str().expect("id").to_owned());
        ids.collect()
    }

    /// The books are sound, and hold exactly what the gateway collected.
    pub(crate) async fn assert_books(&self) {
        let report = ledger::verify(&self.api.app.db).await.expect("the ledger is read");
        assert!(report.is_sound(), "the ledger: {:?}", report.problems);
        let mut collected: BTreeMap<String, i64> = BTreeMap::new();
        for charge in self.sandbox.charges().iter().filter(|charge| charge.outcome == Outcome::Captured) {
            *collected.entry(charge.reference.clone()).or_default() += charge.amount;
        }
        let mut booked = self.booked_captures().await;
        // A charge whose answer never came may be collected and not booked yet; one that is booked was collected.
        booked.retain(|charge, amount| collected.get(charge) != Some(amount));
        assert!(booked.is_empty(), "booked, but not collected like that: {booked:?}");
        self.assert_refunds().await;
    }

    /// What is booked as refunded went back at the gateway, and of no charge more than it collected.
    async fn assert_refunds(&self) {
        let mut left: BTreeMap<String, i64> = BTreeMap::new();
        for charge in self.sandbox.charges().iter().filter(|charge| charge.outcome == Outcome::Captured) {
            left.insert(charge.reference.clone(), charge.amount);
        }
        let mut returned: BTreeMap<String, i64> = BTreeMap::new();
        for refund in self.sandbox.refunds() {
            if refund.outcome == RefundOutcome::Succeeded {
                *left.entry(refund.charge).or_default() -= refund.amount;
                returned.insert(refund.reference, refund.amount);
            }
        }
        assert!(left.values().all(|amount| *amount >= 0), "more went back than was collected: {left:?}");
        // A refund whose answer never came may be paid and not booked yet; one that is booked was paid.
        let mut booked = self.booked_refunds().await;
        booked.retain(|refund, amount| returned.get(refund) != Some(amount));
        assert!(booked.is_empty(), "booked, but not given back like that: {booked:?}");
    }

    /// Every capture is booked: nothing is on its way.
    pub(crate) async fn assert_all_booked(&self) {
        let booked = self.booked_captures().await;
        for charge in self.sandbox.charges().iter().filter(|charge| charge.outcome == Outcome::Captured) {
            assert_eq!(booked.get(&charge.reference), Some(&charge.amount), "{charge:?} is not booked");
        }
    }
}
