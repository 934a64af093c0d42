//! A set of scope tokens (RFC 6749 §3.3).

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// A set of scope tokens. Order and repeats in the input do not matter; case does.
#[derive(Debug, Clone, PartialEq, Eq, Default, Hash)]
pub struct Scope(BTreeSet<String>);

/// The token is no `scope-token` of RFC 6749 §3.3.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a scope-token: {0:?}")]
pub struct BadScope(pub String);

impl FromStr for Scope {
    type Err = BadScope;

    fn from_str(text: &str) -> Result<Self, BadScope> {
        let token_char = |byte: u8| matches!(byte, 0x21 | 0x23..=0x5B | 0x5D..=0x7E);
        let tokens = text.split(' ').filter(|token| !token.is_empty());
        let checked = tokens.map(|token| {
            let valid = token.bytes().all(token_char);
            if valid { Ok(token.to_owned()) } else { Err(BadScope(token.to_owned())) }
        });
        checked.collect::<Result<_, _>>().map(Self)
    }
}

impl Scope {
    /// Whether every token here is in `granted`. The empty scope is within any.
    pub fn is_within(&self, granted: &Scope) -> bool {
        self.0.is_subset(&granted.0)
    }

    /// The tokens in both.
    #[must_use]
    pub fn intersection(&self, other: &Scope) -> Scope {
        Self(self.0.intersection(&other.0).cloned().collect())
    }

    /// The tokens in either.
    #[must_use]
    pub fn union(&self, other: &Scope) -> Scope {
        Self(self.0.union(&other.0).cloned().collect())
    }

    /// Whether this one token is in the set.
    pub fn contains(&self, token: &str) -> bool {
        self.0.contains(token)
    }

    /// Whether there is no token at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many tokens there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The tokens, sorted.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// Sorted and separated by single spaces: the stored and the sent form.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, token) in self.iter().enumerate() {
            let space = if index == 0 { "" } else { " " };
            write!(f, "{space}{token}")?;
        }
        Ok(())
    }
}

/// Tokens that are known to be valid, such as those of [`super::scopes`].
impl<'t> FromIterator<&'t str> for Scope {
    fn from_iter<I: IntoIterator<Item = &'t str>>(tokens: I) -> Self {
        Self(tokens.into_iter().map(str::to_owned).collect())
    }
}

impl serde::Serialize for Scope {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Scope {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scope(text: &str) -> Scope {
        text.parse().unwrap()
    }

    #[test]
    fn order_and_repeats_do_not_matter_but_case_does() {
        assert_eq!(scope("b a  b "), scope("a b"));
        assert_eq!(scope("b a").to_string(), "a b");
        assert_ne!(scope("A"), scope("a"));
        assert!(scope("").is_empty() && scope("  ").is_empty());
    }

    #[test]
    fn other_characters_are_refused() {
        for bad in ["a\"b", "a\\b", "a\tb", "a\nb", "é", "a\u{7F}"] {
            assert_eq!(bad.parse::<Scope>(), Err(BadScope(bad.to_owned())), "{bad:?}");
        }
    }

    #[test]
    fn sets_narrow() {
        assert!(scope("a").is_within(&scope("a b")) && !scope("a c").is_within(&scope("a b")));
        assert!(Scope::default().is_within(&Scope::default()));
        assert_eq!(scope("a b").intersection(&scope("b c")), scope("b"));
        assert_eq!(scope("a").union(&scope("b")).to_string(), "a b");
        assert!(scope("users:read").contains("users:read") && !scope("users:read").contains("users"));
    }

    proptest! {
        #[test]
        fn what_is_displayed_reads_back(text in "[ -~]{0,60}") {
            if let Ok(scope) = text.parse::<Scope>() {
                prop_assert_eq!(scope.to_string().parse::<Scope>().unwrap(), scope);
            }
        }
    }
}
