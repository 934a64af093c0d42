//! `POST /oauth2/token` (RFC 6749 §3.2).

use axum::{
    Json,
    extract::State,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};

use crate::{
    app::App,
    error::{DPOP_NONCE, OAuthError},
    grants::client_credentials,
    http::client_auth::{ClientForm, Credentials, FromClient},
};

/// The form. Parameters of other grants are unknown here, and unknown ones are ignored (RFC 6749 §3.2).
#[derive(Deserialize, utoipa::ToSchema)]
pub(crate) struct TokenForm {
    /// `client_credentials`.
    grant_type: Option<String>,
    /// Space-separated; without it, everything the client may have at the audience.
    scope: Option<String>,
    /// The service the token is for (RFC 8707), at most one.
    #[serde(default)]
    resource: Vec<String>,
    /// For `client_secret_post` and `tls_client_auth`, whose certificate lies in the connection (RFC 8705).
    client_id: Option<String>,
    /// For `client_secret_post`.
    client_secret: Option<String>,
    /// For `private_key_jwt` (RFC 7523).
    client_assertion_type: Option<String>,
    /// For `private_key_jwt`: `iss` and `sub` are the client's id, `aud` is the issuer.
    client_assertion: Option<String>,
}

impl ClientForm for TokenForm {
    const PARAMETERS: &[&str] = &[
        "grant_type",
        "scope",
        "resource",
        "client_id",
        "client_secret",
        "client_assertion_type",
        "client_assertion",
    ];

    fn credentials(&self) -> Credentials<'_> {
        Credentials {
            client_id: self.client_id.as_deref(),
            secret: self.client_secret.as_deref(),
            assertion_type: self.client_assertion_type.as_deref(),
            assertion: self.client_assertion.as_deref(),
        }
    }
}

/// The answer (RFC 6749 §5.1).
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct TokenReply {
    /// A JWT (RFC 9068).
    access_token: String,
    /// `DPoP` when the request carried a proof (RFC 9449 §5), else `Bearer`.
    token_type: &'static str,
    /// Seconds.
    expires_in: i64,
    /// What was granted.
    scope: String,
    /// For the next proof.
    #[serde(skip)]
    dpop_nonce: Option<String>,
}

impl IntoResponse for TokenReply {
    fn into_response(self) -> Response {
        let nonce = self.dpop_nonce.as_deref().and_then(|nonce| HeaderValue::from_str(nonce).ok());
        let mut reply = Json(self).into_response();
        reply.headers_mut().extend(nonce.map(|nonce| (DPOP_NONCE, nonce)));
        reply.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        reply
    }
}

/// Issues an access token to a client. With a DPoP proof the token is bound to the proof's key (RFC 9449); where the
/// client is registered for it, to the certificate of the connection (RFC 8705).
#[utoipa::path(
    post,
    path = "/oauth2/token",
    tag = "OAuth",
    params(("DPoP" = Option<String>, Header, description = "A proof of possession (RFC 9449 §4): its key is the token's")),
    request_body(content = TokenForm, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 200, description = "The token", body = TokenReply),
        (status = 400, description = "RFC 6749 §5.2: `error`, `error_description`, `error_id`; `invalid_dpop_proof`; `use_dpop_nonce` with the nonce in `DPoP-Nonce`"),
        (status = 401, description = "`invalid_client`"),
        (status = 429, description = "Too many failed authentications of this client from this address"),
    ),
    extensions(("x-scopes" = json!([])), ("x-token-kinds" = json!([])), ("x-idempotent" = json!(false)))
)]
pub(crate) async fn token(
    State(app): State<App>,
    FromClient { who, dpop, certificate, form }: FromClient<TokenForm>,
) -> Result<TokenReply, OAuthError> {
    who.note();
    match form.grant_type.as_deref() {
        Some("client_credentials") => {
            let ask = client_credentials::Ask {
                scope: form.scope.as_deref(),
                resources: &form.resource,
                dpop_jkt: dpop.as_ref().map(|key| key.jkt.as_str()),
                certificate: certificate.as_deref(),
            };
            let granted = client_credentials::issue(&app, &who, ask)?;
            Ok(TokenReply {
                access_token: granted.access_token,
                token_type: if dpop.is_some() { "DPoP" } else { "Bearer" },
                expires_in: granted.expires_in,
                scope: granted.scope.to_string(),
                dpop_nonce: dpop.and_then(|key| key.next_nonce),
            })
        }
        Some(_) => Err(OAuthError::UnsupportedGrantType),
        None => Err(OAuthError::InvalidRequest("grant_type is missing".into())),
    }
}
