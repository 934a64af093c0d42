//! The application, the issuer and the directory that the tests put the guard between.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::future::BoxFuture;
use guard::cors::CorsLayer;
use guard::jwks::{KeyCache, KeySource, KeysUnavailable};
use guard::standing::ReplayUnavailable;
use guard::{
    Caller, ClientStanding, Dpop, Facts, Guard, Presented, Refusal, ReplayMemory, Requirements, Settings,
    Setup, Standing,
};
use http::{HeaderMap, StatusCode, request::Parts};
use keys::dpop::Nonces;
use keys::seal::{MasterKey, MasterKeys};
use keys::token::{AccessToken, OperationGrant, Scope, TokenKind};
use keys::{RestoreEpoch, SigningKey, UnixSeconds, jws};
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

pub(crate) const ISSUER: &str = "https://as.example";
pub(crate) const AUDIENCE: &str = "https://rs.example";
pub(crate) const SHOP: &str = "https://shop.example";
pub(crate) const NOW: i64 = 1_800_000_000;

/// The directory: what the tests say it is.
#[derive(Default)]
pub(crate) struct Directory {
    pub(crate) clients: Mutex<HashMap<String, Arc<ClientStanding>>>,
    pub(crate) denied: Mutex<HashSet<String>>,
    pub(crate) unloaded: AtomicBool,
    pub(crate) stale: AtomicBool,
}

impl Standing for Directory {
    fn client(&self, client_id: &str) -> Option<Arc<ClientStanding>> {
        self.clients.lock().unwrap().get(client_id).cloned()
    }

    fn is_denied(&self, token: &AccessToken) -> bool {
        self.denied.lock().unwrap().contains(&token.sub)
    }

    fn knows_origin(&self, origin: &str) -> bool {
        self.clients
            .lock()
            .unwrap()
            .values()
            .any(|client| client.allowed_origins.iter().any(|own| own == origin))
    }

    fn is_loaded(&self) -> bool {
        !self.unloaded.load(Ordering::SeqCst)
    }

    fn is_fresh(&self) -> bool {
        !self.stale.load(Ordering::SeqCst)
    }
}

/// Kind, client, value.
type Seen = (&'static str, String, String);

/// Remembers values while the test runs.
#[derive(Default)]
pub(crate) struct Memory {
    seen: Arc<Mutex<HashSet<Seen>>>,
    pub(crate) away: AtomicBool,
}

impl ReplayMemory for Memory {
    fn remember(
        &self,
        kind: &'static str,
        client_id: String,
        value: String,
        _expires_at: UnixSeconds,
    ) -> BoxFuture<'static, Result<bool, ReplayUnavailable>> {
        let seen = Arc::clone(&self.seen);
        let away = self.away.load(Ordering::SeqCst);
        Box::pin(async move {
            if away {
                Err(ReplayUnavailable)
            } else {
                Ok(seen.lock().unwrap().insert((kind, client_id, value)))
            }
        })
    }
}

/// The issuer's key server: a real one, on a port of its own.
pub(crate) struct JwksServer {
    pub(crate) document: Arc<Mutex<String>>,
    pub(crate) hits: Arc<AtomicUsize>,
    pub(crate) down: Arc<AtomicBool>,
    address: std::net::SocketAddr,
}

impl JwksServer {
    async fn start(document: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (document, hits) = (Arc::new(Mutex::new(document)), Arc::new(AtomicUsize::new(0)));
        let down = Arc::new(AtomicBool::new(false));
        let (shown, counted, closed) = (Arc::clone(&document), Arc::clone(&hits), Arc::clone(&down));
        let app = Router::new().route(
            "/jwks",
            get(move || async move {
                counted.fetch_add(1, Ordering::SeqCst);
                if closed.load(Ordering::SeqCst) {
                    return StatusCode::BAD_GATEWAY.into_response();
                }
                shown.lock().unwrap().clone().into_response()
            }),
        );
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { document, hits, down, address }
    }
}

struct OverTcp(std::net::SocketAddr);

