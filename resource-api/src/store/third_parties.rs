//! Table `third_party`: who is paid on whose behalf.

use chassis::sqlx;
use chassis::{Fault, Tx, on, while_doing};
use keys::UnixSeconds;

const INSERT: &str = "INSERT INTO third_party (partner_id, customer_id, principal_id, created_at_s)
    VALUES ($1, $2, $3, $4)";

/// Notes on whose behalf a customer that is being registered will be paid.
pub async fn insert(
    tx: &mut Tx,
    partner_id: &str,
    (customer_id, principal_id): (&str, &str),
    now: UnixSeconds,
) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query(INSERT)
        .bind(partner_id)
        .bind(customer_id)
        .bind(principal_id)
        .bind(now.0)
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("insert a third party"))
}

const FIND: &str = "SELECT principal_id FROM third_party WHERE partner_id = $1 AND customer_id = $2";

/// The customer on whose behalf this one is paid; `None` for a customer in its own right.
pub async fn find_principal(
    tx: &mut Tx,
    partner_id: &str,
    customer_id: &str,
) -> Result<Option<String>, Fault> {
    let found: Option<(String,)> =
        on!(tx, conn => sqlx::query_as(FIND).bind(partner_id).bind(customer_id).fetch_optional(conn).await)
            .map_err(while_doing("find the principal of a third party"))?;
    Ok(found.map(|(principal_id,)| principal_id))
}
