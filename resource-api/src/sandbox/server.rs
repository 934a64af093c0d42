//! The sandbox itself: its memory, its routes, and what a test or a person may set.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use serde::Deserialize;
use tokio::net::TcpListener;

use super::events::{EventStep, EventTarget, Events, standard};
use super::faults::{broken_off, refused};
use super::record::{Collected, Outcome, Record};
use super::refunds::{self, Refunds};
use super::script::{Scripts, Step};
use super::told::Subject;
use super::{challenge, charges, disputes, tokens};

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

#[derive(Default)]
pub(super) struct Memory {
    pub(super) record: Record,
    pub(super) scripts: Scripts,
    /// Instrument token of each charge.
    pub(super) sources: HashMap<String, String>,
    /// Charges that are not found yet, and by how many more lookups.
    pub(super) hidden: HashMap<String, u32>,
    /// Charges that are only reserved when the payer confirms them.
    pub(super) authorizes: HashSet<String>,
    /// Nothing is answered.
    gone: bool,
}

/// A handle on a running sandbox: its record and its scripts.
#[derive(Clone)]
pub struct Sandbox {
    memory: Arc<Mutex<Memory>>,
    pub(super) refunds: Refunds,
    pub(super) events: Events,
    pub(super) silence: Duration,
}

impl Sandbox {
    /// A sandbox with the standard scripts.
    ///
    /// # Errors
    /// The record file cannot be opened or read.
    pub fn new(options: &SandboxOptions) -> io::Result<Self> {
        let record = options.record_file.as_deref().map_or_else(|| Ok(Record::default()), Record::in_file)?;
        let mut memory = Memory { record, ..Memory::default() };
        for (token, step, _) in standard() {
            memory.scripts.set(token.to_owned(), vec![step]);
        }
        Ok(Self {
            memory: Arc::new(Mutex::new(memory)),
            refunds: Refunds::beside(options.record_file.as_deref())?,
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

    /// Sends the events about a charge as it is recorded now; returns once those are taken that come before its answer.
    pub(super) async fn tell(&self, charge: &Collected) {
        let source = self.lock().sources.get(&charge.reference).cloned().unwrap_or_default();
        self.events.tell(&source, Subject::Charge(charge.clone())).await;
    }

    /// Every charge that was recorded, as it is now, oldest first.
    pub fn charges(&self) -> Vec<Collected> {
        self.lock().record.all()
    }

    /// How often a charge arrived over HTTP; its captures and voids count under `…:capture` and `…:void`.
    pub fn arrivals(&self, reference: &str) -> usize {
        self.lock().record.arrivals(reference)
    }

    /// Sets what happens to charges of an instrument token; no steps: the token is unknown.
    pub fn script(&self, token: &str, steps: Vec<Step>) {
        self.lock().scripts.set(token.to_owned(), steps);
    }

    /// Changes what became of a charge, as a gateway may do by itself. `false`: there is no such charge.
    pub fn turn(&self, reference: &str, outcome: Outcome) -> bool {
        self.lock().record.turn(reference, outcome).is_ok_and(|turned| turned.is_some())
    }

    /// Makes the whole gateway unreachable, or reachable again.
    pub fn vanish(&self, gone: bool) {
        self.lock().gone = gone;
    }

    /// Its routes.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/v1/tokens", post(tokens::tokenise))
            .route("/v1/charges", post(charges::charge).get(charges::list))
            .route("/v1/charges/{reference}", get(charges::find))
            .route("/v1/charges/{reference}/capture", post(charges::capture))
            .route("/v1/charges/{reference}/void", post(charges::void))
            .route("/challenge/{reference}", get(challenge::page).post(challenge::decide))
            .route("/v1/scripts", post(script))
            .merge(refunds::routes())
            .route("/v1/disputes", post(disputes::dispute))
            .layer(from_fn_with_state(self.clone(), reachable))
            .route("/v1/outage", post(outage))
            .with_state(self.clone())
    }

    /// Records a charge, and what its step says of its later life.
    pub(super) fn insert(&self, charge: Collected, step: &Step) -> io::Result<Collected> {
        let mut memory = self.lock();
        match step {
            Step::CaptureHidden(lookups) if *lookups > 0 => {
                memory.hidden.insert(charge.reference.clone(), *lookups);
            }
            Step::RequireActionThenAuthorize => {
                memory.authorizes.insert(charge.reference.clone());
            }
            _ => {}
        }
        memory.record.insert(charge)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Memory> {
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

/// While the gateway is gone, every answer breaks off and nothing is done.
async fn reachable(State(sandbox): State<Sandbox>, request: Request, next: Next) -> Response {
    let gone = sandbox.lock().gone;
    if gone { broken_off() } else { next.run(request).await }
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

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct OutageBody {
    gone: bool,
}

/// `POST /v1/outage`: makes the gateway unreachable, or reachable again.
async fn outage(State(sandbox): State<Sandbox>, body: Bytes) -> Response {
    let Ok(ask) = serde_json::from_slice::<OutageBody>(&body) else {
        return refused(StatusCode::BAD_REQUEST, "malformed");
    };
    sandbox.vanish(ask.gone);
    StatusCode::NO_CONTENT.into_response()
}
