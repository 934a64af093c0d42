//! Refunds: rows of `refund`, and what they take from their order. A definite end is written once; the gateway is
//! called by whoever holds the refund's lease.

use chassis::sqlx;
use chassis::{Engine, Fault, Tx, on, row, while_doing};
use keys::UnixSeconds;

use super::charges::Lease;
use super::rows::{Listing, word};
use crate::domain::fiat_in::FiatIn;
use crate::domain::money::Money;
use crate::domain::refund::{Refund, RefundState};

struct Row {
    refund_id: String,
    partner_id: String,
    fiat_in_id: String,
    charge_id: String,
    provider: String,
    kind: String,
    amount: i64,
    currency: String,
    reason: String,
    requested_by: Option<String>,
    account_id: String,
    hold_id: String,
    state: String,
    attempt: i64,
    decline_code: Option<String>,
    created_at_s: i64,
    settled_at_s: Option<i64>,
}

row!(Row {
    refund_id,
    partner_id,
    fiat_in_id,
    charge_id,
    provider,
    kind,
    amount,
    currency,
    reason,
    requested_by,
    account_id,
    hold_id,
    state,
    attempt,
    decline_code,
    created_at_s,
    settled_at_s,
});

impl TryFrom<Row> for Refund {
    type Error = Fault;

    fn try_from(row: Row) -> Result<Self, Fault> {
        let currency = row.currency.parse().map_err(|_| Fault::new("read the currency of a refund"))?;
        Ok(Self {
            refund_id: row.refund_id,
            partner_id: row.partner_id,
            fiat_in_id: row.fiat_in_id,
            charge_id: row.charge_id,
            provider: row.provider,
            kind: word(&row.kind, "refund.kind")?,
            money: Money { amount: row.amount, currency },
            reason: row.reason,
            requested_by: row.requested_by,
            account_id: row.account_id,
            hold_id: row.hold_id,
            state: word(&row.state, "refund.state")?,
            attempt: row.attempt,
            decline_code: row.decline_code,
            created_at: UnixSeconds(row.created_at_s),
            settled_at: row.settled_at_s.map(UnixSeconds),
        })
    }
}

/// The columns of [`Row`].
macro_rules! columns {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " refund_id, partner_id, fiat_in_id, charge_id, provider, kind, amount, currency, reason, requested_by,
            account_id, hold_id, state, attempt, decline_code, created_at_s, settled_at_s ",
            $after
        )
    };
}

const INSERT: &str =
    "INSERT INTO refund (refund_id, partner_id, fiat_in_id, charge_id, provider, kind, amount,
        currency, reason, requested_by, account_id, hold_id, state, attempt, due_at_ms, claim, created_at_s)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, $14, $15, $16)
    ON CONFLICT DO NOTHING RETURNING refund_id";

/// Adds a refund. `claim` says where the answer to its request is kept; from `due_at_ms` on a worker may take it.
/// `false`: the charge has an automatic refund already, and nothing was written.
pub async fn insert_refund(
    tx: &mut Tx,
    refund: &Refund,
    (claim, due_at_ms): (Option<&str>, i64),
) -> Result<bool, Fault> {
    let inserted: Option<(String,)> = on!(tx, conn => sqlx::query_as(INSERT)
        .bind(&refund.refund_id)
        .bind(&refund.partner_id)
        .bind(&refund.fiat_in_id)
        .bind(&refund.charge_id)
        .bind(&refund.provider)
        .bind(refund.kind.as_str())
        .bind(refund.money.amount)
        .bind(refund.money.currency.code())
        .bind(&refund.reason)
        .bind(&refund.requested_by)
        .bind(&refund.account_id)
        .bind(&refund.hold_id)
        .bind(refund.state.as_str())
        .bind(due_at_ms)
        .bind(claim)
        .bind(refund.created_at.0)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("insert refund"))?;
    Ok(inserted.is_some())
}

const TAKE_HELD: &str = columns!(
    "UPDATE refund SET state = 'submitting', attempt = attempt + 1, lease_holder = $2, due_at_ms = $3
    WHERE refund_id = $1 AND state = 'held' RETURNING",
    ""
);

/// Takes a refund that was never sent. `None`: somebody else has it.
pub async fn take_held_refund(
    tx: &mut Tx,
    refund_id: &str,
    lease: Lease<'_>,
) -> Result<Option<Refund>, Fault> {
    let row: Option<Row> = on!(tx, conn => sqlx::query_as(TAKE_HELD)
        .bind(refund_id)
        .bind(lease.holder)
        .bind(lease.until_ms)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("take refund"))?;
    row.map(TryInto::try_into).transpose()
}

