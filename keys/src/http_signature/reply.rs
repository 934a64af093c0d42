//! Signed responses (RFC 9421 §2.4): whoever asks for one with `Accept-Signature` (§5) can prove later what it was told,
//! and to which request. The signature is by a key that the service publishes.
//!
//! Covered are `@status` and `content-digest` of the response, `@method`, `@authority`, `@path` and `@query` of the
//! request, and the request's own `signature` when it has one, which binds all that it covers.

use http::{HeaderMap, HeaderValue};
use sfv::{BareItem, Dictionary, InnerList, ListEntry, Parser};

use super::base::REQ;
use super::digest::{CONTENT_DIGEST, content_digest};
use super::message::field;
use super::profile::wire_name;
use super::{Message, SignatureInput, SignedHeaders, SigningFault, Subject, TAG_RESPONSE};
use crate::{SigningKey, UnixSeconds, b64};

/// Longest `Accept-Signature` that is read, bytes.
const FIELD_BYTES_MAX: usize = 4 * 1024;

/// Longest nonce that is repeated, bytes.
const NONCE_BYTES_MAX: usize = 256;

/// What is covered always; the flag says that it is the request's.
const ALWAYS: [(&str, bool); 6] = [
    ("@status", false),
    (CONTENT_DIGEST, false),
    ("@method", true),
    ("@authority", true),
    ("@path", true),
    ("@query", true),
];

/// The signature of a request, if it has one.
const SIGNATURE: (&str, bool) = ("signature", true);

/// A signature that a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    label: String,
    nonce: Option<String>,
}

/// The signature that a request asks for with `Accept-Signature`, if it is one that we make: no other components than
/// those covered here, no other parameters than `created`, `nonce` and our `tag`. Anything else is not refused but left
/// unsigned, as RFC 9421 §5.2 allows.
pub fn wanted(request: &HeaderMap) -> Option<Wanted> {
    let text = field(request, "accept-signature").filter(|text| text.len() <= FIELD_BYTES_MAX)?;
    let members: Dictionary = Parser::new(&text).parse().ok()?;
    let signed = request.contains_key(SIGNATURE.0);
    members.into_iter().find_map(|(label, entry)| match entry {
        ListEntry::InnerList(list) if covers_no_more(&list, signed) => with_parameters(label.into(), &list),
        _ => None,
    })
}

fn covers_no_more(list: &InnerList, signed: bool) -> bool {
    list.items.iter().all(|item| {
        let of_request = match item.params.iter().next() {
            None => false,
            Some((key, BareItem::Boolean(true))) if key.as_str() == REQ && item.params.len() == 1 => true,
            Some(_) => return false,
        };
        let Some(name) = item.bare_item.as_string() else { return false };
        let wanted = (name.as_str(), of_request);
        ALWAYS.contains(&wanted) || (signed && wanted == SIGNATURE)
    })
}

/// `None` when the parameters ask for what we do not make.
fn with_parameters(label: String, list: &InnerList) -> Option<Wanted> {
    let mut nonce = None;
    for (key, value) in &list.params {
        match (key.as_str(), value) {
            ("created", BareItem::Boolean(true)) => {}
            ("tag", BareItem::String(tag)) if tag.as_str() == TAG_RESPONSE => {}
            ("nonce", BareItem::String(text)) if text.as_str().len() <= NONCE_BYTES_MAX => {
                nonce = Some(text.as_str().to_owned());
            }
            _ => return None,
        }
    }
    Some(Wanted { label, nonce })
}

/// A response, and the request that it answers.
#[derive(Debug, Clone, Copy)]
pub struct Reply<'a> {
    /// The status code.
    pub status: u16,
    /// The content.
    pub body: &'a [u8],
    /// The request.
    pub request: &'a Message<'a>,
}

/// Signs a response.
///
/// # Errors
/// [`SigningFault`], when the key's algorithm is none of RFC 9421 or the key fails.
pub fn sign(
    key: &SigningKey,
    created: UnixSeconds,
    wanted: &Wanted,
    reply: &Reply<'_>,
) -> Result<SignedHeaders, SigningFault> {
    if wire_name(key.alg()).is_none() {
        return Err(SigningFault::Algorithm);
    }
    let digest = content_digest(reply.body);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_DIGEST, HeaderValue::from_str(&digest).map_err(|_| SigningFault::Parameter)?);
    let signed = reply.request.headers.contains_key(SIGNATURE.0);
    let components: Vec<_> = ALWAYS.into_iter().chain(signed.then_some(SIGNATURE)).collect();
    let mut texts = vec![("keyid", key.kid()), ("tag", TAG_RESPONSE)];
    texts.extend(wanted.nonce.as_deref().map(|nonce| ("nonce", nonce)));
    let input = SignatureInput::of_reply(&components, created.0, &texts).ok_or(SigningFault::Parameter)?;
    let subject = Subject::Response { status: reply.status, headers: &headers, request: Some(reply.request) };
    let signature = key.sign(input.base(&subject)?.as_bytes())?;
    let label = &wanted.label;
    Ok(SignedHeaders {
        content_digest: Some(digest),
        signature_input: format!("{label}={}", input.serialize()),
        signature: format!("{label}=:{}:", b64::encode_standard(signature)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(fields: &[(&'static str, &str)]) -> Option<Wanted> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        wanted(&headers)
    }

    #[test]
    fn only_what_we_make_can_be_asked_for() {
        let accept = |text: &str| asked(&[("accept-signature", text)]);
        let good = accept(
            r#"proof=("@status" "content-digest" "@path";req);created;nonce="n";tag="countersign-response""#,
        );
        assert_eq!(good, Some(Wanted { label: "proof".to_owned(), nonce: Some("n".to_owned()) }));
        assert!(accept("sig1=()").is_some(), "whatever we cover");
        assert!(accept(r#"other=();tag="other", sig1=()"#).is_some_and(|wanted| wanted.label == "sig1"));
        for bad in [
            "",
            "sig1",
            r#"sig1=("date")"#,
            r#"sig1=("@status";req)"#,
            r#"sig1=("@path")"#,
            r#"sig1=("@path";req;bs)"#,
            r#"sig1=("signature";req)"#,
            r#"sig1=();tag="other""#,
            r#"sig1=();alg="hmac-sha256""#,
            "sig1=();expires",
        ] {
            assert_eq!(accept(bad), None, "{bad}");
        }
        let signed = [("accept-signature", r#"sig1=("signature";req)"#), ("signature", "sig1=:AA==:")];
        assert!(asked(&signed).is_some());
    }
}
