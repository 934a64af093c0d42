//! `/v1/charges`: what was asked of the payment gateway and what was heard, and settling by hand what was not.

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

use crate::app::App;
use crate::auth::{Attempt, reply};
use crate::domain::charge::ChargeState;
use crate::domain::cursor;
use crate::domain::refusal::Refusal;
use crate::operations::charges::{self, Resolve, Settled};
use crate::operations::testimony::Stated;
use crate::store::charge_views::list_charges;

/// The routes of this family.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(read))
        .routes(routes!(probe))
        .routes(routes!(resolve))
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

/// Lists charges, newest first. `state=manual` are those that wait for a person.
#[utoipa::path(
    get, operation_id = "charges_list", path = "/v1/charges", tag = "charges",
    params(
        ("state" = Option<String>, Query, description = "A state of charges, such as `manual`."),
        ("limit" = Option<i64>, Query), ("cursor" = Option<String>, Query),
    ),
    responses(
        (status = 200, description = "`data`, `has_more`, `next_cursor`"),
        (status = 400, description = "`invalid_state`, `invalid_limit`, `invalid_cursor`"),
    ),
    extensions(
        ("x-scopes" = json!(["charges:read"])),
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
    let state: Option<ChargeState> = query
        .state
        .map(|text| {
            let known: Vec<&str> = ChargeState::ALL.iter().map(|state| state.as_str()).collect();
            text.parse().map_err(|_| {
                Refusal::bad_request("invalid_state", format!("state is one of {}", known.join(", ")))
            })
        })
        .transpose()?;
    let filter = state.map_or("", ChargeState::as_str);
    let scope = cursor::ListScope { partner_id: &caller.partner_id, list: "charges", filter };
    let after =
        query.cursor.map(|text| cursor::open(&app.cursor_key, scope, &text)).transpose()?.unwrap_or_default();
    let partner_id = caller.partner_id.clone();
    let rows = app
        .db
        .read(move |tx| {
            Box::pin(
                async move { list_charges(tx, &partner_id, state, &after, limit.saturating_add(1)).await },
            )
        })
        .await?;
    let page = cursor::page(rows, limit, |charge| cursor::sign(&app.cursor_key, scope, &charge.charge_id));
    let data: Vec<Value> = page.data.iter().map(charges::summary).collect();
    Ok(Json(json!({ "data": data, "has_more": page.next_cursor.is_some(), "next_cursor": page.next_cursor })))
}

/// Reads a charge: where it stands, what was heard of it, the gateway's events about it, and how a person settled it.
#[utoipa::path(
    get, operation_id = "charges_read", path = "/v1/charges/{id}", tag = "charges", params(("id" = String, Path)),
    responses((status = 200, description = "The charge."), (status = 404, description = "No such charge.")),
    extensions(
        ("x-scopes" = json!(["charges:read"])),
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
        app.db.read(move |tx| Box::pin(async move { charges::read(tx, &partner_id, &id).await })).await?;
    Ok(Json(found.ok_or_else(|| Refusal::not_found("charge"))?))
}

/// Has the gateway asked now what became of a charge, instead of at the next look. Also for a charge that was left to
/// a person.
#[utoipa::path(
    post, operation_id = "charges_probe", path = "/v1/charges/{id}/probe", tag = "charges",
    params(("id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses(
        (status = 202, description = "It is asked within a second, or is being asked just now."),
        (status = 404, description = "No such charge."),
        (status = 409, description = "`terminal`"),
    ),
    extensions(
        ("x-scopes" = json!(["charges:decide"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(true)),
    ),
)]
async fn probe(
    State(app): State<App>,
    attempt: Attempt,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(reply(charges::probe(&app, attempt, id).await?))
}

/// What a person found out about a charge.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResolveBody {
    outcome: OutcomeBody,
    /// What it rests on, 1 to 500 characters, such as a line of the gateway's report. Kept, shown and audited: no card
    /// numbers, no e-mail addresses.
    evidence: String,
    /// The gateway's own id of the charge.
    #[serde(default)]
    provider_ref: Option<String>,
    /// Why it was declined, as the gateway's code; only with `declined`.
    #[serde(default)]
    decline_code: Option<String>,
}

#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum OutcomeBody {
    Captured,
    Declined,
}

/// Settles a charge by hand: only one in state `manual`, and only by another client of the partner than the one that
/// made the order. `captured` credits the wallet, `declined` fails the order, as if the gateway had said so.
#[utoipa::path(
    post, operation_id = "charges_resolve", path = "/v1/charges/{id}/resolve", tag = "charges",
    request_body = ResolveBody, params(("id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses(
        (status = 200, description = "Settled; the charge as it stands now."),
        (status = 403, description = "`four_eyes_required`"),
        (status = 404, description = "No such charge."),
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
    Path(id): Path<String>,
    StrictJson { value, .. }: StrictJson<ResolveBody>,
) -> Result<Response, Problem> {
    let settled = match value.outcome {
        OutcomeBody::Captured => Settled::Captured,
        OutcomeBody::Declined => Settled::Declined,
    };
    let ResolveBody { evidence, provider_ref, decline_code, .. } = value;
    let ask = Resolve::checked(id, settled, Stated { evidence, provider_ref, decline_code })?;
    Ok(reply(charges::resolve(&app, attempt, ask).await?))
}
