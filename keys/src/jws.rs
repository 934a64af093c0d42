//! JSON Web Signature, compact form only (RFC 7515 §3.1), with a strict header.
//!
//! A verifier decides nothing from the header but which key to look up: the algorithm must be one the key is
//! for. Headers that point elsewhere for a key, change the payload's encoding, announce encryption or a nested
//! token are refused, and so is every second way to write the same token.

use serde::Serialize;
use serde_json::{Map, Value};

use crate::{Algorithm, KeyFault, PublicJwk, SigningKey, VerifyingKey, b64, strict_json};

/// Longest compact token that is looked at, bytes.
pub const TOKEN_BYTES_MAX: usize = 8 * 1024;

/// Longest `kid`, `typ` or `cid` in a header, bytes.
const HEADER_TEXT_BYTES_MAX: usize = 256;

/// Header members that would make a verifier fetch, unpack or trust something the sender chose.
/// `jwk` is refused too, except in a proof of possession.
const REFUSED_MEMBERS: [&str; 11] =
    ["crit", "b64", "jku", "x5u", "x5c", "zip", "enc", "cty", "epk", "apu", "p2c"];

/// Why a token is no acceptable JWS.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadJws {
    /// Longer than [`TOKEN_BYTES_MAX`].
    #[error("the token is too long")]
    TooLong,
    /// Not three parts. Five would be encryption, which is not supported.
    #[error("not a compact JWS")]
    NotCompact,
    /// A part is not canonical base64url.
    #[error("a part is not canonical base64url")]
    Encoding,
    /// The header is not strict JSON, or has a member that is refused or of the wrong type.
    #[error("header: {0}")]
    Header(&'static str),
    /// `alg` is missing or none of [`Algorithm`].
    #[error("unsupported algorithm")]
    Algorithm,
    /// The signature does not verify with this key and algorithm.
    #[error("the signature does not verify")]
    Signature,
}

/// Why a token could not be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignFault {
    /// The claims do not serialize.
    #[error("claims do not serialize")]
    Claims(#[from] serde_json::Error),
    /// The key failed.
    #[error(transparent)]
    Key(#[from] KeyFault),
}

/// Signs claims with the header `{alg, kid, typ}`.
///
/// # Errors
/// [`SignFault`]; with claims that serialize to an object, the library's failure only.
pub fn sign(key: &SigningKey, typ: &str, claims: &impl Serialize) -> Result<String, SignFault> {
    sign_with(key, &[("typ", typ)], &serde_json::to_vec(claims)?)
}

/// Signs any payload with the header `{alg, kid}` and these members besides.
///
/// # Errors
/// As for [`sign`].
pub fn sign_with(
    key: &SigningKey,
    extra_header: &[(&str, &str)],
    payload: &[u8],
) -> Result<String, SignFault> {
    let mut header = Map::new();
    header.insert("alg".into(), key.alg().as_str().into());
    header.insert("kid".into(), key.kid().into());
    for (name, value) in extra_header {
        header.insert((*name).into(), (*value).into());
    }
    let mut token = b64::encode(serde_json::to_vec(&header)?);
    token.push('.');
    token.push_str(&b64::encode(payload));
    let signature = key.sign(token.as_bytes())?;
    token.push('.');
    token.push_str(&b64::encode(signature));
    Ok(token)
}

/// The header of a token, not yet verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The algorithm, one of those in use.
    pub alg: Algorithm,
    /// The key id.
    pub kid: Option<String>,
    /// The media type of the token, exactly as sent.
    pub typ: Option<String>,
    /// A client id, in one vendor's request signatures.
    pub cid: Option<String>,
}

/// A token that was taken apart but not verified. Its payload comes out of [`Compact::verify`].
#[derive(Debug)]
pub struct Compact<'t> {
    header: Header,
    signing_input: &'t str,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'t> Compact<'t> {
    /// Takes a compact JWS apart.
    ///
    /// # Errors
    /// [`BadJws`] for everything that can be refused without a key.
    pub fn parse(token: &'t str) -> Result<Self, BadJws> {
        let (compact, jwk) = Self::take_apart(token)?;
        // A key that the sender chose proves nothing.
        if jwk.is_some() { Err(BadJws::Header("jwk")) } else { Ok(compact) }
    }

    /// Takes a compact JWS apart whose header carries its own public key, as a DPoP proof does (RFC 9449 §4.2).
    /// Verified with that key, it proves possession of the key and nothing else.
    pub(crate) fn parse_with_key(token: &'t str) -> Result<(Self, PublicJwk), BadJws> {
        let (compact, jwk) = Self::take_apart(token)?;
        let jwk = PublicJwk::try_from(&jwk.ok_or(BadJws::Header("jwk"))?);
        Ok((compact, jwk.map_err(|_| BadJws::Header("jwk"))?))
    }

    fn take_apart(token: &'t str) -> Result<(Self, Option<Value>), BadJws> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(BadJws::TooLong);
        }
        let (signing_input, signature) = token.rsplit_once('.').ok_or(BadJws::NotCompact)?;
        let (header, payload) = signing_input.split_once('.').ok_or(BadJws::NotCompact)?;
        if payload.contains('.') {
            return Err(BadJws::NotCompact);
        }
        let decode = |part: &str| b64::decode(part).map_err(|_| BadJws::Encoding);
        let (header, jwk) = parse_header(&decode(header)?)?;
        let compact =
            Self { header, signing_input, payload: decode(payload)?, signature: decode(signature)? };
        Ok((compact, jwk))
    }

    /// The header, to choose the key by.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What was signed: header and payload as sent.
    pub fn signing_input(&self) -> &str {
        self.signing_input
    }

    /// The payload before any check: only to find out whose key to verify with.
    pub fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }

    /// Verifies the signature and gives the payload.
    ///
    /// # Errors
    /// [`BadJws::Signature`], also when the key is not for the header's algorithm.
    pub fn verify(&self, key: &VerifyingKey) -> Result<&[u8], BadJws> {
        key.verify(self.header.alg, self.signing_input.as_bytes(), &self.signature)
            .map_err(|_| BadJws::Signature)?;
        Ok(&self.payload)
    }
}

/// The header and, apart from it, a key that stands in it.
fn parse_header(bytes: &[u8]) -> Result<(Header, Option<Value>), BadJws> {
    let mut header = strict_json::parse(bytes).map_err(|bad| BadJws::Header(bad.reason))?;
    let members = header.as_object_mut().ok_or(BadJws::Header("not an object"))?;
    let jwk = members.remove("jwk");
    if let Some(name) = REFUSED_MEMBERS.iter().find(|name| members.contains_key(**name)) {
        return Err(BadJws::Header(name));
    }
    let alg = members.get("alg").and_then(Value::as_str).ok_or(BadJws::Algorithm)?;
    let alg = alg.parse().map_err(|_| BadJws::Algorithm)?;
    let header =
        Header { alg, kid: text(members, "kid")?, typ: text(members, "typ")?, cid: text(members, "cid")? };
    Ok((header, jwk))
}

fn text(members: &Map<String, Value>, name: &'static str) -> Result<Option<String>, BadJws> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() && text.len() <= HEADER_TEXT_BYTES_MAX => {
            Ok(Some(text.clone()))
        }
        Some(_) => Err(BadJws::Header(name)),
    }
}

#[cfg(test)]
mod tests;
