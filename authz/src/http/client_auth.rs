//! Who a request to an OAuth endpoint is from: the client's one registered method, and its request signature where
//! its profile demands one (RFC 6749 §2.3, RFC 7523 §2.2, RFC 9421).

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use chassis::{
    http::{ClientAddress, StrictForm, TargetUri},
    replay::remember_once,
};
use http::{HeaderMap, header, request::Parts};
use percent_encoding::percent_decode_str;
use serde::de::DeserializeOwned;

use crate::{
    app::{App, AuthenticatedClient},
    crypto::assertion::{self, ASSERTION_TYPE},
    domain::{
        Status,
        client::{AuthMethod, Client, Profile},
    },
    error::OAuthError,
    http::{
        dpop::{self, Proved},
        signed,
    },
};

/// The members of a form that authenticate the client.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Credentials<'f> {
    pub(crate) client_id: Option<&'f str>,
    pub(crate) secret: Option<&'f str>,
    pub(crate) assertion_type: Option<&'f str>,
    pub(crate) assertion: Option<&'f str>,
}

/// A form of an endpoint that authenticates clients.
pub(crate) trait ClientForm: DeserializeOwned + Send + Sync {
    /// Every parameter that must stand in the body and never in the query.
    const PARAMETERS: &[&str];

    fn credentials(&self) -> Credentials<'_>;
}

/// A form and the client that sent it.
pub(crate) struct FromClient<F> {
    pub(crate) who: AuthenticatedClient,
    /// The key that the request proves possession of (RFC 9449 §5).
    pub(crate) dpop: Option<Proved>,
    pub(crate) form: F,
}

impl<F: ClientForm> FromRequestParts<App> for FromClient<F> {
    type Rejection = OAuthError;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, OAuthError> {
        refuse_query(parts.uri.query().unwrap_or_default(), F::PARAMETERS)?;
        let peer = ClientAddress::from_request_parts(parts, app).await?.0;
        app.rates.count_network(peer)?;
        let form = StrictForm::<F, OAuthError>::from_request_parts(parts, app).await?.value;
        let who = authenticate(app, parts, &form.credentials(), peer).await?;
        app.rates.count_client(&who.client.id)?;
        if who.client.settings.profile == Profile::HttpSig {
            let verified = signed::verify(app, &who.client, parts).await;
            verified.inspect_err(|_| who.note()).map_err(signed::Refusal::into_oauth)?;
        }
        let dpop = dpop::at_token_endpoint(app, &who.client, parts).await?;
        Ok(Self { who, dpop, form })
    }
}

/// Parameters of the form do not belong in the query (RFC 6749 §3.2), where logs would keep them.
fn refuse_query(query: &str, parameters: &[&str]) -> Result<(), OAuthError> {
    let name_of = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default().replace('+', " ");
        percent_decode_str(&name).decode_utf8_lossy().into_owned()
    };
    if query.split('&').any(|pair| parameters.contains(&name_of(pair).as_str())) {
        return Err(OAuthError::InvalidRequest("parameters belong in the body, not in the query".into()));
    }
    Ok(())
}

/// What was presented, by method.
enum Proof<'f> {
    Basic { client_id: String, secret: String },
    Post { client_id: &'f str, secret: &'f str },
    Assertion { client_id: String, assertion: &'f str },
    Nothing { client_id: &'f str },
}

impl Proof<'_> {
    fn client_id(&self) -> &str {
        match self {
            Self::Basic { client_id, .. } | Self::Assertion { client_id, .. } => client_id,
            Self::Post { client_id, .. } | Self::Nothing { client_id } => client_id,
        }
    }

    fn method(&self) -> AuthMethod {
        match self {
            Self::Basic { .. } => AuthMethod::ClientSecretBasic,
            Self::Post { .. } => AuthMethod::ClientSecretPost,
            Self::Assertion { .. } => AuthMethod::PrivateKeyJwt,
            Self::Nothing { .. } => AuthMethod::None,
        }
    }
}

async fn authenticate(
    app: &App,
    parts: &Parts,
    credentials: &Credentials<'_>,
    peer: IpAddr,
) -> Result<AuthenticatedClient, OAuthError> {
    let proof = presented(&parts.headers, credentials)?;
    let now = app.platform.now();
    if let Some(retry_after_s) = app.throttle.wait_s(proof.client_id(), peer, now) {
        note_claimed(app, proof.client_id());
        return Err(OAuthError::TooManyFailures { retry_after_s });
    }
    match prove(app, parts, &proof).await {
        Ok(who) => Ok(who),
        Err(Unproved::Fault(fault)) => Err(OAuthError::Internal(fault)),
        Err(Unproved::Refused(reason)) => {
            app.throttle.failed(proof.client_id(), peer, now);
            note_claimed(app, proof.client_id());
            Err(OAuthError::InvalidClient { reason, challenge: matches!(proof, Proof::Basic { .. }) })
        }
    }
}

/// Notes whose name was used, for the audit, if there is such a client.
fn note_claimed(app: &App, client_id: &str) {
    if let Some(client) = app.registry.snapshot().client(client_id) {
        chassis::http::RequestNotes::asker(&client.id, &client.partner_id, "");
    }
}

