//! `/v1/events`: what happened, in order and without gaps, for whoever missed a webhook.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use chassis::http::{Problem, StrictQuery};
use chassis::outbox::{StoredEvent, find_event, list_deliveries, list_events, rfc3339};
use chassis::{Fault, while_doing};
use guard::Caller;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::webhooks::delivery_view;
use crate::app::App;
use crate::auth::{Attempt, reply};
use crate::domain::cursor;
use crate::domain::refusal::Refusal;
use crate::operations::webhooks::send_event_again;

/// The routes of this family.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read))
        .routes(routes!(deliveries))
        .routes(routes!(send_again))
}

fn view(event: &StoredEvent) -> Result<Value, Fault> {
    let data: Value = serde_json::from_str(&event.data).map_err(while_doing("read the data of an event"))?;
    Ok(json!({
        "id": event.event_id,
        "type": event.kind,
        "seq": event.seq,
        "occurred_at": rfc3339(event.occurred_at),
        "schema_version": event.schema_version,
        "data": data,
    }))
}

#[derive(Debug, Deserialize)]
struct ListQuery {
    #[serde(default)]
    after_seq: Option<i64>,
    #[serde(default)]
    limit: Option<i64>,
}

/// Lists events after a sequence number, oldest first. Numbers have no gaps: what is below the last one
/// read is complete.
#[utoipa::path(
    get, operation_id = "events_list", path = "/v1/events", tag = "events",
    params(("after_seq" = Option<i64>, Query), ("limit" = Option<i64>, Query)),
    responses((status = 200, description = "`data`, `has_more`, `next_after_seq`")),
    extensions(
        ("x-scopes" = json!(["events:read"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
    ),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    StrictQuery { value: query, .. }: StrictQuery<ListQuery>,
) -> Result<Json<Value>, Problem> {
    let limit = cursor::checked_limit(query.limit)?;
    let after_seq = query.after_seq.unwrap_or(0);
    if after_seq < 0 {
        return Err(Refusal::bad_request("invalid_after_seq", "after_seq is 0 or more").into());
    }
    let partner_id = caller.partner_id;
    let rows = app
        .db
        .read(move |tx| {
            Box::pin(async move { list_events(tx, &partner_id, after_seq, limit.saturating_add(1)).await })
        })
        .await?;
    let shown = usize::try_from(limit).unwrap_or_default();
    let data = rows.iter().take(shown).map(view).collect::<Result<Vec<_>, _>>()?;
    let next = rows.iter().take(shown).next_back().map_or(after_seq, |event| event.seq);
    Ok(Json(json!({ "data": data, "has_more": rows.len() > shown, "next_after_seq": next })))
}

/// Reads an event.
#[utoipa::path(
    get, operation_id = "events_read", path = "/v1/events/{id}", tag = "events", params(("id" = String, Path)),
    responses((status = 200, description = "The event."), (status = 404, description = "No such event.")),
    extensions(
        ("x-scopes" = json!(["events:read"])),
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
        app.db.read(move |tx| Box::pin(async move { find_event(tx, &partner_id, &id).await })).await?;
    Ok(Json(view(&found.ok_or_else(|| Refusal::not_found("event"))?)?))
}

/// Tells how an event's deliveries went.
#[utoipa::path(
    get, path = "/v1/events/{id}/deliveries", tag = "events", params(("id" = String, Path)),
    responses((status = 200, description = "`data`"), (status = 404, description = "No such event.")),
    extensions(
        ("x-scopes" = json!(["events:read"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
    ),
)]
async fn deliveries(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let partner_id = caller.partner_id;
    let found = app
        .db
        .read(move |tx| {
            Box::pin(async move {
                let known = find_event(tx, &partner_id, &id).await?.is_some();
                let rows = list_deliveries(tx, &partner_id, &id).await?;
                Ok(known.then_some(rows))
            })
        })
        .await?;
    let rows = found.ok_or_else(|| Refusal::not_found("event"))?;
    let data: Vec<Value> = rows.iter().map(delivery_view).collect();
    Ok(Json(json!({ "data": data })))
}

/// Sends an event again to every endpoint that wants its kind, under the same `webhook-id`.
#[utoipa::path(
    post, path = "/v1/events/{id}/redeliver", tag = "events",
    params(("id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses((status = 202, description = "`deliveries`: how many"), (status = 404, description = "No such event.")),
    extensions(
        ("x-scopes" = json!(["webhooks:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(true)),
    ),
)]
async fn send_again(
    State(app): State<App>,
    attempt: Attempt,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(reply(send_event_again(&app, attempt, id).await?))
}
