//! The deliveries: one event for one endpoint, claimed by a dispatcher under a lease and finished under a fence.

use keys::UnixSeconds;
use sqlx::QueryBuilder;

use super::endpoints::list_endpoints;
use super::events::{EVENT_LIFE_S, find_event};
use crate::db::{Tx, while_doing};
use crate::{Fault, on, row};

/// How one event fares at one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// What is delivered.
    pub event_id: String,
    /// Where to.
    pub endpoint_id: String,
    /// The event's place among the partner's events.
    pub seq: i64,
    /// `pending`, `delivering`, `delivered`, `retrying`, `parked` or `skipped`.
    pub state: String,
    /// Attempts begun since it was last queued.
    pub attempt: i64,
    /// The next attempt, or for `delivering` the end of the lease. `None` at rest.
    pub next_attempt_at: Option<UnixSeconds>,
    /// The status of the last answer.
    pub response_code: Option<i64>,
    /// Why the last attempt failed.
    pub failure: Option<String>,
    /// When the last attempt ended.
    pub attempted_at: Option<UnixSeconds>,
}

struct DeliveryRow {
    event_id: String,
    endpoint_id: String,
    seq: i64,
    state: String,
    attempt: i64,
    next_attempt_at_s: Option<i64>,
    response_code: Option<i64>,
    failure: Option<String>,
    attempted_at_s: Option<i64>,
}

row!(DeliveryRow {
    event_id,
    endpoint_id,
    seq,
    state,
    attempt,
    next_attempt_at_s,
    response_code,
    failure,
    attempted_at_s
});

impl From<DeliveryRow> for Delivery {
    fn from(row: DeliveryRow) -> Self {
        Self {
            event_id: row.event_id,
            endpoint_id: row.endpoint_id,
            seq: row.seq,
            state: row.state,
            attempt: row.attempt,
            next_attempt_at: row.next_attempt_at_s.map(UnixSeconds),
            response_code: row.response_code,
            failure: row.failure,
            attempted_at: row.attempted_at_s.map(UnixSeconds),
        }
    }
}

macro_rules! columns {
    () => {
        "event_id, endpoint_id, seq, state, attempt, next_attempt_at_s, response_code, failure, attempted_at_s"
    };
}

const LIST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM webhook_delivery WHERE partner_id = $1 AND event_id = $2 ORDER BY endpoint_id"
);

/// The deliveries of one event of the partner.
pub async fn list_deliveries(tx: &mut Tx, partner_id: &str, event_id: &str) -> Result<Vec<Delivery>, Fault> {
    let rows: Vec<DeliveryRow> = on!(tx, conn => sqlx::query_as(LIST)
        .bind(partner_id)
        .bind(event_id)
        .fetch_all(conn)
        .await)
    .map_err(while_doing("list webhook deliveries"))?;
    Ok(rows.into_iter().map(Delivery::from).collect())
}

/// What is wanted of the deliveries of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryPage {
    /// Only deliveries in this state; `None`: in any.
    pub state: Option<&'static str>,
    /// Only events after this one.
    pub after_seq: i64,
    /// At most so many.
    pub limit: i64,
}

/// Every state of a delivery.
pub const DELIVERY_STATES: [&str; 6] =
    ["pending", "delivering", "delivered", "retrying", "parked", "skipped"];

const LIST_OF_ENDPOINT: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM webhook_delivery WHERE partner_id = $1 AND endpoint_id = $2 AND seq > $3 AND ($4 = '' OR state = $4)
    ORDER BY seq LIMIT $5"
);

/// The deliveries to one endpoint of the partner, in the order of the events.
pub async fn list_endpoint_deliveries(
    tx: &mut Tx,
    partner_id: &str,
    endpoint_id: &str,
    page: &DeliveryPage,
) -> Result<Vec<Delivery>, Fault> {
    let rows: Vec<DeliveryRow> = on!(tx, conn => sqlx::query_as(LIST_OF_ENDPOINT)
        .bind(partner_id)
        .bind(endpoint_id)
        .bind(page.after_seq)
        .bind(page.state.unwrap_or_default())
        .bind(page.limit)
        .fetch_all(conn)
        .await)
    .map_err(while_doing("list the deliveries of a webhook endpoint"))?;
    Ok(rows.into_iter().map(Delivery::from).collect())
}

