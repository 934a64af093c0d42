//! `GET /v1/directory`: the ordered feed that the resource API follows.

use axum::{Json, extract::State};
use chassis::http::{Problem, StrictQuery};
use serde::Deserialize;

use crate::{
    app::{App, Caller},
    http::partners::platform_only,
    operations::directory::{self, Feed},
};

/// Where to read on.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct FeedQuery {
    /// The `seq` of the last answer; absent for a snapshot.
    after_seq: Option<i64>,
    /// How long to wait for the first change, seconds, at most 10.
    wait_s: Option<u64>,
}

/// Changes of partners, clients and users after a number, or a snapshot of all.
#[utoipa::path(
    get,
    path = "/v1/directory",
    tag = "Directory",
    params(FeedQuery),
    responses(
        (status = 200, description = "The feed", body = Feed),
        (status = 403, description = "`platform_only`"),
    ),
    extensions(
        ("x-scopes" = json!(["directory:read"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false))
    )
)]
pub(crate) async fn read(
    State(app): State<App>,
    caller: Caller,
    StrictQuery { value: query, .. }: StrictQuery<FeedQuery>,
) -> Result<Json<Feed>, Problem> {
    platform_only(&caller)?;
    Ok(Json(directory::read(&app, query.after_seq, query.wait_s.unwrap_or(0)).await?))
}
