//! A running service with partners and clients of every sort, and the verbs of the tests.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use authz::{Applied, Config, Listeners, Running};
use chassis::{
    FixedClock, Platform, SeededEntropy, keyring::KeyRing, shutdown::Shutdown, testing::TestDatabase,
};
use keys::{
    Algorithm, SigningKey, UnixSeconds,
    http_signature::{Message, Signer, TAG_REQUEST},
    jws, pti_jws,
    ring::RingPolicy,
    token::AccessToken,
};
use reqwest::{
    StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
};
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::platform::{platform_file, pti_key, signature_key};

/// The resource API of every test; nothing runs there.
pub(crate) const RESOURCE_API: &str = "http://127.0.0.1:8081";
/// Its front door.
pub(crate) const DOOR: &str = "http://127.0.0.1:8083";
/// The moment at which the tests' clock stands.
pub(crate) const NOW: i64 = 1_767_225_600;

pub(crate) struct World {
    pub(crate) base: String,
    pub(crate) issuer: String,
    pub(crate) ops: String,
    pub(crate) http: reqwest::Client,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) platform: Platform,
    pub(crate) config: Config,
    pub(crate) applied: Applied,
    pub(crate) running: Running,
    shutdown: Shutdown,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) json: Value,
}

impl Reply {
    async fn read(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        let text = response.text().await.unwrap();
        Self { status, headers, json: serde_json::from_str(&text).unwrap_or(Value::String(text)) }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Asserts status and stable code, and that the refusal can be found again.
    #[track_caller]
    pub(crate) fn refused(&self, status: u16, code: &str) {
        assert_eq!((self.status.as_u16(), self.json["code"].as_str()), (status, Some(code)), "{}", self.json);
        assert!(self.json["error_id"].as_str().is_some_and(|id| id.starts_with("err_")), "{}", self.json);
        assert_eq!(self.header("cache-control"), "no-store");
    }

    /// The same for an OAuth endpoint.
    #[track_caller]
    pub(crate) fn oauth_refused(&self, status: u16, error: &str) {
        assert_eq!(
            (self.status.as_u16(), self.json["error"].as_str()),
            (status, Some(error)),
            "{}",
            self.json
        );
        assert!(self.json["error_id"].as_str().is_some_and(|id| id.starts_with("err_")), "{}", self.json);
        assert_eq!(self.header("cache-control"), "no-store");
        assert_eq!(self.header("content-type"), "application/json");
    }
}

impl World {
    /// An empty database, the platform file applied, the service started.
    pub(crate) async fn start(database: &TestDatabase) -> Self {
        Self::node(database, 1, None).await
    }

    /// A node on this database with random bytes of its own: one more beside others, or a restarted one. `issuer` is
    /// the first node's when it is not the first.
    pub(crate) async fn node(database: &TestDatabase, seed: u64, issuer: Option<&str>) -> Self {
        Self::tuned_node(database, seed, issuer, |_| ()).await
    }

    /// The same with other settings.
    pub(crate) async fn tuned_node(
        database: &TestDatabase,
        seed: u64,
        issuer: Option<&str>,
        tune: impl FnOnce(&mut Config),
    ) -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        let (public, ops) = (bind().await, bind().await);
        let base = format!("http://{}", public.local_addr().unwrap());
        let ops_base = format!("http://{}", ops.local_addr().unwrap());
        let clock = Arc::new(FixedClock::at(NOW));
        let entropy = Arc::new(SeededEntropy::new(seed));
        let platform = Platform { clock: clock.clone(), entropy, development: true };
        let mut config = Config::new(
            issuer.unwrap_or(&base).parse().unwrap(),
            RESOURCE_API.parse().unwrap(),
            database.url().expose().into(),
            keys::b64::encode([7; 32]).into(),
        );
        config.public_origins = vec![base.parse().unwrap()];
        config.operation_origins = vec![DOOR.parse().unwrap()];
        tune(&mut config);
        let applied = authz::apply::apply(&config, &platform, &platform_file()).await.unwrap();
        let shutdown = Shutdown::new();
        let listeners = Listeners { public: vec![public], ops: vec![ops], ..Listeners::default() };
        let running =
            authz::start(config.clone(), listeners, platform.clone(), shutdown.clone()).await.unwrap();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        assert!(running.is_ready().await);
        let issuer = config.issuer.to_string();
        Self { base, issuer, ops: ops_base, http, clock, platform, config, applied, running, shutdown }
    }

