//! The one operation that a user token is good for: its URI and the allow-list that it must be on.

use url::Url;

/// An operation that user tokens may be issued for.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowedOperation {
    /// Upper-case HTTP method.
    pub method: String,
    /// A path whose segments are texts or `{name}`. A `{userId}` must be the subject's own external id.
    pub path: String,
    /// The scope that the issuing client's policy must hold.
    pub scope: String,
}

impl AllowedOperation {
    /// The values of the template's parameters if `path` is one of its paths.
    pub fn parameters<'p>(&self, path: &'p str) -> Option<Vec<(&str, &'p str)>> {
        let (mut template, mut actual) = (self.path.split('/'), path.split('/'));
        let mut found = Vec::new();
        loop {
            match (template.next(), actual.next()) {
                (None, None) => return Some(found),
                (Some(expected), Some(segment)) => match parameter(expected) {
                    Some(name) if is_plain_segment(segment) => found.push((name, segment)),
                    None if expected == segment => {}
                    _ => return None,
                },
                _ => return None,
            }
        }
    }

    /// What is wrong with this entry, for configuration and the platform file.
    pub fn problem(&self) -> Option<&'static str> {
        if self.method.is_empty() || !self.method.bytes().all(|byte| byte.is_ascii_uppercase()) {
            return Some("method must be in upper case");
        }
        let well_formed = |segment: &str| {
            parameter(segment).map_or_else(|| is_plain_segment(segment), |name| !name.is_empty())
        };
        match self.path.strip_prefix('/') {
            Some(rest) if rest.split('/').all(well_formed) => None,
            _ => Some("path must start with / and have plain or {named} segments"),
        }
    }
}

fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// One or more unreserved characters (RFC 3986 §2.3), and not a dot segment.
fn is_plain_segment(segment: &str) -> bool {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    !segment.is_empty() && !matches!(segment, "." | "..") && segment.bytes().all(unreserved)
}

/// A target URI in the one form that the resource API compares with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationUri {
    uri: String,
    path: String,
}

/// Why a URL cannot name an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadOperationUri {
    /// Not an absolute URL in printable ASCII, or longer than 1,022 characters.
    #[error("not an absolute URL")]
    Malformed,
    /// It carries a user name or password.
    #[error("a URL with user information")]
    UserInformation,
    /// It has a fragment.
    #[error("a URL with a fragment")]
    Fragment,
    /// Two readers could see two different targets in it.
    #[error(
        "an ambiguous path or query: dot segments, empty segments, backslashes or needless percent-encoding"
    )]
    Ambiguous,
    /// Its origin is not one of the resource API's.
    #[error("an origin that is not the resource API's")]
    ForeignOrigin,
}

impl OperationUri {
    /// Parses and normalises: scheme and host in lower case, no default port. Everything else must be canonical.
    ///
    /// # Errors
    /// [`BadOperationUri`] when it is foreign or ambiguous.
    pub fn parse(text: &str, origins: &[String]) -> Result<Self, BadOperationUri> {
        if text.len() > 1022 || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(BadOperationUri::Malformed);
        }
        if text.contains('\\') {
            return Err(BadOperationUri::Ambiguous);
        }
        let (_, after_scheme) = text.split_once("://").ok_or(BadOperationUri::Malformed)?;
        let url = Url::parse(text).map_err(|_| BadOperationUri::Malformed)?;
        if !url.username().is_empty() || url.password().is_some() || authority(after_scheme).contains('@') {
            return Err(BadOperationUri::UserInformation);
        }
        if text.contains('#') {
            return Err(BadOperationUri::Fragment);
        }
        let origin = url.origin().ascii_serialization();
        if !origins.contains(&origin) {
            return Err(BadOperationUri::ForeignOrigin);
        }
        let written = &after_scheme[authority(after_scheme).len()..];
        let (path, query) =
            written.split_once('?').map_or((written, None), |(path, query)| (path, Some(query)));
        if path != url.path() || query != url.query() || !is_canonical_path(path) {
            return Err(BadOperationUri::Ambiguous);
        }
        if !query.is_none_or(|query| !query.is_empty() && is_canonical(query)) {
            return Err(BadOperationUri::Ambiguous);
        }
        Ok(Self { uri: format!("{origin}{written}"), path: path.to_owned() })
    }

    /// Origin, path and query.
    pub fn as_str(&self) -> &str {
        &self.uri
    }

    /// The path alone.
    pub fn path(&self) -> &str {
        &self.path
    }
}

fn authority(after_scheme: &str) -> &str {
    after_scheme.find(['/', '?', '#']).map_or(after_scheme, |end| &after_scheme[..end])
}

fn is_canonical_path(path: &str) -> bool {
    let encoded_separator = ["%2F", "%5C", "%00"].iter().any(|bad| path.contains(bad));
    path.len() > 1
        && path[1..].split('/').all(|segment| !segment.is_empty() && !matches!(segment, "." | ".."))
        && !path.contains(';')
        && !encoded_separator
        && is_canonical(path)
}

