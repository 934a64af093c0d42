//! `/v1/fiat-ins/{id}/refunds`: give money back to the payer, follow it, list, and settle by hand what was not heard.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use chassis::claim::StoredAnswer;
use chassis::http::{Problem, StrictJson, StrictQuery};
use guard::Caller;
use http::{HeaderValue, header};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::page_view;
use crate::app::App;
use crate::auth::{Attempt, reply};
use crate::domain::refund::RefundAsk;
use crate::operations::refunds::{self, RefundQuery, RefundView, ResolveRefund};
use crate::operations::testimony::Stated;
use crate::operations::views::PageView;

/// The routes of this family.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(read)).routes(routes!(resolve))
}

/// A refund to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RefundBody {
    /// Minor units of the order's currency, at least 1; left out: all that is left.
    #[serde(default)]
    amount: Option<i64>,
    /// Why, in your words, up to 500 characters. No personal data.
    reason: String,
}

/// Gives the money of an order back to the payer, wholly or in part. Repeating the same request is safe: it gets the
/// first answer.
#[utoipa::path(
    post, operation_id = "refunds_create", path = "/v1/fiat-ins/{id}/refunds", tag = "fiat-in",
    request_body = RefundBody,
    params(("id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses(
        (status = 201, description = "Ended: `succeeded` or `failed`.", body = RefundView),
        (status = 202, description = "Open: the money is set aside, and what the gateway did is being found out; follow `Location`.", body = RefundView),
        (status = 404, description = "No such order; the key stays unused."),
        (status = 409, description = "`not_refundable`: the order is not paid in, or contested."),
        (status = 422, description = "`amount_exceeds_refundable`, `insufficient_funds`, `amount_not_positive`, `reason_required`, `reason_too_long`, `entity_closed`, `entity_blocked`, `customer_blocked`; the key stays unused."),
    ),
    extensions(
        ("x-scopes" = json!(["refunds:execute"])),
        ("x-token-kinds" = json!(["client", "employee"])),
        ("x-idempotent" = json!(true)),
        ("x-moves-money" = json!(true)),
    ),
)]
async fn create(
    State(app): State<App>,
    attempt: Attempt,
    Path(id): Path<String>,
    StrictJson { value: body, .. }: StrictJson<RefundBody>,
) -> Result<Response, Problem> {
    let ask = RefundAsk::checked(body.amount, &body.reason)?;
    answered(refunds::place(&app, attempt, id, ask).await?)
}

/// The response of a refund's stored answer: with where to look, and when to look again.
fn answered(answer: StoredAnswer) -> Result<Response, Problem> {
    if answer.status >= 400 {
        return Ok(reply(answer));
    }
    let (status, told) = (answer.status, serde_json::from_str::<Told>(&answer.body));
    let told = told.map_err(|_| chassis::Fault::new("read a stored answer"))?;
    let mut response = reply(answer);
    let location = format!("/v1/fiat-ins/{}/refunds/{}", told.fiat_in_id, told.id);
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if status == 202 {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("2"));
    }
    Ok(response)
}

/// What is read back of a stored answer.
#[derive(Deserialize)]
struct Told {
    id: String,
    fiat_in_id: String,
}

/// What pages the list.
#[derive(Debug, Deserialize)]
struct ListParameters {
    #[serde(default)]
    limit: Option<i64>,
    #[serde(default)]
    cursor: Option<String>,
}

/// Lists the refunds of an order, newest first.
#[utoipa::path(
    get, operation_id = "refunds_list", path = "/v1/fiat-ins/{id}/refunds", tag = "fiat-in",
    params(
        ("id" = String, Path),
        ("limit" = Option<i64>, Query, description = "1 to 100, 20 when absent"), ("cursor" = Option<String>, Query),
    ),
    responses(
        (status = 200, description = "A page.", body = PageView<RefundView>),
        (status = 400, description = "`invalid_cursor`, `invalid_limit`"),
        (status = 404, description = "No such order."),
    ),
    extensions(
        ("x-scopes" = json!(["refunds:execute"])),
        ("x-token-kinds" = json!(["client", "employee"])),
        ("x-idempotent" = json!(false)),
    ),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    StrictQuery { value: query, .. }: StrictQuery<ListParameters>,
) -> Result<Json<PageView<RefundView>>, Problem> {
    let query = RefundQuery { limit: query.limit, cursor: query.cursor };
    let page = refunds::list(&app, &caller, (id, query)).await?;
    Ok(Json(page_view(page, |refund| RefundView::from(refund))))
}

/// Reads a refund.
#[utoipa::path(
    get, operation_id = "refunds_read", path = "/v1/fiat-ins/{id}/refunds/{refund_id}", tag = "fiat-in",
    params(("id" = String, Path), ("refund_id" = String, Path)),
    responses(
        (status = 200, description = "The refund.", body = RefundView),
        (status = 404, description = "No such refund of this order."),
    ),
    extensions(
        ("x-scopes" = json!(["refunds:execute"])),
        ("x-token-kinds" = json!(["client", "employee"])),
        ("x-idempotent" = json!(false)),
    ),
)]
async fn read(
    State(app): State<App>,
    caller: Caller,
    Path((id, refund_id)): Path<(String, String)>,
) -> Result<Json<RefundView>, Problem> {
    Ok(Json(refunds::find(&app, &caller, (id, refund_id)).await?))
}

/// What a person found out about a refund.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ResolveRefundBody {
    outcome: RefundOutcomeBody,
    /// What it rests on, 1 to 500 characters, such as a line of the gateway's report. Kept, shown and audited: no card
    /// numbers, no e-mail addresses.
    evidence: String,
    /// The gateway's own id of the refund.
    #[serde(default)]
    provider_ref: Option<String>,
    /// Why it failed, as the gateway's code; only with `failed`.
    #[serde(default)]
    decline_code: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum RefundOutcomeBody {
    Succeeded,
    Failed,
}

/// Settles a refund by hand: only one in state `manual`, and only by another client of the partner than the ones that
/// asked for it and that made its order. `succeeded` books that the payer has the money, `failed` frees it again, as if
/// the gateway had said so.
#[utoipa::path(
    post, operation_id = "refunds_resolve", path = "/v1/fiat-ins/{id}/refunds/{refund_id}/resolve", tag = "fiat-in",
    request_body = ResolveRefundBody,
    params(("id" = String, Path), ("refund_id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses(
        (status = 200, description = "Settled; the refund as it stands now.", body = RefundView),
        (status = 403, description = "`four_eyes_required`"),
        (status = 404, description = "No such refund of this order."),
        (status = 409, description = "`invalid_state`, `terminal`"),
        (status = 422, description = "`evidence_required`, `evidence_too_long`, `evidence_not_allowed`, \
            `provider_ref_not_allowed`, `decline_code_not_allowed`"),
    ),
    extensions(
        ("x-scopes" = json!(["charges:decide"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(true)),
        ("x-moves-money" = json!(true)),
    ),
)]
async fn resolve(
    State(app): State<App>,
    attempt: Attempt,
    Path(place): Path<(String, String)>,
    StrictJson { value, .. }: StrictJson<ResolveRefundBody>,
) -> Result<Response, Problem> {
    let ResolveRefundBody { outcome, evidence, provider_ref, decline_code } = value;
    let succeeded = outcome == RefundOutcomeBody::Succeeded;
    let ask = ResolveRefund::checked(place, succeeded, Stated { evidence, provider_ref, decline_code })?;
    Ok(reply(refunds::resolve(&app, attempt, ask).await?))
}
