//! `/v1/transfers`: move money between two entities, find, list.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use chassis::http::{Problem, StrictJson, StrictQuery};
use guard::Caller;
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::page_view;
use crate::app::App;
use crate::auth::{Attempt, reply};
use crate::domain::money::Money;
use crate::domain::refusal::Refusal;
use crate::domain::transfer::TransferOrder;
use crate::operations::transfers::{self, TransferQuery};
use crate::operations::views::{PageView, TransferView};

/// The routes of this family.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(read))
}

/// An amount in minor units.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AmountBody {
    /// Minor units, at least 1.
    amount: i64,
    /// ISO 4217, upper case.
    currency: String,
}

/// A transfer to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TransferBody {
    /// `fast` (also when absent): booked in this call.
    #[serde(default)]
    mode: Option<String>,
    /// Entity that pays.
    source: String,
    /// Entity that is paid.
    destination: String,
    /// How much.
    money: AmountBody,
    /// Two digits.
    #[serde(default)]
    category: Option<String>,
    /// The partner's own reference, unique among its transfers.
    #[serde(default)]
    client_reference: Option<String>,
}

/// Moves money at once. Repeating the same request is safe: it gets the first answer.
#[utoipa::path(
    post, operation_id = "transfers_create", path = "/v1/transfers", tag = "transfers", request_body = TransferBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Needed unless a one-time token is used.")),
    responses(
        (status = 201, description = "Booked.", body = TransferView),
        (status = 401, description = "`invalid_token`, `token_already_used`"),
        (status = 403, description = "`operation_mismatch`"),
        (status = 404, description = "No such entity; a token or key stays unused."),
        (status = 409, description = "`client_reference_taken`"),
        (status = 422, description = "`insufficient_funds`, `route_not_allowed`, `same_entity`, `currency_mismatch`, `entity_closed`, `entity_blocked`, `customer_blocked`, `customer_restricted`; a token or key stays unused."),
    ),
    extensions(
        ("x-scopes" = json!(["transfers:execute"])),
        ("x-token-kinds" = json!(["client", "employee", "user", "exchanged", "one_time"])),
        ("x-idempotent" = json!(true)),
        ("x-moves-money" = json!(true)),
    ),
)]
async fn create(
    State(app): State<App>,
    attempt: Attempt,
    StrictJson { value: body, .. }: StrictJson<TransferBody>,
) -> Result<Response, Problem> {
    if body.mode.as_deref().is_some_and(|mode| mode != "fast") {
        let detail = "transfers are fast: booked in the call that asks for them";
        return Err(Refusal::unprocessable("mode_not_supported", "/mode", detail).into());
    }
    let order = TransferOrder {
        money: Money::checked(body.money.amount, &body.money.currency, "/money")?,
        source: body.source,
        destination: body.destination,
        category: body.category,
        client_reference: body.client_reference,
    };
    Ok(reply(transfers::execute(&app, attempt, order).await?))
}

/// What narrows and pages the list.
#[derive(Debug, Deserialize)]
struct ListParameters {
    #[serde(default)]
    client_reference: Option<String>,
    #[serde(default)]
    limit: Option<i64>,
    #[serde(default)]
    cursor: Option<String>,
}

/// Lists transfers, newest first. A user sees those from or to own wallets.
#[utoipa::path(
    get, operation_id = "transfers_list", path = "/v1/transfers", tag = "transfers",
    params(
        ("client_reference" = Option<String>, Query),
        ("limit" = Option<i64>, Query, description = "1 to 100, 20 when absent"), ("cursor" = Option<String>, Query),
    ),
    responses(
        (status = 200, description = "A page.", body = PageView<TransferView>),
        (status = 400, description = "`invalid_cursor`, `invalid_limit`"),
    ),
    extensions(
        ("x-scopes" = json!(["transfers:read"])),
        ("x-token-kinds" = json!(["client", "employee", "user", "exchanged"])),
        ("x-idempotent" = json!(false)),
    ),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    StrictQuery { value: query, .. }: StrictQuery<ListParameters>,
) -> Result<Json<PageView<TransferView>>, Problem> {
    let query =
        TransferQuery { client_reference: query.client_reference, limit: query.limit, cursor: query.cursor };
    let page = transfers::list(&app, &caller, query).await?;
    Ok(Json(page_view(page, |transfer| TransferView::from(transfer))))
}

/// Reads a transfer.
#[utoipa::path(
    get, operation_id = "transfers_read", path = "/v1/transfers/{id}", tag = "transfers", params(("id" = String, Path)),
    responses(
        (status = 200, description = "The transfer.", body = TransferView),
        (status = 404, description = "No such transfer."),
    ),
    extensions(
        ("x-scopes" = json!(["transfers:read"])),
        ("x-token-kinds" = json!(["client", "employee", "user", "exchanged"])),
        ("x-idempotent" = json!(false)),
    ),
)]
async fn read(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<TransferView>, Problem> {
    let transfer = transfers::find(&app, &caller, &id).await?;
    Ok(Json(TransferView::from(&transfer)))
}
