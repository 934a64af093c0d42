//! Black-box tests of the web side over real sockets: gate, extractors, accept loop, probes, fetcher, logs.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on has failed")]

mod alone;
mod authority;
mod bodies;
mod connections;
mod fetching;
mod floods;
mod limits;
mod refusals;
mod tls;
mod world;
