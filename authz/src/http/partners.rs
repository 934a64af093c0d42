//! `/v1/partners`: the platform's business alone.

use axum::{
    Json,
    extract::{Path, State},
    http::StatusCode,
};
use chassis::http::{Problem, StrictJson, StrictQuery, conflict, forbidden, not_found, unprocessable};
use serde::{Deserialize, Serialize};

use crate::{
    app::{App, Caller},
    domain::{
        Status, is_alias,
        partner::{Dialect, Partner},
    },
    operations::partners::{self, NewPartner},
};

/// A new partner.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewPartnerBody {
    /// A short name, unique: `a-z 0-9 - _`.
    alias: String,
    /// For people.
    name: String,
    /// Vendor shapes to switch on.
    #[serde(default)]
    dialects: Vec<Dialect>,
}

/// A partner.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct PartnerBody {
    id: String,
    alias: String,
    name: String,
    status: Status,
    is_platform: bool,
    dialects: Vec<Dialect>,
}

impl From<Partner> for PartnerBody {
    fn from(partner: Partner) -> Self {
        let Partner { id, alias, name, status, is_platform, dialects } = partner;
        Self { id, alias, name, status, is_platform, dialects }
    }
}

/// A page of partners.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct PartnerPage {
    data: Vec<PartnerBody>,
    /// Whether there are more after the last one here.
    has_more: bool,
}

/// Which page.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// The id of the last one seen.
    after: Option<String>,
    /// 1 to 100, default 100.
    limit: Option<i64>,
}

impl PageQuery {
    /// The id to start after, and the page's size.
    pub(super) fn settle(self) -> Result<(String, i64), Problem> {
        let limit = self.limit.unwrap_or(100);
        if !(1..=100).contains(&limit) {
            return Err(unprocessable("value_refused", "A page has 1 to 100.").field("limit", "out_of_range"));
        }
        Ok((self.after.unwrap_or_default(), limit))
    }
}

pub(super) fn platform_only(caller: &Caller) -> Result<(), Problem> {
    if caller.who.partner.is_platform {
        return Ok(());
    }
    Err(forbidden("platform_only", "This is the platform's business."))
}

/// Creates a partner.
#[utoipa::path(
    post, operation_id = "partners_create",
    path = "/v1/partners",
    tag = "Partners",
    request_body = NewPartnerBody,
    responses(
        (status = 201, description = "Created", body = PartnerBody),
        (status = 403, description = "`platform_only`"),
        (status = 409, description = "`alias_taken`"),
        (status = 422, description = "`value_refused`"),
    ),
    extensions(
        ("x-scopes" = json!(["partners:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false))
    )
)]
pub(crate) async fn create(
    State(app): State<App>,
    caller: Caller,
    StrictJson { value: new, .. }: StrictJson<NewPartnerBody>,
) -> Result<(StatusCode, Json<PartnerBody>), Problem> {
    platform_only(&caller)?;
    if !is_alias(&new.alias) {
        let detail = "An alias has 1 to 64 of a-z, 0-9, - and _.";
        return Err(unprocessable("value_refused", detail).field("/alias", "malformed"));
    }
    if new.name.trim().is_empty() || new.name.len() > 200 {
        return Err(
            unprocessable("value_refused", "A name has 1 to 200 bytes.").field("/name", "out_of_range")
        );
    }
    let new = NewPartner { alias: new.alias, name: new.name, dialects: new.dialects };
    let created = partners::create(&app, &caller, new).await?;
    let partner = created.ok_or_else(|| conflict("alias_taken", "A partner of this alias exists."))?;
    Ok((StatusCode::CREATED, Json(partner.into())))
}

/// All partners, by id.
#[utoipa::path(
    get, operation_id = "partners_list",
    path = "/v1/partners",
    tag = "Partners",
    params(PageQuery),
    responses((status = 200, description = "A page", body = PartnerPage)),
    extensions(
        ("x-scopes" = json!(["partners:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false))
    )
)]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    StrictQuery { value: query, .. }: StrictQuery<PageQuery>,
) -> Result<Json<PartnerPage>, Problem> {
    platform_only(&caller)?;
    let (after, limit) = query.settle()?;
    let mut found = partners::list(&app, after, limit + 1).await?;
    let has_more = i64::try_from(found.len()).is_ok_and(|found| found > limit);
    found.truncate(usize::try_from(limit).unwrap_or_default());
    Ok(Json(PartnerPage { data: found.into_iter().map(PartnerBody::from).collect(), has_more }))
}

/// One partner: the platform sees any, everyone else its own.
#[utoipa::path(
    get, operation_id = "partners_find",
    path = "/v1/partners/{partner_id}",
    tag = "Partners",
    params(("partner_id" = String, Path, description = "The partner's id")),
    responses((status = 200, description = "The partner", body = PartnerBody), (status = 404, description = "`not_found`")),
    extensions(
        ("x-scopes" = json!(["partners:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false))
    )
)]
pub(crate) async fn find(
    State(app): State<App>,
    caller: Caller,
    Path(partner_id): Path<String>,
) -> Result<Json<PartnerBody>, Problem> {
    let own = &caller.who.partner;
    let found =
        if own.is_platform || own.id == partner_id { partners::find(&app, partner_id).await? } else { None };
    found.map(|partner| Json(partner.into())).ok_or_else(no_such_partner)
}

/// Disables a partner: within a second none of its clients and tokens works.
#[utoipa::path(
    post, operation_id = "partners_disable",
    path = "/v1/partners/{partner_id}/disable",
    tag = "Partners",
    params(("partner_id" = String, Path, description = "The partner's id")),
    responses(
        (status = 200, description = "The partner", body = PartnerBody),
        (status = 403, description = "`platform_only`"),
        (status = 404, description = "`not_found`"),
        (status = 409, description = "`own_partner`"),
    ),
    extensions(
        ("x-scopes" = json!(["partners:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false))
    )
)]
pub(crate) async fn disable(
    State(app): State<App>,
    caller: Caller,
    Path(partner_id): Path<String>,
) -> Result<Json<PartnerBody>, Problem> {
    if caller.who.partner.is_platform && caller.who.partner.id == partner_id {
        return Err(conflict("own_partner", "The platform cannot disable itself."));
    }
    set_status(&app, &caller, partner_id, Status::Disabled).await
}

/// Enables a disabled partner.
#[utoipa::path(
    post, operation_id = "partners_enable",
    path = "/v1/partners/{partner_id}/enable",
    tag = "Partners",
    params(("partner_id" = String, Path, description = "The partner's id")),
    responses(
        (status = 200, description = "The partner", body = PartnerBody),
        (status = 403, description = "`platform_only`"),
        (status = 404, description = "`not_found`"),
    ),
    extensions(
        ("x-scopes" = json!(["partners:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false))
    )
)]
pub(crate) async fn enable(
    State(app): State<App>,
    caller: Caller,
    Path(partner_id): Path<String>,
) -> Result<Json<PartnerBody>, Problem> {
    set_status(&app, &caller, partner_id, Status::Active).await
}

async fn set_status(
    app: &App,
    caller: &Caller,
    partner_id: String,
    status: Status,
) -> Result<Json<PartnerBody>, Problem> {
    platform_only(caller)?;
    let changed = partners::set_status(app, caller, partner_id, status).await?;
    changed.map(|partner| Json(partner.into())).ok_or_else(no_such_partner)
}

fn no_such_partner() -> Problem {
    not_found("There is no such partner.")
}
