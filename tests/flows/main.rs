//! Black-box tests of the whole: both services in process on real sockets, real databases, real HTTP.

#[macro_use]
mod world;

mod fiat_in;
mod tidy;
