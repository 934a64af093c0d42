//! What the dispatcher needs of an endpoint: where to, in which format, and with which keys.

use keys::UnixSeconds;
use keys::seal::MasterKeys;

use super::signature::{EndpointSecret, open_seed};
use crate::db::{Tx, while_doing};
use crate::{Fault, on, row};

/// What sending needs of an endpoint.
pub(super) struct Target {
    partner_id: String,
    endpoint_id: String,
    pub(super) url: String,
    pub(super) status: String,
    pub(super) format: String,
    pub(super) recipient: String,
    secret_sealed: String,
    previous_sealed: Option<String>,
    previous_until_s: Option<i64>,
    failing_since_s: Option<i64>,
}

row!(Target {
    partner_id,
    endpoint_id,
    url,
    status,
    format,
    recipient,
    secret_sealed,
    previous_sealed,
    previous_until_s,
    failing_since_s
});

impl Target {
    /// Whether deliveries to it have been given up and none was taken since.
    pub(super) fn is_failing(&self) -> bool {
        self.failing_since_s.is_some()
    }

    /// The keys that sign at a moment: the current one, then the one before it while a rotation lasts.
    pub(super) fn secrets(
        &self,
        master: &MasterKeys,
        now: UnixSeconds,
    ) -> Result<Vec<EndpointSecret>, Fault> {
        let live = self.previous_until_s.is_some_and(|until_s| now.0 < until_s);
        let previous = self.previous_sealed.as_deref().filter(|_| live);
        std::iter::once(self.secret_sealed.as_str())
            .chain(previous)
            .map(|sealed| open_seed(master, (&self.partner_id, &self.endpoint_id), sealed))
            .collect()
    }
}

const FIND_TARGET: &str = "SELECT partner_id, endpoint_id, url, status, format, recipient, secret_sealed,
        previous_sealed, previous_until_s, failing_since_s
    FROM webhook_endpoint WHERE partner_id = $1 AND endpoint_id = $2";

/// Where and with what to send, or `None` when the endpoint is gone.
pub(super) async fn find_target(
    tx: &mut Tx,
    partner_id: &str,
    endpoint_id: &str,
) -> Result<Option<Target>, Fault> {
    on!(tx, conn => sqlx::query_as(FIND_TARGET)
        .bind(partner_id)
        .bind(endpoint_id)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("find the target of a webhook"))
}
