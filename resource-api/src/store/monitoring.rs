//! Velocity windows and monitoring decisions.

use chassis::sqlx;
use chassis::{Fault, Tx, on, row, while_doing};
use keys::UnixSeconds;

use crate::monitoring::{Decision, Window};

struct WindowRow {
    orders_1h: i64,
    orders_24h: i64,
    sum_24h: i64,
    sum_30d: i64,
}

row!(WindowRow { orders_1h, orders_24h, sum_24h, sum_30d });

/// SUM of BIGINT is NUMERIC on PostgreSQL, hence the casts. A sum beyond BIGINT is a fault there and
/// cannot arise: the limits stop long before. What was paid in counts also after it went back.
const WINDOW: &str = "SELECT
        CAST(COALESCE(SUM(CASE WHEN created_at_s > $3 THEN 1 ELSE 0 END), 0) AS BIGINT) AS orders_1h,
        CAST(COALESCE(SUM(CASE WHEN created_at_s > $4 THEN 1 ELSE 0 END), 0) AS BIGINT) AS orders_24h,
        CAST(COALESCE(SUM(CASE WHEN created_at_s > $4 THEN COALESCE(limit_value, 0) ELSE 0 END), 0) AS BIGINT)
            AS sum_24h,
        CAST(COALESCE(SUM(COALESCE(limit_value, 0)), 0) AS BIGINT) AS sum_30d
    FROM fiat_in
    WHERE partner_id = $1 AND customer_id = $2 AND created_at_s > $5
        AND state NOT IN ('refused', 'failed', 'cancelled', 'expired') AND fiat_in_id <> $6";

/// The customer's orders that count, ending now, without the one that is being judged. To be read while
/// the customer's row is locked (`customers::upsert_for_subject`): then two orders at a limit's edge are
/// judged one after the other.
pub async fn read_window(
    tx: &mut Tx,
    (partner_id, customer_id): (&str, &str),
    judged: &str,
    now: UnixSeconds,
) -> Result<Window, Fault> {
    let row: WindowRow = on!(tx, conn => sqlx::query_as(WINDOW)
        .bind(partner_id)
        .bind(customer_id)
        .bind(now.plus(-3_600).0)
        .bind(now.plus(-86_400).0)
        .bind(now.plus(-2_592_000).0)
        .bind(judged)
        .fetch_one(conn)
        .await)
    .map_err(while_doing("read the customer's velocity"))?;
    Ok(Window {
        orders_1h: row.orders_1h,
        orders_24h: row.orders_24h,
        sum_24h: row.sum_24h,
        sum_30d: row.sum_30d,
    })
}

/// A decision to be kept.
#[derive(Debug, Clone)]
pub struct NewDecision<'a> {
    /// `dec_…`
    pub decision_id: &'a str,
    /// The tenant.
    pub partner_id: &'a str,
    /// The order that was judged.
    pub fiat_in_id: &'a str,
    /// The verdict.
    pub decision: &'a Decision,
    /// Hash of everything the rules looked at.
    pub inputs_hash: &'a str,
    /// When.
    pub now: UnixSeconds,
}

const INSERT: &str =
    "INSERT INTO monitoring_decision (decision_id, partner_id, fiat_in_id, outcome, hits, inputs_hash,
        rule_set_version, evaluated_at_s)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

/// Keeps a decision. Decisions are never changed.
pub async fn insert_decision(tx: &mut Tx, new: &NewDecision<'_>) -> Result<(), Fault> {
    let hits =
        serde_json::to_string(&new.decision.hits).map_err(|_| Fault::new("write the hits of a decision"))?;
    on!(tx, conn => sqlx::query(INSERT)
        .bind(new.decision_id)
        .bind(new.partner_id)
        .bind(new.fiat_in_id)
        .bind(new.decision.outcome.as_str())
        .bind(hits.as_str())
        .bind(new.inputs_hash)
        .bind(new.decision.rule_set_version)
        .bind(new.now.0)
        .execute(conn)
        .await
        .map(|_| ()))
    .map_err(while_doing("insert monitoring decision"))
}

const OUTCOMES: &str =
    "SELECT outcome FROM monitoring_decision WHERE fiat_in_id = $1 ORDER BY evaluated_at_s, decision_id";

/// The outcomes of all decisions on an order, oldest first.
pub async fn list_outcomes(tx: &mut Tx, fiat_in_id: &str) -> Result<Vec<String>, Fault> {
    let rows: Vec<(String,)> =
        on!(tx, conn => sqlx::query_as(OUTCOMES).bind(fiat_in_id).fetch_all(conn).await)
            .map_err(while_doing("list monitoring decisions"))?;
    Ok(rows.into_iter().map(|(outcome,)| outcome).collect())
}
