//! What the crate's own tests ask the database directly.

use chassis::sqlx;
use chassis::{Fault, Tx, on, while_doing};

/// What a query counts.
pub(crate) async fn count(tx: &mut Tx, sql: &'static str) -> Result<i64, Fault> {
    let found: (i64,) = on!(tx, conn => sqlx::query_as(sql).fetch_one(conn).await)
        .map_err(while_doing("count rows of a test"))?;
    Ok(found.0)
}

/// Puts every customer at KYC level 3.
pub(crate) async fn raise_levels(tx: &mut Tx) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query("UPDATE customer SET kyc_level = 3").execute(conn).await.map(drop))
        .map_err(while_doing("raise the level of test customers"))
}
