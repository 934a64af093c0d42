//! Where chains end. The head of a chain is locked before anything is appended to it.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::QueryBuilder;

use super::row::AuditRow;
use crate::db::{Tx, while_doing};
use crate::{Fault, on, row};

/// The end of a chain, and up to where it was removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) chain: String,
    pub(super) last_seq: i64,
    pub(super) last_hash: String,
    pub(super) pruned_seq: i64,
    pub(super) pruned_hash: String,
}

row!(Head { chain, last_seq, last_hash, pruned_seq, pruned_hash });

/// The heads of the chains that a unit appends to, by name.
pub(super) struct Heads(BTreeMap<String, Head>);

impl Heads {
    /// Locks the heads of these rows' chains, in the order of their names; a chain that is new begins at 0.
    pub(super) async fn lock(tx: &mut Tx, rows: &[AuditRow]) -> Result<Self, Fault> {
        let chains: BTreeSet<&str> = rows.iter().map(|row| row.chain.as_str()).collect();
        let locked: Vec<Head> = on!(tx, conn => {
            let mut statement = QueryBuilder::new(
                "INSERT INTO audit_chain (chain, last_seq, last_hash, pruned_seq, pruned_hash) ",
            );
            statement.push_values(&chains, |mut values, chain| {
                values.push_bind(*chain).push("0").push("''").push("0").push("''");
            });
            statement.push(
                " ON CONFLICT (chain) DO UPDATE SET last_seq = audit_chain.last_seq
                RETURNING chain, last_seq, last_hash, pruned_seq, pruned_hash",
            );
            statement.build_query_as().fetch_all(conn).await
        })
        .map_err(while_doing("lock the ends of audit chains"))?;
        Ok(Self(locked.into_iter().map(|head| (head.chain.clone(), head)).collect()))
    }

    /// Gives each row its number and its hash, in the order given.
    pub(super) fn append(&mut self, rows: &mut [AuditRow]) -> Result<(), Fault> {
        for row in rows {
            let head =
                self.0.get_mut(&row.chain).ok_or_else(|| Fault::new("seal audit rows: no such chain"))?;
            let seq = head.last_seq + 1;
            let hash = row.hash_after(&head.last_hash, seq);
            head.last_seq = seq;
            head.last_hash.clone_from(&hash);
            (row.seq, row.chain_hash) = (Some(seq), Some(hash));
        }
        Ok(())
    }

    /// Writes where the chains end now.
    pub(super) async fn store(&self, tx: &mut Tx) -> Result<(), Fault> {
        on!(tx, conn => {
            let mut statement = QueryBuilder::new(
                "INSERT INTO audit_chain (chain, last_seq, last_hash, pruned_seq, pruned_hash) ",
            );
            statement.push_values(self.0.values(), |mut values, head| {
                values
                    .push_bind(head.chain.as_str())
                    .push_bind(head.last_seq)
                    .push_bind(head.last_hash.as_str())
                    .push_bind(head.pruned_seq)
                    .push_bind(head.pruned_hash.as_str());
            });
            statement.push(
                " ON CONFLICT (chain) DO UPDATE SET last_seq = excluded.last_seq, last_hash = excluded.last_hash",
            );
            statement.build().execute(conn).await.map(drop)
        })
        .map_err(while_doing("move the ends of audit chains"))
    }
}

const LIST: &str =
    "SELECT chain, last_seq, last_hash, pruned_seq, pruned_hash FROM audit_chain ORDER BY chain";

/// Every chain.
pub(super) async fn list_heads(tx: &mut Tx) -> Result<Vec<Head>, Fault> {
    on!(tx, conn => sqlx::query_as(LIST).fetch_all(conn).await).map_err(while_doing("list audit chains"))
}

const PRUNED: &str = "UPDATE audit_chain SET pruned_seq = $2, pruned_hash = $3 WHERE chain = $1";

/// Notes that the rows up to `seq` are gone.
pub(super) async fn move_pruned(tx: &mut Tx, chain: &str, seq: i64, hash: &str) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query(PRUNED).bind(chain).bind(seq).bind(hash).execute(conn).await.map(drop))
        .map_err(while_doing("note removed audit rows"))
}
