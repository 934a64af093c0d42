//! The protected resource's own description (RFC 9728 §3), rendered once.

use serde_json::json;
use url::Url;

/// Where the document stands below an origin (RFC 9728 §3.1), for a resource without a path.
pub const PATH: &str = "/.well-known/oauth-protected-resource";

/// What the document says.
#[derive(Debug, Clone)]
pub struct ProtectedResource<'a> {
    /// The resource identifier: the `aud` of its tokens, a base URL without a path.
    pub resource: &'a str,
    /// The issuer of its tokens.
    pub authorization_server: &'a str,
    /// Every scope an operation asks for.
    pub scopes: Vec<&'a str>,
    /// The JWA names of the algorithms request signatures may use.
    pub signing_algorithms: Vec<&'a str>,
    /// Whether connections are asked for a client certificate, so that tokens bound to one can be used (RFC 8705 §3).
    pub certificates: bool,
}

impl ProtectedResource<'_> {
    /// The document as JSON text (RFC 9728 §2).
    pub fn render(&self) -> String {
        let base = self.resource.trim_end_matches('/');
        json!({
            "resource": self.resource,
            "authorization_servers": [self.authorization_server],
            "jwks_uri": format!("{base}/.well-known/jwks.json"),
            "scopes_supported": self.scopes,
            "bearer_methods_supported": ["header"],
            "resource_signing_alg_values_supported": self.signing_algorithms,
            "dpop_signing_alg_values_supported": keys::dpop::ALGORITHMS.map(keys::Algorithm::as_str),
            "dpop_bound_access_tokens_required": false,
            "tls_client_certificate_bound_access_tokens": self.certificates,
            "resource_documentation": format!("{base}/docs"),
            "authorization_details_types_supported": ["operation"],
        })
        .to_string()
    }
}

/// The URL of the document of `resource` (RFC 9728 §3.1: the well-known part goes between host and path).
pub fn url_of(resource: &Url) -> String {
    let path = resource.path().trim_end_matches('/');
    format!("{}{PATH}{path}", resource.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_well_known_part_goes_before_the_path() {
        let cases = [
            ("https://rs.example", "https://rs.example/.well-known/oauth-protected-resource"),
            ("https://rs.example/", "https://rs.example/.well-known/oauth-protected-resource"),
            ("http://localhost:8081/pay", "http://localhost:8081/.well-known/oauth-protected-resource/pay"),
        ];
        for (resource, expected) in cases {
            assert_eq!(url_of(&resource.parse().unwrap()), expected);
        }
    }

    #[test]
    fn the_document_names_issuer_and_scopes() {
        let text = ProtectedResource {
            resource: "https://rs.example",
            authorization_server: "https://as.example",
            scopes: vec!["a:read"],
            signing_algorithms: vec!["ES256"],
            certificates: false,
        }
        .render();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(document["authorization_servers"][0], "https://as.example");
        assert_eq!(document["scopes_supported"][0], "a:read");
        assert_eq!(document["dpop_signing_alg_values_supported"][0], "ES256");
        assert_eq!(document["jwks_uri"], "https://rs.example/.well-known/jwks.json");
    }
}
