//! SHA-2 digests and comparison in constant time.

use aws_lc_rs::{constant_time, digest};

use crate::b64;

/// SHA-256 (FIPS 180-4).
pub fn sha256(bytes: impl AsRef<[u8]>) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest::digest(&digest::SHA256, bytes.as_ref()).as_ref());
    out
}

/// SHA-512 (FIPS 180-4).
pub fn sha512(bytes: impl AsRef<[u8]>) -> [u8; 64] {
    let mut out = [0; 64];
    out.copy_from_slice(digest::digest(&digest::SHA512, bytes.as_ref()).as_ref());
    out
}

/// SHA-256 as base64url without padding, 43 characters: how hashes are stored and compared.
pub fn sha256_b64(bytes: impl AsRef<[u8]>) -> String {
    b64::encode(sha256(bytes))
}

/// Compares without telling by its duration where two byte strings differ. Their lengths are not secret.
pub fn equal(a: impl AsRef<[u8]>, b: impl AsRef<[u8]>) -> bool {
    constant_time::verify_slices_are_equal(a.as_ref(), b.as_ref()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha256_of_the_empty_string_is_the_known_value() {
        assert_eq!(sha256_b64(""), "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
        assert_eq!(&sha512("abc")[..4], [0xDD, 0xAF, 0x35, 0xA1]);
    }

    #[test]
    fn equal_wants_equal_length_and_content() {
        assert!(equal("abc", "abc") && equal("", ""));
        assert!(!equal("abc", "abd") && !equal("abc", "ab") && !equal("", "a"));
    }
}
