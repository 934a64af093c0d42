//! The request signature `pti-jws`: one vendor's scheme, opt-in per client.
//!
//! A compact JWS in `x-pti-signature` whose payload is a text about the request. The verifier builds the text
//! from the request it has and compares it with the payload, so nothing in the payload is believed. The scheme
//! has no nonce: whoever verifies also remembers [`Verified::signature_hash`] for the date window.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::jws::{self, BadJws, SignFault};
use crate::{Algorithm, SigningKey, UnixSeconds, VerifyingKey, digest};

/// How far the date may lie from our clock, seconds, in either direction.
pub const DATE_WINDOW_S: i64 = 300;

/// The field that says who the client is.
pub const CLIENT_ID: &str = "x-pti-client-id";

/// The field that has the signature.
pub const SIGNATURE: &str = "x-pti-signature";

/// What of a request is signed.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The method, upper case.
    pub method: &'a str,
    /// The path as sent, still percent-encoded.
    pub path: &'a str,
    /// The query as sent, without its question mark.
    ///
    /// Stricter than the vendor's text, which leaves the query unsigned: a request with one signs `path?query`.
    pub query: Option<&'a str>,
    /// The content.
    pub body: &'a [u8],
    /// The `Content-Type` field, if any.
    pub content_type: Option<&'a str>,
    /// The `Date` field, if any. It must then be the signed one.
    pub date: Option<&'a str>,
    /// Every other `x-pti-*` field but the signature, by lower-case name, in any order.
    pub other_fields: &'a [(&'a str, &'a str)],
}

/// A request whose signature verified. It is not accepted before its hash proved to be new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Whose key signed.
    pub client_id: String,
    /// The key that signed.
    pub kid: String,
    /// SHA-256 of what was signed, base64url: seen once, else the request is a replay.
    pub signature_hash: String,
    /// The signed date.
    pub date: UnixSeconds,
}

impl Verified {
    /// Until when the hash must be remembered: from then on the signature is refused for its date.
    pub fn remember_until(&self) -> UnixSeconds {
        self.date.plus(DATE_WINDOW_S + 1)
    }
}

/// Why a signature is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PtiRefusal {
    /// Not a JWS we read, or an algorithm other than RS512 and `EdDSA`.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// `cid` is missing, or not the client the request names.
    #[error("wrong client")]
    WrongClient,
    /// The client has no key with this `kid`.
    #[error("unknown key")]
    UnknownKey,
    /// The signature does not verify.
    #[error("the signature does not verify")]
    BadSignature,
    /// What was signed is not this request.
    #[error("the signed text is another request's")]
    OtherRequest,
    /// The date is no IMF-fixdate, or too far from our clock.
    #[error("not fresh")]
    NotFresh,
}

/// The text that is signed: method, digest, content type, date, `x-pti-*` fields by name, and path, by line.
///
/// A GET or DELETE has an empty digest and an empty content-type line.
pub fn string_to_sign(parts: &Parts<'_>, client_id: &str, content_type: &str, date: &str) -> String {
    let (hash, content_type) = if has_content(parts.method) {
        (upper_hex(&digest::sha256(parts.body)), format!("content-type:{content_type}"))
    } else {
        (String::new(), String::new())
    };
    let mut fields = vec![format!("{CLIENT_ID}:{client_id}")];
    let signed = parts.other_fields.iter().filter(|(name, _)| ![CLIENT_ID, SIGNATURE].contains(name));
    fields.extend(signed.map(|(name, value)| format!("{name}:{value}")));
    fields.sort();
    let target = parts.query.map_or_else(|| parts.path.to_owned(), |query| format!("{}?{query}", parts.path));
    let date = format!("date:{date}");
    [parts.method, &hash, &content_type, &date, &fields.join("\n"), &target].join("\n")
}

/// Signs a request and gives the value of `x-pti-signature`. The date goes into the `Date` field too.
///
/// # Errors
/// [`SignFault`].
pub fn sign(
    key: &SigningKey,
    client_id: &str,
    parts: &Parts<'_>,
    date: UnixSeconds,
) -> Result<String, SignFault> {
    let text = string_to_sign(parts, client_id, parts.content_type.unwrap_or(JSON), &imf_fixdate(date));
    jws::sign_with(key, &[("cid", client_id)], text.as_bytes())
}

