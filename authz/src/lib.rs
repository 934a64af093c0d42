//! The authorization server: who may do what (OAuth 2.1, RFC 6749, RFC 9068).
//!
//! | module | holds |
//! |---|---|
//! | [`config`] | what an operator sets |
//! | [`start()`](start::start), [`migrations`], [`apply`] | starting the service, its tables, its partners and clients as a file |
//! | [`desk`] | what an operator does from the command line |
//! | [`app`] | the one shared state |
//! | [`registry`] | partners and clients, cached in process |
//! | [`directory`] | the tasks behind the directory feed |
//! | [`error`] | the OAuth error and its wire form |
//! | `http` | every path: extract, authenticate, call a rule, reply |
//! | `dialects` | vendors' request shapes in front of the same rules |
//! | [`grants`] | the rules of issuing tokens |
//! | [`operations`] | what the management paths do |
//! | [`crypto`] | secrets, client assertions |
//! | [`store`] | SQL, one file per table family |
//! | [`domain`] | newtypes and pure rules |
//!
//! `http` and `dialects` call `grants` and `operations`; these call `store` and `crypto`; `domain` calls nobody.

pub mod app;
pub mod apply;
pub mod config;
pub mod crypto;
pub mod desk;
mod dialects;
pub mod directory;
pub mod domain;
pub mod error;
pub mod grants;
pub mod http;
pub mod migrations;
pub mod operations;
pub mod registry;
mod start;
pub mod store;

pub use apply::{Applied, PlatformFile};
pub use config::Config;
pub use migrations::{MIGRATIONS, migrate};
pub use start::{Listeners, Running, StartError, start};
