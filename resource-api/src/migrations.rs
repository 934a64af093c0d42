//! The tables of this service, applied after those of the chassis.

use chassis::db::Migration;

/// Every migration of the resource API, oldest first.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "directory",
        sql: include_str!("../../migrations/resource-api/0001_directory.sql"),
    },
    Migration {
        version: 2,
        name: "customer",
        sql: include_str!("../../migrations/resource-api/0002_customer.sql"),
    },
    Migration {
        version: 3,
        name: "customer_pii",
        sql: include_str!("../../migrations/resource-api/0003_customer_pii.sql"),
    },
    Migration { version: 4, name: "kyc", sql: include_str!("../../migrations/resource-api/0004_kyc.sql") },
    Migration {
        version: 5,
        name: "kyc_job",
        sql: include_str!("../../migrations/resource-api/0005_kyc_job.sql"),
    },
    Migration {
        version: 6,
        name: "entity",
        sql: include_str!("../../migrations/resource-api/0006_entity.sql"),
    },
    Migration {
        version: 7,
        name: "ledger_account",
        sql: include_str!("../../migrations/resource-api/0007_ledger_account.sql"),
    },
    Migration {
        version: 8,
        name: "ledger_entry",
        sql: include_str!("../../migrations/resource-api/0008_ledger_entry.sql"),
    },
    Migration {
        version: 9,
        name: "transfer",
        sql: include_str!("../../migrations/resource-api/0009_transfer.sql"),
    },
    Migration {
        version: 10,
        name: "fiat_in",
        sql: include_str!("../../migrations/resource-api/0010_fiat_in.sql"),
    },
    Migration {
        version: 11,
        name: "charge",
        sql: include_str!("../../migrations/resource-api/0011_charge.sql"),
    },
    Migration {
        version: 12,
        name: "monitoring",
        sql: include_str!("../../migrations/resource-api/0012_monitoring.sql"),
    },
    Migration {
        version: 13,
        name: "review",
        sql: include_str!("../../migrations/resource-api/0013_review.sql"),
    },
    Migration {
        version: 14,
        name: "order_states",
        sql: include_str!("../../migrations/resource-api/0014_order_states.sql"),
    },
    Migration {
        version: 15,
        name: "transaction_log",
        sql: include_str!("../../migrations/resource-api/0015_transaction_log.sql"),
    },
    Migration {
        version: 16,
        name: "charge_attempt",
        sql: include_str!("../../migrations/resource-api/0016_charge_attempt.sql"),
    },
    Migration {
        version: 17,
        name: "refund",
        sql: include_str!("../../migrations/resource-api/0017_refund.sql"),
    },
    Migration {
        version: 18,
        name: "gateway_event",
        sql: include_str!("../../migrations/resource-api/0018_gateway_event.sql"),
    },
];