/// Verifies the value of `x-pti-signature`.
///
/// `client_id` is the request's `x-pti-client-id`; `key_for` knows that client's keys by `kid`.
///
/// # Errors
/// [`PtiRefusal`].
pub fn verify(
    signature: &str,
    client_id: &str,
    parts: &Parts<'_>,
    now: UnixSeconds,
    key_for: &dyn Fn(&str) -> Option<VerifyingKey>,
) -> Result<Verified, PtiRefusal> {
    let compact = jws::Compact::parse(signature).map_err(|_| PtiRefusal::Malformed("not a JWS"))?;
    let header = compact.header();
    if !matches!(header.alg, Algorithm::Rs512 | Algorithm::EdDsa) {
        return Err(PtiRefusal::Malformed("alg"));
    }
    if header.cid.as_deref() != Some(client_id) {
        return Err(PtiRefusal::WrongClient);
    }
    let kid = header.kid.as_deref().ok_or(PtiRefusal::UnknownKey)?;
    let key = key_for(kid).ok_or(PtiRefusal::UnknownKey)?;
    let payload = compact.verify(&key).map_err(|bad| match bad {
        BadJws::Signature => PtiRefusal::BadSignature,
        _ => PtiRefusal::Malformed("not a JWS"),
    })?;
    let payload = std::str::from_utf8(payload).map_err(|_| PtiRefusal::OtherRequest)?;
    let date = payload.split('\n').nth(3).and_then(|line| line.strip_prefix("date:"));
    let date =
        date.filter(|date| parts.date.is_none_or(|sent| sent == *date)).ok_or(PtiRefusal::OtherRequest)?;
    if !is_this_request(payload, parts, client_id, date) {
        return Err(PtiRefusal::OtherRequest);
    }
    let moment = parse_imf_fixdate(date).ok_or(PtiRefusal::NotFresh)?;
    if !(-DATE_WINDOW_S..=DATE_WINDOW_S).contains(&now.since(moment)) {
        return Err(PtiRefusal::NotFresh);
    }
    Ok(Verified {
        client_id: client_id.to_owned(),
        kid: kid.to_owned(),
        signature_hash: digest::sha256_b64(compact.signing_input()),
        date: moment,
    })
}

const JSON: &str = "application/json";

fn has_content(method: &str) -> bool {
    !matches!(method, "GET" | "DELETE" | "HEAD")
}

/// Compares with the text the request stands for. The vendor's libraries differ in whether the content type
/// keeps its parameters, so both are taken; content where the text has no place for it is not.
fn is_this_request(payload: &str, parts: &Parts<'_>, client_id: &str, date: &str) -> bool {
    if !has_content(parts.method) && !parts.body.is_empty() {
        return false;
    }
    let sent = parts.content_type.unwrap_or(JSON);
    let bare = sent.split(';').next().unwrap_or(sent).trim();
    [sent, bare].iter().any(|content_type| payload == string_to_sign(parts, client_id, content_type, date))
}

fn upper_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xF]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

/// An IMF-fixdate (RFC 9110 §5.6.7). Moments before 1970 and beyond the year 9999 read as the nearest one.
pub fn imf_fixdate(moment: UnixSeconds) -> String {
    const YEAR_10000: u64 = 253_402_300_800;
    let seconds = u64::try_from(moment.0).unwrap_or(0).min(YEAR_10000 - 1);
    httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds))
}

/// Reads an IMF-fixdate; the two obsolete forms are not taken.
fn parse_imf_fixdate(text: &str) -> Option<UnixSeconds> {
    let moment: SystemTime = httpdate::parse_http_date(text).ok()?;
    let seconds = moment.duration_since(UNIX_EPOCH).ok()?.as_secs();
    let moment = UnixSeconds(i64::try_from(seconds).ok()?);
    (imf_fixdate(moment) == text).then_some(moment)
}

#[cfg(test)]
mod tests;
