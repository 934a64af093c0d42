//! JSON Web Encryption, compact form only (RFC 7516 §3.1), for one pair of algorithms: the content key travels under
//! RSA-OAEP-256 (RFC 7518 §4.3), the content under A256CBC-HS512 (§5.2.5).
//!
//! Whoever encrypts chooses nothing from what a recipient sent but its public key; whoever opens pins both algorithms
//! and refuses every other header. A message that was changed anywhere is not decrypted at all: its tag is compared
//! first.

use std::fmt;

use aws_lc_rs::cipher::{
    AES_256, DecryptionContext, EncryptionContext, PaddedBlockDecryptingKey, PaddedBlockEncryptingKey,
    UnboundCipherKey,
};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{
    OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, OaepPublicEncryptingKey, PrivateDecryptingKey,
    PublicEncryptingKey,
};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::jwk::Material;
use crate::{KeyFault, PublicJwk, SigningKey, b64, der, digest, strict_json};

/// How the content key is encrypted.
const ALG: &str = "RSA-OAEP-256";
/// How the content is encrypted.
const ENC: &str = "A256CBC-HS512";
/// Content key: half for the tag, half for the cipher (RFC 7518 §5.2.2.1).
const CEK_BYTES: usize = 64;
const IV_BYTES: usize = 16;
const TAG_BYTES: usize = 32;
/// Longest message that is opened, bytes.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

/// Random bytes that one message takes: content key, then initialization vector. Never for two messages.
pub const RANDOM_BYTES: usize = CEK_BYTES + IV_BYTES;

/// A recipient's RSA public key.
pub struct EncryptionKey {
    key: OaepPublicEncryptingKey,
    kid: String,
}

impl EncryptionKey {
    /// The recipient's key, whatever signature algorithm its JWK names. Its id in messages is the RFC 7638 thumbprint.
    ///
    /// # Errors
    /// [`KeyFault::Unsupported`] for a key that is no RSA key.
    pub fn new(jwk: &PublicJwk) -> Result<Self, KeyFault> {
        let Material::Rsa { n, e } = jwk.material() else {
            return Err(KeyFault::Unsupported("only RSA keys take messages"));
        };
        let key = PublicEncryptingKey::from_der(&der::rsa_public_key_info(n, e));
        let key = key.map_err(|_| KeyFault::Library)?;
        let key = OaepPublicEncryptingKey::new(key).map_err(|_| KeyFault::Library)?;
        Ok(Self { key, kid: jwk.thumbprint() })
    }

    /// The id that messages name.
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// Encrypts `plain`, whose media type `cty` names (`JWT` for a nested token, RFC 7519 §5.2).
    ///
    /// The padding of the content key takes random bytes of its own; aws-lc-rs draws them.
    ///
    /// # Errors
    /// [`KeyFault::Library`] only.
    pub fn encrypt(&self, cty: &str, plain: &[u8], random: [u8; RANDOM_BYTES]) -> Result<String, KeyFault> {
        let random = Zeroizing::new(random);
        let (cek, iv) = random.split_at(CEK_BYTES);
        let header = serde_json::json!({ "alg": ALG, "enc": ENC, "kid": self.kid, "cty": cty });
        let header = b64::encode(header.to_string());
        let mut wrapped = vec![0; self.key.ciphertext_size()];
        let wrapped = self.key.encrypt(&OAEP_SHA256_MGF1SHA256, cek, &mut wrapped, None);
        let wrapped = wrapped.map_err(|_| KeyFault::Library)?;
        let (content, tag) = seal_content(cek, iv, header.as_bytes(), plain)?;
        let parts = [header, b64::encode(&*wrapped), b64::encode(iv), b64::encode(content), b64::encode(tag)];
        Ok(parts.join("."))
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EncryptionKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// Why a message was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadJwe {
    /// Not five parts of canonical base64url, or too long.
    #[error("not a compact JWE")]
    NotCompact,
    /// The header is not strict JSON, names other algorithms, or has a member that is refused.
    #[error("header: {0}")]
    Header(&'static str),
    /// It was not encrypted to this key, or was changed. Which of the two is not told.
    #[error("the message does not open")]
    Unreadable,
}

/// A recipient's private key.
pub struct DecryptionKey {
    key: OaepPrivateDecryptingKey,
}

impl DecryptionKey {
    /// The RSA key pair that its owner also signs with.
    ///
    /// # Errors
    /// [`KeyFault::Unsupported`] for a key pair of another type.
    pub fn new(pair: &SigningKey) -> Result<Self, KeyFault> {
        let pkcs8 = pair.rsa_pkcs8()?;
        let key = PrivateDecryptingKey::from_pkcs8(&pkcs8).map_err(|_| KeyFault::Library)?;
        let key = OaepPrivateDecryptingKey::new(key).map_err(|_| KeyFault::Library)?;
        Ok(Self { key })
    }

    /// Opens a message.
    ///
    /// # Errors
    /// [`BadJwe`].
    pub fn open(&self, message: &str) -> Result<Vec<u8>, BadJwe> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(BadJwe::NotCompact);
        }
        let parts: Vec<&str> = message.split('.').collect();
        let [header, wrapped, iv, content, tag] = parts[..] else { return Err(BadJwe::NotCompact) };
        let decode = |part: &str| b64::decode(part).map_err(|_| BadJwe::NotCompact);
        check_header(&decode(header)?)?;
        let wrapped = decode(wrapped)?;
        let mut cek = Zeroizing::new(vec![0; self.key.min_output_size()]);
        let cek = self.key.decrypt(&OAEP_SHA256_MGF1SHA256, &wrapped, &mut cek, None);
        let cek = cek.map_err(|_| BadJwe::Unreadable)?;
        open_content(cek, &decode(iv)?, header.as_bytes(), (decode(content)?, &decode(tag)?))
    }
}

