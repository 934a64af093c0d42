//! What any service of ours stands on, so that a service holds only its own rules.
//!
//! | module | what it is for |
//! |---|---|
//! | [`clock`], [`entropy`], [`id`] | time, random bytes and identifiers, all replaceable in tests |
//! | [`db`] | the one door to SQLite and PostgreSQL: reads, group-committed writes, batches, migrations |
//! | [`lease`] | work that one node at a time does |
//! | [`replay`], [`claim`] | values that count once; answers that a repeated request gets again |
//! | [`keyring`] | signing keys: sealed, rotated, published as a JWKS |
//! | [`master`], [`sealed`] | the master key, and the columns that are sealed under it |
//! | [`backup`], [`epoch`] | copies of an SQLite file, putting one back, and what that voids |
//! | [`sweeper`] | removes expired rows in small batches |
//! | [`outbox`] | events, numbered per partner, delivered as webhooks |
//! | [`audit`] | who did what: rows sealed into chains of hashes |
//! | [`config`] | configuration from a file and the environment |
//! | [`http`], [`ops`] | the listener, its limits, problem details, extractors; probes and metrics |
//! | [`failpoint`] | places at which a test can kill the process; nothing in released builds |
//! | [`fetch`] | the one outbound HTTP fetcher |
//! | [`shutdown`], [`telemetry`] | orderly end; logs |
//! | `testing` | databases and platforms for tests (feature `testing`) |

pub mod audit;
pub mod backup;
pub mod claim;
pub mod clock;
pub mod config;
pub mod db;
pub mod entropy;
pub mod epoch;
pub mod failpoint;
pub mod fetch;
pub mod http;
pub mod id;
pub mod keyring;
pub mod lease;
pub mod master;
mod migrations;
pub mod ops;
pub mod outbox;
mod platform;
pub mod replay;
pub mod sealed;
pub mod shutdown;
pub mod sweeper;
pub mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;

/// The driver itself, for the statements inside [`on!`].
pub use sqlx;

pub use clock::{Clock, FixedClock, SystemClock};
pub use db::{Batch, DatabaseUrl, Db, DbOptions, Engine, Fault, Migration, Outcome, Tx, while_doing};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use id::new_id;
pub use migrations::MIGRATIONS;
pub use platform::Platform;
