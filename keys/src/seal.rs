//! Sealing of private keys and personal data: AES-256-GCM-SIV (RFC 8452) under a master key.
//!
//! A sealed text names the master key it is under and is bound to its place, so that it opens nowhere else:
//! not in another tenant's row, not in another column. Several master keys may be held while data moves to the
//! newest one.

use std::fmt;

use aws_lc_rs::aead::{self, AES_256_GCM_SIV, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hmac;
use zeroize::{Zeroize, Zeroizing};

use crate::mac::MacKey;
use crate::{b64, digest};

/// First field of every sealed text; another way to seal will have another one.
const VERSION: &str = "s1";

/// Bytes of a nonce.
pub const NONCE_BYTES: usize = 12;

/// A sealed text did not open, or nothing could be sealed. It does not say why: that would help an attacker only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealFault {
    /// The text is not one of ours.
    #[error("not a sealed text")]
    Malformed,
    /// It is under a master key that is not held.
    #[error("sealed under an unknown master key")]
    UnknownKey,
    /// It was changed, or belongs to another place.
    #[error("the sealed text does not open here")]
    Refused,
}

/// The place a sealed text belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aad<'a> {
    /// The partner, or a constant for data of no partner.
    pub tenant: &'a str,
    /// The table.
    pub table: &'a str,
    /// The row's key, with its version where rows have versions.
    pub row: &'a str,
    /// The column or field.
    pub field: &'a str,
}

impl Aad<'_> {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for part in [self.tenant, self.table, self.row, self.field] {
            bytes.extend((part.len() as u64).to_be_bytes());
            bytes.extend(part.as_bytes());
        }
        bytes
    }
}

/// A 256-bit master key. Wiped when dropped, and never shown.
#[derive(Clone)]
pub struct MasterKey {
    bytes: Zeroizing<[u8; 32]>,
    id: String,
}

impl MasterKey {
    /// Takes 32 random bytes.
    pub fn new(mut bytes: [u8; 32]) -> Self {
        let id = digest::sha256_b64(bytes)[..8].to_owned();
        let key = Self { bytes: Zeroizing::new(bytes), id };
        bytes.zeroize();
        key
    }

    /// Eight characters by which sealed texts name the key; it tells nothing about its bytes.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// A key for one purpose (NIST SP 800-108 in counter mode with one block, PRF HMAC-SHA-256).
    fn derive(&self, purpose: &str, label: &str) -> Zeroizing<[u8; 32]> {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &*self.bytes));
        for part in ["countersign", purpose, label] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let mut out = Zeroizing::new([0; 32]);
        out.copy_from_slice(context.sign().as_ref());
        out
    }

    fn sealing_key(&self) -> Result<LessSafeKey, SealFault> {
        let key = UnboundKey::new(&AES_256_GCM_SIV, &*self.derive("seal", VERSION));
        key.map(LessSafeKey::new).map_err(|_| SealFault::Refused)
    }
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The master key in use and those that other data is under, and the root of keyed hashes.
#[derive(Debug, Clone)]
pub struct MasterKeys {
    current: MasterKey,
    older: Vec<MasterKey>,
    hash_root: MasterKey,
}

impl MasterKeys {
    /// Holds the current key and any number of others that are only read with: previous ones, or the next one before
    /// it is the current one everywhere. Keyed hashes come from the current key until [`Self::hashing_with`].
    pub fn new(current: MasterKey, older: Vec<MasterKey>) -> Self {
        let hash_root = current.clone();
        Self { current, older, hash_root }
    }

    /// The same keys, but keyed hashes come from this root. A service draws it once and stores it sealed, so that
    /// what it hashed stays recognisable when the master key changes.
    #[must_use]
    pub fn hashing_with(mut self, root: [u8; 32]) -> Self {
        self.hash_root = MasterKey::new(root);
        self
    }

    /// The key that new data is sealed under.
    pub fn current(&self) -> &MasterKey {
        &self.current
    }

    /// Seals under the current key: `s1.KEYID.BASE64URL(nonce, ciphertext, tag)`.
    ///
    /// `nonce` is 12 random bytes. AES-GCM-SIV survives a repeated nonce: then, and only then, equal texts in
    /// equal places look equal.
    ///
    /// # Errors
    /// [`SealFault::Refused`] when the library fails.
    pub fn seal(&self, nonce: [u8; NONCE_BYTES], aad: &Aad<'_>, plain: &[u8]) -> Result<String, SealFault> {
        let mut bytes = plain.to_vec();
        let key = self.current.sealing_key()?;
        let aad = aead::Aad::from(aad.to_bytes());
        let nonce_used = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce_used, aad, &mut bytes).map_err(|_| SealFault::Refused)?;
        Ok(format!("{VERSION}.{}.{}", self.current.id, b64::encode([&nonce[..], &bytes].concat())))
    }

    /// Opens a sealed text under whichever key it names.
    ///
    /// # Errors
    /// [`SealFault`].
    pub fn open(&self, aad: &Aad<'_>, sealed: &str) -> Result<Vec<u8>, SealFault> {
        let (id, body) = split(sealed)?;
        let held = std::iter::once(&self.current).chain(&self.older).find(|key| key.id == id);
        let key = held.ok_or(SealFault::UnknownKey)?.sealing_key()?;
        let mut bytes = b64::decode(body).map_err(|_| SealFault::Malformed)?;
        let (nonce, ciphertext) = bytes.split_at_mut_checked(NONCE_BYTES).ok_or(SealFault::Malformed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealFault::Malformed)?;
        let aad = aead::Aad::from(aad.to_bytes());
        let plain = key.open_in_place(nonce, aad, ciphertext).map_err(|_| SealFault::Refused)?;
        Ok(plain.to_vec())
    }

    /// Whether a sealed text should be sealed anew because its key is not the current one.
    pub fn is_outdated(&self, sealed: &str) -> bool {
        split(sealed).is_ok_and(|(id, _)| id != self.current.id)
    }

    /// What every text that is sealed under the current key begins with.
    pub fn current_prefix(&self) -> String {
        format!("{VERSION}.{}.", self.current.id)
    }

    /// A key for keyed hashes under this label.
    pub fn mac_key(&self, label: &str) -> MacKey {
        MacKey::new(&self.hash_root.derive("mac", label))
    }
}

