//! JSON bodies with one reading (RFC 8259): no duplicate members, no members that nobody asked for.

use std::borrow::Cow;
use std::marker::PhantomData;

use axum::body::Bytes;
use axum::extract::FromRequestParts;
use axum::response::IntoResponse;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

use super::problem::{BadInput, Problem};
use super::received::Received;

/// A JSON body as `T`, whose type says `deny_unknown_fields`.
///
/// # Errors
/// A [`BadInput`], turned into `R`: 415 without `application/json`; 400 for what is not JSON, has a repeated,
/// unknown or missing member, or a member of the wrong type; 422 for a value that its type refuses. The pointer
/// (RFC 6901) names the place; values are never quoted.
pub struct StrictJson<T, R = Problem> {
    /// The body, typed.
    pub value: T,
    /// The body as it arrived.
    pub raw: Bytes,
    refusal: PhantomData<fn() -> R>,
}

impl<T, R, S> FromRequestParts<S> for StrictJson<T, R>
where
    T: DeserializeOwned,
    R: From<BadInput> + IntoResponse,
    S: Send + Sync,
{
    type Rejection = R;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, R> {
        let raw = body_of(parts).map_err(R::from)?;
        let value = media_type(&parts.headers, "application/json").and_then(|()| parse(&raw));
        Ok(Self { value: value.map_err(R::from)?, raw, refusal: PhantomData })
    }
}

/// The body that the gate has read.
pub(super) fn body_of(parts: &Parts) -> Result<Bytes, BadInput> {
    let received = parts.extensions.get::<Received>().map(|received| received.body.clone());
    received.ok_or_else(|| {
        tracing::error!("the route is not behind the gate");
        BadInput::new("internal", "The body was not read.").status(StatusCode::INTERNAL_SERVER_ERROR)
    })
}

/// Refuses with 415 unless there is exactly one `Content-Type`, it is `expected`, and its charset, if any, UTF-8.
pub(super) fn media_type(headers: &HeaderMap, expected: &str) -> Result<(), BadInput> {
    let mut given = headers.get_all(CONTENT_TYPE).iter();
    let (first, second) = (given.next().and_then(|value| value.to_str().ok()), given.next());
    let fits = second.is_none()
        && first.is_some_and(|value| {
            let mut pieces = value.split(';').map(str::trim);
            pieces.next().is_some_and(|essence| essence.eq_ignore_ascii_case(expected))
                && pieces.all(|parameter| {
                    parameter.is_empty()
                        || parameter.eq_ignore_ascii_case("charset=utf-8")
                        || parameter.eq_ignore_ascii_case("charset=\"utf-8\"")
                })
        });
    if fits {
        return Ok(());
    }
    let detail = format!("The body must be {expected}, in UTF-8, and the header Content-Type must say so.");
    Err(BadInput::new("unsupported_media_type", detail).status(StatusCode::UNSUPPORTED_MEDIA_TYPE))
}

fn parse<T: DeserializeOwned>(raw: &[u8]) -> Result<T, BadInput> {
    let document = keys::strict_json::parse(raw).map_err(|bad| {
        let refused = BadInput::new(bad.reason, "The body is not JSON with exactly one reading.");
        match bad.pointer {
            Some(pointer) => refused.at(pointer),
            None => refused,
        }
    })?;
    serde_path_to_error::deserialize(document)
        .map_err(|wrong| judge(&pointer(wrong.path()), &wrong.inner().to_string()))
}

/// serde tells kinds of errors apart only by their text. The text may quote values, so none of it is sent on
/// except the name of a missing member, which is ours.
fn judge(place: &str, said: &str) -> BadInput {
    let name = || said.split('`').nth(1).unwrap_or_default();
    if said.starts_with("missing field") {
        let missing = format!("{place}/{}", escape(name()));
        return BadInput::new("missing_field", "A member is missing.").at(missing);
    }
    if said.starts_with("unknown field") {
        return BadInput::new("unknown_field", "A member is not known here.").at(place);
    }
    if said.starts_with("invalid type") || said.starts_with("invalid length") {
        return BadInput::new("wrong_type", "A value has the wrong JSON type.").at(place);
    }
    let refused = BadInput::new("invalid_value", "A value is not acceptable.").at(place);
    refused.status(StatusCode::UNPROCESSABLE_ENTITY)
}

