//! Held key pairs: parsed once, signed with often.
//!
//! Every private-key operation runs in aws-lc-rs. Secret bytes are wiped from what this module allocates, and
//! `Debug` shows the key id and the algorithm only.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::encoding::{AsBigEndian, AsDer, Curve25519SeedBin, EcPrivateKeyBin, Pkcs8V1Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RSA_PKCS1_SHA256,
    RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA512, RsaEncoding,
};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::jwk::{self, BadJwk, Material};
use crate::{Algorithm, PublicJwk, b64, der, digest};

/// A key pair with its algorithm and key id. Cheap to clone.
#[derive(Clone)]
pub struct SigningKey(Arc<Inner>);

struct Inner {
    pair: Pair,
    alg: Algorithm,
    kid: String,
    public: PublicJwk,
}

#[derive(Clone)]
enum Pair {
    Es256(Arc<EcdsaKeyPair>),
    Ed25519(Arc<Ed25519KeyPair>),
    Rsa(Arc<RsaKeyPair>),
}

/// Why a key pair could not be made or used. The text never contains key bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyFault {
    /// The public part is not acceptable.
    #[error(transparent)]
    Public(#[from] BadJwk),
    /// The private part is missing, malformed, or not that of the public part.
    #[error("malformed private key: {0}")]
    Private(&'static str),
    /// The algorithm does not fit the key's type, or the size is not offered.
    #[error("the key cannot be used so: {0}")]
    Unsupported(&'static str),
    /// The library refused. Nothing that a caller does differently would help.
    #[error("the cryptographic library failed")]
    Library,
}

impl SigningKey {
    /// An ES256 key pair, always the same one for the same 32 random bytes.
    pub fn es256_from_seed(seed: [u8; 32]) -> Result<Self, KeyFault> {
        let mut scalar = Zeroizing::new(seed);
        for _ in 0..4 {
            // One seed in 2^32 is no scalar of the group; then its hash takes its place.
            if let Some(pair) = p256_pair(&scalar) {
                return Self::from_pair(Pair::Es256(Arc::new(pair)), Algorithm::Es256, None);
            }
            *scalar = digest::sha256(*scalar);
        }
        Err(KeyFault::Library)
    }

    /// An Ed25519 key pair from its seed (RFC 8032 §5.1.5).
    pub fn ed25519_from_seed(seed: [u8; 32]) -> Result<Self, KeyFault> {
        let seed = Zeroizing::new(seed);
        let pair = Ed25519KeyPair::from_seed_unchecked(&*seed).map_err(|_| KeyFault::Library)?;
        Self::from_pair(Pair::Ed25519(Arc::new(pair)), Algorithm::EdDsa, None)
    }

    /// A new RSA key pair of 2048, 3072 or 4096 bits, for RS256 until [`Self::with_alg`] says otherwise.
    ///
    /// The one place where this crate does not take its random bytes as an argument: the prime search needs
    /// more than a seed, so aws-lc-rs draws them. It takes up to seconds; keep it off the request path.
    pub fn generate_rsa(bits: usize) -> Result<Self, KeyFault> {
        let size = match bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            _ => return Err(KeyFault::Unsupported("RSA key size")),
        };
        let pair = RsaKeyPair::generate(size).map_err(|_| KeyFault::Library)?;
        Self::from_pair(Pair::Rsa(Arc::new(pair)), Algorithm::Rs256, None)
    }

    /// Reads a private JWK (RFC 7517). An RSA key needs all its numbers (RFC 7518 §6.3.2); without an `alg`
    /// it signs RS256.
    ///
    /// # Errors
    /// [`KeyFault`], also when the public and the private part do not belong together.
    pub fn from_private_jwk(value: &Value) -> Result<Self, KeyFault> {
        let members = value.as_object().ok_or(BadJwk::Malformed("not an object"))?;
        let public = PublicJwk::from_public_members(members)?;
        let (pair, default_alg) = match public.material() {
            Material::P256 { x, y } => {
                let scalar = Zeroizing::new(jwk::fixed(members, "d")?);
                let point = [&[4][..], x, y].concat();
                let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
                let pair = EcdsaKeyPair::from_private_key_and_public_key(algorithm, &*scalar, &point);
                (Pair::Es256(Arc::new(pair.map_err(|_| KeyFault::Private("d"))?)), Algorithm::Es256)
            }
            Material::Ed25519 { x } => {
                let seed = Zeroizing::new(jwk::fixed(members, "d")?);
                let pair = Ed25519KeyPair::from_seed_and_public_key(&*seed, x);
                (Pair::Ed25519(Arc::new(pair.map_err(|_| KeyFault::Private("d"))?)), Algorithm::EdDsa)
            }
            Material::Rsa { .. } => (Pair::Rsa(Arc::new(rsa_pair(members)?)), Algorithm::Rs256),
        };
        Self::from_pair(pair, public.alg().unwrap_or(default_alg), public.kid().map(str::to_owned))
    }

    /// The private JWK, to be sealed or handed to the key's owner. It reads back as the same key.
    ///
    /// # Errors
    /// [`KeyFault::Library`] when the library does not give the numbers out.
    pub fn to_private_jwk(&self) -> Result<Value, KeyFault> {
        let mut value = self.0.public.to_value();
        match &self.0.pair {
            Pair::Es256(pair) => {
                let scalar: EcPrivateKeyBin<'_> =
                    pair.private_key().as_be_bytes().map_err(|_| KeyFault::Library)?;
                value["d"] = b64::encode(scalar.as_ref()).into();
            }
            Pair::Ed25519(pair) => {
                let seed = pair.seed().map_err(|_| KeyFault::Library)?;
                let seed: Curve25519SeedBin<'_> = seed.as_be_bytes().map_err(|_| KeyFault::Library)?;
                value["d"] = b64::encode(seed.as_ref()).into();
            }
            Pair::Rsa(pair) => {
                for (name, number) in RSA_PRIVATE.iter().zip(rsa_private_numbers(pair)?) {
                    value[*name] = b64::encode(&*number).into();
                }
            }
        }
        Ok(value)
    }

    /// The same RSA key pair for another of the RSA algorithms, under the same id.
    ///
    /// # Errors
    /// [`KeyFault::Unsupported`] when the algorithm does not fit the key's type.
    pub fn with_alg(&self, alg: Algorithm) -> Result<Self, KeyFault> {
        Self::from_pair(self.0.pair.clone(), alg, Some(self.0.kid.clone()))
    }

    /// The same key pair under another id.
    pub fn with_kid(&self, kid: impl Into<String>) -> Result<Self, KeyFault> {
        Self::from_pair(self.0.pair.clone(), self.0.alg, Some(kid.into()))
    }

    /// The key id: the one it was given, else the RFC 7638 thumbprint.
    pub fn kid(&self) -> &str {
        &self.0.kid
    }

    /// The one algorithm the key signs with.
    pub fn alg(&self) -> Algorithm {
        self.0.alg
    }

    /// The public part, with `kid` and `alg`.
    pub fn public_jwk(&self) -> &PublicJwk {
        &self.0.public
    }

    /// Signs; the signature is in its JWS form (RFC 7518 §3).
    ///
    /// # Errors
    /// [`KeyFault::Library`] only.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyFault> {
        let unused = SystemRandom::new(); // the signatures ask for one and ignore it
        match &self.0.pair {
            Pair::Es256(pair) => {
                let signature = pair.sign(&unused, message).map_err(|_| KeyFault::Library)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Ed25519(pair) => {
                let signature = pair.try_sign(message).map_err(|_| KeyFault::Library)?;
                Ok(signature.as_ref().to_vec())
            }
            Pair::Rsa(pair) => {
                let encoding = rsa_encoding(self.0.alg).ok_or(KeyFault::Library)?;
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &unused, message, &mut signature).map_err(|_| KeyFault::Library)?;
                Ok(signature)
            }
        }
    }

    /// The RSA key pair in PKCS #8 form, for the one other use that a key of ours has: opening messages.
    pub(crate) fn rsa_pkcs8(&self) -> Result<Zeroizing<Vec<u8>>, KeyFault> {
        let Pair::Rsa(pair) = &self.0.pair else {
            return Err(KeyFault::Unsupported("only RSA keys take messages"));
        };
        let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyFault::Library)?;
        Ok(Zeroizing::new(pkcs8.as_ref().to_vec()))
    }

    fn from_pair(pair: Pair, alg: Algorithm, kid: Option<String>) -> Result<Self, KeyFault> {
        let material = public_material(&pair)?;
        if !material.takes(alg) {
            return Err(KeyFault::Unsupported("alg does not fit the key"));
        }
        let public = PublicJwk::new(material, None, Some(alg))?;
        let kid = kid.unwrap_or_else(|| public.thumbprint());
        let public = public.with_kid(kid.as_str());
        Ok(Self(Arc::new(Inner { pair, alg, kid, public })))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("kid", &self.0.kid)
            .field("alg", &self.0.alg)
            .finish_non_exhaustive()
    }
}

