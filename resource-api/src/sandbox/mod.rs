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
//! | `tok_requires_action` | 4000 0000 0000 3220 | waits for the payer on a page of its own, then captured or declined |
//! | `tok_requires_action_then_authorized` | | the same, then to be captured |
//! | `tok_authorized` | | reserved, to be captured |
//! | `tok_capture_declined` | | reserved, and declined when it is captured |
//! | `tok_timeout_then_success` | | no answer and no charge the first time, captured when sent again |
//! | `tok_success_then_lost_answer` | | captured the first time, but the answer breaks off |
//! | `tok_success_then_error` | | captured the first time, but the answer is 500 |
//! | `tok_hidden_then_success` | | captured, the answer breaks off, and two lookups do not find it |
//! | `tok_wrong_amount`, `tok_wrong_currency` | | captured, but not what was asked for |
//! | `tok_late_success` | | waits for the payer; when it is to be voided it turns out captured |
//!
//! Sandboxes that are given a target also send events by themselves; `events` has their tokens.
//!
//! More scripts are added with `POST /v1/scripts {token, steps}` or [`Sandbox::script`]; what capturing and voiding do
//! is scripted under the token with `:capture` or `:void` at its end. Refunds succeed as far as money was captured,
//! unless `POST /v1/refund-scripts {charge, steps}` or [`Sandbox::script_refunds`] says otherwise.
//! `POST /v1/disputes {charge, amount, turn}` has a bank contest a charge (`opened`, `won`, `lost`), which an event tells.
//! `POST /v1/outage {"gone": true}` makes the gateway unreachable until it is switched off again.

mod cards;
mod challenge;
mod charges;
mod disputes;
mod events;
mod faults;
mod record;
mod refunds;
mod script;
mod server;
mod tokens;
mod told;

pub use disputes::DisputeAsk;
pub use events::{EventStep, EventTarget, Lie};
pub use record::{Collected, Outcome};
pub use refunds::{EVERY_CHARGE, RefundOutcome, RefundStep, Returned};
pub use script::Step;
pub use server::{Sandbox, SandboxOptions, serve};
