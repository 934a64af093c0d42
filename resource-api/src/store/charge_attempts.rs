//! The evidence trail of charges: what was heard of each, when and how.

use chassis::sqlx;
use chassis::{Fault, Tx, on, row, while_doing};

use super::rows::{many, placeholders};
use crate::domain::charge::Channel;

/// Something heard of a charge, to be kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAttempt<'a> {
    /// `att_…`
    pub attempt_id: &'a str,
    /// Of which charge.
    pub charge_id: &'a str,
    /// The tenant.
    pub partner_id: &'a str,
    /// How it was heard.
    pub channel: Channel,
    /// What, as a state of a charge.
    pub heard: &'static str,
    /// A decline's code, or why nothing is known.
    pub reason: Option<&'a str>,
    /// When, Unix seconds.
    pub heard_at_s: i64,
}

/// Rows in one INSERT; keeps the number of bound values far below what either database takes.
const ROWS_PER_INSERT: usize = 256;

const INSERT: &str =
    "INSERT INTO charge_attempt (attempt_id, charge_id, partner_id, channel, heard, reason, heard_at_s)
    VALUES";

/// Keeps what was heard, in one statement for up to 256.
pub async fn insert_attempts(tx: &mut Tx, attempts: &[NewAttempt<'_>]) -> Result<(), Fault> {
    for chunk in attempts.chunks(ROWS_PER_INSERT) {
        let values = placeholders(1, chunk.len(), 7);
        on!(tx, conn => {
            let mut query = sqlx::query(many(INSERT, &values, ""));
            for attempt in chunk {
                query = query
                    .bind(attempt.attempt_id)
                    .bind(attempt.charge_id)
                    .bind(attempt.partner_id)
                    .bind(attempt.channel.as_str())
                    .bind(attempt.heard)
                    .bind(attempt.reason)
                    .bind(attempt.heard_at_s);
            }
            query.execute(conn).await.map(|_| ())
        })
        .map_err(while_doing("insert what was heard of charges"))?;
    }
    Ok(())
}

/// Something that was heard of a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// `att_…`
    pub attempt_id: String,
    /// How: a word of [`Channel`].
    pub channel: String,
    /// What: a state of a charge.
    pub heard: String,
    /// A decline's code, or why nothing is known.
    pub reason: Option<String>,
    /// When, Unix seconds.
    pub heard_at_s: i64,
}

row!(Attempt { attempt_id, channel, heard, reason, heard_at_s });

const LIST: &str = "SELECT attempt_id, channel, heard, reason, heard_at_s FROM charge_attempt
    WHERE charge_id = $1 ORDER BY heard_at_s, attempt_id LIMIT $2";

/// What was heard of a charge, oldest first, at most `limit`.
pub async fn list_attempts(tx: &mut Tx, charge_id: &str, limit: i64) -> Result<Vec<Attempt>, Fault> {
    on!(tx, conn => sqlx::query_as(LIST).bind(charge_id).bind(limit).fetch_all(conn).await)
        .map_err(while_doing("list what was heard of a charge"))
}
