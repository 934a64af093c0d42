//! Reviews: orders that wait for a person.

use chassis::sqlx;
use chassis::{Fault, Tx, on, row, while_doing};
use keys::UnixSeconds;

use super::rows::Listing;
use crate::domain::fiat_in::ReviewState;

/// A review as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Review {
    /// `rev_…`
    pub review_id: String,
    /// The tenant.
    pub partner_id: String,
    /// The order that waits.
    pub fiat_in_id: String,
    /// The client that made the order; it may not decide.
    pub ordered_by: String,
    /// Where it stands: `open`, `accepted`, `refused`, `withdrawn`, `expired`.
    pub state: String,
    /// JSON list of what monitoring saw.
    pub reason_codes: String,
    /// The gateway's token to be charged, until it is decided.
    pub source_token: Option<String>,
    /// The client that decided.
    pub decided_by: Option<String>,
    /// The reviewer's reason.
    pub decision_note: Option<String>,
    /// When it was opened.
    pub created_at_s: i64,
    /// When it was decided.
    pub decided_at_s: Option<i64>,
}

row!(Review {
    review_id,
    partner_id,
    fiat_in_id,
    ordered_by,
    state,
    reason_codes,
    source_token,
    decided_by,
    decision_note,
    created_at_s,
    decided_at_s,
});

const INSERT: &str = "INSERT INTO review (review_id, partner_id, fiat_in_id, ordered_by, state, reason_codes,
        source_token, created_at_s)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";

/// Opens a review.
pub async fn insert_review(tx: &mut Tx, review: &Review) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query(INSERT)
        .bind(&review.review_id)
        .bind(&review.partner_id)
        .bind(&review.fiat_in_id)
        .bind(&review.ordered_by)
        .bind(&review.state)
        .bind(&review.reason_codes)
        .bind(&review.source_token)
        .bind(review.created_at_s)
        .execute(conn)
        .await
        .map(|_| ()))
    .map_err(while_doing("insert review"))
}

const FIND: &str =
    "SELECT review_id, partner_id, fiat_in_id, ordered_by, state, reason_codes, source_token, decided_by,
        decision_note, created_at_s, decided_at_s
    FROM review WHERE partner_id = $1 AND review_id = $2";

/// A partner's review.
pub async fn find_review(tx: &mut Tx, partner_id: &str, review_id: &str) -> Result<Option<Review>, Fault> {
    on!(tx, conn => sqlx::query_as(FIND).bind(partner_id).bind(review_id).fetch_optional(conn).await)
        .map_err(while_doing("find review"))
}

const LIST: &str =
    "SELECT review_id, partner_id, fiat_in_id, ordered_by, state, reason_codes, source_token, decided_by,
        decision_note, created_at_s, decided_at_s
    FROM review";

/// Reviews of a partner, newest first, at most `limit`, after the id `after` (empty: from the newest).
pub async fn list_reviews(
    tx: &mut Tx,
    partner_id: &str,
    state: Option<ReviewState>,
    after: &str,
    limit: i64,
) -> Result<Vec<Review>, Fault> {
    let (sql, texts) = Listing::new(LIST, "partner_id =", partner_id)
        .and("state =", state.map(ReviewState::as_str))
        .newest_first("review_id", "review_id <", after);
    on!(tx, conn => {
        let mut query = sqlx::query_as(sql);
        for text in &texts {
            query = query.bind(text);
        }
        query.bind(limit).fetch_all(conn).await
    })
    .map_err(while_doing("list reviews"))
}

/// A reviewer's decision.
#[derive(Debug, Clone)]
pub struct Verdict<'a> {
    /// The tenant.
    pub partner_id: &'a str,
    /// Which review.
    pub review_id: &'a str,
    /// Accepted or refused.
    pub state: ReviewState,
    /// The client that decides.
    pub decided_by: &'a str,
    /// Its reason.
    pub note: &'a str,
    /// When.
    pub now: UnixSeconds,
}

const DECIDE: &str = "UPDATE review SET state = $3, decided_by = $4, decision_note = $5, decided_at_s = $6,
        source_token = NULL
    WHERE partner_id = $1 AND review_id = $2 AND state = 'open' AND ordered_by <> $4";

/// Decides an open review of another client's order, once. `false`: it is not there, decided already,
/// or the decider's own.
pub async fn decide_review(tx: &mut Tx, verdict: &Verdict<'_>) -> Result<bool, Fault> {
    let done = on!(tx, conn => sqlx::query(DECIDE)
        .bind(verdict.partner_id)
        .bind(verdict.review_id)
        .bind(verdict.state.as_str())
        .bind(verdict.decided_by)
        .bind(verdict.note)
        .bind(verdict.now.0)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("decide review"))?;
    Ok(done == 1)
}

const CLOSE: &str = "UPDATE review SET state = $2, decided_at_s = $3, source_token = NULL
    WHERE fiat_in_id = $1 AND state = 'open'";

/// Closes the open review of an order that ends without a decision. `false`: there is none.
pub async fn close_review(
    tx: &mut Tx,
    fiat_in_id: &str,
    state: ReviewState,
    now: UnixSeconds,
) -> Result<bool, Fault> {
    let done = on!(tx, conn => sqlx::query(CLOSE)
        .bind(fiat_in_id)
        .bind(state.as_str())
        .bind(now.0)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("close review"))?;
    Ok(done == 1)
}
