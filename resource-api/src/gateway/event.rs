//! Events that the gateway sends by itself: whether one is genuine, and what it says. Signed as in Standard Webhooks
//! 1.0 (`webhook-id`, `webhook-timestamp`, `webhook-signature`, `v1`); the body is
//! `{type, merchant, created_at, data}`, with the data that `said` lists.

use std::path::PathBuf;

use http::HeaderMap;
use keys::UnixSeconds;
use keys::digest::sha256_b64;
use keys::webhook::{Signed, WebhookSecret, is_signed};
use secrecy::SecretString;
use serde::Deserialize;

use super::said::{Head, Said, is_name, said};

/// Settings of the events that the gateway sends.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayEventsConfig {
    /// The secret that the gateway signs with, `whsec_…`. This or `secret_file`; neither: no event is taken.
    pub secret: Option<SecretString>,
    /// A file with the same text, readable by its owner only.
    pub secret_file: Option<PathBuf>,
    /// The secret before it, taken too while a rotation lasts.
    pub previous_secret: Option<SecretString>,
    /// A file with the same text.
    pub previous_secret_file: Option<PathBuf>,
    /// Our account at the gateway. Events about another one are parked; unset: it is not looked at.
    pub merchant: Option<String>,
}

impl GatewayEventsConfig {
    /// Every problem at once.
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        let pairs = [
            ("secret", self.secret.is_some(), self.secret_file.is_some()),
            ("previous_secret", self.previous_secret.is_some(), self.previous_secret_file.is_some()),
        ];
        for (name, inline, file) in pairs {
            if inline && file {
                found.push(format!("gateway.events.{name}: set it or {name}_file, and not both"));
            }
        }
        if !pairs[0].1 && !pairs[0].2 && (pairs[1].1 || pairs[1].2) {
            found.push("gateway.events.previous_secret: there is no secret after it".to_owned());
        }
        found
    }
}

/// An event as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct Arrived<'a> {
    /// The request's headers.
    pub headers: &'a HeaderMap,
    /// The request's body, byte for byte.
    pub body: &'a [u8],
    /// Now.
    pub now: UnixSeconds,
}

/// A genuine event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayEvent {
    /// The gateway's id of it; the same for every repeat.
    pub event_id: String,
    /// The gateway's word for what happened; `unreadable` when there is none.
    pub kind: String,
    /// base64url(SHA-256) of the body.
    pub body_hash: String,
    /// When the gateway says it happened.
    pub occurred_at: Option<UnixSeconds>,
    /// What it says; `None`: it was not understood.
    pub said: Option<Said>,
}

/// The event is not shown to come from the gateway. The text is for the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotGenuine(pub &'static str);

