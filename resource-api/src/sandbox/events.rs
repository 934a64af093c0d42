//! The events that the sandbox sends by itself, signed as in Standard Webhooks 1.0: honest ones, and late, repeated,
//! reversed or lying ones, as the script of the instrument token says.
//!
//! | token | what happens |
//! |---|---|
//! | `tok_event_before_answer` | captured; the event arrives before the answer does |
//! | `tok_event_after_hang` | captured, no answer; the event comes five seconds later |
//! | `tok_event_five_times` | captured, the answer breaks off; one event, five times |
//! | `tok_events_reversed` | captured, the answer breaks off; `captured` comes before `authorized` and `pending` |
//! | `tok_event_wrong_amount` | captured, the answer breaks off; the event tells another amount |
//! | `tok_event_never` | captured, the answer breaks off; no event |
//!
//! More with `POST /v1/scripts {token, steps, events}` or [`super::Sandbox::script_events`]; events about refunds with
//! `POST /v1/refund-scripts {charge, steps, events}` or [`super::Sandbox::script_refund_events`].

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use chassis::Clock;
use chassis::fetch::{FetchRequest, Fetcher};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, Method};
use keys::webhook::{Signed, WebhookSecret};
use serde::Deserialize;
use tokio::sync::Semaphore;
use url::Url;

use super::refunds::EVERY_CHARGE;
use super::script::Step;
use super::told::Subject;

/// Events being sent at once; more wait.
const AT_ONCE: usize = 16;
/// How long one delivery may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// Deliveries of one event that is not taken with a 2xx, and the pause between them.
const TRIES: usize = 4;
const PAUSE: Duration = Duration::from_millis(500);
/// Longest wait before an event, milliseconds, and the most repeats of one.
const WAIT_MS_MAX: u64 = 120_000;
const TIMES_MAX: usize = 16;

/// One event about a charge or refund that was recorded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventStep {
    /// What it tells instead of what was recorded: of a charge `pending`, `authorized`, `captured`, `declined`,
    /// `voided` …, of a refund `succeeded`, `failed`, `pending`.
    pub status: Option<String>,
    /// Sent, and taken, before the call is answered. Otherwise it is sent beside and after the answer.
    pub before_answer: bool,
    /// Holds the answer back until [`super::Sandbox::release`]; only with `before_answer`.
    pub hold_answer: bool,
    /// Pause before it, milliseconds, at most two minutes.
    pub wait_ms: u64,
    /// How often the very same event is sent; 0 counts as once.
    pub times: usize,
    /// What it lies about.
    pub lie: Option<Lie>,
}

/// A member of an event that is not as it was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lie {
    /// One minor unit less.
    Amount,
    /// Another currency.
    Currency,
    /// The account of somebody else.
    Merchant,
    /// A charge or refund that nobody made.
    Reference,
    /// Another charge than the refund's.
    Charge,
    /// Another charge or refund of the gateway's.
    ProviderRef,
    /// A signature under another secret.
    Signature,
}

/// Where events go.
#[derive(Clone)]
pub struct EventTarget {
    /// The receiver, such as `https://api.example/v1/gateway-events/sandbox`.
    pub url: Url,
    /// What they are signed with.
    pub secret: WebhookSecret,
    /// The account that they name.
    pub merchant: String,
    /// The way there.
    pub fetcher: Fetcher,
    /// Tells when they are sent.
    pub clock: Arc<dyn Clock>,
    /// Whether tokens without a script of events get an honest one.
    pub by_default: bool,
}

/// Target, scripts and what was sent.
#[derive(Clone)]
pub(super) struct Events(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    sending: Semaphore,
    /// One permit for each answer that may go on.
    released: Semaphore,
}

#[derive(Default)]
struct State {
    target: Option<EventTarget>,
    scripts: HashMap<String, Vec<EventStep>>,
    /// By charge, for its refunds.
    refund_scripts: HashMap<String, Vec<EventStep>>,
    sent: HashMap<String, usize>,
}

/// The tokens of the table above, with their steps.
pub(super) fn standard() -> Vec<(&'static str, Step, Vec<EventStep>)> {
    let event = EventStep::default;
    let told = |status: &str| EventStep { status: Some(status.to_owned()), ..event() };
    vec![
        ("tok_event_before_answer", Step::Capture, vec![EventStep { before_answer: true, ..event() }]),
        ("tok_event_after_hang", Step::CaptureThenHang, vec![EventStep { wait_ms: 5_000, ..event() }]),
        ("tok_event_five_times", Step::CaptureThenDrop, vec![EventStep { times: 5, ..event() }]),
        ("tok_events_reversed", Step::CaptureThenDrop, vec![event(), told("authorized"), told("pending")]),
        (
            "tok_event_wrong_amount",
            Step::CaptureThenDrop,
            vec![EventStep { lie: Some(Lie::Amount), ..event() }],
        ),
        ("tok_event_never", Step::CaptureThenDrop, Vec::new()),
    ]
}

