//! Charges at the payment gateway. A definite result is written once; a charge is called by whoever
//! holds its lease.

mod taken;

use chassis::sqlx;
use chassis::{Fault, Tx, on, row, while_doing};
use keys::UnixSeconds;

use super::rows::{many, placeholders, word};
use crate::domain::charge::ChargeState;

pub use taken::{insert_taken_charges, keep_charge};

/// A charge to be written.
#[derive(Debug, Clone)]
pub struct NewCharge {
    /// `chg_…`
    pub charge_id: String,
    /// The tenant.
    pub partner_id: String,
    /// The order it collects for.
    pub fiat_in_id: String,
    /// The gateway.
    pub provider: &'static str,
    /// Minor units.
    pub amount: i64,
    /// ISO 4217.
    pub currency: &'static str,
    /// The gateway's token of the instrument.
    pub source_token: String,
    /// When a worker may take it if nobody else did, Unix milliseconds.
    pub due_at_ms: i64,
    /// When it is written.
    pub now: UnixSeconds,
}

impl NewCharge {
    /// The same charge, paid by an instrument.
    #[must_use]
    pub fn paid_by(mut self, source_token: &str) -> Self {
        source_token.clone_into(&mut self.source_token);
        self
    }
}

/// A charge as whoever calls the gateway needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Charge {
    pub charge_id: String,
    pub partner_id: String,
    pub fiat_in_id: String,
    pub provider: String,
    pub amount: i64,
    pub currency: String,
    pub source_token: String,
    pub state: String,
    /// Calls begun for what it waits for now: its answer, its capture, or its void.
    pub attempt: i64,
    /// When it was first sent.
    pub submitted_at_s: Option<i64>,
    /// Since when it is to be given up, because its order ended.
    pub void_requested_at_s: Option<i64>,
    pub created_at_s: i64,
}

impl Charge {
    /// Where it stands.
    ///
    /// # Errors
    /// A fault when the row was written by something that knows other states.
    pub fn state(&self) -> Result<ChargeState, Fault> {
        word(&self.state, "charge.state")
    }
}

row!(Charge {
    charge_id,
    partner_id,
    fiat_in_id,
    provider,
    amount,
    currency,
    source_token,
    state,
    attempt,
    submitted_at_s,
    void_requested_at_s,
    created_at_s,
});

/// `before`, and the columns of [`Charge`].
macro_rules! returning {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " charge_id, partner_id, fiat_in_id, provider, amount, currency, source_token, state, attempt,
                submitted_at_s, void_requested_at_s, created_at_s ",
            $after
        )
    };
}

const FIND: &str = returning!("SELECT", "FROM charge WHERE charge_id = $1");

/// A charge of whatever partner: for the workers and for what the gateway says of it.
pub async fn find_charge(tx: &mut Tx, charge_id: &str) -> Result<Option<Charge>, Fault> {
    on!(tx, conn => sqlx::query_as(FIND).bind(charge_id).fetch_optional(conn).await)
        .map_err(while_doing("find charge"))
}

const INSERT: &str =
    "INSERT INTO charge (charge_id, partner_id, fiat_in_id, provider, amount, currency, source_token,
        state, attempt, due_at_ms, created_at_s)
    VALUES ($1, $2, $3, $4, $5, $6, $7, 'ready', 0, $8, $9)";

/// Adds a charge, `ready` to be sent.
pub async fn insert_charge(tx: &mut Tx, charge: &NewCharge) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query(INSERT)
        .bind(&charge.charge_id)
        .bind(&charge.partner_id)
        .bind(&charge.fiat_in_id)
        .bind(charge.provider)
        .bind(charge.amount)
        .bind(charge.currency)
        .bind(&charge.source_token)
        .bind(charge.due_at_ms)
        .bind(charge.now.0)
        .execute(conn)
        .await
        .map(|_| ()))
    .map_err(while_doing("insert charge"))
}

/// Who takes a charge, and for how long.
#[derive(Debug, Clone, Copy)]
pub struct Lease<'a> {
    /// Name of the caller, new for every take.
    pub holder: &'a str,
    /// Now, Unix milliseconds.
    pub now_ms: i64,
    /// Until when nobody else may take it, Unix milliseconds.
    pub until_ms: i64,
}

