//! A customer: the non-personal half of a subject. What identifies a person is in [`super::pii`].

use std::str::FromStr;

use keys::UnixSeconds;

use super::kyc::KycStatus;
use super::refusal::Refusal;

/// Declares an enum that is stored and sent as lower-case words.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every value, in declaration order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that is stored and sent.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::domain::customer::UnknownWord;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err($crate::domain::customer::UnknownWord),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

/// The text is none of the words of its list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("unknown word")]
pub struct UnknownWord;

words! {
    /// What a customer is.
    CustomerKind {
        /// A natural person.
        Person = "person",
        /// A legal person.
        Business = "business",
    }
}

words! {
    /// What a customer may do.
    CustomerStatus {
        /// Everything its level allows.
        Active = "active",
        /// May receive, may not send.
        Restricted = "restricted",
        /// Nothing.
        Blocked = "blocked",
        /// Gone; the rows stay.
        Closed = "closed",
    }
}

/// A customer as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Customer {
    /// The tenant.
    pub partner_id: String,
    /// `cus_…`
    pub customer_id: String,
    /// The subject at the authorization server.
    pub sub: String,
    /// The partner's own id.
    pub external_id: String,
    /// Person or business.
    pub kind: CustomerKind,
    /// Residence, ISO 3166-1 alpha-2, when told.
    pub country: Option<String>,
    /// What it may do.
    pub status: CustomerStatus,
    /// 0 nothing known, 1 computed offline, 2 and more only by a decision.
    pub kyc_level: i64,
    /// Where the identity check stands.
    pub kyc_status: KycStatus,
    /// 0 before the first personal data, then one more with every change.
    pub pii_version: i64,
    /// Keyed HMAC of the last submission of personal data.
    pub pii_mac: Option<String>,
    /// One more with every change of the row.
    pub version: i64,
    /// When it was registered.
    pub created_at: UnixSeconds,
    /// When it last changed.
    pub updated_at: UnixSeconds,
}

/// A partner's own id for a customer: 1 to 128 visible ASCII characters that are safe in a path.
///
/// It appears in events and addresses, so what looks like an e-mail address or a phone number is refused: personal
/// data would leave by the side door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalId(String);

/// The text is not fit to be an external id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an external id")]
pub struct BadExternalId;

impl ExternalId {
    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Checks what a caller sent in `pointer`.
    ///
    /// # Errors
    /// 422 `external_id_not_allowed`.
    pub fn checked(text: &str, pointer: &str) -> Result<Self, Refusal> {
        text.parse().map_err(|BadExternalId| {
            let detail = "1 to 128 of A-Z a-z 0-9 . _ ~ : - and neither an e-mail address nor a phone number";
            Refusal::unprocessable("external_id_not_allowed", pointer, detail)
        })
    }
}

impl FromStr for ExternalId {
    type Err = BadExternalId;

    fn from_str(text: &str) -> Result<Self, BadExternalId> {
        let safe = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b':' | b'-');
        let sized = (1..=128).contains(&text.len());
        let dots = text.bytes().all(|b| b == b'.');
        if sized && text.bytes().all(safe) && !looks_like_phone(text) && !dots {
            Ok(Self(text.to_owned()))
        } else {
            Err(BadExternalId)
        }
    }
}

/// Digits with separators, or with an international prefix: 7 to 17 of them. A plain number is a database id.
fn looks_like_phone(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let dialled = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'.'));
    dialled && (7..=17).contains(&digits) && (text.starts_with("00") || digits < text.len())
}

/// Whether the text is an upper-case two-letter country code.
pub fn is_country(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|b| b.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_external_id_is_opaque_and_carries_no_personal_data() {
        for good in ["u-1", "alice", "user:42", "12345678", "0189-abc", "a~b", "a".repeat(128).as_str()] {
            assert!(good.parse::<ExternalId>().is_ok(), "{good}");
        }
        let too_long = "a".repeat(129);
        for bad in [
            "",
            "a@b.example",
            "Ann Smith",
            "+4917212345",
            "0172-123-4567",
            "004917212345",
            "a/b",
            "..",
            "ü",
            too_long.as_str(),
        ] {
            assert!(bad.parse::<ExternalId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn words_round_trip() {
        for status in CustomerStatus::ALL {
            assert_eq!(status.as_str().parse::<CustomerStatus>(), Ok(*status));
        }
        assert_eq!("Active".parse::<CustomerStatus>(), Err(UnknownWord));
    }
}
