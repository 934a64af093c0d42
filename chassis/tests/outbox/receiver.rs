//! A partner's webhook receiver: a real HTTP server that keeps what it got and answers as told.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use standardwebhooks::{HEADER_WEBHOOK_ID, HEADER_WEBHOOK_SIGNATURE, HEADER_WEBHOOK_TIMESTAMP};

/// One request that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    pub(crate) fn id(&self) -> &str {
        self.header(HEADER_WEBHOOK_ID)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    pub(crate) fn seq(&self) -> i64 {
        self.json()["seq"].as_i64().unwrap()
    }

    /// Whether one of the signatures verifies, checked as a receiver would: from the `whpk_` text alone.
    pub(crate) fn verifies_with(&self, public_key: &str) -> bool {
        let point = STANDARD.decode(public_key.strip_prefix("whpk_").unwrap()).unwrap();
        let jwk = serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": keys::b64::encode(&point)});
        let key = keys::PublicJwk::try_from(&jwk).unwrap().verifying_key();
        let signed = format!("{}.{}.{}", self.id(), self.header(HEADER_WEBHOOK_TIMESTAMP), self.body);
        self.header(HEADER_WEBHOOK_SIGNATURE).split(' ').any(|signature| {
            let signature = STANDARD.decode(signature.strip_prefix("v1a,").unwrap()).unwrap();
            key.verify(keys::Algorithm::EdDsa, signed.as_bytes(), &signature).is_ok()
        })
    }
}

#[derive(Default)]
struct Desk {
    received: Mutex<Vec<Received>>,
    /// The next answers; when there are none left: 204.
    answers: Mutex<VecDeque<(StatusCode, HeaderMap)>>,
    delay: Mutex<Duration>,
}

pub(crate) struct Receiver {
    pub(crate) url: String,
    desk: Arc<Desk>,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Receiver {
    pub(crate) async fn start() -> Self {
        let desk = Arc::new(Desk::default());
        let router = Router::new().route("/hook", post(take)).with_state(Arc::clone(&desk));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, desk, server }
    }

    pub(crate) fn will_answer(&self, statuses: &[u16]) {
        let answers =
            statuses.iter().map(|status| (StatusCode::from_u16(*status).unwrap(), HeaderMap::new()));
        self.desk.answers.lock().unwrap().extend(answers);
    }

    pub(crate) fn will_answer_with_header(&self, status: u16, name: &'static str, value: &str) {
        let headers = HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())]);
        self.desk.answers.lock().unwrap().push_back((StatusCode::from_u16(status).unwrap(), headers));
    }

    pub(crate) fn will_take(&self, delay: Duration) {
        *self.desk.delay.lock().unwrap() = delay;
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.desk.received.lock().unwrap().clone()
    }
}

async fn take(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Response {
    let body = String::from_utf8(body.to_vec()).unwrap();
    desk.received.lock().unwrap().push(Received { headers, body });
    let delay = *desk.delay.lock().unwrap();
    tokio::time::sleep(delay).await;
    let answer = desk.answers.lock().unwrap().pop_front();
    answer.unwrap_or((StatusCode::NO_CONTENT, HeaderMap::new())).into_response()
}
