//! `/v1/reviews`: what waits for a person, and its decision.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use chassis::http::{Problem, StrictJson, StrictQuery};
use chassis::while_doing;
use guard::Caller;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::{Attempt, reply};
use crate::domain::cursor;
use crate::domain::fiat_in::ReviewState;
use crate::domain::refusal::Refusal;
use crate::operations::reviews::{Decide, body, decide};
use crate::store::reviews::{find_review, list_reviews};

/// The routes of this family.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read))
        .routes(routes!(accept))
        .routes(routes!(refuse))
}

#[derive(Debug, Deserialize)]
struct ListQuery {
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    limit: Option<i64>,
    #[serde(default)]
    cursor: Option<String>,
}

/// Lists reviews, newest first.
#[utoipa::path(
    get, operation_id = "reviews_list", path = "/v1/reviews", tag = "reviews",
    params(
        ("state" = Option<String>, Query, description = "`open`, `accepted` or `refused`"),
        ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query),
    ),
    responses((status = 200, description = "`data`, `has_more`, `next_cursor`")),
    extensions(
        ("x-scopes" = json!(["reviews:read"])),
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
    let state: Option<ReviewState> = query
        .state
        .map(|text| {
            text.parse().map_err(|_| {
                Refusal::bad_request("invalid_state", "open, accepted, refused, withdrawn or expired")
            })
        })
        .transpose()?;
    let filter = state.map_or("", ReviewState::as_str);
    let scope = cursor::ListScope { partner_id: &caller.partner_id, list: "reviews", filter };
    let after =
        query.cursor.map(|text| cursor::open(&app.cursor_key, scope, &text)).transpose()?.unwrap_or_default();
    let partner_id = caller.partner_id.clone();
    let rows = app
        .db
        .read(move |tx| {
            Box::pin(
                async move { list_reviews(tx, &partner_id, state, &after, limit.saturating_add(1)).await },
            )
        })
        .await?;
    let page = cursor::page(rows, limit, |review| cursor::sign(&app.cursor_key, scope, &review.review_id));
    let data: Result<Vec<Value>, _> = page.data.iter().map(|review| body(review, None)).collect();
    let data = data.map_err(while_doing("write the view of a review"))?;
    Ok(Json(json!({ "data": data, "has_more": page.next_cursor.is_some(), "next_cursor": page.next_cursor })))
}

/// Reads a review.
#[utoipa::path(
    get, operation_id = "reviews_read", path = "/v1/reviews/{id}", tag = "reviews", params(("id" = String, Path)),
    responses((status = 200, description = "The review."), (status = 404, description = "No such review.")),
    extensions(
        ("x-scopes" = json!(["reviews:read"])),
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
        app.db.read(move |tx| Box::pin(async move { find_review(tx, &partner_id, &id).await })).await?;
    let review = found.ok_or_else(|| Refusal::not_found("review"))?;
    Ok(Json(body(&review, None).map_err(while_doing("write the view of a review"))?))
}

/// Why a reviewer decides as it does.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DecisionBody {
    /// 1 to 500 characters.
    reason: String,
}

/// Accepts a review: the rules look once more, then the order is charged.
#[utoipa::path(
    post, path = "/v1/reviews/{id}/accept", tag = "reviews", request_body = DecisionBody,
    params(("id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses(
        (status = 200, description = "Decided; the order goes on, unless the rules refuse it now."),
        (status = 403, description = "`four_eyes_required`"),
        (status = 404, description = "No such review."),
        (status = 409, description = "`review_closed`, `review_expired`"),
        (status = 422, description = "`reason_required`"),
    ),
    extensions(
        ("x-scopes" = json!(["reviews:decide"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(true)),
        ("x-moves-money" = json!(true)),
    ),
)]
async fn accept(
    State(app): State<App>,
    attempt: Attempt,
    Path(id): Path<String>,
    StrictJson { value, .. }: StrictJson<DecisionBody>,
) -> Result<Response, Problem> {
    let ask = Decide::checked(id, ReviewState::Accepted, &value.reason)?;
    Ok(reply(decide(&app, attempt, ask).await?))
}

/// Refuses a review: the order ends and nothing is charged.
#[utoipa::path(
    post, path = "/v1/reviews/{id}/refuse", tag = "reviews", request_body = DecisionBody,
    params(("id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses(
        (status = 200, description = "Decided; the order is refused."),
        (status = 403, description = "`four_eyes_required`"),
        (status = 404, description = "No such review."),
        (status = 409, description = "`review_closed`"),
        (status = 422, description = "`reason_required`"),
    ),
    extensions(
        ("x-scopes" = json!(["reviews:decide"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(true)),
        ("x-moves-money" = json!(true)),
    ),
)]
async fn refuse(
    State(app): State<App>,
    attempt: Attempt,
    Path(id): Path<String>,
    StrictJson { value, .. }: StrictJson<DecisionBody>,
) -> Result<Response, Problem> {
    let ask = Decide::checked(id, ReviewState::Refused, &value.reason)?;
    Ok(reply(decide(&app, attempt, ask).await?))
}
