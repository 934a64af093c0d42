//! Charges: sent, looked for, captured and voided, as the instrument's script says.

use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::HOST;
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::faults::{broken_off, garbage, refused, silence, truncated};
use super::record::{Collected, Outcome};
use super::script::Step;
use super::server::Sandbox;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChargeBody {
    amount: i64,
    currency: String,
    source: String,
    reference: String,
}

/// `POST /v1/charges`: collects, declines or misbehaves.
pub(super) async fn charge(State(sandbox): State<Sandbox>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(ask) = serde_json::from_slice::<ChargeBody>(&body) else {
        return refused(StatusCode::BAD_REQUEST, "malformed");
    };
    if !has_key(&headers, &ask.reference) {
        return refused(StatusCode::BAD_REQUEST, "idempotency_key_is_not_the_reference");
    }
    let step = {
        let mut memory = sandbox.lock();
        let arrival = memory.record.arrive(&ask.reference);
        if memory.hidden.contains_key(&ask.reference) {
            return refused(StatusCode::CONFLICT, "idempotency_key_in_use");
        }
        if let Some(found) = memory.record.find(&ask.reference) {
            let same = (found.amount - ask.amount).abs() <= 1;
            return if same {
                answer(found)
            } else {
                refused(StatusCode::CONFLICT, "idempotency_key_reused")
            };
        }
        memory.sources.insert(ask.reference.clone(), ask.source.clone());
        memory.scripts.step(&ask.source, arrival)
    };
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let charge = step.outcome(host, &ask.reference).map(|outcome| Collected {
        id: format!("gch_{}", ask.reference),
        amount: ask.amount - i64::from(step == Step::CaptureShort),
        currency: if step == Step::CaptureOtherCurrency { "XTS".to_owned() } else { ask.currency },
        reference: ask.reference,
        outcome,
    });
    let recorded = charge.map(|charge| sandbox.insert(charge, &step)).transpose();
    let Ok(charge) = recorded else {
        return refused(StatusCode::INTERNAL_SERVER_ERROR, "record_failed");
    };
    if let Some(charge) = &charge {
        sandbox.tell(charge).await;
    }
    deliver(&sandbox, &step, charge.as_ref()).await
}

/// `POST /v1/charges/{reference}/capture`: collects what is reserved.
pub(super) async fn capture(
    State(sandbox): State<Sandbox>,
    Path(reference): Path<String>,
    headers: HeaderMap,
) -> Response {
    let open = |outcome: &Outcome| *outcome == Outcome::Authorized;
    follow_up(&sandbox, (&reference, "capture"), &headers, (open, Step::Capture)).await
}

/// `POST /v1/charges/{reference}/void`: gives up what is not collected.
pub(super) async fn void(
    State(sandbox): State<Sandbox>,
    Path(reference): Path<String>,
    headers: HeaderMap,
) -> Response {
    let open = |outcome: &Outcome| matches!(outcome, Outcome::Authorized | Outcome::RequiresAction { .. });
    follow_up(&sandbox, (&reference, "void"), &headers, (open, Step::Void)).await
}

