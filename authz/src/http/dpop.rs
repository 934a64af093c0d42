//! Proofs of possession (RFC 9449) at this server: what a request proves, and each proof once.

use std::borrow::Cow;

use chassis::{
    Fault,
    http::{Problem, TargetUri, unauthorized},
    replay::remember_once,
};
use http::{HeaderMap, HeaderName, request::Parts};
use keys::dpop::{self, Asked, ProofRefusal, Verified};

use crate::{
    app::App,
    domain::client::Client,
    error::{DPOP_NONCE, OAuthError},
};

/// The header of a proof (RFC 9449 §4.1).
const PROOF: HeaderName = HeaderName::from_static("dpop");

/// A key that a request proved possession of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Proved {
    /// Its thumbprint.
    pub(crate) jkt: String,
    /// The nonce for the next proof, where nonces are in use.
    pub(crate) next_nonce: Option<String>,
}

/// Why a request proves nothing.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The proof does not hold.
    Proof(ProofRefusal),
    /// There is none, or more than one.
    Count(&'static str),
    /// It is by another key than the access token's.
    OtherKey,
    /// The proof was used before.
    Replayed,
    /// It must carry this nonce.
    Nonce(String),
    /// The store failed.
    Fault(Fault),
}

impl Refusal {
    fn detail(&self) -> Cow<'static, str> {
        match self {
            Self::Proof(refusal) => refusal.to_string().into(),
            Self::Count(why) => (*why).into(),
            Self::OtherKey => "the proof is by another key than the access token's".into(),
            Self::Replayed => "the proof was used before".into(),
            Self::Nonce(_) => "the proof must carry the nonce of the DPoP-Nonce header".into(),
            Self::Fault(_) => "try again later".into(),
        }
    }

    /// As an OAuth endpoint says it (RFC 9449 §5, §8).
    fn into_oauth(self) -> OAuthError {
        match self {
            Self::Fault(fault) => OAuthError::Internal(fault),
            Self::Nonce(nonce) => OAuthError::UseDpopNonce(nonce),
            refused => OAuthError::InvalidDpopProof(refused.detail()),
        }
    }

    /// As a management path says it (RFC 9449 §7.1, §9).
    pub(crate) fn into_problem(self) -> Problem {
        let detail = self.detail();
        match self {
            Self::Fault(fault) => fault.into(),
            Self::Nonce(nonce) => unauthorized("use_dpop_nonce", detail)
                .challenge(&challenge(Some("use_dpop_nonce")))
                .header(DPOP_NONCE, &nonce),
            Self::OtherKey => {
                unauthorized("invalid_token", detail).challenge(&challenge(Some("invalid_token")))
            }
            _ => unauthorized("invalid_dpop_proof", detail).challenge(&challenge(Some("invalid_dpop_proof"))),
        }
    }
}

/// The challenge of the scheme DPoP (RFC 9449 §7.1).
pub(crate) fn challenge(error: Option<&str>) -> String {
    let error = error.map(|error| format!(", error=\"{error}\"")).unwrap_or_default();
    format!("DPoP realm=\"countersign\"{error}, algs=\"{}\"", dpop::algorithm_names())
}

/// What a token request proves. A client that is set to `dpop_required` must prove something.
///
/// # Errors
/// `invalid_dpop_proof`, `use_dpop_nonce`; a fault of the store.
pub(crate) async fn at_token_endpoint(
    app: &App,
    client: &Client,
    parts: &Parts,
) -> Result<Option<Proved>, OAuthError> {
    if client.settings.dpop_required || parts.headers.contains_key(PROOF) {
        return prove(app, parts, None).await.map(Some).map_err(Refusal::into_oauth);
    }
    Ok(None)
}

/// The access token that a proof goes with, and its `cnf.jkt`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bound<'t> {
    pub(crate) access_token: &'t str,
    pub(crate) jkt: &'t str,
}

/// Verifies the request's one proof, with its nonce, and takes its `jti`: of racing requests with one proof exactly
/// one passes, on whatever node.
///
/// # Errors
/// [`Refusal`].
pub(crate) async fn prove(app: &App, parts: &Parts, bound: Option<Bound<'_>>) -> Result<Proved, Refusal> {
    let target = TargetUri::of(&parts.extensions)
        .ok_or_else(|| Refusal::Fault(Fault::new("the route is not behind the gate")))?;
    let uri = format!("{}{}", target.origin, target.path);
    let access_token = bound.map(|bound| bound.access_token);
    let asked = Asked { method: parts.method.as_str(), uri: &uri, access_token };
    let now = app.platform.now();
    let verified = dpop::verify(one_proof(&parts.headers)?, &asked, now).map_err(Refusal::Proof)?;
    if bound.is_some_and(|bound| bound.jkt != verified.jkt) {
        return Err(Refusal::OtherKey);
    }
    let required = app.config.dpop_nonce_required || app.dpop_nonces.are_due(verified.iat);
    let current = verified.nonce.as_deref().map_or(!required, |nonce| app.dpop_nonces.accepts(nonce, now));
    if !current {
        return Err(Refusal::Nonce(app.dpop_nonces.issue(now)));
    }
    let next_nonce = (required || verified.nonce.is_some()).then(|| app.dpop_nonces.issue(now));
    let jkt = verified.jkt.clone();
    if take(app, verified).await.map_err(Refusal::Fault)? {
        Ok(Proved { jkt, next_nonce })
    } else {
        Err(Refusal::Replayed)
    }
}

fn one_proof(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(PROOF).iter();
    let value = values.next().ok_or(Refusal::Count("a DPoP proof is needed"))?;
    if values.next().is_some() {
        return Err(Refusal::Count("one DPoP proof, please"));
    }
    value.to_str().map_err(|_| Refusal::Proof(ProofRefusal::Malformed("not text")))
}

/// The `jti` belongs to the key, whoever sends it, so that a stolen proof is of no use to another client either.
async fn take(app: &App, verified: Verified) -> Result<bool, Fault> {
    app.db
        .write(move |tx| {
            let verified = verified.clone();
            Box::pin(async move {
                let until = verified.remember_until();
                remember_once(tx, "dpop", &verified.jkt, verified.replay_value(), until).await
            })
        })
        .await
}