    pub(crate) async fn stop(self) {
        self.shutdown.trigger();
        assert!(self.shutdown.finished(Duration::from_secs(10)).await, "every task ends");
    }

    pub(crate) fn now(&self) -> UnixSeconds {
        self.platform.now()
    }

    pub(crate) fn id(&self, partner: &str, client: &str) -> String {
        self.applied.client(partner, client).unwrap().id.clone()
    }

    pub(crate) fn partner_id(&self, alias: &str) -> String {
        self.applied.partners.iter().find(|partner| partner.alias == alias).unwrap().id.clone()
    }

    pub(crate) fn secret(&self, partner: &str, client: &str) -> String {
        let client = self.applied.client(partner, client).unwrap();
        client.secret.as_ref().unwrap().expose_secret().to_owned()
    }

    /// A form to the token endpoint, without any authentication.
    pub(crate) async fn token_form(&self, form: &[(&str, &str)]) -> Reply {
        self.send(self.http.post(self.at("/oauth2/token")).form(form)).await
    }

    /// A form with HTTP Basic.
    pub(crate) async fn token_basic(&self, id: &str, secret: &str, form: &[(&str, &str)]) -> Reply {
        self.send(self.http.post(self.at("/oauth2/token")).basic_auth(id, Some(secret)).form(form)).await
    }

    /// The client credentials grant of a client with a secret, by Basic.
    pub(crate) async fn grant(&self, partner: &str, client: &str, more: &[(&str, &str)]) -> Reply {
        let mut form = vec![("grant_type", "client_credentials")];
        form.extend(more);
        self.token_basic(&self.id(partner, client), &self.secret(partner, client), &form).await
    }

