//! Velocity windows and monitoring decisions.

use chassis::sqlx;
use chassis::{Fault, Tx, on, row, while_doing};
use keys::UnixSeconds;

use super::rows::{many, placeholders};
use crate::monitoring::{Decision, Window};

/// Whose earlier orders are to be counted.
#[derive(Debug, Clone, Copy)]
pub struct AskedWindow<'a> {
    /// The tenant.
    pub partner_id: &'a str,
    /// The customer.
    pub customer_id: &'a str,
    /// The order that is being judged, which does not count.
    pub judged: &'a str,
    /// The moment at which the windows end.
    pub now: UnixSeconds,
}

struct WindowRow {
    place: i64,
    orders_1h: i64,
    orders_24h: i64,
    sum_24h: i64,
    sum_30d: i64,
}

row!(WindowRow { place, orders_1h, orders_24h, sum_24h, sum_30d });

const ASKED: &str = "WITH asked (place, partner_id, customer_id, judged, hour_s, day_s, days_s) AS (VALUES";

/// SUM of BIGINT is NUMERIC on PostgreSQL, hence the casts. A sum beyond BIGINT is a fault there and
/// cannot arise: the limits stop long before. What was paid in counts also after it went back.
const WINDOWS: &str = ")
    SELECT asked.place,
        CAST(SUM(CASE WHEN f.created_at_s > asked.hour_s THEN 1 ELSE 0 END) AS BIGINT) AS orders_1h,
        CAST(SUM(CASE WHEN f.created_at_s > asked.day_s THEN 1 ELSE 0 END) AS BIGINT) AS orders_24h,
        CAST(SUM(CASE WHEN f.created_at_s > asked.day_s THEN COALESCE(f.limit_value, 0) ELSE 0 END) AS BIGINT)
            AS sum_24h,
        CAST(SUM(COALESCE(f.limit_value, 0)) AS BIGINT) AS sum_30d
    FROM asked
    JOIN fiat_in f ON f.partner_id = asked.partner_id AND f.customer_id = asked.customer_id
        AND f.created_at_s > asked.days_s
    WHERE f.state NOT IN ('refused', 'failed', 'cancelled', 'expired') AND f.fiat_in_id <> asked.judged
    GROUP BY asked.place";

/// The customer's orders that count, ending now, without the one that is being judged. To be read while
/// the customer's row is locked (`customers::upsert_for_subject`): then two orders at a limit's edge are
/// judged one after the other.
pub async fn read_window(
    tx: &mut Tx,
    (partner_id, customer_id): (&str, &str),
    judged: &str,
    now: UnixSeconds,
) -> Result<Window, Fault> {
    let asked = AskedWindow { partner_id, customer_id, judged, now };
    Ok(read_windows(tx, &[asked]).await?.pop().unwrap_or_default())
}

/// [`read_window`] for many in one statement, in the order asked.
pub async fn read_windows(tx: &mut Tx, asked: &[AskedWindow<'_>]) -> Result<Vec<Window>, Fault> {
    if asked.is_empty() {
        return Ok(Vec::new());
    }
    let values = placeholders(1, asked.len(), 7);
    let rows: Vec<WindowRow> = on!(tx, conn => {
        let mut query = sqlx::query_as(many(ASKED, &values, WINDOWS));
        for (place, asked) in (0_i64..).zip(asked) {
            query = query
                .bind(place)
                .bind(asked.partner_id)
                .bind(asked.customer_id)
                .bind(asked.judged)
                .bind(asked.now.plus(-Window::HOUR_S).0)
                .bind(asked.now.plus(-Window::DAY_S).0)
                .bind(asked.now.plus(-Window::DAYS_30_S).0);
        }
        query.fetch_all(conn).await
    })
    .map_err(while_doing("read the customers' velocity"))?;
    // A customer without an order that counts has no row.
    let mut windows = vec![Window::default(); asked.len()];
    for row in rows {
        let slot = usize::try_from(row.place).ok().and_then(|place| windows.get_mut(place));
        if let Some(window) = slot {
            *window = Window {
                orders_1h: row.orders_1h,
                orders_24h: row.orders_24h,
                sum_24h: row.sum_24h,
                sum_30d: row.sum_30d,
            };
        }
    }
    Ok(windows)
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
        rule_set_version, evaluated_at_s) VALUES";

/// Keeps a decision. Decisions are never changed.
pub async fn insert_decision(tx: &mut Tx, new: &NewDecision<'_>) -> Result<(), Fault> {
    insert_decisions(tx, std::slice::from_ref(new)).await
}

/// Keeps decisions, in one statement.
pub async fn insert_decisions(tx: &mut Tx, decisions: &[NewDecision<'_>]) -> Result<(), Fault> {
    if decisions.is_empty() {
        return Ok(());
    }
    let hits = decisions
        .iter()
        .map(|new| serde_json::to_string(&new.decision.hits))
        .collect::<Result<Vec<_>, _>>()
        .map_err(while_doing("write the hits of a decision"))?;
    let values = placeholders(1, decisions.len(), 8);
    on!(tx, conn => {
        let mut query = sqlx::query(many(INSERT, &values, ""));
        for (new, hits) in decisions.iter().zip(&hits) {
            query = query
                .bind(new.decision_id)
                .bind(new.partner_id)
                .bind(new.fiat_in_id)
                .bind(new.decision.outcome.as_str())
                .bind(hits.as_str())
                .bind(new.inputs_hash)
                .bind(new.decision.rule_set_version)
                .bind(new.now.0);
        }
        query.execute(conn).await.map(drop)
    })
    .map_err(while_doing("insert monitoring decisions"))
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
