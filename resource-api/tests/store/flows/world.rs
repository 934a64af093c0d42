//! One resource API under test: its own process state, a database, a sandbox gateway, an issuer, all over
//! real HTTP, and a clock that the test moves.

use std::sync::Arc;
use std::time::Duration;

use chassis::fetch::{FetchPolicy, FetchRequest, Fetcher};
use chassis::sqlx;
use chassis::testing::TestDatabase;
use chassis::{Clock, Fault, FixedClock, Platform, Tx, on, while_doing};
use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method};
use keys::b64;
use keys::token::{OperationGrant, TokenKind};
use resource_api::app::App;
use resource_api::domain::customer::CustomerKind;
use resource_api::domain::entity::EntityKind;
use resource_api::ledger::open_entity_account;
use resource_api::sandbox::{Sandbox, SandboxOptions, serve};
use resource_api::store::{customers, entities};
use resource_api::{Listeners, start};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use url::Url;

use super::issuer::{Issuer, Mint};

/// What the tests' gateway deadline is, milliseconds.
const GATEWAY_DEADLINE_MS: u64 = 2_000;

pub(crate) struct World {
    pub(crate) app: App,
    pub(crate) base: String,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) sandbox: Sandbox,
    pub(crate) issuer: Issuer,
    fetcher: Fetcher,
    shutdown: chassis::shutdown::Shutdown,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) text: String,
    pub(crate) headers: HeaderMap,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error} in {}", self.text))
    }

    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

/// A request to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    method: Method,
    pub(crate) path: String,
    headers: HeaderMap,
    pub(crate) body: String,
}

impl Ask {
    pub(crate) fn get(path: &str) -> Self {
        Self { method: Method::GET, path: path.to_owned(), headers: HeaderMap::new(), body: String::new() }
    }

    pub(crate) fn post(path: &str, body: &Value) -> Self {
        let ask = Self { method: Method::POST, body: body.to_string(), ..Self::get(path) };
        ask.with(CONTENT_TYPE.as_str(), "application/json")
    }

    pub(crate) fn delete(path: &str) -> Self {
        Self { method: Method::DELETE, ..Self::get(path) }
    }

    /// The same request with another body, byte for byte as given.
    pub(crate) fn raw(self, body: &str) -> Self {
        Self { body: body.to_owned(), ..self }
    }

    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(name, HeaderValue::from_str(value).unwrap());
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.with(AUTHORIZATION.as_str(), &format!("Bearer {token}"))
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.with("idempotency-key", key)
    }
}

pub(crate) fn loopback() -> Fetcher {
    Fetcher::new(FetchPolicy { allow_loopback_http: true, ..FetchPolicy::default() })
}

impl World {
    pub(crate) async fn start(database: &TestDatabase) -> Self {
        Self::start_with(database, |_| ()).await
    }

    /// Starts with a changed configuration.
    pub(crate) async fn start_with(database: &TestDatabase, change: impl FnOnce(&mut Value)) -> Self {
        let (platform, clock) = chassis::testing::platform();
        let issuer = Issuer::start().await;
        let (sandbox, gateway) = start_sandbox().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let key = keys::SigningKey::es256_from_seed([3; 32]).unwrap();
        let mut config = json!({
            "issuer": issuer.url,
            "resource": base,
            "database_url": database.url().expose(),
            "master_key": b64::encode([1; 32]),
            "client": { "client_id": "resource-api", "private_jwk": key.to_private_jwk().unwrap().to_string() },
            "gateway": { "base_url": gateway, "deadline_ms": GATEWAY_DEADLINE_MS },
        });
        change(&mut config);
        let config = serde_json::from_value(config).unwrap();
        let listeners = Listeners { public: vec![listener], ..Listeners::default() };
        let shutdown = chassis::shutdown::Shutdown::new();
        let platform = Platform { entropy: Arc::new(chassis::SystemEntropy), ..platform };
        let running = start(config, listeners, platform, shutdown.clone()).await.unwrap();
        let world = Self { app: running.app, base, clock, sandbox, issuer, fetcher: loopback(), shutdown };
        world.wait_until_ready().await;
        world
    }

    /// The directory is there and counts as fresh.
    async fn wait_until_ready(&self) {
        for _ in 0..200 {
            let reply = self
                .call(Ask::post("/v1/fiat-ins", &json!({})).bearer(&self.client("backend")).key("ready"))
                .await;
            if reply.status == 400 && reply.code() != "invalid_token" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the service did not get ready");
    }

    pub(crate) async fn call(&self, ask: Ask) -> Reply {
        let url = Url::parse(&format!("{}{}", self.base, ask.path)).unwrap();
        let Ask { method, headers, body, .. } = ask;
        let deadline = Some(Duration::from_secs(20));
        let reply =
            self.fetcher.fetch(FetchRequest { method, url, headers, body: body.into(), deadline }).await;
        let reply = reply.unwrap();
        let text = String::from_utf8(reply.body.to_vec()).unwrap();
        Reply { status: reply.status.as_u16(), text, headers: reply.headers }
    }

    /// A token of a client for itself.
    pub(crate) fn client(&self, client_id: &str) -> String {
        self.mint(TokenKind::Client, client_id, client_id, None)
    }

    /// A token of a user who signed in at the client `backend`.
    pub(crate) fn user(&self, sub: &str) -> String {
        self.mint(TokenKind::User, "backend", sub, None)
    }

    /// A one-time token for `POST /v1/fiat-ins`, got by the client `backend`.
    pub(crate) fn one_time(&self, sub: &str, money: Option<(i64, &str)>) -> String {
        let uri = format!("{}/v1/fiat-ins", self.base);
        self.mint(TokenKind::OneTime, "backend", sub, Some(super::issuer::grant(&uri, money)))
    }

    pub(crate) fn mint(
        &self,
        kind: TokenKind,
        client_id: &str,
        sub: &str,
        operation: Option<OperationGrant>,
    ) -> String {
        let now = self.clock.now();
        self.issuer.mint(&self.base, Mint { kind, client_id, sub, operation, now })
    }

    /// Runs statements in one transaction.
    pub(crate) async fn write<T, F>(&self, work: F) -> T
    where
        F: for<'t> FnMut(&'t mut Tx) -> BoxFuture<'t, Result<T, Fault>> + Send + 'static,
        T: Send + 'static,
    {
        self.app.db.write(work).await.unwrap()
    }