const TAKE_DUE: &str = columns!(
    "UPDATE refund SET state = 'submitting', attempt = attempt + 1, lease_holder = $2, due_at_ms = $3
    WHERE refund_id = $1 AND state IN ('held', 'submitting', 'unknown') AND due_at_ms <= $4 RETURNING",
    ""
);

/// Takes a refund whose time has come: never sent, its holder gone, or due for the next probe.
pub async fn take_due_refund(
    tx: &mut Tx,
    refund_id: &str,
    lease: Lease<'_>,
) -> Result<Option<Refund>, Fault> {
    let row: Option<Row> = on!(tx, conn => sqlx::query_as(TAKE_DUE)
        .bind(refund_id)
        .bind(lease.holder)
        .bind(lease.until_ms)
        .bind(lease.now_ms)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("take due refund"))?;
    row.map(TryInto::try_into).transpose()
}

const DUE: &str = "SELECT refund_id FROM refund
    WHERE state IN ('held', 'submitting', 'unknown') AND due_at_ms <= $1 ORDER BY due_at_ms, refund_id LIMIT $2";

/// Refunds whose time has come.
pub async fn list_due_refunds(tx: &mut Tx, now_ms: i64, limit: i64) -> Result<Vec<String>, Fault> {
    let rows: Vec<(String,)> =
        on!(tx, conn => sqlx::query_as(DUE).bind(now_ms).bind(limit).fetch_all(conn).await)
            .map_err(while_doing("list due refunds"))?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// The definite end of a refund.
#[derive(Debug, Clone, Copy)]
pub struct RefundEnd<'a> {
    /// Which refund.
    pub refund_id: &'a str,
    /// The gateway's own id.
    pub provider_ref: Option<&'a str>,
    /// Code of a decline; `None`: succeeded.
    pub decline: Option<&'a str>,
    /// When.
    pub now: UnixSeconds,
}

const END: &str = columns!(
    "UPDATE refund SET state = $2, provider_ref = $3, decline_code = $4, settled_at_s = $5, lease_holder = NULL
    WHERE refund_id = $1 AND state NOT IN ('succeeded', 'failed') RETURNING",
    ""
);

/// Writes the definite end of a refund and returns it as it is then. `None`: it had an end already and keeps it.
pub async fn end_refund(tx: &mut Tx, end: RefundEnd<'_>) -> Result<Option<Refund>, Fault> {
    let state = if end.decline.is_some() { RefundState::Failed } else { RefundState::Succeeded };
    let row: Option<Row> = on!(tx, conn => sqlx::query_as(END)
        .bind(end.refund_id)
        .bind(state.as_str())
        .bind(end.provider_ref)
        .bind(end.decline)
        .bind(end.now.0)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("end refund"))?;
    row.map(TryInto::try_into).transpose()
}

const PARK: &str = "UPDATE refund SET state = $3, due_at_ms = $4, lease_holder = NULL
    WHERE refund_id = $1 AND state = 'submitting' AND lease_holder = $2";

/// Gives a refund back without a definite end: `unknown` until its next probe, or `manual`. Only its holder can.
/// `false`: it was taken over or ended meanwhile.
pub async fn park_refund(
    tx: &mut Tx,
    refund_id: &str,
    holder: &str,
    next: (RefundState, i64),
) -> Result<bool, Fault> {
    let done = on!(tx, conn => sqlx::query(PARK)
        .bind(refund_id)
        .bind(holder)
        .bind(next.0.as_str())
        .bind(next.1)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("park refund"))?;
    Ok(done == 1)
}

const FIND: &str =
    columns!("SELECT", "FROM refund WHERE partner_id = $1 AND fiat_in_id = $2 AND refund_id = $3");

/// A refund of a partner's order.
pub async fn find_refund(
    tx: &mut Tx,
    partner_id: &str,
    (fiat_in_id, refund_id): (&str, &str),
) -> Result<Option<Refund>, Fault> {
    let row: Option<Row> = on!(tx, conn => sqlx::query_as(FIND)
        .bind(partner_id)
        .bind(fiat_in_id)
        .bind(refund_id)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("find refund"))?;
    row.map(TryInto::try_into).transpose()
}

const FIND_ANY: &str = columns!("SELECT", "FROM refund WHERE refund_id = $1");

/// A refund of whatever partner, for the workers.
pub async fn find_any_refund(tx: &mut Tx, refund_id: &str) -> Result<Option<Refund>, Fault> {
    let row: Option<Row> =
        on!(tx, conn => sqlx::query_as(FIND_ANY).bind(refund_id).fetch_optional(conn).await)
            .map_err(while_doing("find refund by its id alone"))?;
    row.map(TryInto::try_into).transpose()
}

