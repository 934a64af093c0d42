//! Proofs of identity: client secrets and client assertions. Request signatures are in `http::signed`.

pub mod assertion;
pub mod secret;
