//! `/users/{userId}/kycs` of the `pti` dialect: every decision about a user's identity, and asking for a new look.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use chassis::http::{StrictJson, TargetUri};
use guard::Caller;
use http::StatusCode;
use serde_json::{Value, json};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::person::PtiUser;
use super::{ObjectReference, PtiRefusal, words};
use crate::app::App;
use crate::domain::customer::Customer;
use crate::domain::pii::Pii;
use crate::domain::refusal::Refusal;
use crate::operations::{customers, kyc};
use crate::store::kyc::PastDecision;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list, ask)).routes(routes!(read))
}

fn link(target: &TargetUri, user: &Customer) -> String {
    format!("{}/users/{}/kycs", target.origin, user.external_id)
}

/// Lists the checks of a user, oldest first.
#[utoipa::path(
    get, operation_id = "pti_kycs_list", path = "/users/{userId}/kycs", tag = "pti", params(("userId" = String, Path)),
    responses(
        (status = 200, description = "References.", body = Vec<ObjectReference>),
        (status = 404, description = "No such user."),
    ),
    extensions(
        ("x-scopes" = json!(["kyc:read"])),
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
) -> Result<Json<Vec<ObjectReference>>, PtiRefusal> {
    let user = customers::find_by_external_id(&app, &caller, &user_id).await?;
    let found = kyc::decisions(&app, &user, None).await?;
    let link = link(&target, &user);
    let reference = |check: PastDecision| ObjectReference {
        link: format!("{link}/{}", check.decision_id),
        id: check.decision_id,
    };
    Ok(Json(found.into_iter().map(reference).collect()))
}

/// Reads a check of a user.
#[utoipa::path(
    get, operation_id = "pti_kycs_read", path = "/users/{userId}/kycs/{kycId}", tag = "pti",
    params(("userId" = String, Path), ("kycId" = String, Path)),
    responses(
        (status = 200, description = "`id`, `level`, `status` (`ACCEPTED`, `REFUSED`, `MANUAL_REVIEW`), `details`."),
        (status = 404, description = "No such user or check."),
    ),
    extensions(
        ("x-scopes" = json!(["kyc:read"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
        ("x-dialect" = json!("pti")),
    ),
)]
async fn read(
    State(app): State<App>,
    caller: Caller,
    Path((user_id, kyc_id)): Path<(String, String)>,
) -> Result<Json<Value>, PtiRefusal> {
    let user = customers::find_by_external_id(&app, &caller, &user_id).await?;
    let found = kyc::decisions(&app, &user, Some(&kyc_id)).await?.pop();
    let check = found.filter(|_| !kyc_id.is_empty()).ok_or_else(|| Refusal::not_found("check"))?;
    let codes: Vec<String> = check.reason_codes.iter().map(|code| words::reason(code)).collect();
    Ok(Json(json!({
        "id": check.decision_id,
        "level": words::level(check.level),
        "status": words::check(check.status),
        "details": {
            "reasonCodes": codes,
            "decidedBy": if check.by_rules { "RULES" } else { "PERSON" },
            "decidedAt": chassis::outbox::rfc3339(check.decided_at),
        },
    })))
}

/// Asks for a look at a user's identity. Personal data in the body is stored first; the outcome comes as a webhook.
#[utoipa::path(
    post, operation_id = "pti_kycs_ask", path = "/users/{userId}/kycs", tag = "pti", params(("userId" = String, Path)),
    request_body = PtiUser,
    responses(
        (status = 202, description = "The look is under way: `id`, `link`, `status` `PENDING`."),
        (status = 400, description = "A field is refused."),
        (status = 403, description = "The user is not active."),
        (status = 404, description = "No such user."),
    ),
    extensions(
        ("x-scopes" = json!(["kyc:read", "customers.pii:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
        ("x-dialect" = json!("pti")),
    ),
)]
async fn ask(
    State(app): State<App>,
    caller: Caller,
    target: TargetUri,
    Path(user_id): Path<String>,
    StrictJson { value: body, .. }: StrictJson<PtiUser, PtiRefusal>,
) -> Result<Response, PtiRefusal> {
    let user = customers::find_by_external_id(&app, &caller, &user_id).await?;
    let pii = Pii::checked(&body.into_pii(), "", app.platform.now())?;
    kyc::ask(&app, &caller, &user, &pii).await?;
    let told = json!({ "id": user.external_id, "link": link(&target, &user), "status": "PENDING" });
    Ok((StatusCode::ACCEPTED, Json(told)).into_response())
}
