//! Why a request was turned away: status, stable code, and the challenge that goes with it
//! (RFC 6750 §3, RFC 9728 §5.1). Rendering is the service's: see [`crate::Setup::render`].

use http::StatusCode;

use crate::requirement::Dialect;

/// A refusal. Nothing in it tells one secret from another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: StatusCode,
    /// The stable code (contract: errors).
    pub code: &'static str,
    /// One sentence for the caller's developer.
    pub detail: String,
    /// The value of `WWW-Authenticate`, on every 401 and on a 403 for want of scope.
    pub challenge: Option<String>,
    /// The value of `Accept-Signature` (RFC 9421 §5.1) when a signature is wanted.
    pub accept_signature: Option<&'static str>,
    /// Seconds for `Retry-After`.
    pub retry_after_s: Option<u32>,
    /// The value of `Allow` on a 405.
    pub allow: Option<String>,
    /// The dialect whose error shape the caller expects.
    pub dialect: Option<Dialect>,
}

/// What a signature must cover, as a client may read it from a refusal (RFC 9421 §5.1).
const ACCEPT_SIGNATURE: &str =
    "sig1=(\"@method\" \"@authority\" \"@path\" \"@query\");created;nonce;keyid;tag=\"countersign-request\"";

impl Refusal {
    pub(crate) fn new(status: StatusCode, code: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            challenge: None,
            accept_signature: None,
            retry_after_s: None,
            allow: None,
            dialect: None,
        }
    }

    /// No credentials at all: the challenge carries no error code (RFC 6750 §3.1).
    pub(crate) fn no_credentials() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "invalid_token", "This operation needs an access token.")
            .challenged("Bearer")
    }

    /// The credentials came in a wrong way (RFC 6750 §3.1 `invalid_request`).
    pub(crate) fn bad_request(detail: &str) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", detail)
            .challenged("Bearer error=\"invalid_request\"")
    }

    /// The token does not count: expired, revoked, malformed, not for us (RFC 6750 §3.1).
    pub(crate) fn invalid_token(detail: &str) -> Self {
        let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{detail}\"");
        Self::new(StatusCode::UNAUTHORIZED, "invalid_token", detail).challenged(&challenge)
    }

    /// The token is bound to a key and the request does not prove possession of it, or the proof wants something
    /// (RFC 9449 §7.1, §9): `error` is the code.
    pub(crate) fn dpop(error: &'static str, detail: &str) -> Self {
        let algs = keys::dpop::algorithm_names();
        let challenge = format!("DPoP error=\"{error}\", error_description=\"{detail}\", algs=\"{algs}\"");
        Self::new(StatusCode::UNAUTHORIZED, error, detail).challenged(&challenge)
    }

    /// The token's kind is not one this operation takes.
    pub(crate) fn wrong_token_kind(kind: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "wrong_token_kind",
            format!("This operation does not take a token of the kind {kind}."),
        )
    }

    /// The token does not grant what the operation needs (RFC 6750 §3.1); `needed` is a scope string.
    pub(crate) fn insufficient_scope(needed: &str) -> Self {
        let challenge = format!("Bearer error=\"insufficient_scope\", scope=\"{needed}\"");
        Self::new(
            StatusCode::FORBIDDEN,
            "insufficient_scope",
            format!("This operation needs the scope {needed}."),
        )
        .challenged(&challenge)
    }

    /// The client must sign its requests and this one's signature is missing or does not hold.
    pub(crate) fn bad_signature(code: &'static str, detail: &str) -> Self {
        let mut refusal = Self::new(StatusCode::UNAUTHORIZED, code, detail).challenged("Bearer");
        refusal.accept_signature = Some(ACCEPT_SIGNATURE);
        refusal
    }

    /// Something the guard needs is away; the same request may be sent again.
    pub(crate) fn unavailable(code: &'static str, detail: &str) -> Self {
        let mut refusal = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        refusal.retry_after_s = Some(1);
        refusal
    }

    pub(crate) fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", "There is nothing here.")
    }

    pub(crate) fn method_not_allowed(allow: String) -> Self {
        let mut refusal = Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "This path does not take that method.",
        );
        refusal.allow = Some(allow);
        refusal
    }

    fn challenged(mut self, challenge: &str) -> Self {
        self.challenge = Some(challenge.to_owned());
        self
    }

    /// Adds where the resource's metadata stands to the challenge (RFC 9728 §5.1).
    pub(crate) fn pointing_to(mut self, metadata_url: &str) -> Self {
        self.challenge = self.challenge.map(|challenge| pointing_to(&challenge, metadata_url));
        self
    }

    pub(crate) fn in_dialect(mut self, dialect: Option<Dialect>) -> Self {
        self.dialect = dialect;
        self
    }
}

/// A challenge with the place of the resource's metadata added (RFC 9728 §5.1).
pub(crate) fn pointing_to(challenge: &str, metadata_url: &str) -> String {
    let separator = if challenge.contains('=') { "," } else { "" };
    format!("{challenge}{separator} resource_metadata=\"{metadata_url}\"")
}

/// A challenge for whoever speaks DPoP: the same, under that scheme (RFC 9449 §7.1).
pub(crate) fn under_dpop(challenge: &str) -> String {
    let Some(parameters) = challenge.strip_prefix("Bearer") else { return challenge.to_owned() };
    let separator = if parameters.contains('=') { "," } else { "" };
    format!("DPoP{parameters}{separator} algs=\"{}\"", keys::dpop::algorithm_names())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_challenge_without_an_error_is_joined_by_a_space() {
        let refusal = Refusal::no_credentials().pointing_to("https://rs/x");
        assert_eq!(refusal.challenge.as_deref(), Some("Bearer resource_metadata=\"https://rs/x\""));
    }

    #[test]
    fn a_challenge_with_an_error_is_joined_by_a_comma() {
        let refusal = Refusal::insufficient_scope("a:read").pointing_to("https://rs/x");
        assert_eq!(
            refusal.challenge.as_deref(),
            Some("Bearer error=\"insufficient_scope\", scope=\"a:read\", resource_metadata=\"https://rs/x\"")
        );
    }

    #[test]
    fn a_challenge_can_be_said_under_the_scheme_dpop() {
        assert_eq!(under_dpop("Bearer"), "DPoP algs=\"ES256 EdDSA PS256 RS256\"");
        assert_eq!(under_dpop("Bearer error=\"x\""), "DPoP error=\"x\", algs=\"ES256 EdDSA PS256 RS256\"");
        let own = Refusal::dpop("use_dpop_nonce", "d").challenge.unwrap();
        assert_eq!(under_dpop(&own), own);
    }

    #[test]
    fn a_refusal_without_a_challenge_stays_without() {
        assert_eq!(Refusal::wrong_token_kind("user").pointing_to("https://rs/x").challenge, None);
    }
}