    /// Runs one statement without parameters.
    pub(crate) async fn execute(&self, sql: &'static str) {
        self.write(move |tx| {
            Box::pin(async move {
                on!(tx, conn => sqlx::query(sql).execute(conn).await.map(drop))
                    .map_err(while_doing("run a test's SQL"))
            })
        })
        .await;
    }

    /// A customer of `acme` at KYC level 2 with an empty wallet in EUR; returns both ids.
    pub(crate) async fn customer(&self, sub: &str) -> (String, String) {
        self.customer_of("acme", sub).await
    }

    pub(crate) async fn customer_of(&self, partner: &'static str, sub: &str) -> (String, String) {
        let (customer_id, entity_id) = (format!("cus_{sub}"), format!("ent_{sub}"));
        let (sub, now) = (sub.to_owned(), self.clock.now());
        let ids = (customer_id.clone(), entity_id.clone());
        self.write(move |tx| {
            let (customer_id, entity_id) = ids.clone();
            let (partner_id, sub) = (partner.to_owned(), sub.clone());
            Box::pin(async move {
                let external_id = format!("ext-{sub}");
                let new = customers::NewCustomer {
                    partner_id: partner_id.clone(),
                    customer_id: customer_id.clone(),
                    sub,
                    external_id,
                    kind: CustomerKind::Person,
                    country: Some("DE".to_owned()),
                    now,
                };
                customers::insert(tx, &new).await?;
                let wallet = entities::NewEntity {
                    partner_id: partner_id.clone(),
                    entity_id: entity_id.clone(),
                    kind: EntityKind::Customer,
                    owner_id: customer_id,
                    label: None,
                    currency: "EUR".to_owned(),
                    now,
                };
                entities::insert(tx, &wallet).await?;
                open_entity_account(tx, &partner_id, &entity_id, "EUR", now).await?;
                on!(tx, conn => sqlx::query("UPDATE customer SET kyc_level = 2, kyc_status = 'approved'")
                    .execute(conn).await.map(drop))
                .map_err(while_doing("raise a test customer's level"))
            })
        })
        .await;
        (customer_id, entity_id)
    }

    /// What is in a wallet of `acme`.
    pub(crate) async fn balance(&self, entity_id: &str) -> i64 {
        let account = format!("entity:{entity_id}");
        let rows: Vec<(i64,)> = self
            .app
            .db
            .read(move |tx| {
                Box::pin(async move {
                    on!(tx, conn => sqlx::query_as("SELECT posted FROM ledger_account WHERE account_id = $1")
                        .bind(account.as_str()).fetch_all(conn).await)
                    .map_err(while_doing("read a balance"))
                })
            })
            .await
            .unwrap();
        rows.into_iter().map(|(posted,)| posted).sum()
    }

    /// Every event there is, as JSON text, once all are numbered.
    pub(crate) async fn events(&self) -> Vec<Value> {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let reply = self.call(Ask::get("/v1/events?limit=100").bearer(&self.client("backend"))).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        reply.json()["data"].as_array().unwrap().clone()
    }

    /// Asks until the order is in a state; the recovery worker looks every half second.
    pub(crate) async fn wait_for_state(&self, id: &str, state: &str) -> Value {
        let mut last = Value::Null;
        for _ in 0..100 {
            let reply =
                self.call(Ask::get(&format!("/v1/fiat-ins/{id}")).bearer(&self.client("backend"))).await;
            last = reply.json();
            if last["state"] == state {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{id} did not get {state}: {last}");
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.shutdown.trigger();
    }
}

/// A sandbox on a port of its own, and its base URL.
pub(crate) async fn start_sandbox() -> (Sandbox, String) {
    let options = SandboxOptions { silence_ms: 5_000, record_file: None };
    let sandbox = Sandbox::new(&options).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve(sandbox.clone(), listener, std::future::pending()));
    (sandbox, url)
}

/// The body of an order.
pub(crate) fn order(entity_id: &str, amount: i64, token: &str, reference: &str) -> Value {
    json!({
        "entity_id": entity_id,
        "money": { "amount": amount, "currency": "EUR" },
        "payment_method": { "token": token },
        "client_reference": reference,
    })
}
