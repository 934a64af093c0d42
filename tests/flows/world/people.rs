//! Customers and their wallets, registered as a partner's backend would.

use resource_api::operations::kyc::{LevelDecision, set_level};
use serde_json::{Value, json};

use super::{Call, World};

/// A customer of a partner, with a wallet in EUR.
#[derive(Clone, Debug)]
pub(crate) struct Customer {
    pub(crate) partner: String,
    pub(crate) partner_id: String,
    pub(crate) external_id: String,
    pub(crate) customer_id: String,
    pub(crate) sub: String,
    pub(crate) wallet: String,
}

impl World {
    /// A call of the payments API by this client, with a fresh token of all it may and a fresh `Idempotency-Key`.
    pub(crate) async fn call_as(
        &self,
        client: &str,
        method: &'static str,
        path: &str,
        body: Option<&Value>,
    ) -> Call {
        let token = self.token_for_api(client).await;
        let url = format!("{}{path}", self.resource);
        let call = match (method, body) {
            ("PUT", Some(body)) => Call::put(url, body),
            (_, Some(body)) => Call::post(url, body),
            (method, None) => Call::new(method, url),
        };
        let call = call.bearer(&token);
        let call = if method == "POST" { call.key(&self.unique("key")) } else { call };
        if self.client(client).secret.is_some() { call } else { call.signed_by(self.client(client), self) }
    }

    /// POSTs as a client and expects this status.
    pub(crate) async fn post_as(&self, client: &str, path: &str, body: &Value, status: u16) -> Value {
        self.send(self.call_as(client, "POST", path, Some(body)).await).await.expect(status)
    }

    /// GETs as a client and expects 200.
    pub(crate) async fn get_as(&self, client: &str, path: &str) -> Value {
        self.send(self.call_as(client, "GET", path, None).await).await.expect(200)
    }

    /// A new customer of `ta` with a wallet.
    pub(crate) async fn customer(&self) -> Customer {
        self.customer_of("ta").await
    }

    /// A new customer of this partner with a wallet.
    pub(crate) async fn customer_of(&self, partner: &str) -> Customer {
        self.register_customer(partner, &json!({ "kind": "person", "country": "DE" })).await
    }

    /// Registers a customer with these members beside a fresh `external_id`, and opens a wallet.
    pub(crate) async fn register_customer(&self, partner: &str, members: &Value) -> Customer {
        let backend = format!("{partner}/backend");
        let mut body = members.clone();
        let external_id = self.unique("person");
        body["external_id"] = json!(external_id);
        let made = self.post_as(&backend, "/v1/customers", &body, 201).await;
        let customer_id = made["id"].as_str().expect("id").to_owned();
        let partner_id = self.client(&backend).partner_id.clone();
        let sub = self.sub_of(&partner_id, &external_id).await;
        let wallet = self.open_wallet(partner, &customer_id, "EUR").await;
        Customer { partner: partner.to_owned(), partner_id, external_id, customer_id, sub, wallet }
    }

    /// Opens a wallet of a customer; its id.
    pub(crate) async fn open_wallet(&self, partner: &str, customer_id: &str, currency: &str) -> String {
        let label = self.unique("wallet");
        let body = json!({ "kind": "customer", "owner": customer_id, "currency": currency, "label": label });
        let made = self.post_as(&format!("{partner}/backend"), "/v1/entities", &body, 201).await;
        made["id"].as_str().expect("id").to_owned()
    }

    /// The subject of a customer, as the payments API keeps it.
    async fn sub_of(&self, partner_id: &str, external_id: &str) -> String {
        let (partner_id, external_id) = (partner_id.to_owned(), external_id.to_owned());
        let found = self.api.app.db.read(move |tx| {
            Box::pin(async move {
                resource_api::store::customers::find_by_external_id(tx, &partner_id, &external_id).await
            })
        });
        found.await.expect("a read").expect("a customer").sub
    }

    /// Gives a customer this KYC level, as somebody's decision.
    pub(crate) async fn verified(&self, customer: &Customer, level: i64) {
        let decision = LevelDecision {
            partner_id: customer.partner_id.clone(),
            customer_id: customer.customer_id.clone(),
            level,
            decided_by: "test".to_owned(),
            decision_id: self.unique("kyd"),
            event_id: self.unique("evt"),
            now: self.now(),
        };
        let written = self.api.app.db.write(move |tx| {
            let decision = decision.clone();
            Box::pin(async move { set_level(tx, &decision).await.map(drop) })
        });
        written.await.expect("the level is set");
    }

    /// Disables or enables a user at the authorization server.
    pub(crate) async fn set_user(&self, customer: &Customer, verb: &str) {
        let url = format!("{}/v1/users/{}/{verb}", self.issuer, customer.sub);
        let token = self.token(&format!("{}/backend", customer.partner), "users:write").await;
        self.send(Call::post(url, &json!({})).bearer(&token)).await.expect(200);
    }
}
