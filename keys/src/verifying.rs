//! Public keys, parsed once and held.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RSA_PKCS1_2048_8192_SHA512, RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents,
};

use crate::Algorithm;

/// A parsed public key with the algorithms it may be used with. Cheap to clone.
///
/// The algorithms come from the key, never from the message: an EC key is ES256, an Ed25519 key is EdDSA, and an
/// RSA key is what its `alg` says, or any of the RSA algorithms when it says nothing (RFC 8725 §3.1).
#[derive(Clone)]
pub struct VerifyingKey(Arc<[(Algorithm, ParsedPublicKey)]>);

/// The signature does not verify, or the key may not be used with the algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

impl VerifyingKey {
    /// Verifies a signature in its JWS form (RFC 7518 §3): for ES256 the 64 bytes `r || s`.
    ///
    /// Both `s` and `n - s` verify for ES256, as JWA asks; nothing may take a signature's bytes as its identity.
    ///
    /// # Errors
    /// [`BadSignature`], also when the key may not be used with `algorithm`.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        let (_, key) = self.0.iter().find(|(held, _)| *held == algorithm).ok_or(BadSignature)?;
        key.verify_sig(message, signature).map_err(|_| BadSignature)
    }

    /// The algorithms the key may be used with, at least one.
    pub fn algorithms(&self) -> impl Iterator<Item = Algorithm> {
        self.0.iter().map(|(algorithm, _)| *algorithm)
    }

    /// Whether the key may be used with this algorithm.
    pub fn allows(&self, algorithm: Algorithm) -> bool {
        self.algorithms().any(|held| held == algorithm)
    }

    /// Parses an uncompressed P-256 point; `None` when it is not on the curve.
    pub(crate) fn p256(x: &[u8; 32], y: &[u8; 32]) -> Option<Self> {
        let point = [&[4][..], x, y].concat();
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).ok()?;
        Some(Self([(Algorithm::Es256, key)].into()))
    }

    pub(crate) fn ed25519(x: &[u8; 32]) -> Option<Self> {
        let key = ParsedPublicKey::new(&ED25519, x).ok()?;
        Some(Self([(Algorithm::EdDsa, key)].into()))
    }

    /// Parses an RSA key for one algorithm, or for all of them. The caller has checked the sizes.
    pub(crate) fn rsa(n: &[u8], e: &[u8], only: Option<Algorithm>) -> Option<Self> {
        let all = Algorithm::ALL.into_iter().filter(|algorithm| only.is_none_or(|only| only == *algorithm));
        let parsed = all.filter_map(|algorithm| Some((algorithm, rsa_parameters(algorithm)?)));
        let keys = parsed.map(|(algorithm, parameters)| {
            let key = RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters).ok()?;
            Some((algorithm, key))
        });
        let keys: Arc<[_]> = keys.collect::<Option<_>>()?;
        (!keys.is_empty()).then_some(Self(keys))
    }
}

/// Algorithms, never key bytes: enough for a log.
impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.algorithms()).finish()
    }
}

fn rsa_parameters(algorithm: Algorithm) -> Option<&'static RsaParameters> {
    match algorithm {
        Algorithm::Ps256 => Some(&RSA_PSS_2048_8192_SHA256),
        Algorithm::Ps512 => Some(&RSA_PSS_2048_8192_SHA512),
        Algorithm::Rs256 => Some(&RSA_PKCS1_2048_8192_SHA256),
        Algorithm::Rs512 => Some(&RSA_PKCS1_2048_8192_SHA512),
        Algorithm::Es256 | Algorithm::EdDsa => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SigningKey;

    fn keys() -> Vec<SigningKey> {
        let rsa = SigningKey::generate_rsa(2048).unwrap();
        let mut keys: Vec<_> = Algorithm::ALL.iter().filter_map(|alg| rsa.with_alg(*alg).ok()).collect();
        keys.push(SigningKey::es256_from_seed([7; 32]).unwrap());
        keys.push(SigningKey::ed25519_from_seed([7; 32]).unwrap());
        keys
    }

    #[test]
    fn each_key_verifies_its_own_algorithm_and_no_other() {
        let keys = keys();
        assert_eq!(keys.len(), Algorithm::ALL.len());
        for signer in &keys {
            let signature = signer.sign(b"message").unwrap();
            for verifier in &keys {
                let key = verifier.public_jwk().verifying_key();
                for algorithm in Algorithm::ALL {
                    let fits = signer.alg() == verifier.alg() && algorithm == signer.alg();
                    assert_eq!(key.verify(algorithm, b"message", &signature).is_ok(), fits);
                }
                assert_eq!(key.verify(signer.alg(), b"massage", &signature), Err(BadSignature));
            }
        }
    }

    /// The order of the P-256 group (FIPS 186-5).
    const P256_ORDER: [u8; 32] = [
        0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xBC, 0xE6, 0xFA,
        0xAD, 0xA7, 0x17, 0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51,
    ];

    #[test]
    fn an_es256_signature_and_its_twin_both_verify() {
        let es256 = SigningKey::es256_from_seed([7; 32]).unwrap();
        let mut twin = es256.sign(b"message").unwrap();
        let mut borrow = 0;
        for (byte, order) in twin[32..].iter_mut().zip(P256_ORDER).rev() {
            let difference = i16::from(order) - i16::from(*byte) - borrow;
            borrow = i16::from(difference < 0);
            *byte = u8::try_from(difference.rem_euclid(256)).unwrap();
        }
        assert_ne!(twin, es256.sign(b"message").unwrap());
        let key = es256.public_jwk().verifying_key();
        assert_eq!(key.verify(Algorithm::Es256, b"message", &twin), Ok(()));
    }

    #[test]
    fn degenerate_signatures_are_refused() {
        let es256 = SigningKey::es256_from_seed([7; 32]).unwrap();
        let key = es256.public_jwk().verifying_key();
        let mut order = [0; 64];
        let n = [
            0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xBC, 0xE6,
            0xFA, 0xAD, 0xA7, 0x17, 0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51,
        ];
        order[..32].copy_from_slice(&n);
        order[32..].copy_from_slice(&n);
        for bad in [&[0; 64][..], &order, &[0xFF; 64], &[], &[1; 63], &[1; 65], &[0x30; 70]] {
            assert_eq!(key.verify(Algorithm::Es256, b"message", bad), Err(BadSignature));
        }
        let ed25519 = SigningKey::ed25519_from_seed([7; 32]).unwrap().public_jwk().verifying_key();
        for bad in [&[0; 64][..], &[0xFF; 64], &[], &[1; 63]] {
            assert_eq!(ed25519.verify(Algorithm::EdDsa, b"message", bad), Err(BadSignature));
        }
    }
}
