//! Refusals in the vendor's shape: `{code, message}`, with our stable code as `type` and the `error_id`.

use axum::Json;
use axum::response::{IntoResponse, Response};
use chassis::Fault;
use chassis::http::{BadInput, ErrorId, Problem};
use http::StatusCode;
use serde_json::json;

use crate::domain::refusal::{Class, Refusal};
use crate::operations::Failure;

/// A refusal on its way out, or a fault.
#[derive(Debug)]
pub(crate) enum PtiRefusal {
    /// The rules say no.
    Refused(Refusal),
    /// The body or query cannot be read.
    BadInput(BadInput),
    /// We failed; answered as problem details, which no client of the vendor reads further than the status.
    Fault(Fault),
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
            Self::Fault(fault) => Problem::from(fault).into_response(),
        }
    }
}

fn refused(refusal: &Refusal) -> Response {
    // The vendor's version 0 has no 422: a refused value is a bad request there.
    let status = match refusal.class {
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
