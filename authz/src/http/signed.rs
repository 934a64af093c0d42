//! Request signatures of the profile `countersign-request` (RFC 9421): verified with the client's own signature keys,
//! each nonce taken once.

use chassis::{
    Fault,
    http::{Problem, RawBody, TargetUri, unauthorized},
    replay::remember_once,
};
use http::request::Parts;
use keys::http_signature::{self, Message, SignatureRefusal, TAG_REQUEST};

use crate::{
    app::App,
    domain::client::{Client, KeyUse},
    error::OAuthError,
};

/// Why a request does not count as signed.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// No signature, or not one of the profile's.
    Signature(SignatureRefusal),
    /// The nonce was used before.
    Replayed,
    /// It may have been used before the database was restored.
    Void,
    /// The store failed.
    Fault(Fault),
}

impl Refusal {
    fn code(&self) -> &'static str {
        match self {
            Self::Signature(refusal) => refusal.code(),
            Self::Replayed => "signature_replayed",
            Self::Void => "signature_void",
            Self::Fault(_) => "internal",
        }
    }

    /// As an OAuth endpoint says it.
    pub(crate) fn into_oauth(self) -> OAuthError {
        match self {
            Self::Fault(fault) => OAuthError::Internal(fault),
            refused => OAuthError::BadSignature(refused.code()),
        }
    }

    /// As a management endpoint says it.
    pub(crate) fn into_problem(self) -> Problem {
        let code = self.code();
        match self {
            Self::Fault(fault) => fault.into(),
            Self::Signature(refusal) => {
                unauthorized(code, "The request is not signed as its client must sign (RFC 9421).")
                    .because(refusal)
            }
            Self::Replayed => unauthorized(code, "The signature's nonce was used before."),
            Self::Void => {
                unauthorized(code, "The service was restored from a backup. Sign the request anew.")
            }
        }
    }
}

/// Verifies that `client` signed the request, and takes the signature's nonce.
///
/// # Errors
/// [`Refusal`].
pub(crate) async fn verify(app: &App, client: &Client, parts: &Parts) -> Result<(), Refusal> {
    let now = app.platform.now();
    let verified = {
        let target = TargetUri::of(&parts.extensions);
        let body = RawBody::of(&parts.extensions);
        let (Some(target), Some(RawBody(body))) = (target, body) else {
            return Err(Refusal::Fault(Fault::new("the route is not behind the gate")));
        };
        let message = Message {
            method: parts.method.as_str(),
            authority: target.origin.authority(),
            path: &target.path,
            query: target.query.as_deref(),
            headers: &parts.headers,
            body: &body,
        };
        let key_for = |keyid: &str| client.key(KeyUse::Signature, keyid).map(|key| key.verifying.clone());
        http_signature::verify(&message, TAG_REQUEST, now, &key_for).map_err(Refusal::Signature)?
    };
    if app.epoch.voids(verified.created) {
        return Err(Refusal::Void);
    }
    let owner = client.id.clone();
    let remembered = app.db.write(move |tx| {
        let (owner, verified) = (owner.clone(), verified.clone());
        Box::pin(async move {
            let value = format!("{}\n{}", verified.keyid, verified.nonce);
            remember_once(tx, "request_signature", &owner, &value, verified.remember_until()).await
        })
    });
    if remembered.await.map_err(Refusal::Fault)? { Ok(()) } else { Err(Refusal::Replayed) }
}
