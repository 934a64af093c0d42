//! `/v1/customers`: register, find, list, and store personal data.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use chassis::http::{Problem, StrictJson, StrictQuery};
use guard::Caller;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::page::page_view;
use crate::app::App;
use crate::auth::{Attempt, reply};
use crate::domain::customer::{CustomerKind, CustomerStatus, ExternalId, is_country};
use crate::domain::pii::{Pii, PiiInput};
use crate::domain::refusal::Refusal;
use crate::operations::customers::{self, CustomerQuery, Registration};
use crate::operations::kyc;
use crate::operations::views::{CustomerView, KycView, PageView, PiiView};

/// The routes of this family.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(read))
        .routes(routes!(put_pii))
        .routes(routes!(read_kyc))
        .routes(routes!(list_third_parties))
}

/// A customer to register.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CustomerBody {
    /// The partner's own id: opaque, never an e-mail address or a phone number.
    external_id: String,
    /// `person` (also when absent) or `business`.
    #[serde(default)]
    kind: Option<String>,
    /// Residence, ISO 3166-1 alpha-2.
    #[serde(default)]
    country: Option<String>,
    /// Personal data; needs the scope `customers.pii:write` too.
    #[serde(default)]
    pii: Option<PiiInput>,
    /// `cus_…` of the customer on whose behalf this one will be paid (fiat-out to a third party). Several such
    /// customers may be one person; each keeps its own wallets.
    #[serde(default)]
    third_party_of: Option<String>,
}

/// Registers a customer under the partner's own id, also at the authorization server.
#[utoipa::path(
    post, operation_id = "customers_create", path = "/v1/customers", tag = "customers", request_body = CustomerBody,
    params(("Idempotency-Key" = String, Header, description = "The same key and body get the same answer.")),
    responses(
        (status = 201, description = "Registered; personal data is never echoed.", body = CustomerView),
        (status = 409, description = "`external_id_taken`"),
        (
            status = 422,
            description = "`external_id_not_allowed`, `kind_unknown`, `country_invalid`, `pii_invalid`, `principal_unknown`, \
                           `principal_is_third_party`, `customer_blocked`",
        ),
    ),
    extensions(
        ("x-scopes" = json!(["customers:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(true)),
    ),
)]
async fn create(
    State(app): State<App>,
    attempt: Attempt,
    StrictJson { value: body, .. }: StrictJson<CustomerBody>,
) -> Result<Response, Problem> {
    let kind = match body.kind.as_deref() {
        None => CustomerKind::Person,
        Some(word) => word.parse().map_err(|_| {
            Refusal::unprocessable("kind_unknown", "/kind", "a customer is a person or a business")
        })?,
    };
    if body.country.as_deref().is_some_and(|country| !is_country(country)) {
        let detail = "not an upper-case ISO 3166-1 alpha-2 code";
        return Err(Refusal::unprocessable("country_invalid", "/country", detail).into());
    }
    let pii = body.pii.map(|pii| Pii::checked(&pii, "/pii", app.platform.now())).transpose()?;
    let registration = Registration {
        external_id: ExternalId::checked(&body.external_id, "/external_id")?,
        kind,
        country: body.country.or_else(|| pii.as_ref().and_then(Pii::residence)),
        pii: pii.unwrap_or_default(),
        third_party_of: body.third_party_of,
    };
    Ok(reply(customers::register(&app, attempt, registration).await?))
}

/// What narrows and pages the list.
#[derive(Debug, Deserialize)]
struct ListParameters {
    #[serde(default)]
    external_id: Option<String>,
    #[serde(default)]
    status: Option<String>,
    #[serde(default)]
    limit: Option<i64>,
    #[serde(default)]
    cursor: Option<String>,
}

/// Lists customers, newest first.
#[utoipa::path(
    get, operation_id = "customers_list", path = "/v1/customers", tag = "customers",
    params(
        ("external_id" = Option<String>, Query), ("status" = Option<String>, Query),
        ("limit" = Option<i64>, Query, description = "1 to 100, 20 when absent"), ("cursor" = Option<String>, Query),
    ),
    responses(
        (status = 200, description = "A page.", body = PageView<CustomerView>),
        (status = 400, description = "`invalid_cursor`, `invalid_limit`, `status_unknown`"),
    ),
    extensions(
        ("x-scopes" = json!(["customers:read"])),
        ("x-token-kinds" = json!(["client", "employee", "user", "exchanged"])),
        ("x-idempotent" = json!(false)),
    ),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    StrictQuery { value: query, .. }: StrictQuery<ListParameters>,
) -> Result<Json<PageView<CustomerView>>, Problem> {
    let status: Option<CustomerStatus> = query
        .status
        .map(|word| word.parse())
        .transpose()
        .map_err(|_| Refusal::bad_request("status_unknown", "there is no such state of a customer"))?;
    let query =
        CustomerQuery { external_id: query.external_id, status, limit: query.limit, cursor: query.cursor };
    let page = customers::list(&app, &caller, query).await?;
    Ok(Json(page_view(page, |customer| CustomerView::from(customer))))
}

