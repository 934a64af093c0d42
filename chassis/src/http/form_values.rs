//! serde over decoded parameters: every value is text, a number where a number is asked for, or a list where the
//! parameter may repeat.

use std::borrow::Cow;
use std::fmt::Display;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};

use super::problem::BadInput;

/// Names and their values, each list with one value at least.
pub(super) type Parameters<'p> = Vec<(Cow<'p, str>, Vec<Cow<'p, str>>)>;

/// Fills `T` from the parameters.
///
/// # Errors
/// A 400 with the parameter's name.
pub(super) fn deserialize<T: DeserializeOwned>(parameters: Parameters<'_>) -> Result<T, BadInput> {
    let pairs = parameters.into_iter().map(|(name, values)| (name, Values(values)));
    serde_path_to_error::deserialize(MapDeserializer::<_, Refused>::new(pairs)).map_err(|wrong| {
        let place = wrong.path().to_string();
        match wrong.into_inner() {
            Refused::Missing(name) => BadInput::new("missing_field", "A parameter is missing.").at(name),
            Refused::Invalid => BadInput::new("invalid_value", "A parameter is not acceptable.").at(place),
        }
    })
}

/// Why a value was refused; never with the value.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("missing")]
    Missing(&'static str),
    #[error("invalid")]
    Invalid,
}

impl de::Error for Refused {
    fn custom<T: Display>(_said: T) -> Self {
        Self::Invalid
    }

    fn missing_field(field: &'static str) -> Self {
        Self::Missing(field)
    }
}

struct Values<'p>(Vec<Cow<'p, str>>);

impl<'p> Values<'p> {
    /// The only value; one that repeats was let through for a list alone.
    fn single(self) -> Result<Cow<'p, str>, Refused> {
        let mut values = self.0.into_iter();
        match (values.next(), values.next()) {
            (Some(value), None) => Ok(value),
            _ => Err(Refused::Invalid),
        }
    }
}

impl<'p> IntoDeserializer<'p, Refused> for Values<'p> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

macro_rules! parsed {
    ($($ask:ident => $visit:ident),+ $(,)?) => {$(
        fn $ask<V: Visitor<'p>>(self, visitor: V) -> Result<V::Value, Refused> {
            visitor.$visit(self.single()?.parse().map_err(|_| Refused::Invalid)?)
        }
    )+};
}

impl<'p> Deserializer<'p> for Values<'p> {
    type Error = Refused;

    fn deserialize_any<V: Visitor<'p>>(self, visitor: V) -> Result<V::Value, Refused> {
        match self.single()? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    fn deserialize_option<V: Visitor<'p>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'p>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_seq(SeqDeserializer::new(self.0.into_iter().map(|value| Values(vec![value]))))
    }

    fn deserialize_newtype_struct<V: Visitor<'p>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'p>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_enum(self.single()?.into_deserializer())
    }

    parsed! {
        deserialize_bool => visit_bool,
        deserialize_i8 => visit_i8, deserialize_i16 => visit_i16,
        deserialize_i32 => visit_i32, deserialize_i64 => visit_i64,
        deserialize_u8 => visit_u8, deserialize_u16 => visit_u16,
        deserialize_u32 => visit_u32, deserialize_u64 => visit_u64,
    }

    serde::forward_to_deserialize_any! {
        <V: Visitor<'p>>
        i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        tuple tuple_struct map struct identifier ignored_any
    }
}
