//! Moments. The crate never reads a clock: a moment is always an argument.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Seconds since the Unix epoch, UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixSeconds(pub i64);

impl UnixSeconds {
    /// The moment `seconds` later (earlier when negative). Saturates at the ends of the range, so that no
    /// hostile number can wrap into the past.
    #[must_use]
    pub fn plus(self, seconds: i64) -> Self {
        Self(self.0.saturating_add(seconds))
    }

    /// Seconds from `earlier` to this moment; negative when `earlier` is later. Saturates.
    pub fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for UnixSeconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arithmetic_saturates_instead_of_wrapping() {
        assert_eq!(UnixSeconds(i64::MAX).plus(1), UnixSeconds(i64::MAX));
        assert_eq!(UnixSeconds(i64::MIN).plus(-1), UnixSeconds(i64::MIN));
        assert_eq!(UnixSeconds(i64::MAX).since(UnixSeconds(-1)), i64::MAX);
        assert_eq!(UnixSeconds(100).plus(20).since(UnixSeconds(90)), 30);
    }

    #[test]
    fn a_moment_is_an_integer_in_json() {
        assert_eq!(serde_json::to_string(&UnixSeconds(7)).unwrap(), "7");
        assert_eq!(serde_json::from_str::<UnixSeconds>("7").unwrap(), UnixSeconds(7));
        assert!(serde_json::from_str::<UnixSeconds>("7.0").is_err());
        assert!(serde_json::from_str::<UnixSeconds>("\"7\"").is_err());
    }
}