fn pointer(path: &Path) -> String {
    path.iter().fold(String::new(), |mut pointer, step| {
        let step: Cow<'_, str> = match step {
            Segment::Seq { index } => index.to_string().into(),
            Segment::Map { key } => escape(key).into(),
            Segment::Enum { variant } => escape(variant).into(),
            Segment::Unknown => return pointer,
        };
        pointer.push('/');
        pointer.push_str(&step);
        pointer
    })
}

/// RFC 6901 §3.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only whether it parses matters")]
    struct Order {
        amount: i64,
        currency: Currency,
        #[serde(default)]
        lines: Vec<Line>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only whether it parses matters")]
    struct Line {
        text: String,
    }

    #[derive(Debug, Deserialize)]
    enum Currency {
        #[serde(rename = "EUR")]
        Euro,
    }

    fn refusal(body: &str) -> (u16, &'static str, String) {
        let bad = parse::<Order>(body.as_bytes()).unwrap_err();
        (bad.status.as_u16(), bad.code, bad.pointer.unwrap_or_else(|| "none".to_owned()))
    }

    #[test]
    fn a_fitting_body_is_taken() {
        let order: Order = parse(br#"{"amount":5,"currency":"EUR","lines":[{"text":"a"}]}"#).unwrap();
        assert_eq!(order.lines.len(), 1);
    }

    #[test]
    fn each_refusal_names_its_place_and_never_the_value() {
        for (body, status, code, place) in [
            (r#"{"amount":"5","currency":"EUR"}"#, 400, "wrong_type", "/amount"),
            (r#"{"amount":5.0,"currency":"EUR"}"#, 400, "wrong_type", "/amount"),
            (r#"{"amount":9223372036854775808,"currency":"EUR"}"#, 422, "invalid_value", "/amount"),
            (r#"{"amount":5,"currency":"XXX"}"#, 422, "invalid_value", "/currency"),
            (r#"{"amount":5}"#, 400, "missing_field", "/currency"),
            (r#"{"amount":5,"currency":"EUR","a/b":1}"#, 400, "unknown_field", "/a~1b"),
            (
                r#"{"amount":5,"currency":"EUR","lines":[{"text":"a"},{"txt":1}]}"#,
                400,
                "unknown_field",
                "/lines/1/txt",
            ),
            (r#"{"amount":5,"currency":"EUR","lines":[{}]}"#, 400, "missing_field", "/lines/0/text"),
            (r#"{"amount":5,"currency":"EUR","lines":{}}"#, 400, "wrong_type", "/lines"),
            ("[]", 400, "wrong_type", ""),
            ("5", 400, "wrong_type", ""),
            ("", 400, "not_json", "none"),
        ] {
            assert_eq!(refusal(body), (status, code, place.to_owned()), "{body}");
        }
    }

    #[test]
    fn only_the_media_type_asked_for_is_taken() {
        for (value, fits) in [
            ("application/json", true),
            ("Application/JSON; charset=UTF-8", true),
            ("application/json;", true),
            ("application/json; charset=latin1", false),
            ("application/json; boundary=x", false),
            ("text/json", false),
            ("application/jsonx", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.append(CONTENT_TYPE, value.parse().unwrap());
            assert_eq!(media_type(&headers, "application/json").is_ok(), fits, "{value}");
            headers.append(CONTENT_TYPE, value.parse().unwrap());
            assert!(media_type(&headers, "application/json").is_err(), "twice {value}");
        }
        assert!(media_type(&HeaderMap::new(), "application/json").is_err());
    }
}
