//! `/v1/webhook-endpoints`: where a partner wants its events (Standard Webhooks).

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use chassis::http::{Problem, StrictJson};
use chassis::outbox::{disable_endpoint, find_endpoint, list_endpoints};
use guard::Caller;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::{Attempt, reply};
use crate::domain::refusal::Refusal;
use crate::operations::webhooks::{EndpointOrder, register, view};

/// The routes of this family.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(read, disable))
}

/// An endpoint to register.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EndpointBody {
    /// `https`, a public address.
    url: String,
    /// `family.fact` or `family.*`; none: every event.
    #[serde(default)]
    event_kinds: Vec<String>,
    /// `standard` (also when absent): Standard Webhooks; `pti`: a JWE around a JWS in that vendor's words.
    #[serde(default)]
    format: Option<String>,
}

/// Registers an endpoint. Deliveries are signed with its own ed25519 key; the answer has the public half.
#[utoipa::path(
    post, operation_id = "webhooks_create", path = "/v1/webhook-endpoints", tag = "webhooks", request_body = EndpointBody,
    params(("Idempotency-Key" = String, Header)),
    responses(
        (status = 201, description = "Registered; `public_key` verifies the signatures."),
        (status = 422, description = "`target_not_allowed`, `event_kind_unknown`, `format_unknown`, `encryption_key_required`"),
    ),
    extensions(
        ("x-scopes" = json!(["webhooks:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(true)),
    ),
)]
async fn create(
    State(app): State<App>,
    attempt: Attempt,
    StrictJson { value, .. }: StrictJson<EndpointBody>,
) -> Result<Response, Problem> {
    let EndpointBody { url, event_kinds, format } = value;
    Ok(reply(register(&app, attempt, EndpointOrder { url, event_kinds, format }).await?))
}

/// Lists the partner's endpoints.
#[utoipa::path(
    get, operation_id = "webhooks_list", path = "/v1/webhook-endpoints", tag = "webhooks",
    responses((status = 200, description = "`data`")),
    extensions(
        ("x-scopes" = json!(["webhooks:read"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
    ),
)]
async fn list(State(app): State<App>, caller: Caller) -> Result<Json<Value>, Problem> {
    let partner_id = caller.partner_id;
    let rows = app.db.read(move |tx| Box::pin(async move { list_endpoints(tx, &partner_id).await })).await?;
    Ok(Json(json!({ "data": rows.iter().map(view).collect::<Vec<_>>() })))
}

/// Reads an endpoint.
#[utoipa::path(
    get, operation_id = "webhooks_read", path = "/v1/webhook-endpoints/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 200, description = "The endpoint."), (status = 404, description = "No such endpoint.")),
    extensions(
        ("x-scopes" = json!(["webhooks:read"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
    ),
)]
async fn read(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let partner_id = caller.partner_id;
    let found =
        app.db.read(move |tx| Box::pin(async move { find_endpoint(tx, &partner_id, &id).await })).await?;
    Ok(Json(view(&found.ok_or_else(|| Refusal::not_found("webhook endpoint"))?)))
}

/// Stops deliveries to an endpoint. Events go on being listed under `/v1/events`.
#[utoipa::path(
    delete, path = "/v1/webhook-endpoints/{id}", tag = "webhooks", params(("id" = String, Path)),
    responses((status = 204, description = "Disabled."), (status = 404, description = "No such endpoint.")),
    extensions(
        ("x-scopes" = json!(["webhooks:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
    ),
)]
async fn disable(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let partner_id = caller.partner_id;
    let known = app
        .db
        .write(move |tx| {
            let (partner_id, id) = (partner_id.clone(), id.clone());
            Box::pin(async move { disable_endpoint(tx, &partner_id, &id).await })
        })
        .await?;
    if known { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::not_found("webhook endpoint").into()) }
}
