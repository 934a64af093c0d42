//! The sandbox's refunds: one for each idempotency key however often it is sent, never more of a charge than was
//! captured, and a script of faults for each charge.

use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path as FilePath;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::events::EventStep;
use super::faults::{broken_off, refused, silence};
use super::record::Outcome;
use super::server::Sandbox;
use super::told::Subject;

/// The name under which a script counts for every charge that has none of its own.
pub const EVERY_CHARGE: &str = "*";

/// What became of a refund at the sandbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "snake_case")]
pub enum RefundOutcome {
    /// The payer has the money.
    Succeeded,
    /// Nothing went back and nothing will.
    Declined {
        /// Why, as a machine code.
        decline_code: String,
    },
}

/// One refund as the sandbox recorded it; also its body on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Returned {
    /// The sandbox's own id.
    pub id: String,
    /// The caller's id: reference and idempotency key.
    pub reference: String,
    /// The caller's id of the charge.
    pub charge: String,
    /// Minor units that went back, or were asked for when declined.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// The outcome.
    #[serde(flatten)]
    pub outcome: RefundOutcome,
}

/// One reaction to one arrival of a refund. While nothing definite is recorded for a key, its n-th arrival takes the
/// n-th step, and the last step stays.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefundStep {
    /// Gives the money back and says so.
    Succeed,
    /// Records a decline with this code and says so.
    Decline(String),
    /// Records nothing and stays silent until the caller gives up.
    Hang,
    /// Records nothing and breaks the answer off.
    Drop,
    /// Gives the money back, and the answer breaks off.
    SucceedThenDrop,
    /// Gives the money back, and stays silent until the caller gives up.
    SucceedThenHang,
    /// Gives the money back and answers 500.
    SucceedThenServerError,
    /// Records nothing and answers 500.
    ServerError,
    /// Records nothing and says that it is pending.
    Pending,
    /// Records nothing and answers 200 with something that is no refund.
    Garbage,
}

/// Refunds by reference, arrivals and scripts.
#[derive(Debug, Default)]
struct Memory {
    refunds: HashMap<String, Returned>,
    order: Vec<String>,
    arrivals: HashMap<String, usize>,
    scripts: HashMap<String, Vec<RefundStep>>,
    file: Option<File>,
}

/// A handle on the sandbox's refunds.
#[derive(Debug, Clone, Default)]
pub(super) struct Refunds(Arc<Mutex<Memory>>);

impl Refunds {
    /// Refunds that are kept beside the record of charges.
    pub(super) fn beside(record_file: Option<&FilePath>) -> io::Result<Self> {
        let Some(record_file) = record_file else { return Ok(Self::default()) };
        let path = record_file.with_extension("refunds.jsonl");
        let mut file = OpenOptions::new().create(true).append(true).read(true).open(path)?;
        let (mut memory, mut text) = (Memory::default(), String::new());
        file.read_to_string(&mut text)?;
        // A half-written last line belongs to a refund that was never answered.
        for refund in text.lines().filter_map(|line| serde_json::from_str(line).ok()) {
            memory.keep(refund);
        }
        if !text.is_empty() && !text.ends_with('\n') {
            file.write_all(b"\n")?;
        }
        memory.file = Some(file);
        Ok(Self(Arc::new(Mutex::new(memory))))
    }

    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn keep(&mut self, refund: Returned) {
        self.order.push(refund.reference.clone());
        self.refunds.insert(refund.reference.clone(), refund);
    }

    /// What went back of a charge.
    fn returned(&self, charge: &str) -> i64 {
        let of_charge = |refund: &&Returned| {
            refund.charge == charge && matches!(refund.outcome, RefundOutcome::Succeeded)
        };
        self.refunds.values().filter(of_charge).map(|refund| refund.amount).sum()
    }

    /// Counts an arrival and tells the step it takes.
    fn arrive(&mut self, ask: &RefundBody) -> RefundStep {
        let arrivals = self.arrivals.entry(ask.reference.clone()).or_default();
        *arrivals += 1;
        let arrival = *arrivals - 1;
        let script = self.scripts.get(&ask.charge).or_else(|| self.scripts.get(EVERY_CHARGE));
        let step = script.and_then(|steps| steps.get(arrival).or_else(|| steps.last()));
        step.cloned().unwrap_or(RefundStep::Succeed)
    }

