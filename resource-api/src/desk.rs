//! What an operator does from the command line on the database of this service.

use chassis::Platform;
use chassis::audit::{Actor, NewAudit, insert_audit};
use chassis::db::{Db, Fault};
use chassis::epoch::advance_epoch;
use keys::RestoreEpoch;

/// Begins the next restore epoch of a database that was put back from a backup, before a service runs on it: what
/// counts once and was issued before is void.
///
/// # Errors
/// When the store fails; then nothing has changed.
pub async fn begin_epoch(db: &Db, platform: &Platform) -> Result<RestoreEpoch, Fault> {
    let audit = NewAudit::change(platform, Actor::node(), "", "database.restored", "resource-api");
    db.write(move |tx| {
        let audit = audit.clone();
        Box::pin(async move {
            let epoch = advance_epoch(tx, audit.occurred_at).await?;
            insert_audit(tx, &[audit]).await?;
            Ok(epoch)
        })
    })
    .await
}