impl KeySource for OverTcp {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>, KeysUnavailable>> {
        Box::pin(async {
            let failed = |error: std::io::Error| KeysUnavailable(error.to_string());
            let mut stream = TcpStream::connect(self.0).await.map_err(failed)?;
            stream.write_all(b"GET /jwks HTTP/1.0\r\nhost: as.example\r\n\r\n").await.map_err(failed)?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await.map_err(failed)?;
            let text = String::from_utf8_lossy(&answer);
            let (head, body) =
                text.split_once("\r\n\r\n").ok_or_else(|| KeysUnavailable("no answer".into()))?;
            if head.starts_with("HTTP/1.0 200") {
                Ok(body.into())
            } else {
                Err(KeysUnavailable("status".into()))
            }
        })
    }
}

/// A wrong answer or none: what the client sees.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    pub(crate) fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

pub(crate) struct World {
    pub(crate) key: SigningKey,
    pub(crate) jwks: JwksServer,
    pub(crate) clock: Arc<AtomicI64>,
    pub(crate) directory: Arc<Directory>,
    pub(crate) memory: Arc<Memory>,
    pub(crate) keys: Arc<KeyCache>,
    router: Router,
}

#[derive(Clone)]
struct Buffered(Bytes);

fn document() -> Value {
    let operation = |scopes: &[&str], kinds: &[&str]| json!({"x-scopes": scopes, "x-token-kinds": kinds, "x-idempotent": false});
    let mut pay = operation(&["pay:execute"], &["client", "one_time"]);
    pay["x-moves-money"] = json!(true);
    let mut funding = operation(&["pay:execute"], &["client", "one_time"]);
    funding["x-dialect"] = json!("pti");
    let mut opaque = operation(&["things:read"], &["client"]);
    opaque["x-opaque-bearer"] = json!(true);
    json!({"paths": {
        "/v1/things/{id}": {"get": operation(&["things:read"], &["client", "user", "exchanged"])},
        "/v1/pay": {"post": pay},
        "/users/{userId}/funding": {"post": funding},
        "/v1/status": {"get": opaque},
        "/open": {"get": operation(&[], &[])},
    }})
}

fn facts(parts: &Parts) -> Option<Facts> {
    let Buffered(body) = parts.extensions.get::<Buffered>()?.clone();
    Some(Facts {
        scheme: "https".into(),
        authority: "rs.example".into(),
        path: parts.uri.path().into(),
        query: parts.uri.query().map(Into::into),
        body,
    })
}

fn render(refusal: &Refusal) -> Response {
    let dialect = refusal.dialect.map(guard::Dialect::as_str);
    (refusal.status, Json(json!({"code": refusal.code, "detail": refusal.detail, "dialect": dialect})))
        .into_response()
}

async fn who(caller: Caller) -> Json<Value> {
    let late = caller.one_time.as_ref().map(|token| token.late);
    Json(json!({"kind": caller.kind.as_str(), "sub": caller.sub, "client_id": caller.client_id,
        "partner_id": caller.partner_id, "own": caller.own_sub(), "late": late}))
}

/// A handler that finds an opaque bearer wanting.
async fn judge(presented: Presented) -> Response {
    match presented {
        Presented::Opaque(text) if text == "expired" => StatusCode::UNAUTHORIZED.into_response(),
        Presented::Opaque(text) => Json(json!({"opaque": text})).into_response(),
        Presented::Caller(caller) => Json(json!({"caller": caller.client_id})).into_response(),
    }
}

