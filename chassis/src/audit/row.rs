//! One audit row: what it says, how it is hashed, and how it is written and found.

use keys::UnixSeconds;
use keys::digest::sha256_b64;
use serde_json::{Value, json};
use sqlx::QueryBuilder;

use super::{Actor, node};
use crate::db::{Tx, while_doing};
use crate::{Fault, Platform, on, row};

/// Rows in one INSERT; keeps the number of bound values far below what either database takes.
const ROWS_PER_INSERT: usize = 256;

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect.
    Done,
    /// A rule said no.
    Refused,
    /// We could not.
    Failed,
}

impl Outcome {
    /// As it is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

/// A row to be written. Drawn before the unit that writes it, which may run twice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAudit {
    /// `aud_…`
    pub audit_id: String,
    /// The node that writes it.
    pub node: String,
    /// Whose row it is; empty: nobody's.
    pub partner_id: String,
    /// Who acts.
    pub actor: Actor,
    /// What is done, as `family.fact`.
    pub action: &'static str,
    /// What it is done to.
    pub object_id: String,
    /// When.
    pub occurred_at: UnixSeconds,
    /// A JSON object of codes, ids, states and amounts: never personal data, never a secret.
    pub details: Value,
}

impl NewAudit {
    /// A state change by `actor`, now, on this node.
    pub fn change(
        platform: &Platform,
        actor: Actor,
        partner_id: impl Into<String>,
        action: &'static str,
        object_id: impl Into<String>,
    ) -> Self {
        Self {
            audit_id: platform.new_id("aud"),
            node: node().to_owned(),
            partner_id: partner_id.into(),
            actor,
            action,
            object_id: object_id.into(),
            occurred_at: platform.now(),
            details: json!({}),
        }
    }

    /// The same with details.
    #[must_use]
    pub fn with(self, details: Value) -> Self {
        Self { details, ..self }
    }
}

/// A row as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// `aud_…`
    pub audit_id: String,
    /// `node`, or `node#requests` for issued tokens and refusals.
    pub chain: String,
    /// Its place in the chain: 1, 2, 3 …; `None` until it is sealed.
    pub seq: Option<i64>,
    /// What the next row of the chain rests on; `None` until it is sealed.
    pub chain_hash: Option<String>,
    /// Whose row it is; empty: nobody's.
    pub partner_id: String,
    /// Who acted; empty: the node itself, or nobody known.
    pub client_id: String,
    /// On whose behalf; empty: the client's own.
    pub sub: String,
    /// What was done, as `family.fact`.
    pub action: String,
    /// What it was done to.
    pub object_id: String,
    /// `done`, `refused` or `failed`.
    pub outcome: String,
    /// The request's id, as its caller was told it; empty outside of requests.
    pub error_id: String,
    /// Unix seconds.
    pub occurred_at_s: i64,
    /// JSON text.
    pub details: String,
    /// Unix seconds; a count that still grows until then.
    pub open_until_s: Option<i64>,
    /// Unix seconds; `None`: kept.
    pub expires_at_s: Option<i64>,
}

row!(AuditRow {
    audit_id,
    chain,
    seq,
    chain_hash,
    partner_id,
    client_id,
    sub,
    action,
    object_id,
    outcome,
    error_id,
    occurred_at_s,
    details,
    open_until_s,
    expires_at_s,
});

/// The columns of [`AuditRow`].
pub(super) const COLUMNS: &str = "audit_id, chain, seq, chain_hash, partner_id, client_id, sub, action, object_id, \
                                  outcome, error_id, occurred_at_s, details, open_until_s, expires_at_s";

impl AuditRow {
    /// The node that wrote it.
    pub fn node(&self) -> &str {
        self.chain.split('#').next().unwrap_or_default()
    }

    /// The hash of this row as number `seq` of its chain, resting on the row before it. Each part is preceded by its
    /// length, so no two rows have the same text.
    pub(super) fn hash_after(&self, previous: &str, seq: i64) -> String {
        let number = |value: i64| value.to_string();
        let (seq, occurred_at) = (number(seq), number(self.occurred_at_s));
        let expires_at = self.expires_at_s.map(number).unwrap_or_default();
        let parts = [
            previous,
            &self.chain,
            &seq,
            &self.audit_id,
            &self.partner_id,
            &self.client_id,
            &self.sub,
            &self.action,
            &self.object_id,
            &self.outcome,
            &self.error_id,
            &occurred_at,
            &self.details,
            &expires_at,
        ];
        let mut text = Vec::with_capacity(512);
        for part in parts {
            text.extend_from_slice(&(part.len() as u64).to_be_bytes());
            text.extend_from_slice(part.as_bytes());
        }
        sha256_b64(text)
    }
}

impl From<&NewAudit> for AuditRow {
    fn from(new: &NewAudit) -> Self {
        Self {
            audit_id: new.audit_id.clone(),
            chain: new.node.clone(),
            seq: None,
            chain_hash: None,
            partner_id: new.partner_id.clone(),
            client_id: new.actor.client_id.clone(),
            sub: new.actor.sub.clone(),
            action: new.action.to_owned(),
            object_id: new.object_id.clone(),
            outcome: Outcome::Done.as_str().to_owned(),
            error_id: new.actor.error_id.clone(),
            occurred_at_s: new.occurred_at.0,
            details: new.details.to_string(),
            open_until_s: None,
            expires_at_s: None,
        }
    }
}

