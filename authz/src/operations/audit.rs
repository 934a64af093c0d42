//! Reading the audit.

use chassis::{
    Fault,
    audit::{AuditFilter, AuditRow, list_audit},
};
use serde_json::Value;

use crate::app::{App, Caller};

/// An audit row as its reader may see it.
#[derive(Debug)]
pub struct Seen {
    /// The row.
    pub row: AuditRow,
    /// Its details; without the private reason of a refusal where the reader is not the platform.
    pub details: Value,
}

/// Up to `limit` rows, newest first: the platform sees all, everyone else its own partner's.
///
/// # Errors
/// When the store fails.
pub async fn list(
    app: &App,
    caller: &Caller,
    mut filter: AuditFilter,
    limit: i64,
) -> Result<Vec<Seen>, Fault> {
    let is_platform = caller.who.partner.is_platform;
    if !is_platform {
        filter.partner_id = Some(caller.who.partner.id.clone());
    }
    let rows = app.db.read(move |tx| {
        let filter = filter.clone();
        Box::pin(async move { list_audit(tx, &filter, limit).await })
    });
    Ok(rows.await?.into_iter().map(|row| seen(row, is_platform)).collect())
}

fn seen(row: AuditRow, is_platform: bool) -> Seen {
    let mut details: Value = serde_json::from_str(&row.details).unwrap_or_default();
    if !is_platform && let Some(members) = details.as_object_mut() {
        members.remove("reason");
    }
    Seen { row, details }
}
