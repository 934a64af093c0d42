//! The sandbox's HTTP side.

use std::convert::Infallible;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;

use super::cards;
use super::events::{EventStep, EventTarget, Events, standard};
use super::record::{Collected, Outcome, Record};
use super::script::{Scripts, Step};

/// How the sandbox behaves.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// How long a silent step stays silent, milliseconds. Longer than the caller's deadline.
    pub silence_ms: u64,
    /// File that keeps the record over restarts; none: it lives as long as the process.
    pub record_file: Option<PathBuf>,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self { silence_ms: 30_000, record_file: None }
    }
}

struct Memory {
    record: Record,
    scripts: Scripts,
}

/// A handle on a running sandbox: its record and its scripts.
#[derive(Clone)]
pub struct Sandbox {
    memory: Arc<Mutex<Memory>>,
    events: Events,
    silence: Duration,
}

impl Sandbox {
    /// A sandbox with the standard scripts.
    ///
    /// # Errors
    /// The record file cannot be opened or read.
    pub fn new(options: &SandboxOptions) -> io::Result<Self> {
        let record = options.record_file.as_deref().map_or_else(|| Ok(Record::default()), Record::in_file)?;
        let mut scripts = Scripts::default();
        for (token, step, _) in standard() {
            scripts.set(token.to_owned(), vec![step]);
        }
        let memory = Memory { record, scripts };
        Ok(Self {
            memory: Arc::new(Mutex::new(memory)),
            events: Events::default(),
            silence: Duration::from_millis(options.silence_ms),
        })
    }

    /// Sends events from now on to this target.
    pub fn send_events_to(&self, target: EventTarget) {
        self.events.target(Some(target));
    }

    /// Sets which events charges of an instrument token get; none: no events.
    pub fn script_events(&self, token: &str, events: Vec<EventStep>) {
        self.events.script(token, events);
    }

    /// Lets one answer go that an event holds back.
    pub fn release(&self) {
        self.events.release();
    }

    /// Every charge that ended, oldest first.
    pub fn charges(&self) -> Vec<Collected> {
        self.lock().record.all()
    }

    /// How often a charge arrived over HTTP.
    pub fn arrivals(&self, reference: &str) -> usize {
        self.lock().record.arrivals(reference)
    }

    /// Sets what happens to charges of an instrument token; no steps: the token is unknown.
    pub fn script(&self, token: &str, steps: Vec<Step>) {
        self.lock().scripts.set(token.to_owned(), steps);
    }