impl fmt::Debug for DecryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DecryptionKey(..)")
    }
}

/// Both algorithms are the expected ones, and nothing is announced that would change how the message is read.
fn check_header(bytes: &[u8]) -> Result<(), BadJwe> {
    let header = strict_json::parse(bytes).map_err(|bad| BadJwe::Header(bad.reason))?;
    let members: &Map<String, Value> = header.as_object().ok_or(BadJwe::Header("not an object"))?;
    for (name, wanted) in [("alg", ALG), ("enc", ENC)] {
        if members.get(name).and_then(Value::as_str) != Some(wanted) {
            return Err(BadJwe::Header(name));
        }
    }
    match ["zip", "crit", "jwk", "x5u", "x5c"].into_iter().find(|name| members.contains_key(*name)) {
        Some(name) => Err(BadJwe::Header(name)),
        None => Ok(()),
    }
}

/// Ciphertext and tag (RFC 7518 §5.2.2.1).
fn seal_content(
    cek: &[u8],
    iv: &[u8],
    aad: &[u8],
    plain: &[u8],
) -> Result<(Vec<u8>, [u8; TAG_BYTES]), KeyFault> {
    let (tag_key, cipher_key) = cek.split_at(CEK_BYTES / 2);
    let iv_bytes: [u8; IV_BYTES] = iv.try_into().map_err(|_| KeyFault::Library)?;
    let key = UnboundCipherKey::new(&AES_256, cipher_key).map_err(|_| KeyFault::Library)?;
    let key = PaddedBlockEncryptingKey::cbc_pkcs7(key).map_err(|_| KeyFault::Library)?;
    let mut content = plain.to_vec();
    let start = EncryptionContext::Iv128(FixedLength::from(iv_bytes));
    key.less_safe_encrypt(&mut content, start).map_err(|_| KeyFault::Library)?;
    let tag = tag(tag_key, aad, iv, &content);
    Ok((content, tag))
}

/// The content, if its tag is right (RFC 7518 §5.2.2.2).
fn open_content(
    cek: &[u8],
    iv: &[u8],
    aad: &[u8],
    (mut content, sent): (Vec<u8>, &[u8]),
) -> Result<Vec<u8>, BadJwe> {
    let (tag_key, cipher_key) = cek.split_at_checked(CEK_BYTES / 2).ok_or(BadJwe::Unreadable)?;
    let iv_bytes: [u8; IV_BYTES] = iv.try_into().map_err(|_| BadJwe::Unreadable)?;
    if cipher_key.len() != CEK_BYTES / 2 || !digest::equal(tag(tag_key, aad, iv, &content), sent) {
        return Err(BadJwe::Unreadable);
    }
    let key = UnboundCipherKey::new(&AES_256, cipher_key).map_err(|_| BadJwe::Unreadable)?;
    let key = PaddedBlockDecryptingKey::cbc_pkcs7(key).map_err(|_| BadJwe::Unreadable)?;
    let start = DecryptionContext::Iv128(FixedLength::from(iv_bytes));
    let plain = key.decrypt(&mut content, start).map_err(|_| BadJwe::Unreadable)?;
    Ok(plain.to_vec())
}

/// The first half of HMAC-SHA-512 over header, vector, ciphertext and the header's length in bits.
fn tag(tag_key: &[u8], aad: &[u8], iv: &[u8], content: &[u8]) -> [u8; TAG_BYTES] {
    let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA512, tag_key));
    for part in [aad, iv, content] {
        mac.update(part);
    }
    mac.update(&(aad.len() as u64 * 8).to_be_bytes());
    let mut tag = [0; TAG_BYTES];
    tag.copy_from_slice(&mac.sign().as_ref()[..TAG_BYTES]);
    tag
}

#[cfg(test)]
mod tests;