fn split(sealed: &str) -> Result<(&str, &str), SealFault> {
    let rest = sealed.strip_prefix(VERSION).and_then(|rest| rest.strip_prefix('.'));
    rest.and_then(|rest| rest.split_once('.')).ok_or(SealFault::Malformed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const AAD: Aad<'_> = Aad { tenant: "acme", table: "customer_pii", row: "cus_1", field: "birth_date" };

    fn keys(byte: u8) -> MasterKeys {
        MasterKeys::new(MasterKey::new([byte; 32]), Vec::new())
    }

    #[test]
    fn a_sealed_text_opens_in_its_place_only() {
        let keys = keys(1);
        let sealed = keys.seal([9; 12], &AAD, b"1990-01-01").unwrap();
        assert_eq!(keys.open(&AAD, &sealed).unwrap(), b"1990-01-01");
        let elsewhere = [
            Aad { tenant: "pti", ..AAD },
            Aad { table: "customer", ..AAD },
            Aad { row: "cus_2", ..AAD },
            Aad { field: "name", ..AAD },
            Aad { tenant: "acmec", table: "ustomer_pii", ..AAD },
        ];
        for aad in elsewhere {
            assert_eq!(keys.open(&aad, &sealed), Err(SealFault::Refused), "{aad:?}");
        }
    }

    #[test]
    fn a_changed_text_does_not_open() {
        let keys = keys(1);
        let sealed = keys.seal([9; 12], &AAD, b"secret").unwrap();
        for index in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            assert!(keys.open(&AAD, std::str::from_utf8(&changed).unwrap()).is_err(), "{index}");
        }
        for bad in ["", "s1", "s1.", "s1..", "s2.a.b", &sealed[..sealed.len() - 4], &format!("{sealed}AAAA")]
        {
            assert!(keys.open(&AAD, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn older_keys_open_and_are_outdated() {
        let (old, new) = (MasterKey::new([1; 32]), MasterKey::new([2; 32]));
        let sealed = keys(1).seal([0; 12], &AAD, b"x").unwrap();
        assert_eq!(keys(2).open(&AAD, &sealed), Err(SealFault::UnknownKey));
        let both = MasterKeys::new(new, vec![old]);
        assert_eq!(both.open(&AAD, &sealed).unwrap(), b"x");
        assert!(both.is_outdated(&sealed));
        assert!(!both.is_outdated(&both.seal([0; 12], &AAD, b"x").unwrap()));
        let (before, after) = (keys(1).hashing_with([5; 32]), both.clone().hashing_with([5; 32]));
        assert_eq!(before.mac_key("a").mac(&[b"x"]), after.mac_key("a").mac(&[b"x"]));
        assert_ne!(before.mac_key("a").mac(&[b"x"]), both.mac_key("a").mac(&[b"x"]));
        assert!(both.seal([0; 12], &AAD, b"x").unwrap().starts_with(&both.current_prefix()));
    }

    #[test]
    fn labels_separate_keys_and_debug_shows_none() {
        let keys = MasterKeys::new(MasterKey::new([0xAB; 32]), Vec::new());
        assert_ne!(keys.mac_key("secret").mac(&[b"x"]), keys.mac_key("cursor").mac(&[b"x"]));
        let shown = format!("{keys:?} {:?}", keys.mac_key("a"));
        assert!(shown.contains(keys.current().id()) && !shown.contains("171") && !shown.contains("ab, ab"));
    }

    proptest! {
        #[test]
        fn anything_sealed_opens(plain in prop::collection::vec(any::<u8>(), 0..200), nonce: [u8; 12]) {
            let keys = keys(3);
            let sealed = keys.seal(nonce, &AAD, &plain).unwrap();
            prop_assert_eq!(keys.open(&AAD, &sealed).unwrap(), plain);
        }

        #[test]
        fn any_text_gives_an_answer(text in "(s1\\.)?[A-Za-z0-9_.-]{0,60}") {
            prop_assert!(keys(3).open(&AAD, &text).is_err());
        }
    }
}