/// One event to be sent to one endpoint.
pub(super) struct NewDelivery<'a> {
    pub(super) partner_id: &'a str,
    pub(super) event_id: &'a str,
    pub(super) endpoint_id: &'a str,
    pub(super) seq: i64,
}

/// When queued deliveries are made and when they are due.
#[derive(Debug, Clone, Copy)]
pub(super) struct Queued {
    pub(super) now: UnixSeconds,
    pub(super) due: UnixSeconds,
}

/// Rows in one INSERT.
const ROWS_PER_INSERT: usize = 256;

const INSERT: &str = "INSERT INTO webhook_delivery
    (partner_id, event_id, endpoint_id, seq, state, attempt, next_attempt_at_s, created_at_s, expires_at_s) ";

/// One that is under way stays as it is: it is being sent right now.
const QUEUE_AGAIN: &str = " ON CONFLICT (partner_id, event_id, endpoint_id) DO UPDATE
    SET state = 'pending', attempt = 0, next_attempt_at_s = excluded.next_attempt_at_s,
        created_at_s = excluded.created_at_s, expires_at_s = excluded.expires_at_s
    WHERE webhook_delivery.state <> 'delivering'";

/// Queues deliveries; those that were made before begin anew, at the first wait of the schedule.
pub(super) async fn queue_deliveries(
    tx: &mut Tx,
    deliveries: &[NewDelivery<'_>],
    when: Queued,
) -> Result<(), Fault> {
    for chunk in deliveries.chunks(ROWS_PER_INSERT) {
        on!(tx, conn => {
            let mut statement = QueryBuilder::new(INSERT);
            statement.push_values(chunk, |mut values, delivery| {
                values
                    .push_bind(delivery.partner_id)
                    .push_bind(delivery.event_id)
                    .push_bind(delivery.endpoint_id)
                    .push_bind(delivery.seq)
                    .push("'pending', 0")
                    .push_bind(when.due.0)
                    .push_bind(when.now.0)
                    .push_bind(when.now.plus(EVENT_LIFE_S).0);
            });
            statement.push(QUEUE_AGAIN);
            statement.build().execute(conn).await.map(drop)
        })
        .map_err(while_doing("queue webhook deliveries"))?;
    }
    Ok(())
}

/// Sends an event again to every enabled endpoint that wants its kind, also to those registered after it and to those
/// where it was delivered or parked. Answers how many deliveries that is, or `None` when the partner has no such event.
pub async fn redeliver(
    tx: &mut Tx,
    partner_id: &str,
    event_id: &str,
    now: UnixSeconds,
) -> Result<Option<usize>, Fault> {
    let Some(event) = find_event(tx, partner_id, event_id).await? else {
        return Ok(None);
    };
    let endpoints = list_endpoints(tx, partner_id).await?;
    let deliveries: Vec<NewDelivery<'_>> = endpoints
        .iter()
        .filter(|endpoint| endpoint.enabled && endpoint.wants(&event.kind))
        .map(|endpoint| NewDelivery {
            partner_id,
            event_id,
            endpoint_id: &endpoint.endpoint_id,
            seq: event.seq,
        })
        .collect();
    queue_deliveries(tx, &deliveries, Queued { now, due: now }).await?;
    Ok(Some(deliveries.len()))
}

/// The queue of one endpoint.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct QueueId {
    pub(super) partner_id: String,
    pub(super) endpoint_id: String,
}

row!(QueueId { partner_id, endpoint_id });

const FIND_DUE: &str = "SELECT partner_id, endpoint_id FROM webhook_endpoint WHERE EXISTS (
        SELECT 1 FROM webhook_delivery
        WHERE webhook_delivery.partner_id = webhook_endpoint.partner_id
            AND webhook_delivery.endpoint_id = webhook_endpoint.endpoint_id
            AND webhook_delivery.next_attempt_at_s <= $1)
    ORDER BY partner_id, endpoint_id";

/// The endpoints with something to send. Probes each endpoint's queue once, however long the queues are.
pub(super) async fn find_due_queues(tx: &mut Tx, now: UnixSeconds) -> Result<Vec<QueueId>, Fault> {
    on!(tx, conn => sqlx::query_as(FIND_DUE).bind(now.0).fetch_all(conn).await)
        .map_err(while_doing("find webhook endpoints with due deliveries"))
}

