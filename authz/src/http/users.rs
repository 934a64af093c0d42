//! `/v1/users`: people under the partner's own ids.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use chassis::http::{Problem, StrictJson, not_found, unprocessable};
use serde::{Deserialize, Serialize};

use crate::{
    app::{App, Caller},
    domain::{
        Status,
        subject::{ExternalId, Subject},
    },
    operations::{tenant, users},
};

/// A registration.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUser {
    /// The partner's own id for this person; never an e-mail address or a telephone number.
    external_id: String,
    /// For which partner: only clients of the platform may name another than their own.
    partner_id: Option<String>,
}

/// A user.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct User {
    /// Our stable id: the `sub` of tokens.
    sub: String,
    /// The tenant.
    partner_id: String,
    /// The partner's own id.
    external_id: String,
    /// `active` or `disabled`.
    status: Status,
}

impl From<Subject> for User {
    fn from(subject: Subject) -> Self {
        Self {
            sub: subject.sub,
            partner_id: subject.partner_id,
            external_id: subject.external_id,
            status: subject.status,
        }
    }
}

/// Registers a user. Sent again for the same external id, it answers 200 with the user that exists.
#[utoipa::path(
    post,
    path = "/v1/users",
    tag = "Users",
    request_body = NewUser,
    responses(
        (status = 201, description = "Registered", body = User),
        (status = 200, description = "Was registered before", body = User),
        (status = 404, description = "`not_found`: no such partner"),
        (status = 422, description = "`external_id_malformed`, `external_id_is_personal_data`"),
    ),
    extensions(
        ("x-scopes" = json!(["users:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false))
    )
)]
pub(crate) async fn register(
    State(app): State<App>,
    caller: Caller,
    StrictJson { value: new, .. }: StrictJson<NewUser>,
) -> Result<(StatusCode, Json<User>), Problem> {
    let partner_id = tenant::settle(&app, &caller, new.partner_id.as_deref())
        .map_err(|_| not_found("There is no such partner.").field("/partner_id", "not_found"))?;
    let external_id = ExternalId::parse(&new.external_id)
        .map_err(|bad| unprocessable(bad.code(), bad.to_string()).field("/external_id", bad.code()))?;
    let (subject, is_new) = users::register(&app, &caller, partner_id, external_id).await?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(subject.into())))
}

/// A user by `sub`.
#[utoipa::path(
    get, operation_id = "users_find",
    path = "/v1/users/{sub}",
    tag = "Users",
    params(("sub" = String, Path, description = "The user's id")),
    responses((status = 200, description = "The user", body = User), (status = 404, description = "`not_found`")),
    extensions(
        ("x-scopes" = json!(["users:read"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false))
    )
)]
pub(crate) async fn find(
    State(app): State<App>,
    caller: Caller,
    Path(sub): Path<String>,
) -> Result<Json<User>, Problem> {
    let found = users::find(&app, &caller, sub).await?;
    found.map(|subject| Json(subject.into())).ok_or_else(no_such_user)
}

/// Disables a user: within a second no token is issued for it and none is taken.
#[utoipa::path(
    post, operation_id = "users_disable",
    path = "/v1/users/{sub}/disable",
    tag = "Users",
    params(("sub" = String, Path, description = "The user's id")),
    responses((status = 200, description = "The user", body = User), (status = 404, description = "`not_found`")),
    extensions(
        ("x-scopes" = json!(["users:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false))
    )
)]
pub(crate) async fn disable(
    State(app): State<App>,
    caller: Caller,
    Path(sub): Path<String>,
) -> Result<Json<User>, Problem> {
    set_status(&app, &caller, sub, Status::Disabled).await
}

/// Enables a disabled user.
#[utoipa::path(
    post, operation_id = "users_enable",
    path = "/v1/users/{sub}/enable",
    tag = "Users",
    params(("sub" = String, Path, description = "The user's id")),
    responses((status = 200, description = "The user", body = User), (status = 404, description = "`not_found`")),
    extensions(
        ("x-scopes" = json!(["users:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false))
    )
)]
pub(crate) async fn enable(
    State(app): State<App>,
    caller: Caller,
    Path(sub): Path<String>,
) -> Result<Json<User>, Problem> {
    set_status(&app, &caller, sub, Status::Active).await
}

async fn set_status(app: &App, caller: &Caller, sub: String, status: Status) -> Result<Json<User>, Problem> {
    let changed = users::set_status(app, caller, sub, status).await?;
    changed.map(|subject| Json(subject.into())).ok_or_else(no_such_user)
}

fn no_such_user() -> Problem {
    not_found("There is no such user.")
}
