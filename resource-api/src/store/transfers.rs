//! Table `transfer`.

use chassis::sqlx;
use chassis::{Fault, Tx, on, row, while_doing};
use keys::UnixSeconds;

use super::rows::{FIRST_PAGE, Listing, many, placeholders};
use crate::domain::transfer::Transfer;

struct TransferRow {
    partner_id: String,
    transfer_id: String,
    mode: String,
    source_entity_id: String,
    destination_entity_id: String,
    source_owner_id: String,
    destination_owner_id: String,
    amount: i64,
    currency: String,
    category: Option<String>,
    client_reference: Option<String>,
    initiator_client_id: String,
    initiator_sub: String,
    state: String,
    ledger_txn_id: String,
    created_at_s: i64,
    completed_at_s: Option<i64>,
}

row!(TransferRow {
    partner_id,
    transfer_id,
    mode,
    source_entity_id,
    destination_entity_id,
    source_owner_id,
    destination_owner_id,
    amount,
    currency,
    category,
    client_reference,
    initiator_client_id,
    initiator_sub,
    state,
    ledger_txn_id,
    created_at_s,
    completed_at_s,
});

impl From<TransferRow> for Transfer {
    fn from(row: TransferRow) -> Self {
        Self {
            partner_id: row.partner_id,
            transfer_id: row.transfer_id,
            mode: row.mode,
            source_entity_id: row.source_entity_id,
            destination_entity_id: row.destination_entity_id,
            source_owner_id: row.source_owner_id,
            destination_owner_id: row.destination_owner_id,
            amount: row.amount,
            currency: row.currency,
            category: row.category,
            client_reference: row.client_reference,
            initiator_client_id: row.initiator_client_id,
            initiator_sub: row.initiator_sub,
            state: row.state,
            ledger_txn_id: row.ledger_txn_id,
            created_at: UnixSeconds(row.created_at_s),
            completed_at: row.completed_at_s.map(UnixSeconds),
        }
    }
}

const INSERT: &str = "INSERT INTO transfer (partner_id, transfer_id, mode, source_entity_id, destination_entity_id,
        source_owner_id, destination_owner_id, amount, currency, category, client_reference, initiator_client_id,
        initiator_sub, state, ledger_txn_id, created_at_s, completed_at_s) VALUES";

const UNLESS_USED: &str = "ON CONFLICT (partner_id, client_reference) DO NOTHING";

/// Stores a transfer. False when the partner has used its reference before.
pub async fn insert(tx: &mut Tx, transfer: &Transfer) -> Result<bool, Fault> {
    Ok(insert_many(tx, std::slice::from_ref(transfer)).await? == 1)
}

/// Stores transfers in one statement and says how many were stored: one whose reference the partner has used is not.
pub async fn insert_many(tx: &mut Tx, transfers: &[Transfer]) -> Result<usize, Fault> {
    if transfers.is_empty() {
        return Ok(0);
    }
    let values = placeholders(1, transfers.len(), 17);
    let inserted = on!(tx, conn => {
        let mut query = sqlx::query(many(INSERT, &values, UNLESS_USED));
        for transfer in transfers {
            query = query
                .bind(&transfer.partner_id)
                .bind(&transfer.transfer_id)
                .bind(&transfer.mode)
                .bind(&transfer.source_entity_id)
                .bind(&transfer.destination_entity_id)
                .bind(&transfer.source_owner_id)
                .bind(&transfer.destination_owner_id)
                .bind(transfer.amount)
                .bind(&transfer.currency)
                .bind(&transfer.category)
                .bind(&transfer.client_reference)
                .bind(&transfer.initiator_client_id)
                .bind(&transfer.initiator_sub)
                .bind(&transfer.state)
                .bind(&transfer.ledger_txn_id)
                .bind(transfer.created_at.0)
                .bind(transfer.completed_at.map(|moment| moment.0));
        }
        query.execute(conn).await.map(|done| done.rows_affected())
    })
    .map_err(while_doing("insert transfers"))?;
    Ok(usize::try_from(inserted).unwrap_or(usize::MAX))
}

struct UsedRow {
    partner_id: String,
    client_reference: String,
}

