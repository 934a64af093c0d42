//! Subjects: who a token is about, registered under the partner's own id.

use super::{Status, text_enum};

text_enum! {
    /// How a subject came to be.
    SubjectKind {
        /// Registered by the partner's backend.
        Registered = "registered",
    }
}

/// A subject's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// `usr_…`, stable.
    pub sub: String,
    /// The tenant.
    pub partner_id: String,
    /// The partner's own id for this person.
    pub external_id: String,
    /// Whether tokens may be issued.
    pub status: Status,
}

/// A partner's own id for a person. It appears in events and logs, so what looks like personal data is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalId(String);

/// Why a text is no external id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadExternalId {
    /// Empty, longer than 128, or with other characters than letters, digits and `. _ ~ : -`.
    #[error("1 to 128 letters, digits, '.', '_', '~', ':' or '-'")]
    Shape,
    /// It looks like an e-mail address.
    #[error("an e-mail address is personal data: use an id of your own")]
    Email,
    /// It looks like a telephone number.
    #[error("a telephone number is personal data: use an id of your own")]
    Phone,
}

impl BadExternalId {
    /// The stable code of the refusal.
    pub fn code(self) -> &'static str {
        match self {
            Self::Shape => "external_id_malformed",
            Self::Email | Self::Phone => "external_id_is_personal_data",
        }
    }
}

impl ExternalId {
    /// Checks the text.
    ///
    /// # Errors
    /// [`BadExternalId`] says which rule it breaks.
    pub fn parse(text: &str) -> Result<Self, BadExternalId> {
        if text.contains('@') {
            return Err(BadExternalId::Email);
        }
        if looks_like_phone(text) {
            return Err(BadExternalId::Phone);
        }
        let allowed =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'~' | b':' | b'-');
        if text.is_empty() || text.len() > 128 || !text.bytes().all(allowed) {
            return Err(BadExternalId::Shape);
        }
        Ok(Self(text.to_owned()))
    }

    /// The id's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A leading `+` or `00` and at least seven digits, separators aside (E.164 has 7 to 15 digits). A plain number
/// is a legitimate database id.
fn looks_like_phone(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let international = text.starts_with('+') || text.starts_with("00");
    let dialled = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-. ()/".contains(&byte));
    dialled
        && (7..=17).contains(&digits)
        && (international || text.bytes().any(|byte| !byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_the_partner_are_taken_and_personal_data_is_not() {
        for good in ["alice", "u-1", "42", "123456789", "a.b_c~d:e", "550e8400-e29b-41d4-a716-446655440000"] {
            assert!(ExternalId::parse(good).is_ok(), "{good}");
        }
        for (bad, why) in [
            ("", BadExternalId::Shape),
            ("a b", BadExternalId::Shape),
            ("a/b", BadExternalId::Shape),
            ("ü", BadExternalId::Shape),
            ("a\n", BadExternalId::Shape),
            ("alice@example.com", BadExternalId::Email),
            ("+4915112345678", BadExternalId::Phone),
            ("004915112345678", BadExternalId::Phone),
            ("030-1234567", BadExternalId::Phone),
            ("(030) 1234567", BadExternalId::Phone),
        ] {
            assert_eq!(ExternalId::parse(bad), Err(why), "{bad}");
        }
        assert_eq!(ExternalId::parse(&"a".repeat(129)), Err(BadExternalId::Shape));
    }
}