    /// Records a definite outcome and returns what stands: of two racing arrivals the first one's. Of a charge never
    /// more goes back than was captured.
    fn insert(&mut self, mut refund: Returned, captured: i64) -> io::Result<Returned> {
        if let Some(first) = self.refunds.get(&refund.reference) {
            return Ok(first.clone());
        }
        let left = captured - self.returned(&refund.charge);
        if refund.outcome == RefundOutcome::Succeeded && refund.amount > left {
            let code = if captured == 0 { "charge_not_refundable" } else { "amount_exceeds_charge" };
            refund.outcome = RefundOutcome::Declined { decline_code: code.to_owned() };
        }
        if let Some(file) = &mut self.file {
            let mut line = serde_json::to_vec(&refund)?;
            line.push(b'\n');
            file.write_all(&line)?;
        }
        self.keep(refund.clone());
        Ok(refund)
    }
}

impl Sandbox {
    /// Every refund that ended, oldest first.
    pub fn refunds(&self) -> Vec<Returned> {
        let memory = self.refunds.lock();
        memory.order.iter().filter_map(|reference| memory.refunds.get(reference)).cloned().collect()
    }

    /// How often a refund arrived over HTTP.
    pub fn refund_arrivals(&self, reference: &str) -> usize {
        self.refunds.lock().arrivals.get(reference).copied().unwrap_or_default()
    }

    /// Sets what happens to refunds of a charge, or of every charge ([`EVERY_CHARGE`]); no steps: they succeed.
    pub fn script_refunds(&self, charge: &str, steps: Vec<RefundStep>) {
        let mut memory = self.refunds.lock();
        if steps.is_empty() {
            memory.scripts.remove(charge);
        } else {
            memory.scripts.insert(charge.to_owned(), steps);
        }
    }

    /// Sets which events refunds of a charge get, or of every charge ([`EVERY_CHARGE`]); none: no events.
    pub fn script_refund_events(&self, charge: &str, events: Vec<EventStep>) {
        self.events.script_refunds(charge, events);
    }
}