/// Reads a customer, without personal data.
#[utoipa::path(
    get, operation_id = "customers_read", path = "/v1/customers/{id}", tag = "customers", params(("id" = String, Path)),
    responses(
        (status = 200, description = "The customer.", body = CustomerView),
        (status = 404, description = "No such customer."),
    ),
    extensions(
        ("x-scopes" = json!(["customers:read"])),
        ("x-token-kinds" = json!(["client", "employee", "user", "exchanged"])),
        ("x-idempotent" = json!(false)),
    ),
)]
async fn read(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<CustomerView>, Problem> {
    let customer = customers::find(&app, &caller, &id).await?;
    Ok(Json(CustomerView::from(&customer)))
}

/// Stores personal data. Fields that are not sent stay as they are; nothing is echoed.
#[utoipa::path(
    put, path = "/v1/customers/{id}/pii", tag = "customers", params(("id" = String, Path)), request_body = PiiInput,
    responses(
        (status = 200, description = "Stored; a change queues a look at the identity.", body = PiiView),
        (status = 404, description = "No such customer."),
        (status = 409, description = "`customer_closed`"),
        (status = 422, description = "`pii_invalid`, with a pointer for each field"),
    ),
    extensions(
        ("x-scopes" = json!(["customers.pii:write"])),
        ("x-token-kinds" = json!(["client", "user", "exchanged", "process"])),
        ("x-idempotent" = json!(false)),
    ),
)]
async fn put_pii(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
    StrictJson { value: body, .. }: StrictJson<PiiInput>,
) -> Result<Json<PiiView>, Problem> {
    let pii = Pii::checked(&body, "", app.platform.now())?;
    Ok(Json(customers::put_pii(&app, &caller, &id, &pii).await?))
}

/// Reads where a customer's identity check stands.
#[utoipa::path(
    get, path = "/v1/customers/{id}/kyc", tag = "kyc", params(("id" = String, Path)),
    responses(
        (status = 200, description = "Level, status, what is missing.", body = KycView),
        (status = 404, description = "No such customer."),
    ),
    extensions(
        ("x-scopes" = json!(["kyc:read"])),
        ("x-token-kinds" = json!(["client", "employee", "user", "exchanged", "process"])),
        ("x-idempotent" = json!(false)),
    ),
)]
async fn read_kyc(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<KycView>, Problem> {
    Ok(Json(kyc::find(&app, &caller, &id).await?))
}

/// Lists the customers who are registered to be paid on this one's behalf, oldest first, at most 1,000.
#[utoipa::path(
    get, path = "/v1/customers/{id}/third-parties", tag = "customers", params(("id" = String, Path)),
    responses((status = 200, description = "`data`"), (status = 404, description = "No such customer.")),
    extensions(
        ("x-scopes" = json!(["customers:read"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
    ),
)]
async fn list_third_parties(
    State(app): State<App>,
    caller: Caller,
    Path(id): Path<String>,
) -> Result<Json<Value>, Problem> {
    let found = customers::third_parties(&app, &caller, &id).await?;
    let data: Vec<CustomerView> = found.iter().map(CustomerView::from).collect();
    Ok(Json(json!({ "data": data })))
}
