//! An [`Attempt`] at an operation from the request that asks for it, and the response to it.

use axum::extract::{FromRequestParts, MatchedPath};
use axum::response::{IntoResponse, Response};
use chassis::claim::{ClaimKey, StoredAnswer};
use chassis::http::{ErrorId, Problem, RawBody, TargetUri, bad_request};
use guard::Caller;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};

use super::once::{Asked, Attempt};
use crate::app::App;

/// How long the answer to a one-time token can be had again after the token's `exp`, seconds.
const TOKEN_ANSWER_S: i64 = 86_400;
/// Longest `Idempotency-Key`, bytes.
const KEY_BYTES_MAX: usize = 255;

/// The response that a stored answer stands for. The same answer makes the same response.
pub fn reply(answer: StoredAnswer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let refused = status.is_client_error() || status.is_server_error();
    if refused {
        chassis::http::RequestNotes::reason(recorded_code(&answer.body));
    }
    let content_type = if refused { "application/problem+json" } else { "application/json" };
    let mut response = (status, answer.body).into_response();
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer error=\"invalid_token\""));
    }
    response
}

/// The code of a refusal on record.
fn recorded_code(body: &str) -> String {
    let document: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    document["code"].as_str().unwrap_or_default().to_owned()
}

/// The claim of a request without a one-time token.
///
/// # Errors
/// 400 when the header is missing, repeated, too long or not visible ASCII.
fn idempotency_claim(parts: &Parts, caller: &Caller) -> Result<ClaimKey, Problem> {
    let mut values = parts.headers.get_all("idempotency-key").iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(bad_request("idempotency_key_required", "Send exactly one Idempotency-Key header."));
    };
    let key = value.to_str().unwrap_or_default();
    let visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    if key.is_empty() || key.len() > KEY_BYTES_MAX || !visible {
        return Err(bad_request(
            "idempotency_key_invalid",
            "An Idempotency-Key is 1 to 255 visible ASCII characters.",
        ));
    }
    Ok(claim_key(parts, caller, key))
}

/// The claim of one caller's key for one operation.
fn claim_key(parts: &Parts, caller: &Caller, key: &str) -> ClaimKey {
    let path = parts.extensions.get::<MatchedPath>().map_or("", MatchedPath::as_str);
    ClaimKey {
        kind: "idempotency",
        owner: format!("{}|{}|{}", caller.partner_id, caller.client_id, caller.sub),
        key: key.to_owned(),
        route: format!("{} {path}", parts.method),
    }
}

/// An operation of a dialect whose body names the request: where there is no one-time token, that name
/// stands for the `Idempotency-Key`.
#[derive(Debug, Clone)]
pub struct Unnamed(Asked);

impl Unnamed {
    /// The operation under the name that its body gives it.
    pub fn named(self, id: &str) -> Asked {
        let Self(mut asked) = self;
        if asked.caller.one_time.is_none() {
            id.clone_into(&mut asked.key.key);
        }
        asked
    }

    /// Who asks.
    pub fn caller(&self) -> &Caller {
        self.0.caller()
    }
}

/// Reads everything of an attempt but its body; `claim_of` gives the claim where there is no one-time token.
async fn asked<F>(parts: &mut Parts, app: &App, claim_of: F) -> Result<Asked, Response>
where
    F: FnOnce(&Parts, &Caller) -> Result<ClaimKey, Problem>,
{
    let caller = Caller::from_request_parts(parts, app).await.map_err(IntoResponse::into_response)?;
    let target = TargetUri::from_request_parts(parts, app).await.map_err(IntoResponse::into_response)?;
    let now = app.platform.clock.now();
    let (key, expires_at) = match &caller.one_time {
        Some(token) => (
            ClaimKey {
                kind: "one_time",
                owner: token.issuer.clone(),
                key: token.jti.clone(),
                route: String::new(),
            },
            token.expires_at.plus(TOKEN_ANSWER_S),
        ),
        None => (
            claim_of(parts, &caller).map_err(IntoResponse::into_response)?,
            now.plus(app.config.idempotency_key_ttl_s),
        ),
    };
    Ok(Asked {
        key,
        caller,
        method: parts.method.as_str().to_owned(),
        uri: target.to_string(),
        now,
        expires_at,
        error_id: ErrorId::current(),
        alert_id: app.platform.new_id("evt"),
    })
}

impl FromRequestParts<App> for Asked {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        asked(parts, app, idempotency_claim).await
    }
}

impl FromRequestParts<App> for Unnamed {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        asked(parts, app, |parts, caller| Ok(claim_key(parts, caller, ""))).await.map(Self)
    }
}

impl FromRequestParts<App> for Attempt {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let asked = Asked::from_request_parts(parts, app).await?;
        let RawBody(body) =
            RawBody::from_request_parts(parts, app).await.map_err(IntoResponse::into_response)?;
        Ok(asked.over(app, &body))
    }
}
