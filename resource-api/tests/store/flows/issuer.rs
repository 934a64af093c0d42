//! The outside world of the resource API in these tests: an issuer with a key set, a token endpoint and a
//! directory feed over real HTTP, whose tokens the tests mint themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use keys::token::{AccessToken, Money, OperationGrant, TokenKind};
use keys::{SigningKey, UnixSeconds};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Clients of the directory: id and partner.
pub(crate) const CLIENTS: [(&str, &str); 4] =
    [("backend", "acme"), ("reviewer", "acme"), ("other", "umbrella"), ("pti-backend", "pti")];

/// Every scope these clients may use.
const SCOPE: &str = "customers:read customers:write entities:read entities:write fiat_ins:execute fiat_ins:read \
    refunds:execute reviews:read reviews:decide webhooks:read webhooks:write events:read transfers:execute transfers:read";

#[derive(Clone)]
pub(crate) struct Issuer {
    pub(crate) url: String,
    key: SigningKey,
    next: Arc<AtomicU64>,
}

/// What a token is to say.
pub(crate) struct Mint<'a> {
    pub(crate) kind: TokenKind,
    pub(crate) client_id: &'a str,
    pub(crate) sub: &'a str,
    pub(crate) operation: Option<OperationGrant>,
    pub(crate) now: UnixSeconds,
}

impl Issuer {
    /// Starts serving on a port of its own.
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let key = SigningKey::es256_from_seed([9; 32]).unwrap();
        let issuer = Self { url, key, next: Arc::default() };
        let router = Router::new()
            .route("/oauth2/jwks", get(jwks))
            .route("/oauth2/token", post(token))
            .route("/v1/directory", get(directory))
            .with_state(issuer.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        issuer
    }

    /// Signs a token for `audience`.
    pub(crate) fn mint(&self, audience: &str, ask: Mint<'_>) -> String {
        let partner_id =
            CLIENTS.iter().find(|(id, _)| *id == ask.client_id).map_or("", |(_, partner)| partner);
        let user = matches!(ask.kind, TokenKind::User | TokenKind::Exchanged);
        let scope = if ask.kind == TokenKind::OneTime { "" } else { SCOPE };
        let token = AccessToken {
            iss: self.url.clone(),
            aud: audience.to_owned(),
            sub: ask.sub.to_owned(),
            client_id: ask.client_id.to_owned(),
            jti: format!("jti-{}", self.next.fetch_add(1, Ordering::Relaxed)),
            partner_id: partner_id.to_owned(),
            iat: ask.now,
            exp: ask.now.plus(300),
            kind: ask.kind,
            scope: scope.parse().unwrap(),
            sid: user.then(|| "sid".to_owned()),
            act: (ask.kind == TokenKind::Exchanged).then(|| json!({"sub": ask.client_id})),
            cnf_jkt: None,
            cnf_x5t: None,
            operation: ask.operation,
            process_id: None,
            roles: Vec::new(),
            acr: None,
            auth_time: None,
            external_id: None,
        };
        token.sign(&self.key).unwrap()
    }
}

/// The key with which `pti-backend` signs its requests.
pub(crate) fn pti_key() -> SigningKey {
    SigningKey::ed25519_from_seed([5; 32]).unwrap()
}

/// The grant of a one-time token.
pub(crate) fn grant(uri: &str, money: Option<(i64, &str)>) -> OperationGrant {
    let money = money.map(|(amount, currency)| Money { amount, currency: currency.to_owned() });
    OperationGrant { method: "POST".to_owned(), uri: uri.to_owned(), money, entity_id: None }
}

async fn jwks(State(issuer): State<Issuer>) -> Json<Value> {
    Json(json!({ "keys": [issuer.key.public_jwk().to_value()] }))
}

async fn token() -> Json<Value> {
    Json(json!({ "access_token": "for-the-feed", "token_type": "Bearer", "expires_in": 100_000 }))
}

async fn directory() -> Json<Value> {
    let partners = ["acme", "umbrella", "pti"];
    let partner = |id: &str| {
        let dialects = if id == "pti" { vec!["pti"] } else { Vec::new() };
        json!({"kind": "partner", "id": id, "body": {"id": id, "status": "active", "dialects": dialects}})
    };
    let client = |(id, partner): (&str, &str)| {
        let (profile, keys) = match id {
            "pti-backend" => ("pti_jws", vec![pti_key().public_jwk().to_value()]),
            _ => ("none", Vec::new()),
        };
        let body = json!({"partner_id": partner, "status": "active", "scope": SCOPE, "profile": profile,
            "allowed_origins": [], "signature_keys": keys});
        json!({"kind": "client", "id": id, "body": body})
    };
    let entries: Vec<Value> =
        partners.into_iter().map(partner).chain(CLIENTS.into_iter().map(client)).collect();
    Json(json!({"schema_version": 1, "snapshot": true, "seq": 1, "entries": entries}))
}
