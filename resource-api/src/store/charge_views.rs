//! Charges as people and gateways see them: reading and listing, bringing the next look forward, and taking one that
//! was left to a person.

use chassis::sqlx;
use chassis::{Fault, Tx, on, row, while_doing};
use keys::UnixSeconds;

use super::rows::{Listing, word};
use crate::domain::charge::ChargeState;

/// A charge with who ordered it and how a person settled it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeRow {
    pub charge_id: String,
    pub partner_id: String,
    pub fiat_in_id: String,
    pub provider: String,
    /// Minor units.
    pub amount: i64,
    pub currency: String,
    pub state: String,
    /// Calls begun.
    pub attempt: i64,
    /// Unix milliseconds.
    pub due_at_ms: i64,
    pub provider_ref: Option<String>,
    pub decline_code: Option<String>,
    pub decline_category: Option<String>,
    pub created_at_s: i64,
    pub settled_at_s: Option<i64>,
    /// The client that made the order; it may not settle the charge by hand.
    pub ordered_by: String,
    pub resolved_as: Option<String>,
    pub evidence: Option<String>,
    pub resolved_by: Option<String>,
    pub resolved_at_s: Option<i64>,
}

row!(ChargeRow {
    charge_id,
    partner_id,
    fiat_in_id,
    provider,
    amount,
    currency,
    state,
    attempt,
    due_at_ms,
    provider_ref,
    decline_code,
    decline_category,
    created_at_s,
    settled_at_s,
    ordered_by,
    resolved_as,
    evidence,
    resolved_by,
    resolved_at_s,
});

impl ChargeRow {
    /// Where it stands.
    ///
    /// # Errors
    /// A word that this version does not know.
    pub fn state(&self) -> Result<ChargeState, Fault> {
        word(&self.state, "charge.state")
    }
}

/// `SELECT` of [`ChargeRow`] with this rest.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT g.charge_id, g.partner_id, g.fiat_in_id, g.provider, g.amount, g.currency, g.state, g.attempt,
                g.due_at_ms, g.provider_ref, g.decline_code, g.decline_category, g.created_at_s, g.settled_at_s,
                f.client_id AS ordered_by, r.outcome AS resolved_as, r.evidence, r.resolved_by, r.resolved_at_s
            FROM charge g
            JOIN fiat_in f ON f.fiat_in_id = g.fiat_in_id
            LEFT JOIN charge_resolution r ON r.charge_id = g.charge_id ",
            $rest
        )
    };
}

const FIND: &str = select!("WHERE g.partner_id = $1 AND g.charge_id = $2");

/// A partner's charge.
pub async fn find_charge(tx: &mut Tx, partner_id: &str, charge_id: &str) -> Result<Option<ChargeRow>, Fault> {
    on!(tx, conn => sqlx::query_as(FIND).bind(partner_id).bind(charge_id).fetch_optional(conn).await)
        .map_err(while_doing("find charge"))
}

const FIND_AT: &str = select!("WHERE g.charge_id = $2 AND g.provider = $1");

/// The charge that a gateway means by a reference of ours, whatever partner's it is.
pub async fn find_charge_at(
    tx: &mut Tx,
    provider: &str,
    reference: &str,
) -> Result<Option<ChargeRow>, Fault> {
    on!(tx, conn => sqlx::query_as(FIND_AT).bind(provider).bind(reference).fetch_optional(conn).await)
        .map_err(while_doing("find charge by its reference"))
}

const LIST: &str = select!("");

/// Charges of a partner, newest first, at most `limit`, after the id `after` (empty: from the newest).
pub async fn list_charges(
    tx: &mut Tx,
    partner_id: &str,
    state: Option<ChargeState>,
    after: &str,
    limit: i64,
) -> Result<Vec<ChargeRow>, Fault> {
    let (sql, texts) = Listing::new(LIST, "g.partner_id =", partner_id)
        .and("g.state =", state.map(ChargeState::as_str))
        .newest_first("g.charge_id", "g.charge_id <", after);
    on!(tx, conn => {
        let mut query = sqlx::query_as(sql);
        for text in &texts {
            query = query.bind(text);
        }
        query.bind(limit).fetch_all(conn).await
    })
    .map_err(while_doing("list charges"))
}

const LOOK_NOW: &str =
    "UPDATE charge SET due_at_ms = $2, state = CASE WHEN state = 'manual' THEN 'unknown' ELSE state END
    WHERE charge_id = $1 AND state IN ('unknown', 'manual', 'requires_action', 'authorized')";

/// Lets the recovery worker ask the gateway at its next pass. `false`: the charge has ended, or is just being sent.
pub async fn look_now(tx: &mut Tx, charge_id: &str, now_ms: i64) -> Result<bool, Fault> {
    let done = on!(tx, conn => sqlx::query(LOOK_NOW)
        .bind(charge_id)
        .bind(now_ms)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("bring the next look at a charge forward"))?;
    Ok(done == 1)
}

const TAKE_MANUAL: &str = "UPDATE charge SET state = 'submitting', lease_holder = $4, due_at_ms = $5
    WHERE partner_id = $1 AND charge_id = $2 AND state = 'manual'
        AND EXISTS (SELECT 1 FROM fiat_in f WHERE f.fiat_in_id = charge.fiat_in_id AND f.client_id <> $3)";

/// Who takes a charge that was left to a person.
#[derive(Debug, Clone, Copy)]
pub struct ManualTake<'a> {
    pub partner_id: &'a str,
    pub charge_id: &'a str,
    /// Must be another client than the one that made the order.
    pub client_id: &'a str,
    /// Name of the taking, new for each.
    pub holder: &'a str,
    pub now_ms: i64,
}

/// Takes a charge that was left to a person, to be settled in the same transaction. Of all who try, and of an event
/// that comes at the same time, one gets it. `false`: not there, in another state, or of the client's own order.
pub async fn take_manual_charge(tx: &mut Tx, take: &ManualTake<'_>) -> Result<bool, Fault> {
    let done = on!(tx, conn => sqlx::query(TAKE_MANUAL)
        .bind(take.partner_id)
        .bind(take.charge_id)
        .bind(take.client_id)
        .bind(take.holder)
        .bind(take.now_ms)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("take a charge that was left to a person"))?;
    Ok(done == 1)
}

/// How a person settled a charge.
#[derive(Debug, Clone, Copy)]
pub struct NewResolution<'a> {
    pub charge_id: &'a str,
    pub partner_id: &'a str,
    /// `captured` or `declined`.
    pub outcome: &'a str,
    /// What it rests on.
    pub evidence: &'a str,
    pub resolved_by: &'a str,
    pub now: UnixSeconds,
}

const INSERT_RESOLUTION: &str =
    "INSERT INTO charge_resolution (charge_id, partner_id, outcome, evidence, resolved_by, resolved_at_s)
    VALUES ($1, $2, $3, $4, $5, $6)";

/// Keeps how a charge was settled by hand. The charge was taken before: there is no second one.
pub async fn insert_resolution(tx: &mut Tx, resolution: &NewResolution<'_>) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query(INSERT_RESOLUTION)
        .bind(resolution.charge_id)
        .bind(resolution.partner_id)
        .bind(resolution.outcome)
        .bind(resolution.evidence)
        .bind(resolution.resolved_by)
        .bind(resolution.now.0)
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("insert the resolution of a charge"))
}
