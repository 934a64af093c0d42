//! A configuration for tests, and a scripted authorization server that speaks real HTTP.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Json, Router};
use chassis::testing::TestDatabase;
use http::{HeaderMap, StatusCode};
use keys::{SigningKey, jws};
use resource_api::config::Config;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The private key of the client `resource-api`.
pub(crate) fn client_key() -> SigningKey {
    SigningKey::es256_from_seed([11; 32]).unwrap()
}

/// The key of the scripted issuer's tokens.
pub(crate) fn issuer_key() -> SigningKey {
    SigningKey::es256_from_seed([12; 32]).unwrap()
}

/// A configuration for `database` with the issuer at `issuer`.
pub(crate) fn config(database: &TestDatabase, issuer: &str) -> Config {
    serde_json::from_value(json!({
        "issuer": issuer,
        "resource": "http://localhost:8081",
        "public_origins": ["http://localhost:8083"],
        "database_url": database.url().expose(),
        "master_key": keys::b64::encode([3; 32]),
        "client": {
            "client_id": "cli_resource_api",
            "private_jwk": client_key().to_private_jwk().unwrap().to_string(),
        },
        "gateway": { "base_url": "http://127.0.0.1:9" },
    }))
    .unwrap()
}

/// An authorization server that answers as the test says.
#[derive(Clone)]
pub(crate) struct Issuer {
    pub(crate) url: String,
    pub(crate) shared: Arc<Shared>,
}

#[derive(Default)]
pub(crate) struct Shared {
    /// Answers of the feed, in turn; the last one stays.
    pub(crate) feed: Mutex<VecDeque<Value>>,
    /// The queries the feed was asked with.
    pub(crate) asked: Mutex<Vec<String>>,
    /// How many tokens were given out. Only the newest counts.
    pub(crate) tokens: AtomicUsize,
    /// Whether every call is answered with 503.
    pub(crate) down: AtomicBool,
}

impl Issuer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let issuer = Self { url, shared: Arc::new(Shared::default()) };
        let router = Router::new()
            .route("/oauth2/token", post(token))
            .route("/oauth2/jwks", get(jwks))
            .route("/v1/directory", get(directory))
            .route("/v1/users", post(users))
            .with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        issuer
    }

    pub(crate) fn will_feed(&self, feed: Value) {
        self.shared.feed.lock().unwrap().push_back(feed);
    }

    fn accepts(&self, headers: &HeaderMap) -> bool {
        let newest = format!("Bearer token-{}", self.shared.tokens.load(Ordering::SeqCst));
        headers.get("authorization").is_some_and(|value| *value == *newest)
    }
}

async fn jwks() -> Json<Value> {
    Json(json!({ "keys": [issuer_key().public_jwk().to_value()] }))
}

/// RFC 7523 §3, as far as it concerns the client's part.
async fn token(State(issuer): State<Issuer>, Form(form): Form<Vec<(String, String)>>) -> Response {
    let field = |name: &str| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
    let assertion = field("client_assertion").to_owned();
    let token = jws::Compact::parse(&assertion).unwrap();
    let payload = token.verify(&client_key().public_jwk().verifying_key()).unwrap();
    let claims: Value = serde_json::from_slice(payload).unwrap();
    let right = claims["aud"] == json!(issuer.url)
        && claims["iss"] == claims["sub"]
        && claims["sub"] == "cli_resource_api"
        && field("grant_type") == "client_credentials"
        && field("resource") == issuer.url;
    if !right || issuer.shared.down.load(Ordering::SeqCst) {
        return StatusCode::BAD_REQUEST.into_response();
    }
    let number = issuer.shared.tokens.fetch_add(1, Ordering::SeqCst) + 1;
    Json(json!({ "access_token": format!("token-{number}"), "token_type": "Bearer", "expires_in": 600 }))
        .into_response()
}

async fn directory(State(issuer): State<Issuer>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    if issuer.shared.down.load(Ordering::SeqCst) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if !issuer.accepts(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    issuer.shared.asked.lock().unwrap().push(query.unwrap_or_default());
    let mut feed = issuer.shared.feed.lock().unwrap();
    let answer = if feed.len() > 1 { feed.pop_front() } else { feed.front().cloned() };
    answer.map_or_else(|| StatusCode::NOT_FOUND.into_response(), |answer| Json(answer).into_response())
}

async fn users(State(issuer): State<Issuer>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    if !issuer.accepts(&headers) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match body["external_id"].as_str().unwrap() {
        "a b" => {
            (StatusCode::UNPROCESSABLE_ENTITY, Json(json!({"code": "external_id_invalid"}))).into_response()
        }
        "broken" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        external_id => {
            let sub = format!("usr_{external_id}");
            (StatusCode::CREATED, Json(json!({"sub": sub, "external_id": external_id, "status": "active"})))
                .into_response()
        }
    }
}

/// A partner and an active client of it, as the feed tells of them.
pub(crate) fn snapshot(seq: i64) -> Value {
    json!({"schema_version": 1, "snapshot": true, "seq": seq, "entries": [
        {"seq": seq, "kind": "partner", "id": "par_a", "body": {"status": "active", "dialects": []}},
        {"seq": seq, "kind": "client", "id": "cli_a", "body": {"partner_id": "par_a", "status": "active",
            "scope": "customers:read fiat_ins:read", "profile": "none", "allowed_origins": [], "signature_keys": []}},
    ]})
}
