//! How the outbox fares, for the gauges and for whoever asks.

use keys::UnixSeconds;

use crate::db::{Tx, while_doing};
use crate::{Fault, on, row};

/// Counts at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxStats {
    /// Committed events without a sequence number.
    pub unnumbered: i64,
    /// Deliveries that are not at rest: waiting, under way or to be retried.
    pub pending: i64,
    /// Deliveries given up, waiting for a redelivery.
    pub parked: i64,
    /// The age of the oldest pending delivery, seconds.
    pub oldest_age_s: i64,
}

struct StatsRow {
    unnumbered: i64,
    pending: i64,
    parked: i64,
    oldest_created_at_s: Option<i64>,
}

row!(StatsRow { unnumbered, pending, parked, oldest_created_at_s });

const COUNT: &str = "SELECT
    (SELECT COUNT(*) FROM event WHERE seq IS NULL) AS unnumbered,
    (SELECT COUNT(*) FROM webhook_delivery WHERE next_attempt_at_s IS NOT NULL) AS pending,
    (SELECT COUNT(*) FROM webhook_delivery WHERE state = 'parked') AS parked,
    (SELECT MIN(created_at_s) FROM webhook_delivery WHERE next_attempt_at_s IS NOT NULL) AS oldest_created_at_s";

/// Counts what waits and what was given up.
pub(super) async fn count_outbox(tx: &mut Tx, now: UnixSeconds) -> Result<OutboxStats, Fault> {
    let counted: StatsRow = on!(tx, conn => sqlx::query_as(COUNT).fetch_one(conn).await)
        .map_err(while_doing("count the outbox"))?;
    let oldest_age_s = counted.oldest_created_at_s.map_or(0, |created_s| (now.0 - created_s).max(0));
    let StatsRow { unnumbered, pending, parked, .. } = counted;
    Ok(OutboxStats { unnumbered, pending, parked, oldest_age_s })
}

impl OutboxStats {
    /// Sets the gauges `outbox_*` of the process's metrics.
    #[allow(clippy::cast_precision_loss, reason = "a gauge is a float; counts stay far below 2^52")]
    pub(super) fn publish(self) {
        metrics::gauge!("outbox_unnumbered_events").set(self.unnumbered as f64);
        metrics::gauge!("outbox_pending_deliveries").set(self.pending as f64);
        metrics::gauge!("outbox_parked_deliveries").set(self.parked as f64);
        metrics::gauge!("outbox_oldest_pending_seconds").set(self.oldest_age_s as f64);
    }
}
