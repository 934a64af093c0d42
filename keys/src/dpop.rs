//! Demonstrating proof of possession (RFC 9449): proofs as a client makes them, their strict verification, and the
//! server's nonces.
//!
//! A proof says "the holder of this key sends this request now". [`verify`] judges everything that can be judged
//! without memory. That its `jti` counts once ([`Verified::replay_value`]) and that its nonce is ours
//! ([`Nonces::accepts`]) is for the caller, who has the memory and the master key.

mod nonce;
mod target;

use serde_json::{Map, Value};

pub use nonce::{NONCE_WINDOW_S, Nonces};
pub use target::same_target;

use crate::claims::{BadClaim, Claims};
use crate::jws::{BadJws, Compact, SignFault};
use crate::{Algorithm, SigningKey, UnixSeconds, b64, digest};

/// The `typ` of a proof (RFC 9449 §4.2).
pub const TYP: &str = "dpop+jwt";

/// How old `iat` may be, seconds.
pub const AGE_S_MAX: i64 = 60;

/// How far ahead of our clock `iat` may be, seconds.
pub const AHEAD_S_MAX: i64 = 10;

/// Longest `jti`, bytes. An identifier, not a place to store things.
pub const JTI_BYTES_MAX: usize = 256;

/// What a proof may be signed with, in the order of metadata and challenges. Asymmetric all of them.
pub const ALGORITHMS: [Algorithm; 4] =
    [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Ps256, Algorithm::Rs256];

/// [`ALGORITHMS`] as the `algs` of a challenge (RFC 9449 §7.1).
pub fn algorithm_names() -> String {
    ALGORITHMS.map(Algorithm::as_str).join(" ")
}

/// A proof to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewProof<'a> {
    /// `htm`: the method of the request.
    pub method: &'a str,
    /// `htu`: the target URI; query and fragment are left out.
    pub uri: &'a str,
    /// `jti`: never used before with this key; 96 random bits or more.
    pub jti: &'a str,
    /// `iat`.
    pub iat: UnixSeconds,
    /// The access token that goes with the request, whose hash becomes `ath`.
    pub access_token: Option<&'a str>,
    /// The server's last nonce.
    pub nonce: Option<&'a str>,
}

impl NewProof<'_> {
    /// Signs the proof.
    ///
    /// # Errors
    /// [`SignFault`] when the library fails.
    pub fn sign(&self, key: &SigningKey) -> Result<String, SignFault> {
        let mut jwk = key.public_jwk().to_value();
        if let Some(members) = jwk.as_object_mut() {
            members.retain(|name, _| ["kty", "crv", "x", "y", "n", "e"].contains(&name.as_str()));
        }
        let mut header = Map::new();
        header.insert("typ".into(), TYP.into());
        header.insert("alg".into(), key.alg().as_str().into());
        header.insert("jwk".into(), jwk);
        let end = self.uri.find(['?', '#']).unwrap_or(self.uri.len());
        let mut claims = Map::new();
        claims.insert("jti".into(), self.jti.into());
        claims.insert("htm".into(), self.method.into());
        claims.insert("htu".into(), self.uri[..end].into());
        claims.insert("iat".into(), self.iat.0.into());
        if let Some(token) = self.access_token {
            claims.insert("ath".into(), digest::sha256_b64(token).into());
        }
        if let Some(nonce) = self.nonce {
            claims.insert("nonce".into(), nonce.into());
        }
        let part = |members: &Map<String, Value>| serde_json::to_vec(members).map(b64::encode);
        let signing_input = format!("{}.{}", part(&header)?, part(&claims)?);
        let signature = key.sign(signing_input.as_bytes())?;
        Ok(format!("{signing_input}.{}", b64::encode(signature)))
    }
}

/// The request that a proof must be about.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its method, as sent.
    pub method: &'a str,
    /// Its target URI by configuration and path; a query does not matter.
    pub uri: &'a str,
    /// The access token it carries. `None` at the token endpoint, where there is none yet.
    pub access_token: Option<&'a str>,
}

/// A proof that holds, but whose `jti` and nonce have not been judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The thumbprint of the key (RFC 7638), as in `cnf.jkt` and `dpop_jkt`.
    pub jkt: String,
    /// The proof's identifier.
    pub jti: String,
    /// When it was made.
    pub iat: UnixSeconds,
    /// The server nonce it carries.
    pub nonce: Option<String>,
}

