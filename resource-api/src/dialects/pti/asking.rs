//! The vendor's id of a request, which is the id of the transaction and the key under which a repeat is known.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use chassis::http::TargetUri;
use http::request::Parts;

use super::PtiRefusal;
use crate::app::App;
use crate::auth::Unnamed;
use crate::domain::refusal::Refusal;

/// The header that names a request in version 1. Version 0 has the body's `id` alone.
const REQUEST_ID: &str = "x-pti-request-id";

/// An operation that somebody asks for in this dialect.
pub(super) struct Asking {
    pub(super) unnamed: Unnamed,
    pub(super) target: TargetUri,
    request_id: Option<String>,
}

impl Asking {
    /// The transaction's id: the header's, or the body's. One is enough, two have to be the same.
    ///
    /// # Errors
    /// 400 `request_id_required`, `request_id_mismatch`.
    pub(super) fn id(&self, in_body: Option<String>) -> Result<String, Refusal> {
        match (self.request_id.clone(), in_body) {
            (Some(header), Some(body)) if header != body => {
                let detail = "x-pti-request-id and the body's id name two transactions; send one of them, or equal ones";
                Err(Refusal::bad_request("request_id_mismatch", detail).at("/id", "request_id_mismatch"))
            }
            (Some(id), _) | (None, Some(id)) => Ok(id),
            (None, None) => {
                let detail = "send the transaction's id as `id` or in x-pti-request-id";
                Err(Refusal::bad_request("request_id_required", detail).at("/id", "request_id_required"))
            }
        }
    }
}

impl FromRequestParts<App> for Asking {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Response> {
        let unnamed = Unnamed::from_request_parts(parts, app).await?;
        let target = TargetUri::from_request_parts(parts, app).await.map_err(IntoResponse::into_response)?;
        let mut values = parts.headers.get_all(REQUEST_ID).iter();
        let first = values.next().map(|value| value.to_str().map(str::to_owned));
        let request_id = match (first, values.next()) {
            (None, _) => None,
            (Some(Ok(id)), None) => Some(id),
            _ => {
                let refusal =
                    Refusal::bad_request("request_id_invalid", "send x-pti-request-id once, as text");
                return Err(PtiRefusal::from(refusal).into_response());
            }
        };
        Ok(Self { unnamed, target, request_id })
    }
}