row!(UsedRow { partner_id, client_reference });

const WANTED: &str = "WITH wanted (partner_id, client_reference) AS (VALUES";

const FIND_WANTED: &str = ")
    SELECT t.partner_id, t.client_reference
    FROM wanted
    JOIN transfer t ON t.partner_id = wanted.partner_id AND t.client_reference = wanted.client_reference";

/// Those of the (partner, client reference) pairs that a transfer has.
pub async fn find_references(tx: &mut Tx, wanted: &[(&str, &str)]) -> Result<Vec<(String, String)>, Fault> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let values = placeholders(1, wanted.len(), 2);
    let rows: Vec<UsedRow> = on!(tx, conn => {
        let mut query = sqlx::query_as(many(WANTED, &values, FIND_WANTED));
        for (partner_id, reference) in wanted {
            query = query.bind(*partner_id).bind(*reference);
        }
        query.fetch_all(conn).await
    })
    .map_err(while_doing("find used references of transfers"))?;
    Ok(rows.into_iter().map(|row| (row.partner_id, row.client_reference)).collect())
}

const FIND: &str = "SELECT * FROM transfer WHERE partner_id = $1 AND transfer_id = $2";

/// A transfer by its id.
pub async fn find(tx: &mut Tx, partner_id: &str, transfer_id: &str) -> Result<Option<Transfer>, Fault> {
    let row: Option<TransferRow> =
        on!(tx, conn => sqlx::query_as(FIND).bind(partner_id).bind(transfer_id).fetch_optional(conn).await)
            .map_err(while_doing("find transfer"))?;
    Ok(row.map(Transfer::from))
}

/// What narrows a list of transfers.
#[derive(Debug, Clone, Default)]
pub struct TransferFilter {
    /// Only those from or to this owner.
    pub owner_id: Option<String>,
    /// Only the one with this reference.
    pub client_reference: Option<String>,
}

/// What left an owner and what reached it, each by its own index.
const LIST_OF_OWNER: &str = "SELECT * FROM (
        SELECT * FROM transfer WHERE partner_id = $1 AND source_owner_id = $2 AND transfer_id < $3
        ORDER BY transfer_id DESC LIMIT $4) AS outgoing
    UNION
    SELECT * FROM (
        SELECT * FROM transfer WHERE partner_id = $1 AND destination_owner_id = $2 AND transfer_id < $3
        ORDER BY transfer_id DESC LIMIT $4) AS incoming
    ORDER BY transfer_id DESC LIMIT $4";

/// Transfers of a partner, newest first, at most `limit`, after the id `after` (empty: from the newest).
pub async fn list(
    tx: &mut Tx,
    partner_id: &str,
    filter: &TransferFilter,
    after: &str,
    limit: i64,
) -> Result<Vec<Transfer>, Fault> {
    let rows: Vec<TransferRow> = match (&filter.owner_id, &filter.client_reference) {
        (Some(owner_id), None) => {
            let after = if after.is_empty() { FIRST_PAGE } else { after };
            on!(tx, conn => sqlx::query_as(LIST_OF_OWNER)
                .bind(partner_id)
                .bind(owner_id)
                .bind(after)
                .bind(limit)
                .fetch_all(conn)
                .await)
        }
        (owner_id, reference) => {
            let (sql, texts) = Listing::new("SELECT * FROM transfer", "partner_id =", partner_id)
                .and("client_reference =", reference.as_deref())
                .newest_first("transfer_id", "transfer_id <", after);
            let found: Result<Vec<TransferRow>, _> = on!(tx, conn => {
                let mut query = sqlx::query_as(sql);
                for text in &texts {
                    query = query.bind(text);
                }
                query.bind(limit).fetch_all(conn).await
            });
            // At most one row has the reference; whose it is, is looked at here.
            let own = |row: &TransferRow| {
                owner_id
                    .as_ref()
                    .is_none_or(|id| row.source_owner_id == *id || row.destination_owner_id == *id)
            };
            found.map(|rows| rows.into_iter().filter(own).collect())
        }
    }
    .map_err(while_doing("list transfers"))?;
    Ok(rows.into_iter().map(Transfer::from).collect())
}
