//! Form bodies and queries in which every parameter has one value (RFC 6749 §3.1, §3.2).

use std::borrow::Cow;
use std::marker::PhantomData;

use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::response::IntoResponse;
use http::request::Parts;
use percent_encoding::percent_decode;
use serde::de::DeserializeOwned;

use super::form_values::{Parameters, deserialize};
use super::json::{body_of, media_type};
use super::problem::{BadInput, Problem};

/// The parameters that may stand more than once (RFC 8707 §2). Their fields are lists.
const REPEATABLE: [&str; 1] = ["resource"];

/// How many parameters a form or query may have.
const PARAMETERS_MAX: usize = 128;

/// An `application/x-www-form-urlencoded` body as `T`. Repeated parameters are refused, except `resource`; an
/// empty one counts as absent; unknown ones are ignored (RFC 6749 §3.2).
///
/// # Errors
/// A [`BadInput`], turned into `R`: 415 for another media type, else 400 with the parameter's name.
pub struct StrictForm<T, R = Problem> {
    /// The form, typed.
    pub value: T,
    /// The body as it arrived.
    pub raw: Bytes,
    refusal: PhantomData<fn() -> R>,
}

impl<T, R, S> FromRequestParts<S> for StrictForm<T, R>
where
    T: DeserializeOwned,
    R: From<BadInput> + IntoResponse,
    S: Send + Sync,
{
    type Rejection = R;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, R> {
        let raw = body_of(parts).map_err(R::from)?;
        let fits = media_type(&parts.headers, "application/x-www-form-urlencoded");
        let value = fits.and_then(|()| parse(&raw)).map_err(R::from)?;
        Ok(Self { value, raw, refusal: PhantomData })
    }
}

/// The query as `T`, by the rules of [`StrictForm`].
///
/// # Errors
/// A [`BadInput`], turned into `R`: 400 with the parameter's name.
pub struct StrictQuery<T, R = Problem> {
    /// The query, typed.
    pub value: T,
    refusal: PhantomData<fn() -> R>,
}

impl<T, R, S> FromRequestParts<S> for StrictQuery<T, R>
where
    T: DeserializeOwned,
    R: From<BadInput> + IntoResponse,
    S: Send + Sync,
{
    type Rejection = R;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, R> {
        let value = parse(parts.uri.query().unwrap_or_default().as_bytes()).map_err(R::from)?;
        Ok(Self { value, refusal: PhantomData })
    }
}

fn parse<T: DeserializeOwned>(encoded: &[u8]) -> Result<T, BadInput> {
    let mut parameters: Parameters<'_> = Vec::new();
    for pair in encoded.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let mut halves = pair.splitn(2, |byte| *byte == b'=');
        let name = decode(halves.next().unwrap_or_default())?;
        let value = decode(halves.next().unwrap_or_default())?;
        if parameters.len() == PARAMETERS_MAX {
            return Err(BadInput::new("too_many_parameters", "There are too many parameters."));
        }
        match parameters.iter_mut().find(|(known, _)| *known == name) {
            None => parameters.push((name, vec![value])),
            Some((_, values)) if REPEATABLE.contains(&&*name) => values.push(value),
            Some(_) => {
                let detail = "A parameter stands more than once.";
                return Err(BadInput::new("repeated_parameter", detail).at(name));
            }
        }
    }
    for (_, values) in &mut parameters {
        values.retain(|value| !value.is_empty());
    }
    parameters.retain(|(_, values)| !values.is_empty());
    deserialize(parameters)
}

/// `+` is a space, `%` begins two hexadecimal digits, and the result is UTF-8 without NUL.
fn decode(encoded: &[u8]) -> Result<Cow<'_, str>, BadInput> {
    let refused = || BadInput::new("bad_encoding", "A parameter is not percent-encoded UTF-8.");
    let plain = encoded.iter().all(|byte| !matches!(byte, b'+' | b'%' | 0 | 0x80..));
    if plain {
        return std::str::from_utf8(encoded).map(Cow::Borrowed).map_err(|_| refused());
    }
    let mut rest = encoded;
    while let Some(at) = rest.iter().position(|byte| *byte == b'%') {
        let digits = rest.get(at + 1..at + 3).ok_or_else(refused)?;
        if !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(refused());
        }
        rest = &rest[at + 3..];
    }
    let spaced: Vec<u8> = encoded.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let decoded: Vec<u8> = percent_decode(&spaced).collect();
    let text = String::from_utf8(decoded).map_err(|_| refused())?;
    if text.contains('\0') { Err(refused()) } else { Ok(Cow::Owned(text)) }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Form {
        grant_type: Option<String>,
        scope: Option<String>,
        expires_in: Option<u32>,
        wanted: Option<bool>,
        mode: Option<Mode>,
        #[serde(default)]
        resource: Vec<String>,
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Mode {
        QuickOne,
    }

    #[derive(Debug, Deserialize)]
    #[allow(dead_code, reason = "only whether it parses matters")]
    struct Needs {
        code: String,
    }

    #[test]
    fn a_form_is_decoded_and_empty_or_unknown_parameters_are_left_out() {
        let form: Form = parse(
            b"grant_type=a%2Bb+c&scope=&unknown=1&expires_in=30&wanted=true&mode=quick_one&resource=x&resource=y",
        )
        .unwrap();
        let resource = vec!["x".to_owned(), "y".to_owned()];
        let expected = Form {
            grant_type: Some("a+b c".to_owned()),
            scope: None,
            expires_in: Some(30),
            wanted: Some(true),
            mode: Some(Mode::QuickOne),
            resource,
        };
        assert_eq!(form, expected);
        assert!(parse::<Form>(b"").unwrap().resource.is_empty());
    }

    #[test]
    fn each_refusal_names_its_parameter() {
        for (body, code, name) in [
            (&b"scope=a&scope=b"[..], "repeated_parameter", Some("scope")),
            (b"scope=a&sc%6Fpe=b", "repeated_parameter", Some("scope")),
            (b"scope=&scope=", "repeated_parameter", Some("scope")),
            (b"other=1&other=2", "repeated_parameter", Some("other")),
            (b"expires_in=abc", "invalid_value", Some("expires_in")),
            (b"expires_in=-1", "invalid_value", Some("expires_in")),
            (b"mode=unknown", "invalid_value", Some("mode")),
            (b"scope=%zz", "bad_encoding", None),
            (b"scope=%4", "bad_encoding", None),
            (b"scope=%ff", "bad_encoding", None),
            (b"scope=%00", "bad_encoding", None),
            (b"scope=\xff", "bad_encoding", None),
        ] {
            let bad = parse::<Form>(body).unwrap_err();
            assert_eq!((bad.code, bad.pointer.as_deref()), (code, name));
        }
        let bad = parse::<Needs>(b"code=").unwrap_err();
        assert_eq!((bad.code, bad.pointer.as_deref()), ("missing_field", Some("code")));
    }
}
