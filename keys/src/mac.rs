//! Keyed hashes: HMAC-SHA-256 over parts that cannot run into one another.

use std::fmt;

use aws_lc_rs::hmac;

use crate::b64;

/// A key for one purpose. Made by [`crate::seal::MasterKeys::mac_key`].
#[derive(Clone)]
pub struct MacKey(hmac::Key);

impl MacKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, key))
    }

    /// HMAC-SHA-256 over the parts, each preceded by its length, so that `["ab", "c"]` and `["a", "bc"]` differ.
    pub fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }

    /// [`Self::mac`] as base64url, 43 characters: how keyed hashes are stored.
    pub fn mac_b64(&self, parts: &[&[u8]]) -> String {
        b64::encode(self.mac(parts))
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MacKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_one_another() {
        let key = MacKey::new(&[1; 32]);
        let macs = [
            key.mac(&[b"ab", b"c"]),
            key.mac(&[b"a", b"bc"]),
            key.mac(&[b"abc"]),
            key.mac(&[b"abc", b""]),
            key.mac(&[]),
            MacKey::new(&[2; 32]).mac(&[b"abc"]),
        ];
        for (index, mac) in macs.iter().enumerate() {
            assert!(macs[index + 1..].iter().all(|other| other != mac));
        }
        assert_eq!(key.mac_b64(&[b"abc"]).len(), 43);
        assert_eq!(key.mac(&[b"abc"]), key.mac(&[b"abc"]));
    }
}