/// Percent-encoding only where it is needed, and in upper case (RFC 3986 §6.2.2).
fn is_canonical(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digit = |at: usize| match bytes.get(at) {
        Some(byte @ b'0'..=b'9') => Some(byte - b'0'),
        Some(byte @ b'A'..=b'F') => Some(byte - b'A' + 10),
        _ => None,
    };
    (0..bytes.len()).filter(|at| bytes[*at] == b'%').all(|at| match (digit(at + 1), digit(at + 2)) {
        (Some(high), Some(low)) => {
            let byte = high * 16 + low;
            !byte.is_ascii_alphanumeric() && !matches!(byte, b'-' | b'.' | b'_' | b'~')
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<OperationUri, BadOperationUri> {
        OperationUri::parse(text, &["http://rs.example:8081".to_owned(), "https://door.example".to_owned()])
    }

    #[test]
    fn a_plain_url_is_taken_and_its_origin_normalised() {
        for (text, uri, path) in [
            ("http://rs.example:8081/v1/fiat-ins", "http://rs.example:8081/v1/fiat-ins", "/v1/fiat-ins"),
            ("HTTPS://Door.Example:443/users/u-1/x", "https://door.example/users/u-1/x", "/users/u-1/x"),
            ("https://door.example/a?b=c%20d", "https://door.example/a?b=c%20d", "/a"),
        ] {
            let parsed = parse(text).unwrap();
            assert_eq!((parsed.as_str(), parsed.path()), (uri, path));
        }
    }

    #[test]
    fn a_foreign_or_ambiguous_url_is_refused() {
        use BadOperationUri::{Ambiguous, ForeignOrigin, Fragment, Malformed, UserInformation};
        for (text, why) in [
            ("", Malformed),
            ("/v1/fiat-ins", Malformed),
            ("http:/rs.example:8081/v1", Malformed),
            ("http://rs.example:8081/v1/ä", Malformed),
            ("http://rs.example:8081/v1/ x", Malformed),
            ("http://user@rs.example:8081/v1/fiat-ins", UserInformation),
            ("http://@rs.example:8081/v1/fiat-ins", UserInformation),
            ("http://rs.example:8081@evil.example/v1/fiat-ins", UserInformation),
            ("http://rs.example:8081/v1/fiat-ins#x", Fragment),
            ("http://rs.example:8081/v1/fiat-ins#", Fragment),
            ("http://evil.example/v1/fiat-ins", ForeignOrigin),
            ("https://rs.example:8081/v1/fiat-ins", ForeignOrigin),
            ("http://rs.example/v1/fiat-ins", ForeignOrigin),
            ("http://rs.example:8081/v1/../v1/fiat-ins", Ambiguous),
            ("http://rs.example:8081/v1/./fiat-ins", Ambiguous),
            ("http://rs.example:8081/v1/%2e%2e/fiat-ins", Ambiguous),
            ("http://rs.example:8081/v1%2Ffiat-ins", Ambiguous),
            ("http://rs.example:8081/v1%5Cfiat-ins", Ambiguous),
            ("http://rs.example:8081\\v1\\fiat-ins", Ambiguous),
            ("http://rs.example:8081/v1/%66iat-ins", Ambiguous),
            ("http://rs.example:8081/v1/a%2fb", Ambiguous),
            ("http://rs.example:8081/v1/a%zz", Ambiguous),
            ("http://rs.example:8081//v1/fiat-ins", Ambiguous),
            ("http://rs.example:8081/v1/fiat-ins/", Ambiguous),
            ("http://rs.example:8081/v1/fiat-ins;x=1", Ambiguous),
            ("http://rs.example:8081/v1/fiat-ins?", Ambiguous),
            ("http://rs.example:8081", Ambiguous),
        ] {
            assert_eq!(parse(text), Err(why), "{text}");
        }
    }

    #[test]
    fn templates_match_segment_by_segment() {
        let funding = AllowedOperation {
            method: "POST".into(),
            path: "/users/{userId}/wallets/fiat/{walletId}/funding".into(),
            scope: "fiat_ins:execute".into(),
        };
        assert_eq!(funding.problem(), None);
        assert_eq!(
            funding.parameters("/users/u-1/wallets/fiat/w.2/funding"),
            Some(vec![("userId", "u-1"), ("walletId", "w.2")])
        );
        for other in [
            "/users/u-1/wallets/fiat/w/funding/",
            "/users/u-1/wallets/fiat//funding",
            "/users/u-1/wallets/fiat/w",
            "/users/u%41/wallets/fiat/w/funding",
            "/users/../wallets/fiat/w/funding",
        ] {
            assert_eq!(funding.parameters(other), None, "{other}");
        }
    }

    #[test]
    fn a_malformed_entry_is_named() {
        for (method, path) in
            [("post", "/v1/x"), ("", "/v1/x"), ("POST", "v1/x"), ("POST", "/v1//x"), ("POST", "/{}")]
        {
            let entry = AllowedOperation { method: method.into(), path: path.into(), scope: "s".into() };
            assert!(entry.problem().is_some(), "{method} {path}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_taken_reads_back_as_itself(rest in "[a-zA-Z0-9/.%?#@;:\\\\ _~-]{0,40}") {
            if let Ok(parsed) = parse(&format!("http://rs.example:8081/{rest}")) {
                proptest::prop_assert_eq!(parse(parsed.as_str()), Ok(parsed.clone()));
                proptest::prop_assert!(parsed.path().split('/').all(|part| part != ".."));
                proptest::prop_assert!(parsed.as_str().starts_with("http://rs.example:8081/"));
            }
        }
    }
}
