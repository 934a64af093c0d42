//! Refunds in the hands of people: taking one that was left to a person, and how it was settled.

use chassis::sqlx;
use chassis::{Fault, Tx, on, row, while_doing};
use keys::UnixSeconds;

const TAKE_MANUAL: &str = "UPDATE refund SET state = 'submitting', lease_holder = $5, due_at_ms = $6
    WHERE partner_id = $1 AND fiat_in_id = $2 AND refund_id = $3 AND state = 'manual'
        AND (requested_by IS NULL OR requested_by <> $4)
        AND EXISTS (SELECT 1 FROM fiat_in f WHERE f.fiat_in_id = refund.fiat_in_id AND f.client_id <> $4)";

/// Who takes a refund that was left to a person.
#[derive(Debug, Clone, Copy)]
pub struct ManualRefundTake<'a> {
    pub partner_id: &'a str,
    pub fiat_in_id: &'a str,
    pub refund_id: &'a str,
    /// Neither the client that asked for the refund nor the one that made the order.
    pub client_id: &'a str,
    /// Name of the taking, new for each.
    pub holder: &'a str,
    pub now_ms: i64,
}

/// Takes a refund that was left to a person, to be settled in the same transaction. Of all who try, and of an event
/// that comes at the same time, one gets it. `false`: not there, in another state, or the client had a part in it.
pub async fn take_manual_refund(tx: &mut Tx, take: &ManualRefundTake<'_>) -> Result<bool, Fault> {
    let done = on!(tx, conn => sqlx::query(TAKE_MANUAL)
        .bind(take.partner_id)
        .bind(take.fiat_in_id)
        .bind(take.refund_id)
        .bind(take.client_id)
        .bind(take.holder)
        .bind(take.now_ms)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("take a refund that was left to a person"))?;
    Ok(done == 1)
}

/// How a person settled a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundResolution {
    /// `succeeded` or `failed`.
    pub outcome: String,
    /// What it rests on.
    pub evidence: String,
    /// The client.
    pub resolved_by: String,
    /// Unix seconds.
    pub resolved_at_s: i64,
}

row!(RefundResolution { outcome, evidence, resolved_by, resolved_at_s });

/// A resolution to be kept.
#[derive(Debug, Clone, Copy)]
pub struct NewRefundResolution<'a> {
    pub refund_id: &'a str,
    pub partner_id: &'a str,
    /// `succeeded` or `failed`.
    pub outcome: &'a str,
    pub evidence: &'a str,
    pub resolved_by: &'a str,
    pub now: UnixSeconds,
}

const INSERT: &str =
    "INSERT INTO refund_resolution (refund_id, partner_id, outcome, evidence, resolved_by, resolved_at_s)
    VALUES ($1, $2, $3, $4, $5, $6)";

/// Keeps how a refund was settled by hand. The refund was taken before: there is no second one.
pub async fn insert_refund_resolution(
    tx: &mut Tx,
    resolution: &NewRefundResolution<'_>,
) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query(INSERT)
        .bind(resolution.refund_id)
        .bind(resolution.partner_id)
        .bind(resolution.outcome)
        .bind(resolution.evidence)
        .bind(resolution.resolved_by)
        .bind(resolution.now.0)
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("insert the resolution of a refund"))
}

const FIND: &str = "SELECT outcome, evidence, resolved_by, resolved_at_s FROM refund_resolution
    WHERE partner_id = $1 AND refund_id = $2";

/// How a partner's refund was settled by hand; `None` when it was not.
pub async fn find_refund_resolution(
    tx: &mut Tx,
    partner_id: &str,
    refund_id: &str,
) -> Result<Option<RefundResolution>, Fault> {
    on!(tx, conn => sqlx::query_as(FIND).bind(partner_id).bind(refund_id).fetch_optional(conn).await)
        .map_err(while_doing("find the resolution of a refund"))
}
