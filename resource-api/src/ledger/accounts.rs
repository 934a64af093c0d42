//! Table `ledger_account`: opening, loading, locking.

use chassis::sqlx;
use chassis::{Engine, Fault, Tx, on, row, while_doing};
use keys::UnixSeconds;

use crate::domain::ledger::{Account, AccountId, Side};
use crate::store::rows::{many, placeholders, word};

struct AccountRow {
    partner_id: String,
    account_id: String,
    currency: String,
    normal_side: String,
    min_balance: Option<i64>,
    posted: i64,
    pending_in: i64,
    pending_out: i64,
    last_seq: i64,
}

row!(AccountRow {
    partner_id,
    account_id,
    currency,
    normal_side,
    min_balance,
    posted,
    pending_in,
    pending_out,
    last_seq,
});

impl TryFrom<AccountRow> for Account {
    type Error = Fault;

    fn try_from(row: AccountRow) -> Result<Self, Fault> {
        Ok(Self {
            normal_side: word(&row.normal_side, "ledger_account.normal_side")?,
            partner_id: row.partner_id,
            account_id: AccountId::stored(row.account_id),
            currency: row.currency,
            min_balance: row.min_balance,
            posted: row.posted,
            pending_in: row.pending_in,
            pending_out: row.pending_out,
            last_seq: row.last_seq,
        })
    }
}

/// An account to open.
#[derive(Debug, Clone)]
pub struct NewAccount {
    /// The tenant.
    pub partner_id: String,
    /// Its name.
    pub account_id: AccountId,
    /// ISO 4217.
    pub currency: String,
    /// The side it grows on.
    pub normal_side: Side,
    /// The floor of its available balance; `None`: no floor.
    pub min_balance: Option<i64>,
}

/// Opens the account of an entity: a liability of ours that never goes below zero.
pub async fn open_entity_account(
    tx: &mut Tx,
    partner_id: &str,
    entity_id: &str,
    currency: &str,
    now: UnixSeconds,
) -> Result<(), Fault> {
    let account = NewAccount {
        partner_id: partner_id.to_owned(),
        account_id: AccountId::entity(entity_id),
        currency: currency.to_owned(),
        normal_side: Side::Credit,
        min_balance: Some(0),
    };
    open(tx, &[account], now).await
}

const OPEN: &str =
    "INSERT INTO ledger_account (partner_id, account_id, currency, normal_side, min_balance, posted,
        pending_in, pending_out, last_seq, created_at_s) VALUES";

/// Opens accounts; those that exist stay as they are.
pub(super) async fn open(tx: &mut Tx, accounts: &[NewAccount], now: UnixSeconds) -> Result<(), Fault> {
    let values = placeholders(1, accounts.len(), 10);
    on!(tx, conn => {
        let mut query = sqlx::query(many(OPEN, &values, "ON CONFLICT DO NOTHING"));
        for account in accounts {
            query = query
                .bind(&account.partner_id)
                .bind(account.account_id.as_str())
                .bind(&account.currency)
                .bind(account.normal_side.as_str())
                .bind(account.min_balance)
                .bind(0_i64)
                .bind(0_i64)
                .bind(0_i64)
                .bind(0_i64)
                .bind(now.0);
        }
        query.execute(conn).await.map(drop)
    })
    .map_err(while_doing("open ledger accounts"))
}

const LOAD: &str = "WITH wanted (partner_id, account_id) AS (VALUES";

/// A join and not `IN`: SQLite would read the whole table for a list of pairs.
const LOAD_WANTED: &str = ")
    SELECT a.partner_id, a.account_id, a.currency, a.normal_side, a.min_balance, a.posted, a.pending_in,
        a.pending_out, a.last_seq
    FROM wanted
    JOIN ledger_account a ON a.partner_id = wanted.partner_id AND a.account_id = wanted.account_id";

/// As [`LOAD_WANTED`], and nobody else changes the rows until the transaction ends.
const LOCK_WANTED: &str = ")
    SELECT a.partner_id, a.account_id, a.currency, a.normal_side, a.min_balance, a.posted, a.pending_in,
        a.pending_out, a.last_seq
    FROM wanted
    JOIN ledger_account a ON a.partner_id = wanted.partner_id AND a.account_id = wanted.account_id
    ORDER BY a.partner_id, a.account_id FOR UPDATE OF a";

/// Accounts as they are, without a lock; those that do not exist are left out.
pub async fn find_accounts(tx: &mut Tx, wanted: &[(String, AccountId)]) -> Result<Vec<Account>, Fault> {
    load(tx, wanted, LOAD_WANTED).await
}

/// Accounts as they will stay until the transaction ends: on `PostgreSQL` locked in id order, on SQLite the writer
/// is alone anyway. System accounts that do not exist yet are opened.
pub(super) async fn lock(
    tx: &mut Tx,
    wanted: &[(String, AccountId)],
    now: UnixSeconds,
) -> Result<Vec<Account>, Fault> {
    let after = match tx.engine() {
        Engine::Sqlite => LOAD_WANTED,
        Engine::Postgres => LOCK_WANTED,
    };
    let found = load(tx, wanted, after).await?;
    let missing = missing_system_accounts(wanted, &found);
    if missing.is_empty() {
        return Ok(found);
    }
    open(tx, &missing, now).await?;
    // All of them again, so that locks are still taken in one order.
    load(tx, wanted, after).await
}

fn missing_system_accounts(wanted: &[(String, AccountId)], found: &[Account]) -> Vec<NewAccount> {
    let exists = |partner_id: &str, account_id: &AccountId| {
        found.iter().any(|account| account.partner_id == partner_id && account.account_id == *account_id)
    };
    wanted
        .iter()
        .filter(|(partner_id, account_id)| !exists(partner_id, account_id))
        .filter_map(|(partner_id, account_id)| {
            let (normal_side, currency) = account_id.system_properties()?;
            Some(NewAccount {
                partner_id: partner_id.clone(),
                account_id: account_id.clone(),
                currency: currency.to_owned(),
                normal_side,
                min_balance: None,
            })
        })
        .collect()
}

async fn load(tx: &mut Tx, wanted: &[(String, AccountId)], after: &str) -> Result<Vec<Account>, Fault> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let values = placeholders(1, wanted.len(), 2);
    let rows: Vec<AccountRow> = on!(tx, conn => {
        let mut query = sqlx::query_as(many(LOAD, &values, after));
        for (partner_id, account_id) in wanted {
            query = query.bind(partner_id).bind(account_id.as_str());
        }
        query.fetch_all(conn).await
    })
    .map_err(while_doing("load ledger accounts"))?;
    rows.into_iter().map(Account::try_from).collect()
}
