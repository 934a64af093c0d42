//! A scriptable payment gateway for development and tests: a real HTTP server in its own task, with its
//! own record of what it collected, so that our books can be compared with it.
//!
//! It behaves like a gateway worth having: one charge for each idempotency key however often it is sent,
//! and lookup by the caller's own reference. What it answers is decided by the token of the instrument:
//!
//! | token | card | what happens |
//! |---|---|---|
//! | `tok_success` | 4242 4242 4242 4242, 5555 5555 5555 4444 | captured |
//! | `tok_decline` | 4000 0000 0000 0002 | declined, `card_declined` |
//! | `tok_insufficient_funds` | 4000 0000 0000 9995 | declined, `insufficient_funds` |
//! | `tok_timeout_then_success` | | no answer and no charge the first time, captured when sent again |
//! | `tok_success_then_lost_answer` | | captured the first time, but the answer breaks off |
//!
//! Sandboxes that are given a target also send events by themselves; `events` has their tokens.
//!
//! More scripts are added with `POST /v1/scripts {token, steps}` or [`Sandbox::script`].

mod cards;
mod events;
mod record;
mod script;
mod server;

pub use events::{EventStep, EventTarget, Lie};
pub use record::{Collected, Outcome};
pub use script::Step;
pub use server::{Sandbox, SandboxOptions, serve};
