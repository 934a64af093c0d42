//! The service over HTTP, in process, on both databases.

#![allow(clippy::unwrap_used, reason = "a test stops at what it cannot go on from")]

mod apply;
mod assertions;
mod audit;
mod directory;
mod documents;
mod dpop;
mod management;
mod matrix;
mod operators;
mod platform;
mod pti;
mod rates;
mod token;
mod user_tokens;
mod users;
mod world;
