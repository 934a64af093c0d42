//! How answers go wrong.

use std::convert::Infallible;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

use super::server::Sandbox;

/// A refusal with a code.
pub(super) fn refused(status: StatusCode, code: &str) -> Response {
    (status, Json(json!({ "error": code }))).into_response()
}

/// Says nothing until the caller has given up.
pub(super) async fn silence(sandbox: &Sandbox) -> Response {
    tokio::time::sleep(sandbox.silence).await;
    refused(StatusCode::GATEWAY_TIMEOUT, "timeout")
}

/// An answer whose body stops before its announced end: the caller reads a head and then a broken line.
pub(super) fn broken_off() -> Response {
    let parts = futures_util::stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"{\"id\":"))]);
    let response = Response::builder().status(StatusCode::OK).header("content-length", "4096");
    response.body(Body::from_stream(parts)).unwrap_or_else(|_| StatusCode::OK.into_response())
}

/// A complete answer whose JSON is not.
pub(super) fn truncated(body: &[u8]) -> Response {
    let half = body.get(..body.len() / 2).unwrap_or_default();
    (StatusCode::OK, [("content-type", "application/json")], half.to_vec()).into_response()
}

/// A success that is no charge.
pub(super) fn garbage() -> Response {
    (StatusCode::OK, "<html>all is well</html>").into_response()
}