/// Routes of refunds.
pub(super) fn routes() -> Router<Sandbox> {
    Router::new()
        .route("/v1/refunds", post(refund).get(list))
        .route("/v1/refunds/{reference}", get(find))
        .route("/v1/refund-scripts", post(script))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RefundBody {
    charge: String,
    amount: i64,
    currency: String,
    reference: String,
}

/// `POST /v1/refunds`: gives back, declines or misbehaves, as the charge's script says.
async fn refund(State(sandbox): State<Sandbox>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(ask) = serde_json::from_slice::<RefundBody>(&body) else {
        return refused(StatusCode::BAD_REQUEST, "malformed");
    };
    if headers.get("idempotency-key").is_none_or(|key| key.as_bytes() != ask.reference.as_bytes()) {
        return refused(StatusCode::BAD_REQUEST, "idempotency_key_is_not_the_reference");
    }
    let step = {
        let mut memory = sandbox.refunds.lock();
        let step = memory.arrive(&ask);
        if let Some(found) = memory.refunds.get(&ask.reference) {
            let same =
                (&found.charge, found.amount, &found.currency) == (&ask.charge, ask.amount, &ask.currency);
            return if same {
                answer(found)
            } else {
                refused(StatusCode::CONFLICT, "idempotency_key_reused")
            };
        }
        step
    };
    play(&sandbox, &step, ask).await
}

async fn play(sandbox: &Sandbox, step: &RefundStep, ask: RefundBody) -> Response {
    let outcome = match step {
        RefundStep::Succeed
        | RefundStep::SucceedThenDrop
        | RefundStep::SucceedThenHang
        | RefundStep::SucceedThenServerError => RefundOutcome::Succeeded,
        RefundStep::Decline(code) => RefundOutcome::Declined { decline_code: code.clone() },
        RefundStep::Hang => return silence(sandbox).await,
        RefundStep::Drop => return broken_off(),
        RefundStep::ServerError => return refused(StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        RefundStep::Pending => return pending(&ask),
        RefundStep::Garbage => return (StatusCode::OK, "<html>not a refund</html>").into_response(),
    };
    let charge = sandbox.charges().into_iter().find(|charge| charge.reference == ask.charge);
    let captured = charge.filter(|charge| {
        charge.outcome == Outcome::Captured && charge.currency == ask.currency && ask.amount > 0
    });
    let refund = Returned {
        id: format!("grf_{}", ask.reference),
        reference: ask.reference,
        charge: ask.charge,
        amount: ask.amount,
        currency: ask.currency,
        outcome,
    };
    let recorded = sandbox.refunds.lock().insert(refund, captured.map_or(0, |charge| charge.amount));
    if let Ok(refund) = &recorded {
        sandbox.events.tell(&refund.charge, Subject::Refund(refund.clone())).await;
    }
    match (recorded, step) {
        (Err(_), _) => refused(StatusCode::INTERNAL_SERVER_ERROR, "record_failed"),
        (Ok(_), RefundStep::SucceedThenDrop) => broken_off(),
        (Ok(_), RefundStep::SucceedThenHang) => silence(sandbox).await,
        (Ok(_), RefundStep::SucceedThenServerError) => refused(StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        (Ok(refund), _) => answer(&refund),
    }
}

/// `GET /v1/refunds/{reference}`: by the caller's own id.
async fn find(State(sandbox): State<Sandbox>, Path(reference): Path<String>) -> Response {
    let memory = sandbox.refunds.lock();
    memory.refunds.get(&reference).map_or_else(|| refused(StatusCode::NOT_FOUND, "not_found"), answer)
}

/// `GET /v1/refunds`: the whole record.
async fn list(State(sandbox): State<Sandbox>) -> Response {
    Json(json!({ "data": sandbox.refunds() })).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ScriptBody {
    charge: String,
    steps: Vec<RefundStep>,
    #[serde(default)]
    events: Option<Vec<EventStep>>,
}

/// `POST /v1/refund-scripts`: sets what happens to refunds of a charge.
async fn script(State(sandbox): State<Sandbox>, body: Bytes) -> Response {
    let Ok(ask) = serde_json::from_slice::<ScriptBody>(&body) else {
        return refused(StatusCode::BAD_REQUEST, "malformed");
    };
    sandbox.script_refunds(&ask.charge, ask.steps);
    if let Some(events) = ask.events {
        sandbox.script_refund_events(&ask.charge, events);
    }
    StatusCode::NO_CONTENT.into_response()
}

fn answer(refund: &Returned) -> Response {
    let status = match refund.outcome {
        RefundOutcome::Succeeded => StatusCode::OK,
        RefundOutcome::Declined { .. } => StatusCode::PAYMENT_REQUIRED,
    };
    (status, Json(refund)).into_response()
}

fn pending(ask: &RefundBody) -> Response {
    let body = json!({
        "id": format!("grf_{}", ask.reference), "reference": ask.reference, "charge": ask.charge,
        "amount": ask.amount, "currency": ask.currency, "status": "pending",
    });
    (StatusCode::OK, Json(body)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refund(reference: &str, amount: i64) -> Returned {
        Returned {
            id: format!("grf_{reference}"),
            reference: reference.to_owned(),
            charge: "chg_1".to_owned(),
            amount,
            currency: "EUR".to_owned(),
            outcome: RefundOutcome::Succeeded,
        }
    }

    #[test]
    fn never_more_goes_back_than_was_captured() {
        let mut memory = Memory::default();
        let code = |refund: Returned| match refund.outcome {
            RefundOutcome::Succeeded => "succeeded".to_owned(),
            RefundOutcome::Declined { decline_code } => decline_code,
        };
        assert_eq!(code(memory.insert(refund("a", 60), 100).unwrap()), "succeeded");
        assert_eq!(code(memory.insert(refund("b", 41), 100).unwrap()), "amount_exceeds_charge");
        assert_eq!(code(memory.insert(refund("c", 40), 100).unwrap()), "succeeded");
        assert_eq!(code(memory.insert(refund("d", 1), 0).unwrap()), "charge_not_refundable");
    }

    #[test]
    fn refunds_in_a_file_outlive_their_process_and_a_torn_last_line() {
        let folder = tempfile::tempdir().unwrap();
        let record = folder.path().join("gateway.jsonl");
        let refunds = Refunds::beside(Some(&record)).unwrap();
        refunds.lock().insert(refund("a", 60), 100).unwrap();
        drop(refunds);
        let path = folder.path().join("gateway.refunds.jsonl");
        OpenOptions::new().append(true).open(path).unwrap().write_all(b"{\"id\":\"grf").unwrap();
        let refunds = Refunds::beside(Some(&record)).unwrap();
        refunds.lock().insert(refund("b", 1), 100).unwrap();
        drop(refunds);
        assert_eq!(Refunds::beside(Some(&record)).unwrap().lock().returned("chg_1"), 61);
    }
}