const TAKE_READY: &str = returning!(
    "UPDATE charge SET state = 'submitting', attempt = attempt + 1, lease_holder = $2, due_at_ms = $3, submitted_at_s = $4
    WHERE charge_id = $1 AND state = 'ready'
    RETURNING",
    ""
);

/// Takes a charge that was never sent (transaction B0). `None`: somebody else has it.
pub async fn take_ready_charge(
    tx: &mut Tx,
    charge_id: &str,
    lease: Lease<'_>,
) -> Result<Option<Charge>, Fault> {
    on!(tx, conn => sqlx::query_as(TAKE_READY)
        .bind(charge_id)
        .bind(lease.holder)
        .bind(lease.until_ms)
        .bind(lease.now_ms / 1_000)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("take charge"))
}

const TAKE_DUE: &str = returning!(
    "UPDATE charge SET attempt = attempt + 1, lease_holder = $2, due_at_ms = $3,
        state = CASE WHEN state IN ('requires_action', 'authorized') THEN state ELSE 'submitting' END,
        submitted_at_s = COALESCE(submitted_at_s, $5)
    WHERE charge_id = $1 AND state IN ('ready', 'submitting', 'unknown', 'requires_action', 'authorized')
        AND due_at_ms <= $4
    RETURNING",
    ""
);

/// Takes a charge whose time has come: never sent, its holder gone, due for the next probe, or to be captured or
/// voided. One that is authorized or waits for the payer stays so.
pub async fn take_due_charge(
    tx: &mut Tx,
    charge_id: &str,
    lease: Lease<'_>,
) -> Result<Option<Charge>, Fault> {
    on!(tx, conn => sqlx::query_as(TAKE_DUE)
        .bind(charge_id)
        .bind(lease.holder)
        .bind(lease.until_ms)
        .bind(lease.now_ms)
        .bind(lease.now_ms / 1_000)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("take due charge"))
}

const DUE: &str = "SELECT fiat_in_id FROM charge
    WHERE state IN ('ready', 'submitting', 'unknown', 'requires_action', 'authorized') AND due_at_ms <= $1 ORDER BY due_at_ms, charge_id LIMIT $2";

/// Orders whose charge's time has come.
pub async fn list_due_orders(tx: &mut Tx, now_ms: i64, limit: i64) -> Result<Vec<String>, Fault> {
    let rows: Vec<(String,)> =
        on!(tx, conn => sqlx::query_as(DUE).bind(now_ms).bind(limit).fetch_all(conn).await)
            .map_err(while_doing("list due charges"))?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// Something definite about a charge: where it goes by it.
#[derive(Debug, Clone, Copy)]
pub struct ChargeStep<'a> {
    /// Which charge.
    pub charge_id: &'a str,
    /// `requires_action`, `authorized`, or a final state.
    pub state: ChargeState,
    /// The gateway's own id.
    pub provider_ref: Option<&'a str>,
    /// Code and category of a decline.
    pub decline: Option<(&'a str, &'a str)>,
    /// Where the payer has to go.
    pub action_url: Option<&'a str>,
    /// When a worker may take it next, Unix milliseconds. Without meaning for a final state.
    pub due_at_ms: i64,
    /// When.
    pub now: UnixSeconds,
}

const STEP: &str =
    "WITH step (id, state, provider_ref, code, category, action_url, due_at_ms, settled_at_s) AS (VALUES";

/// States are passed in this order only: any open one, `requires_action`, `authorized`, a final one.
const STEP_SET: &str = ")
    UPDATE charge SET state = step.state, provider_ref = COALESCE(step.provider_ref, charge.provider_ref),
        decline_code = step.code, decline_category = step.category, action_url = step.action_url,
        due_at_ms = step.due_at_ms, settled_at_s = step.settled_at_s, lease_holder = NULL,
        attempt = CASE WHEN step.settled_at_s IS NULL THEN 0 ELSE charge.attempt END
    FROM step WHERE charge.charge_id = step.id AND (
        charge.state IN ('ready', 'submitting', 'unknown', 'manual')
        OR (charge.state = 'requires_action' AND step.state <> 'requires_action')
        OR (charge.state = 'authorized' AND step.settled_at_s IS NOT NULL))
    RETURNING charge_id";

