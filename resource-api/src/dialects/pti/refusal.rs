//! Refusals in the vendor's shape: `{code, message}`, with our stable code as `type` and the `error_id`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use chassis::Fault;
use chassis::http::{BadInput, ErrorId, Problem, TooMany};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};
use serde_json::json;

use super::words;
use crate::domain::refusal::{Class, Refusal};
use crate::operations::Failure;

/// A refusal on its way out, or a fault.
#[derive(Debug)]
pub(crate) enum PtiRefusal {
    /// The rules say no.
    Refused(Refusal),
    /// The body or query cannot be read.
    BadInput(BadInput),
    /// More has to be known of the user first: version 0 answers 406 with the fields and where to send them.
    MoreNeeded {
        /// For a human.
        message: String,
        /// The vendor's members that are missing.
        fields: Vec<String>,
        /// Where they go.
        url: String,
    },
    /// Too many requests.
    TooMany(TooMany),
    /// We failed; answered as problem details, which no client of the vendor reads further than the status.
    Fault(Fault),
}

impl PtiRefusal {
    /// The vendor's input request for a refusal whose fields are missing personal data.
    pub(crate) fn more_needed(refusal: &Refusal, url: String) -> Self {
        let name = |pointer: &str| words::field(pointer.trim_start_matches('/')).to_owned();
        let fields = refusal.fields.iter().map(|field| name(&field.pointer)).collect();
        Self::MoreNeeded { message: refusal.detail.clone(), fields, url }
    }
}

impl From<TooMany> for PtiRefusal {
    fn from(too_many: TooMany) -> Self {
        Self::TooMany(too_many)
    }
}

impl From<Refusal> for PtiRefusal {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<BadInput> for PtiRefusal {
    fn from(bad: BadInput) -> Self {
        Self::BadInput(bad)
    }
}

impl From<Fault> for PtiRefusal {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<Failure> for PtiRefusal {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(refusal) => Self::Refused(refusal),
            Failure::Fault(fault) => Self::Fault(fault),
        }
    }
}

impl IntoResponse for PtiRefusal {
    fn into_response(self) -> Response {
        match self {
            Self::Refused(refusal) => refused(&refusal),
            Self::BadInput(bad) => {
                answer(bad.status, bad.code, &bad.detail, bad.pointer.as_deref().as_slice())
            }
            Self::MoreNeeded { message, fields, url } => {
                let body = json!({
                    "type": "MORE_INFORMATION_NEEDED", "code": 406, "message": message, "inputDemand": message,
                    "fields": fields, "url": url, "error_id": ErrorId::current(),
                });
                (StatusCode::NOT_ACCEPTABLE, Json(body)).into_response()
            }
            Self::TooMany(too_many) => {
                let text = "Too many requests. The header Retry-After says when to go on.";
                let mut response = answer(StatusCode::TOO_MANY_REQUESTS, "rate_limited", text, &[]);
                response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(too_many.retry_after_s));
                response
            }
            Self::Fault(fault) => Problem::from(fault).into_response(),
        }
    }
}

fn refused(refusal: &Refusal) -> Response {
    // The vendor's version 0 has no 422: a refused value is a bad request there.
    let status = match refusal.class {
        // The vendor answers 409 where an id was used for another request.
        Class::Unprocessable if refusal.code == "idempotency_key_reused" => StatusCode::CONFLICT,
        Class::Unprocessable => StatusCode::BAD_REQUEST,
        class => crate::error::status(class),
    };
    let fields: Vec<&str> = refusal.fields.iter().map(|field| field.pointer.as_str()).collect();
    answer(status, refusal.code, &refusal.detail, &fields)
}

fn answer(status: StatusCode, code: &str, message: &str, fields: &[&str]) -> Response {
    let mut body = json!({
        "type": code.to_ascii_uppercase(),
        "code": status.as_u16(),
        "message": message,
        "error_id": ErrorId::current(),
    });
    if !fields.is_empty() {
        body["fields"] = json!(fields);
    }
    (status, Json(body)).into_response()
}
