//! Sealing and opening; keys come from the master key the service was started with.

pub mod vault;
pub mod webhook_keys;
