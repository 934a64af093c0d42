//! PTI's user-token endpoints: `POST /auth/userToken` (their v0) and `POST /auth/jwt` (their v1).
//!
//! The client is named by `x-pti-client-id` and proves itself by `x-pti-signature`, a JWS over method, body hash,
//! date and path. Each signature counts once.

use axum::{
    Json,
    extract::{FromRequestParts, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use chassis::{
    Fault,
    http::{BadInput, ErrorId, RawBody, RefusalCode, RequestNotes, StrictJson, TargetUri},
    replay::remember_once,
};
use http::{HeaderMap, header, request::Parts};
use keys::pti_jws;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::{
    app::{App, AuthenticatedClient},
    domain::{
        Status,
        client::{Client, KeyUse, Profile},
        partner::Dialect,
    },
    grants::user_token::{self, Ask, Granted, Refusal, Whom},
};

/// `POST /auth/userToken`.
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct UserTokenBody {
    /// The URL of the one operation.
    url: String,
}

/// Its answer.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UserTokenReply {
    /// Goes into `x-pti-token`.
    access_token: String,
    /// Seconds, as text.
    expires_in: String,
    /// `JWT`.
    token_type: &'static str,
}

/// `POST /auth/jwt`.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JwtBody {
    /// The URL of the one operation.
    url: String,
    /// Its HTTP method.
    method: String,
    /// At most 1024 characters; not looked at.
    meta_information: Option<String>,
}

/// Its answer.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JwtReply {
    /// Goes into `x-pti-token`.
    access_token: String,
    /// Unix seconds.
    expires_at: i64,
    /// `JWT`.
    token_type: &'static str,
}

/// Issues a user token for the one method that is available at a URL.
#[utoipa::path(
    post,
    path = "/auth/userToken",
    tag = "PTI dialect",
    request_body = UserTokenBody,
    responses(
        (status = 200, description = "The token", body = UserTokenReply),
        (status = 400, description = "`{code, message}`"),
        (status = 401, description = "`{code, message}`"),
        (status = 403, description = "`{code, message}`"),
        (status = 404, description = "`{code, message}`"),
    ),
    extensions(("x-scopes" = json!([])), ("x-token-kinds" = json!([])), ("x-idempotent" = json!(false)), ("x-dialect" = json!("pti")))
)]
pub(crate) async fn user_token(
    State(app): State<App>,
    PtiClient(who): PtiClient,
    StrictJson { value: body, .. }: StrictJson<UserTokenBody, PtiError>,
) -> Result<Json<UserTokenReply>, PtiError> {
    let granted = issue(&app, &who, body.url, None).await?;
    Ok(Json(UserTokenReply {
        access_token: granted.access_token,
        expires_in: granted.expires_in.to_string(),
        token_type: "JWT",
    }))
}

/// Issues a user token for a method and URL.
#[utoipa::path(
    post,
    path = "/auth/jwt",
    tag = "PTI dialect",
    request_body = JwtBody,
    responses(
        (status = 200, description = "The token", body = JwtReply),
        (status = 400, description = "`{code, message}`"),
        (status = 401, description = "`{code, message}`"),
        (status = 403, description = "`{code, message}`"),
        (status = 404, description = "`{code, message}`"),
    ),
    extensions(("x-scopes" = json!([])), ("x-token-kinds" = json!([])), ("x-idempotent" = json!(false)), ("x-dialect" = json!("pti")))
)]
pub(crate) async fn jwt(
    State(app): State<App>,
    PtiClient(who): PtiClient,
    StrictJson { value: body, .. }: StrictJson<JwtBody, PtiError>,
) -> Result<Json<JwtReply>, PtiError> {
    if body.meta_information.is_some_and(|text| text.chars().count() > 1024) {
        return Err(PtiError::new(
            StatusCode::BAD_REQUEST,
            "malformed_request",
            "metaInformation is too long",
        ));
    }
    let granted = issue(&app, &who, body.url, Some(body.method)).await?;
    let expires_at = granted.token.exp.0;
    Ok(Json(JwtReply { access_token: granted.access_token, expires_at, token_type: "JWT" }))
}

async fn issue(
    app: &App,
    who: &AuthenticatedClient,
    url: String,
    method: Option<String>,
) -> Result<Granted, PtiError> {
    // The vendor's client knows no DPoP; a client that must bind its tokens cannot have this profile.
    let (money, entity_id, dpop_jkt, expires_in) = (None, None, None, None);
    let ask = Ask { whom: Whom::InPath, method, url, money, entity_id, dpop_jkt, expires_in };
    user_token::issue(app, who, ask).await.map_err(PtiError::from)
}

/// The client that signed the request.
pub(crate) struct PtiClient(AuthenticatedClient);

