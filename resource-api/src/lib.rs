//! The payments API: customers and their KYC, entities, the ledger, fiat-ins and transfers, behind
//! the tokens of the authorization server. It never depends on that server as a crate: it reads its
//! published keys and its directory feed over HTTP.
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | [`Config`](config::Config), its defaults and `problems()` |
//! | [`app`] | [`App`](app::App), the only shared state |
//! | [`http`] | the complete list of paths and the layers before them |
//! | [`auth`] | who is asking, one-time tokens and `Idempotency-Key`, calls to the authorization server |
//! | `dialects` | vendors' paths and shapes in front of the same operations |
//! | [`desk`] | what an operator does from the command line |
//! | [`directory`] | partners, clients, keys and revocations as the feed told them |
//! | [`error`] | how a refused operation looks over HTTP |
//! | [`operations`] | what callers can do, one file per family: rules without HTTP |
//! | [`kyc`] | the worker that computes levels in the background |
//! | [`ledger`] | double entry on the open transaction |
//! | [`monitoring`] | rules that let an order pass, hold it for a person, or refuse it |
//! | [`gateway`] | the payment gateway port and its HTTP adapter |
//! | [`sandbox`] | a scriptable payment gateway for development and tests |
//! | [`store`] | SQL, one file per table family |
//! | [`crypto`] | the vault of personal data |
//! | [`domain`] | pure rules and newtypes: no SQL, no HTTP, nothing async |
//!
//! [`start`] runs the whole service in the calling process.

pub mod app;
pub mod auth;
pub mod config;
pub mod crypto;
pub mod desk;
mod dialects;
pub mod directory;
pub mod domain;
pub mod error;
pub mod gateway;
pub mod http;
pub mod kyc;
pub mod ledger;
mod migrations;
pub mod monitoring;
pub mod operations;
pub mod sandbox;
mod start;
pub mod store;

pub use crypto::webhook_keys::WEBHOOK_RING;
pub use migrations::MIGRATIONS;
pub use start::{Listeners, Running, StartError, open, open_database, rings, start};
