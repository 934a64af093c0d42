//! Charges at the payment gateway. A definite result is written once; a charge is called by whoever
//! holds its lease.

use chassis::sqlx;
use chassis::{Fault, Tx, on, row, while_doing};
use keys::UnixSeconds;

use super::rows::{many, placeholders};
use crate::domain::fiat_in::ChargeState;

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

    /// What whoever calls the gateway first needs of it.
    pub fn first_attempt(self) -> Charge {
        Charge {
            charge_id: self.charge_id,
            partner_id: self.partner_id,
            fiat_in_id: self.fiat_in_id,
            provider: self.provider.to_owned(),
            amount: self.amount,
            currency: self.currency.to_owned(),
            source_token: self.source_token,
            state: ChargeState::Submitting.as_str().to_owned(),
            attempt: 1,
            created_at_s: self.now.0,
        }
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
    pub attempt: i64,
    pub created_at_s: i64,
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
    created_at_s,
});

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

const INSERT_TAKEN: &str =
    "INSERT INTO charge (charge_id, partner_id, fiat_in_id, provider, amount, currency, source_token,
        state, attempt, lease_holder, due_at_ms, created_at_s) VALUES";

/// Adds charges in one statement, each taken by its holder: `submitting`, at the first attempt, until `due_at_ms`.
pub async fn insert_taken_charges(tx: &mut Tx, charges: &[(NewCharge, &str)]) -> Result<(), Fault> {
    if charges.is_empty() {
        return Ok(());
    }
    let values = placeholders(1, charges.len(), 12);
    on!(tx, conn => {
        let mut query = sqlx::query(many(INSERT_TAKEN, &values, ""));
        for (charge, holder) in charges {
            query = query
                .bind(&charge.charge_id)
                .bind(&charge.partner_id)
                .bind(&charge.fiat_in_id)
                .bind(charge.provider)
                .bind(charge.amount)
                .bind(charge.currency)
                .bind(&charge.source_token)
                .bind(ChargeState::Submitting.as_str())
                .bind(1_i64)
                .bind(*holder)
                .bind(charge.due_at_ms)
                .bind(charge.now.0);
        }
        query.execute(conn).await.map(drop)
    })
    .map_err(while_doing("insert taken charges"))
}

const KEEP: &str = "UPDATE charge SET due_at_ms = $3
    WHERE charge_id = $1 AND lease_holder = $2 AND state = 'submitting'";

/// Lengthens the lease of a charge. `false`: somebody else has taken it, or it has ended.
pub async fn keep_charge(tx: &mut Tx, charge_id: &str, lease: Lease<'_>) -> Result<bool, Fault> {
    let kept = on!(tx, conn => sqlx::query(KEEP)
        .bind(charge_id)
        .bind(lease.holder)
        .bind(lease.until_ms)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("keep charge"))?;
    Ok(kept == 1)
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

const TAKE_READY: &str = "UPDATE charge SET state = 'submitting', attempt = attempt + 1, lease_holder = $2, due_at_ms = $3
    WHERE charge_id = $1 AND state = 'ready'
    RETURNING charge_id, partner_id, fiat_in_id, provider, amount, currency, source_token, state, attempt, created_at_s";

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
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("take charge"))
}

const TAKE_DUE: &str = "UPDATE charge SET state = 'submitting', attempt = attempt + 1, lease_holder = $2, due_at_ms = $3
    WHERE charge_id = $1 AND state IN ('ready', 'submitting', 'unknown') AND due_at_ms <= $4
    RETURNING charge_id, partner_id, fiat_in_id, provider, amount, currency, source_token, state, attempt, created_at_s";

/// Takes a charge whose time has come: never sent, its holder gone, or due for the next probe.
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
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("take due charge"))
}

const DUE: &str = "SELECT fiat_in_id FROM charge
    WHERE state IN ('ready', 'submitting', 'unknown') AND due_at_ms <= $1 ORDER BY due_at_ms, charge_id LIMIT $2";

/// Orders whose charge's time has come.
pub async fn list_due_orders(tx: &mut Tx, now_ms: i64, limit: i64) -> Result<Vec<String>, Fault> {
    let rows: Vec<(String,)> =
        on!(tx, conn => sqlx::query_as(DUE).bind(now_ms).bind(limit).fetch_all(conn).await)
            .map_err(while_doing("list due charges"))?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

/// The definite end of a charge.
#[derive(Debug, Clone, Copy)]
pub struct Settlement<'a> {
    /// Which charge.
    pub charge_id: &'a str,
    /// The gateway's own id.
    pub provider_ref: Option<&'a str>,
    /// Code and category of a decline; `None`: captured.
    pub decline: Option<(&'a str, &'a str)>,
    /// When.
    pub now: UnixSeconds,
}

const SETTLE: &str = "WITH settled (id, state, provider_ref, code, category, now_s) AS (VALUES";

const SETTLE_SET: &str = ")
    UPDATE charge SET state = settled.state, provider_ref = settled.provider_ref, decline_code = settled.code,
        decline_category = settled.category, settled_at_s = settled.now_s, lease_holder = NULL
    FROM settled WHERE charge.charge_id = settled.id AND charge.state NOT IN ('captured', 'declined')
    RETURNING charge_id";

/// Writes the definite ends of charges in one statement, each once; returns those it wrote. A charge that had an
/// end already keeps it. No charge may be named twice.
pub async fn settle_charges(tx: &mut Tx, settlements: &[Settlement<'_>]) -> Result<Vec<String>, Fault> {
    if settlements.is_empty() {
        return Ok(Vec::new());
    }
    let values = placeholders(1, settlements.len(), 6);
    let rows: Vec<(String,)> = on!(tx, conn => {
        let mut query = sqlx::query_as(many(SETTLE, &values, SETTLE_SET));
        for end in settlements {
            let state = if end.decline.is_some() { ChargeState::Declined } else { ChargeState::Captured };
            query = query
                .bind(end.charge_id)
                .bind(state.as_str())
                .bind(end.provider_ref)
                .bind(end.decline.map(|(code, _)| code))
                .bind(end.decline.map(|(_, category)| category))
                .bind(end.now.0);
        }
        query.fetch_all(conn).await
    })
    .map_err(while_doing("settle charges"))?;
    Ok(rows.into_iter().map(|(id,)| id).collect())
}

const PARK: &str = "UPDATE charge SET state = $3, due_at_ms = $4, lease_holder = NULL
    WHERE charge_id = $1 AND state = 'submitting' AND lease_holder = $2";

/// Gives a charge back without a definite end: `unknown` until its next probe, or `manual`. Only its
/// holder can. `false`: it was taken over or settled meanwhile.
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
