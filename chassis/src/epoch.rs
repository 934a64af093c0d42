//! The restore epoch of a database: read when a service starts, advanced when a backup was put back.

use keys::{RestoreEpoch, UnixSeconds};

use crate::db::{Fault, Tx, while_doing};
use crate::{on, row};

/// How far clocks may differ, seconds: what was issued before a restore may carry a moment this much later.
pub const CLOCKS_DIFFER_S: i64 = 10;

struct Row {
    number: i64,
    void_until_s: i64,
}
row!(Row { number, void_until_s });

const FIND: &str = "SELECT number, void_until_s FROM restore_epoch WHERE name = 'epoch'";

const ADVANCE: &str = "INSERT INTO restore_epoch (name, number, restored_at_s, void_until_s)
    VALUES ('epoch', 1, $1, $2)
    ON CONFLICT (name) DO UPDATE SET number = restore_epoch.number + 1, restored_at_s = excluded.restored_at_s,
        void_until_s = excluded.void_until_s
    RETURNING number, void_until_s";

impl From<Row> for RestoreEpoch {
    fn from(row: Row) -> Self {
        Self::new(row.number, UnixSeconds(row.void_until_s))
    }
}

/// The epoch that the database is in.
pub async fn find_epoch(tx: &mut Tx) -> Result<RestoreEpoch, Fault> {
    on!(tx, conn => sqlx::query_as::<_, Row>(FIND).fetch_optional(conn).await)
        .map(|row| row.map(RestoreEpoch::from).unwrap_or_default())
        .map_err(while_doing("read the restore epoch"))
}

/// Begins the next epoch: everything that counts once and was issued until now is void.
pub async fn advance_epoch(tx: &mut Tx, now: UnixSeconds) -> Result<RestoreEpoch, Fault> {
    on!(tx, conn => sqlx::query_as::<_, Row>(ADVANCE)
        .bind(now.0)
        .bind(now.plus(CLOCKS_DIFFER_S).0)
        .fetch_one(conn)
        .await)
    .map(RestoreEpoch::from)
    .map_err(while_doing("begin the next restore epoch"))
}
