//! [`App`]: the only shared state of the service.

use std::ops::Deref;
use std::sync::Arc;

use axum::body::Bytes;
use chassis::Platform;
use chassis::audit::AuditQueue;
use chassis::db::Db;
use chassis::fetch::Fetcher;
use chassis::http::RateLimiter;
use chassis::keyring::KeyRing;
use chassis::outbox::Outbox;
use guard::jwks::KeyCache;
use keys::RestoreEpoch;
use keys::mac::MacKey;
use keys::seal::MasterKeys;
use tokio::sync::Notify;

use crate::auth::AuthzClient;
use crate::config::Config;
use crate::crypto::vault::Vault;
use crate::crypto::webhook_keys::WebhookKeys;
use crate::directory::Directory;
use crate::gateway::PaymentGateway;
use crate::monitoring::MonitoringConfig;
use crate::operations::fiat_ins::{Orders, Settlements};
use crate::operations::transfers::Transfers;

/// A cheap handle on [`Parts`]; the axum state of every route.
#[derive(Clone)]
pub struct App(Arc<Parts>);

/// What the service holds while it runs.
pub struct Parts {
    /// The configuration, checked.
    pub config: Config,
    /// The database.
    pub db: Db,
    /// Clock and entropy.
    pub platform: Platform,
    /// The master keys under which personal data and secrets are sealed.
    pub master: Arc<MasterKeys>,
    /// What a restore of the database has voided.
    pub epoch: RestoreEpoch,
    /// The key of request fingerprints (one-time tokens, `Idempotency-Key`).
    pub fingerprint_key: MacKey,
    /// This service's own signing keys.
    pub keyring: Arc<KeyRing>,
    /// The keys that sign webhooks in a vendor's envelope, once a partner needs them.
    pub webhook_keys: Arc<WebhookKeys>,
    /// Partners, clients, keys and revocations.
    pub directory: Directory,
    /// The authorization server's published keys.
    pub issuer_keys: Arc<KeyCache>,
    /// The protected-resource metadata (RFC 9728), rendered.
    pub metadata: Bytes,
    /// Calls to the authorization server.
    pub authz: AuthzClient,
    /// Events and webhooks.
    pub outbox: Outbox,
    /// The only way out of this process.
    pub fetcher: Fetcher,
    /// Seals and opens personal data.
    pub vault: Vault,
    /// The key of list cursors.
    pub cursor_key: MacKey,
    /// The payment gateway.
    pub gateway: Arc<dyn PaymentGateway>,
    /// What monitoring compares with.
    pub limits: Arc<MonitoringConfig>,
    /// Transaction A of fiat-ins, as a batch command.
    pub orders: Orders,
    /// Fast transfers, as a batch command.
    pub transfers: Transfers,
    /// Transaction C of fiat-ins, as a batch command.
    pub settlements: Settlements,
    /// Says that an event of the gateway was stored on this node.
    pub gateway_event_arrived: Notify,
    /// How often networks and clients may change something.
    pub rates: RateLimiter,
    /// The key of status tokens.
    pub status_token_key: MacKey,
    /// Refusals, on their way to the audit.
    pub audit: AuditQueue,
}

impl App {
    /// Wraps the parts.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}
