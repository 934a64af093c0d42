//! `GET /oauth2/jwks` (RFC 7517 §5): rendered when the keys change, never made on a request.

use axum::{
    body::Body,
    extract::State,
    http::{HeaderValue, header},
    response::Response,
};

use crate::app::App;

/// The public keys of this server.
#[utoipa::path(
    get,
    path = "/oauth2/jwks",
    tag = "Metadata",
    responses((status = 200, description = "A JWK set", content_type = "application/jwk-set+json")),
    extensions(("x-scopes" = json!([])), ("x-token-kinds" = json!([])), ("x-idempotent" = json!(false)))
)]
pub(crate) async fn jwks(State(app): State<App>) -> Response {
    let mut reply = Response::new(Body::from(app.keys.jwks().to_string()));
    let headers = reply.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jwk-set+json"));
    if let Ok(cached) = HeaderValue::try_from(app.keys.cache_control()) {
        headers.insert(header::CACHE_CONTROL, cached);
    }
    reply
}
