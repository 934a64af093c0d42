//! Authorization server metadata (RFC 8414) and `OpenID` Provider configuration (OpenID Connect Discovery): one
//! document at both paths. It advertises what exists and nothing else.

use axum::{
    body::{Body, Bytes},
    extract::State,
    http::{HeaderValue, header},
    response::Response,
};
use keys::{Algorithm, dpop, token::scopes};
use serde_json::json;

use crate::{
    app::App,
    config::Config,
    crypto::assertion::ASSERTION_ALGORITHMS,
    domain::client::{AuthMethod, GrantType},
};

/// Documents that are rendered once.
#[derive(Debug)]
pub(crate) struct Documents {
    /// The metadata document.
    pub(crate) discovery: Bytes,
}

impl Documents {
    /// Renders them.
    pub(crate) fn new(config: &Config) -> Self {
        Self { discovery: discovery(config).into() }
    }
}

fn discovery(config: &Config) -> String {
    let at = |path: &str| format!("{}{path}", config.issuer);
    let known = scopes::AUTHORIZATION_SERVER.iter().chain(scopes::RESOURCE_API);
    let mut scopes: Vec<&str> =
        known.map(|scope| scope.name).filter(|name| !scopes::NEUTRAL.contains(name)).collect();
    scopes.sort_unstable();
    let certificates = config.listener.asks_for_certificates();
    // `none` is how a client says that it has no credentials; no grant of this build is for such clients.
    let methods: Vec<&str> = AuthMethod::ALL
        .iter()
        .filter(|method| match method {
            AuthMethod::None => false,
            AuthMethod::TlsClientAuth => certificates,
            _ => true,
        })
        .map(|method| method.as_str())
        .collect();
    let grants: Vec<&str> = GrantType::ALL.iter().map(|grant| grant.as_str()).collect();
    let mut document = json!({
        "issuer": config.issuer,
        "token_endpoint": at("/oauth2/token"),
        "jwks_uri": at("/oauth2/jwks"),
        "scopes_supported": scopes,
        "response_types_supported": [],
        "grant_types_supported": grants,
        "subject_types_supported": ["public"],
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": ASSERTION_ALGORITHMS.map(Algorithm::as_str),
        "dpop_signing_alg_values_supported": dpop::ALGORITHMS.map(Algorithm::as_str),
        "service_documentation": at("/docs/"),
        "protected_resources": [config.resource_api],
    });
    if certificates {
        document["tls_client_certificate_bound_access_tokens"] = true.into();
    }
    document.to_string()
}

fn document(app: &App) -> Response {
    let mut reply = Response::new(Body::from(app.documents.discovery.clone()));
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    reply
}

/// Metadata of this server (OpenID Connect Discovery).
#[utoipa::path(
    get,
    path = "/.well-known/openid-configuration",
    tag = "Metadata",
    responses((status = 200, description = "The metadata", content_type = "application/json")),
    extensions(("x-scopes" = json!([])), ("x-token-kinds" = json!([])), ("x-idempotent" = json!(false)))
)]
pub(crate) async fn openid_configuration(State(app): State<App>) -> Response {
    document(&app)
}

/// Metadata of this server (RFC 8414).
#[utoipa::path(
    get,
    path = "/.well-known/oauth-authorization-server",
    tag = "Metadata",
    responses((status = 200, description = "The metadata", content_type = "application/json")),
    extensions(("x-scopes" = json!([])), ("x-token-kinds" = json!([])), ("x-idempotent" = json!(false)))
)]
pub(crate) async fn oauth_authorization_server(State(app): State<App>) -> Response {
    document(&app)
}
