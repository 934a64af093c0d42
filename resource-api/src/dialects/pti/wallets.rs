//! `/users/{userId}/wallets` of the `pti` dialect: wallets of one user, with decimal balances.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use chassis::http::{StrictJson, TargetUri};
use guard::Caller;
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::json;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::words::decimal;
use super::{ObjectReference, PtiRefusal};
use crate::app::App;
use crate::domain::cursor::LIMIT_MAX;
use crate::domain::customer::Customer;
use crate::domain::entity::{EntityKind, EntityWithBalance, checked_label};
use crate::domain::money::{BadCurrency, Currency};
use crate::domain::refusal::{Class, Refusal};
use crate::operations::entities::{self, EntityOrder, EntityQuery};
use crate::operations::{Failure, customers};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(read))
}

/// A wallet to make. A `balance` is read over: money comes in by fiat-in only.
#[derive(Deserialize, ToSchema)]
struct WalletBody {
    /// `FIAT_WALLET`.
    #[serde(rename = "type")]
    kind: String,
    /// The user's name for it.
    name: String,
    /// ISO 4217.
    currency: String,
}

/// Makes a wallet of a user.
#[utoipa::path(
    post, operation_id = "pti_wallets_create", path = "/users/{userId}/wallets", tag = "pti", params(("userId" = String, Path)), request_body = WalletBody,
    responses(
        (status = 201, description = "Made.", body = ObjectReference),
        (status = 400, description = "A field is missing or refused."),
        (status = 404, description = "No such user."),
        (status = 409, description = "The user has a wallet of this name."),
    ),
    extensions(
        ("x-scopes" = json!(["entities:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
        ("x-dialect" = json!("pti")),
    ),
)]
async fn create(
    State(app): State<App>,
    caller: Caller,
    target: TargetUri,
    Path(user_id): Path<String>,
    StrictJson { value: body, .. }: StrictJson<WalletBody, PtiRefusal>,
) -> Result<Response, PtiRefusal> {
    if !matches!(body.kind.to_ascii_uppercase().replace('_', "").as_str(), "FIATWALLET" | "FIAT") {
        let detail = "only fiat wallets are kept here";
        return Err(Refusal::unprocessable("wallet_type_not_supported", "/type", detail).into());
    }
    checked_label(&body.name, "/name")?;
    let currency: Currency = body.currency.to_ascii_uppercase().parse().map_err(|BadCurrency| {
        Refusal::unprocessable("unknown_currency", "/currency", "not an ISO 4217 code")
    })?;
    let user = customers::find_by_external_id(&app, &caller, &user_id).await?;
    let order = EntityOrder {
        kind: EntityKind::Customer,
        owner: Some(user.customer_id.clone()),
        label: Some(body.name),
        currency,
    };
    let made = entities::open_plainly(&app, &caller, order).await?;
    let id = made.entity.entity_id;
    let link = format!("{}/{id}", wallets_link(&target, &user));
    Ok((StatusCode::CREATED, Json(ObjectReference { id, link })).into_response())
}

/// Lists the wallets of a user.
#[utoipa::path(
    get, operation_id = "pti_wallets_list", path = "/users/{userId}/wallets", tag = "pti", params(("userId" = String, Path)),
    responses((status = 200, description = "Wallets."), (status = 404, description = "No such user.")),
    extensions(
        ("x-scopes" = json!(["entities:read"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
        ("x-dialect" = json!("pti")),
    ),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    target: TargetUri,
    Path(user_id): Path<String>,
) -> Result<Response, PtiRefusal> {
    let user = customers::find_by_external_id(&app, &caller, &user_id).await?;
    let mut query =
        EntityQuery { owner: Some(user.customer_id.clone()), limit: Some(LIMIT_MAX), cursor: None };
    let base = wallets_link(&target, &user);
    let mut texts = Vec::new();
    loop {
        let page = entities::list(&app, &caller, query.clone()).await?;
        for found in &page.data {
            texts.push(wallet_text(found, &base)?);
        }
        query.cursor = page.next_cursor;
        if query.cursor.is_none() {
            return Ok(json_text(format!("[{}]", texts.join(","))));
        }
    }
}

/// Reads a wallet of a user.
#[utoipa::path(
    get, operation_id = "pti_wallets_read", path = "/users/{userId}/wallets/{walletId}", tag = "pti",
    params(("userId" = String, Path), ("walletId" = String, Path)),
    responses((status = 200, description = "The wallet."), (status = 404, description = "No such user or wallet.")),
    extensions(
        ("x-scopes" = json!(["entities:read"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
        ("x-dialect" = json!("pti")),
    ),
)]
async fn read(
    State(app): State<App>,
    caller: Caller,
    target: TargetUri,
    Path((user_id, wallet_id)): Path<(String, String)>,
) -> Result<Response, PtiRefusal> {
    let user = customers::find_by_external_id(&app, &caller, &user_id).await?;
    let found = entities::find(&app, &caller, &wallet_id).await?;
    if found.entity.owner_id != user.customer_id {
        return Err(Refusal::new(Class::NotFound, "not_found", "there is no such entity").into());
    }
    Ok(json_text(wallet_text(&found, &wallets_link(&target, &user))?))
}

fn wallets_link(target: &TargetUri, user: &Customer) -> String {
    format!("{}/users/{}/wallets", target.origin, user.external_id)
}

/// A wallet as JSON text, with its address under `base`. Balances are decimal numbers, written from integers: no float comes near them.
fn wallet_text(found: &EntityWithBalance, base: &str) -> Result<String, Failure> {
    let currency: Currency = found.entity.currency.parse().map_err(|BadCurrency| {
        chassis::Fault::new("an entity holds a currency this version does not know")
    })?;
    let exponent = currency.exponent();
    Ok(format!(
        r#"{{"type":"FIAT_WALLET","id":{},"link":{},"name":{},"currency":"{}","balance":{},"availableBalance":{}}}"#,
        json!(found.entity.entity_id),
        json!(format!("{base}/{}", found.entity.entity_id)),
        json!(found.entity.label),
        currency.code(),
        decimal(found.account.posted, exponent),
        decimal(found.account.available(), exponent),
    ))
}

fn json_text(text: String) -> Response {
    ([(CONTENT_TYPE, "application/json")], text).into_response()
}
