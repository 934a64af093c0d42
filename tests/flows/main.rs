//! Black-box tests of the whole: both services in process on real sockets, real databases, real HTTP.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::similar_names,
    clippy::struct_field_names,
    clippy::single_match_else,
    clippy::implicit_clone,
    clippy::match_wild_err_arm,
    clippy::large_futures,
    clippy::assigning_clones,
    reason = "a test stops at what it cannot go on from, and may be plain where the product is careful"
)]

#[macro_use]
mod world;

/// The front door's table, the very one of `countersign dev`.
#[path = "../../src/routes.rs"]
mod routes;

mod amounts;
mod audit;
mod binary;
mod by_hand;
mod canaries;
mod charges;
mod charges_by_hand;
mod commands;
mod crash;
mod directory;
mod dpop;
mod fiat_in;
mod gateway;
mod gateway_events;
mod hygiene;
mod idempotency;
mod kills;
mod master_key;
mod matrix;
mod monitoring;
mod one_time;
mod operators;
mod outbox;
mod process;
mod pti;
mod races;
mod refunds;
mod refunds_by_hand;
mod restore;
mod reviews;
mod signatures;
mod tidy;
mod tls;
mod webhooks;
