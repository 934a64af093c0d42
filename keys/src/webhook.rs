//! Symmetric webhook signatures (Standard Webhooks 1.0, "Signature scheme"): `v1`, that is HMAC-SHA-256 over
//! `id.timestamp.body` under a secret that sender and receiver share.

use std::fmt;

use aws_lc_rs::hmac;

use crate::b64;
use crate::time::UnixSeconds;

/// The prefix that marks such a secret.
const PREFIX: &str = "whsec_";

/// How far a signature's time may lie from the receiver's, seconds, either way.
pub const TOLERANCE_S: i64 = 300;

/// Signatures of one header that are looked at: one per live secret is normal.
const SIGNATURES_MAX: usize = 8;

/// A shared secret, ready to sign and to verify with.
#[derive(Clone)]
pub struct WebhookSecret(hmac::Key);

/// The text is no webhook secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not `whsec_` and the base64 of 24 to 64 bytes")]
pub struct BadSecret;

/// What is signed, and by which headers it came.
#[derive(Debug, Clone, Copy)]
pub struct Signed<'a> {
    /// `webhook-id`.
    pub id: &'a str,
    /// `webhook-timestamp`, as it was sent.
    pub timestamp: &'a str,
    /// The body, byte for byte.
    pub body: &'a [u8],
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("WebhookSecret(..)")
    }
}

impl WebhookSecret {
    /// Reads `whsec_…`.
    ///
    /// # Errors
    /// [`BadSecret`] for another prefix, another encoding, or fewer than 24 or more than 64 bytes.
    pub fn parse(text: &str) -> Result<Self, BadSecret> {
        let encoded = text.strip_prefix(PREFIX).ok_or(BadSecret)?;
        let bytes = b64::decode_standard(encoded).map_err(|_| BadSecret)?;
        if !(24..=64).contains(&bytes.len()) {
            return Err(BadSecret);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The text of a secret made of these random bytes.
    pub fn text(bytes: &[u8; 32]) -> String {
        format!("{PREFIX}{}", b64::encode_standard(bytes))
    }

    /// The value of `webhook-signature` for one message.
    pub fn sign(&self, message: &Signed<'_>) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts(message) {
            context.update(part);
        }
        format!("v1,{}", b64::encode_standard(context.sign()))
    }
}

fn parts<'a>(message: &Signed<'a>) -> [&'a [u8]; 5] {
    [message.id.as_bytes(), b".", message.timestamp.as_bytes(), b".", message.body]
}

/// Whether `signatures` (the header's value: several, separated by spaces) holds one under one of the secrets, and
/// the timestamp is at most [`TOLERANCE_S`] away from `now`. Each comparison takes the same time wherever they differ.
pub fn is_signed(
    secrets: &[WebhookSecret],
    message: &Signed<'_>,
    signatures: &str,
    now: UnixSeconds,
) -> bool {
    let plain = message.timestamp.bytes().all(|byte| byte.is_ascii_digit());
    let Some(sent_at) = message.timestamp.parse::<i64>().ok().filter(|_| plain) else { return false };
    if now.0.abs_diff(sent_at) > TOLERANCE_S.unsigned_abs() {
        return false;
    }
    let bytes = parts(message).concat();
    let tags = signatures.split(' ').take(SIGNATURES_MAX).filter_map(|one| one.strip_prefix("v1,"));
    let tags: Vec<Vec<u8>> = tags.filter_map(|tag| b64::decode_standard(tag).ok()).collect();
    secrets.iter().any(|secret| tags.iter().any(|tag| hmac::verify(&secret.0, &bytes, tag).is_ok()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_614_265_330);

    fn secret(byte: u8) -> WebhookSecret {
        WebhookSecret::parse(&WebhookSecret::text(&[byte; 32])).unwrap()
    }

    #[test]
    fn the_example_of_the_standard_verifies() {
        let secret = WebhookSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let message = Signed {
            id: "msg_p5jXN8AQM9LWM0D4loKWxJek",
            timestamp: "1614265330",
            body: br#"{"test": 2432232314}"#,
        };
        let signature = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(secret.sign(&message), signature);
        assert!(is_signed(&[secret], &message, signature, NOW));
    }

    #[test]
    fn a_signature_covers_id_time_and_body_and_lives_for_five_minutes() {
        let (secrets, message) = ([secret(1)], Signed { id: "a", timestamp: "1614265330", body: b"{}" });
        let signature = secrets[0].sign(&message);
        let holds =
            |message: Signed<'_>, at: i64| is_signed(&secrets, &message, &signature, UnixSeconds(NOW.0 + at));
        assert!(holds(message, 0) && holds(message, TOLERANCE_S) && holds(message, -TOLERANCE_S));
        assert!(!holds(message, TOLERANCE_S + 1) && !holds(message, -TOLERANCE_S - 1));
        for changed in [
            Signed { id: "b", ..message },
            Signed { timestamp: "1614265331", ..message },
            Signed { timestamp: "+1614265330", ..message },
            Signed { timestamp: "", ..message },
            Signed { body: b"{ }", ..message },
        ] {
            assert!(!holds(changed, 0), "{changed:?}");
        }
    }

    #[test]
    fn while_a_rotation_lasts_either_secret_counts() {
        let message = Signed { id: "a", timestamp: "1614265330", body: b"x" };
        let (new, old, other) = (secret(1), secret(2), secret(3));
        let both = [new.clone(), old.clone()];
        for one in [&new, &old] {
            assert!(is_signed(&both, &message, &one.sign(&message), NOW));
            let among = format!("v1a,AAAA v2,x {} {}", other.sign(&message), one.sign(&message));
            assert!(is_signed(&both, &message, &among, NOW));
        }
        assert!(!is_signed(&both, &message, &other.sign(&message), NOW));
        assert!(!is_signed(std::slice::from_ref(&new), &message, &old.sign(&message), NOW));
        assert!(!is_signed(&[], &message, &new.sign(&message), NOW));
    }

    #[test]
    fn only_a_secret_of_the_standard_is_taken_and_debug_hides_it() {
        for bad in ["", "whsec_", "whsec_AAAA", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_@@@@"] {
            assert_eq!(WebhookSecret::parse(bad).unwrap_err(), BadSecret, "{bad}");
        }
        assert_eq!(format!("{:?}", secret(9)), "WebhookSecret(..)");
    }
}
