//! The partner's backend: it holds the secrets, obtains tokens, registers users and receives webhooks.

use anyhow::Context;
use chassis::{Clock, Entropy, SystemClock, SystemEntropy};
use keys::{SigningKey, UnixSeconds};
use serde_json::{Value, json};

use super::client::{self, Call, Http};
use super::print;
use super::receiver::Receiver;
use crate::dev::credentials::{Client, Credentials};

/// What the backend asks for: enough to run the tour and no more.
const SCOPE: &str = "customers:write customers:read entities:write entities:read fiat_ins:execute fiat_ins:read \
                     refunds:execute transfers:execute transfers:read kyc:read webhooks:write events:read";

/// The backend of the partner `acme`, with a token of its client `acme-signed`.
pub(crate) struct Backend {
    pub(crate) credentials: Credentials,
    pub(crate) http: Http,
    pub(crate) webhooks: Receiver,
    /// `whpk_…` of the webhook endpoint registered by the tour.
    pub(crate) webhook_key: String,
    signed: Client,
    signature_key: SigningKey,
    token: String,
    run: String,
}

impl Backend {
    /// Starts a webhook receiver, obtains the client token and registers the receiver.
    pub(crate) async fn new(credentials: Credentials) -> anyhow::Result<Self> {
        let signed = credentials.client("acme-signed")?.clone();
        let signature_key = client::signature_key(&signed)?;
        let mut backend = Self {
            http: Http::new(credentials.ca_file.as_deref())?,
            webhooks: Receiver::start().await?,
            webhook_key: String::new(),
            signature_key,
            token: String::new(),
            run: random_text().to_lowercase().replace(['-', '_'], "0").chars().take(8).collect(),
            signed,
            credentials,
        };
        print::chapter("Before the first payment: the backend introduces itself");
        print::step("a", "client token: private_key_jwt (RFC 7523), the request signed (RFC 9421)");
        backend.token = backend.client_token(SCOPE).await?;
        print::held("the backend holds a token for the payments API, ten minutes long");
        print::step("b", "where webhooks go");
        let url = format!("{}/v1/webhook-endpoints", backend.credentials.resource);
        let endpoint = backend.post(201, &url, &json!({ "url": backend.webhooks.url })).await?;
        endpoint["public_key"].as_str().context("public_key")?.clone_into(&mut backend.webhook_key);
        print::held("deliveries are verified with the endpoint's own ed25519 key");
        Ok(backend)
    }

    /// An access token of `acme-signed`.
    pub(crate) async fn client_token(&self, scope: &str) -> anyhow::Result<String> {
        let issuer = &self.credentials.issuer;
        let assertion = client::client_assertion(&self.signed, issuer, now(), &random_text())?;
        let mut fields = vec![("grant_type", "client_credentials"), ("scope", scope)];
        fields.extend(client::assertion_fields(&assertion));
        let call = self.sign(Call::post_form(&format!("{issuer}/oauth2/token"), &fields)?)?;
        let answer = self.http.expect(200, &call).await?;
        text(&answer, "access_token")
    }

    /// A token bound to one operation of one user.
    pub(crate) async fn user_token(&self, asked: &Value) -> anyhow::Result<String> {
        let token = self.client_token("user_tokens:write").await?;
        let call =
            Call::post_json(&format!("{}/v1/user-tokens", self.credentials.issuer), asked)?.bearer(&token)?;
        let answer = self.http.expect(201, &self.sign(call)?).await?;
        text(&answer, "access_token")
    }

    /// [`Backend::own_post`], sent and expected to answer this status.
    pub(crate) async fn post(&self, status: u16, url: &str, body: &Value) -> anyhow::Result<Value> {
        self.http.expect(status, &self.own_post(url, body)?).await
    }

    /// A POST by the backend itself: its token, a fresh `Idempotency-Key`, signed.
    pub(crate) fn own_post(&self, url: &str, body: &Value) -> anyhow::Result<Call> {
        self.sign(Call::post_json(url, body)?.bearer(&self.token)?.header("idempotency-key", &random_text())?)
    }

    /// A signed GET with the backend's token.
    pub(crate) async fn get(&self, url: &str) -> anyhow::Result<Value> {
        self.http.expect(200, &self.sign(Call::get(url).bearer(&self.token)?)?).await
    }

    /// Signs a request with `acme-signed`'s signature key.
    pub(crate) fn sign(&self, call: Call) -> anyhow::Result<Call> {
        call.signed(&self.signature_key, now(), &random_text())
    }

    /// A new customer of the partner and a EUR wallet: the partner's own id, the customer, the wallet.
    pub(crate) async fn customer_with_wallet(&self, name: &str) -> anyhow::Result<Customer> {
        let external_id = format!("{name}-{}", self.run);
        let base = &self.credentials.resource;
        let body = json!({ "external_id": external_id, "kind": "person", "country": "DE" });
        let customer = self.post(201, &format!("{base}/v1/customers"), &body).await?;
        let customer_id = text(&customer, "id")?;
        let wallet = json!({ "kind": "customer", "owner": customer_id, "currency": "EUR" });
        let entity = self.post(201, &format!("{base}/v1/entities"), &wallet).await?;
        Ok(Customer { external_id, customer_id, entity_id: text(&entity, "id")? })
    }

    /// The next verified webhook of this kind about this order.
    pub(crate) async fn webhook(&self, kind: &str, fiat_in_id: &str) -> anyhow::Result<Value> {
        let wanted = |event: &Value| event["type"] == kind && event["data"]["fiat_in_id"] == fiat_in_id;
        let event =
            self.webhooks.next(&self.webhook_key, wanted).await.with_context(|| format!("webhook {kind}"))?;
        print::note(&format!("webhook {event}"));
        Ok(event)
    }
}

/// One customer as the partner knows it.
#[allow(clippy::struct_field_names, reason = "the API's own member names")]
pub(crate) struct Customer {
    pub(crate) external_id: String,
    pub(crate) customer_id: String,
    pub(crate) entity_id: String,
}

/// The present moment.
pub(crate) fn now() -> UnixSeconds {
    SystemClock.now()
}

/// 128 random bits as text.
pub(crate) fn random_text() -> String {
    let mut bytes = [0; 16];
    SystemEntropy.fill(&mut bytes);
    keys::b64::encode(bytes)
}

/// A string member of an answer.
pub(crate) fn text(answer: &Value, member: &str) -> anyhow::Result<String> {
    answer[member]
        .as_str()
        .map(str::to_owned)
        .with_context(|| format!("the answer has no {member}: {answer}"))
}
