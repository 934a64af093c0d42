//! Table `customer_pii`: sealed fields. Nothing here opens them.

use chassis::sqlx;
use chassis::{Fault, Tx, on, row, while_doing};
use keys::UnixSeconds;

use super::rows::{many, placeholders};
use crate::crypto::vault::{SealedField, SealedPii};
use crate::domain::customer::Customer;
use crate::domain::kyc::KycStatus;
use crate::domain::pii::PiiField;

struct ChangedRow {
    partner_id: String,
    sub: String,
    field: String,
    revision: i64,
}

row!(ChangedRow { partner_id, sub, field, revision });

const COLUMNS: usize = 7;

/// Rows in one INSERT; keeps the number of bound values far below what either database takes.
const ROWS_PER_INSERT: usize = 1_024;

const UPSERT: &str =
    "INSERT INTO customer_pii (partner_id, sub, field, sealed, value_mac, revision, updated_at_s) VALUES";

const WHERE_CHANGED: &str = "ON CONFLICT (partner_id, sub, field) DO UPDATE
    SET sealed = excluded.sealed, value_mac = excluded.value_mac, revision = customer_pii.revision + 1,
        updated_at_s = excluded.updated_at_s
    WHERE customer_pii.value_mac <> excluded.value_mac
    RETURNING partner_id, sub, field, revision";

const RAISED: &str = "WITH raised (partner, customer_key, mac, residence, now_s) AS (VALUES";

const RAISE_VERSION: &str = ")
    UPDATE customer
    SET pii_version = pii_version + 1, pii_mac = raised.mac, country = COALESCE(raised.residence, country),
        version = version + 1,
        kyc_status = CASE WHEN kyc_status IN ('approved', 'needs_input', 'not_started', 'expired')
                          THEN 'processing' ELSE kyc_status END,
        updated_at_s = raised.now_s
    FROM raised
    WHERE customer.partner_id = raised.partner AND customer.customer_id = raised.customer_key
    RETURNING partner_id, customer_id, pii_version, country, kyc_status, version";

struct RaisedRow {
    partner_id: String,
    customer_id: String,
    pii_version: i64,
    country: Option<String>,
    kyc_status: String,
    version: i64,
}

row!(RaisedRow { partner_id, customer_id, pii_version, country, kyc_status, version });

const ENQUEUE: &str =
    "INSERT INTO kyc_job (partner_id, customer_id, pii_version, identity_changed, due_at_s, attempt) VALUES";

const ENQUEUE_AGAIN: &str = "ON CONFLICT (partner_id, customer_id) DO UPDATE
    SET pii_version = excluded.pii_version, due_at_s = excluded.due_at_s, attempt = 0,
        identity_changed = (kyc_job.identity_changed OR excluded.identity_changed)";

/// One customer's submission among several.
#[derive(Debug)]
pub struct PiiUpdate<'a> {
    /// Whose data it is; brought up to date.
    pub customer: &'a mut Customer,
    /// The submission.
    pub pii: &'a SealedPii,
    /// When it was made.
    pub now: UnixSeconds,
}

impl PiiUpdate<'_> {
    fn is_of(&self, partner_id: &str, customer_id: &str) -> bool {
        self.customer.partner_id == partner_id && self.customer.customer_id == customer_id
    }

    /// An equal submission costs no statement: its keyed hash is the customer's `pii_mac`.
    fn may_be_new(&self) -> bool {
        !self.pii.fields.is_empty() && self.customer.pii_mac.as_deref() != Some(self.pii.mac.as_str())
    }
}

/// Stores personal data if any of it is new, and then raises the customer's `pii_version` and queues a KYC refresh.
/// Fields that were not submitted stay. Answers whether anything changed; `customer` is brought up to date.
///
/// An equal submission costs no statement.
pub async fn update_pii(
    tx: &mut Tx,
    customer: &mut Customer,
    pii: &SealedPii,
    now: UnixSeconds,
) -> Result<bool, Fault> {
    let changed = update_many(tx, &mut [PiiUpdate { customer, pii, now }]).await?;
    Ok(changed.contains(&true))
}

