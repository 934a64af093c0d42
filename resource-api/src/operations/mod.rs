//! What callers can do, one file per family. An operation takes the caller and domain values, runs its rule as one
//! unit on the database, and ends in an answer or a [`Failure`]. It names nothing of HTTP but the stored answer.

mod answers;
pub(crate) mod charges;
pub mod closing;
pub mod customers;
pub mod entities;
mod failure;
pub mod fiat_ins;
pub(crate) mod gateway_events;
pub mod kyc;
mod once;
mod owner;
pub mod parked_events;
pub mod refunds;
pub mod reviews;
#[cfg(test)]
mod stage;
pub(crate) mod testimony;
pub mod transaction_logs;
pub mod transfers;
pub mod views;
pub mod webhooks;

pub use failure::Failure;
pub use once::once;
use owner::Owner;
