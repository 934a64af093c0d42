//! The resource API on real databases: every test about stored things runs on SQLite and on
//! `PostgreSQL`.
#![allow(clippy::unwrap_used, reason = "a test may stop at what it did not expect")]

mod api;
mod authz_calls;
mod directory;
mod families;
mod frame;
mod once;
mod pti;
mod world;
