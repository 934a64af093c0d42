//! `/v1/fiat-ins/{id}/cancel`.

use axum::extract::{Path, State};
use axum::response::Response;
use chassis::http::Problem;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::{Attempt, reply};
use crate::operations::fiat_ins::cancel as cancel_order;

/// The routes of this file.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(cancel))
}

/// Cancels an order that waits: for a reviewer, for its charge to be sent, or for the payer.
#[utoipa::path(
    post, operation_id = "fiat_ins_cancel", path = "/v1/fiat-ins/{id}/cancel", tag = "fiat-in",
    params(("id" = String, Path), ("Idempotency-Key" = String, Header)),
    responses(
        (status = 200, description = "`cancelled`. A charge that waited for the payer is given up at the gateway."),
        (status = 404, description = "No such order."),
        (status = 409, description = "`already_submitted`: the charge is at the gateway; `order_ended`"),
    ),
    extensions(
        ("x-scopes" = json!(["fiat_ins:execute"])),
        ("x-token-kinds" = json!(["client", "user"])),
        ("x-idempotent" = json!(true)),
        ("x-moves-money" = json!(true)),
    ),
)]
async fn cancel(
    State(app): State<App>,
    attempt: Attempt,
    Path(id): Path<String>,
) -> Result<Response, Problem> {
    Ok(reply(cancel_order(&app, attempt, id).await?))
}
