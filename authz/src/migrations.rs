//! The tables of this service, as a migration set; the chassis' own come first.

use chassis::{Db, Fault, Migration};

/// Every migration of this service, oldest first.
pub const MIGRATIONS: &[Migration] = &[
    Migration { version: 1, name: "partner", sql: include_str!("../../migrations/authz/0001_partner.sql") },
    Migration { version: 2, name: "client", sql: include_str!("../../migrations/authz/0002_client.sql") },
    Migration { version: 3, name: "subject", sql: include_str!("../../migrations/authz/0003_subject.sql") },
    Migration {
        version: 4,
        name: "operation_allowlist",
        sql: include_str!("../../migrations/authz/0004_operation_allowlist.sql"),
    },
    Migration {
        version: 5,
        name: "directory_event",
        sql: include_str!("../../migrations/authz/0005_directory_event.sql"),
    },
    Migration {
        version: 6,
        name: "client_dpop",
        sql: include_str!("../../migrations/authz/0006_client_dpop.sql"),
    },
    Migration {
        version: 7,
        name: "client_old_secret",
        sql: include_str!("../../migrations/authz/0007_client_old_secret.sql"),
    },
];

/// Brings a database up to date.
///
/// # Errors
/// When a statement fails, or the database is newer than this program.
pub async fn migrate(db: &Db) -> Result<(), Fault> {
    db.migrate("chassis", chassis::MIGRATIONS).await?;
    db.migrate("authz", MIGRATIONS).await
}