/// [`update_pii`] for several customers, one statement for each table; no customer may be named twice. Answers of
/// each whether anything changed.
///
/// # Errors
/// The store's fault.
pub async fn update_many(tx: &mut Tx, updates: &mut [PiiUpdate<'_>]) -> Result<Vec<bool>, Fault> {
    let changed = upsert_fields(tx, updates).await?;
    let fields_of = |customer: &Customer| -> Vec<&ChangedRow> {
        let own = |row: &&ChangedRow| row.partner_id == customer.partner_id && row.sub == customer.sub;
        changed.iter().filter(own).collect()
    };
    let is_changed: Vec<bool> = updates.iter().map(|update| !fields_of(update.customer).is_empty()).collect();
    if !is_changed.contains(&true) {
        return Ok(is_changed);
    }
    raise_versions(tx, updates, &is_changed).await?;
    let mut jobs = Vec::with_capacity(updates.len());
    for (update, _) in updates.iter().zip(&is_changed).filter(|(_, changed)| **changed) {
        let identity_changed = fields_of(update.customer)
            .iter()
            .any(|row| row.revision > 1 && row.field.parse::<PiiField>().is_ok_and(PiiField::is_identity));
        jobs.push((update, identity_changed));
    }
    enqueue(tx, &jobs).await?;
    Ok(is_changed)
}

/// One statement; brings the customers up to date.
async fn raise_versions(
    tx: &mut Tx,
    updates: &mut [PiiUpdate<'_>],
    is_changed: &[bool],
) -> Result<(), Fault> {
    let changed =
        || updates.iter().zip(is_changed).filter(|(_, changed)| **changed).map(|(update, _)| update);
    let values = placeholders(1, changed().count(), 5);
    let rows: Vec<RaisedRow> = on!(tx, conn => {
        let mut query = sqlx::query_as(many(RAISED, &values, RAISE_VERSION));
        for update in changed() {
            query = query
                .bind(&update.customer.partner_id)
                .bind(&update.customer.customer_id)
                .bind(&update.pii.mac)
                .bind(&update.pii.residence)
                .bind(update.now.0);
        }
        query.fetch_all(conn).await
    })
    .map_err(while_doing("raise the version of personal data"))?;
    for (update, _) in updates.iter_mut().zip(is_changed).filter(|(_, changed)| **changed) {
        let raised = rows.iter().find(|row| update.is_of(&row.partner_id, &row.customer_id));
        let raised =
            raised.ok_or_else(|| Fault::new("raise the version of personal data: no such customer"))?;
        update.customer.pii_version = raised.pii_version;
        update.customer.pii_mac = Some(update.pii.mac.clone());
        update.customer.country.clone_from(&raised.country);
        update.customer.version = raised.version;
        update.customer.kyc_status =
            super::rows::word::<KycStatus>(&raised.kyc_status, "customer.kyc_status")?;
        update.customer.updated_at = update.now;
    }
    Ok(())
}

/// One statement: a look at each identity, told whether a name or birth date became another.
async fn enqueue(tx: &mut Tx, jobs: &[(&PiiUpdate<'_>, bool)]) -> Result<(), Fault> {
    let values = placeholders(1, jobs.len(), 6);
    on!(tx, conn => {
        let mut query = sqlx::query(many(ENQUEUE, &values, ENQUEUE_AGAIN));
        for (update, identity_changed) in jobs {
            query = query
                .bind(&update.customer.partner_id)
                .bind(&update.customer.customer_id)
                .bind(update.customer.pii_version)
                .bind(*identity_changed)
                .bind(update.now.0)
                .bind(0_i64);
        }
        query.execute(conn).await.map(drop)
    })
    .map_err(while_doing("queue a KYC refresh"))
}

/// Answers the fields that were new or had another value.
async fn upsert_fields(tx: &mut Tx, updates: &[PiiUpdate<'_>]) -> Result<Vec<ChangedRow>, Fault> {
    let mut new: Vec<(&Customer, &SealedField, UnixSeconds)> = Vec::new();
    for update in updates.iter().filter(|update| update.may_be_new()) {
        new.extend(update.pii.fields.iter().map(|field| (&*update.customer, field, update.now)));
    }
    let mut changed = Vec::new();
    for chunk in new.chunks(ROWS_PER_INSERT) {
        let values = placeholders(1, chunk.len(), COLUMNS);
        let rows: Vec<ChangedRow> = on!(&mut *tx, conn => {
            let mut query = sqlx::query_as(many(UPSERT, &values, WHERE_CHANGED));
            for (customer, field, now) in chunk {
                query = query
                    .bind(&customer.partner_id)
                    .bind(&customer.sub)
                    .bind(field.field.as_str())
                    .bind(&field.sealed)
                    .bind(&field.value_mac)
                    .bind(1_i64)
                    .bind(now.0);
            }
            query.fetch_all(conn).await
        })
        .map_err(while_doing("store personal data"))?;
        changed.extend(rows);
    }
    Ok(changed)
}

struct SealedRow {
    field: String,
    sealed: String,
}

row!(SealedRow { field, sealed });

const FIND: &str = "SELECT field, sealed FROM customer_pii WHERE partner_id = $1 AND sub = $2 ORDER BY field";

/// Every sealed field of a subject, by name.
pub async fn find_sealed(tx: &mut Tx, partner_id: &str, sub: &str) -> Result<Vec<(String, String)>, Fault> {
    let rows: Vec<SealedRow> =
        on!(tx, conn => sqlx::query_as(FIND).bind(partner_id).bind(sub).fetch_all(conn).await)
            .map_err(while_doing("find personal data"))?;
    Ok(rows.into_iter().map(|row| (row.field, row.sealed)).collect())
}
