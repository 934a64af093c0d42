//! The real router with real tokens: the guard, the directory and the rules, on a database of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use chassis::FixedClock;
use chassis::testing::{TestDatabase, platform};
use keys::UnixSeconds;
use keys::token::{AccessToken, Money, OperationGrant, Scope, TokenKind};
use resource_api::app::App;
use resource_api::directory::poller::poll;
use resource_api::domain::ledger::{Leg, NewPosting, SystemAccount};
use resource_api::{ledger, open};
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::world::{Issuer, config, issuer_key};

const SCOPES: &str = "customers:read customers:write customers.pii:write kyc:read entities:read entities:write \
    transfers:execute transfers:read";

pub(crate) struct World {
    pub(crate) app: App,
    pub(crate) clock: Arc<FixedClock>,
    router: Router,
    issuer: Issuer,
    numbers: AtomicU32,
    _database: TestDatabase,
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{}: {}", self.status, self.body))
    }

    pub(crate) fn id(&self) -> String {
        assert_eq!(self.status, 201, "{}", self.body);
        self.json()["id"].as_str().unwrap().to_owned()
    }

    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status, self.json()["code"].as_str().unwrap_or_default().to_owned())
    }
}

fn client_entry(partner: &str, client: &str) -> Value {
    json!({"seq": 1, "kind": "client", "id": client, "body": {"partner_id": partner, "status": "active",
        "scope": SCOPES, "profile": "none", "allowed_origins": [], "signature_keys": []}})
}

fn partner_entry(partner: &str) -> Value {
    json!({"seq": 1, "kind": "partner", "id": partner, "body": {"status": "active", "dialects": ["pti"]}})
}

impl World {
    pub(crate) async fn on(database: TestDatabase) -> Self {
        let issuer = Issuer::start().await;
        issuer.will_feed(json!({"schema_version": 1, "snapshot": true, "seq": 1, "entries": [
            partner_entry("par_a"), client_entry("par_a", "cli_a"),
            partner_entry("par_b"), client_entry("par_b", "cli_b"),
        ]}));
        let (platform, clock) = platform();
        let app = open(config(&database, &issuer.url), platform).await.unwrap();
        app.directory.reread().await.unwrap();
        app.issuer_keys.refresh().await.unwrap();
        let router = resource_api::http::router(&app).unwrap();
        let world = Self { app, clock, router, issuer, numbers: AtomicU32::new(0), _database: database };
        world.refresh_directory().await;
        world
    }

    /// As the poller does all the time: without it money stands still after ten seconds.
    async fn refresh_directory(&self) {
        poll(&self.app.directory, &self.app.authz, &self.app.platform).await.unwrap();
        self.app.directory.reread().await.unwrap();
    }

    fn number(&self) -> u32 {
        self.numbers.fetch_add(1, Ordering::SeqCst)
    }

    fn token(&self, partner: &str, client: &str, kind: TokenKind, sub: &str) -> AccessToken {
        let now = self.app.platform.now();
        AccessToken {
            iss: self.issuer.url.clone(),
            aud: "http://localhost:8081".to_owned(),
            sub: sub.to_owned(),
            client_id: client.to_owned(),
            jti: format!("jti-{}", self.number()),
            partner_id: partner.to_owned(),
            iat: now,
            exp: now.plus(300),
            kind,
            scope: SCOPES.parse().unwrap(),
            sid: (kind != TokenKind::Client).then(|| "sid".to_owned()),
            act: None,
            cnf_jkt: None,
            cnf_x5t: None,
            operation: None,
            process_id: None,
            roles: Vec::new(),
            acr: None,
            auth_time: None,
            external_id: None,
        }
    }

    pub(crate) fn backend(&self) -> String {
        self.token("par_a", "cli_a", TokenKind::Client, "cli_a").sign(&issuer_key()).unwrap()
    }

    pub(crate) fn stranger(&self) -> String {
        self.token("par_b", "cli_b", TokenKind::Client, "cli_b").sign(&issuer_key()).unwrap()
    }

    pub(crate) fn user(&self, sub: &str) -> String {
        self.token("par_a", "cli_a", TokenKind::User, sub).sign(&issuer_key()).unwrap()
    }

    /// A token for one transfer of this amount from this entity.
    pub(crate) fn one_time(&self, sub: &str, amount: i64, source: &str) -> String {
        let operation = OperationGrant {
            method: "POST".to_owned(),
            uri: "http://localhost:8081/v1/transfers".to_owned(),
            money: Some(Money { amount, currency: "EUR".to_owned() }),
            entity_id: Some(source.to_owned()),
        };
        let token = self.token("par_a", "cli_a", TokenKind::OneTime, sub);
        let token = AccessToken { operation: Some(operation), scope: Scope::default(), sid: None, ..token };
        token.sign(&issuer_key()).unwrap()
    }

    pub(crate) async fn send(
        &self,
        (method, path): (&str, &str),
        token: &str,
        key: Option<&str>,
        body: Option<&Value>,
    ) -> Reply {
        if path == "/v1/transfers" {
            self.refresh_directory().await;
        }
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost:8081")
            .header("authorization", format!("Bearer {token}"));
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        if body.is_some() {
            request = request.header("content-type", "application/json");
        }
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body(), 65_536).await.unwrap();
        Reply { status, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Reply {
        self.send(("GET", path), token, None, None).await
    }

    /// A POST with a key of its own.
    pub(crate) async fn post(&self, path: &str, token: &str, body: &Value) -> Reply {
        let key = format!("key-{}", self.number());
        self.send(("POST", path), token, Some(&key), Some(body)).await
    }

    pub(crate) async fn customer(&self, name: &str) -> String {
        self.post("/v1/customers", &self.backend(), &json!({"external_id": name, "country": "BE"})).await.id()
    }

    pub(crate) async fn wallet(&self, owner: &str, funds: i64) -> String {
        let body = json!({"kind": "customer", "owner": owner, "currency": "EUR"});
        let id = self.post("/v1/entities", &self.backend(), &body).await.id();
        if funds > 0 {
            self.fund(&id, funds).await;
        }
        id
    }

    pub(crate) async fn fund(&self, entity_id: &str, amount: i64) {
        let clearing = ledger::system_account(SystemAccount::GatewayClearing("sandbox"), "EUR");
        let number = self.number();
        let one = NewPosting {
            partner_id: "par_a".to_owned(),
            txn_id: format!("txn_{number}"),
            reference: format!("funds {number}"),
            kind: "capture",
            currency: "EUR".to_owned(),
            legs: vec![Leg::debit(clearing, amount), Leg::credit(ledger::entity_account(entity_id), amount)],
            takes_hold: None,
            reverses: None,
        };
        let booked = self
            .app
            .db
            .write(move |tx| {
                let one = one.clone();
                Box::pin(async move { ledger::post(tx, &[one], UnixSeconds(0)).await })
            })
            .await;
        assert_eq!(booked.unwrap(), [Ok(())]);
    }

    pub(crate) async fn available(&self, entity_id: &str) -> i64 {
        let reply = self.get(&format!("/v1/entities/{entity_id}"), &self.backend()).await;
        reply.json()["balances"]["available"].as_i64().unwrap()
    }
}