/// Takes the one proof that was presented (RFC 6749 §2.3: not more than one method).
fn presented<'f>(headers: &HeaderMap, sent: &Credentials<'f>) -> Result<Proof<'f>, OAuthError> {
    let basic = basic(headers)?;
    let several = "one method of client authentication, please";
    let used = [basic.is_some(), sent.secret.is_some(), sent.assertion.is_some()];
    if used.iter().filter(|used| **used).count() > 1 {
        return Err(OAuthError::InvalidRequest(several.into()));
    }
    if sent.assertion.is_some() != sent.assertion_type.is_some() {
        return Err(OAuthError::InvalidRequest(
            "client_assertion and client_assertion_type go together".into(),
        ));
    }
    let nobody = OAuthError::InvalidClient { reason: "no client is named", challenge: false };
    let proof = if let Some((client_id, secret)) = basic {
        Proof::Basic { client_id, secret }
    } else if let Some(assertion) = sent.assertion {
        if sent.assertion_type != Some(ASSERTION_TYPE) {
            return Err(OAuthError::InvalidRequest("unknown client_assertion_type".into()));
        }
        let client_id = assertion::claimed_client(assertion).ok_or(nobody)?;
        Proof::Assertion { client_id, assertion }
    } else {
        let client_id = sent.client_id.ok_or(nobody)?;
        match sent.secret {
            Some(secret) => Proof::Post { client_id, secret },
            None => Proof::Nothing { client_id },
        }
    };
    if sent.client_id.is_some_and(|named| named != proof.client_id()) {
        return Err(OAuthError::InvalidRequest("client_id differs from the authenticated client".into()));
    }
    Ok(proof)
}

/// The user and password of HTTP Basic, both form-encoded (RFC 6749 §2.3.1). Another scheme is no client
/// authentication, but saying so is better than ignoring it.
fn basic(headers: &HeaderMap) -> Result<Option<(String, String)>, OAuthError> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(OAuthError::InvalidRequest("one Authorization header, please".into()));
    }
    let malformed =
        || OAuthError::InvalidClient { reason: "Authorization is not HTTP Basic", challenge: true };
    let (scheme, encoded) =
        value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or_else(malformed)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(malformed());
    }
    let pair = basic_pair(encoded.trim()).ok_or_else(malformed)?;
    Ok(Some(pair))
}

fn basic_pair(encoded: &str) -> Option<(String, String)> {
    use base64::{Engine, prelude::BASE64_STANDARD};
    let text = String::from_utf8(BASE64_STANDARD.decode(encoded).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    let decode = |part: &str| {
        if !part.contains(['+', '%']) {
            return Some(part.to_owned());
        }
        percent_decode_str(&part.replace('+', " ")).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    };
    Some((decode(id)?, decode(secret)?))
}

enum Unproved {
    Refused(&'static str),
    Fault(chassis::Fault),
}

impl From<&'static str> for Unproved {
    fn from(reason: &'static str) -> Self {
        Self::Refused(reason)
    }
}

/// Checks the proof against the client's registered method. An unknown client costs the same work as a known one.
async fn prove(app: &App, parts: &Parts, proof: &Proof<'_>) -> Result<AuthenticatedClient, Unproved> {
    let client_id = proof.client_id();
    let registry = app.registry.snapshot();
    let client = registry.client(client_id);
    let partner = client.as_ref().and_then(|client| registry.partner(&client.partner_id));
    drop(registry);
    if let Proof::Basic { secret, .. } = proof {
        check_secret(app, client.as_deref(), client_id, secret)?;
    } else if let Proof::Post { secret, .. } = proof {
        check_secret(app, client.as_deref(), client_id, secret)?;
    }
    let client = client.ok_or("unknown client")?;
    if client.settings.auth_method != proof.method() {
        return Err("another method than the registered one".into());
    }
    let partner = partner.ok_or("the client's partner is unknown")?;
    if client.status != Status::Active || partner.status != Status::Active {
        return Err("the client or its partner is disabled".into());
    }
    if let Proof::Assertion { assertion, .. } = proof {
        check_assertion(app, parts, &client, assertion).await?;
    }
    Ok(AuthenticatedClient { client, partner })
}

fn check_secret(
    app: &App,
    client: Option<&Client>,
    client_id: &str,
    secret: &str,
) -> Result<(), &'static str> {
    let now = app.platform.now();
    let stored = client.map(|client| client.secret_macs(now)).unwrap_or_default();
    if app.secrets.matches(client_id, secret, &stored) {
        Ok(())
    } else {
        Err("wrong secret or unknown client")
    }
}

/// Verifies the assertion, then takes its `jti`: of racing requests with one assertion exactly one passes.
async fn check_assertion(app: &App, parts: &Parts, client: &Client, assertion: &str) -> Result<(), Unproved> {
    let endpoint = TargetUri::of(&parts.extensions).map(|target| format!("{}{}", target.origin, target.path));
    let mut audiences = vec![app.audiences.issuer()];
    if client.settings.legacy_assertion_audience {
        audiences.extend(endpoint.as_deref());
        audiences.push(&app.token_endpoint);
    }
    let verified = assertion::verify(assertion, client, &audiences, app.platform.now())?;
    if app.epoch.voids(verified.issued_at) {
        return Err("the assertion may have been used before the database was restored".into());
    }
    let owner = client.id.clone();
    let new = app
        .db
        .write(move |tx| {
            let (owner, verified) = (owner.clone(), verified.clone());
            Box::pin(async move {
                remember_once(tx, "client_assertion", &owner, &verified.jti, verified.expires_at).await
            })
        })
        .await
        .map_err(Unproved::Fault)?;
    if new { Ok(()) } else { Err("the assertion was used before".into()) }
}