    /// Its routes.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/v1/tokens", post(tokenise))
            .route("/v1/charges", post(charge).get(list))
            .route("/v1/charges/{reference}", get(find))
            .route("/v1/scripts", post(script))
            .with_state(self.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Serves a sandbox until `stop` resolves.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    sandbox: Sandbox,
    listener: TcpListener,
    stop: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    axum::serve(listener, sandbox.router()).with_graceful_shutdown(stop).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CardBody {
    number: String,
    exp_month: u8,
    exp_year: u16,
    #[serde(default)]
    cvc: Option<String>,
}

/// `POST /v1/tokens`: a card becomes a token; the number is compared with a table and forgotten.
async fn tokenise(body: Bytes) -> Response {
    let Ok(card) = serde_json::from_slice::<CardBody>(&body) else {
        return refused(StatusCode::BAD_REQUEST, "malformed");
    };
    if !(1..=12).contains(&card.exp_month)
        || card.exp_year < 2000
        || card.cvc.is_some_and(|cvc| cvc.len() > 4)
    {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, "invalid_card");
    }
    let Some(known) = cards::find(&card.number) else {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, "unknown_test_card");
    };
    let answer = json!({
        "token": known.token, "brand": known.brand, "last4": known.last4(),
        "fingerprint": format!("fp_{}", known.token), "country": known.country,
    });
    (StatusCode::CREATED, Json(answer)).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChargeBody {
    amount: i64,
    currency: String,
    source: String,
    reference: String,
}

/// `POST /v1/charges`: collects, declines or misbehaves, as the instrument's script says.
async fn charge(State(sandbox): State<Sandbox>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(ask) = serde_json::from_slice::<ChargeBody>(&body) else {
        return refused(StatusCode::BAD_REQUEST, "malformed");
    };
    if headers.get("idempotency-key").is_none_or(|key| key.as_bytes() != ask.reference.as_bytes()) {
        return refused(StatusCode::BAD_REQUEST, "idempotency_key_is_not_the_reference");
    }
    let step = {
        let mut memory = sandbox.lock();
        let arrival = memory.record.arrive(&ask.reference);
        if let Some(found) = memory.record.find(&ask.reference) {
            let same = found.currency == ask.currency && (found.amount - ask.amount).abs() <= 1;
            return if same {
                answer(found)
            } else {
                refused(StatusCode::CONFLICT, "idempotency_key_reused")
            };
        }
        memory.scripts.step(&ask.source, arrival)
    };
    play(&sandbox, &step, ask).await
}

async fn play(sandbox: &Sandbox, step: &Step, ask: ChargeBody) -> Response {
    let outcome = match step {
        Step::Capture | Step::CaptureThenDrop | Step::CaptureThenHang | Step::CaptureShort => {
            Outcome::Captured
        }
        Step::Decline(code) => Outcome::Declined { decline_code: code.clone() },
        Step::Hang => return silence(sandbox).await,
        Step::Drop => return broken_off(),
        Step::ServerError => return refused(StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        Step::Garbage => return (StatusCode::OK, "<html>not a charge</html>").into_response(),
    };
    let source = ask.source;
    let short = i64::from(*step == Step::CaptureShort);
    let charge = Collected {
        id: format!("gch_{}", ask.reference),
        reference: ask.reference,
        amount: ask.amount - short,
        currency: ask.currency,
        outcome,
    };
    let recorded = sandbox.lock().record.insert(charge);
    if let Ok(charge) = &recorded {
        sandbox.events.tell(&source, charge).await;
    }
    match (recorded, step) {
        (Err(_), _) => refused(StatusCode::INTERNAL_SERVER_ERROR, "record_failed"),
        (Ok(_), Step::CaptureThenDrop) => broken_off(),
        (Ok(_), Step::CaptureThenHang) => silence(sandbox).await,
        (Ok(charge), _) => answer(&charge),
    }
}

/// `GET /v1/charges/{reference}`: by the caller's own id.
async fn find(State(sandbox): State<Sandbox>, Path(reference): Path<String>) -> Response {
    let memory = sandbox.lock();
    memory.record.find(&reference).map_or_else(|| refused(StatusCode::NOT_FOUND, "not_found"), answer)
}

/// `GET /v1/charges`: the whole record.
async fn list(State(sandbox): State<Sandbox>) -> Response {
    Json(json!({ "data": sandbox.charges() })).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptBody {
    token: String,
    steps: Vec<Step>,
    #[serde(default)]
    events: Option<Vec<EventStep>>,
}

/// `POST /v1/scripts`: sets what happens to an instrument token.
async fn script(State(sandbox): State<Sandbox>, body: Bytes) -> Response {
    let Ok(ask) = serde_json::from_slice::<ScriptBody>(&body) else {
        return refused(StatusCode::BAD_REQUEST, "malformed");
    };
    sandbox.script(&ask.token, ask.steps);
    if let Some(events) = ask.events {
        sandbox.script_events(&ask.token, events);
    }
    StatusCode::NO_CONTENT.into_response()
}

fn answer(charge: &Collected) -> Response {
    let status = match charge.outcome {
        Outcome::Captured => StatusCode::OK,
        Outcome::Declined { .. } => StatusCode::PAYMENT_REQUIRED,
    };
    (status, Json(charge)).into_response()
}

fn refused(status: StatusCode, code: &str) -> Response {
    (status, Json(json!({ "error": code }))).into_response()
}

async fn silence(sandbox: &Sandbox) -> Response {
    tokio::time::sleep(sandbox.silence).await;
    refused(StatusCode::GATEWAY_TIMEOUT, "timeout")
}

/// An answer whose body stops before its announced end: the caller reads a head and then a broken line.
fn broken_off() -> Response {
    let parts = futures_util::stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"{\"id\":"))]);
    let response = Response::builder().status(StatusCode::OK).header("content-length", "4096");
    response.body(Body::from_stream(parts)).unwrap_or_else(|_| StatusCode::OK.into_response())
}