/// The private numbers of an RSA JWK, in the order in which PKCS #1 has them (RFC 8017 §A.1.2).
const RSA_PRIVATE: [&str; 6] = ["d", "p", "q", "dp", "dq", "qi"];

fn rsa_encoding(alg: Algorithm) -> Option<&'static dyn RsaEncoding> {
    match alg {
        Algorithm::Ps256 => Some(&RSA_PSS_SHA256),
        Algorithm::Ps512 => Some(&RSA_PSS_SHA512),
        Algorithm::Rs256 => Some(&RSA_PKCS1_SHA256),
        Algorithm::Rs512 => Some(&RSA_PKCS1_SHA512),
        Algorithm::Es256 | Algorithm::EdDsa => None,
    }
}

/// A P-256 pair from its scalar, by way of RFC 5915, which lets the library compute the point.
fn p256_pair(scalar: &[u8; 32]) -> Option<EcdsaKeyPair> {
    const PRIME256V1: [u8; 12] = [0xA0, 0x0A, 0x06, 0x08, 0x2A, 0x86, 0x48, 0xCE, 0x3D, 0x03, 0x01, 0x07];
    let key = Zeroizing::new(der::value(der::OCTET_STRING, scalar));
    let content = Zeroizing::new([&der::integer(&[1]), &**key, &PRIME256V1[..]].concat());
    let private_key = Zeroizing::new(der::value(der::SEQUENCE, &content));
    EcdsaKeyPair::from_private_key_der(&ECDSA_P256_SHA256_FIXED_SIGNING, &private_key).ok()
}

