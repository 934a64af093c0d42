//! Where the payment gateway is and how long it may take.

use ipnet::IpNet;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use super::event::GatewayEventsConfig;

/// Settings of the HTTP gateway adapter.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayConfig {
    /// Base URL; `https`, or `http` to loopback in development.
    pub base_url: Url,
    /// Private networks in which it may be; elsewhere only public addresses are called.
    #[serde(default)]
    pub networks: Vec<IpNet>,
    /// Key sent as a bearer credential with every call.
    pub api_key: Option<SecretString>,
    /// Longest wait for one answer, milliseconds. Stays below the request deadline.
    #[serde(default = "deadline_ms_default")]
    pub deadline_ms: u64,
    /// When a charge of unknown outcome is looked at again, seconds after the attempt before; the last
    /// one repeats.
    #[serde(default = "look_again_after_s_default")]
    pub look_again_after_s: Vec<i64>,
    /// How long after a charge was sent the gateway's reads may lag behind its writes, seconds. Before that, not
    /// finding a charge says nothing and it is not sent again.
    #[serde(default = "consistency_window_s_default")]
    pub consistency_window_s: i64,
    /// How long a payer may take to prove to the bank who they are (3-D Secure), seconds; then the order expires.
    #[serde(default = "action_ttl_s_default")]
    pub action_ttl_s: i64,
    /// How often the gateway is asked meanwhile, seconds.
    #[serde(default = "look_for_payer_every_s_default")]
    pub look_for_payer_every_s: i64,
    /// Age at which an unknown charge is left to a person, seconds. The gateway's keys must live longer.
    #[serde(default = "give_up_after_s_default")]
    pub give_up_after_s: i64,
    /// The events that it sends by itself.
    #[serde(default)]
    pub events: GatewayEventsConfig,
}

fn deadline_ms_default() -> u64 {
    4_000
}

fn look_again_after_s_default() -> Vec<i64> {
    vec![5, 30, 120, 600, 3_600]
}

fn consistency_window_s_default() -> i64 {
    5
}

fn action_ttl_s_default() -> i64 {
    900
}

fn look_for_payer_every_s_default() -> i64 {
    15
}

fn give_up_after_s_default() -> i64 {
    86_400
}

impl GatewayConfig {
    /// The defaults at a base URL, without a key.
    pub fn at(base_url: Url) -> Self {
        Self {
            base_url,
            networks: Vec::new(),
            api_key: None,
            deadline_ms: deadline_ms_default(),
            look_again_after_s: look_again_after_s_default(),
            consistency_window_s: consistency_window_s_default(),
            action_ttl_s: action_ttl_s_default(),
            look_for_payer_every_s: look_for_payer_every_s_default(),
            give_up_after_s: give_up_after_s_default(),
            events: GatewayEventsConfig::default(),
        }
    }

    /// Every problem at once.
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        if !matches!(self.base_url.scheme(), "http" | "https") || self.base_url.query().is_some() {
            found.push("gateway.base_url: an http(s) URL without a query".to_owned());
        }
        if !(100..=5_000).contains(&self.deadline_ms) {
            found.push("gateway.deadline_ms: 100 to 5000".to_owned());
        }
        if self.look_again_after_s.is_empty() || self.look_again_after_s.iter().any(|wait_s| *wait_s < 1) {
            found.push("gateway.look_again_after_s: at least one wait, none below a second".to_owned());
        }
        if !(0..=86_400).contains(&self.consistency_window_s) {
            found.push("gateway.consistency_window_s: 0 to 86400".to_owned());
        }
        if !(60..=86_400).contains(&self.action_ttl_s) {
            found.push("gateway.action_ttl_s: 60 to 86400".to_owned());
        }
        if !(1..=3_600).contains(&self.look_for_payer_every_s) {
            found.push("gateway.look_for_payer_every_s: 1 to 3600".to_owned());
        }
        if self.give_up_after_s < 60 {
            found.push("gateway.give_up_after_s: at least 60".to_owned());
        }
        found.extend(self.events.problems());
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_problem_is_named_at_once() {
        let mut config = GatewayConfig::at(Url::parse("https://gateway.example").unwrap());
        assert!(config.problems().is_empty());
        config.deadline_ms = 30_000;
        config.look_again_after_s.clear();
        config.give_up_after_s = 0;
        config.consistency_window_s = -1;
        config.action_ttl_s = 0;
        config.look_for_payer_every_s = 0;
        assert_eq!(config.problems().len(), 6);
    }
}
