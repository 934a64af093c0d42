//! `/users` of the `pti` dialect.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use chassis::http::{StrictJson, TargetUri};
use guard::Caller;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::person::PtiUser;
use super::{ObjectReference, PtiRefusal};
use crate::app::App;
use crate::domain::cursor::LIMIT_MAX;
use crate::domain::customer::{Customer, CustomerKind, CustomerStatus, ExternalId};
use crate::domain::pii::Pii;
use crate::domain::refusal::Refusal;
use crate::operations::customers::{self, CustomerQuery, Registration};

/// The most users a list holds, as the vendor says.
const USERS_MAX: usize = 1_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(read))
}

/// A user, without personal data.
#[derive(Debug, Serialize, ToSchema)]
struct PtiUserView {
    /// `PERSON` or `BUSINESS`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The partner's own id.
    id: String,
    /// `ACTIVE`, `INACTIVE` or `BLOCKED`.
    status: &'static str,
}

impl From<&Customer> for PtiUserView {
    fn from(customer: &Customer) -> Self {
        Self {
            kind: match customer.kind {
                CustomerKind::Person => "PERSON",
                CustomerKind::Business => "BUSINESS",
            },
            id: customer.external_id.clone(),
            status: match customer.status {
                CustomerStatus::Active => "ACTIVE",
                CustomerStatus::Blocked => "BLOCKED",
                CustomerStatus::Restricted | CustomerStatus::Closed => "INACTIVE",
            },
        }
    }
}

fn reference(customer: &Customer, target: &TargetUri) -> ObjectReference {
    let id = customer.external_id.clone();
    ObjectReference { link: format!("{}/users/{id}", target.origin), id }
}

/// Registers a user under the partner's own id.
#[utoipa::path(
    post, operation_id = "pti_users_create", path = "/users", tag = "pti", request_body = PtiUser,
    responses(
        (status = 201, description = "Registered.", body = ObjectReference),
        (status = 400, description = "A field is missing or refused."),
        (status = 409, description = "The user exists."),
    ),
    extensions(
        ("x-scopes" = json!(["customers:write", "customers.pii:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
        ("x-dialect" = json!("pti")),
    ),
)]
async fn create(
    State(app): State<App>,
    caller: Caller,
    target: TargetUri,
    StrictJson { value: user, .. }: StrictJson<PtiUser, PtiRefusal>,
) -> Result<Response, PtiRefusal> {
    let id = user
        .id
        .as_deref()
        .ok_or_else(|| Refusal::bad_request("id_required", "a user has the partner's own id"))?;
    let external_id = ExternalId::checked(id, "/id")?;
    let kind = user.kind()?;
    let pii = Pii::checked(&user.into_pii(), "", app.platform.now())?;
    let registration = Registration { external_id, kind, country: pii.residence(), pii };
    let customer = customers::register_plainly(&app, &caller, registration).await?;
    Ok((StatusCode::CREATED, Json(reference(&customer, &target))).into_response())
}

/// Lists users, newest first, at most 1,000.
#[utoipa::path(
    get, operation_id = "pti_users_list", path = "/users", tag = "pti",
    responses((status = 200, description = "References.", body = Vec<ObjectReference>)),
    extensions(
        ("x-scopes" = json!(["customers:read"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
        ("x-dialect" = json!("pti")),
    ),
)]
async fn list(
    State(app): State<App>,
    caller: Caller,
    target: TargetUri,
) -> Result<Json<Vec<ObjectReference>>, PtiRefusal> {
    let mut references = Vec::new();
    let mut query = CustomerQuery { limit: Some(LIMIT_MAX), ..CustomerQuery::default() };
    loop {
        let page = customers::list(&app, &caller, query.clone()).await?;
        references.extend(page.data.iter().map(|customer| reference(customer, &target)));
        query.cursor = page.next_cursor;
        if query.cursor.is_none() || references.len() >= USERS_MAX {
            references.truncate(USERS_MAX);
            return Ok(Json(references));
        }
    }
}

/// Reads a user. Personal data is never answered.
#[utoipa::path(
    get, operation_id = "pti_users_read", path = "/users/{userId}", tag = "pti", params(("userId" = String, Path)),
    responses(
        (status = 200, description = "The user.", body = PtiUserView),
        (status = 404, description = "No such user."),
    ),
    extensions(
        ("x-scopes" = json!(["customers:read"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
        ("x-dialect" = json!("pti")),
    ),
)]
async fn read(
    State(app): State<App>,
    caller: Caller,
    Path(user_id): Path<String>,
) -> Result<Json<PtiUserView>, PtiRefusal> {
    let customer = customers::find_by_external_id(&app, &caller, &user_id).await?;
    Ok(Json(PtiUserView::from(&customer)))
}
