//! The tables of this crate, as a migration set. A service applies it under the set name `chassis` before
//! its own.

use crate::db::Migration;

/// Every migration of the chassis, oldest first.
pub const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "lease", sql: include_str!("../../migrations/chassis/0001_lease.sql") },
    Migration {
        version: 2,
        name: "replay_guard",
        sql: include_str!("../../migrations/chassis/0002_replay_guard.sql"),
    },
    Migration { version: 3, name: "claim", sql: include_str!("../../migrations/chassis/0003_claim.sql") },
    Migration {
        version: 4,
        name: "signing_key",
        sql: include_str!("../../migrations/chassis/0004_signing_key.sql"),
    },
    Migration { version: 5, name: "outbox", sql: include_str!("../../migrations/chassis/0005_outbox.sql") },
    Migration { version: 6, name: "audit", sql: include_str!("../../migrations/chassis/0006_audit.sql") },
    Migration {
        version: 7,
        name: "service_secret",
        sql: include_str!("../../migrations/chassis/0007_service_secret.sql"),
    },
    Migration {
        version: 8,
        name: "restore_epoch",
        sql: include_str!("../../migrations/chassis/0008_restore_epoch.sql"),
    },
];
