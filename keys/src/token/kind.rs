//! The kinds of access tokens. Every verifier checks the kind, not only the signature.

use std::fmt;
use std::str::FromStr;

use super::{TYP_ACCESS, TYP_OPERATION};

/// Who holds a token and how it came to be. Every endpoint lists the kinds it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum TokenKind {
    /// A client for itself.
    Client,
    /// A user who signed in.
    User,
    /// Narrowed or handed over by token exchange (RFC 8693).
    Exchanged,
    /// Bound to one operation, good once.
    OneTime,
    /// Bound to one process while it is open.
    Process,
    /// Staff.
    Employee,
}

/// The text names no token kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a token kind")]
pub struct UnknownKind;

impl TokenKind {
    /// Every kind.
    pub const ALL: [Self; 6] =
        [Self::Client, Self::User, Self::Exchanged, Self::OneTime, Self::Process, Self::Employee];

    /// The value of the `token_kind` claim.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::User => "user",
            Self::Exchanged => "exchanged",
            Self::OneTime => "one_time",
            Self::Process => "process",
            Self::Employee => "employee",
        }
    }

    /// The `typ` of tokens of this kind.
    pub fn typ(self) -> &'static str {
        if self == Self::OneTime { TYP_OPERATION } else { TYP_ACCESS }
    }

    /// Whether tokens of this kind belong to a session, so that ending it ends them.
    pub(super) fn has_session(self) -> bool {
        !matches!(self, Self::Client | Self::OneTime)
    }
}

impl fmt::Display for TokenKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for TokenKind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(UnknownKind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_read_back_and_no_other_text_is_one() {
        for kind in TokenKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        for bad in ["", "Client", "one-time", "refresh", " user"] {
            assert_eq!(bad.parse::<TokenKind>(), Err(UnknownKind), "{bad:?}");
        }
    }
}
