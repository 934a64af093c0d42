//! New rows of `fiat_in`, and the references that are used already.

use chassis::sqlx;
use chassis::{Fault, Tx, on, row, while_doing};

use crate::domain::fiat_in::FiatIn;
use crate::store::rows::{many, placeholders};

const INSERT: &str = "INSERT INTO fiat_in (fiat_in_id, partner_id, customer_id, entity_id, client_id, token_jti,
        amount, currency, limit_value, client_reference, method_brand, method_last4, method_country, ip_country,
        device_hash, state, state_reason, decision, claim, version, created_at_s, updated_at_s,
        expires_at_s) VALUES";

const UNLESS_USED: &str = "ON CONFLICT (partner_id, client_reference) DO NOTHING";

/// Adds an order. `claim` says where the answer to its request is kept. `false`: the partner has an
/// order of that client reference already, and nothing was written.
///
/// # Errors
/// The store's fault.
pub async fn insert_fiat_in(tx: &mut Tx, order: &FiatIn, claim: &str) -> Result<bool, Fault> {
    Ok(insert_fiat_ins(tx, &[(order, claim)]).await? == 1)
}

/// Adds orders in one statement, each with where the answer to its request is kept, and says how many were added:
/// one whose client reference the partner has used is not.
///
/// # Errors
/// The store's fault.
pub async fn insert_fiat_ins(tx: &mut Tx, orders: &[(&FiatIn, &str)]) -> Result<usize, Fault> {
    if orders.is_empty() {
        return Ok(0);
    }
    let values = placeholders(1, orders.len(), 23);
    let done = on!(tx, conn => {
        let mut query = sqlx::query(many(INSERT, &values, UNLESS_USED));
        for (order, claim) in orders {
            query = query
                .bind(&order.fiat_in_id)
                .bind(&order.partner_id)
                .bind(&order.customer_id)
                .bind(&order.entity_id)
                .bind(&order.client_id)
                .bind(&order.token_jti)
                .bind(order.money.amount)
                .bind(order.money.currency.code())
                .bind(order.limit_value)
                .bind(&order.client_reference)
                .bind(&order.origin.brand)
                .bind(&order.origin.last4)
                .bind(&order.origin.instrument_country)
                .bind(&order.origin.ip_country)
                .bind(&order.origin.device_hash)
                .bind(order.state.as_str())
                .bind(&order.state_reason)
                .bind(order.decision.as_str())
                .bind(*claim)
                .bind(order.version)
                .bind(order.created_at.0)
                .bind(order.updated_at.0)
                .bind(order.expires_at.map(|at| at.0));
        }
        query.execute(conn).await.map(|done| done.rows_affected())
    })
    .map_err(while_doing("insert fiat-ins"))?;
    Ok(usize::try_from(done).unwrap_or(usize::MAX))
}

struct UsedRow {
    partner_id: String,
    client_reference: String,
    fiat_in_id: String,
}

row!(UsedRow { partner_id, client_reference, fiat_in_id });

const WANTED: &str = "WITH wanted (partner_id, client_reference) AS (VALUES";

const FIND_WANTED: &str = ")
    SELECT f.partner_id, f.client_reference, f.fiat_in_id
    FROM wanted
    JOIN fiat_in f ON f.partner_id = wanted.partner_id AND f.client_reference = wanted.client_reference";

/// Those of the (partner, client reference) pairs that an order has, with the order's id.
///
/// # Errors
/// The store's fault.
pub async fn find_references(
    tx: &mut Tx,
    wanted: &[(&str, &str)],
) -> Result<Vec<((String, String), String)>, Fault> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let values = placeholders(1, wanted.len(), 2);
    let rows: Vec<UsedRow> = on!(tx, conn => {
        let mut query = sqlx::query_as(many(WANTED, &values, FIND_WANTED));
        for (partner_id, reference) in wanted {
            query = query.bind(*partner_id).bind(*reference);
        }
        query.fetch_all(conn).await
    })
    .map_err(while_doing("find used client references"))?;
    Ok(rows.into_iter().map(|row| ((row.partner_id, row.client_reference), row.fiat_in_id)).collect())
}
