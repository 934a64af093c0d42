//! Table `transaction_log`.

use chassis::sqlx;
use chassis::{Fault, Tx, on, row, while_doing};
use keys::UnixSeconds;

use super::fiat_ins::outcome;
use super::rows::{Listing, word};
use crate::domain::money::Money;
use crate::domain::transaction_log::TransactionLog;
use crate::monitoring::Decision;

struct LogRow {
    partner_id: String,
    log_id: String,
    customer_id: String,
    client_id: String,
    kind: String,
    client_reference: String,
    amount: i64,
    currency: String,
    outcome: String,
    reason_code: Option<String>,
    created_at_s: i64,
}

row!(LogRow {
    partner_id,
    log_id,
    customer_id,
    client_id,
    kind,
    client_reference,
    amount,
    currency,
    outcome,
    reason_code,
    created_at_s
});

impl TryFrom<LogRow> for TransactionLog {
    type Error = Fault;

    fn try_from(row: LogRow) -> Result<Self, Fault> {
        let currency = word(&row.currency, "transaction_log.currency")?;
        Ok(Self {
            kind: word(&row.kind, "transaction_log.kind")?,
            outcome: outcome(&row.outcome)?,
            money: Money { amount: row.amount, currency },
            partner_id: row.partner_id,
            log_id: row.log_id,
            customer_id: row.customer_id,
            client_id: row.client_id,
            client_reference: row.client_reference,
            reason_code: row.reason_code,
            created_at: UnixSeconds(row.created_at_s),
        })
    }
}

const INSERT: &str =
    "INSERT INTO transaction_log (partner_id, log_id, customer_id, client_id, kind, client_reference, amount,
        currency, outcome, reason_code, hits, inputs_hash, rule_set_version, created_at_s)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14)
    ON CONFLICT DO NOTHING";

/// Keeps a log with the decision behind it and the hash of all that the decision looked at. False when the partner has
/// logged a transaction under this reference before.
pub async fn insert(
    tx: &mut Tx,
    log: &TransactionLog,
    decision: &Decision,
    inputs_hash: &str,
) -> Result<bool, Fault> {
    let hits = serde_json::to_string(&decision.hits).map_err(while_doing("write the hits of a decision"))?;
    let inserted = on!(tx, conn => sqlx::query(INSERT)
        .bind(&log.partner_id)
        .bind(&log.log_id)
        .bind(&log.customer_id)
        .bind(&log.client_id)
        .bind(log.kind.as_str())
        .bind(&log.client_reference)
        .bind(log.money.amount)
        .bind(log.money.currency.code())
        .bind(log.outcome.as_str())
        .bind(&log.reason_code)
        .bind(&hits)
        .bind(inputs_hash)
        .bind(decision.rule_set_version)
        .bind(log.created_at.0)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("insert a transaction log"))?;
    Ok(inserted == 1)
}

const FIND: &str = "SELECT * FROM transaction_log
    WHERE partner_id = $1 AND customer_id = $2 AND (log_id = $3 OR client_reference = $3)";

/// A customer's log by our id of it or by the partner's own.
pub async fn find(
    tx: &mut Tx,
    partner_id: &str,
    customer_id: &str,
    id: &str,
) -> Result<Option<TransactionLog>, Fault> {
    let row: Option<LogRow> = on!(tx, conn => sqlx::query_as(FIND)
        .bind(partner_id)
        .bind(customer_id)
        .bind(id)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("find a transaction log"))?;
    row.map(TransactionLog::try_from).transpose()
}

/// A customer's logs, newest first, at most `limit`.
pub async fn list(
    tx: &mut Tx,
    partner_id: &str,
    customer_id: &str,
    limit: i64,
) -> Result<Vec<TransactionLog>, Fault> {
    let (sql, texts) = Listing::new("SELECT * FROM transaction_log", "partner_id =", partner_id)
        .and("customer_id =", Some(customer_id))
        .newest_first("log_id", "log_id <", "");
    let rows: Vec<LogRow> = on!(tx, conn => {
        let mut query = sqlx::query_as(sql);
        for text in &texts {
            query = query.bind(text);
        }
        query.bind(limit).fetch_all(conn).await
    })
    .map_err(while_doing("list transaction logs"))?;
    rows.into_iter().map(TransactionLog::try_from).collect()
}
