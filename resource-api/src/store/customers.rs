//! Table `customer`.

use chassis::sqlx;
use chassis::{Engine, Fault, Tx, on, row, while_doing};
use keys::UnixSeconds;

use super::rows::{Listing, many, placeholders, word};
use crate::domain::customer::{Customer, CustomerKind};

/// A customer to register.
#[derive(Debug, Clone)]
pub struct NewCustomer {
    /// The tenant.
    pub partner_id: String,
    /// `cus_…`, used unless the subject has a customer already.
    pub customer_id: String,
    /// The subject at the authorization server.
    pub sub: String,
    /// The partner's own id; the subject itself where the partner gave none.
    pub external_id: String,
    /// Person or business.
    pub kind: CustomerKind,
    /// Residence, when told.
    pub country: Option<String>,
    /// The moment of the registration.
    pub now: UnixSeconds,
}

struct CustomerRow {
    partner_id: String,
    customer_id: String,
    sub: String,
    external_id: String,
    kind: String,
    country: Option<String>,
    status: String,
    kyc_level: i64,
    kyc_status: String,
    pii_version: i64,
    pii_mac: Option<String>,
    version: i64,
    created_at_s: i64,
    updated_at_s: i64,
}

row!(CustomerRow {
    partner_id,
    customer_id,
    sub,
    external_id,
    kind,
    country,
    status,
    kyc_level,
    kyc_status,
    pii_version,
    pii_mac,
    version,
    created_at_s,
    updated_at_s,
});

impl TryFrom<CustomerRow> for Customer {
    type Error = Fault;

    fn try_from(row: CustomerRow) -> Result<Self, Fault> {
        Ok(Self {
            kind: word(&row.kind, "customer.kind")?,
            status: word(&row.status, "customer.status")?,
            kyc_status: word(&row.kyc_status, "customer.kyc_status")?,
            partner_id: row.partner_id,
            customer_id: row.customer_id,
            sub: row.sub,
            external_id: row.external_id,
            country: row.country,
            kyc_level: row.kyc_level,
            pii_version: row.pii_version,
            pii_mac: row.pii_mac,
            version: row.version,
            created_at: UnixSeconds(row.created_at_s),
            updated_at: UnixSeconds(row.updated_at_s),
        })
    }
}

const INSERT: &str =
    "INSERT INTO customer (partner_id, customer_id, sub, external_id, kind, country, status, kyc_level,
        kyc_status, pii_version, version, created_at_s, updated_at_s)
    VALUES ($1, $2, $3, $4, $5, $6, 'active', 0, 'not_started', 0, 1, $7, $7)
    ON CONFLICT DO NOTHING
    RETURNING *";

/// Registers a customer. `None` when the partner has a customer of this subject or external id already.
pub async fn insert(tx: &mut Tx, new: &NewCustomer) -> Result<Option<Customer>, Fault> {
    let row: Option<CustomerRow> = on!(tx, conn => sqlx::query_as(INSERT)
        .bind(&new.partner_id)
        .bind(&new.customer_id)
        .bind(&new.sub)
        .bind(&new.external_id)
        .bind(new.kind.as_str())
        .bind(&new.country)
        .bind(new.now.0)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("insert customer"))?;
    row.map(Customer::try_from).transpose()
}

const UPSERT: &str =
    "INSERT INTO customer (partner_id, customer_id, sub, external_id, kind, country, status, kyc_level,
        kyc_status, pii_version, version, created_at_s, updated_at_s)
    VALUES ($1, $2, $3, $4, $5, $6, 'active', 0, 'not_started', 0, 1, $7, $7)
    ON CONFLICT (partner_id, sub) DO UPDATE SET version = customer.version
    RETURNING *";

/// The customer of a subject, registered now if this is the first time it is seen. The row is locked until the
/// transaction ends, so that two operations of one customer are judged one after the other.
///
/// # Errors
/// A fault, also when another subject of the partner has this external id.
pub async fn upsert_for_subject(tx: &mut Tx, new: &NewCustomer) -> Result<Customer, Fault> {
    let row: CustomerRow = on!(tx, conn => sqlx::query_as(UPSERT)
        .bind(&new.partner_id)
        .bind(&new.customer_id)
        .bind(&new.sub)
        .bind(&new.external_id)
        .bind(new.kind.as_str())
        .bind(&new.country)
        .bind(new.now.0)
        .fetch_one(conn)
        .await)
    .map_err(while_doing("register the customer of a subject"))?;
    Customer::try_from(row)
}

