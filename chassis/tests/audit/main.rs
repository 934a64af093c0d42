//! The audit on both databases: sealing, proving, carried rows (security.md O3; INV7 of the invariants).
#![allow(clippy::unwrap_used, reason = "a test says what went wrong by panicking")]

mod carried;
mod chains;
mod queue;
mod world;
