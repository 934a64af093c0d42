//! Claims by presence and JSON type (RFC 7519 §4).
//!
//! A claim of the wrong type is an error, never an absent claim (CVE-2026-25537), and every validator names the
//! claims it needs one by one.

use serde_json::{Map, Value};

use crate::{UnixSeconds, strict_json};

/// The largest moment that is taken for one, exclusive: 2^53, the end of the exact integers (RFC 7493 §2.2).
const TIME_MAX: i64 = 1 << 53;

/// The claims of a verified payload.
#[derive(Debug, Clone, PartialEq)]
pub struct Claims(Map<String, Value>);

/// A claim that is missing or has the wrong type; the name is that of the claim, or `payload`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("bad claim: {0}")]
pub struct BadClaim(pub &'static str);

impl Claims {
    /// Parses a payload: strict JSON, an object.
    ///
    /// # Errors
    /// [`BadClaim`]`("payload")`.
    pub fn parse(payload: &[u8]) -> Result<Self, BadClaim> {
        match strict_json::parse(payload) {
            Ok(Value::Object(members)) => Ok(Self(members)),
            _ => Err(BadClaim("payload")),
        }
    }

    /// A required string, not empty.
    ///
    /// # Errors
    /// [`BadClaim`] when it is absent, of another type or empty.
    pub fn str(&self, name: &'static str) -> Result<&str, BadClaim> {
        self.opt_str(name)?.ok_or(BadClaim(name))
    }

    /// An optional string, not empty when present.
    ///
    /// # Errors
    /// [`BadClaim`] when it is present and of another type (`null` too) or empty.
    pub fn opt_str(&self, name: &'static str) -> Result<Option<&str>, BadClaim> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(BadClaim(name)),
        }
    }

    /// A required moment: a JSON integer from 0 to 2^53, exclusive.
    ///
    /// # Errors
    /// [`BadClaim`] when it is absent or anything else, also a float such as `1.0`.
    pub fn time(&self, name: &'static str) -> Result<UnixSeconds, BadClaim> {
        self.opt_time(name)?.ok_or(BadClaim(name))
    }

    /// An optional moment.
    ///
    /// # Errors
    /// [`BadClaim`] when it is present and no such integer.
    pub fn opt_time(&self, name: &'static str) -> Result<Option<UnixSeconds>, BadClaim> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let seconds =
            value.as_i64().filter(|seconds| (0..TIME_MAX).contains(seconds)).ok_or(BadClaim(name))?;
        Ok(Some(UnixSeconds(seconds)))
    }

    /// An optional list of strings, none empty; absent reads as the empty list.
    ///
    /// # Errors
    /// [`BadClaim`] when it is present and anything else.
    pub fn strings(&self, name: &'static str) -> Result<Vec<String>, BadClaim> {
        let Some(value) = self.0.get(name) else { return Ok(Vec::new()) };
        let items = value.as_array().ok_or(BadClaim(name))?.iter();
        let text = |item: &Value| item.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        items.map(text).collect::<Option<_>>().ok_or(BadClaim(name))
    }

    /// The one audience: a string, or an array of exactly one string (RFC 7519 §4.1.3, RFC 10070).
    ///
    /// # Errors
    /// [`BadClaim`]`("aud")` for anything else.
    pub fn audience(&self) -> Result<&str, BadClaim> {
        match self.0.get("aud") {
            Some(Value::Array(list)) if list.len() == 1 => list[0].as_str(),
            Some(Value::String(text)) => Some(text.as_str()),
            _ => None,
        }
        .filter(|text| !text.is_empty())
        .ok_or(BadClaim("aud"))
    }

    /// Any claim as it stands.
    pub fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// An optional object.
    ///
    /// # Errors
    /// [`BadClaim`] when it is present and no object.
    pub fn object(&self, name: &'static str) -> Result<Option<&Map<String, Value>>, BadClaim> {
        self.0.get(name).map(|value| value.as_object().ok_or(BadClaim(name))).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(text: &str) -> Claims {
        Claims::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn a_time_is_an_integer_in_range_or_an_error() {
        let bads = ["\"1\"", "1.0", "1.5", "-1", "null", "[1]", "{}", "true", "9007199254740992"];
        for bad in bads {
            let claims = claims(&format!(r#"{{"exp":{bad}}}"#));
            assert_eq!(claims.time("exp"), Err(BadClaim("exp")), "{bad}");
            assert_eq!(claims.opt_time("exp"), Err(BadClaim("exp")), "{bad}");
        }
        for number in ["9223372036854775808", "1e3"] {
            let parsed = Claims::parse(format!(r#"{{"exp":{number}}}"#).as_bytes());
            assert!(parsed.is_err() || parsed.unwrap().time("exp").is_err(), "{number}");
        }
        assert_eq!(claims("{}").time("exp"), Err(BadClaim("exp")));
        assert_eq!(claims("{}").opt_time("exp"), Ok(None));
        assert_eq!(claims(r#"{"exp":9007199254740991}"#).time("exp"), Ok(UnixSeconds(9_007_199_254_740_991)));
    }

    #[test]
    fn a_string_of_another_type_is_not_absent() {
        for bad in ["null", "1", "[\"a\"]", "{}", "\"\""] {
            assert_eq!(claims(&format!(r#"{{"sid":{bad}}}"#)).opt_str("sid"), Err(BadClaim("sid")), "{bad}");
        }
        assert_eq!(claims("{}").opt_str("sid"), Ok(None));
        assert_eq!(claims("{}").str("sid"), Err(BadClaim("sid")));
    }

    #[test]
    fn the_audience_is_one_string() {
        assert_eq!(claims(r#"{"aud":"a"}"#).audience(), Ok("a"));
        assert_eq!(claims(r#"{"aud":["a"]}"#).audience(), Ok("a"));
        for bad in [
            r#"{"aud":["a","b"]}"#,
            r#"{"aud":[]}"#,
            r#"{"aud":""}"#,
            r#"{"aud":[1]}"#,
            "{}",
            r#"{"aud":null}"#,
        ] {
            assert_eq!(claims(bad).audience(), Err(BadClaim("aud")), "{bad}");
        }
    }

    #[test]
    fn lists_and_objects_have_their_types() {
        assert_eq!(claims(r#"{"roles":["a","b"]}"#).strings("roles").unwrap(), ["a", "b"]);
        assert!(claims("{}").strings("roles").unwrap().is_empty());
        for bad in [r#"{"roles":"a"}"#, r#"{"roles":[1]}"#, r#"{"roles":[""]}"#, r#"{"roles":null}"#] {
            assert_eq!(claims(bad).strings("roles"), Err(BadClaim("roles")), "{bad}");
        }
        assert_eq!(claims(r#"{"cnf":[]}"#).object("cnf"), Err(BadClaim("cnf")));
        assert_eq!(claims("{}").object("cnf"), Ok(None));
    }

    #[test]
    fn only_a_strict_object_is_a_payload() {
        for bad in ["[]", "1", "", r#"{"a":1,"a":2}"#, "{} "] {
            let parsed = Claims::parse(bad.as_bytes());
            assert!(parsed.is_err() || bad == "{} ", "{bad}");
        }
    }
}
