//! Proves the chains: order, completeness, content. The command `countersign audit verify`.

use std::fmt;

use sqlx::QueryBuilder;

use super::chain::{Head, list_heads};
use super::row::{AuditRow, COLUMNS};
use crate::db::{Tx, while_doing};
use crate::{Db, Fault, on};

/// Rows read at once.
const PAGE: i64 = 500;

/// Findings named of one chain; the rest of a broken chain would say the same.
const FINDINGS_MAX: usize = 100;

/// What was proved of one chain. Keep `last_seq` and `last_hash` elsewhere: with them, a chain that was cut short or
/// written anew together with its end is found out too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainReport {
    /// Its name: `node`, or `node#requests`.
    pub chain: String,
    /// Rows read.
    pub rows: u64,
    /// The first number that is kept; those before have expired.
    pub first_seq: i64,
    /// The last number.
    pub last_seq: i64,
    /// The last hash.
    pub last_hash: String,
}

/// What was looked at, and what is wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditReport {
    /// Each chain.
    pub chains: Vec<ChainReport>,
    /// Rows that are not sealed yet: at most a second's while a service runs, none after it ended in order, except
    /// counts of the last minute.
    pub unsealed: i64,
    /// One sentence each, empty when the audit is sound.
    pub problems: Vec<String>,
}

impl AuditReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

impl fmt::Display for AuditReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ChainReport { chain, rows, first_seq, last_seq, last_hash } in &self.chains {
            writeln!(out, "chain {chain}: {rows} rows, {first_seq} to {last_seq}, last hash {last_hash}")?;
        }
        writeln!(out, "{} rows wait to be sealed", self.unsealed)?;
        for problem in &self.problems {
            writeln!(out, "PROBLEM {problem}")?;
        }
        out.write_str(if self.is_sound() { "the audit is sound" } else { "the audit is NOT sound" })
    }
}

/// Reads every chain from its first row that is kept to its last, and checks number, content and hash of each; then
/// that no sealed row stands outside of the chains, and that every numbered event has its row. Works beside running
/// services.
///
/// # Errors
/// The store's fault.
pub async fn verify(db: &Db) -> Result<AuditReport, Fault> {
    let heads = db.read(|tx| Box::pin(list_heads(tx))).await?;
    let mut report = AuditReport::default();
    for head in heads {
        let mut walk = Walk::from(head);
        walk.run(db).await?;
        report.problems.append(&mut walk.problems);
        report.chains.push(walk.report());
    }
    report.problems.extend(db.read(|tx| Box::pin(strangers(tx))).await?);
    report.problems.extend(db.read(|tx| Box::pin(events_without_rows(tx))).await?);
    report.unsealed = db.read(|tx| Box::pin(count_unsealed(tx))).await?;
    Ok(report)
}

/// A walk along one chain.
struct Walk {
    head: Head,
    /// Number and hash of the row before the next one.
    at: (i64, String),
    rows: u64,
    problems: Vec<String>,
}

impl From<Head> for Walk {
    fn from(head: Head) -> Self {
        let at = (head.pruned_seq, head.pruned_hash.clone());
        Self { head, at, rows: 0, problems: Vec::new() }
    }
}

impl Walk {
    async fn run(&mut self, db: &Db) -> Result<(), Fault> {
        loop {
            let (chain, after) = (self.head.chain.clone(), self.at.0);
            let page: Vec<AuditRow> = db
                .read(move |tx| {
                    let chain = chain.clone();
                    Box::pin(async move { page(tx, &chain, after).await })
                })
                .await?;
            if page.first().is_some_and(|first| first.seq != Some(after + 1)) && self.restart(db).await? {
                continue;
            }
            for row in &page {
                self.step(row);
            }
            if i64::try_from(page.len()) != Ok(PAGE) {
                break;
            }
        }
        if self.at.0 < self.head.last_seq {
            self.say(format!("rows {} to {} are missing at the end", self.at.0 + 1, self.head.last_seq));
        }
        // Rows and the end they move are one commit, so an end that is read now is no older than the rows.
        let (chain, last) = (self.head.chain.clone(), self.at.0);
        let heads = db.read(|tx| Box::pin(list_heads(tx))).await?;
        if !heads.iter().any(|head| head.chain == chain && head.last_seq >= last) {
            self.say(format!("goes on after its end, up to row {last}"));
        }
        Ok(())
    }

