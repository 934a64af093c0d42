//! Writes what a [`Book`](crate::domain::ledger::Book) decided: one multi-row statement per table.

use chassis::sqlx;
use chassis::{Fault, Tx, on, row, while_doing};
use keys::UnixSeconds;

use crate::domain::ledger::{Account, AccountId, EndedHold, Entry, Hold, NewHold, NewPosting};
use crate::store::rows::{many, placeholders};

struct TxnIdRow {
    txn_id: String,
}

row!(TxnIdRow { txn_id });

const INSERT_TXNS: &str =
    "INSERT INTO ledger_txn (partner_id, txn_id, reference, kind, reverses, created_at_s) VALUES";

/// Inserts transactions and answers the ids of those that were inserted: the others were booked (or reversed) before.
pub(super) async fn insert_txns(
    tx: &mut Tx,
    postings: &[NewPosting],
    now: UnixSeconds,
) -> Result<Vec<String>, Fault> {
    let values = placeholders(1, postings.len(), 6);
    let rows: Vec<TxnIdRow> = on!(tx, conn => {
        let mut query = sqlx::query_as(many(INSERT_TXNS, &values, "ON CONFLICT DO NOTHING RETURNING txn_id"));
        for posting in postings {
            query = query
                .bind(&posting.partner_id)
                .bind(&posting.txn_id)
                .bind(&posting.reference)
                .bind(posting.kind)
                .bind(&posting.reverses)
                .bind(now.0);
        }
        query.fetch_all(conn).await
    })
    .map_err(while_doing("insert ledger transactions"))?;
    Ok(rows.into_iter().map(|row| row.txn_id).collect())
}

const DELETE_TXN: &str = "DELETE FROM ledger_txn WHERE partner_id = $1 AND txn_id = $2";

/// Takes back transaction rows of this very transaction that got no entries, because a neighbour was booked before.
pub(super) async fn delete_empty_txns(tx: &mut Tx, txns: &[(&str, &str)]) -> Result<(), Fault> {
    for (partner_id, txn_id) in txns {
        on!(&mut *tx, conn => sqlx::query(DELETE_TXN).bind(*partner_id).bind(*txn_id).execute(conn).await.map(drop))
            .map_err(while_doing("take back empty ledger transactions"))?;
    }
    Ok(())
}

struct ReferenceRow {
    partner_id: String,
    reference: String,
}

row!(ReferenceRow { partner_id, reference });

const FIND_REFERENCES: &str = "WITH wanted (partner_id, reference) AS (VALUES";

const FIND_REFERENCES_WANTED: &str = ")
    SELECT t.partner_id, t.reference
    FROM wanted
    JOIN ledger_txn t ON t.partner_id = wanted.partner_id AND t.reference = wanted.reference";

/// Those of the (partner, reference) pairs that are booked.
pub(super) async fn find_references(
    tx: &mut Tx,
    wanted: &[(&str, &str)],
) -> Result<Vec<(String, String)>, Fault> {
    let values = placeholders(1, wanted.len(), 2);
    let rows: Vec<ReferenceRow> = on!(tx, conn => {
        let mut query = sqlx::query_as(many(FIND_REFERENCES, &values, FIND_REFERENCES_WANTED));
        for (partner_id, reference) in wanted {
            query = query.bind(*partner_id).bind(*reference);
        }
        query.fetch_all(conn).await
    })
    .map_err(while_doing("find booked references"))?;
    Ok(rows.into_iter().map(|row| (row.partner_id, row.reference)).collect())
}

const FIND_REVERSAL: &str = "SELECT txn_id FROM ledger_txn WHERE partner_id = $1 AND reverses = $2";

/// Whether a transaction has been reversed. Of two racing reversals the unique key decides.
pub(super) async fn is_reversed(tx: &mut Tx, partner_id: &str, txn_id: &str) -> Result<bool, Fault> {
    let found: Option<TxnIdRow> =
        on!(tx, conn => sqlx::query_as(FIND_REVERSAL).bind(partner_id).bind(txn_id).fetch_optional(conn).await)
            .map_err(while_doing("find a reversal"))?;
    Ok(found.is_some())
}

const INSERT_ENTRIES: &str = "INSERT INTO ledger_entry (partner_id, account_id, seq, txn_id, side, amount,
        balance_after, created_at_s) VALUES";

pub(super) async fn insert_entries(tx: &mut Tx, entries: &[Entry], now: UnixSeconds) -> Result<(), Fault> {
    let values = placeholders(1, entries.len(), 8);
    on!(tx, conn => {
        let mut query = sqlx::query(many(INSERT_ENTRIES, &values, ""));
        for entry in entries {
            query = query
                .bind(&entry.partner_id)
                .bind(entry.account_id.as_str())
                .bind(entry.seq)
                .bind(&entry.txn_id)
                .bind(entry.side.as_str())
                .bind(entry.amount)
                .bind(entry.balance_after)
                .bind(now.0);
        }
        query.execute(conn).await.map(drop)
    })
    .map_err(while_doing("insert ledger entries"))
}