/// Verifies an event under the live secrets and reads it.
///
/// # Errors
/// [`NotGenuine`] when a header is missing or repeated, the time is off by more than five minutes, or no signature
/// holds. A body that is not understood is no error: it is genuine.
pub(super) fn parse(secrets: &[WebhookSecret], arrived: &Arrived<'_>) -> Result<GatewayEvent, NotGenuine> {
    let header = |name: &str| {
        let mut values = arrived.headers.get_all(name).iter();
        match (values.next().and_then(|value| value.to_str().ok()), values.next()) {
            (Some(value), None) => Ok(value),
            _ => Err(NotGenuine("a header of the signature is missing or repeated")),
        }
    };
    let (id, timestamp) = (header("webhook-id")?, header("webhook-timestamp")?);
    let signatures = header("webhook-signature")?;
    if secrets.is_empty() {
        return Err(NotGenuine("no secret of the gateway is configured"));
    }
    if !is_name(id) {
        return Err(NotGenuine("the event's id cannot be kept"));
    }
    if !is_signed(secrets, &Signed { id, timestamp, body: arrived.body }, signatures, arrived.now) {
        return Err(NotGenuine("no signature holds, or the time is off by more than five minutes"));
    }
    let head: Option<Head> = serde_json::from_slice(arrived.body).ok();
    let kind = head.as_ref().map(|head| head.kind.clone()).filter(|kind| is_name(kind));
    let occurred_at = head.as_ref().and_then(|head| head.created_at).map(UnixSeconds);
    Ok(GatewayEvent {
        event_id: id.to_owned(),
        kind: kind.unwrap_or_else(|| "unreadable".to_owned()),
        body_hash: sha256_b64(arrived.body),
        occurred_at,
        said: head.and_then(|head| said(head, arrived.body)),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::domain::charge_event::Told;
    use crate::domain::telling::Telling;
    use crate::gateway::DeclineCategory;

    const NOW: UnixSeconds = UnixSeconds(1_767_225_600);

    fn secret() -> WebhookSecret {
        WebhookSecret::parse(&WebhookSecret::text(&[7; 32])).unwrap()
    }

    fn event() -> Value {
        json!({
            "type": "charge.captured", "merchant": "mrc_1", "created_at": 1_767_225_590, "data": {
                "id": "gch_1", "reference": "chg_1", "amount": 500, "currency": "EUR", "status": "captured",
            },
        })
    }

    fn signed(body: &str) -> HeaderMap {
        let message = Signed { id: "gev_1", timestamp: "1767225600", body: body.as_bytes() };
        let signature = secret().sign(&message);
        let mut headers = HeaderMap::new();
        for (name, value) in
            [("webhook-id", "gev_1"), ("webhook-timestamp", "1767225600"), ("webhook-signature", &signature)]
        {
            headers.insert(name, value.parse().unwrap());
        }
        headers
    }

    fn parsed(body: &str) -> GatewayEvent {
        let headers = signed(body);
        parse(&[secret()], &Arrived { headers: &headers, body: body.as_bytes(), now: NOW }).unwrap()
    }

    fn with(pointer: &str, value: Value) -> String {
        let mut body = event();
        let (parent, name) = pointer.rsplit_once('/').unwrap();
        body.pointer_mut(parent).unwrap()[name] = value;
        body.to_string()
    }

    #[test]
    fn a_genuine_event_is_read() {
        let event = parsed(&event().to_string());
        assert_eq!((event.event_id.as_str(), event.kind.as_str()), ("gev_1", "charge.captured"));
        assert_eq!(event.occurred_at, Some(UnixSeconds(1_767_225_590)));
        let said = event.said.unwrap();
        assert_eq!(
            (said.reference.as_str(), said.charge_id.as_str(), said.money.amount),
            ("chg_1", "chg_1", 500)
        );
        assert_eq!(said.telling, Telling::Charge(Told::Captured));
        assert_eq!((said.merchant.as_deref(), said.decline), (Some("mrc_1"), None));
    }

    #[test]
    fn a_missing_repeated_or_spoilt_header_makes_it_not_genuine() {
        let body = event().to_string();
        let parsed = |headers: &HeaderMap| {
            parse(&[secret()], &Arrived { headers, body: body.as_bytes(), now: NOW }).map(drop)
        };
        assert!(parsed(&signed(&body)).is_ok());
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            let mut missing = signed(&body);
            missing.remove(name);
            assert!(parsed(&missing).is_err(), "{name} missing");
            let mut twice = signed(&body);
            let value = twice[name].clone();
            twice.append(name, value);
            assert!(parsed(&twice).is_err(), "{name} twice");
            let mut other = signed(&body);
            other.insert(name, "x".parse().unwrap());
            assert!(parsed(&other).is_err(), "{name} changed");
        }
        let headers = signed(&body);
        let arrived = Arrived { headers: &headers, body: body.as_bytes(), now: NOW };
        assert!(parse(&[], &arrived).is_err(), "without a secret nothing is genuine");
        assert!(parse(&[secret()], &Arrived { now: NOW.plus(301), ..arrived }).is_err());
    }

    #[test]
    fn what_is_not_understood_is_kept_without_a_word_of_it() {
        for body in [
            String::new(),
            "not json".to_owned(),
            "{}".to_owned(),
            with("/type", json!("payout.paid")),
            with("/data/status", json!("exploded")),
            with("/data/reference", json!("Quirina Zaunkoenig")),
            with("/data/reference", json!("4242424242424242")),
            with("/data/id", json!("")),
            with("/data/currency", json!("eur")),
            with("/data/amount", json!("500")),
            with("/merchant", json!("a b")),
        ] {
            assert_eq!(parsed(&body).said, None, "{body}");
        }
        assert_eq!(parsed(&with("/type", json!("quirina@example.com"))).kind, "unreadable");
    }

    #[test]
    fn a_decline_counts_only_with_a_code_that_is_known_to_be_definite() {
        let declined = |code: Value| {
            let mut body = event();
            (body["data"]["status"], body["data"]["decline_code"]) = (json!("declined"), code);
            parsed(&body.to_string()).said.unwrap()
        };
        let definite = declined(json!("insufficient_funds"));
        assert_eq!(definite.telling, Telling::Charge(Told::Declined));
        assert_eq!(definite.decline, Some(("insufficient_funds".to_owned(), Some(DeclineCategory::Soft))));
        for code in [json!("try_again_later"), Value::Null] {
            let said = declined(code);
            assert_eq!((said.telling, said.decline), (Telling::Charge(Told::Pending), None));
        }
    }

    #[test]
    fn settings_name_each_problem() {
        let mut config = GatewayEventsConfig::default();
        assert!(config.problems().is_empty());
        config.previous_secret = Some("whsec_x".to_owned().into());
        assert_eq!(config.problems().len(), 1);
        config.secret = Some("whsec_y".to_owned().into());
        assert!(config.problems().is_empty());
        config.secret_file = Some("/x".into());
        assert_eq!(config.problems().len(), 1);
    }
}
