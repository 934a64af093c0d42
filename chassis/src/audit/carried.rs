//! Audit rows of changes that have an event. The event was written in the transaction of the change and carries who
//! acted; when it gets its number, its audit row is written, sealed, in the same transaction. So a change costs no
//! statement more for being audited, and no crash can lose its row.

use super::chain::Heads;
use super::row::{AuditRow, Outcome, insert_rows};
use crate::Fault;
use crate::db::Tx;

/// What a numbered event says of its change. `None` in `node`: it was written before there was an audit.
#[derive(Debug)]
pub(crate) struct Carried<'e> {
    pub(crate) event_id: &'e str,
    pub(crate) partner_id: &'e str,
    pub(crate) kind: &'e str,
    pub(crate) occurred_at_s: i64,
    pub(crate) data: &'e str,
    pub(crate) node: Option<&'e str>,
    pub(crate) object: Option<&'e str>,
    pub(crate) client_id: Option<&'e str>,
    pub(crate) sub: Option<&'e str>,
    pub(crate) error_id: Option<&'e str>,
}

/// The audit row's id: the event's own digits, so that each can be found from the other.
fn audit_id(event_id: &str) -> String {
    format!("aud_{}", event_id.split_once('_').map_or(event_id, |(_, digits)| digits))
}

fn row(carried: &Carried<'_>) -> Option<AuditRow> {
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    Some(AuditRow {
        audit_id: audit_id(carried.event_id),
        chain: carried.node?.to_owned(),
        seq: None,
        chain_hash: None,
        partner_id: carried.partner_id.to_owned(),
        client_id: text(carried.client_id),
        sub: text(carried.sub),
        action: carried.kind.to_owned(),
        object_id: text(carried.object),
        outcome: Outcome::Done.as_str().to_owned(),
        error_id: text(carried.error_id),
        occurred_at_s: carried.occurred_at_s,
        details: carried.data.to_owned(),
        open_until_s: None,
        expires_at_s: None,
    })
}

/// Writes and seals the audit rows of events, in the order given. To be called by whoever numbers them, in the same
/// transaction: an event is numbered once.
pub(crate) async fn insert_carried(tx: &mut Tx, events: &[Carried<'_>]) -> Result<(), Fault> {
    let mut rows: Vec<AuditRow> = events.iter().filter_map(row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let mut heads = Heads::lock(tx, &rows).await?;
    heads.append(&mut rows)?;
    insert_rows(tx, &rows).await?;
    heads.store(tx).await
}
