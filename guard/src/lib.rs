//! The resource-server kit: decides whether a request may reach its handler, and as whom.
//!
//! | module | holds |
//! |---|---|
//! | [`caller`] | [`Caller`], what a handler learns about who is asking, and its extractors |
//! | [`requirement`] | what each operation demands, read from the OpenAPI document's `x-` extensions |
//! | [`layer`] | [`Guard`] and the tower layer that enforces the table |
//! | [`carrier`] | where in a request the token stands (RFC 6750 §2.1, RFC 9449 §7.1, `x-pti-token`) |
//! | [`jwks`] | the issuer's published keys, cached (RFC 7517) |
//! | [`standing`] | the traits through which the directory and the replay memory come in |
//! | [`signature`] | signed requests of clients that must sign (RFC 9421, `pti-jws`) |
//! | [`dpop`] | tokens bound to a key, and their proofs (RFC 9449) |
//! | [`one_time`] | spending an operation-bound token inside the caller's transaction |
//! | [`cors`] | which browser origins may read an answer |
//! | [`metadata`] | the protected-resource document (RFC 9728) |
//! | [`refusal`] | why a request was turned away, with its challenge (RFC 6750 §3) |
//!
//! Time, fetching and storage come in through small traits and closures, so any service built on
//! `tower` and `axum` can use it.

pub mod caller;
pub mod carrier;
pub mod cors;
pub mod dpop;
pub mod jwks;
pub mod layer;
pub mod metadata;
pub mod one_time;
pub mod refusal;
pub mod requirement;
pub mod signature;
pub mod standing;
mod token;

pub use caller::{Caller, OneTime, Presented, TokenClient};
pub use dpop::Dpop;
pub use layer::{Facts, Guard, GuardLayer, Settings, Setup};
pub use refusal::Refusal;
pub use requirement::{Dialect, Requirement, Requirements};
pub use standing::{ClientStanding, Profile, ReplayMemory, Standing};
