//! `/v1/webhook-endpoints`: where a partner wants its events (Standard Webhooks).

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use chassis::http::{Problem, StrictJson, StrictQuery};
use chassis::outbox::{
    DELIVERY_STATES, Delivery, DeliveryPage, Replay, find_endpoint, list_endpoint_deliveries, list_endpoints,
};
use guard::Caller;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::{Attempt, reply};
use crate::domain::cursor;
use crate::domain::refusal::Refusal;
use crate::operations::webhooks::{self, EndpointOrder, register, view};

/// The routes of this family.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(read, disable))
        .routes(routes!(enable))
        .routes(routes!(rotate_secret))
        .routes(routes!(deliveries))
        .routes(routes!(redeliver))
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
    let known = webhooks::disable(&app, &caller, id).await?;
    if known { Ok(StatusCode::NO_CONTENT) } else { Err(Refusal::not_found("webhook endpoint").into()) }
}

/// Enables a disabled endpoint. It gets events from now on; ask for what it missed with `redeliver`.
#[utoipa::path(
    post, operation_id = "webhooks_enable", path = "/v1/webhook-endpoints/{id}/enable", tag = "webhooks",
    params(("id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses((status = 200, description = "The endpoint."), (status = 404, description = "No such endpoint.")),
    extensions(
        ("x-scopes" = json!(["webhooks:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(true)),
    ),
)]
async fn enable(
    State(app): State<App>,
    attempt: Attempt,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(reply(webhooks::enable(&app, attempt, id).await?))
}

/// Gives an endpoint a new key. Until `previous_key_until` deliveries carry a signature of the one before it too.
#[utoipa::path(
    post, operation_id = "webhooks_rotate_secret", path = "/v1/webhook-endpoints/{id}/rotate-secret", tag = "webhooks",
    params(("id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses(
        (status = 200, description = "The endpoint with its new `public_key`."),
        (status = 404, description = "No such endpoint."),
    ),
    extensions(
        ("x-scopes" = json!(["webhooks:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(true)),
    ),
)]
async fn rotate_secret(
    State(app): State<App>,
    attempt: Attempt,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(reply(webhooks::rotate(&app, attempt, id).await?))
}

#[derive(Debug, Deserialize)]
struct DeliveriesQuery {
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    after_seq: Option<i64>,
    #[serde(default)]
    limit: Option<i64>,
}

impl DeliveriesQuery {
    fn page(&self) -> Result<DeliveryPage, Refusal> {
        let state = match &self.state {
            None => None,
            Some(asked) => {
                let known = DELIVERY_STATES.into_iter().find(|known| known == asked);
                let detail = || format!("state is one of {}", DELIVERY_STATES.join(", "));
                Some(known.ok_or_else(|| Refusal::bad_request("invalid_state", detail()))?)
            }
        };
        let after_seq = self.after_seq.unwrap_or(0);
        if after_seq < 0 {
            return Err(Refusal::bad_request("invalid_after_seq", "after_seq is 0 or more"));
        }
        Ok(DeliveryPage { state, after_seq, limit: cursor::checked_limit(self.limit)? })
    }
}

/// How one delivery fares.
pub(super) fn delivery_view(delivery: &Delivery) -> Value {
    json!({
        "event_id": delivery.event_id,
        "endpoint_id": delivery.endpoint_id,
        "seq": delivery.seq,
        "state": delivery.state,
        "attempt": delivery.attempt,
        "next_attempt_at": delivery.next_attempt_at.map(|moment| moment.0),
        "attempted_at": delivery.attempted_at.map(|moment| moment.0),
        "response_code": delivery.response_code,
        "failure": delivery.failure,
    })
}

/// Tells how the deliveries to an endpoint go, in the order of the events; `state=parked` shows what was given up.
#[utoipa::path(
    get, operation_id = "webhooks_deliveries", path = "/v1/webhook-endpoints/{id}/deliveries", tag = "webhooks",
    params(
        ("id" = String, Path), ("state" = Option<String>, Query), ("after_seq" = Option<i64>, Query),
        ("limit" = Option<i64>, Query),
    ),
    responses(
        (status = 200, description = "`data`, `has_more`, `next_after_seq`"),
        (status = 404, description = "No such endpoint."),
    ),
    extensions(
        ("x-scopes" = json!(["webhooks:read"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
    ),
)]
async fn deliveries(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    StrictQuery { value: query, .. }: StrictQuery<DeliveriesQuery>,
) -> Result<Json<Value>, Problem> {
    let page = query.page()?;
    let (partner_id, limit, after_seq) = (caller.partner_id, page.limit, page.after_seq);
    let found = app.db.read(move |tx| {
        Box::pin(async move {
            let known = find_endpoint(tx, &partner_id, &id).await?.is_some();
            let one_more = DeliveryPage { limit: page.limit + 1, ..page };
            let rows = list_endpoint_deliveries(tx, &partner_id, &id, &one_more).await?;
            Ok(known.then_some(rows))
        })
    });
    let rows = found.await?.ok_or_else(|| Refusal::not_found("webhook endpoint"))?;
    let shown = usize::try_from(limit).unwrap_or_default();
    let next = rows.iter().take(shown).next_back().map_or(after_seq, |delivery| delivery.seq);
    let data: Vec<Value> = rows.iter().take(shown).map(delivery_view).collect();
    Ok(Json(json!({ "data": data, "has_more": rows.len() > shown, "next_after_seq": next })))
}

/// What is to be sent again. Empty: what was given up or skipped.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RedeliverBody {
    /// Instead: this one event.
    #[serde(default)]
    event_id: Option<String>,
    /// Instead: every event after this number that the endpoint wants, also what it has taken before.
    #[serde(default)]
    after_seq: Option<i64>,
}

impl RedeliverBody {
    fn replay(self) -> Result<Replay, Refusal> {
        match (self.event_id, self.after_seq) {
            (None, None) => Ok(Replay::Parked),
            (Some(event_id), None) => Ok(Replay::Event(event_id)),
            (None, Some(seq)) if seq >= 0 => Ok(Replay::After(seq)),
            (None, Some(_)) => {
                Err(Refusal::unprocessable("invalid_after_seq", "/after_seq", "after_seq is 0 or more"))
            }
            (Some(_), Some(_)) => {
                Err(Refusal::unprocessable("one_of_two", "/after_seq", "event_id or after_seq, not both"))
            }
        }
    }
}

/// Sends an endpoint again what it missed, under the same `webhook-id`s: what was given up, one event, or everything
/// after a number. At most 1,000 events at a time; `has_more` says whether to ask again, after `next_after_seq`.
#[utoipa::path(
    post, operation_id = "webhooks_redeliver", path = "/v1/webhook-endpoints/{id}/redeliver", tag = "webhooks",
    request_body = RedeliverBody,
    params(("id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses(
        (status = 202, description = "`deliveries`, `has_more`, `next_after_seq`"),
        (status = 404, description = "No such endpoint or event."),
        (status = 409, description = "`endpoint_disabled`"),
    ),
    extensions(
        ("x-scopes" = json!(["webhooks:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(true)),
    ),
)]
async fn redeliver(
    State(app): State<App>,
    attempt: Attempt,
    Path(id): Path<String>,
    StrictJson { value, .. }: StrictJson<RedeliverBody>,
) -> Result<Response, Problem> {
    Ok(reply(webhooks::send_endpoint_again(&app, attempt, id, value.replay()?).await?))
}