/// A call about a recorded charge. Once it is not open for the call any more, it is told as it is: with 409, unless it
/// is what the call asked for.
async fn follow_up(
    sandbox: &Sandbox,
    (reference, what): (&str, &'static str),
    headers: &HeaderMap,
    (open, usual): (fn(&Outcome) -> bool, Step),
) -> Response {
    let key = format!("{reference}:{what}");
    if !has_key(headers, &key) {
        return refused(StatusCode::BAD_REQUEST, "idempotency_key_is_not_the_calls");
    }
    let (step, recorded) = {
        let mut memory = sandbox.lock();
        let arrival = memory.record.arrive(&key);
        let Some(found) = memory.record.find(reference).cloned() else {
            return refused(StatusCode::NOT_FOUND, "not_found");
        };
        let asked_for = usual.outcome("", reference);
        if !open(&found.outcome) {
            let status = if Some(&found.outcome) == asked_for.as_ref() {
                StatusCode::OK
            } else {
                StatusCode::CONFLICT
            };
            return (status, Json(found)).into_response();
        }
        let source = memory.sources.get(reference).cloned().unwrap_or_default();
        let step = memory.scripts.later_step(&source, what, arrival, usual);
        let turned = step.outcome("", reference).map(|outcome| memory.record.turn(reference, outcome));
        (step, turned.transpose().map(Option::flatten))
    };
    let Ok(charge) = recorded else {
        return refused(StatusCode::INTERNAL_SERVER_ERROR, "record_failed");
    };
    if let Some(charge) = &charge {
        sandbox.tell(charge).await;
    }
    deliver(sandbox, &step, charge.as_ref()).await
}

impl Step {
    /// What is recorded by it.
    fn outcome(&self, host: &str, reference: &str) -> Option<Outcome> {
        Some(match self {
            Self::Hang | Self::Drop | Self::ServerError | Self::Garbage => return None,
            Self::Decline(code) => Outcome::Declined { decline_code: code.clone() },
            Self::Authorize | Self::AuthorizeThenDrop => Outcome::Authorized,
            Self::RequireAction | Self::RequireActionThenAuthorize => {
                Outcome::RequiresAction { redirect_url: format!("http://{host}/challenge/{reference}") }
            }
            Self::Void | Self::VoidThenDrop => Outcome::Voided,
            Self::Capture
            | Self::CaptureThenDrop
            | Self::CaptureThenHang
            | Self::CaptureThenServerError
            | Self::CaptureThenTruncate
            | Self::CaptureHidden(_)
            | Self::CaptureAfter(_)
            | Self::CaptureShort
            | Self::CaptureOtherCurrency => Outcome::Captured,
        })
    }
}

/// Answers as the step says, whatever was recorded.
async fn deliver(sandbox: &Sandbox, step: &Step, charge: Option<&Collected>) -> Response {
    match step {
        Step::Hang | Step::CaptureThenHang => return silence(sandbox).await,
        Step::Drop
        | Step::CaptureThenDrop
        | Step::CaptureHidden(_)
        | Step::AuthorizeThenDrop
        | Step::VoidThenDrop => return broken_off(),
        Step::ServerError | Step::CaptureThenServerError => {
            return refused(StatusCode::INTERNAL_SERVER_ERROR, "internal");
        }
        Step::Garbage => return garbage(),
        Step::CaptureThenTruncate => {
            return truncated(&serde_json::to_vec(&charge).unwrap_or_default());
        }
        Step::CaptureAfter(ms) => tokio::time::sleep(Duration::from_millis(*ms)).await,
        _ => {}
    }
    charge.map_or_else(|| refused(StatusCode::INTERNAL_SERVER_ERROR, "internal"), answer)
}

/// `GET /v1/charges/{reference}`: by the caller's own id.
pub(super) async fn find(State(sandbox): State<Sandbox>, Path(reference): Path<String>) -> Response {
    let mut memory = sandbox.lock();
    if let Some(left) = memory.hidden.get_mut(&reference) {
        *left -= 1;
        if *left == 0 {
            memory.hidden.remove(&reference);
        }
        return refused(StatusCode::NOT_FOUND, "not_found");
    }
    memory.record.find(&reference).map_or_else(|| refused(StatusCode::NOT_FOUND, "not_found"), answer)
}

/// `GET /v1/charges`: the whole record.
pub(super) async fn list(State(sandbox): State<Sandbox>) -> Response {
    Json(json!({ "data": sandbox.charges() })).into_response()
}

fn has_key(headers: &HeaderMap, key: &str) -> bool {
    headers.get("idempotency-key").is_some_and(|sent| sent.as_bytes() == key.as_bytes())
}

fn answer(charge: &Collected) -> Response {
    let status = match charge.outcome {
        Outcome::Declined { .. } => StatusCode::PAYMENT_REQUIRED,
        _ => StatusCode::OK,
    };
    (status, Json(charge)).into_response()
}
