//! The `Content-Digest` field (RFC 9530 §2): SHA-256 or SHA-512, one of them, once.

use http::HeaderMap;

use crate::{b64, digest};

/// The field's name.
pub const CONTENT_DIGEST: &str = "content-digest";

/// The field is not one digest of a kind we take, or it is another content's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Content-Digest is not one SHA-256 or SHA-512 digest of the content")]
pub struct BadDigest;

/// The field's value for this content, with SHA-256.
pub fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", b64::encode_standard(digest::sha256(body)))
}

/// Checks the field against the content.
///
/// Stricter than RFC 9530 §2: a field that repeats, or lists a second or an insecure algorithm, is refused
/// instead of ignored, so that no two readers check different digests.
///
/// # Errors
/// [`BadDigest`], also when the field is absent.
pub fn check_content_digest(headers: &HeaderMap, body: &[u8]) -> Result<(), BadDigest> {
    let mut fields = headers.get_all(CONTENT_DIGEST).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return Err(BadDigest) };
    let field = field.to_str().map_err(|_| BadDigest)?.trim();
    let (algorithm, sent) = field.split_once("=:").ok_or(BadDigest)?;
    let sent = sent.strip_suffix(':').and_then(|sent| b64::decode_standard(sent).ok()).ok_or(BadDigest)?;
    let matches = match algorithm {
        "sha-256" => digest::equal(sent, digest::sha256(body)),
        "sha-512" => digest::equal(sent, digest::sha512(body)),
        _ => false,
    };
    if matches { Ok(()) } else { Err(BadDigest) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"hello": "world"}"#;
    const SHA512: &str =
        "sha-512=:WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew==:";

    fn check(values: &[&str], body: &[u8]) -> Result<(), BadDigest> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_DIGEST, value.parse().unwrap());
        }
        check_content_digest(&headers, body)
    }

    #[test]
    fn the_examples_of_the_rfcs_are_accepted() {
        // RFC 9530 appendix B.1: the content ends with a line feed there, and does not in RFC 9421.
        assert_eq!(
            content_digest(b"{\"hello\": \"world\"}\n"),
            "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:"
        );
        assert_eq!(content_digest(BODY), "sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE=:");
        assert_eq!(check(&[&content_digest(BODY)], BODY), Ok(()));
        assert_eq!(check(&[SHA512], BODY), Ok(()));
        assert_eq!(check(&[&content_digest(b"")], b""), Ok(()));
    }

    #[test]
    fn absent_weak_repeated_and_foreign_digests_are_refused() {
        let good = content_digest(BODY);
        let other = content_digest(b"other");
        let cases: [&[&str]; 11] = [
            &[],
            &[""],
            &[&good, &good],
            &[&format!("{good}, {SHA512}")],
            &[&format!("{other}, {good}")],
            &[&format!("{good},")],
            &[&format!("{good};a=1")],
            &["md5=:Sd/dVLAcvNLSq16eXua5uQ==:"],
            &["sha-256=X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE"],
            &["sha-256=:X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9D:"],
            &[&other],
        ];
        for case in cases {
            assert_eq!(check(case, BODY), Err(BadDigest), "{case:?}");
        }
    }
}