const UPDATE_ACCOUNTS: &str =
    "WITH changed (partner_id, account_id, old_posted, old_pending_out, old_seq, posted,
        pending_in, pending_out, last_seq) AS (VALUES";

const UPDATE_ACCOUNTS_SET: &str = ")
    UPDATE ledger_account
    SET posted = changed.posted, pending_in = changed.pending_in, pending_out = changed.pending_out,
        last_seq = changed.last_seq
    FROM changed
    WHERE ledger_account.partner_id = changed.partner_id AND ledger_account.account_id = changed.account_id
      AND ledger_account.posted = changed.old_posted AND ledger_account.pending_out = changed.old_pending_out
      AND ledger_account.last_seq = changed.old_seq";

/// Stores new balances where the old ones still stand.
///
/// # Errors
/// A fault (so everything is rolled back) when an account changed since it was loaded: it was not locked.
pub(super) async fn update_accounts(tx: &mut Tx, accounts: &[(Account, Account)]) -> Result<(), Fault> {
    let values = placeholders(1, accounts.len(), 9);
    let updated = on!(tx, conn => {
        let mut query = sqlx::query(many(UPDATE_ACCOUNTS, &values, UPDATE_ACCOUNTS_SET));
        for (before, after) in accounts {
            query = query
                .bind(&after.partner_id)
                .bind(after.account_id.as_str())
                .bind(before.posted)
                .bind(before.pending_out)
                .bind(before.last_seq)
                .bind(after.posted)
                .bind(after.pending_in)
                .bind(after.pending_out)
                .bind(after.last_seq);
        }
        query.execute(conn).await.map(|done| done.rows_affected())
    })
    .map_err(while_doing("update ledger accounts"))?;
    if usize::try_from(updated) == Ok(accounts.len()) {
        return Ok(());
    }
    Err(Fault::new("a ledger account changed although it was locked"))
}

struct HoldRow {
    partner_id: String,
    hold_id: String,
    account_id: String,
    counter_account_id: Option<String>,
    amount: i64,
    state: String,
}

row!(HoldRow { partner_id, hold_id, account_id, counter_account_id, amount, state });

const FIND_HOLDS: &str = "WITH wanted (partner_id, hold_id) AS (VALUES";

const FIND_HOLDS_WANTED: &str = ")
    SELECT h.partner_id, h.hold_id, h.account_id, h.counter_account_id, h.amount, h.state
    FROM wanted
    JOIN ledger_hold h ON h.partner_id = wanted.partner_id AND h.hold_id = wanted.hold_id";

pub(super) async fn find_holds(tx: &mut Tx, wanted: &[(String, String)]) -> Result<Vec<Hold>, Fault> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let values = placeholders(1, wanted.len(), 2);
    let rows: Vec<HoldRow> = on!(tx, conn => {
        let mut query = sqlx::query_as(many(FIND_HOLDS, &values, FIND_HOLDS_WANTED));
        for (partner_id, hold_id) in wanted {
            query = query.bind(partner_id).bind(hold_id);
        }
        query.fetch_all(conn).await
    })
    .map_err(while_doing("find holds"))?;
    let hold = |row: HoldRow| Hold {
        partner_id: row.partner_id,
        hold_id: row.hold_id,
        account_id: AccountId::stored(row.account_id),
        counter_account_id: row.counter_account_id.map(AccountId::stored),
        amount: row.amount,
        held: row.state == "held",
    };
    Ok(rows.into_iter().map(hold).collect())
}

struct HoldIdRow {
    hold_id: String,
}

row!(HoldIdRow { hold_id });

const INSERT_HOLDS: &str =
    "INSERT INTO ledger_hold (partner_id, hold_id, reference, account_id, counter_account_id,
        amount, state, created_at_s) VALUES";

/// Inserts holds and answers the ids of those that were inserted.
pub(super) async fn insert_holds(
    tx: &mut Tx,
    holds: &[NewHold],
    now: UnixSeconds,
) -> Result<Vec<String>, Fault> {
    let values = placeholders(1, holds.len(), 8);
    let rows: Vec<HoldIdRow> = on!(tx, conn => {
        let mut query = sqlx::query_as(many(INSERT_HOLDS, &values, "ON CONFLICT DO NOTHING RETURNING hold_id"));
        for hold in holds {
            query = query
                .bind(&hold.partner_id)
                .bind(&hold.hold_id)
                .bind(&hold.reference)
                .bind(hold.account_id.as_str())
                .bind(hold.counter_account_id.as_ref().map(AccountId::as_str))
                .bind(hold.amount)
                .bind("held")
                .bind(now.0);
        }
        query.fetch_all(conn).await
    })
    .map_err(while_doing("insert holds"))?;
    Ok(rows.into_iter().map(|row| row.hold_id).collect())
}

const END_HOLDS: &str = "WITH ended (partner_id, hold_id, state, ended_at_s) AS (VALUES";

const END_HOLDS_SET: &str = ")
    UPDATE ledger_hold SET state = ended.state, ended_at_s = ended.ended_at_s
    FROM ended
    WHERE ledger_hold.partner_id = ended.partner_id AND ledger_hold.hold_id = ended.hold_id
      AND ledger_hold.state = 'held'";

/// Ends holds that still hold.
///
/// # Errors
/// A fault when one does not: its account was not locked.
pub(super) async fn end_holds(tx: &mut Tx, holds: &[EndedHold], now: UnixSeconds) -> Result<(), Fault> {
    let values = placeholders(1, holds.len(), 4);
    let ended = on!(tx, conn => {
        let mut query = sqlx::query(many(END_HOLDS, &values, END_HOLDS_SET));
        for hold in holds {
            query = query.bind(&hold.partner_id).bind(&hold.hold_id).bind(hold.state).bind(now.0);
        }
        query.execute(conn).await.map(|done| done.rows_affected())
    })
    .map_err(while_doing("end holds"))?;
    if usize::try_from(ended) == Ok(holds.len()) { Ok(()) } else { Err(Fault::new("a hold ended twice")) }
}
