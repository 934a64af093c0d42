//! Store functions and the ledger on real databases: every test runs on SQLite and on `PostgreSQL`.

#![allow(clippy::unwrap_used, reason = "a helper that fails must fail its test")]

mod customers;
mod entities;
mod flows;
mod gateway_events;
mod kyc;
mod ledger;
mod ledger_model;
mod pii;
mod transfers;

use chassis::Db;
use chassis::testing::TestDatabase;
use keys::UnixSeconds;
use resource_api::domain::customer::{Customer, CustomerKind};
use resource_api::store::customers::{self as customer_store, NewCustomer};

/// The moment at which everything here happens.
pub(crate) const NOW: UnixSeconds = UnixSeconds(1_767_225_600);

/// Runs an expression as one unit, with clones of what it names: `unit!(db, [new], tx => insert(tx, &new).await)`.
#[macro_export]
macro_rules! unit {
    ($db:expr, [$($held:ident),*], $tx:ident => $body:expr) => {{
        $(let $held = $held.clone();)*
        $db.write(move |$tx| {
            $(let $held = $held.clone();)*
            Box::pin(async move { $body })
        })
        .await
        .unwrap()
    }};
}

/// The database with every table of the service.
pub(crate) async fn opened(database: &TestDatabase) -> Db {
    database.migrated(&[("resource-api", resource_api::MIGRATIONS)]).await
}

/// A customer to register, named after `name`.
pub(crate) fn new_customer(partner_id: &str, name: &str) -> NewCustomer {
    NewCustomer {
        partner_id: partner_id.to_owned(),
        customer_id: format!("cus_{name}"),
        sub: format!("usr_{name}"),
        external_id: name.to_owned(),
        kind: CustomerKind::Person,
        country: Some("BE".to_owned()),
        now: NOW,
    }
}

/// A registered customer.
pub(crate) async fn customer(db: &Db, partner_id: &str, name: &str) -> Customer {
    let new = new_customer(partner_id, name);
    unit!(db, [new], tx => customer_store::insert(tx, &new).await).unwrap()
}