/// Takes charges to where something definite leads them, in one statement, and ends their leases; returns those it
/// took. A charge that is there already, or further, stays as it is. No charge may be named twice.
pub async fn step_charges(tx: &mut Tx, steps: &[ChargeStep<'_>]) -> Result<Vec<String>, Fault> {
    if steps.is_empty() {
        return Ok(Vec::new());
    }
    let values = placeholders(1, steps.len(), 8);
    let rows: Vec<(String,)> = on!(tx, conn => {
        let mut query = sqlx::query_as(many(STEP, &values, STEP_SET));
        for step in steps {
            query = query
                .bind(step.charge_id)
                .bind(step.state.as_str())
                .bind(step.provider_ref)
                .bind(step.decline.map(|(code, _)| code))
                .bind(step.decline.map(|(_, category)| category))
                .bind(step.action_url)
                .bind(step.due_at_ms)
                .bind(step.state.is_final().then_some(step.now.0));
        }
        query.fetch_all(conn).await
    })
    .map_err(while_doing("take charges to their next state"))?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

const PARK: &str = "UPDATE charge SET state = $3, due_at_ms = $4, lease_holder = NULL
    WHERE charge_id = $1 AND lease_holder = $2 AND state IN ('submitting', 'requires_action', 'authorized')";

/// Gives a charge back of which nothing new is known, until its next probe, or to a person (`manual`). Only its
/// holder can. `false`: it was taken over or went on meanwhile.
pub async fn park_charge(
    tx: &mut Tx,
    charge_id: &str,
    holder: &str,
    next: (ChargeState, i64),
) -> Result<bool, Fault> {
    let done = on!(tx, conn => sqlx::query(PARK)
        .bind(charge_id)
        .bind(holder)
        .bind(next.0.as_str())
        .bind(next.1)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("park charge"))?;
    Ok(done == 1)
}

const WITHDRAW: &str = "UPDATE charge SET state = 'voided', settled_at_s = $2, lease_holder = NULL
    WHERE fiat_in_id = $1 AND state = 'ready'";

/// Gives up a charge that was never sent. `false`: it was, or there is none.
pub async fn withdraw_ready_charge(tx: &mut Tx, fiat_in_id: &str, now: UnixSeconds) -> Result<bool, Fault> {
    let done = on!(tx, conn => sqlx::query(WITHDRAW)
        .bind(fiat_in_id)
        .bind(now.0)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("withdraw charge"))?;
    Ok(done == 1)
}

const REQUEST_VOID: &str =
    "UPDATE charge SET void_requested_at_s = $2, due_at_ms = $3, lease_holder = NULL, attempt = 0
    WHERE fiat_in_id = $1 AND state = 'requires_action' AND void_requested_at_s IS NULL";

/// Marks a charge that waits for the payer as one to be given up at the gateway, at once. `false`: it does not wait.
pub async fn request_void(
    tx: &mut Tx,
    fiat_in_id: &str,
    now: UnixSeconds,
    now_ms: i64,
) -> Result<bool, Fault> {
    let done = on!(tx, conn => sqlx::query(REQUEST_VOID)
        .bind(fiat_in_id)
        .bind(now.0)
        .bind(now_ms)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("ask for a charge to be voided"))?;
    Ok(done == 1)
}

/// Notes that a charge was collected although its order had ended: once.
macro_rules! note_late {
    ($state:literal) => {
        concat!(
            "UPDATE charge SET late_success_at_s = $2, provider_ref = COALESCE($3, provider_ref)
            WHERE charge_id = $1 AND late_success_at_s IS NULL AND ",
            $state
        )
    };
}

const LATE: &str = note_late!("state = 'captured'");
const LATE_AFTER_END: &str = note_late!("state IN ('declined', 'voided')");

/// How a charge that was collected late stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    /// It became `captured` only now; its order had ended before.
    Captured,
    /// It was declined or voided before, and stays so: a final state is never overwritten.
    AfterItsEnd,
}

/// Notes that a charge was collected although its order, or itself, had ended. `false`: noted before, or not so.
pub async fn note_late_success(
    tx: &mut Tx,
    (charge_id, provider_ref): (&str, Option<&str>),
    late: Late,
    now: UnixSeconds,
) -> Result<bool, Fault> {
    let sql = match late {
        Late::Captured => LATE,
        Late::AfterItsEnd => LATE_AFTER_END,
    };
    let done = on!(tx, conn => sqlx::query(sql)
        .bind(charge_id)
        .bind(now.0)
        .bind(provider_ref)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("note that a charge was collected late"))?;
    Ok(done == 1)
}
