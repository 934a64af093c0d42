//! Whom a request was meant for: the origin it names and the URI built from it (RFC 9110 §7.1, §7.4).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::Url;

use super::problem::Problem;
use super::received::Received;

/// An http or https origin (RFC 6454), such as `https://id.example.com`: no path, no query, no user, and the port
/// only where it is not the scheme's own. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin(Arc<str>);

/// The text is not an origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an origin: give scheme, host and port only, as in https://id.example.com")]
pub struct BadOrigin;

impl Origin {
    /// The whole origin, without a slash at the end.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> &str {
        self.split().0
    }

    /// Host and port as the `Host` header gives them.
    pub fn authority(&self) -> &str {
        self.split().1
    }

    /// Whether requests reach this origin over TLS.
    pub fn is_https(&self) -> bool {
        self.scheme() == "https"
    }

    /// Whether the host is this machine: `localhost`, a name below it, or a loopback address.
    pub fn is_loopback(&self) -> bool {
        let host = Url::parse(&self.0).ok();
        match host.as_ref().and_then(Url::host) {
            Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(url::Host::Ipv4(address)) => address.is_loopback(),
            Some(url::Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        }
    }

    /// The origin of a URL.
    ///
    /// # Errors
    /// [`BadOrigin`] unless the URL is http or https and names neither a user nor a password.
    pub fn of_url(url: &Url) -> Result<Self, BadOrigin> {
        let web = matches!(url.scheme(), "http" | "https");
        if !web || !url.username().is_empty() || url.password().is_some() {
            return Err(BadOrigin);
        }
        Ok(Self(url.origin().ascii_serialization().into()))
    }

    /// Whether a `Host` header means this origin; the scheme's own port may be spelled out.
    pub(crate) fn answers_to(&self, host: &str) -> bool {
        let authority = self.authority();
        let Some(named) = host.get(..authority.len()) else { return false };
        let rest = &host[authority.len()..];
        let own_port = if self.is_https() { ":443" } else { ":80" };
        named.eq_ignore_ascii_case(authority) && (rest.is_empty() || (rest == own_port && !self.has_port()))
    }

    fn has_port(&self) -> bool {
        let authority = self.authority();
        let after_host = authority.rfind(']').map_or(0, |end| end + 1);
        authority[after_host..].contains(':')
    }

    fn split(&self) -> (&str, &str) {
        self.0.split_once("://").unwrap_or_default()
    }
}

impl FromStr for Origin {
    type Err = BadOrigin;

    fn from_str(text: &str) -> Result<Self, BadOrigin> {
        let url = Url::parse(text).map_err(|_| BadOrigin)?;
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        if bare { Self::of_url(&url) } else { Err(BadOrigin) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, out)
    }
}

impl Serialize for Origin {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Origin {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// The target URI of a request (RFC 9110 §7.1) with the scheme from configuration: what signatures, proofs and
/// one-time tokens are compared with. Path and query are as sent, still percent-encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TargetUri {
    /// The public origin that the `Host` header named.
    pub origin: Origin,
    /// The path, beginning with a slash.
    pub path: String,
    /// What follows the question mark; `None` without one.
    pub query: Option<String>,
}

impl TargetUri {
    /// The target of a request that passed the gate, from its extensions.
    pub fn of(extensions: &http::Extensions) -> Option<Self> {
        let received = extensions.get::<Received>()?;
        let query = received.uri.query().map(str::to_owned);
        Some(Self { origin: received.origin.clone(), path: received.uri.path().to_owned(), query })
    }
}

impl fmt::Display for TargetUri {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}{}", self.origin, self.path)?;
        self.query.as_ref().map_or(Ok(()), |query| write!(out, "?{query}"))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for TargetUri {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Self::of(&parts.extensions).ok_or_else(Problem::not_behind_the_gate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port_only() {
        for (text, shown) in [
            ("https://id.example.com", "https://id.example.com"),
            ("https://ID.example.com:443/", "https://id.example.com"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
        ] {
            assert_eq!(text.parse::<Origin>().map(|origin| origin.to_string()), Ok(shown.to_owned()));
        }
        for text in
            ["", "id.example.com", "ftp://a", "https://a/b", "https://a?b", "https://u@a", "https://a#b"]
        {
            assert_eq!(text.parse::<Origin>(), Err(BadOrigin), "{text}");
        }
    }

    #[test]
    fn a_host_is_matched_without_case_and_with_the_schemes_own_port() {
        let web: Origin = "https://id.example.com".parse().unwrap();
        let local: Origin = "http://[::1]:8080".parse().unwrap();
        for (origin, host, expected) in [
            (&web, "id.example.com", true),
            (&web, "ID.Example.com", true),
            (&web, "id.example.com:443", true),
            (&web, "id.example.com:80", false),
            (&web, "id.example.com.", false),
            (&web, "id.example.com.evil.test", false),
            (&web, "user@id.example.com", false),
            (&web, "", false),
            (&local, "[::1]:8080", true),
            (&local, "[::1]", false),
            (&local, "[::1]:8080:80", false),
        ] {
            assert_eq!(origin.answers_to(host), expected, "{host}");
        }
    }

    #[test]
    fn loopback_is_recognised_by_host() {
        for (text, expected) in [
            ("http://localhost:1", true),
            ("http://a.localhost", true),
            ("http://127.0.0.9", true),
            ("http://[::1]", true),
            ("http://localhost.evil.test", false),
            ("http://10.0.0.1", false),
        ] {
            assert_eq!(text.parse::<Origin>().unwrap().is_loopback(), expected, "{text}");
        }
    }
}
