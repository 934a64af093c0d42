//! `POST /v1/user-tokens`: a token for one operation of one user, to be handed to an untrusted device.

use axum::{Json, extract::State, http::StatusCode};
use chassis::http::{Problem, StrictJson, bad_request, forbidden, unprocessable};
use keys::token::Money;
use serde::{Deserialize, Serialize};

use crate::{
    app::{App, Caller},
    grants::user_token::{self, Ask, Refusal, Whom},
};

/// What is asked for.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewUserToken {
    /// The partner's own id of the user. This or `sub`.
    external_id: Option<String>,
    /// Our id of the user.
    sub: Option<String>,
    /// HTTP method of the operation, upper case.
    method: String,
    /// URL of the operation at the resource API.
    url: String,
    /// The amount that the operation must have.
    money: Option<MoneyBody>,
    /// The entity that the operation must be about.
    entity_id: Option<String>,
    /// Thumbprint (RFC 7638) of the device's key: the token counts only with a DPoP proof by it (RFC 9449).
    dpop_jkt: Option<String>,
    /// Life, 30 to 900 seconds.
    expires_in: Option<i64>,
}

/// An amount.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MoneyBody {
    /// Minor units.
    amount: i64,
    /// ISO 4217 code.
    currency: String,
}

/// The token.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct UserToken {
    /// An `operation+jwt`.
    access_token: String,
    /// `DPoP` for a token that is bound to a key, else `Bearer`.
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
    /// The token's id, which events about its use name.
    jti: String,
}

/// Issues a one-time user token. The request must be signed (RFC 9421) with the client's signature key.
#[utoipa::path(
    post,
    path = "/v1/user-tokens",
    tag = "User tokens",
    request_body = NewUserToken,
    responses(
        (status = 201, description = "The token", body = UserToken),
        (status = 401, description = "A missing, bad or repeated signature"),
        (status = 403, description = "`signature_key_required`, `operation_not_available`, `insufficient_scope`, `user_disabled`"),
        (status = 404, description = "`user_not_found`"),
        (status = 422, description = "`url_refused`, `value_refused`"),
    ),
    extensions(
        ("x-scopes" = json!(["user_tokens:write"])),
        ("x-token-kinds" = json!(["client"])),
        ("x-idempotent" = json!(false)),
        ("x-signed" = json!(true))
    )
)]
pub(crate) async fn issue(
    State(app): State<App>,
    caller: Caller,
    StrictJson { value: new, .. }: StrictJson<NewUserToken>,
) -> Result<(StatusCode, Json<UserToken>), Problem> {
    let whom = match (new.external_id, new.sub) {
        (Some(id), None) => Whom::ExternalId(id),
        (None, Some(sub)) => Whom::Sub(sub),
        _ => return Err(bad_request("malformed_request", "Name the user by external_id or by sub.")),
    };
    let ask = Ask {
        whom,
        method: Some(new.method),
        url: new.url,
        money: new.money.map(|money| Money { amount: money.amount, currency: money.currency }),
        entity_id: new.entity_id,
        dpop_jkt: new.dpop_jkt,
        expires_in: new.expires_in,
    };
    let granted = user_token::issue(&app, &caller.who, ask).await?;
    let reply = UserToken {
        access_token: granted.access_token,
        token_type: if granted.token.cnf_jkt.is_some() { "DPoP" } else { "Bearer" },
        expires_in: granted.expires_in,
        jti: granted.token.jti,
    };
    Ok((StatusCode::CREATED, Json(reply)))
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let said = refusal.to_string();
        match refusal {
            Refusal::Url(_) => unprocessable("url_refused", said).field("/url", "url_refused"),
            Refusal::NotAvailable => forbidden("operation_not_available", said),
            Refusal::ScopeNotGranted => forbidden("insufficient_scope", said),
            Refusal::Money => unprocessable("value_refused", said).field("/money", "value_refused"),
            Refusal::EntityId => unprocessable("value_refused", said).field("/entity_id", "value_refused"),
            Refusal::DpopKey => unprocessable("value_refused", said).field("/dpop_jkt", "value_refused"),
            Refusal::DpopKeyRequired => unprocessable("value_refused", said).field("/dpop_jkt", "required"),
            Refusal::ExpiresIn => unprocessable("value_refused", said).field("/expires_in", "out_of_range"),
            Refusal::UnknownUser => Self::new(StatusCode::NOT_FOUND, "user_not_found", said),
            Refusal::UserDisabled => forbidden("user_disabled", said),
            Refusal::OtherUser => unprocessable("url_refused", said).field("/url", "other_user"),
            Refusal::Internal(fault) => fault.into(),
        }
    }
}
