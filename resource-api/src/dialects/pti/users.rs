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
use super::{ObjectReference, PtiRefusal, words};
use crate::app::App;
use crate::domain::cursor::LIMIT_MAX;
use crate::domain::customer::{Customer, CustomerKind, ExternalId};
use crate::domain::pii::Pii;
use crate::domain::refusal::{Class, Refusal};
use crate::operations::customers::{self, CustomerQuery, Registration};
use crate::operations::{Failure, closing};

/// The most users a list holds, as the vendor says.
const USERS_MAX: usize = 1_000;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create, list)).routes(routes!(read, change, deactivate))
}

/// A user, without personal data.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PtiUserView {
    /// `PERSON` or `BUSINESS`.
    #[serde(rename = "type")]
    kind: &'static str,
    /// The partner's own id.
    id: String,
    /// `ACTIVE`, `INACTIVE` or `BLOCKED`.
    status: &'static str,
    /// The user on whose behalf this one is paid.
    #[serde(skip_serializing_if = "Option::is_none")]
    third_party_of: Option<String>,
}

impl PtiUserView {
    fn new(customer: &Customer, principal: Option<Customer>) -> Self {
        Self {
            kind: match customer.kind {
                CustomerKind::Person => "PERSON",
                CustomerKind::Business => "BUSINESS",
            },
            id: customer.external_id.clone(),
            status: words::user(customer.status),
            third_party_of: principal.map(|principal| principal.external_id),
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
    let third_party_of = match user.third_party_of.as_deref() {
        Some(principal) => {
            let found = customers::find_by_external_id(&app, &caller, principal).await;
            Some(found.map_err(principal_unknown)?.customer_id)
        }
        None => None,
    };
    let pii = Pii::checked(&user.into_pii(), "", app.platform.now())?;
    let registration = Registration { external_id, kind, country: pii.residence(), pii, third_party_of };
    let customer = customers::register_plainly(&app, &caller, registration).await?;
    Ok((StatusCode::CREATED, Json(reference(&customer, &target))).into_response())
}

/// A user that is named in a body and not there is a refused value, not a missing resource.
fn principal_unknown(failure: Failure) -> Failure {
    match failure {
        Failure::Refused(refusal) if refusal.class == Class::NotFound => {
            let detail = "there is no such user";
            Refusal::unprocessable("principal_unknown", "/thirdPartyOf", detail).into()
        }
        other => other,
    }
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
    let principal = customers::find_principal(&app, &customer).await?;
    Ok(Json(PtiUserView::new(&customer, principal)))
}

/// Brings a user's personal data up to date. What is not sent stays; a `status` is read over, as the vendor does.
#[utoipa::path(
    put, operation_id = "pti_users_change", path = "/users/{userId}", tag = "pti", params(("userId" = String, Path)),
    request_body = PtiUser,
    responses(
        (status = 200, description = "Stored; a new look at the identity is under way.", body = ObjectReference),
        (status = 400, description = "A field is refused, or the user would become another one."),
        (status = 404, description = "No such user."),
        (status = 409, description = "The user was deactivated."),
    ),
    extensions(
        ("x-scopes" = json!(["customers:write", "customers.pii:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
        ("x-dialect" = json!("pti")),
    ),
)]
async fn change(
    State(app): State<App>,
    caller: Caller,
    target: TargetUri,
    Path(user_id): Path<String>,
    StrictJson { value: user, .. }: StrictJson<PtiUser, PtiRefusal>,
) -> Result<Json<ObjectReference>, PtiRefusal> {
    let known = customers::find_by_external_id(&app, &caller, &user_id).await?;
    if user.id.as_ref().is_some_and(|id| *id != known.external_id) {
        return Err(Refusal::unprocessable("id_mismatch", "/id", "the address names another user").into());
    }
    if user.has_kind() && user.kind()? != known.kind {
        let detail = "a person does not become a business, nor the other way round";
        return Err(Refusal::unprocessable("kind_fixed", "/type", detail).into());
    }
    let pii = Pii::checked(&user.into_pii(), "", app.platform.now())?;
    customers::put_pii(&app, &caller, &known.customer_id, &pii).await?;
    Ok(Json(reference(&known, &target)))
}

/// Deactivates a user: nothing more is done for it, and what was done stays readable.
#[utoipa::path(
    delete, operation_id = "pti_users_deactivate", path = "/users/{userId}", tag = "pti", params(("userId" = String, Path)),
    responses(
        (status = 200, description = "`INACTIVE` from now on.", body = ObjectReference),
        (status = 404, description = "No such user."),
        (status = 409, description = "A wallet holds money, or a transaction is under way."),
    ),
    extensions(
        ("x-scopes" = json!(["customers:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
        ("x-dialect" = json!("pti")),
    ),
)]
async fn deactivate(
    State(app): State<App>,
    caller: Caller,
    target: TargetUri,
    Path(user_id): Path<String>,
) -> Result<Json<ObjectReference>, PtiRefusal> {
    let known = customers::find_by_external_id(&app, &caller, &user_id).await?;
    closing::close(&app, &caller, &known.customer_id).await?;
    Ok(Json(reference(&known, &target)))
}