    /// Begins anew where rows were removed, as expired, while we read. False: none were.
    async fn restart(&mut self, db: &Db) -> Result<bool, Fault> {
        let chain = self.head.chain.clone();
        let heads = db.read(|tx| Box::pin(list_heads(tx))).await?;
        let moved = heads.into_iter().find(|head| head.chain == chain && head.pruned_seq > self.at.0);
        let Some(head) = moved else { return Ok(false) };
        self.at = (head.pruned_seq, head.pruned_hash.clone());
        self.head = head;
        Ok(true)
    }

    fn step(&mut self, row: &AuditRow) {
        let (before, hash) = (self.at.0, row.chain_hash.clone().unwrap_or_default());
        let seq = row.seq.unwrap_or_default();
        self.rows += 1;
        if seq != before + 1 {
            self.say(format!("rows {} to {} are missing", before + 1, seq - 1));
        } else if row.hash_after(&self.at.1, seq) != hash {
            self.say(format!("row {seq} ({}) is not what was sealed", row.audit_id));
        }
        if seq == self.head.last_seq && hash != self.head.last_hash {
            self.say(format!("row {seq} ({}) is not the one the chain ended with", row.audit_id));
        }
        self.at = (seq, hash);
    }

    fn say(&mut self, problem: impl std::fmt::Display) {
        if self.problems.len() < FINDINGS_MAX {
            self.problems.push(format!("chain {}: {problem}", self.head.chain));
        }
    }

    fn report(self) -> ChainReport {
        let Self { head, at: (last_seq, last_hash), rows, .. } = self;
        ChainReport { chain: head.chain, rows, first_seq: head.pruned_seq + 1, last_seq, last_hash }
    }
}

async fn page(tx: &mut Tx, chain: &str, after: i64) -> Result<Vec<AuditRow>, Fault> {
    on!(tx, conn => {
        let mut statement = QueryBuilder::new("SELECT ");
        statement.push(COLUMNS).push(" FROM audit_event WHERE chain = ").push_bind(chain);
        statement.push(" AND seq > ").push_bind(after).push(" ORDER BY seq LIMIT ").push_bind(PAGE);
        statement.build_query_as().fetch_all(conn).await
    })
    .map_err(while_doing("read an audit chain"))
}

const STRANGERS: &str = "SELECT chain, COUNT(*) AS found FROM audit_event
    WHERE seq IS NOT NULL AND NOT EXISTS (SELECT 1 FROM audit_chain WHERE audit_chain.chain = audit_event.chain)
    GROUP BY chain ORDER BY chain";

/// Sealed rows of chains that have no end.
async fn strangers(tx: &mut Tx) -> Result<Vec<String>, Fault> {
    let found: Vec<(String, i64)> = on!(tx, conn => sqlx::query_as(STRANGERS).fetch_all(conn).await)
        .map_err(while_doing("look for audit rows outside of the chains"))?;
    Ok(found.into_iter().map(|(chain, rows)| format!("chain {chain}: {rows} rows and no end")).collect())
}

const WITHOUT_ROW: &str = "SELECT event_id FROM event
    WHERE seq IS NOT NULL AND audit_node IS NOT NULL AND NOT EXISTS
        (SELECT 1 FROM audit_event WHERE audit_event.audit_id = 'aud_' || substr(event.event_id, 5))
    ORDER BY event_id LIMIT 100";

/// Numbered events whose change has no audit row.
async fn events_without_rows(tx: &mut Tx) -> Result<Vec<String>, Fault> {
    let found: Vec<(String,)> = on!(tx, conn => sqlx::query_as(WITHOUT_ROW).fetch_all(conn).await)
        .map_err(while_doing("look for events without audit rows"))?;
    Ok(found.into_iter().map(|(event_id,)| format!("event {event_id} has no audit row")).collect())
}

const COUNT_UNSEALED: &str = "SELECT COUNT(*) FROM audit_event WHERE seq IS NULL";

async fn count_unsealed(tx: &mut Tx) -> Result<i64, Fault> {
    let (count,): (i64,) = on!(tx, conn => sqlx::query_as(COUNT_UNSEALED).fetch_one(conn).await)
        .map_err(while_doing("count unsealed audit rows"))?;
    Ok(count)
}
