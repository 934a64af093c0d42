//! What the gate keeps of a request for the extractors.

use std::net::{IpAddr, SocketAddr};

use axum::body::Bytes;
use axum::extract::FromRequestParts;
use http::Uri;
use http::request::Parts;

use super::origin::Origin;
use super::problem::Problem;

/// Lies in the extensions of every request that passed the gate.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) origin: Origin,
    pub(crate) uri: Uri,
    pub(crate) body: Bytes,
}

/// The body exactly as it arrived; empty when there was none. What digests and fingerprints are made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawBody(pub Bytes);

impl RawBody {
    /// The body of a request that passed the gate, from its extensions.
    pub fn of(extensions: &http::Extensions) -> Option<Self> {
        extensions.get::<Received>().map(|received| Self(received.body.clone()))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RawBody {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        Self::of(&parts.extensions).ok_or_else(Problem::not_behind_the_gate)
    }
}

/// The address at the other end of the connection. Headers such as `X-Forwarded-For` never change it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeerAddress(pub SocketAddr);

impl PeerAddress {
    /// The address without the port, an IPv4-mapped one as IPv4.
    pub fn ip(self) -> IpAddr {
        self.0.ip().to_canonical()
    }
}

impl<S: Send + Sync> FromRequestParts<S> for PeerAddress {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().copied().ok_or_else(Problem::not_behind_the_gate)
    }
}
