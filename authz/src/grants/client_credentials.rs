//! The client credentials grant (RFC 6749 §4.4) with access tokens per RFC 9068.
//!
//! Everything it needs is in process: it waits for no database.

use keys::token::{AccessToken, Scope, TokenKind};

use crate::{
    app::{App, AuthenticatedClient},
    domain::client::GrantType,
    error::OAuthError,
};

/// What a client asks for.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// `scope`, if sent.
    pub scope: Option<&'a str>,
    /// The `resource` values (RFC 8707).
    pub resources: &'a [String],
    /// The thumbprint of the key that the token is to be bound to (RFC 9449 §6).
    pub dpop_jkt: Option<&'a str>,
    /// The thumbprint of the certificate that the token is to be bound to (RFC 8705 §3.1).
    pub certificate: Option<&'a str>,
}

/// What it gets.
#[derive(Debug)]
pub struct Granted {
    /// The signed access token.
    pub access_token: String,
    /// Its life, seconds.
    pub expires_in: i64,
    /// Its scope.
    pub scope: Scope,
}

/// Issues an access token to the client itself.
///
/// # Errors
/// `unauthorized_client`, `invalid_scope`, `invalid_target`; a fault when no key can sign.
pub fn issue(app: &App, who: &AuthenticatedClient, ask: Ask<'_>) -> Result<Granted, OAuthError> {
    let settings = &who.client.settings;
    if !settings.grant_types.contains(&GrantType::ClientCredentials) {
        return Err(OAuthError::UnauthorizedClient("the client may not use this grant"));
    }
    let asked = ask.scope.map(str::parse::<Scope>).transpose();
    let asked = asked.map_err(|_| OAuthError::InvalidScope("the scope is malformed"))?;
    let resources: Vec<&str> = ask.resources.iter().map(String::as_str).collect();
    let (audience, scope) = app.audiences.settle(&resources, asked, &settings.scope)?;
    let now = app.platform.now();
    let expires_in = settings.access_token_ttl_s.unwrap_or(app.config.client_token_ttl_s);
    let token = AccessToken {
        iss: app.audiences.issuer().to_owned(),
        aud: audience.to_owned(),
        sub: who.client.id.clone(),
        client_id: who.client.id.clone(),
        jti: app.platform.new_id("tok"),
        partner_id: who.partner.id.clone(),
        iat: now,
        exp: now.plus(expires_in),
        kind: TokenKind::Client,
        scope,
        sid: None,
        act: None,
        cnf_jkt: ask.dpop_jkt.map(str::to_owned),
        cnf_x5t: ask.certificate.map(str::to_owned),
        operation: None,
        process_id: None,
        roles: Vec::new(),
        acr: None,
        auth_time: None,
        external_id: None,
    };
    let access_token = token.sign(&app.keys.active()).map_err(chassis::while_doing("sign access token"))?;
    app.issued(&token);
    Ok(Granted { access_token, expires_in, scope: token.scope })
}
