//! [`Config`]: what an operator sets, its defaults, and every problem with it at once.

use std::net::SocketAddr;
use std::path::PathBuf;

use chassis::config::Checked;
use chassis::db::DatabaseUrl;
use chassis::http::{ListenerConfig, Origin};
use chassis::master::MasterKeySettings;
use ipnet::IpNet;
use keys::seal::MasterKeys;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use crate::gateway::GatewayConfig;
use crate::monitoring::MonitoringConfig;

/// The configuration of the resource API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The authorization server's `iss`: the only issuer whose tokens count.
    pub issuer: Origin,
    /// Where that server is reached, when not at its issuer.
    #[serde(default)]
    pub authz_url: Option<Origin>,
    /// Private networks in which that server may be; elsewhere only public addresses are called.
    #[serde(default)]
    pub authz_networks: Vec<IpNet>,
    /// This API's base URL: its resource identifier (RFC 8707) and the `aud` of its tokens.
    pub resource: Origin,
    /// Further origins under which this API is reached: a front door, a load balancer.
    #[serde(default)]
    pub public_origins: Vec<Origin>,
    /// Certificates (PEM) of authorities that outgoing calls trust beside the system's.
    #[serde(default)]
    pub authorities_file: Option<PathBuf>,
    /// Addresses of the public listener.
    #[serde(default = "listen_default")]
    pub listen: Vec<SocketAddr>,
    /// Addresses of the ops listener.
    #[serde(default = "ops_listen_default")]
    pub ops_listen: Vec<SocketAddr>,
    /// TLS, load balancers and rate limits of the public listener.
    #[serde(default)]
    pub listener: ListenerConfig,
    /// `sqlite:PATH` or a `postgres://` URL.
    pub database_url: SecretString,
    /// base64url of the 32 bytes that seal private keys and personal data. This or `master_key_file`.
    #[serde(default)]
    pub master_key: Option<SecretString>,
    /// A file with the same text, readable by its owner only.
    #[serde(default)]
    pub master_key_file: Option<PathBuf>,
    /// Master keys that are only opened with: previous ones, or the next one before it is everywhere.
    #[serde(default)]
    pub readable_master_keys: Vec<SecretString>,
    /// Files with such keys, readable by their owner only.
    #[serde(default)]
    pub readable_master_key_files: Vec<PathBuf>,
    /// How this API authenticates at the authorization server.
    pub client: ClientConfig,
    /// How long the answer to an `Idempotency-Key` can be had again, seconds.
    #[serde(default = "idempotency_key_ttl_s_default")]
    pub idempotency_key_ttl_s: i64,
    /// Whether a DPoP proof must carry this service's nonce for writes too (RFC 9449 §9). Reads need one in any case.
    #[serde(default)]
    pub dpop_nonce_required: bool,
    /// The payment gateway.
    pub gateway: GatewayConfig,
    /// The limits of transaction monitoring.
    #[serde(default)]
    pub monitoring: MonitoringConfig,
    /// Private networks into which webhooks may be delivered.
    #[serde(default)]
    pub webhook_networks: Vec<IpNet>,
}

/// The client `resource-api` at the authorization server (`private_key_jwt`).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// Its `client_id`.
    pub client_id: String,
    /// Its private key as JWK text. This or `private_jwk_file`.
    #[serde(default)]
    pub private_jwk: Option<SecretString>,
    /// A file with the same text, readable by its owner only.
    #[serde(default)]
    pub private_jwk_file: Option<PathBuf>,
}

fn listen_default() -> Vec<SocketAddr> {
    vec![SocketAddr::from(([127, 0, 0, 1], 8081))]
}

fn ops_listen_default() -> Vec<SocketAddr> {
    vec![SocketAddr::from(([127, 0, 0, 1], 9081))]
}

/// 30 days: long enough for a partner's monthly reconciliation to find and repeat what was lost.
/// See [`Config::idempotency_key_ttl_s`].
pub const IDEMPOTENCY_KEY_TTL_S_DEFAULT: i64 = 30 * 86_400;

fn idempotency_key_ttl_s_default() -> i64 {
    IDEMPOTENCY_KEY_TTL_S_DEFAULT
}

impl Config {
    /// The master keys that the configuration names.
    ///
    /// # Errors
    /// A sentence that begins with the setting it is about.
    pub fn master_keys(&self) -> Result<MasterKeys, String> {
        let settings = MasterKeySettings {
            key: self.master_key.as_ref(),
            file: self.master_key_file.as_deref(),
            readable: &self.readable_master_keys,
            readable_files: &self.readable_master_key_files,
        };
        settings.read()
    }

    /// Every origin that the public listener answers for.
    pub(crate) fn origins(&self) -> Vec<Origin> {
        let others = self.public_origins.iter().filter(|origin| **origin != self.resource);
        std::iter::once(&self.resource).chain(others).cloned().collect()
    }

    /// Origins without TLS: they are for a developer's own machine, and only in development.
    pub(crate) fn insecure(&self, development: bool) -> Vec<String> {
        let allowed = |origin: &Origin| origin.is_https() || (development && origin.is_loopback());
        let named = [("issuer", &self.issuer), ("resource", &self.resource)].into_iter();
        let elsewhere = self.authz_url.iter().map(|origin| ("authz_url", origin));
        let public = self.public_origins.iter().map(|origin| ("public_origins", origin));
        named
            .chain(elsewhere)
            .chain(public)
            .filter(|(_, origin)| !allowed(origin))
            .map(|(key, origin)| format!("{key}: {origin} must be https"))
            .collect()
    }

    /// The base under which the authorization server's endpoints are called.
    pub(crate) fn authz_base(&self) -> &Origin {
        self.authz_url.as_ref().unwrap_or(&self.issuer)
    }
}

impl Checked for Config {
    fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut check = |holds: bool, text: &str| {
            if !holds {
                found.push(text.to_owned());
            }
        };
        check(
            self.database_url.expose_secret().parse::<DatabaseUrl>().is_ok(),
            "database_url: sqlite:PATH or postgres://…",
        );
        check(
            self.master_key.is_some() != self.master_key_file.is_some(),
            "master_key: set it or master_key_file, and not both",
        );
        check(
            self.client.private_jwk.is_some() != self.client.private_jwk_file.is_some(),
            "client.private_jwk: set it or client.private_jwk_file, and not both",
        );
        check(
            (86_400..=90 * 86_400).contains(&self.idempotency_key_ttl_s),
            "idempotency_key_ttl_s: 86400 (a day) to 7776000 (90 days)",
        );
        found.extend(self.gateway.problems());
        found.extend(self.monitoring.problems());
        found
    }
}
