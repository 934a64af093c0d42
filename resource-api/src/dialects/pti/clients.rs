//! `/clients/{clientId}` of the `pti` dialect: the caller itself, and where its webhooks go.
//!
//! Keys are registered with the authorization server, so a `publicKey` is read over; so are name and place.

use axum::Json;
use axum::extract::{Path, State};
use chassis::http::StrictJson;
use guard::Caller;
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::PtiRefusal;
use crate::app::App;
use crate::domain::refusal::Refusal;
use crate::domain::webhook_format::PTI;
use crate::operations::webhooks::{find_main, set_main};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(read, change))
}

/// What a client may change of itself.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ClientBody {
    /// Where webhooks go; absent: as before.
    #[serde(default)]
    main_webhook: Option<Webhook>,
}

/// An address for webhooks.
#[derive(Deserialize, ToSchema)]
struct Webhook {
    /// `https`, a public address.
    url: String,
}

/// Another client's id looks like one that nobody has.
fn own(caller: &Caller, client_id: &str) -> Result<(), Refusal> {
    if caller.client_id == client_id { Ok(()) } else { Err(Refusal::not_found("client")) }
}

/// Reads the caller's own entry.
#[utoipa::path(
    get, operation_id = "pti_clients_read", path = "/clients/{clientId}", tag = "pti", params(("clientId" = String, Path)),
    responses((status = 200, description = "The client."), (status = 404, description = "Not the caller.")),
    extensions(
        ("x-scopes" = json!(["webhooks:read"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
        ("x-dialect" = json!("pti")),
    ),
)]
async fn read(
    State(app): State<App>,
    caller: Caller,
    Path(client_id): Path<String>,
) -> Result<Json<Value>, PtiRefusal> {
    own(&caller, &client_id)?;
    view(&app, &caller).await
}

/// Sets where the caller's webhooks go. They are signed by us and encrypted to the caller's RSA key.
#[utoipa::path(
    put, operation_id = "pti_clients_change", path = "/clients/{clientId}", tag = "pti", params(("clientId" = String, Path)),
    request_body = ClientBody,
    responses(
        (status = 200, description = "The client."),
        (status = 400, description = "The address may not be called, or the client has no RSA key."),
        (status = 404, description = "Not the caller."),
    ),
    extensions(
        ("x-scopes" = json!(["webhooks:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
        ("x-dialect" = json!("pti")),
    ),
)]
async fn change(
    State(app): State<App>,
    caller: Caller,
    Path(client_id): Path<String>,
    StrictJson { value: body, .. }: StrictJson<ClientBody, PtiRefusal>,
) -> Result<Json<Value>, PtiRefusal> {
    own(&caller, &client_id)?;
    if let Some(webhook) = body.main_webhook {
        set_main(&app, &caller, &webhook.url, PTI).await?;
    }
    view(&app, &caller).await
}

async fn view(app: &App, caller: &Caller) -> Result<Json<Value>, PtiRefusal> {
    let name = app.directory.snapshot().and_then(|snapshot| snapshot.alias(&caller.client_id));
    let mut body = json!({ "id": caller.client_id, "name": name });
    if let Some(url) = find_main(app, caller, PTI).await? {
        body["mainWebhook"] = json!({ "url": url });
    }
    Ok(Json(body))
}