const FIND_END: &str = "SELECT state, provider_ref FROM refund WHERE refund_id = $1";

/// Where a refund stands, and the gateway's own id of it if that is known.
pub async fn find_refund_end(
    tx: &mut Tx,
    refund_id: &str,
) -> Result<Option<(RefundState, Option<String>)>, Fault> {
    let row: Option<(String, Option<String>)> =
        on!(tx, conn => sqlx::query_as(FIND_END).bind(refund_id).fetch_optional(conn).await)
            .map_err(while_doing("find the end of a refund"))?;
    row.map(|(state, provider_ref)| Ok((word(&state, "refund.state")?, provider_ref))).transpose()
}

const CLAIM: &str = "SELECT claim FROM refund WHERE refund_id = $1";

/// Where the answer to a refund's request is kept; `None` when nobody asked for it.
pub async fn find_refund_claim(tx: &mut Tx, refund_id: &str) -> Result<Option<String>, Fault> {
    let found: Option<(Option<String>,)> =
        on!(tx, conn => sqlx::query_as(CLAIM).bind(refund_id).fetch_optional(conn).await)
            .map_err(while_doing("find where a refund's answer is kept"))?;
    Ok(found.and_then(|(claim,)| claim))
}

const LIST: &str = columns!("SELECT", "FROM refund");

/// Refunds of a partner's order, newest first, at most `limit`, after the id `after` (empty: from the newest).
pub async fn list_refunds(
    tx: &mut Tx,
    (partner_id, fiat_in_id): (&str, &str),
    after: &str,
    limit: i64,
) -> Result<Vec<Refund>, Fault> {
    let (sql, texts) = Listing::new(LIST, "partner_id =", partner_id)
        .and("fiat_in_id =", Some(fiat_in_id))
        .newest_first("refund_id", "refund_id <", after);
    let rows: Vec<Row> = on!(tx, conn => {
        let mut query = sqlx::query_as(sql);
        for text in &texts {
            query = query.bind(text);
        }
        query.bind(limit).fetch_all(conn).await
    })
    .map_err(while_doing("list refunds"))?;
    rows.into_iter().map(TryInto::try_into).collect()
}

const LOCK: &str = "SELECT version FROM fiat_in WHERE fiat_in_id = $1 FOR UPDATE";

/// Keeps everybody else from changing an order until the transaction ends. On SQLite the writer is alone anyway.
pub async fn lock_fiat_in(tx: &mut Tx, fiat_in_id: &str) -> Result<(), Fault> {
    if tx.engine() == Engine::Sqlite {
        return Ok(());
    }
    on!(tx, conn => sqlx::query(LOCK).bind(fiat_in_id).execute(conn).await.map(drop))
        .map_err(while_doing("lock fiat-in"))
}

const CHANGE: &str =
    "UPDATE fiat_in SET state = $3, refunded = $4, refund_held = $5, updated_at_s = $6, version = $7
    WHERE fiat_in_id = $1 AND version = $2 AND $4 + $5 <= amount
    RETURNING fiat_in_id";

/// Writes what a refund or a dispute made of an order; `next` is one version after the row's.
///
/// # Errors
/// A fault (so everything is rolled back) when the order changed since it was read: it was not locked.
pub async fn change_fiat_in(tx: &mut Tx, next: &FiatIn) -> Result<(), Fault> {
    let written: Option<(String,)> = on!(tx, conn => sqlx::query_as(CHANGE)
        .bind(&next.fiat_in_id)
        .bind(next.version - 1)
        .bind(next.state.as_str())
        .bind(next.refunds.refunded)
        .bind(next.refunds.held)
        .bind(next.updated_at.0)
        .bind(next.version)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("change a fiat-in"))?;
    written.map(drop).ok_or_else(|| Fault::new("a fiat-in changed although it was locked"))
}

const CAPTURED: &str = "SELECT charge_id, provider FROM charge WHERE fiat_in_id = $1 AND state = 'captured'";

/// Id and gateway of the charge that collected for an order; `None` when nothing was collected.
pub async fn find_captured_charge(tx: &mut Tx, fiat_in_id: &str) -> Result<Option<(String, String)>, Fault> {
    on!(tx, conn => sqlx::query_as(CAPTURED).bind(fiat_in_id).fetch_optional(conn).await)
        .map_err(while_doing("find the captured charge of a fiat-in"))
}