    /// An access token for the management paths, with this scope.
    pub(crate) async fn management_token(&self, partner: &str, client: &str, scope: &str) -> String {
        let reply = self.grant(partner, client, &[("scope", scope)]).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.json);
        reply.json["access_token"].as_str().unwrap().to_owned()
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        Reply::read(request.send().await.unwrap()).await
    }

    pub(crate) async fn get(&self, token: &str, path: &str) -> Reply {
        self.send(self.http.get(self.at(path)).bearer_auth(token)).await
    }

    pub(crate) async fn post(&self, token: &str, path: &str, body: &Value) -> Reply {
        self.send(self.http.post(self.at(path)).bearer_auth(token).json(body)).await
    }

    /// Registers a user with the partner's `client`, and gives its `sub`.
    pub(crate) async fn register(&self, partner: &str, client: &str, external_id: &str) -> String {
        let token = self.management_token(partner, client, "users:write").await;
        let reply = self.post(&token, "/v1/users", &json!({ "external_id": external_id })).await;
        assert!(reply.status.is_success(), "{}", reply.json);
        reply.json["sub"].as_str().unwrap().to_owned()
    }

    /// The headers that sign a request per RFC 9421.
    pub(crate) fn signature(&self, request: &ToSign<'_>, key: &SigningKey, nonce: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(value) = request.authorization {
            headers.insert("authorization", value.parse().unwrap());
        }
        if let Some(value) = request.dpop {
            headers.insert("dpop", value.parse().unwrap());
        }
        if let Some(value) = request.content_type {
            headers.insert("content-type", value.parse().unwrap());
        }
        let authority = self.base.strip_prefix("http://").unwrap();
        let message = Message {
            method: request.method,
            authority,
            path: request.path,
            query: None,
            headers: &headers,
            body: request.body.as_bytes(),
        };
        let kid = key.public_jwk().thumbprint();
        let signer = Signer { key, keyid: &kid, tag: TAG_REQUEST, created: self.now(), nonce };
        let added = signer.sign(&message).unwrap();
        if let Some(digest) = added.content_digest {
            headers.insert("content-digest", digest.parse().unwrap());
        }
        headers.insert("signature-input", added.signature_input.parse().unwrap());
        headers.insert("signature", added.signature.parse().unwrap());
        headers
    }

    /// A signed JSON POST with a bearer token.
    pub(crate) async fn signed_post(&self, token: &str, path: &str, body: &Value, nonce: &str) -> Reply {
        let body = body.to_string();
        let authorization = format!("Bearer {token}");
        let request = ToSign {
            method: "POST",
            path,
            authorization: Some(&authorization),
            dpop: None,
            content_type: Some("application/json"),
            body: &body,
        };
        let headers = self.signature(&request, &signature_key(), nonce);
        self.send(self.http.post(self.at(path)).headers(headers).body(body)).await
    }

    /// A client assertion with these claims changed; `Null` removes a claim.
    pub(crate) fn assertion(&self, client_id: &str, key: &SigningKey, change: &Value) -> String {
        let now = self.now().0;
        let mut claims = json!({
            "iss": client_id, "sub": client_id, "aud": self.issuer,
            "jti": self.platform.new_id("jti"), "iat": now, "exp": now + 60,
        });
        for (name, value) in change.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value.clone();
            }
        }
        jws::sign(key, "JWT", &claims).unwrap()
    }

    /// The client credentials grant by assertion.
    pub(crate) async fn assertion_grant(&self, assertion: &str) -> Reply {
        self.token_form(&[
            ("grant_type", "client_credentials"),
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_assertion", assertion),
        ])
        .await
    }

    /// A POST as PTI's own client makes it.
    pub(crate) async fn pti_post(&self, path: &str, body: &Value) -> Reply {
        let client_id = self.id("pti", "backend");
        let body = body.to_string();
        let headers = self.pti_headers(&client_id, &pti_key(), path, &body);
        self.send(self.http.post(self.at(path)).headers(headers).body(body)).await
    }

    pub(crate) fn pti_headers(&self, client_id: &str, key: &SigningKey, path: &str, body: &str) -> HeaderMap {
        let date = pti_jws::imf_fixdate(self.now());
        let parts = pti_jws::Parts {
            method: "POST",
            path,
            query: None,
            body: body.as_bytes(),
            content_type: Some("application/json"),
            date: Some(&date),
            other_fields: &[],
        };
        let signature = pti_jws::sign(key, client_id, &parts, self.now()).unwrap();
        let fields = [
            ("content-type", "application/json"),
            ("date", &date),
            ("x-pti-client-id", client_id),
            ("x-pti-signature", &signature),
        ];
        let header = |(name, value): (&'static str, &str)| {
            (HeaderName::from_static(name), value.parse::<HeaderValue>().unwrap())
        };
        fields.map(header).into_iter().collect()
    }

    /// A signed access token as this server would issue it, whatever the claims.
    pub(crate) async fn mint(&self, token: &AccessToken) -> String {
        let policy = RingPolicy {
            alg: Algorithm::Es256,
            jwks_max_age_s: 300,
            rotation_s: 30 * 24 * 3600,
            token_ttl_max_s: 3600,
            skew_s: 10,
        };
        let (db, master) = (self.running.db().clone(), self.config.master_keys().unwrap());
        let ring = KeyRing::open(db, self.platform.clone(), master, policy).await.unwrap();
        token.sign(&ring.active()).unwrap()
    }
}

/// What a request signature covers.
pub(crate) struct ToSign<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) authorization: Option<&'a str>,
    pub(crate) dpop: Option<&'a str>,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) body: &'a str,
}

async fn bind() -> TcpListener {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap()
}

/// The payload of a JWT, unverified.
pub(crate) fn payload(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&keys::b64::decode(part).unwrap()).unwrap()
}

/// Its header.
pub(crate) fn header(token: &str) -> Value {
    let part = token.split('.').next().unwrap();
    serde_json::from_slice(&keys::b64::decode(part).unwrap()).unwrap()
}
