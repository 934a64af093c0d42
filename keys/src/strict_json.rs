//! JSON without two readings (RFC 8259, I-JSON RFC 7493).
//!
//! Repeated members, a byte-order mark, trailing bytes, deep nesting and numbers that a double cannot hold
//! exactly are refused, so that two parsers never see two different documents.

use std::cell::RefCell;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// How deep arrays and objects may nest.
pub const DEPTH_MAX: usize = 32;

/// Doubles hold every integer up to here exactly (RFC 7493 §2.2).
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// Why a document was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}{}", .pointer.as_deref().map(|at| format!(" at {at:?}")).unwrap_or_default())]
pub struct BadJson {
    /// Where (RFC 6901), when the place is known.
    pub pointer: Option<String>,
    /// A stable code: `not_json`, `duplicate_member`, `too_deep`, `number_out_of_range`, `byte_order_mark`.
    pub reason: &'static str,
}

/// Parses one JSON document.
///
/// Integers that fit 64 bits stay exact integers; anything with a fraction or an exponent is a float.
///
/// # Errors
/// [`BadJson`] names the reason, and the place where that is known.
pub fn parse(bytes: &[u8]) -> Result<Value, BadJson> {
    if bytes.starts_with(&[0xEF, 0xBB, 0xBF]) {
        return Err(BadJson { pointer: None, reason: "byte_order_mark" });
    }
    let notes = Notes::default();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Walk { notes: &notes, depth: 0 }.deserialize(&mut reader);
    let whole = value.and_then(|value| reader.end().map(|()| value));
    whole.map_err(|_| notes.refused.into_inner().unwrap_or(BadJson { pointer: None, reason: "not_json" }))
}

/// What the walk knows besides the value: the way to the present place, and the first refusal.
#[derive(Default)]
struct Notes {
    path: RefCell<Vec<String>>,
    refused: RefCell<Option<BadJson>>,
}

impl Notes {
    fn refuse<E: de::Error>(&self, reason: &'static str) -> E {
        let pointer = self.path.borrow().iter().fold(String::new(), |mut pointer, step| {
            pointer.push('/');
            pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
            pointer
        });
        self.refused.borrow_mut().get_or_insert(BadJson { pointer: Some(pointer), reason });
        E::custom(reason)
    }
}

#[derive(Clone, Copy)]
struct Walk<'n> {
    notes: &'n Notes,
    depth: usize,
}

impl<'n> Walk<'n> {
    fn inner<E: de::Error>(self) -> Result<Walk<'n>, E> {
        if self.depth == DEPTH_MAX {
            return Err(self.notes.refuse("too_deep"));
        }
        Ok(Walk { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    /// Integers beyond 64 bits arrive here too, already rounded; they are beyond the exact range.
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        let exact = Some(value).filter(|value| value.abs() < EXACT_MAX).and_then(Number::from_f64);
        exact.map(Value::Number).ok_or_else(|| self.notes.refuse("number_out_of_range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut list = Vec::new();
        loop {
            self.notes.path.borrow_mut().push(list.len().to_string());
            let Some(item) = items.next_element_seed(inner)? else { break };
            self.notes.path.borrow_mut().pop();
            list.push(item);
        }
        self.notes.path.borrow_mut().pop();
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            self.notes.path.borrow_mut().push(name.clone());
            if object.contains_key(&name) {
                return Err(self.notes.refuse("duplicate_member"));
            }
            let value = members.next_value_seed(inner)?;
            self.notes.path.borrow_mut().pop();
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refusal(text: &str) -> (&'static str, Option<String>) {
        let bad = parse(text.as_bytes()).unwrap_err();
        (bad.reason, bad.pointer)
    }

    #[test]
    fn repeated_members_are_refused_where_they_stand() {
        assert_eq!(refusal(r#"{"a":1,"a":1}"#), ("duplicate_member", Some("/a".into())));
        assert_eq!(
            refusal(r#"{"a":[0,{"b/~":1,"b/~":2}]}"#),
            ("duplicate_member", Some("/a/1/b~1~0".into()))
        );
        assert_eq!(refusal(r#"{"a":1,"\u0061":1}"#), ("duplicate_member", Some("/a".into())));
        assert!(parse(br#"{"a":{"b":1},"b":1}"#).is_ok());
    }

    #[test]
    fn documents_with_a_second_reading_are_refused() {
        assert_eq!(refusal("\u{FEFF}{}").0, "byte_order_mark");
        for bad in
            ["", "{}{}", "{} x", "{\"a\":1,}", "[1,]", "'a'", "{a:1}", "01", "NaN", "\"\\ud800\"", "nul"]
        {
            assert_eq!(refusal(bad), ("not_json", None), "{bad:?}");
        }
        assert_eq!(parse(b"\"\xFF\"").unwrap_err().reason, "not_json");
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(nested(DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(refusal(&nested(DEPTH_MAX + 1)).0, "too_deep");
        assert_eq!(refusal(&"[".repeat(100_000)).0, "too_deep");
        assert_eq!(refusal(&"{\"a\":".repeat(100_000)).0, "too_deep");
    }

    #[test]
    fn integers_stay_exact_or_are_refused() {
        for number in [i64::MIN.to_string(), u64::MAX.to_string(), "0".into()] {
            assert_eq!(parse(number.as_bytes()).unwrap().to_string(), number);
        }
        for bad in ["18446744073709551616", "-9223372036854775809", "1e16", "1e400"] {
            assert!(matches!(refusal(bad).0, "number_out_of_range" | "not_json"), "{bad}");
        }
        assert_eq!(parse(b"1.0").unwrap().as_i64(), None);
    }

    proptest! {
        #[test]
        fn any_input_gives_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(value) = parse(&bytes) {
                let again = serde_json::to_vec(&value).unwrap();
                prop_assert_eq!(parse(&again).unwrap(), value);
            }
        }

        #[test]
        fn json_like_input_gives_an_answer(text in r#"[\[\]{}:," a01.e\\-]{0,40}"#) {
            let agreed = serde_json::from_str::<Value>(&text).is_ok();
            prop_assert!(agreed || parse(text.as_bytes()).is_err());
        }
    }
}
