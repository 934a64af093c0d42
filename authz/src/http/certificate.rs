//! Client certificates (RFC 8705) at this server: who a connection belongs to, and which certificate a token is bound
//! to. A certificate counts only on a connection that ends here; no header is believed about one.

use chassis::http::{ClientCertificate, Problem, unauthorized};
use http::request::Parts;
use keys::{UnixSeconds, token::AccessToken};

use crate::{domain::client::Client, error::OAuthError};

/// The certificate whose key the other side of the connection proved to hold.
fn shown(parts: &Parts) -> Option<&ClientCertificate> {
    parts.extensions.get::<ClientCertificate>()
}

/// Whether the connection is the client's (RFC 8705 §2.1): a certificate with its registered name, signed by an
/// authority that is configured, and valid now.
///
/// # Errors
/// The reason, for the log and the audit.
pub(crate) fn authenticate(client: &Client, parts: &Parts, now: UnixSeconds) -> Result<(), &'static str> {
    let certificate = shown(parts)
        .ok_or("no client certificate: none was sent, or this listener has no client_authorities_file")?;
    if !certificate.is_current(now) {
        return Err("the client certificate has expired or is not valid yet");
    }
    if !certificate.is_trusted(now) {
        return Err("no authority of client_authorities_file signed the client certificate");
    }
    if client.settings.certificate.as_ref().is_some_and(|name| name.is_in(certificate)) {
        Ok(())
    } else {
        Err("the client certificate does not carry the registered name")
    }
}

/// The thumbprint that the client's tokens are bound to, if they are to be (RFC 8705 §3). Possession of the key is what
/// counts, so the certificate may be signed by anybody.
///
/// # Errors
/// `invalid_request` when there is no certificate to bind to.
pub(crate) fn to_bind(client: &Client, parts: &Parts) -> Result<Option<String>, OAuthError> {
    if !client.settings.certificate_bound {
        return Ok(None);
    }
    let certificate = shown(parts).ok_or(OAuthError::InvalidRequest(
        "the client's tokens are bound to its certificate: connect with one".into(),
    ))?;
    Ok(Some(certificate.thumbprint().to_owned()))
}

/// Whether the token, if it is bound to a certificate, came over a connection of that certificate (RFC 8705 §3).
///
/// # Errors
/// 401 `invalid_token`.
pub(crate) fn possession(token: &AccessToken, parts: &Parts) -> Result<(), Problem> {
    let Some(bound) = token.cnf_x5t.as_deref() else { return Ok(()) };
    if shown(parts).is_some_and(|certificate| certificate.thumbprint() == bound) {
        return Ok(());
    }
    let detail = "The access token is bound to a client certificate: connect with that certificate.";
    Err(unauthorized("invalid_token", detail)
        .challenge("Bearer realm=\"countersign\", error=\"invalid_token\"")
        .because("the token's certificate was not shown"))
}