/// Writes the rows of state changes in the transaction of the changes. One statement for up to 256; they are sealed
/// within about a second. A change that writes an event needs none: the event carries its row.
pub async fn insert_audit(tx: &mut Tx, rows: &[NewAudit]) -> Result<(), Fault> {
    let rows: Vec<AuditRow> = rows.iter().map(AuditRow::from).collect();
    insert_rows(tx, &rows).await
}

/// Writes rows. One that is there and not sealed takes the new details: a count that grew.
pub(super) async fn insert_rows(tx: &mut Tx, rows: &[AuditRow]) -> Result<(), Fault> {
    for chunk in rows.chunks(ROWS_PER_INSERT) {
        on!(tx, conn => {
            let mut statement = QueryBuilder::new("INSERT INTO audit_event (");
            statement.push(COLUMNS).push(") ");
            statement.push_values(chunk, |mut values, row| {
                values
                    .push_bind(row.audit_id.as_str())
                    .push_bind(row.chain.as_str())
                    .push_bind(row.seq)
                    .push_bind(row.chain_hash.as_deref())
                    .push_bind(row.partner_id.as_str())
                    .push_bind(row.client_id.as_str())
                    .push_bind(row.sub.as_str())
                    .push_bind(row.action.as_str())
                    .push_bind(row.object_id.as_str())
                    .push_bind(row.outcome.as_str())
                    .push_bind(row.error_id.as_str())
                    .push_bind(row.occurred_at_s)
                    .push_bind(row.details.as_str())
                    .push_bind(row.open_until_s)
                    .push_bind(row.expires_at_s);
            });
            statement.push(
                " ON CONFLICT (audit_id) DO UPDATE SET details = excluded.details WHERE audit_event.seq IS NULL",
            );
            statement.build().execute(conn).await.map(drop)
        })
        .map_err(while_doing("insert audit rows"))?;
    }
    Ok(())
}

/// Everything that is known of the request with this id (`err_…`), oldest first.
pub async fn find_audit_of_request(tx: &mut Tx, error_id: &str) -> Result<Vec<AuditRow>, Fault> {
    on!(tx, conn => {
        let mut statement = QueryBuilder::new("SELECT ");
        statement.push(COLUMNS).push(" FROM audit_event WHERE error_id <> '' AND error_id = ");
        statement.push_bind(error_id).push(" ORDER BY audit_id");
        statement.build_query_as().fetch_all(conn).await
    })
    .map_err(while_doing("find the audit rows of a request"))
}

/// What narrows and pages a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only this partner's rows; `None`: everybody's.
    pub partner_id: Option<String>,
    /// Only with this action.
    pub action: Option<String>,
    /// Only with this object.
    pub object_id: Option<String>,
    /// Only by this client.
    pub client_id: Option<String>,
    /// Only with this outcome.
    pub outcome: Option<String>,
    /// The last one seen; the list goes on with older ones.
    pub after: Option<String>,
}

/// Up to `limit` rows, newest first.
pub async fn list_audit(tx: &mut Tx, filter: &AuditFilter, limit: i64) -> Result<Vec<AuditRow>, Fault> {
    let equal = [
        ("partner_id", &filter.partner_id),
        ("action", &filter.action),
        ("object_id", &filter.object_id),
        ("client_id", &filter.client_id),
        ("outcome", &filter.outcome),
    ];
    on!(tx, conn => {
        let mut statement = QueryBuilder::new("SELECT ");
        statement.push(COLUMNS).push(" FROM audit_event WHERE 1 = 1");
        for (column, wanted) in equal {
            if let Some(wanted) = wanted {
                statement.push(" AND ").push(column).push(" = ").push_bind(wanted.as_str());
            }
        }
        if let Some(after) = &filter.after {
            statement.push(" AND audit_id < ").push_bind(after.as_str());
        }
        statement.push(" ORDER BY audit_id DESC LIMIT ").push_bind(limit);
        statement.build_query_as().fetch_all(conn).await
    })
    .map_err(while_doing("list audit rows"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> AuditRow {
        let platform = Platform::system(true);
        AuditRow::from(&NewAudit::change(
            &platform,
            Actor::client("cli_1", "usr_1"),
            "par_1",
            "client.created",
            "cli_2",
        ))
    }

    #[test]
    fn every_member_counts_in_the_hash() {
        let row = sample();
        let hash = row.hash_after("", 1);
        let changed: [fn(&mut AuditRow); 11] = [
            |row| row.audit_id.push('x'),
            |row| row.chain.push('x'),
            |row| row.partner_id.push('x'),
            |row| row.client_id.push('x'),
            |row| row.sub.push('x'),
            |row| row.action.push('x'),
            |row| row.object_id.push('x'),
            |row| row.outcome.push('x'),
            |row| row.occurred_at_s += 1,
            |row| row.details.push('x'),
            |row| row.expires_at_s = Some(1),
        ];
        for change in changed {
            let mut other = row.clone();
            change(&mut other);
            assert_ne!(other.hash_after("", 1), hash);
        }
        assert_ne!(row.hash_after("x", 1), hash);
        assert_ne!(row.hash_after("", 2), hash);
        assert_eq!(row.hash_after("", 1), hash);
    }

    #[test]
    fn moving_a_letter_from_one_member_to_the_next_changes_the_hash() {
        let (mut left, mut right) = (sample(), sample());
        right.audit_id.clone_from(&left.audit_id);
        right.occurred_at_s = left.occurred_at_s;
        (left.client_id, left.sub) = ("ab".to_owned(), "c".to_owned());
        (right.client_id, right.sub) = ("a".to_owned(), "bc".to_owned());
        assert_ne!(left.hash_after("", 1), right.hash_after("", 1));
    }
}
