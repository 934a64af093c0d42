//! Charges that are born leased: written together with their order, by whoever calls the gateway next.

use chassis::sqlx;
use chassis::{Fault, Tx, on, while_doing};

use super::{Charge, Lease, NewCharge};
use crate::domain::charge::ChargeState;
use crate::store::rows::{many, placeholders};

impl NewCharge {
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
            submitted_at_s: Some(self.now.0),
            void_requested_at_s: None,
            created_at_s: self.now.0,
        }
    }
}

const INSERT_TAKEN: &str =
    "INSERT INTO charge (charge_id, partner_id, fiat_in_id, provider, amount, currency, source_token,
        state, attempt, lease_holder, due_at_ms, submitted_at_s, created_at_s) VALUES";

/// Adds charges in one statement, each taken by its holder: `submitting`, at the first attempt, until `due_at_ms`.
pub async fn insert_taken_charges(tx: &mut Tx, charges: &[(NewCharge, &str)]) -> Result<(), Fault> {
    if charges.is_empty() {
        return Ok(());
    }
    let values = placeholders(1, charges.len(), 13);
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
                .bind(charge.now.0)
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
