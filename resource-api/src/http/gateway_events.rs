//! `POST /v1/gateway-events/{provider}`: what the payment gateway tells by itself. The gateway's signature over the
//! raw body is the only credential.

use axum::Json;
use axum::extract::{Path, State};
use chassis::http::{Problem, RawBody};
use http::HeaderMap;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::gateway::Arrived;
use crate::operations::gateway_events;

/// The routes of this family.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(receive))
}

/// Takes an event of the payment gateway. It is stored before it is answered and applied after; a repeat is answered
/// alike and changes nothing. Signed as in Standard Webhooks 1.0 (`v1`, HMAC-SHA-256).
#[utoipa::path(
    post, operation_id = "gateway_events_receive", path = "/v1/gateway-events/{provider}", tag = "charges",
    params(
        ("provider" = String, Path, description = "Short name of the gateway, as in charges."),
        ("webhook-id" = String, Header), ("webhook-timestamp" = String, Header),
        ("webhook-signature" = String, Header),
    ),
    responses(
        (status = 200, description = "Stored, now or before."),
        (status = 400, description = "`bad_signature`"),
        (status = 404, description = "Another gateway than ours."),
        (status = 413, description = "The body is larger than 64 KiB."),
    ),
    security(()),
    extensions(
        ("x-scopes" = json!([])),
        ("x-token-kinds" = json!([])),
        ("x-idempotent" = json!(false)),
    ),
)]
async fn receive(
    State(app): State<App>,
    Path(provider): Path<String>,
    headers: HeaderMap,
    RawBody(body): RawBody,
) -> Result<Json<Value>, Problem> {
    let arrived = Arrived { headers: &headers, body: &body, now: app.platform.now() };
    gateway_events::receive(&app, &provider, &arrived).await?;
    Ok(Json(json!({ "received": true })))
}
