//! `GET /v1/audit-events`: who did what, newest first.

use axum::{Json, extract::State};
use chassis::{
    audit::AuditFilter,
    http::{Problem, StrictQuery, unprocessable},
    outbox::rfc3339,
};
use keys::UnixSeconds;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    app::{App, Caller},
    operations::audit::{self, Seen},
};

/// Which rows.
#[derive(Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// The id of the last one seen; the list goes on with older ones.
    after: Option<String>,
    /// 1 to 100, default 100.
    limit: Option<i64>,
    /// Only this partner's; the platform alone may name another than its own.
    partner_id: Option<String>,
    /// Only with this action, such as `client.created` or `request.refused`.
    action: Option<String>,
    /// Only what was done to this object.
    object_id: Option<String>,
    /// Only what this client did.
    client_id: Option<String>,
    /// Only `done`, `refused` or `failed`.
    outcome: Option<String>,
}

/// Who acted.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct ActorBody {
    /// The client; absent: the node itself, or nobody known.
    #[serde(skip_serializing_if = "String::is_empty")]
    client_id: String,
    /// The subject on whose behalf; absent: none.
    #[serde(skip_serializing_if = "String::is_empty")]
    sub: String,
    /// The machine that wrote the row.
    node: String,
}

/// One row of the audit.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct AuditBody {
    id: String,
    /// Unix seconds.
    occurred_at: i64,
    /// The same moment (RFC 3339, UTC).
    occurred_at_utc: String,
    partner_id: String,
    actor: ActorBody,
    /// `client.created`, `token.issued`, `request.refused` …
    action: String,
    object_id: String,
    /// `done`, `refused` or `failed`.
    outcome: String,
    /// The request's id, as its caller was told it.
    #[serde(skip_serializing_if = "String::is_empty")]
    error_id: String,
    /// Codes, ids, states and amounts.
    details: Value,
    /// Its place in its node's chain; null until it is sealed, about a second.
    seq: Option<i64>,
    /// What the chain's next row rests on.
    chain_hash: Option<String>,
}

impl From<Seen> for AuditBody {
    fn from(Seen { row, details }: Seen) -> Self {
        Self {
            actor: ActorBody { node: row.node().to_owned(), client_id: row.client_id, sub: row.sub },
            id: row.audit_id,
            occurred_at: row.occurred_at_s,
            occurred_at_utc: rfc3339(UnixSeconds(row.occurred_at_s)),
            partner_id: row.partner_id,
            action: row.action,
            object_id: row.object_id,
            outcome: row.outcome,
            error_id: row.error_id,
            details,
            seq: row.seq,
            chain_hash: row.chain_hash,
        }
    }
}

/// A page of the audit.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct AuditPage {
    data: Vec<AuditBody>,
    /// Whether there are older ones.
    has_more: bool,
}

/// The audit, newest first: the platform sees everybody's rows, everyone else its own partner's. State changes are
/// kept; issued tokens and refusals for 7 days. The private reason of a refusal is for the platform alone.
#[utoipa::path(
    get,
    path = "/v1/audit-events",
    operation_id = "list_audit_events",
    tag = "Audit",
    params(AuditQuery),
    responses(
        (status = 200, description = "A page", body = AuditPage),
        (status = 422, description = "`value_refused`"),
    ),
    extensions(
        ("x-scopes" = json!(["audit:read"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false))
    )
)]
pub(crate) async fn list(
    State(app): State<App>,
    caller: Caller,
    StrictQuery { value: query, .. }: StrictQuery<AuditQuery>,
) -> Result<Json<AuditPage>, Problem> {
    let limit = query.limit.unwrap_or(100);
    if !(1..=100).contains(&limit) {
        return Err(unprocessable("value_refused", "A page has 1 to 100.").field("limit", "out_of_range"));
    }
    let filter = AuditFilter {
        partner_id: query.partner_id,
        action: query.action,
        object_id: query.object_id,
        client_id: query.client_id,
        outcome: query.outcome,
        after: query.after.filter(|after| !after.is_empty()),
    };
    let mut found = audit::list(&app, &caller, filter, limit + 1).await?;
    let has_more = i64::try_from(found.len()).is_ok_and(|found| found > limit);
    found.truncate(usize::try_from(limit).unwrap_or_default());
    Ok(Json(AuditPage { data: found.into_iter().map(AuditBody::from).collect(), has_more }))
}
