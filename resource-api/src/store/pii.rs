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
    field: String,
    revision: i64,
}

row!(ChangedRow { field, revision });

const COLUMNS: usize = 7;

const UPSERT: &str =
    "INSERT INTO customer_pii (partner_id, sub, field, sealed, value_mac, revision, updated_at_s) VALUES";

const WHERE_CHANGED: &str = "ON CONFLICT (partner_id, sub, field) DO UPDATE
    SET sealed = excluded.sealed, value_mac = excluded.value_mac, revision = customer_pii.revision + 1,
        updated_at_s = excluded.updated_at_s
    WHERE customer_pii.value_mac <> excluded.value_mac
    RETURNING field, revision";

const RAISE_VERSION: &str = "UPDATE customer
    SET pii_version = pii_version + 1, pii_mac = $3, country = COALESCE($4, country), version = version + 1,
        kyc_status = CASE WHEN kyc_status IN ('approved', 'needs_input', 'not_started', 'expired')
                          THEN 'processing' ELSE kyc_status END,
        updated_at_s = $5
    WHERE partner_id = $1 AND customer_id = $2
    RETURNING pii_version, country, kyc_status, version";

struct RaisedRow {
    pii_version: i64,
    country: Option<String>,
    kyc_status: String,
    version: i64,
}

row!(RaisedRow { pii_version, country, kyc_status, version });

const ENQUEUE: &str =
    "INSERT INTO kyc_job (partner_id, customer_id, pii_version, identity_changed, due_at_s, attempt)
    VALUES ($1, $2, $3, $4, $5, 0)
    ON CONFLICT (partner_id, customer_id) DO UPDATE
    SET pii_version = excluded.pii_version, due_at_s = excluded.due_at_s, attempt = 0,
        identity_changed = (kyc_job.identity_changed OR excluded.identity_changed)";

/// Stores personal data if any of it is new, and then raises the customer's `pii_version` and queues a KYC refresh.
/// Fields that were not submitted stay. Answers whether anything changed; `customer` is brought up to date.
///
/// An equal submission costs no statement: its keyed hash is the customer's `pii_mac`.
pub async fn update_pii(
    tx: &mut Tx,
    customer: &mut Customer,
    pii: &SealedPii,
    now: UnixSeconds,
) -> Result<bool, Fault> {
    if pii.fields.is_empty() || customer.pii_mac.as_deref() == Some(pii.mac.as_str()) {
        return Ok(false);
    }
    let changed = upsert_fields(tx, customer, &pii.fields, now).await?;
    if changed.is_empty() {
        return Ok(false);
    }
    let raised: RaisedRow = on!(tx, conn => sqlx::query_as(RAISE_VERSION)
        .bind(&customer.partner_id)
        .bind(&customer.customer_id)
        .bind(&pii.mac)
        .bind(&pii.residence)
        .bind(now.0)
        .fetch_one(conn)
        .await)
    .map_err(while_doing("raise the version of personal data"))?;
    customer.pii_version = raised.pii_version;
    customer.pii_mac = Some(pii.mac.clone());
    customer.country = raised.country;
    customer.version = raised.version;
    customer.kyc_status = super::rows::word::<KycStatus>(&raised.kyc_status, "customer.kyc_status")?;
    customer.updated_at = now;
    let identity_changed = changed
        .iter()
        .any(|row| row.revision > 1 && row.field.parse::<PiiField>().is_ok_and(PiiField::is_identity));
    on!(tx, conn => sqlx::query(ENQUEUE)
        .bind(&customer.partner_id)
        .bind(&customer.customer_id)
        .bind(customer.pii_version)
        .bind(identity_changed)
        .bind(now.0)
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("queue a KYC refresh"))?;
    Ok(true)
}

/// One statement; answers the fields that were new or had another value.
async fn upsert_fields(
    tx: &mut Tx,
    customer: &Customer,
    fields: &[SealedField],
    now: UnixSeconds,
) -> Result<Vec<ChangedRow>, Fault> {
    let values = placeholders(1, fields.len(), COLUMNS);
    on!(tx, conn => {
        let mut query = sqlx::query_as(many(UPSERT, &values, WHERE_CHANGED));
        for field in fields {
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
    .map_err(while_doing("store personal data"))
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