impl Verified {
    /// What must not be seen twice for this key, in this process or any other.
    pub fn replay_value(&self) -> &str {
        &self.jti
    }

    /// Until when it must be remembered: from then on `iat` refuses it.
    pub fn remember_until(&self) -> UnixSeconds {
        self.iat.plus(AGE_S_MAX + 1)
    }
}

/// Why a proof is refused. The client is told `invalid_dpop_proof` and the text, which says nothing about any secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProofRefusal {
    /// Not a JWS we read, or its key is none we take: private, weak, malformed.
    #[error("the proof is malformed: {0}")]
    Malformed(&'static str),
    /// `typ` is not `dpop+jwt`.
    #[error("typ is not dpop+jwt")]
    WrongType,
    /// `alg` is none of [`ALGORITHMS`].
    #[error("alg is not supported")]
    Algorithm,
    /// The signature is not by the key in the header.
    #[error("the signature does not verify with the key in the header")]
    Signature,
    /// A claim is missing, of the wrong type or too long.
    #[error("claim {0} is missing or malformed")]
    BadClaim(&'static str),
    /// `htm` is another method.
    #[error("htm is another method")]
    Method,
    /// `htu` is another URI.
    #[error("htu is another URI")]
    Target,
    /// `iat` is too long ago.
    #[error("iat is too old")]
    TooOld,
    /// `iat` lies ahead.
    #[error("iat lies in the future")]
    Future,
    /// `ath` is missing or belongs to another token.
    #[error("ath does not belong to the access token")]
    AccessToken,
}

impl From<BadClaim> for ProofRefusal {
    fn from(bad: BadClaim) -> Self {
        Self::BadClaim(bad.0)
    }
}

impl From<BadJws> for ProofRefusal {
    fn from(bad: BadJws) -> Self {
        match bad {
            BadJws::TooLong => Self::Malformed("too long"),
            BadJws::NotCompact => Self::Malformed("not a compact JWS"),
            BadJws::Encoding => Self::Malformed("encoding"),
            BadJws::Header(name) => Self::Malformed(name),
            BadJws::Algorithm => Self::Algorithm,
            BadJws::Signature => Self::Signature,
        }
    }
}

/// Verifies a proof against the request it came with (RFC 9449 §4.3, but for `jti` and nonce).
///
/// # Errors
/// [`ProofRefusal`].
pub fn verify(proof: &str, asked: &Asked<'_>, now: UnixSeconds) -> Result<Verified, ProofRefusal> {
    let (compact, jwk) = Compact::parse_with_key(proof)?;
    let header = compact.header();
    // Stricter than RFC 7515 §4.1.9: exactly this text, no other case and no `application/`.
    if header.typ.as_deref() != Some(TYP) {
        return Err(ProofRefusal::WrongType);
    }
    if !ALGORITHMS.contains(&header.alg) {
        return Err(ProofRefusal::Algorithm);
    }
    let claims = Claims::parse(compact.verify(&jwk.verifying_key())?)?;
    let jti = claims.str("jti")?;
    if jti.len() > JTI_BYTES_MAX {
        return Err(ProofRefusal::BadClaim("jti"));
    }
    if claims.str("htm")? != asked.method {
        return Err(ProofRefusal::Method);
    }
    if !same_target(claims.str("htu")?, asked.uri) {
        return Err(ProofRefusal::Target);
    }
    let iat = claims.time("iat")?;
    if now.since(iat) > AGE_S_MAX {
        return Err(ProofRefusal::TooOld);
    }
    if iat.since(now) > AHEAD_S_MAX {
        return Err(ProofRefusal::Future);
    }
    if let Some(token) = asked.access_token {
        let sent = claims.opt_str("ath")?.ok_or(ProofRefusal::AccessToken)?;
        if !digest::equal(sent.as_bytes(), digest::sha256_b64(token).as_bytes()) {
            return Err(ProofRefusal::AccessToken);
        }
    }
    let nonce = claims.opt_str("nonce")?.map(str::to_owned);
    Ok(Verified { jkt: jwk.thumbprint(), jti: jti.to_owned(), iat, nonce })
}

/// Whether `text` can be a JWK thumbprint (RFC 7638 with SHA-256): 32 bytes in canonical base64url.
pub fn is_thumbprint(text: &str) -> bool {
    b64::decode(text).is_ok_and(|bytes| bytes.len() == 32)
}

#[cfg(test)]
mod tests;
