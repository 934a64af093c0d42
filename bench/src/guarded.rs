//! The same answer as the floor's `/verified`, behind the product's own `guard` layer: what a bearer check costs.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context;
use axum::Router;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chassis::{Clock, SystemClock};
use futures_util::future::BoxFuture;
use guard::jwks::{KeyCache, KeySource, KeysUnavailable};
use guard::standing::ReplayUnavailable;
use guard::{
    ClientStanding, Dpop, Facts, Guard, Refusal, ReplayMemory, Requirements, Settings, Setup, Standing,
};
use keys::dpop::Nonces;
use keys::seal::{MasterKey, MasterKeys};
use keys::token::{AccessToken, Scope, TokenKind};
use keys::{SigningKey, UnixSeconds};
use serde_json::json;
use tokio::net::TcpListener;

use crate::floor;

const ISSUER: &str = "http://localhost/issuer";
const AUDIENCE: &str = "http://localhost/resource";
const CLIENT: &str = "cli_0193b1f0c7a97d8e8f6a1b2c3d4e5f60";
const PARTNER: &str = "par_0193b1f0c7a97d8e8f6a1b2c3d4e5f60";
const SCOPE: &str = "customers:read customers:write fiat_ins:execute fiat_ins:read";

/// One key, as if it came from the issuer.
struct OneKey(Vec<u8>);

impl KeySource for OneKey {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>, KeysUnavailable>> {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }
}

/// A directory of one client in good standing.
struct OneClient(Arc<ClientStanding>);

impl Standing for OneClient {
    fn client(&self, client_id: &str) -> Option<Arc<ClientStanding>> {
        (client_id == CLIENT).then(|| Arc::clone(&self.0))
    }

    fn is_denied(&self, _token: &AccessToken) -> bool {
        false
    }

    fn knows_origin(&self, _origin: &str) -> bool {
        false
    }

    fn is_loaded(&self) -> bool {
        true
    }

    fn is_fresh(&self) -> bool {
        true
    }
}

/// Nothing here is signed, so nothing is remembered.
struct NoReplay;

impl ReplayMemory for NoReplay {
    fn remember(
        &self,
        _kind: &'static str,
        _client_id: String,
        _value: String,
        _expires_at: UnixSeconds,
    ) -> BoxFuture<'static, Result<bool, ReplayUnavailable>> {
        Box::pin(std::future::ready(Err(ReplayUnavailable)))
    }
}

fn key() -> anyhow::Result<SigningKey> {
    SigningKey::es256_from_seed([8; 32]).context("a P-256 key")
}

/// The bearer token that the guarded server accepts.
pub(crate) fn bearer() -> anyhow::Result<String> {
    let now = SystemClock.now();
    let token = AccessToken {
        iss: ISSUER.to_owned(),
        aud: AUDIENCE.to_owned(),
        sub: CLIENT.to_owned(),
        client_id: CLIENT.to_owned(),
        jti: "0193b1f0c7a97d8e8f6a1b2c3d4e5f60".to_owned(),
        partner_id: PARTNER.to_owned(),
        iat: now,
        exp: now.plus(3_600),
        kind: TokenKind::Client,
        scope: SCOPE.parse()?,
        sid: None,
        act: None,
        cnf_jkt: None,
        cnf_x5t: None,
        operation: None,
        process_id: None,
        roles: Vec::new(),
        acr: None,
        auth_time: None,
        external_id: None,
    };
    Ok(token.sign(&key()?)?)
}

/// Serves until killed.
pub(crate) async fn serve(folder: &Path) -> anyhow::Result<()> {
    let document = json!({ "openapi": "3.1.0", "paths": { "/verified": { "get": {
        "x-scopes": ["customers:read"], "x-token-kinds": ["client"], "x-idempotent": false,
    } } } });
    let requirements =
        Requirements::from_openapi(&document).map_err(|problems| anyhow::anyhow!(problems.join("; ")))?;
    let jwks = json!({ "keys": [key()?.public_jwk().to_value()] });
    let standing = ClientStanding {
        client_id: CLIENT.to_owned(),
        partner_id: PARTNER.to_owned(),
        scope: SCOPE.parse::<Scope>()?,
        ..ClientStanding::default()
    };
    let master = MasterKeys::new(MasterKey::new([9; 32]), Vec::new());
    let guard = Guard::new(Setup {
        settings: Settings {
            issuer: ISSUER.to_owned(),
            audience: AUDIENCE.to_owned(),
            metadata_url: format!("{AUDIENCE}/.well-known/oauth-protected-resource"),
            epoch: keys::RestoreEpoch::default(),
        },
        requirements,
        keys: Arc::new(KeyCache::new(Arc::new(OneKey(serde_json::to_vec(&jwks)?)))),
        standing: Arc::new(OneClient(Arc::new(standing))),
        replay: Arc::new(NoReplay),
        dpop: Dpop::new(Nonces::new(&master), false),
        now: Arc::new(|| SystemClock.now()),
        facts: |parts| {
            Some(Facts {
                scheme: "http".to_owned(),
                authority: "localhost".to_owned(),
                path: parts.uri.path().to_owned(),
                query: parts.uri.query().map(str::to_owned),
                body: axum::body::Bytes::new(),
            })
        },
        render: |refusal: &Refusal| -> Response { (refusal.status, refusal.code).into_response() },
    });
    let router = Router::new().route("/verified", get(floor::fixed)).layer(guard.layer());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    floor::announce(folder, &listener)?;
    axum::serve(listener, router).await?;
    Ok(())
}
