//! Refusals as problem details (RFC 9457), and what the extractors say of bad input.

use std::borrow::Cow;
use std::error::Error;
use std::fmt::Display;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Serialize;

use super::error_id::{ErrorId, RequestNotes};
use crate::db::Fault;

/// The stable code of a refusal, left in the extensions of its response so that the access log shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RefusalCode(pub &'static str);

/// A refusal as problem details (RFC 9457). `code` is stable and meant for programs, `detail` for people; a reason
/// that only operators may see goes to the log with the same `error_id`.
#[derive(Debug)]
pub struct Problem(Box<Parts>);

#[derive(Debug)]
struct Parts {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    retryable: bool,
    headers: HeaderMap,
    reason: Option<String>,
}

/// One member of `errors`: where in the body, and what is wrong there.
#[derive(Debug, Serialize)]
struct FieldError {
    pointer: String,
    code: Cow<'static, str>,
}

#[derive(Serialize)]
struct Document<'p> {
    #[serde(rename = "type")]
    kind: String,
    title: &'static str,
    status: u16,
    code: &'static str,
    detail: &'p str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'p [FieldError],
    retryable: bool,
    error_id: ErrorId,
    request_id: String,
}

impl Problem {
    /// A refusal. It counts as retryable when the status is 429, 503 or 504.
    pub fn new(status: StatusCode, code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        let retryable = matches!(status.as_u16(), 429 | 503 | 504);
        let (errors, headers) = (Vec::new(), HeaderMap::new());
        Self(Box::new(Parts {
            status,
            code,
            detail: detail.into(),
            errors,
            retryable,
            headers,
            reason: None,
        }))
    }

    /// Adds a member of `errors`: a JSON pointer (RFC 6901) or a parameter's name, and what is wrong there.
    #[must_use]
    pub fn field(mut self, pointer: impl Into<String>, code: impl Into<Cow<'static, str>>) -> Self {
        self.0.errors.push(FieldError { pointer: pointer.into(), code: code.into() });
        self
    }

    /// Says after how many seconds the same request may be sent again, and marks the refusal as retryable.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retryable = true;
        self.header(RETRY_AFTER, &seconds.to_string())
    }

    /// Says whether the same request may succeed later without any change.
    #[must_use]
    pub fn retryable(mut self, retryable: bool) -> Self {
        self.0.retryable = retryable;
        self
    }

    /// Adds a `WWW-Authenticate` challenge (RFC 9110 §11.6.1).
    #[must_use]
    pub fn challenge(self, challenge: &str) -> Self {
        self.header(WWW_AUTHENTICATE, challenge)
    }

    /// Adds a header; a value that cannot stand in one is left out.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers.append(name, value);
        }
        self
    }

    /// The private reason, for the log only. It must hold neither secrets nor personal data.
    #[must_use]
    pub fn because(mut self, reason: impl Display) -> Self {
        self.0.reason = Some(reason.to_string());
        self
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The stable code.
    pub fn code(&self) -> &'static str {
        self.0.code
    }

    /// The sentence for people.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// What an extractor answers when the router was not wrapped by `layered`: a mistake of ours.
    pub(crate) fn not_behind_the_gate() -> Self {
        internal("the route is not behind the gate")
    }

    fn log(&self, error_id: ErrorId) {
        let Parts { status, code, reason, .. } = &*self.0;
        let reason = reason.as_deref().unwrap_or_default();
        if !reason.is_empty() {
            RequestNotes::reason(reason);
        }
        if status.is_server_error() {
            tracing::error!(%error_id, code, reason, "request failed");
        } else if !reason.is_empty() {
            tracing::info!(%error_id, code, reason, "request refused");
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let error_id = ErrorId::current();
        self.log(error_id);
        let Parts { status, code, detail, errors, retryable, mut headers, .. } = *self.0;
        let document = Document {
            kind: format!("urn:countersign:problem:{code}"),
            title: status.canonical_reason().unwrap_or("Refused"),
            status: status.as_u16(),
            code,
            detail: &detail,
            errors: &errors,
            retryable,
            error_id,
            request_id: error_id.request_id(),
        };
        let body = serde_json::to_vec(&document).unwrap_or_default();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response.extensions_mut().insert(RefusalCode(code));
        response
    }
}

impl From<Fault> for Problem {
    fn from(fault: Fault) -> Self {
        let mut reason = fault.to_string();
        let mut source = fault.source();
        while let Some(cause) = source {
            reason = format!("{reason}: {cause}");
            source = cause.source();
        }
        if fault.is_retryable() {
            return unavailable("The service is busy; send the same request again.", 1).because(reason);
        }
        internal(reason)
    }
}

/// 400: the request cannot be understood.
pub fn bad_request(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, code, detail)
}

/// 401: nobody is known to be asking. Add the `challenge` that RFC 9110 §15.5.2 demands.
pub fn unauthorized(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(StatusCode::UNAUTHORIZED, code, detail)
}

/// 403: the caller is known and may not do this.
pub fn forbidden(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(StatusCode::FORBIDDEN, code, detail)
}

/// 404 `not_found`: there is no such thing, or not for this caller.
pub fn not_found(detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "not_found", detail)
}

/// 409: the present state does not allow it.
pub fn conflict(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(StatusCode::CONFLICT, code, detail)
}

/// 422: understood, and a value is refused.
pub fn unprocessable(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
}

/// 503 `unavailable`: the same request may succeed after so many seconds.
pub fn unavailable(detail: impl Into<Cow<'static, str>>, retry_after_s: u32) -> Problem {
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail).retry_after(retry_after_s)
}

/// 500 `internal`: a mistake of ours. The reason goes to the log, the caller learns the `error_id` only.
pub fn internal(reason: impl Display) -> Problem {
    let detail = "Something went wrong on our side. Quote the error_id when you report it.";
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail).because(reason)
}

/// What is wrong with a request's body or query, before any rule of a service looked at it. Every service turns it
/// into its own shape; [`Problem`] is the common one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadInput {
    /// 400, 415 or 422.
    pub status: StatusCode,
    /// A stable code, such as `unknown_field`, `wrong_type`, `repeated_parameter`.
    pub code: &'static str,
    /// A sentence that never quotes the input's values.
    pub detail: Cow<'static, str>,
    /// A JSON pointer (RFC 6901) or a parameter's name, where one place is to blame.
    pub pointer: Option<String>,
}

impl BadInput {
    /// A 400 without a place.
    pub fn new(code: &'static str, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code, detail: detail.into(), pointer: None }
    }

    /// Says where.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.pointer = Some(pointer.into());
        self
    }

    /// Answers with another status than 400.
    #[must_use]
    pub fn status(mut self, status: StatusCode) -> Self {
        self.status = status;
        self
    }
}

impl From<BadInput> for Problem {
    fn from(bad: BadInput) -> Self {
        let problem = Self::new(bad.status, bad.code, bad.detail);
        match bad.pointer {
            Some(pointer) => problem.field(pointer, bad.code),
            None => problem,
        }
    }
}
