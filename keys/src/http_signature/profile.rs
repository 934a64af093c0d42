//! The profile `countersign-request`: what a client that signs its requests must sign.
//!
//! Covered are `@method @authority @path @query`; with content also `content-digest content-type`; and
//! `authorization`, `dpop`, `idempotency-key` and `x-user-identifier` whenever they are present. The parameters
//! `created nonce keyid tag` are required. Whoever verifies also remembers the nonce: see [`Verified`].

use http::{HeaderMap, HeaderValue};

use super::digest::{CONTENT_DIGEST, check_content_digest, content_digest};
use super::message::field;
use super::{Message, SignatureInput, SignatureRefusal, SigningFault, Subject};
use crate::{Algorithm, SigningKey, UnixSeconds, VerifyingKey, b64};

/// How old a signature may be, seconds.
pub const AGE_MAX_S: i64 = 60;

/// How far ahead of our clock `created` may be, seconds.
pub const AHEAD_MAX_S: i64 = 10;

/// Longest `Signature-Input` or `Signature` field, bytes.
const FIELD_BYTES_MAX: usize = 4 * 1024;

/// Longest `nonce` or `keyid`, bytes.
const TEXT_BYTES_MAX: usize = 256;

const ALWAYS: [&str; 4] = ["@method", "@authority", "@path", "@query"];
const WITH_CONTENT: [&str; 2] = [CONTENT_DIGEST, "content-type"];
const IF_PRESENT: [&str; 4] = ["authorization", "dpop", "idempotency-key", "x-user-identifier"];

/// What must be covered in this message.
fn required(message: &Message<'_>) -> impl Iterator<Item = &'static str> {
    let with_content = !message.body.is_empty();
    let if_present = IF_PRESENT.into_iter().filter(|name| message.headers.contains_key(*name));
    ALWAYS.into_iter().chain(WITH_CONTENT.into_iter().filter(move |_| with_content)).chain(if_present)
}

/// Signs requests as the profile asks.
#[derive(Debug, Clone, Copy)]
pub struct Signer<'a> {
    /// The key; ES256, EdDSA, PS512 or RS256.
    pub key: &'a SigningKey,
    /// The id under which the verifier knows the key.
    pub keyid: &'a str,
    /// What the signature is for, such as [`super::TAG_REQUEST`].
    pub tag: &'a str,
    /// The moment of signing.
    pub created: UnixSeconds,
    /// A text that is used once.
    pub nonce: &'a str,
}

/// The header fields that a signature adds to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedHeaders {
    /// `Content-Digest`, when there is content. It takes the place of one the request may have.
    pub content_digest: Option<String>,
    /// `Signature-Input`.
    pub signature_input: String,
    /// `Signature`.
    pub signature: String,
}

impl Signer<'_> {
    /// Signs a request.
    ///
    /// # Errors
    /// [`SigningFault`]; a request with content needs a `Content-Type`.
    pub fn sign(&self, message: &Message<'_>) -> Result<SignedHeaders, SigningFault> {
        if wire_name(self.key.alg()).is_none() {
            return Err(SigningFault::Algorithm);
        }
        let mut headers: HeaderMap = message.headers.clone();
        let content_digest = (!message.body.is_empty()).then(|| content_digest(message.body));
        if let Some(value) = &content_digest {
            let value = HeaderValue::from_str(value).map_err(|_| SigningFault::Parameter)?;
            headers.insert(CONTENT_DIGEST, value);
        }
        let message = Message { headers: &headers, ..*message };
        let components: Vec<_> = required(&message).collect();
        let texts = [("nonce", self.nonce), ("keyid", self.keyid), ("tag", self.tag)];
        let input =
            SignatureInput::new(&components, self.created.0, &texts).ok_or(SigningFault::Parameter)?;
        let base = input.base(&Subject::Request(&message))?;
        let signature = self.key.sign(base.as_bytes())?;
        Ok(SignedHeaders {
            content_digest,
            signature_input: format!("sig1={}", input.serialize()),
            signature: format!("sig1=:{}:", b64::encode_standard(signature)),
        })
    }
}

/// A request whose signature verified. It is not accepted before its nonce proved to be new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The key that signed.
    pub keyid: String,
    /// The nonce: seen once per key, else the request is a replay.
    pub nonce: String,
    /// The moment of signing.
    pub created: UnixSeconds,
}

impl Verified {
    /// Until when the nonce must be remembered: from then on the signature is refused for its age.
    pub fn remember_until(&self) -> UnixSeconds {
        self.created.plus(AGE_MAX_S + 1)
    }
}

