//! Base64url without padding (RFC 4648 §5), canonical form only.
//!
//! One value has one text. Padding, line breaks, the other alphabet and non-zero trailing bits are refused,
//! so that a token or a thumbprint cannot be written in two ways (RFC 7515 §2, RFC 4648 §3.5).

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

/// The text is not canonical base64url.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not canonical base64url without padding")]
pub struct BadBase64;

/// Encodes as base64url without padding.
pub fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Decodes canonical base64url without padding.
///
/// # Errors
/// [`BadBase64`] for any other character, any padding, an impossible length or non-zero trailing bits.
pub fn decode(text: impl AsRef<[u8]>) -> Result<Vec<u8>, BadBase64> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| BadBase64)
}

/// Encodes as padded standard base64 (RFC 4648 §4), which structured fields and webhook signatures use.
pub fn encode_standard(bytes: impl AsRef<[u8]>) -> String {
    STANDARD.encode(bytes)
}

/// Decodes padded standard base64, canonical form only.
///
/// # Errors
/// [`BadBase64`] as for [`decode`], and when the padding is missing.
pub fn decode_standard(text: impl AsRef<[u8]>) -> Result<Vec<u8>, BadBase64> {
    STANDARD.decode(text).map_err(|_| BadBase64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_canonical_text_decodes() {
        assert_eq!(decode("_-8").unwrap(), [0xFF, 0xEF]);
        for bad in ["_-8=", "/+8", "_-9", "_", "_-8\n", " _-8", "_-8.", "é"] {
            assert_eq!(decode(bad), Err(BadBase64), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(decode(encode(&bytes)).unwrap(), bytes.clone());
            prop_assert_eq!(decode_standard(encode_standard(&bytes)).unwrap(), bytes);
        }

        #[test]
        fn what_decodes_is_the_only_text_of_its_bytes(text in "[A-Za-z0-9_+/=-]{0,12}") {
            if let Ok(bytes) = decode(&text) {
                prop_assert_eq!(encode(bytes), text);
            }
        }
    }
}
