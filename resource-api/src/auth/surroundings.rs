//! What the guard is given of this service: the request's facts, the shape of an error, the issuer's
//! keys and the memory of nonces.

use std::time::Duration;

use axum::Json;
use axum::response::{IntoResponse, Response};
use chassis::db::Db;
use chassis::fetch::{FetchRequest, Fetcher};
use chassis::http::{ClientCertificate, ErrorId, Problem, RawBody, RefusalCode, TargetUri};
use chassis::replay::remember_once;
use futures_util::future::BoxFuture;
use guard::jwks::{KeySource, KeysUnavailable};
use guard::standing::ReplayUnavailable;
use guard::{Dialect, Facts, Refusal, ReplayMemory};
use http::header::CACHE_CONTROL;
use http::request::Parts;
use http::{HeaderMap, HeaderValue};
use keys::UnixSeconds;
use serde_json::json;
use url::Url;

/// How long one fetch of the key set may take.
const JWKS_DEADLINE: Duration = Duration::from_secs(3);

/// Target URI, body and client certificate of a request that passed the gate.
pub(crate) fn facts(parts: &Parts) -> Option<Facts> {
    let target = TargetUri::of(&parts.extensions)?;
    let RawBody(body) = RawBody::of(&parts.extensions)?;
    let (scheme, authority) = (target.origin.scheme().to_owned(), target.origin.authority().to_owned());
    let certificate = parts.extensions.get::<ClientCertificate>();
    let certificate = certificate.map(|certificate| certificate.thumbprint().to_owned());
    Some(Facts { scheme, authority, path: target.path, query: target.query, body, certificate })
}

/// A refusal of the guard as problem details, or in its dialect's shape.
pub(crate) fn render(refusal: &Refusal) -> Response {
    match refusal.dialect {
        None => Problem::new(refusal.status, refusal.code, refusal.detail.clone()).into_response(),
        Some(Dialect::Pti) => {
            let body = json!({
                "type": refusal.code.to_ascii_uppercase(),
                "code": refusal.status.as_u16(),
                "message": refusal.detail,
                "error_id": ErrorId::current(),
            });
            let mut response = (refusal.status, Json(body)).into_response();
            response.extensions_mut().insert(RefusalCode(refusal.code));
            response
        }
    }
}

/// The issuer's key set over HTTP.
pub(crate) struct JwksSource {
    fetcher: Fetcher,
    url: Url,
}

impl JwksSource {
    pub(crate) fn new(fetcher: Fetcher, url: Url) -> Self {
        Self { fetcher, url }
    }
}

impl KeySource for JwksSource {
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>, KeysUnavailable>> {
        Box::pin(async {
            // A cache between us would hide a revoked key for its whole max-age.
            let headers = HeaderMap::from_iter([(CACHE_CONTROL, HeaderValue::from_static("no-cache"))]);
            let deadline = Some(JWKS_DEADLINE);
            let request = FetchRequest { headers, deadline, ..FetchRequest::get(self.url.clone()) };
            let reply =
                self.fetcher.fetch(request).await.map_err(|failed| KeysUnavailable(failed.to_string()))?;
            if reply.status != http::StatusCode::OK {
                return Err(KeysUnavailable(format!("status {}", reply.status)));
            }
            Ok(reply.body.to_vec())
        })
    }
}

/// Nonces and signatures that were seen, in the database.
pub(crate) struct NonceMemory {
    db: Db,
}

impl NonceMemory {
    pub(crate) fn new(db: Db) -> Self {
        Self { db }
    }
}

impl ReplayMemory for NonceMemory {
    fn remember(
        &self,
        kind: &'static str,
        owner: String,
        value: String,
        expires_at: UnixSeconds,
    ) -> BoxFuture<'static, Result<bool, ReplayUnavailable>> {
        let db = self.db.clone();
        Box::pin(async move {
            let remembered = db.write(move |tx| {
                let (owner, value) = (owner.clone(), value.clone());
                Box::pin(async move { remember_once(tx, kind, &owner, &value, expires_at).await })
            });
            remembered.await.map_err(|fault| {
                tracing::error!(%fault, "a nonce could not be remembered");
                ReplayUnavailable
            })
        })
    }
}
