//! Key material, and everything that is signed, verified or sealed with it.
//!
//! This crate is pure: moments and random bytes are arguments, and there is no database, no network and no
//! clock in it. The exceptions are named where they stand: RSA key pairs and the padding of RSA-OAEP are drawn by
//! aws-lc-rs itself.
//!
//! | module | what it is for |
//! |---|---|
//! | [`time`] | [`UnixSeconds`], the only type for a moment |
//! | [`b64`], [`digest`], [`strict_json`] | encodings and hashes, in their strict forms |
//! | [`jwk`], [`signing`], [`verifying`] | public keys as JWKs (RFC 7517), held key pairs, parsed public keys |
//! | [`jws`], [`claims`] | compact JWS (RFC 7515) with a strict header; claims by presence and JSON type |
//! | [`jwe`] | messages for one recipient's RSA key (RFC 7516), one pair of algorithms |
//! | [`token`] | access tokens (RFC 9068), their kinds, and the one list of scopes |
//! | [`seal`], [`mac`] | AES-256-GCM-SIV sealing with key ids, and keyed hashes |
//! | [`ring`] | the life of signing keys as a pure planner |
//! | [`http_signature`] | HTTP message signatures (RFC 9421) and content digests (RFC 9530) |
//! | [`dpop`] | proofs of possession and their nonces (RFC 9449) |
//! | [`epoch`] | what a restore from a backup voids |
//! | [`webhook`] | symmetric webhook signatures (Standard Webhooks) |
//! | [`pti_jws`] | one vendor's request signature, opt-in per client |

pub mod algorithm;
pub mod b64;
pub mod claims;
mod der;
pub mod digest;
pub mod dpop;
pub mod epoch;
pub mod http_signature;
pub mod jwe;
pub mod jwk;
pub mod jws;
pub mod mac;
pub mod pti_jws;
pub mod ring;
pub mod seal;
pub mod signing;
pub mod strict_json;
pub mod time;
pub mod token;
pub mod verifying;
pub mod webhook;

pub use algorithm::Algorithm;
pub use epoch::RestoreEpoch;
pub use jwk::{BadJwk, PublicJwk};
pub use signing::{KeyFault, SigningKey};
pub use time::UnixSeconds;
pub use verifying::{BadSignature, VerifyingKey};
