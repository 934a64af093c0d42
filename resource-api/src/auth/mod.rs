//! Who is asking, and whether they asked before.
//!
//! [`Caller`] is the extractor of every guarded handler. [`Attempt`] is the extractor of every
//! operation that must happen once: it stands for the one-time token or the `Idempotency-Key`, and
//! [`begin`] and [`finish`] bracket the operation inside its own transaction:
//!
//! ```text
//! db.write_or_undo(|tx| {
//!     match begin(tx, &attempt, &new_id, &bound).await? {
//!         Begun::Answered(answer) => return Ok(Outcome::Commit(Ok(answer))), // a repeat, or a recorded refusal
//!         Begun::Refused(refused) => return Ok(Outcome::Undo(Err(refused))),
//!         Begun::Running { .. } => return Ok(Outcome::Undo(Err(still_running()))),
//!         Begun::Fresh => {}
//!     }
//!     ... the operation; a refusal that made nothing is `Undo` and leaves the token unused ...
//!     finish(tx, &attempt, &answer).await?;
//!     Ok(Outcome::Commit(Ok(answer)))
//! })
//! ```
//!
//! A batch command brackets many attempts by [`begin_plain`] and [`end_all`].
//!
//! [`reply`] turns the stored answer into the response, byte for byte the same each time.

mod attempt;
mod authz_client;
mod once;
mod surroundings;

pub use attempt::{Unnamed, reply};
pub use authz_client::{AuthzClient, AuthzSetup, AuthzUnavailable, RegisterFault, RegisteredUser};
pub use guard::{Caller, Presented, TokenClient};
pub use once::{
    Asked, Attempt, Beginning, Begun, Bound, Ended, actor, begin, begin_plain, end_all, finish, look,
    still_running,
};
pub(crate) use surroundings::{JwksSource, NonceMemory, facts, render};
