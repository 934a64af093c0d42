//! HTTP message signatures (RFC 9421) with content digests (RFC 9530).
//!
//! [`base`] builds the signature base of any request or response the RFC's way. [`profile`] is what the services
//! ask of a client that signs its requests: which components must be covered, and how fresh the signature must be.
//! [`reply`] signs a response for a client that asks for it.
//! [`digest`] is the `Content-Digest` field.

pub mod base;
pub mod digest;
mod message;
pub mod profile;
mod refusal;
pub mod reply;

pub use base::{BadComponent, SignatureInput};
pub use message::{Message, Subject};
pub use profile::{SignedHeaders, Signer, Verified, verify};
pub use refusal::{SignatureRefusal, SigningFault};

/// The tag of every signed request to the services.
pub const TAG_REQUEST: &str = "countersign-request";

/// The tag of every signed response of the services.
pub const TAG_RESPONSE: &str = "countersign-response";

#[cfg(test)]
mod rfc9421_tests;