impl Default for Events {
    fn default() -> Self {
        let scripts = standard().into_iter().map(|(token, _, events)| (token.to_owned(), events)).collect();
        let state = State { scripts, ..State::default() };
        Self(Arc::new(Inner {
            state: Mutex::new(state),
            sending: Semaphore::new(AT_ONCE),
            released: Semaphore::new(0),
        }))
    }
}

/// An event, ready to be sent again and again.
struct Ready {
    id: String,
    body: String,
    signed_wrongly: bool,
}

impl Events {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends from now on to this target; none: nowhere.
    pub(super) fn target(&self, target: Option<EventTarget>) {
        self.lock().target = target;
    }

    /// Sets which events the charges of a token get.
    pub(super) fn script(&self, token: &str, events: Vec<EventStep>) {
        self.lock().scripts.insert(token.to_owned(), events);
    }

    /// Sets which events the refunds of a charge get, or of every charge that has none of its own.
    pub(super) fn script_refunds(&self, charge: &str, events: Vec<EventStep>) {
        self.lock().refund_scripts.insert(charge.to_owned(), events);
    }

    /// Lets one answer go that was held back.
    pub(super) fn release(&self) {
        self.0.released.add_permits(1);
    }

    /// Tells of a recorded charge, by the script of its token, or of a refund, by that of its charge. Returns once
    /// everything has been sent that comes before the answer.
    pub(super) async fn tell(&self, key: &str, subject: Subject) {
        let (target, steps) = {
            let state = self.lock();
            let Some(target) = state.target.clone() else { return };
            let honest = if target.by_default { vec![EventStep::default()] } else { Vec::new() };
            let steps = match subject {
                Subject::Refund(_) => {
                    state.refund_scripts.get(key).or(state.refund_scripts.get(EVERY_CHARGE))
                }
                Subject::Charge(_) | Subject::Dispute(_) => state.scripts.get(key),
            };
            (target, steps.cloned().unwrap_or(honest))
        };
        let (before, after): (Vec<_>, Vec<_>) = steps.into_iter().partition(|step| step.before_answer);
        for step in before {
            self.send(&target, &subject, &step).await;
            if step.hold_answer
                && let Ok(permit) = self.0.released.acquire().await
            {
                permit.forget();
            }
        }
        if !after.is_empty() {
            let events = self.clone();
            tokio::spawn(async move {
                for step in after {
                    events.send(&target, &subject, &step).await;
                }
            });
        }
    }

    /// Sends one event whatever the scripts say; returns once it was sent.
    pub(super) async fn tell_at_once(&self, subject: &Subject, step: &EventStep) {
        let target = self.lock().target.clone();
        if let Some(target) = target {
            self.send(&target, subject, step).await;
        }
    }

    async fn send(&self, target: &EventTarget, subject: &Subject, step: &EventStep) {
        let (name, status) = (subject.name(), step.status.as_deref().unwrap_or(subject.status()));
        let number = {
            let mut state = self.lock();
            let sent = state.sent.entry(name.to_owned()).or_default();
            *sent += 1;
            *sent
        };
        tokio::time::sleep(Duration::from_millis(step.wait_ms.min(WAIT_MS_MAX))).await;
        let ready = Ready {
            // The numbers begin anew with the process: the word keeps another event from having the id of this one.
            id: format!("gev_{name}_{number}_{status}"),
            body: subject.body(target, step).to_string(),
            signed_wrongly: step.lie == Some(Lie::Signature),
        };
        for _ in 0..step.times.clamp(1, TIMES_MAX) {
            self.deliver(target, &ready).await;
        }
    }

    /// Delivers until it is taken or refused for good, a few times.
    async fn deliver(&self, target: &EventTarget, ready: &Ready) {
        let Ok(_sending) = self.0.sending.acquire().await else { return };
        for pause in [Duration::ZERO, PAUSE, PAUSE, PAUSE].into_iter().take(TRIES) {
            tokio::time::sleep(pause).await;
            let Some(request) = request(target, ready) else { return };
            match target.fetcher.fetch(request).await {
                Ok(reply) if reply.status.is_success() || reply.status.is_client_error() => return,
                Ok(_) | Err(_) => {}
            }
        }
        tracing::warn!(event_id = ready.id, "the sandbox could not deliver an event");
    }
}

fn request(target: &EventTarget, ready: &Ready) -> Option<FetchRequest> {
    let timestamp = target.clock.now().0.to_string();
    let message = Signed { id: &ready.id, timestamp: &timestamp, body: ready.body.as_bytes() };
    let signature = if ready.signed_wrongly {
        WebhookSecret::parse(&WebhookSecret::text(&[0; 32])).ok()?.sign(&message)
    } else {
        target.secret.sign(&message)
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    for (name, value) in
        [("webhook-id", &ready.id), ("webhook-timestamp", &timestamp), ("webhook-signature", &signature)]
    {
        headers.insert(name, HeaderValue::from_str(value).ok()?);
    }
    Some(FetchRequest {
        method: Method::POST,
        url: target.url.clone(),
        headers,
        body: Bytes::from(ready.body.clone()),
        deadline: Some(DEADLINE),
    })
}
