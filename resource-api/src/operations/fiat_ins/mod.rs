//! Fiat-in: outside money credits a customer's wallet.
//!
//! ```text
//! Tx A  one-time token or key claimed, customer and personal data, KYC job, order, decision, charge `ready`
//! Tx B0 charge `submitting` under a lease
//!       the gateway is called, in no transaction, under the charge's id
//! Tx C  charge, ledger, order, the answer to the request, events
//! ```
//!
//! A crash between any two of them leaves a charge that is due at some moment; `recovery` takes it from
//! there. What is not known stays `unknown` and is answered 202: a charge is never declared failed because
//! nothing was heard of it.

pub(crate) mod events;
mod execute;
mod outside;
pub(crate) mod payment;
mod place;
mod record;
pub(crate) mod recovery;
mod reviewed;
mod settle;
pub mod status_token;

pub(crate) use execute::{Take, execute};
pub(crate) use outside::Outside;
pub(crate) use place::{FiatInAsk, place};
pub(crate) use reviewed::{Rejudged, charge_reviewed, rejudge};
pub use settle::{Settlements, settlements};
