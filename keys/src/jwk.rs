//! Public keys as JSON Web Keys (RFC 7517, RFC 7518 §6, RFC 8037), and their thumbprints (RFC 7638).
//!
//! A [`PublicJwk`] exists only for a key that is safe to verify with: the point is on the curve and not of low
//! order, the modulus has 2048 to 4096 bits, the exponent is 65537 or more, and nothing private came along.

use std::str::FromStr;

use serde_json::{Map, Value, json};

use crate::{Algorithm, VerifyingKey, b64, digest, strict_json};

/// Longest `kid` that is accepted, in bytes.
pub const KID_BYTES_MAX: usize = 256;

/// A public key with its optional `kid` and `alg`.
#[derive(Debug, Clone)]
pub struct PublicJwk {
    material: Material,
    kid: Option<String>,
    alg: Option<Algorithm>,
    key: VerifyingKey,
}

/// The numbers of a public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Material {
    P256 { x: [u8; 32], y: [u8; 32] },
    Ed25519 { x: [u8; 32] },
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

/// Why a JWK is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadJwk {
    /// Not an object, a member of the wrong type, or not base64url.
    #[error("malformed JWK: {0}")]
    Malformed(&'static str),
    /// The key's private part was sent. It must be considered disclosed.
    #[error("a private member was sent")]
    Private,
    /// A key type, curve, use or algorithm that is not supported.
    #[error("unsupported JWK: {0}")]
    Unsupported(&'static str),
    /// The numbers are no safe key.
    #[error("weak or invalid key: {0}")]
    Weak(&'static str),
}

const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

impl TryFrom<&Value> for PublicJwk {
    type Error = BadJwk;

    fn try_from(value: &Value) -> Result<Self, BadJwk> {
        let members = value.as_object().ok_or(BadJwk::Malformed("not an object"))?;
        if PRIVATE_MEMBERS.iter().any(|name| members.contains_key(*name)) {
            return Err(BadJwk::Private);
        }
        Self::from_public_members(members)
    }
}

impl FromStr for PublicJwk {
    type Err = BadJwk;

    fn from_str(text: &str) -> Result<Self, BadJwk> {
        let value = strict_json::parse(text.as_bytes()).map_err(|_| BadJwk::Malformed("not strict JSON"))?;
        Self::try_from(&value)
    }
}

impl PublicJwk {
    /// Reads the public members only; the caller has decided about private ones.
    pub(crate) fn from_public_members(members: &Map<String, Value>) -> Result<Self, BadJwk> {
        let material = match text(members, "kty")? {
            "EC" if text(members, "crv")? == "P-256" => {
                Material::P256 { x: fixed(members, "x")?, y: fixed(members, "y")? }
            }
            "OKP" if text(members, "crv")? == "Ed25519" => Material::Ed25519 { x: fixed(members, "x")? },
            "RSA" => Material::Rsa { n: number(members, "n")?, e: number(members, "e")? },
            _ => return Err(BadJwk::Unsupported("kty or crv")),
        };
        let kid = optional_text(members, "kid")?.map(checked_kid).transpose()?;
        let alg = optional_text(members, "alg")?.map(str::parse).transpose();
        let alg = alg.map_err(|_| BadJwk::Unsupported("alg"))?;
        if optional_text(members, "use")?.is_some_and(|purpose| purpose != "sig") {
            return Err(BadJwk::Unsupported("use"));
        }
        Self::new(material, kid, alg)
    }

    /// Checks the numbers and parses the key.
    pub(crate) fn new(
        material: Material,
        kid: Option<String>,
        alg: Option<Algorithm>,
    ) -> Result<Self, BadJwk> {
        if alg.is_some_and(|alg| !material.takes(alg)) {
            return Err(BadJwk::Unsupported("alg does not fit kty"));
        }
        let key = match &material {
            Material::P256 { x, y } => {
                VerifyingKey::p256(x, y).ok_or(BadJwk::Weak("not a point on P-256"))?
            }
            Material::Ed25519 { x } => {
                if !is_ed25519_key(x) {
                    return Err(BadJwk::Weak("low-order or non-canonical Ed25519 point"));
                }
                // A coordinate of no point is not told apart here; as a key it verifies nothing.
                VerifyingKey::ed25519(x).ok_or(BadJwk::Weak("not an Ed25519 key"))?
            }
            Material::Rsa { n, e } => {
                check_rsa(n, e)?;
                VerifyingKey::rsa(n, e, alg).ok_or(BadJwk::Weak("not an RSA key"))?
            }
        };
        Ok(Self { material, kid, alg, key })
    }

    /// The key id its owner gave it, if any.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The one algorithm the key is for, if it says so.
    pub fn alg(&self) -> Option<Algorithm> {
        self.alg
    }

    /// The same key under another id.
    #[must_use]
    pub fn with_kid(mut self, kid: impl Into<String>) -> Self {
        self.kid = Some(kid.into());
        self
    }

    /// The parsed key, shared with this JWK.
    pub fn verifying_key(&self) -> VerifyingKey {
        self.key.clone()
    }

    /// SHA-256 thumbprint of the required members, base64url (RFC 7638 §3, RFC 8037 §2).
    pub fn thumbprint(&self) -> String {
        // Object members of `serde_json` may keep insertion order, so the lexicographic order is written out.
        let canonical = match &self.material {
            Material::P256 { x, y } => {
                format!(r#"{{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}}"#, b64::encode(x), b64::encode(y))
            }
            Material::Ed25519 { x } => format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{}"}}"#, b64::encode(x)),
            Material::Rsa { n, e } => {
                format!(r#"{{"e":"{}","kty":"RSA","n":"{}"}}"#, b64::encode(e), b64::encode(n))
            }
        };
        digest::sha256_b64(canonical)
    }

    /// The public members with `use: "sig"` and, where known, `alg` and `kid`: one entry of a JWK set.
    pub fn to_value(&self) -> Value {
        let mut value = match &self.material {
            Material::P256 { x, y } => {
                json!({"kty": "EC", "crv": "P-256", "x": b64::encode(x), "y": b64::encode(y)})
            }
            Material::Ed25519 { x } => json!({"kty": "OKP", "crv": "Ed25519", "x": b64::encode(x)}),
            Material::Rsa { n, e } => json!({"kty": "RSA", "n": b64::encode(n), "e": b64::encode(e)}),
        };
        value["use"] = "sig".into();
        if let Some(alg) = self.alg {
            value["alg"] = alg.as_str().into();
        }
        if let Some(kid) = &self.kid {
            value["kid"] = kid.as_str().into();
        }
        value
    }

    pub(crate) fn material(&self) -> &Material {
        &self.material
    }
}

/// Same numbers, `kid` and `alg`.
impl PartialEq for PublicJwk {
    fn eq(&self, other: &Self) -> bool {
        (&self.material, &self.kid, self.alg) == (&other.material, &other.kid, other.alg)
    }
}

impl Eq for PublicJwk {}

impl Material {
    pub(crate) fn takes(&self, alg: Algorithm) -> bool {
        match self {
            Self::P256 { .. } => alg == Algorithm::Es256,
            Self::Ed25519 { .. } => alg == Algorithm::EdDsa,
            Self::Rsa { .. } => alg.is_rsa(),
        }
    }
}

pub(crate) fn optional_text<'v>(
    members: &'v Map<String, Value>,
    name: &'static str,
) -> Result<Option<&'v str>, BadJwk> {
    match members.get(name) {
        None => Ok(None),
        Some(value) => value.as_str().map(Some).ok_or(BadJwk::Malformed(name)),
    }
}

pub(crate) fn text<'v>(members: &'v Map<String, Value>, name: &'static str) -> Result<&'v str, BadJwk> {
    optional_text(members, name)?.ok_or(BadJwk::Malformed(name))
}

/// A coordinate or seed: exactly 32 bytes (RFC 7518 §6.2.1.2).
pub(crate) fn fixed(members: &Map<String, Value>, name: &'static str) -> Result<[u8; 32], BadJwk> {
    let bytes = b64::decode(text(members, name)?).map_err(|_| BadJwk::Malformed(name))?;
    bytes.try_into().map_err(|_| BadJwk::Malformed(name))
}

/// A big-endian number without leading zeros (RFC 7518 §2, `Base64urlUInt`).
pub(crate) fn number(members: &Map<String, Value>, name: &'static str) -> Result<Vec<u8>, BadJwk> {
    let bytes = b64::decode(text(members, name)?).map_err(|_| BadJwk::Malformed(name))?;
    if bytes.first().is_none_or(|first| *first == 0) {
        return Err(BadJwk::Malformed(name));
    }
    Ok(bytes)
}

fn checked_kid(kid: &str) -> Result<String, BadJwk> {
    if kid.is_empty() || kid.len() > KID_BYTES_MAX || kid.chars().any(char::is_control) {
        return Err(BadJwk::Malformed("kid"));
    }
    Ok(kid.to_owned())
}

/// 2048 to 4096 bits; an odd exponent from 65537 to 2^32. Stricter than RFC 7518 §6.3, which names no exponent.
fn check_rsa(n: &[u8], e: &[u8]) -> Result<(), BadJwk> {
    let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
    if !(2048..=4096).contains(&bits) {
        return Err(BadJwk::Weak("RSA modulus size"));
    }
    if n.last().is_none_or(|byte| byte % 2 == 0) {
        return Err(BadJwk::Weak("even RSA modulus"));
    }
    let exponent = e.iter().fold(0_u64, |sum, byte| sum.saturating_mul(256).saturating_add(u64::from(*byte)));
    if !(65_537..=u64::from(u32::MAX)).contains(&exponent) || exponent % 2 == 0 {
        return Err(BadJwk::Weak("RSA exponent"));
    }
    Ok(())
}

/// Refuses the points whose order divides 8, with which one signature fits many messages, and every encoding
/// of a coordinate not below the field's prime (RFC 8032 §5.1.3; the list is the one libsodium refuses).
fn is_ed25519_key(x: &[u8; 32]) -> bool {
    const ORDER_8: [[u8; 32]; 2] = [
        [
            0x26, 0xE8, 0x95, 0x8F, 0xC2, 0xB2, 0x27, 0xB0, 0x45, 0xC3, 0xF4, 0x89, 0xF2, 0xEF, 0x98, 0xF0,
            0xD5, 0xDF, 0xAC, 0x05, 0xD3, 0xC6, 0x33, 0x39, 0xB1, 0x38, 0x02, 0x88, 0x6D, 0x53, 0xFC, 0x05,
        ],
        [
            0xC7, 0x17, 0x6A, 0x70, 0x3D, 0x4D, 0xD8, 0x4F, 0xBA, 0x3C, 0x0B, 0x76, 0x0D, 0x10, 0x67, 0x0F,
            0x2A, 0x20, 0x53, 0xFA, 0x2C, 0x39, 0xCC, 0xC6, 0x4E, 0xC7, 0xFD, 0x77, 0x92, 0xAC, 0x03, 0x7A,
        ],
    ];
    let mut y = *x;
    y[31] &= 0x7F; // the sign of the other coordinate
    let high_bytes_are = |byte: u8| y[1..31].iter().all(|held| *held == byte);
    let zero_or_one = y[0] <= 1 && high_bytes_are(0) && y[31] == 0;
    // p = 2^255 - 19 is ED FF .. FF 7F; p - 1 has order 2, and from p on the encoding is not canonical.
    let from_p_minus_one = y[0] >= 0xEC && high_bytes_are(0xFF) && y[31] == 0x7F;
    !zero_or_one && !from_p_minus_one && !ORDER_8.contains(&y)
}

#[cfg(test)]
mod tests;
