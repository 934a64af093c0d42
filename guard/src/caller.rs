//! Who is asking, as a handler sees it after the guard has let the request in.

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use keys::UnixSeconds;
use keys::token::{OperationGrant, Scope, TokenKind};

/// An authenticated caller. The partner comes from the credential, never from the path or the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The kind of the token; `Client` for a vendor's signed request that carries no token.
    pub kind: TokenKind,
    /// The tenant. Everything the caller reads or writes belongs to it.
    pub partner_id: String,
    /// The client that presented the credential, or to which the token was issued.
    pub client_id: String,
    /// The subject (RFC 9068 §2.2): a user, or the client itself for the kind `Client`.
    pub sub: String,
    /// What the token grants. Empty for a one-time token, whose operation stands in its place.
    pub scope: Scope,
    /// The token's id; absent when the request was authenticated by its signature alone.
    pub jti: Option<String>,
    /// The process a `Process` token is limited to.
    pub process_id: Option<String>,
    /// Present exactly for a one-time token.
    pub one_time: Option<OneTime>,
}

/// The operation a one-time token allows, not yet spent (contract: token kinds, `one_time`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OneTime {
    /// The token's `iss`; with `jti` it names the token in the store of spent ones.
    pub issuer: String,
    /// The token's `jti`.
    pub jti: String,
    /// The token's `exp`.
    pub expires_at: UnixSeconds,
    /// True when `exp` had passed at the check. Such a token only repeats an answer it already has.
    pub late: bool,
    /// The one operation: method, URI and optionally the money and the entity.
    pub operation: OperationGrant,
}

impl Caller {
    /// The subject to whose own data this caller is limited, or `None` when it acts for the whole
    /// partner (a client or an employee).
    pub fn own_sub(&self) -> Option<&str> {
        match self.kind {
            TokenKind::Client | TokenKind::Employee => None,
            TokenKind::User | TokenKind::Exchanged | TokenKind::OneTime | TokenKind::Process => {
                Some(&self.sub)
            }
        }
    }

    /// Whether this caller may see data of `sub` within its own partner.
    pub fn may_see(&self, sub: &str) -> bool {
        self.own_sub().is_none_or(|own| own == sub)
    }
}

/// What the guard let through: a caller, or an opaque bearer credential that only the handler can
/// judge (on operations marked `x-opaque-bearer`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presented {
    /// A verified caller.
    Caller(Box<Caller>),
    /// A bearer credential that is not a JWT; nothing about it has been checked.
    Opaque(String),
}

/// Response extension: the client whose registered origins decide who may read this answer. The
/// guard sets it for every verified token; a handler that judges an opaque bearer sets it itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenClient(pub String);

/// The handler asked for a caller on a route the guard does not stand before: a wiring mistake.
#[derive(Debug, Clone, Copy)]
pub struct NotGuarded;

impl IntoResponse for NotGuarded {
    fn into_response(self) -> Response {
        tracing::error!("a handler asked for a caller that the guard did not provide");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = NotGuarded;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, NotGuarded> {
        match parts.extensions.get::<Presented>() {
            Some(Presented::Caller(caller)) => Ok(Self::clone(caller)),
            Some(Presented::Opaque(_)) | None => Err(NotGuarded),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Presented {
    type Rejection = NotGuarded;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, NotGuarded> {
        parts.extensions.get::<Self>().cloned().ok_or(NotGuarded)
    }
}
