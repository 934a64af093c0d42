//! SQL of the payments API, one file per table family. Free functions on the open transaction, one text for both
//! databases; every one is tested on SQLite and on PostgreSQL (`tests/store`).
//!
//! The ledger's SQL is in [`crate::ledger`].

pub mod charge_attempts;
pub mod charge_views;
pub mod charges;
pub mod customers;
pub mod disputes;
pub mod entities;
pub mod fiat_ins;
pub mod gateway_events;
pub mod kyc;
pub mod monitoring;
pub mod order_steps;
pub mod pii;
#[cfg(test)]
pub(crate) mod probe;
pub mod refund_resolutions;
pub mod refunds;
pub mod reviews;
pub mod rows;
pub mod third_parties;
pub mod transaction_logs;
pub mod transfers;
