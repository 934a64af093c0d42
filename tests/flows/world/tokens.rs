//! Tokens: those the authorization server issues, and any other that its own key could sign.

use std::collections::HashMap;
use std::sync::Mutex;

use chassis::Db;
use chassis::db::DbOptions;
use chassis::keyring::KeyRing;
use keys::ring::RingPolicy;
use keys::seal::{MasterKey, MasterKeys};
use keys::token::{AccessToken, OperationGrant, Scope, TokenKind};
use keys::{Algorithm, SigningKey, UnixSeconds, jws};
use serde_json::{Value, json};

use super::clients::AUTHZ_MASTER;
use super::{Call, Client, Customer, Reply, World};

/// Tokens live for ten minutes; flows that move the clock by less need not mind.
const TOKEN_AGE_MAX_S: i64 = 240;

/// Tokens in use, by client and scope, with the moment they were issued.
pub(super) type Tokens = Mutex<HashMap<(String, String), (String, UnixSeconds)>>;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

impl World {
    /// Asks for an access token as this client, with its own way of authentication.
    pub(crate) async fn ask_token(&self, client: &Client, form: &[(&str, &str)]) -> Reply {
        let url = format!("{}/oauth2/token", self.issuer);
        let mut fields = vec![("grant_type", "client_credentials")];
        fields.extend(form);
        if let Some(secret) = &client.secret {
            use base64::Engine;
            let pair = format!("{}:{secret}", client.client_id);
            let basic = base64::engine::general_purpose::STANDARD.encode(pair);
            return self
                .send(Call::form(url, &fields).header("authorization", &format!("Basic {basic}")))
                .await;
        }
        let assertion = self.assertion(client);
        fields.extend([("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion.as_str())]);
        self.send(Call::form(url, &fields).signed_by(client, self)).await
    }

    /// A client assertion (RFC 7523).
    pub(crate) fn assertion(&self, client: &Client) -> String {
        let claims = json!({
            "iss": client.client_id, "sub": client.client_id, "aud": self.issuer, "jti": self.unique("assertion"),
            "iat": self.now(), "exp": self.now().plus(60),
        });
        let key = client.assertion_key.as_ref().expect("an assertion key");
        jws::sign(key, "client-authentication+jwt", &claims).expect("an assertion")
    }

    /// An access token of a client for these scopes; while it is young the same one again, as clients do.
    pub(crate) async fn token(&self, client: &str, scope: &str) -> String {
        let (wanted, now) = ((client.to_owned(), scope.to_owned()), self.now());
        let known = self.tokens.lock().expect("a lock").get(&wanted).cloned();
        if let Some((token, _)) = known.filter(|(_, from)| (0..TOKEN_AGE_MAX_S).contains(&now.since(*from))) {
            return token;
        }
        let body = self.ask_token(self.client(client), &[("scope", scope)]).await.expect(200);
        let token = body["access_token"].as_str().expect("access_token").to_owned();
        self.tokens.lock().expect("a lock").insert(wanted, (token.clone(), now));
        token
    }

    /// An access token of a client for all it may do at the payments API.
    pub(crate) async fn token_for_api(&self, client: &str) -> String {
        let scope: Vec<&str> = self.client(client).scope.split(' ').filter(|name| !of_authz(name)).collect();
        self.token(client, &scope.join(" ")).await
    }

    /// Asks for a one-time user token as this client, signed.
    pub(crate) async fn ask_user_token(&self, client: &str, body: &Value) -> Reply {
        let token = self.token(client, "user_tokens:write").await;
        let call = Call::post(format!("{}/v1/user-tokens", self.issuer), body).bearer(&token);
        self.send(call.signed_by(self.client(client), self)).await
    }

    /// A one-time user token of the customer's partner.
    pub(crate) async fn user_token(&self, customer: &Customer, body: &Value) -> String {
        let mut body = body.clone();
        body["external_id"] = json!(customer.external_id);
        let granted = self.ask_user_token(&format!("{}/signed", customer.partner), &body).await.expect(201);
        granted["access_token"].as_str().expect("access_token").to_owned()
    }

    /// A one-time token for a fiat-in of exactly this amount into the customer's wallet.
    pub(crate) async fn payment_token(&self, customer: &Customer, amount: i64) -> String {
        let body = json!({
            "method": "POST", "url": format!("{}/v1/fiat-ins", self.resource),
            "money": { "amount": amount, "currency": "EUR" }, "entity_id": customer.wallet,
        });
        self.user_token(customer, &body).await
    }

    /// A one-time token for any fiat-in of the customer: neither amount nor wallet are bound.
    pub(crate) async fn open_token(&self, customer: &Customer) -> String {
        self.user_token(
            customer,
            &json!({ "method": "POST", "url": format!("{}/v1/fiat-ins", self.resource) }),
        )
        .await
    }

    /// The claims of a token of this kind, as the authorization server would issue it: for a client itself, or for
    /// one of its customers.
    pub(crate) fn claims(
        &self,
        kind: TokenKind,
        client: &str,
        customer: Option<&Customer>,
        scope: &str,
    ) -> AccessToken {
        let client = self.client(client);
        let now = self.now();
        let session = !matches!(kind, TokenKind::Client | TokenKind::OneTime);
        AccessToken {
            iss: self.issuer.clone(),
            aud: self.resource.clone(),
            sub: customer.map_or_else(|| client.client_id.clone(), |customer| customer.sub.clone()),
            client_id: client.client_id.clone(),
            jti: self.unique("jti"),
            partner_id: client.partner_id.clone(),
            iat: now,
            exp: now.plus(300),
            kind,
            scope: if kind == TokenKind::OneTime {
                Scope::default()
            } else {
                scope.parse().expect("a scope")
            },
            sid: session.then(|| self.unique("sid")),
            act: (kind == TokenKind::Exchanged).then(|| json!({ "sub": client.client_id })),
            cnf_jkt: None,
            cnf_x5t: None,
            operation: (kind == TokenKind::OneTime).then(|| OperationGrant {
                method: "POST".to_owned(),
                uri: format!("{}/v1/fiat-ins", self.resource),
                money: None,
                entity_id: None,
            }),
            process_id: (kind == TokenKind::Process).then(|| self.unique("prc")),
            roles: if kind == TokenKind::Employee { vec!["Operator".to_owned()] } else { Vec::new() },
            acr: None,
            auth_time: (kind == TokenKind::Employee).then_some(now),
            external_id: customer.map(|customer| customer.external_id.clone()),
        }
    }

    /// Signs claims with the authorization server's own active key.
    pub(crate) async fn mint(&self, claims: &AccessToken) -> String {
        claims.sign(self.signing_key().await).expect("a signed token")
    }

    /// The authorization server's active key, taken from its key ring.
    pub(crate) async fn signing_key(&self) -> &SigningKey {
        let taken = self.signing_key.get_or_init(|| async {
            let url = self.databases.authz.url();
            let db = Db::open(url, &DbOptions::default()).await.expect("the authorization server's database");
            let policy = RingPolicy {
                alg: Algorithm::Es256,
                jwks_max_age_s: 300,
                rotation_s: 30 * 86_400,
                token_ttl_max_s: 3_600,
                skew_s: 10,
            };
            let master = MasterKeys::new(MasterKey::new(AUTHZ_MASTER), Vec::new());
            let ring = KeyRing::open(db.clone(), self.platform.clone(), master, policy).await;
            let key = ring.expect("the key ring").active();
            db.close().await;
            key
        });
        taken.await
    }
}

/// Whether a scope is the authorization server's: a token is for one service only.
fn of_authz(name: &str) -> bool {
    keys::token::scopes::AUTHORIZATION_SERVER.iter().any(|scope| scope.name == name)
}
