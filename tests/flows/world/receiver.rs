//! A partner's webhook receiver on a real socket. It keeps what arrives, as it arrived.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{World, eventually};

/// One delivery.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    pub(crate) id: String,
    pub(crate) timestamp: i64,
    pub(crate) signature: String,
    pub(crate) text: String,
    pub(crate) body: Value,
}

impl Event {
    /// Whether `webhook-signature` holds under the endpoint's `whpk_` key (Standard Webhooks, `v1a`).
    pub(crate) fn is_signed_by(&self, public_key: &str) -> bool {
        let Some(key) = public_key.strip_prefix("whpk_").and_then(|key| STANDARD.decode(key).ok()) else {
            return false;
        };
        let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": keys::b64::encode(&key) });
        let key = keys::PublicJwk::try_from(&jwk).expect("an Ed25519 key").verifying_key();
        let signed = format!("{}.{}.{}", self.id, self.timestamp, self.text);
        let holds = |one: &str| {
            STANDARD
                .decode(one)
                .is_ok_and(|bytes| key.verify(keys::Algorithm::EdDsa, signed.as_bytes(), &bytes).is_ok())
        };
        self.signature.split(' ').filter_map(|one| one.strip_prefix("v1a,")).any(holds)
    }
}

#[derive(Clone, Default)]
struct Kept {
    events: Arc<Mutex<Vec<Event>>>,
    failures: Arc<Mutex<u32>>,
}

/// A running receiver.
pub(crate) struct Receiver {
    pub(crate) url: String,
    /// `whpk_…`, once it is registered.
    pub(crate) public_key: String,
    kept: Kept,
}

impl Receiver {
    async fn start() -> Self {
        let kept = Kept::default();
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
        let url = format!("http://{}/webhooks", listener.local_addr().expect("a bound address"));
        let router = axum::Router::new().route("/webhooks", post(receive)).with_state(kept.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, public_key: String::new(), kept }
    }

    /// Answers the next deliveries with 500.
    pub(crate) fn fail_next(&self, times: u32) {
        *self.kept.failures.lock().expect("a lock") = times;
    }

    /// Everything that arrived, also what was answered with 500.
    pub(crate) fn all(&self) -> Vec<Event> {
        self.kept.events.lock().expect("a lock").clone()
    }

    /// Waits for the first event that `wanted` accepts.
    pub(crate) async fn wait_for(&self, what: &str, wanted: impl Fn(&Value) -> bool) -> Event {
        eventually(what, || async { self.all().into_iter().find(|event| wanted(&event.body)) }).await
    }
}

async fn receive(State(kept): State<Kept>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let text = String::from_utf8_lossy(&body).into_owned();
    let event = Event {
        id: header("webhook-id"),
        timestamp: header("webhook-timestamp").parse().unwrap_or_default(),
        signature: header("webhook-signature"),
        body: serde_json::from_str(&text).unwrap_or_default(),
        text,
    };
    kept.events.lock().expect("a lock").push(event);
    let mut failures = kept.failures.lock().expect("a lock");
    if *failures > 0 {
        *failures -= 1;
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    StatusCode::NO_CONTENT
}

impl World {
    /// A receiver that is not registered anywhere.
    pub(crate) async fn unregistered_receiver(&self) -> Receiver {
        Receiver::start().await
    }

    /// A receiver registered for every event of a partner.
    pub(crate) async fn receiver(&self, partner: &str) -> Receiver {
        let mut receiver = Receiver::start().await;
        let body = json!({ "url": receiver.url });
        let made = self.post_as(&format!("{partner}/backend"), "/v1/webhook-endpoints", &body, 201).await;
        made["public_key"].as_str().expect("public_key").clone_into(&mut receiver.public_key);
        receiver
    }
}
