//! Where e-mail and webhooks end up in `dev`: JSON lists in memory, newest last, on the ops listeners.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

/// Entries kept; older ones go.
const KEPT: usize = 1_000;

/// A list that grows at the end and forgets at the start.
#[derive(Clone, Default)]
struct Entries(Arc<Mutex<VecDeque<Value>>>);

impl Entries {
    fn push(&self, entry: Value) {
        let mut entries = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() == KEPT {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    fn all(&self) -> Vec<Value> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// `GET /dev/webhooks` lists what `POST /dev/webhooks` received.
pub(crate) fn webhooks() -> Router {
    Router::new().route("/dev/webhooks", get(list).post(receive)).with_state(Entries::default())
}

/// `GET /dev/inbox`: e-mail that would have been sent. Nothing in this version sends any.
pub(crate) fn inbox() -> Router {
    Router::new().route("/dev/inbox", get(list)).with_state(Entries::default())
}

async fn list(State(entries): State<Entries>) -> Json<Vec<Value>> {
    Json(entries.all())
}

/// Keeps a delivery as it came: JSON as JSON, an envelope that only the partner can open as text.
async fn receive(State(entries): State<Entries>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let text = || Value::from(String::from_utf8_lossy(&body).into_owned());
    entries.push(json!({
        "content_type": header("content-type"),
        "webhook_id": header("webhook-id"),
        "webhook_timestamp": header("webhook-timestamp"),
        "webhook_signature": header("webhook-signature"),
        "body": serde_json::from_slice(&body).unwrap_or_else(|_| text()),
    }));
    StatusCode::OK
}