impl FromRequestParts<App> for PtiClient {
    type Rejection = PtiError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, PtiError> {
        let client_id = only(&parts.headers, pti_jws::CLIENT_ID).ok_or_else(unauthenticated)?;
        let who = known(app, client_id).ok_or_else(unauthenticated)?;
        who.note();
        let verified = verified(app, &who.client, parts)?;
        let owner = who.client.id.clone();
        let remembered = app.db.write(move |tx| {
            let (owner, verified) = (owner.clone(), verified.clone());
            Box::pin(async move {
                let until = verified.remember_until();
                remember_once(tx, "pti_signature", &owner, &verified.signature_hash, until).await
            })
        });
        if remembered.await.map_err(PtiError::from)? {
            Ok(Self(who))
        } else {
            Err(PtiError::new(
                StatusCode::UNAUTHORIZED,
                "signature_replayed",
                "The signature was used before. Its date counts seconds: send the request a second later, or with an \
                 x-pti-request-id of its own.",
            ))
        }
    }
}

/// The active client of an active partner that speaks this dialect.
fn known(app: &App, client_id: &str) -> Option<AuthenticatedClient> {
    let registry = app.registry.snapshot();
    let client = registry.client(client_id)?;
    let partner = registry.partner(&client.partner_id)?;
    let active = client.status == Status::Active && partner.status == Status::Active;
    let speaks = client.settings.profile == Profile::PtiJws && partner.speaks(Dialect::Pti);
    (active && speaks).then_some(AuthenticatedClient { client, partner })
}

fn verified(app: &App, client: &Client, parts: &Parts) -> Result<pti_jws::Verified, PtiError> {
    let (Some(target), Some(RawBody(body))) =
        (TargetUri::of(&parts.extensions), RawBody::of(&parts.extensions))
    else {
        return Err(Fault::new("the route is not behind the gate").into());
    };
    let signature = only(&parts.headers, pti_jws::SIGNATURE).ok_or_else(unauthenticated)?;
    let mut other_fields = Vec::new();
    for (name, value) in &parts.headers {
        let name = name.as_str();
        if name.starts_with("x-pti-") && ![pti_jws::CLIENT_ID, pti_jws::SIGNATURE].contains(&name) {
            other_fields.push((name, value.to_str().map_err(|_| unauthenticated())?));
        }
    }
    let signed = pti_jws::Parts {
        method: parts.method.as_str(),
        path: &target.path,
        query: target.query.as_deref(),
        body: &body,
        content_type: only(&parts.headers, header::CONTENT_TYPE.as_str()),
        date: only(&parts.headers, header::DATE.as_str()),
        other_fields: &other_fields,
    };
    let key_for = |kid: &str| client.key(KeyUse::Signature, kid).map(|key| key.verifying.clone());
    pti_jws::verify(signature, &client.id, &signed, app.platform.now(), &key_for).map_err(|refusal| {
        RequestNotes::reason(refusal);
        tracing::info!(error_id = %ErrorId::current(), %refusal, "pti signature refused");
        unauthenticated()
    })
}

/// The header's value if it stands exactly once.
fn only<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    values.next().is_none().then_some(value)
}

/// A refusal in PTI's shape: `{code, message}`, with our stable text code and the error id beside it.
#[derive(Debug)]
pub(crate) struct PtiError {
    status: StatusCode,
    code: &'static str,
    message: String,
}

impl PtiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }
}

/// Unknown client, wrong key, stale date, other request: one answer.
fn unauthenticated() -> PtiError {
    PtiError::new(
        StatusCode::UNAUTHORIZED,
        "invalid_signature",
        "The request is not signed by a known client.",
    )
}

impl From<Fault> for PtiError {
    fn from(fault: Fault) -> Self {
        RequestNotes::reason(&fault);
        tracing::error!(error_id = %ErrorId::current(), error = &fault as &dyn std::error::Error, "request failed");
        if fault.is_retryable() {
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "Try again.");
        }
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "Something went wrong on our side.")
    }
}

impl From<BadInput> for PtiError {
    fn from(bad: BadInput) -> Self {
        Self::new(bad.status, bad.code, bad.detail)
    }
}

impl From<Refusal> for PtiError {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match refusal {
            Refusal::Internal(fault) => return fault.into(),
            Refusal::Url(_) => (StatusCode::BAD_REQUEST, "url_refused"),
            Refusal::OtherUser => (StatusCode::BAD_REQUEST, "other_user"),
            Refusal::Money
            | Refusal::EntityId
            | Refusal::DpopKey
            | Refusal::DpopKeyRequired
            | Refusal::ExpiresIn => (StatusCode::BAD_REQUEST, "value_refused"),
            Refusal::NotAvailable => (StatusCode::FORBIDDEN, "operation_not_available"),
            Refusal::ScopeNotGranted => (StatusCode::FORBIDDEN, "insufficient_scope"),
            Refusal::UserDisabled => (StatusCode::FORBIDDEN, "user_disabled"),
            Refusal::UnknownUser => (StatusCode::NOT_FOUND, "user_not_found"),
        };
        Self::new(status, code, refusal.to_string())
    }
}

impl IntoResponse for PtiError {
    fn into_response(self) -> Response {
        let body = json!({
            "code": self.status.as_u16(),
            "type": self.code,
            "message": self.message,
            "error_id": ErrorId::current(),
        });
        let mut reply = (self.status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response();
        reply.extensions_mut().insert(RefusalCode(self.code));
        reply
    }
}
