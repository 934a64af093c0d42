//! The one error of the OAuth endpoints (RFC 6749 §5.2), and its conversion to a response.

use std::borrow::Cow;

use axum::response::{IntoResponse, Response};
use chassis::{
    db::Fault,
    http::{BadInput, ErrorId, Problem, RefusalCode, TooMany},
};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::json;

use crate::domain::audience::NoAudience;

/// The header of the server's nonce (RFC 9449 §8).
pub(crate) const DPOP_NONCE: HeaderName = HeaderName::from_static("dpop-nonce");

/// Why an OAuth endpoint refuses. The text inside a variant says which rule was broken; it never quotes the request.
#[derive(Debug, thiserror::Error)]
pub enum OAuthError {
    /// A parameter is missing, repeated, malformed or in the wrong place.
    #[error("invalid_request: {0}")]
    InvalidRequest(Cow<'static, str>),
    /// The client is not who it says. The reason is for the log only, so that all causes look the same.
    #[error("invalid_client: {reason}")]
    InvalidClient {
        /// For the log.
        reason: &'static str,
        /// The `Authorization` header was used, so a challenge is due (RFC 6749 §5.2).
        challenge: bool,
    },
    /// The request is not signed as the client's profile demands (RFC 9421).
    #[error("invalid_client: request signature: {0}")]
    BadSignature(&'static str),
    /// The proof of possession does not hold, was used before, or is missing where it is due (RFC 9449 §5).
    #[error("invalid_dpop_proof: {0}")]
    InvalidDpopProof(Cow<'static, str>),
    /// The proof must carry this nonce (RFC 9449 §8).
    #[error("use_dpop_nonce")]
    UseDpopNonce(String),
    /// The client may not use this grant.
    #[error("unauthorized_client: {0}")]
    UnauthorizedClient(&'static str),
    /// There is no such grant here.
    #[error("unsupported_grant_type")]
    UnsupportedGrantType,
    /// The scope is not for this client, or not for one audience.
    #[error("invalid_scope: {0}")]
    InvalidScope(&'static str),
    /// The `resource` cannot be an audience (RFC 8707 §2).
    #[error("invalid_target: {0}")]
    InvalidTarget(&'static str),
    /// Too many failed authentications.
    #[error("too many failed authentications")]
    TooManyFailures {
        /// Seconds until the next attempt is looked at.
        retry_after_s: i64,
    },
    /// The network or the client asks too often.
    #[error("too many requests")]
    TooMany(TooMany),
    /// The body has a media type or size that the endpoint does not take.
    #[error("{}", .0.detail)]
    BadBody(BadInput),
    /// The store or a key failed.
    #[error("internal fault")]
    Internal(#[from] Fault),
}

impl OAuthError {
    /// The `error` member and the status. The one place where they meet.
    fn code(&self) -> (&'static str, StatusCode) {
        match self {
            Self::InvalidRequest(_) => ("invalid_request", StatusCode::BAD_REQUEST),
            Self::InvalidClient { .. } | Self::BadSignature(_) => {
                ("invalid_client", StatusCode::UNAUTHORIZED)
            }
            Self::InvalidDpopProof(_) => ("invalid_dpop_proof", StatusCode::BAD_REQUEST),
            Self::UseDpopNonce(_) => ("use_dpop_nonce", StatusCode::BAD_REQUEST),
            Self::UnauthorizedClient(_) => ("unauthorized_client", StatusCode::BAD_REQUEST),
            Self::UnsupportedGrantType => ("unsupported_grant_type", StatusCode::BAD_REQUEST),
            Self::InvalidScope(_) => ("invalid_scope", StatusCode::BAD_REQUEST),
            Self::InvalidTarget(_) => ("invalid_target", StatusCode::BAD_REQUEST),
            Self::TooManyFailures { .. } | Self::TooMany(_) => {
                ("temporarily_unavailable", StatusCode::TOO_MANY_REQUESTS)
            }
            Self::BadBody(bad) => ("invalid_request", bad.status),
            Self::Internal(fault) if fault.is_retryable() => {
                ("temporarily_unavailable", StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::Internal(_) => ("server_error", StatusCode::INTERNAL_SERVER_ERROR),
        }
    }

    /// `error_description`: for a developer, and the same for every cause of a failed authentication.
    fn description(&self) -> Cow<'static, str> {
        match self {
            Self::InvalidRequest(why) | Self::InvalidDpopProof(why) => why.clone(),
            Self::UseDpopNonce(_) => "the proof must carry the nonce of the DPoP-Nonce header".into(),
            Self::BadBody(bad) => bad.detail.clone(),
            Self::UnauthorizedClient(why) | Self::InvalidScope(why) | Self::InvalidTarget(why) => {
                (*why).into()
            }
            Self::BadSignature(why) => format!("the request signature is refused: {why}").into(),
            Self::InvalidClient { .. } => "client authentication failed".into(),
            Self::UnsupportedGrantType => "the server has no such grant type".into(),
            Self::TooMany(_) => "too many requests: wait".into(),
            Self::TooManyFailures { .. } => "too many failed authentications: wait".into(),
            Self::Internal(_) => "try again later".into(),
        }
    }

    fn log(&self, error_id: ErrorId) {
        chassis::http::RequestNotes::reason(self);
        match self {
            Self::Internal(fault) => {
                tracing::error!(%error_id, error = fault as &dyn std::error::Error, "request failed");
            }
            refusal => tracing::info!(%error_id, %refusal, "request refused"),
        }
    }
}

impl From<BadInput> for OAuthError {
    fn from(bad: BadInput) -> Self {
        if bad.status == StatusCode::BAD_REQUEST {
            Self::InvalidRequest(bad.detail)
        } else {
            Self::BadBody(bad)
        }
    }
}

impl From<TooMany> for OAuthError {
    fn from(refusal: TooMany) -> Self {
        Self::TooMany(refusal)
    }
}

impl From<NoAudience> for OAuthError {
    fn from(refusal: NoAudience) -> Self {
        match refusal {
            NoAudience::InvalidTarget(why) => Self::InvalidTarget(why),
            NoAudience::InvalidScope(why) => Self::InvalidScope(why),
        }
    }
}

/// The gate's own refusals, where an extractor meets them.
impl From<Problem> for OAuthError {
    fn from(problem: Problem) -> Self {
        Self::InvalidRequest(problem.detail().to_owned().into())
    }
}

impl IntoResponse for OAuthError {
    fn into_response(self) -> Response {
        let error_id = ErrorId::current();
        self.log(error_id);
        let (code, status) = self.code();
        let body = json!({ "error": code, "error_description": self.description(), "error_id": error_id });
        let mut reply = (status, axum::Json(body)).into_response();
        let headers = reply.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        match &self {
            Self::InvalidClient { challenge: true, .. } => {
                let challenge = HeaderValue::from_static("Basic realm=\"countersign\", charset=\"UTF-8\"");
                headers.insert(header::WWW_AUTHENTICATE, challenge);
            }
            Self::UseDpopNonce(nonce) => {
                headers.extend(HeaderValue::from_str(nonce).map(|nonce| (DPOP_NONCE, nonce)));
            }
            Self::TooManyFailures { retry_after_s } => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(*retry_after_s));
            }
            Self::TooMany(too_many) => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from(too_many.retry_after_s));
            }
            Self::Internal(fault) if fault.is_retryable() => {
                headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
            }
            _ => {}
        }
        reply.extensions_mut().insert(RefusalCode(code));
        reply
    }
}
