//! The partner's side of webhooks: a receiver that verifies every delivery as Standard Webhooks describes.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};

/// How long the tour waits for one event.
const PATIENCE: Duration = Duration::from_secs(20);

/// One delivery as it arrived.
struct Delivery {
    id: String,
    timestamp: String,
    signature: String,
    body: Bytes,
}

/// A running receiver.
pub(crate) struct Receiver {
    pub(crate) url: String,
    deliveries: Mutex<mpsc::Receiver<Delivery>>,
}

impl Receiver {
    /// Listens on a free loopback port.
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let (sender, deliveries) = mpsc::channel(1024);
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://localhost:{}/webhooks", listener.local_addr()?.port());
        let router = axum::Router::new().route("/webhooks", post(receive)).with_state(Arc::new(sender));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(Self { url, deliveries: Mutex::new(deliveries) })
    }

    /// The next event that `wanted` accepts, verified with the endpoint's public key; others are verified and passed over.
    pub(crate) async fn next(
        &self,
        public_key: &str,
        wanted: impl Fn(&Value) -> bool,
    ) -> anyhow::Result<Value> {
        let mut deliveries = self.deliveries.lock().await;
        let search = async {
            loop {
                let delivery = deliveries.recv().await.context("the receiver stopped")?;
                let event = verified(&delivery, public_key)?;
                if wanted(&event) {
                    return Ok(event);
                }
            }
        };
        tokio::time::timeout(PATIENCE, search).await.context("no such webhook arrived")?
    }
}

async fn receive(
    State(sender): State<Arc<mpsc::Sender<Delivery>>>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let text =
        |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let delivery = Delivery {
        id: text("webhook-id"),
        timestamp: text("webhook-timestamp"),
        signature: text("webhook-signature"),
        body,
    };
    match sender.send(delivery).await {
        Ok(()) => StatusCode::NO_CONTENT,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Checks `v1a` over `id.timestamp.body` with the endpoint's `whpk_` key and gives the event.
fn verified(delivery: &Delivery, public_key: &str) -> anyhow::Result<Value> {
    let key = public_key.strip_prefix("whpk_").context("a Standard Webhooks public key starts with whpk_")?;
    let jwk = json!({ "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": keys::b64::encode(&STANDARD.decode(key)?) });
    let key = keys::PublicJwk::try_from(&jwk).context("the endpoint's key")?.verifying_key();
    let mut signed = format!("{}.{}.", delivery.id, delivery.timestamp).into_bytes();
    signed.extend_from_slice(&delivery.body);
    let one_holds = delivery.signature.split(' ').filter_map(|one| one.strip_prefix("v1a,")).any(|one| {
        STANDARD.decode(one).is_ok_and(|bytes| key.verify(keys::Algorithm::EdDsa, &signed, &bytes).is_ok())
    });
    if !one_holds {
        bail!("webhook {} carries no valid signature", delivery.id);
    }
    Ok(serde_json::from_slice(&delivery.body)?)
}