async fn buffer(request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let bytes = to_bytes(body, 65_536).await.unwrap();
    parts.extensions.insert(Buffered(bytes.clone()));
    next.run(Request::from_parts(parts, Body::from(bytes))).await
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::in_epoch(RestoreEpoch::default()).await
    }

    /// A service on a database that was restored.
    pub(crate) async fn in_epoch(epoch: RestoreEpoch) -> Self {
        let key = SigningKey::es256_from_seed([7; 32]).unwrap();
        let jwks = JwksServer::start(jwks_of(&[&key])).await;
        let keys = Arc::new(KeyCache::new(Arc::new(OverTcp(jwks.address))));
        let clock = Arc::new(AtomicI64::new(NOW));
        let (directory, memory) = (Arc::new(Directory::default()), Arc::new(Memory::default()));
        let time = Arc::clone(&clock);
        let nonces = Nonces::new(&MasterKeys::new(MasterKey::new([9; 32]), Vec::new())).in_epoch(epoch);
        let guard = Guard::new(Setup {
            settings: Settings {
                issuer: ISSUER.into(),
                audience: AUDIENCE.into(),
                metadata_url: format!("{AUDIENCE}/.well-known/oauth-protected-resource"),
                epoch,
            },
            requirements: Requirements::from_openapi(&document()).unwrap(),
            keys: Arc::clone(&keys),
            standing: directory.clone(),
            replay: memory.clone(),
            dpop: Dpop::new(nonces, false),
            now: Arc::new(move || UnixSeconds(time.load(Ordering::SeqCst))),
            facts,
            render,
        });
        let router = Router::new()
            .route("/v1/things/{id}", get(who))
            .route("/v1/pay", post(who))
            .route("/users/{userId}/funding", post(who))
            .route("/v1/status", get(judge))
            .route("/open", get(async || Json(json!({"open": true}))))
            .route("/hidden", get(async || "secret"))
            .method_not_allowed_fallback(async || StatusCode::METHOD_NOT_ALLOWED)
            .layer(guard.layer())
            .layer(CorsLayer::new(&guard))
            .layer(from_fn(buffer));
        let world = Self { key, jwks, clock, directory, memory, keys, router };
        world.register(client("cli_a"));
        world
    }

    pub(crate) fn register(&self, client: ClientStanding) {
        self.directory.clients.lock().unwrap().insert(client.client_id.clone(), Arc::new(client));
    }

    pub(crate) fn advance(&self, seconds: i64) {
        self.clock.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) fn now(&self) -> UnixSeconds {
        UnixSeconds(self.clock.load(Ordering::SeqCst))
    }

    /// A token of the kind, as the issuer would make it now.
    pub(crate) fn token(&self, kind: TokenKind) -> AccessToken {
        let now = self.now();
        let sub = if kind == TokenKind::Client { "cli_a" } else { "usr_a" };
        AccessToken {
            iss: ISSUER.into(),
            aud: AUDIENCE.into(),
            sub: sub.into(),
            client_id: "cli_a".into(),
            jti: "jti-1".into(),
            partner_id: "par_a".into(),
            iat: now,
            exp: now.plus(300),
            kind,
            scope: if kind == TokenKind::OneTime {
                Scope::default()
            } else {
                "things:read pay:execute".parse().unwrap()
            },
            sid: (!matches!(kind, TokenKind::Client | TokenKind::OneTime)).then(|| "sid_a".into()),
            act: None,
            cnf_jkt: None,
            cnf_x5t: None,
            operation: (kind == TokenKind::OneTime).then(|| OperationGrant {
                method: "POST".into(),
                uri: format!("{AUDIENCE}/v1/pay"),
                money: None,
                entity_id: None,
            }),
            process_id: (kind == TokenKind::Process).then(|| "prc_a".into()),
            roles: Vec::new(),
            acr: None,
            auth_time: None,
            external_id: None,
        }
    }

    pub(crate) fn sign(&self, kind: TokenKind) -> String {
        self.token(kind).sign(&self.key).unwrap()
    }

    /// A correctly signed token whose claims were changed first.
    pub(crate) fn forge(&self, typ: &str, change: impl FnOnce(&mut Map<String, Value>)) -> String {
        let mut claims = self.token(TokenKind::Client).to_claims();
        change(&mut claims);
        jws::sign(&self.key, typ, &claims).unwrap()
    }

    pub(crate) async fn send(&self, method: &str, uri: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, 65_536).await.unwrap();
        let body = serde_json::from_slice(&bytes).unwrap_or_default();
        Reply { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    pub(crate) async fn get(&self, uri: &str, token: &str) -> Reply {
        self.send("GET", uri, &[("authorization", &format!("Bearer {token}"))], "").await
    }

    pub(crate) async fn post(&self, uri: &str, token: &str) -> Reply {
        self.send("POST", uri, &[("authorization", &format!("Bearer {token}"))], "{}").await
    }
}

pub(crate) fn client(client_id: &str) -> ClientStanding {
    ClientStanding {
        client_id: client_id.into(),
        partner_id: "par_a".into(),
        scope: "things:read pay:execute".parse().unwrap(),
        allowed_origins: vec![SHOP.into()],
        dialects: vec!["pti".into()],
        ..ClientStanding::default()
    }
}

pub(crate) fn jwks_of(keys: &[&SigningKey]) -> String {
    let keys: Vec<Value> = keys.iter().map(|key| key.public_jwk().to_value()).collect();
    json!({ "keys": keys }).to_string()
}
