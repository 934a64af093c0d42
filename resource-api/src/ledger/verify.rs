//! Proves that the ledger is sound, and that refunds agree with it, from the rows alone: the command
//! `countersign ledger verify`.

use std::fmt;

use chassis::sqlx;
use chassis::{Db, Fault, Tx, on, row, while_doing};

/// How many findings of one kind are named; the rest of a broken ledger would say the same.
const FINDINGS_MAX: i64 = 100;

/// What was looked at, and what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// Accounts read.
    pub accounts: i64,
    /// Transactions read.
    pub transactions: i64,
    /// Entries read.
    pub entries: i64,
    /// One sentence each, empty when the ledger is sound.
    pub problems: Vec<String>,
}

impl Report {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} accounts, {} transactions, {} entries",
            self.accounts, self.transactions, self.entries
        )?;
        for problem in &self.problems {
            writeln!(f, "PROBLEM {problem}")?;
        }
        f.write_str(if self.is_sound() { "the ledger is sound" } else { "the ledger is NOT sound" })
    }
}

/// One kind of finding: the sentence, and a query for (where, what).
struct Check {
    says: &'static str,
    sql: &'static str,
}

const CHECKS: &[Check] = &[
    Check {
        says: "a transaction's debits and credits differ, or it has fewer than two entries",
        sql: "SELECT e.partner_id || ' ' || e.txn_id AS place, a.currency AS detail
            FROM ledger_entry e
            JOIN ledger_account a ON a.partner_id = e.partner_id AND a.account_id = e.account_id
            GROUP BY e.partner_id, e.txn_id, a.currency
            HAVING SUM(CASE WHEN e.side = 'debit' THEN e.amount ELSE -e.amount END) <> 0 OR COUNT(*) < 2
            LIMIT $1",
    },
    Check {
        says: "a transaction has no entries",
        sql: "SELECT t.partner_id || ' ' || t.txn_id AS place, t.reference AS detail
            FROM ledger_txn t
            WHERE NOT EXISTS (SELECT 1 FROM ledger_entry e
                WHERE e.partner_id = t.partner_id AND e.txn_id = t.txn_id)
            LIMIT $1",
    },
    Check {
        says: "an entry has no transaction or no account",
        sql: "SELECT e.partner_id || ' ' || e.account_id AS place, e.txn_id AS detail
            FROM ledger_entry e
            LEFT JOIN ledger_txn t ON t.partner_id = e.partner_id AND t.txn_id = e.txn_id
            LEFT JOIN ledger_account a ON a.partner_id = e.partner_id AND a.account_id = e.account_id
            WHERE t.txn_id IS NULL OR a.account_id IS NULL
            LIMIT $1",
    },
    Check {
        says: "an account's entries have a gap, a wrong balance_after, or go below its floor",
        sql: "SELECT w.partner_id || ' ' || w.account_id AS place, 'seq ' || w.seq AS detail
            FROM (SELECT e.partner_id, e.account_id, e.seq, e.balance_after, a.min_balance,
                    CASE WHEN e.side = a.normal_side THEN e.amount ELSE -e.amount END AS change,
                    COALESCE(LAG(e.balance_after) OVER (PARTITION BY e.partner_id, e.account_id ORDER BY e.seq), 0)
                        AS before,
                    ROW_NUMBER() OVER (PARTITION BY e.partner_id, e.account_id ORDER BY e.seq) AS number
                FROM ledger_entry e
                JOIN ledger_account a ON a.partner_id = e.partner_id AND a.account_id = e.account_id) w
            WHERE w.seq <> w.number OR w.balance_after <> w.before + w.change OR w.balance_after < w.min_balance
            LIMIT $1",
    },
    Check {
        says: "an account's total differs from its entries",
        sql: "SELECT a.partner_id || ' ' || a.account_id AS place, 'posted ' || a.posted AS detail
            FROM ledger_account a
            LEFT JOIN (SELECT e.partner_id, e.account_id, COUNT(*) AS entries, MAX(e.seq) AS newest,
                    SUM(CASE WHEN e.side = 'debit' THEN e.amount ELSE -e.amount END) AS debits
                FROM ledger_entry e GROUP BY e.partner_id, e.account_id) s
                ON s.partner_id = a.partner_id AND s.account_id = a.account_id
            WHERE a.last_seq <> COALESCE(s.newest, 0) OR a.last_seq <> COALESCE(s.entries, 0)
                OR a.posted <> COALESCE(CASE WHEN a.normal_side = 'debit' THEN s.debits ELSE -s.debits END, 0)
            LIMIT $1",
    },
    Check {
        says: "an account's held money differs from its holds, or its available balance is below its floor",
        sql: "SELECT a.partner_id || ' ' || a.account_id AS place, 'pending_out ' || a.pending_out AS detail
            FROM ledger_account a
            WHERE a.posted - a.pending_out < a.min_balance
               OR a.pending_out <> COALESCE((SELECT SUM(h.amount) FROM ledger_hold h
                    WHERE h.partner_id = a.partner_id AND h.account_id = a.account_id AND h.state = 'held'), 0)
               OR a.pending_in <> COALESCE((SELECT SUM(h.amount) FROM ledger_hold h
                    WHERE h.partner_id = a.partner_id AND h.counter_account_id = a.account_id AND h.state = 'held'), 0)
            LIMIT $1",
    },
    Check {
        says: "what an order counts as refunded or held for refunds differs from its refunds, or exceeds it",
        sql: "SELECT w.partner_id || ' ' || w.fiat_in_id AS place,
                'refunded ' || w.refunded || ', held ' || w.refund_held AS detail
            FROM (SELECT f.partner_id, f.fiat_in_id, f.amount, f.refunded, f.refund_held,
                    COALESCE(SUM(CASE WHEN r.state = 'succeeded' THEN r.amount ELSE 0 END), 0) AS done,
                    COALESCE(SUM(CASE WHEN r.state IN ('succeeded', 'failed') THEN 0 ELSE r.amount END), 0) AS open
                FROM fiat_in f
                LEFT JOIN refund r ON r.partner_id = f.partner_id AND r.fiat_in_id = f.fiat_in_id
                GROUP BY f.partner_id, f.fiat_in_id, f.amount, f.refunded, f.refund_held) w
            WHERE w.refunded <> w.done OR w.refund_held <> w.open OR w.refunded + w.refund_held > w.amount
            LIMIT $1",
    },
    Check {
        says: "a refund has no order, or its money is not held, booked or given back as its state says",
        sql: "SELECT r.partner_id || ' ' || r.refund_id AS place, r.state AS detail
            FROM refund r
            LEFT JOIN fiat_in f ON f.partner_id = r.partner_id AND f.fiat_in_id = r.fiat_in_id
            LEFT JOIN ledger_hold h ON h.partner_id = r.partner_id AND h.hold_id = r.hold_id
            LEFT JOIN ledger_txn t ON t.partner_id = r.partner_id AND t.reference = 'refund:' || r.refund_id
            WHERE f.fiat_in_id IS NULL OR h.hold_id IS NULL OR h.amount <> r.amount OR h.account_id <> r.account_id
                OR h.state <> CASE r.state WHEN 'succeeded' THEN 'posted' WHEN 'failed' THEN 'voided' ELSE 'held' END
                OR (t.txn_id IS NULL) <> (r.state <> 'succeeded')
            LIMIT $1",
    },
    Check {
        says: "the balances of a partner's currency do not sum to zero",
        sql: "SELECT partner_id AS place, currency AS detail
            FROM ledger_account
            GROUP BY partner_id, currency
            HAVING SUM(CASE WHEN normal_side = 'debit' THEN posted ELSE -posted END) <> 0
            LIMIT $1",
    },
];