const LOCK: &str =
    "UPDATE customer SET version = version WHERE partner_id = $1 AND customer_id = $2 RETURNING *";

/// A customer by its id, with its row locked until the transaction ends.
pub async fn lock(tx: &mut Tx, partner_id: &str, customer_id: &str) -> Result<Option<Customer>, Fault> {
    find_by(tx, LOCK, partner_id, customer_id).await
}

const CLOSE: &str = "UPDATE customer SET status = 'closed', version = version + 1, updated_at_s = $3
    WHERE partner_id = $1 AND customer_id = $2";

/// Closes a customer whose row is locked.
pub async fn close(tx: &mut Tx, partner_id: &str, customer_id: &str, now: UnixSeconds) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query(CLOSE)
        .bind(partner_id)
        .bind(customer_id)
        .bind(now.0)
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("close a customer"))
}

const OPEN_ORDER: &str = "SELECT fiat_in_id FROM fiat_in WHERE partner_id = $1 AND customer_id = $2
    AND state IN ('in_review', 'processing', 'requires_action', 'disputed') LIMIT 1";

/// Whether an order of the customer (partner, customer) has not ended.
pub async fn has_open_orders(tx: &mut Tx, customer: (&str, &str)) -> Result<bool, Fault> {
    is_any(tx, OPEN_ORDER, customer).await
}

const WALLET_WITH_MONEY: &str = "SELECT entity.entity_id FROM entity
    JOIN ledger_account ON ledger_account.partner_id = entity.partner_id
        AND ledger_account.account_id = 'entity:' || entity.entity_id
    WHERE entity.partner_id = $1 AND entity.owner_id = $2
        AND (ledger_account.posted <> 0 OR ledger_account.pending_in <> 0 OR ledger_account.pending_out <> 0)
    LIMIT 1";

/// Whether a wallet of the customer (partner, customer) holds money, or money is on its way.
pub async fn has_money(tx: &mut Tx, customer: (&str, &str)) -> Result<bool, Fault> {
    is_any(tx, WALLET_WITH_MONEY, customer).await
}

async fn is_any(
    tx: &mut Tx,
    sql: &'static str,
    (partner_id, customer_id): (&str, &str),
) -> Result<bool, Fault> {
    let found: Option<(String,)> =
        on!(tx, conn => sqlx::query_as(sql).bind(partner_id).bind(customer_id).fetch_optional(conn).await)
            .map_err(while_doing("look at what a customer still has"))?;
    Ok(found.is_some())
}

const WANTED: &str = "WITH wanted (partner_id, sub) AS (VALUES";

const FIND_WANTED: &str = ")
    SELECT customer.* FROM wanted
    JOIN customer ON customer.partner_id = wanted.partner_id AND customer.sub = wanted.sub";

const LOCK_WANTED: &str = ")
    SELECT customer.* FROM wanted
    JOIN customer ON customer.partner_id = wanted.partner_id AND customer.sub = wanted.sub
    ORDER BY customer.partner_id, customer.sub FOR UPDATE OF customer";

/// The customers of (partner, subject) pairs as they will stay until the transaction ends: on `PostgreSQL` locked in
/// the order of the pairs, on SQLite the writer is alone anyway. Pairs without a customer are left out; none may be
/// named twice.
///
/// # Errors
/// The store's fault.
pub async fn lock_for_subjects(tx: &mut Tx, wanted: &[(&str, &str)]) -> Result<Vec<Customer>, Fault> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let after = match tx.engine() {
        Engine::Sqlite => FIND_WANTED,
        Engine::Postgres => LOCK_WANTED,
    };
    let values = placeholders(1, wanted.len(), 2);
    let rows: Vec<CustomerRow> = on!(tx, conn => {
        let mut query = sqlx::query_as(many(WANTED, &values, after));
        for (partner_id, sub) in wanted {
            query = query.bind(*partner_id).bind(*sub);
        }
        query.fetch_all(conn).await
    })
    .map_err(while_doing("lock the customers of subjects"))?;
    rows.into_iter().map(Customer::try_from).collect()
}

