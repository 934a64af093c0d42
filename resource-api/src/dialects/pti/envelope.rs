//! The vendor's webhook envelope: a JWS (RS512) by this service, inside a JWE to the partner's own RSA key.
//!
//! A receiver decrypts with the private half of the key it signs requests with, pins the four algorithms, and verifies
//! the inner signature with the key that `kid` names in our key set, whose address is also in `jku`.

use std::sync::Arc;

use chassis::outbox::{Envelope, StoredEvent, Written};
use chassis::{Fault, Platform, while_doing};
use futures_util::future::BoxFuture;
use keys::jws;

use super::message;
use crate::crypto::webhook_keys::WebhookKeys;
use crate::directory::Directory;
use crate::domain::webhook_format::PTI;

/// A JWS or JWE in compact form (RFC 7515 §9.2.1).
const JOSE: &str = "application/jose";

/// Writes deliveries for endpoints of the format [`PTI`].
pub(crate) struct PtiEnvelope {
    directory: Directory,
    keys: Arc<WebhookKeys>,
    platform: Platform,
    jwks_url: String,
}

impl PtiEnvelope {
    pub(crate) fn new(
        directory: Directory,
        keys: Arc<WebhookKeys>,
        platform: Platform,
        jwks_url: String,
    ) -> Self {
        Self { directory, keys, platform, jwks_url }
    }

    async fn seal(&self, recipient: &str, event: &StoredEvent) -> Result<Written, Fault> {
        let Some(message) = message::of(event, recipient) else { return Ok(Written::Nothing) };
        // Asked for each attempt: a key that the partner has replaced is not encrypted to any more.
        let to = self.directory.snapshot().and_then(|snapshot| snapshot.encryption_key(recipient));
        let Some(to) = to else {
            return Ok(Written::NotNow("the client has no RSA key to encrypt to, or is not active"));
        };
        let key = self.keys.made().await?.active();
        let signed = jws::sign_with(&key, &[("jku", self.jwks_url.as_str())], message.to_string().as_bytes());
        let signed = signed.map_err(while_doing("sign a webhook"))?;
        let text = to.encrypt("JWT", signed.as_bytes(), self.platform.random());
        let text = text.map_err(while_doing("encrypt a webhook"))?;
        Ok(Written::Body { content_type: JOSE, text })
    }
}

impl Envelope for PtiEnvelope {
    fn write<'a>(
        &'a self,
        format: &'a str,
        recipient: &'a str,
        event: &'a StoredEvent,
    ) -> BoxFuture<'a, Result<Written, Fault>> {
        Box::pin(async move {
            if format != PTI {
                return Ok(Written::NotNow("this version does not write the endpoint's format"));
            }
            self.seal(recipient, event).await
        })
    }
}
