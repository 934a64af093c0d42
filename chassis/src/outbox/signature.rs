//! Webhook signatures (Standard Webhooks 1.0, "Signature scheme"): `v1a`, that is ed25519 over `id.timestamp.body`.
//! A receiver needs no shared secret: the public key is in the endpoint's answer.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use keys::seal::{Aad, MasterKeys};
use keys::{SigningKey, UnixSeconds};

use crate::Fault;
use crate::sealed::WEBHOOK_SEED;

/// The key pair of one endpoint.
#[derive(Clone)]
pub struct EndpointSecret(SigningKey);

impl std::fmt::Debug for EndpointSecret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("EndpointSecret(..)")
    }
}

impl EndpointSecret {
    /// The key pair of a seed of 32 random bytes (RFC 8032 §5.1.5).
    pub fn from_seed(seed: [u8; 32]) -> Result<Self, Fault> {
        SigningKey::ed25519_from_seed(seed).map(Self).map_err(|_| Fault::new("read a webhook signing seed"))
    }

    /// The public key as receivers' libraries take it: `whpk_` and the 32 bytes in base64.
    pub fn public_key(&self) -> Result<String, Fault> {
        let jwk = self.0.public_jwk().to_value();
        let point = jwk.get("x").and_then(serde_json::Value::as_str).and_then(|x| keys::b64::decode(x).ok());
        let point = point.ok_or_else(|| Fault::new("read the public half of a webhook key"))?;
        Ok(format!("whpk_{}", STANDARD.encode(point)))
    }

    /// `v1a,` and the signature of one message in base64.
    fn sign(&self, message: &[u8]) -> Result<String, Fault> {
        let signature = self.0.sign(message).map_err(|_| Fault::new("sign a webhook"))?;
        Ok(format!("v1a,{}", STANDARD.encode(signature)))
    }
}

/// The value of `webhook-signature`: one signature per live key, separated by spaces, so that a receiver may hold the
/// old public key or the new one while a rotation lasts.
pub fn signatures(
    secrets: &[EndpointSecret],
    webhook_id: &str,
    sent_at: UnixSeconds,
    body: &str,
) -> Result<String, Fault> {
    let message = format!("{webhook_id}.{}.{body}", sent_at.0);
    let signed: Result<Vec<String>, Fault> =
        secrets.iter().map(|secret| secret.sign(message.as_bytes())).collect();
    Ok(signed?.join(" "))
}

/// Whose seed is sealed: it opens under no other partner and no other endpoint.
fn place<'a>(partner_id: &'a str, endpoint_id: &'a str) -> Aad<'a> {
    WEBHOOK_SEED.place(partner_id, endpoint_id, "")
}

/// Seals a seed for the endpoint's row.
pub(super) fn seal_seed(
    master: &MasterKeys,
    nonce: [u8; 12],
    (partner_id, endpoint_id): (&str, &str),
    seed: &[u8; 32],
) -> Result<String, Fault> {
    master
        .seal(nonce, &place(partner_id, endpoint_id), seed)
        .map_err(|_| Fault::new("seal a webhook signing seed"))
}

/// Opens what [`seal_seed`] made.
pub(super) fn open_seed(
    master: &MasterKeys,
    (partner_id, endpoint_id): (&str, &str),
    sealed: &str,
) -> Result<EndpointSecret, Fault> {
    let seed = master
        .open(&place(partner_id, endpoint_id), sealed)
        .map_err(|_| Fault::new("open a webhook signing seed"))?;
    let seed = <[u8; 32]>::try_from(&seed[..]).map_err(|_| Fault::new("read a webhook signing seed"))?;
    EndpointSecret::from_seed(seed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verifies(public_key: &str, message: &str, signature: &str) -> bool {
        let point = STANDARD.decode(public_key.strip_prefix("whpk_").unwrap()).unwrap();
        let jwk = serde_json::json!({"kty": "OKP", "crv": "Ed25519", "x": keys::b64::encode(&point)});
        let key = keys::PublicJwk::try_from(&jwk).unwrap().verifying_key();
        let signature = STANDARD.decode(signature.strip_prefix("v1a,").unwrap()).unwrap();
        key.verify(keys::Algorithm::EdDsa, message.as_bytes(), &signature).is_ok()
    }

    #[test]
    fn a_signature_covers_id_timestamp_and_body() {
        let secret = EndpointSecret::from_seed([7; 32]).unwrap();
        let signed =
            signatures(std::slice::from_ref(&secret), "evt_1", UnixSeconds(1_700_000_000), "{}").unwrap();
        let public = secret.public_key().unwrap();
        assert!(verifies(&public, "evt_1.1700000000.{}", &signed));
        for changed in ["evt_2.1700000000.{}", "evt_1.1700000001.{}", "evt_1.1700000000.{ }"] {
            assert!(!verifies(&public, changed, &signed));
        }
    }

    #[test]
    fn the_key_pair_is_that_of_rfc_8032_test_1() {
        let seed = keys::b64::decode("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap();
        let secret = EndpointSecret::from_seed(<[u8; 32]>::try_from(&seed[..]).unwrap()).unwrap();
        assert_eq!(secret.public_key().unwrap(), "whpk_11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=");
    }

    #[test]
    fn while_a_rotation_lasts_both_keys_sign() {
        let pair = [[1; 32], [2; 32]].map(|seed| EndpointSecret::from_seed(seed).unwrap());
        let signed = signatures(&pair, "evt_1", UnixSeconds(5), "x").unwrap();
        let parts: Vec<&str> = signed.split(' ').collect();
        assert_eq!(parts.len(), 2);
        for (secret, part) in pair.iter().zip(parts) {
            assert!(verifies(&secret.public_key().unwrap(), "evt_1.5.x", part));
        }
    }

    #[test]
    fn debug_shows_no_key() {
        assert_eq!(format!("{:?}", EndpointSecret::from_seed([1; 32]).unwrap()), "EndpointSecret(..)");
    }
}