/// An RSA pair from a JWK's numbers; the library checks that they belong together.
fn rsa_pair(members: &Map<String, Value>) -> Result<RsaKeyPair, KeyFault> {
    if members.contains_key("oth") {
        return Err(KeyFault::Unsupported("RSA key of more than two primes"));
    }
    let mut content = Zeroizing::new(der::integer(&[0]));
    for name in ["n", "e"].iter().chain(&RSA_PRIVATE) {
        let number = Zeroizing::new(jwk::number(members, name)?);
        content.extend_from_slice(&Zeroizing::new(der::integer(&number)));
    }
    let private_key = Zeroizing::new(der::value(der::SEQUENCE, &content));
    RsaKeyPair::from_der(&private_key).map_err(|_| KeyFault::Private("the numbers do not belong together"))
}

/// The private numbers, in the order of [`RSA_PRIVATE`].
fn rsa_private_numbers(pair: &RsaKeyPair) -> Result<Vec<Zeroizing<Vec<u8>>>, KeyFault> {
    let pkcs8: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyFault::Library)?;
    let read = || {
        let mut info = der::take(&mut pkcs8.as_ref(), der::SEQUENCE)?;
        der::take_integer(&mut info)?; // version
        der::take(&mut info, der::SEQUENCE)?; // algorithm
        let mut octets = der::take(&mut info, der::OCTET_STRING)?;
        let mut key = der::take(&mut octets, der::SEQUENCE)?;
        for _ in ["version", "n", "e"] {
            der::take_integer(&mut key)?;
        }
        let numbers = RSA_PRIVATE.iter().map(|_| Some(Zeroizing::new(der::take_integer(&mut key)?.to_vec())));
        numbers.collect::<Option<Vec<_>>>()
    };
    read().ok_or(KeyFault::Library)
}

fn public_material(pair: &Pair) -> Result<Material, KeyFault> {
    let read = || match pair {
        Pair::Es256(pair) => {
            let (x, y) = pair.public_key().as_ref().strip_prefix(&[4])?.split_at_checked(32)?;
            Some(Material::P256 { x: x.try_into().ok()?, y: y.try_into().ok()? })
        }
        Pair::Ed25519(pair) => Some(Material::Ed25519 { x: pair.public_key().as_ref().try_into().ok()? }),
        Pair::Rsa(pair) => {
            let mut key = der::take(&mut pair.public_key().as_ref(), der::SEQUENCE)?;
            let n = der::take_integer(&mut key)?.to_vec();
            Some(Material::Rsa { n, e: der::take_integer(&mut key)?.to_vec() })
        }
    };
    read().ok_or(KeyFault::Library)
}

#[cfg(test)]
mod tests;
