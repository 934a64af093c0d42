//! What an operator sets on a public listener.

use serde::Deserialize;

use super::proxies::TrustedProxies;
use super::rate::RateLimits;
use super::serve::ServeOptions;
use super::tls::{BadTls, Tls, TlsFiles};

/// The table `listener` of a service's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ListenerConfig {
    /// Certificate and key. Without them the listener speaks plain HTTP and belongs behind a load balancer that
    /// speaks TLS.
    pub tls: Option<TlsFiles>,
    /// Load balancers that are believed about the address of a client.
    pub trusted_proxies: TrustedProxies,
    /// How often a network and a client may ask for tokens and change something. Left out: the defaults, and in
    /// `dev` no limits.
    pub rate_limits: Option<RateLimits>,
}

impl ListenerConfig {
    /// Whether clients are asked for a certificate (RFC 8705).
    pub fn asks_for_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|files| files.client_authorities_file.is_some())
    }

    /// The listener's options.
    ///
    /// # Errors
    /// [`BadTls`] when the files cannot be used.
    pub fn serve_options(&self) -> Result<ServeOptions, BadTls> {
        Ok(ServeOptions {
            tls: self.tls.clone().map(Tls::open).transpose()?,
            trusted_networks: self.trusted_proxies.networks.clone(),
            ..ServeOptions::default()
        })
    }
}
