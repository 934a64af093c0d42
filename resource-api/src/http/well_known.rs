//! What anybody may read about this service: the protected-resource metadata (RFC 9728) and its own
//! public keys (RFC 7517).

use axum::body::Bytes;
use axum::extract::State;
use axum::response::IntoResponse;
use guard::metadata::ProtectedResource;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use keys::token::scopes;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::json_document;
use crate::app::App;
use crate::config::Config;

/// Where the key set is.
pub(crate) const JWKS_PATH: &str = "/.well-known/jwks.json";

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(metadata)).routes(routes!(jwks))
}

/// The protected-resource metadata (RFC 9728).
#[utoipa::path(
    get,
    path = "/.well-known/oauth-protected-resource",
    tag = "metadata",
    responses((status = 200, description = "Issuer, scopes and how tokens are presented", content_type = "application/json")),
    security(()),
    extensions(
        ("x-scopes" = json!([])),
        ("x-token-kinds" = json!([])),
        ("x-idempotent" = json!(false))
    )
)]
async fn metadata(State(app): State<App>) -> impl IntoResponse {
    json_document(app.metadata.clone())
}

/// The document, rendered once.
pub(crate) fn render_metadata(config: &Config) -> Bytes {
    let document = ProtectedResource {
        resource: config.resource.as_str(),
        authorization_server: config.issuer.as_str(),
        scopes: scopes::RESOURCE_API.iter().map(|scope| scope.name).collect(),
        signing_algorithms: vec!["ES256", "EdDSA"],
        certificates: config.listener.asks_for_certificates(),
    };
    Bytes::from(document.render())
}

/// The service's own public keys (RFC 7517 §5), with which its reports, call-backs and webhooks in a vendor's envelope
/// are signed.
#[utoipa::path(
    get,
    path = "/.well-known/jwks.json",
    tag = "metadata",
    responses((status = 200, description = "A JWK set", content_type = "application/jwk-set+json")),
    security(()),
    extensions(
        ("x-scopes" = json!([])),
        ("x-token-kinds" = json!([])),
        ("x-idempotent" = json!(false))
    )
)]
async fn jwks(State(app): State<App>) -> impl IntoResponse {
    let headers =
        [(CONTENT_TYPE, "application/jwk-set+json".to_owned()), (CACHE_CONTROL, app.keyring.cache_control())];
    (headers, app.keyring.jwks_with(app.webhook_keys.known()).to_string())
}