const FIND: &str = "SELECT * FROM customer WHERE partner_id = $1 AND customer_id = $2";

/// A customer by its id.
pub async fn find(tx: &mut Tx, partner_id: &str, customer_id: &str) -> Result<Option<Customer>, Fault> {
    find_by(tx, FIND, partner_id, customer_id).await
}

const FIND_BY_SUBJECT: &str = "SELECT * FROM customer WHERE partner_id = $1 AND sub = $2";

/// A customer by its subject.
pub async fn find_by_subject(tx: &mut Tx, partner_id: &str, sub: &str) -> Result<Option<Customer>, Fault> {
    find_by(tx, FIND_BY_SUBJECT, partner_id, sub).await
}

const FIND_BY_EXTERNAL_ID: &str = "SELECT * FROM customer WHERE partner_id = $1 AND external_id = $2";

/// A customer by the partner's own id.
pub async fn find_by_external_id(
    tx: &mut Tx,
    partner_id: &str,
    external_id: &str,
) -> Result<Option<Customer>, Fault> {
    find_by(tx, FIND_BY_EXTERNAL_ID, partner_id, external_id).await
}

async fn find_by(
    tx: &mut Tx,
    sql: &'static str,
    partner_id: &str,
    key: &str,
) -> Result<Option<Customer>, Fault> {
    let row: Option<CustomerRow> =
        on!(tx, conn => sqlx::query_as(sql).bind(partner_id).bind(key).fetch_optional(conn).await)
            .map_err(while_doing("find customer"))?;
    row.map(Customer::try_from).transpose()
}

const LIST_THIRD_PARTIES: &str = "SELECT customer.* FROM third_party
    JOIN customer ON customer.partner_id = third_party.partner_id
        AND customer.customer_id = third_party.customer_id
    WHERE third_party.partner_id = $1 AND third_party.principal_id = $2
    ORDER BY third_party.customer_id LIMIT 1000";

/// Those who are paid on this customer's behalf, oldest first, at most 1,000.
pub async fn list_third_parties(
    tx: &mut Tx,
    partner_id: &str,
    principal_id: &str,
) -> Result<Vec<Customer>, Fault> {
    let rows: Vec<CustomerRow> = on!(tx, conn => sqlx::query_as(LIST_THIRD_PARTIES)
        .bind(partner_id)
        .bind(principal_id)
        .fetch_all(conn)
        .await)
    .map_err(while_doing("list third parties"))?;
    rows.into_iter().map(Customer::try_from).collect()
}

/// What narrows a list of customers.
#[derive(Debug, Clone, Default)]
pub struct CustomerFilter {
    /// Only the one with this external id.
    pub external_id: Option<String>,
    /// Only those in this state.
    pub status: Option<String>,
    /// Only the one of this subject.
    pub sub: Option<String>,
}

/// Customers of a partner, newest first, at most `limit`, after the id `after` (empty: from the newest).
pub async fn list(
    tx: &mut Tx,
    partner_id: &str,
    filter: &CustomerFilter,
    after: &str,
    limit: i64,
) -> Result<Vec<Customer>, Fault> {
    let (sql, texts) = Listing::new("SELECT * FROM customer", "partner_id =", partner_id)
        .and("external_id =", filter.external_id.as_deref())
        .and("status =", filter.status.as_deref())
        .and("sub =", filter.sub.as_deref())
        .newest_first("customer_id", "customer_id <", after);
    let rows: Vec<CustomerRow> = on!(tx, conn => {
        let mut query = sqlx::query_as(sql);
        for text in &texts {
            query = query.bind(text);
        }
        query.bind(limit).fetch_all(conn).await
    })
    .map_err(while_doing("list customers"))?;
    rows.into_iter().map(Customer::try_from).collect()
}
