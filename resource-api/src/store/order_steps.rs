//! Steps of fiat-in orders that follow their charges or the clock.

use chassis::sqlx;
use chassis::{Fault, Tx, on, row, while_doing};
use keys::UnixSeconds;

use super::rows::{many, placeholders};
use crate::domain::fiat_in::FiatInState;

/// Where an order goes by what became of its charge.
#[derive(Debug, Clone, Copy)]
pub struct Follow<'a> {
    /// Which order.
    pub fiat_in_id: &'a str,
    /// `processing`, `requires_action`, `completed` or `failed`.
    pub state: FiatInState,
    /// Why, as a public code.
    pub reason: Option<&'a str>,
    /// When it ends by itself.
    pub expires_at: Option<UnixSeconds>,
    /// When.
    pub now: UnixSeconds,
}

/// An order that followed its charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Followed {
    /// Which order.
    pub fiat_in_id: String,
    /// Where the answer to its request is kept.
    pub claim: String,
    /// Its version now.
    pub version: i64,
}

row!(Followed { fiat_in_id, claim, version });

const FOLLOW: &str = "WITH follow (id, state, reason, expires_at_s, now_s) AS (VALUES";

const FOLLOW_SET: &str = ")
    UPDATE fiat_in SET state = follow.state, state_reason = follow.reason, expires_at_s = follow.expires_at_s,
        updated_at_s = follow.now_s, version = version + 1
    FROM follow WHERE fiat_in.fiat_in_id = follow.id AND fiat_in.state IN ('processing', 'requires_action')
        AND fiat_in.state <> follow.state
    RETURNING fiat_in_id, claim, version";

/// Lets orders whose charge is under way follow it, in one statement; returns those that moved. No order may be named
/// twice.
pub async fn follow_charges(tx: &mut Tx, steps: &[Follow<'_>]) -> Result<Vec<Followed>, Fault> {
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    let values = placeholders(1, steps.len(), 5);
    on!(tx, conn => {
        let mut query = sqlx::query_as(many(FOLLOW, &values, FOLLOW_SET));
        for step in steps {
            query = query
                .bind(step.fiat_in_id)
                .bind(step.state.as_str())
                .bind(step.reason)
                .bind(step.expires_at.map(|at| at.0))
                .bind(step.now.0);
        }
        query.fetch_all(conn).await
    })
    .map_err(while_doing("let fiat-ins follow their charges"))
}

const EXPIRED: &str = "SELECT fiat_in_id FROM fiat_in
    WHERE expires_at_s <= $1 AND state IN ('in_review', 'requires_action') ORDER BY expires_at_s, fiat_in_id LIMIT $2";

/// Orders that waited for a person or for the payer until their time was up.
pub async fn list_expired(tx: &mut Tx, now: UnixSeconds, limit: i64) -> Result<Vec<String>, Fault> {
    let rows: Vec<(String,)> =
        on!(tx, conn => sqlx::query_as(EXPIRED).bind(now.0).bind(limit).fetch_all(conn).await)
            .map_err(while_doing("list expired fiat-ins"))?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}
