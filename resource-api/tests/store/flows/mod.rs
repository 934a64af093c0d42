//! The whole service over real HTTP, with an issuer whose tokens the tests mint and the sandbox gateway.

mod cancel;
mod cards;
mod charges;
mod fiat_ins;
mod gateway;
mod issuer;
mod pti;
mod recovery;
mod reviews;
mod webhooks;
mod world;