/// Verifies a request's signature as the profile asks.
///
/// `key_for` knows the signature keys of the client that the request claims to be from; the caller compares that
/// client with every other identity in the request.
///
/// # Errors
/// [`SignatureRefusal`]. Exactly one signature is expected: stricter than RFC 9421 §4.3, which allows more.
pub fn verify(
    message: &Message<'_>,
    expect_tag: &str,
    now: UnixSeconds,
    key_for: &dyn Fn(&str) -> Option<VerifyingKey>,
) -> Result<Verified, SignatureRefusal> {
    let (label, input) = SignatureInput::parse(&only_field(message.headers, "signature-input")?)
        .ok_or(SignatureRefusal::Malformed("signature-input"))?;
    let signature = read_signature(&only_field(message.headers, "signature")?, &label)?;
    let verified = read_parameters(&input, expect_tag, now)?;
    let covered: Vec<_> = input.plain_components().collect();
    if let Some(name) = required(message).find(|name| !covered.contains(name)) {
        return Err(SignatureRefusal::InsufficientCoverage(name));
    }
    // Checked whenever it is there, so that a digest without content cannot lie about it either.
    if !message.body.is_empty() || message.headers.contains_key(CONTENT_DIGEST) {
        check_content_digest(message.headers, message.body).map_err(|_| SignatureRefusal::Digest)?;
    }
    let key = key_for(&verified.keyid).ok_or(SignatureRefusal::UnknownKey)?;
    let algorithm = choose_algorithm(&key, &input)?;
    let base = input.base(&Subject::Request(message))?;
    key.verify(algorithm, base.as_bytes(), &signature).map_err(|_| SignatureRefusal::BadSignature)?;
    Ok(verified)
}

/// A field that must be there exactly once.
fn only_field(headers: &HeaderMap, name: &'static str) -> Result<String, SignatureRefusal> {
    match headers.get_all(name).iter().count() {
        0 => return Err(SignatureRefusal::Missing),
        1 => {}
        _ => return Err(SignatureRefusal::Malformed(name)),
    }
    field(headers, name).filter(|text| text.len() <= FIELD_BYTES_MAX).ok_or(SignatureRefusal::Malformed(name))
}

/// The one member, in its one serialization: `label=:base64:`. Stricter than RFC 9651 §4.2.7, which lets a parser
/// take base64 with stray bits at its end.
fn read_signature(text: &str, label: &str) -> Result<Vec<u8>, SignatureRefusal> {
    let member = text.strip_prefix(label).and_then(|rest| rest.strip_prefix("=:"));
    let base64 = member.and_then(|rest| rest.strip_suffix(':'));
    let signature = base64.and_then(|base64| b64::decode_standard(base64).ok());
    signature.ok_or(SignatureRefusal::Malformed("signature"))
}

fn read_parameters(
    input: &SignatureInput,
    expect_tag: &str,
    now: UnixSeconds,
) -> Result<Verified, SignatureRefusal> {
    if input.text("tag") != Some(expect_tag) {
        return Err(SignatureRefusal::WrongTag);
    }
    let text = |name: &'static str| {
        let text = input.text(name).filter(|text| !text.is_empty() && text.len() <= TEXT_BYTES_MAX);
        text.map(str::to_owned).ok_or(SignatureRefusal::Malformed(name))
    };
    let created = UnixSeconds(input.integer("created").ok_or(SignatureRefusal::Malformed("created"))?);
    let age_s = now.since(created);
    if !(-AHEAD_MAX_S..=AGE_MAX_S).contains(&age_s) {
        return Err(SignatureRefusal::NotFresh);
    }
    if input.has("expires") {
        let expires = input.integer("expires").ok_or(SignatureRefusal::Malformed("expires"))?;
        if now >= UnixSeconds(expires) {
            return Err(SignatureRefusal::NotFresh);
        }
    }
    Ok(Verified { keyid: text("keyid")?, nonce: text("nonce")?, created })
}

/// The algorithm the key stands for; `alg`, if sent, may only agree (RFC 9421 §7.3.6).
fn choose_algorithm(key: &VerifyingKey, input: &SignatureInput) -> Result<Algorithm, SignatureRefusal> {
    let wanted = match (input.has("alg"), input.text("alg")) {
        (true, None) => return Err(SignatureRefusal::WrongAlgorithm),
        (_, wanted) => wanted,
    };
    let mut fitting = key.algorithms().filter(|algorithm| {
        wire_name(*algorithm).is_some_and(|name| wanted.is_none_or(|wanted| wanted == name))
    });
    match (fitting.next(), fitting.next()) {
        (Some(algorithm), None) => Ok(algorithm),
        _ => Err(SignatureRefusal::WrongAlgorithm),
    }
}

/// The name in the registry of RFC 9421 §6.2.2.
pub(super) fn wire_name(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm {
        Algorithm::Es256 => Some("ecdsa-p256-sha256"),
        Algorithm::EdDsa => Some("ed25519"),
        Algorithm::Ps512 => Some("rsa-pss-sha512"),
        Algorithm::Rs256 => Some("rsa-v1_5-sha256"),
        Algorithm::Ps256 | Algorithm::Rs512 => None,
    }
}

#[cfg(test)]
mod tests;
