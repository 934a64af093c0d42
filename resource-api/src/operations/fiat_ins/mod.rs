//! Fiat-in: outside money credits a customer's wallet.
//!
//! ```text
//! Tx A  one-time token or key claimed, personal data, KYC job, order, decision, charge `submitting` under a lease
//! Tx B0 only for an order that a reviewer let through, or that was left: charge `submitting` under a lease
//!       the gateway is called, in no transaction, under the charge's id
//! Tx C  charge, ledger, order, the answer to the request, events
//! ```
//!
//! What is authorized is captured by a second round of B0, call and C. An order can be cancelled, or end by itself,
//! while nothing was sent or while the payer is awaited (`cancel`, `expiry`); money that comes in nevertheless goes
//! to suspense (`late`).
//!
//! A crash between any two of them leaves a charge that is due at some moment; `recovery` takes it from
//! there. What is not known stays `unknown` and is answered 202: a charge is never declared failed because
//! nothing was heard of it.

mod call;
mod cancel;
mod early_end;
pub(crate) mod events;
mod execute;
pub(crate) mod expiry;
mod late;
pub(crate) mod payment;
mod place;
mod record;
pub(crate) mod recovery;
mod reviewed;
mod schedule;
mod settle;
pub mod status_token;
mod verdict;

pub(crate) use cancel::cancel;
pub(crate) use execute::{Take, execute, lease_ms};
pub use late::LateSuccess;
pub(crate) use place::{FiatInAsk, place};
pub(in crate::operations) use record::judged;
pub use record::{Orders, orders};
pub(crate) use reviewed::{Rejudged, charge_reviewed, rejudge};
pub(crate) use settle::settle_in;
pub use settle::{Settlements, settlements};
pub use verdict::{Effect, Settled, Verdict};
