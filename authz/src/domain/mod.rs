//! Pure rules and newtypes: no async, no SQL, no HTTP.

pub mod audience;
pub mod certificate;
pub mod client;
pub mod operation;
pub mod partner;
pub mod subject;

/// Declares an enum whose variants have one text each, in the database, on the wire and in the platform file.
macro_rules! text_enum {
    ($(#[$meta:meta])* $name:ident { $($(#[$variant_meta:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize, utoipa::ToSchema,
        )]
        pub enum $name {
            $($(#[$variant_meta])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// Every variant.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// The stored and transmitted text.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = crate::domain::UnknownText;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text { $($text => Ok(Self::$variant),)+ _ => Err(crate::domain::UnknownText) }
            }
        }
    };
}
pub(crate) use text_enum;

/// A text that names none of an enumeration's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not one of the known values")]
pub struct UnknownText;

text_enum! {
    /// Whether a partner, client or subject may be used.
    Status {
        /// May be used.
        Active = "active",
        /// Refused everywhere within a second.
        Disabled = "disabled",
    }
}

/// An operator's short name for a partner or client: 1 to 64 of `a-z 0-9 - _`, a letter or digit first.
pub fn is_alias(text: &str) -> bool {
    let plain = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= 64
        && text.as_bytes().first().is_some_and(plain)
        && text.bytes().all(|byte| plain(&byte) || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_are_short_and_plain() {
        for good in ["acme", "acme-backend", "a1_b", "7"] {
            assert!(is_alias(good), "{good}");
        }
        for bad in ["", "-a", "Acme", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert!(!is_alias(bad), "{bad}");
        }
    }

    #[test]
    fn texts_and_variants_map_both_ways() {
        for status in Status::ALL {
            assert_eq!(status.as_str().parse(), Ok(*status));
        }
        assert_eq!("Active".parse::<Status>(), Err(UnknownText));
    }
}
