//! Why a signed request is refused, and why one could not be signed.

use super::BadComponent;
use crate::KeyFault;

/// Why a request's signature is refused. The answer is 401 with [`Self::code`]; the rest is for the log.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureRefusal {
    /// No `Signature-Input` or no `Signature`.
    #[error("the request is not signed")]
    Missing,
    /// A field or a parameter is not what RFC 9421 and the profile ask for, or there is more than one signature.
    #[error("malformed: {0}")]
    Malformed(&'static str),
    /// `tag` is another one's.
    #[error("wrong tag")]
    WrongTag,
    /// `created` lies too far back or ahead, or `expires` has passed.
    #[error("not fresh")]
    NotFresh,
    /// A component that must be covered is not.
    #[error("{0} is not covered")]
    InsufficientCoverage(&'static str),
    /// A covered component is absent, repeated or not supported.
    #[error(transparent)]
    Component(#[from] BadComponent),
    /// `Content-Digest` is missing, weak, repeated or another content's.
    #[error("Content-Digest does not fit the content")]
    Digest,
    /// No key of this client has this `keyid`.
    #[error("unknown key")]
    UnknownKey,
    /// `alg` and the key do not go together, or the key leaves open which algorithm is meant.
    #[error("wrong algorithm")]
    WrongAlgorithm,
    /// The signature does not verify.
    #[error("the signature does not verify")]
    BadSignature,
}

impl SignatureRefusal {
    /// The stable code that the client is told.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "signature_required",
            Self::InsufficientCoverage(_) => "insufficient_coverage",
            Self::NotFresh => "signature_not_fresh",
            Self::Digest => "content_digest_mismatch",
            Self::Malformed(_)
            | Self::WrongTag
            | Self::Component(_)
            | Self::UnknownKey
            | Self::WrongAlgorithm
            | Self::BadSignature => "invalid_signature",
        }
    }
}

/// Why a request could not be signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SigningFault {
    /// A field the profile needs is absent, or the message has a component that cannot be covered.
    #[error(transparent)]
    Component(#[from] BadComponent),
    /// A key id, tag or nonce is not printable ASCII, or `created` is no moment of our age.
    #[error("a signature parameter cannot be written")]
    Parameter,
    /// The key's algorithm is none of RFC 9421 §3.3.
    #[error("the key's algorithm is not one of HTTP message signatures")]
    Algorithm,
    /// The key failed.
    #[error(transparent)]
    Key(#[from] KeyFault),
}