/// How many deliveries of one queue are wanted, at what moment, and until when they are ours.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) queue: QueueId,
    pub(super) limit: i64,
    pub(super) now: UnixSeconds,
    pub(super) lease_until: UnixSeconds,
}

/// A delivery that is ours until its lease ends.
#[derive(Debug, Clone)]
pub(super) struct Claimed {
    pub(super) event_id: String,
    pub(super) seq: i64,
    pub(super) attempt: i64,
}

row!(Claimed { event_id, seq, attempt });

const CLAIM_SQLITE: &str = "UPDATE webhook_delivery
    SET state = 'delivering', attempt = attempt + 1, next_attempt_at_s = $4
    WHERE partner_id = $1 AND endpoint_id = $2 AND event_id IN (
        SELECT event_id FROM webhook_delivery
        WHERE partner_id = $1 AND endpoint_id = $2 AND next_attempt_at_s <= $3
        ORDER BY next_attempt_at_s, seq LIMIT $5)
    RETURNING event_id, seq, attempt";

/// As above; rows another dispatcher is claiming are passed over instead of waited for.
const CLAIM_POSTGRES: &str = "WITH due AS (
        SELECT event_id FROM webhook_delivery
        WHERE partner_id = $1 AND endpoint_id = $2 AND next_attempt_at_s <= $3
        ORDER BY next_attempt_at_s, seq LIMIT $5 FOR UPDATE SKIP LOCKED)
    UPDATE webhook_delivery AS d
    SET state = 'delivering', attempt = attempt + 1, next_attempt_at_s = $4
    FROM due WHERE d.partner_id = $1 AND d.endpoint_id = $2 AND d.event_id = due.event_id
    RETURNING d.event_id, d.seq, d.attempt";

/// Takes the deliveries of one queue that are due, in sequence order: new ones, those to be retried, and those whose
/// dispatcher let the lease run out.
pub(super) async fn claim_due(tx: &mut Tx, claim: &Claim) -> Result<Vec<Claimed>, Fault> {
    let statement = match tx {
        Tx::Sqlite(..) => CLAIM_SQLITE,
        Tx::Postgres(..) => CLAIM_POSTGRES,
    };
    let mut claimed: Vec<Claimed> = on!(tx, conn => sqlx::query_as(statement)
        .bind(&claim.queue.partner_id)
        .bind(&claim.queue.endpoint_id)
        .bind(claim.now.0)
        .bind(claim.lease_until.0)
        .bind(claim.limit)
        .fetch_all(conn)
        .await)
    .map_err(while_doing("claim webhook deliveries"))?;
    claimed.sort_by_key(|delivery| delivery.seq);
    Ok(claimed)
}

/// How an attempt ended.
#[derive(Debug, Clone)]
pub(super) struct Finish {
    pub(super) queue: QueueId,
    pub(super) event_id: String,
    /// The attempt that ended; a later claim has a higher one.
    pub(super) attempt: i64,
    pub(super) state: &'static str,
    pub(super) next_attempt_at: Option<UnixSeconds>,
    pub(super) response_code: Option<i64>,
    pub(super) failure: Option<String>,
    pub(super) at: UnixSeconds,
}

const FINISH: &str = "UPDATE webhook_delivery
    SET state = $5, next_attempt_at_s = $6, response_code = $7, failure = $8, attempted_at_s = $9
    WHERE partner_id = $1 AND event_id = $2 AND endpoint_id = $3 AND attempt = $4 AND state = 'delivering'";

/// Records the end of an attempt. `false` when the lease had run out and the delivery was claimed again meanwhile:
/// then the later attempt has the say.
pub(super) async fn finish_attempt(tx: &mut Tx, finish: &Finish) -> Result<bool, Fault> {
    let changed = on!(tx, conn => sqlx::query(FINISH)
        .bind(&finish.queue.partner_id)
        .bind(&finish.event_id)
        .bind(&finish.queue.endpoint_id)
        .bind(finish.attempt)
        .bind(finish.state)
        .bind(finish.next_attempt_at.map(|at| at.0))
        .bind(finish.response_code)
        .bind(&finish.failure)
        .bind(finish.at.0)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("finish a webhook attempt"))?;
    Ok(changed == 1)
}
