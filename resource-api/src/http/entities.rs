//! `/v1/entities`: wallets of customers and a partner's own accounts.

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
use crate::domain::entity::checked_label;
use crate::domain::money::BadCurrency;
use crate::domain::refusal::Refusal;
use crate::operations::entities::{self, EntityOrder, EntityQuery};
use crate::operations::views::{EntityView, PageView};

/// The routes of this family.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(read))
}

/// An entity to make.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EntityBody {
    /// `customer`, `processing` or `identification`.
    kind: String,
    /// The customer's id, exactly for the kind `customer`.
    #[serde(default)]
    owner: Option<String>,
    /// A name, unique among the owner's entities.
    #[serde(default)]
    label: Option<String>,
    /// ISO 4217, upper case.
    currency: String,
}

/// Makes an entity with its ledger account.
#[utoipa::path(
    post, operation_id = "entities_create", path = "/v1/entities", tag = "entities", request_body = EntityBody,
    params(("Idempotency-Key" = String, Header, description = "The same key and body get the same answer.")),
    responses(
        (status = 201, description = "Made and activated.", body = EntityView),
        (status = 404, description = "The owner is no customer of the partner."),
        (status = 409, description = "`entity_exists`"),
        (status = 422, description = "`kind_unknown`, `unknown_currency`, `owner_required`, `owner_not_allowed`, `label_not_allowed`, `customer_blocked`"),
    ),
    extensions(
        ("x-scopes" = json!(["entities:write"])),
        ("x-token-kinds" = json!(["client", "employee"])),
        ("x-idempotent" = json!(true)),
    ),
)]
async fn create(
    State(app): State<App>,
    attempt: Attempt,
    StrictJson { value: body, .. }: StrictJson<EntityBody>,
) -> Result<Response, Problem> {
    let kind = body.kind.parse().map_err(|_| {
        Refusal::unprocessable("kind_unknown", "/kind", "an entity is customer, processing or identification")
    })?;
    let currency = body.currency.parse().map_err(|BadCurrency| {
        let detail = "not an upper-case ISO 4217 code of a currency with minor units";
        Refusal::unprocessable("unknown_currency", "/currency", detail)
    })?;
    if let Some(label) = &body.label {
        checked_label(label, "/label")?;
    }
    let order = EntityOrder { kind, owner: body.owner, label: body.label, currency };
    Ok(reply(entities::open(&app, attempt, order).await?))
}

/// What narrows and pages the list.
#[derive(Debug, Deserialize)]
struct ListParameters {
    #[serde(default)]
    owner: Option<String>,
    #[serde(default)]
    limit: Option<i64>,
    #[serde(default)]
    cursor: Option<String>,
}

/// Lists entities with their balances, newest first.
#[utoipa::path(
    get, operation_id = "entities_list", path = "/v1/entities", tag = "entities",
    params(
        ("owner" = Option<String>, Query),
        ("limit" = Option<i64>, Query, description = "1 to 100, 20 when absent"), ("cursor" = Option<String>, Query),
    ),
    responses(
        (status = 200, description = "A page.", body = PageView<EntityView>),
        (status = 400, description = "`invalid_cursor`, `invalid_limit`"),
    ),
    extensions(
        ("x-scopes" = json!(["entities:read"])),
        ("x-token-kinds" = json!(["client", "employee", "user", "exchanged"])),
        ("x-idempotent" = json!(false)),
    ),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    StrictQuery { value: query, .. }: StrictQuery<ListParameters>,
) -> Result<Json<PageView<EntityView>>, Problem> {
    let query = EntityQuery { owner: query.owner, limit: query.limit, cursor: query.cursor };
    let page = entities::list(&app, &caller, query).await?;
    Ok(Json(page_view(page, |found| EntityView::from(found))))
}

/// Reads an entity with its balances.
#[utoipa::path(
    get, operation_id = "entities_read", path = "/v1/entities/{id}", tag = "entities", params(("id" = String, Path)),
    responses(
        (status = 200, description = "The entity.", body = EntityView),
        (status = 404, description = "No such entity."),
    ),
    extensions(
        ("x-scopes" = json!(["entities:read"])),
        ("x-token-kinds" = json!(["client", "employee", "user", "exchanged"])),
        ("x-idempotent" = json!(false)),
    ),
)]
async fn read(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<EntityView>, Problem> {
    let found = entities::find(&app, &caller, &id).await?;
    Ok(Json(EntityView::from(&found)))
}
