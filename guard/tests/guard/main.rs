//! The guard before a small axum application, with the issuer's keys fetched from a real local
//! server. Each module is named after what it tries.

#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod carriers;
mod cors;
mod jwks;
mod operations;
mod proofs;
mod restored;
mod signatures;
mod tokens;
mod world;
