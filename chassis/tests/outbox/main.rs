//! The outbox against real receivers, on both databases.
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod delivery;
mod endpoints;
mod formats;
mod numbering;
mod receiver;
mod replay;
mod several_nodes;
mod trouble;
mod world;