const COUNT: &str = "SELECT (SELECT COUNT(*) FROM ledger_account) AS accounts,
    (SELECT COUNT(*) FROM ledger_txn) AS transactions, (SELECT COUNT(*) FROM ledger_entry) AS entries";

struct Counts {
    accounts: i64,
    transactions: i64,
    entries: i64,
}

row!(Counts { accounts, transactions, entries });

struct Finding {
    place: String,
    detail: String,
}

row!(Finding { place, detail });

/// Reads the whole ledger in one consistent view and reports what is wrong with it.
///
/// # Errors
/// A fault when the database cannot be read; a broken ledger is a [`Report`].
pub async fn verify(db: &Db) -> Result<Report, Fault> {
    db.read(|tx| Box::pin(verify_in(tx))).await
}

/// As [`verify`], on an open transaction: what it wrote so far counts.
///
/// # Errors
/// As [`verify`].
pub async fn verify_in(tx: &mut Tx) -> Result<Report, Fault> {
    let counts: Counts = on!(tx, conn => sqlx::query_as(COUNT).fetch_one(conn).await)
        .map_err(while_doing("count the ledger"))?;
    let mut problems = Vec::new();
    for check in CHECKS {
        let found: Vec<Finding> =
            on!(tx, conn => sqlx::query_as(check.sql).bind(FINDINGS_MAX).fetch_all(conn).await)
                .map_err(while_doing("verify the ledger"))?;
        problems
            .extend(found.iter().map(|found| format!("{}: {} ({})", check.says, found.place, found.detail)));
    }
    let Counts { accounts, transactions, entries } = counts;
    Ok(Report { accounts, transactions, entries, problems })
}
