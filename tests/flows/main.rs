//! Black-box tests of the whole: both services in process on real sockets, real databases, real HTTP.

mod tidy;
