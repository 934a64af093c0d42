//! Disputes, as the gateway told them: rows of `dispute`.

use chassis::sqlx;
use chassis::{Fault, Tx, on, row, while_doing};
use keys::UnixSeconds;

/// A dispute to be written, or its next turn.
#[derive(Debug, Clone, Copy)]
pub struct DisputeRow<'a> {
    /// The tenant.
    pub partner_id: &'a str,
    /// The gateway's own id.
    pub dispute_id: &'a str,
    /// The order whose charge is contested.
    pub fiat_in_id: &'a str,
    /// Minor units that are contested.
    pub amount: i64,
    /// ISO 4217.
    pub currency: &'a str,
    /// `open`, `won` or `lost`.
    pub state: &'a str,
    /// When.
    pub now: UnixSeconds,
}

const TURN: &str = "INSERT INTO dispute (partner_id, dispute_id, fiat_in_id, amount, currency, state, opened_at_s,
        ended_at_s)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (partner_id, dispute_id) DO UPDATE SET state = excluded.state, ended_at_s = excluded.ended_at_s
    WHERE dispute.state = 'open' AND excluded.state <> 'open' AND dispute.fiat_in_id = excluded.fiat_in_id
        AND dispute.amount = excluded.amount AND dispute.currency = excluded.currency
    RETURNING state";

/// Writes a dispute or its end. `false`: it was told before, it has another end, or it is about something else.
pub async fn turn_dispute(tx: &mut Tx, row: DisputeRow<'_>) -> Result<bool, Fault> {
    let ended_at_s = (row.state != "open").then_some(row.now.0);
    let written: Option<(String,)> = on!(tx, conn => sqlx::query_as(TURN)
        .bind(row.partner_id)
        .bind(row.dispute_id)
        .bind(row.fiat_in_id)
        .bind(row.amount)
        .bind(row.currency)
        .bind(row.state)
        .bind(row.now.0)
        .bind(ended_at_s)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("write a dispute"))?;
    Ok(written.is_some())
}

/// A dispute as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dispute {
    /// The order whose charge is contested.
    pub fiat_in_id: String,
    /// Minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: String,
    /// `open`, `won` or `lost`.
    pub state: String,
}

row!(Dispute { fiat_in_id, amount, currency, state });

const FIND: &str =
    "SELECT fiat_in_id, amount, currency, state FROM dispute WHERE partner_id = $1 AND dispute_id = $2";

/// A partner's dispute by the gateway's id.
pub async fn find_dispute(tx: &mut Tx, partner_id: &str, dispute_id: &str) -> Result<Option<Dispute>, Fault> {
    on!(tx, conn => sqlx::query_as(FIND).bind(partner_id).bind(dispute_id).fetch_optional(conn).await)
        .map_err(while_doing("find a dispute"))
}

const OPEN: &str = "SELECT dispute_id FROM dispute
    WHERE partner_id = $1 AND fiat_in_id = $2 AND state = 'open' LIMIT 1";

/// Whether a dispute of the order is open.
pub async fn has_open_dispute(tx: &mut Tx, partner_id: &str, fiat_in_id: &str) -> Result<bool, Fault> {
    let found: Option<(String,)> = on!(tx, conn => sqlx::query_as(OPEN)
        .bind(partner_id)
        .bind(fiat_in_id)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("find an open dispute"))?;
    Ok(found.is_some())
}

const OF_CHARGE: &str = "SELECT fiat_in_id, provider FROM charge WHERE charge_id = $1";

/// The order and the gateway of a charge.
pub async fn find_order_of_charge(tx: &mut Tx, charge_id: &str) -> Result<Option<(String, String)>, Fault> {
    on!(tx, conn => sqlx::query_as(OF_CHARGE).bind(charge_id).fetch_optional(conn).await)
        .map_err(while_doing("find the order of a charge"))
}

const LOST: &str = "SELECT CAST(COALESCE(SUM(amount), 0) AS BIGINT) FROM dispute
    WHERE partner_id = $1 AND fiat_in_id = $2 AND state = 'lost'";

/// What the bank took back of an order so far, minor units.
pub async fn sum_lost_disputes(tx: &mut Tx, partner_id: &str, fiat_in_id: &str) -> Result<i64, Fault> {
    let (sum,): (i64,) =
        on!(tx, conn => sqlx::query_as(LOST).bind(partner_id).bind(fiat_in_id).fetch_one(conn).await)
            .map_err(while_doing("sum the lost disputes of a fiat-in"))?;
    Ok(sum)
}
