//! Sending again what one endpoint missed: one event, what was given up, or everything after a number. A request queues a
//! bounded number, so that no transaction grows with the length of the trouble.

use keys::UnixSeconds;

use super::deliveries::{NewDelivery, Queued, queue_deliveries};
use super::endpoints::Endpoint;
use super::events::{EVENT_LIFE_S, find_event, list_events};
use crate::db::{Tx, while_doing};
use crate::{Fault, on, row};

/// Most events that one request queues or looks at.
pub const REPLAY_MAX: i64 = 1_000;

/// What is to be sent to an endpoint again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replay {
    /// This event, whatever kinds the endpoint wants.
    Event(String),
    /// What was given up, or skipped while the endpoint was disabled. Lowest numbers first.
    Parked,
    /// Every event after this number whose kind the endpoint wants, taken or not.
    After(i64),
}

/// What was queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// How many deliveries.
    pub deliveries: usize,
    /// Whether the same request would find more.
    pub has_more: bool,
    /// The number of the last event that was looked at: where to go on after.
    pub last_seq: Option<i64>,
}

/// Queues deliveries to an enabled endpoint again, from their first attempt on; `None` when the event to be sent is not
/// the partner's. One under way stays as it is.
///
/// # Errors
/// When the store fails.
pub async fn replay(
    tx: &mut Tx,
    endpoint: &Endpoint,
    what: &Replay,
    now: UnixSeconds,
) -> Result<Option<Replayed>, Fault> {
    let partner_id = endpoint.partner_id.as_str();
    match what {
        Replay::Event(event_id) => {
            let Some(event) = find_event(tx, partner_id, event_id).await? else { return Ok(None) };
            queue(tx, endpoint, &[(event.event_id, event.seq)], now).await?;
            Ok(Some(Replayed { deliveries: 1, has_more: false, last_seq: Some(event.seq) }))
        }
        Replay::Parked => queue_parked(tx, endpoint, now).await.map(Some),
        Replay::After(seq) => {
            let mut events = list_events(tx, partner_id, *seq, REPLAY_MAX + 1).await?;
            let has_more = i64::try_from(events.len()).is_ok_and(|found| found > REPLAY_MAX);
            events.truncate(usize::try_from(REPLAY_MAX).unwrap_or_default());
            let last_seq = events.last().map(|event| event.seq);
            let wanted = events.into_iter().filter(|event| endpoint.wants(&event.kind));
            let wanted: Vec<_> = wanted.map(|event| (event.event_id, event.seq)).collect();
            queue(tx, endpoint, &wanted, now).await?;
            Ok(Some(Replayed { deliveries: wanted.len(), has_more, last_seq }))
        }
    }
}

async fn queue(
    tx: &mut Tx,
    endpoint: &Endpoint,
    events: &[(String, i64)],
    now: UnixSeconds,
) -> Result<(), Fault> {
    let deliveries: Vec<_> = events
        .iter()
        .map(|(event_id, seq)| NewDelivery {
            partner_id: &endpoint.partner_id,
            event_id,
            endpoint_id: &endpoint.endpoint_id,
            seq: *seq,
        })
        .collect();
    queue_deliveries(tx, &deliveries, Queued { now, due: now }).await
}

struct Numbered {
    seq: i64,
}

row!(Numbered { seq });

/// An event whose own life is over cannot be sent any more.
const QUEUE_PARKED: &str = "UPDATE webhook_delivery
    SET state = 'pending', attempt = 0, next_attempt_at_s = $3, created_at_s = $3, expires_at_s = $4
    WHERE partner_id = $1 AND endpoint_id = $2 AND state IN ('parked', 'skipped') AND event_id IN (
        SELECT missed.event_id FROM webhook_delivery AS missed
        JOIN event ON event.partner_id = missed.partner_id AND event.event_id = missed.event_id
        WHERE missed.partner_id = $1 AND missed.endpoint_id = $2 AND missed.state IN ('parked', 'skipped')
        ORDER BY missed.seq LIMIT $5)
    RETURNING seq";

/// Requests for one endpoint at once take turns, so that they do not lock its deliveries in different orders.
const TAKE_TURNS: &str =
    "UPDATE webhook_endpoint SET status = status WHERE partner_id = $1 AND endpoint_id = $2";

async fn queue_parked(tx: &mut Tx, endpoint: &Endpoint, now: UnixSeconds) -> Result<Replayed, Fault> {
    let turn = on!(tx, conn => sqlx::query(TAKE_TURNS)
        .bind(&endpoint.partner_id)
        .bind(&endpoint.endpoint_id)
        .execute(conn)
        .await
        .map(drop));
    turn.map_err(while_doing("wait for a turn at a webhook endpoint"))?;
    let queued: Vec<Numbered> = on!(tx, conn => sqlx::query_as(QUEUE_PARKED)
        .bind(&endpoint.partner_id)
        .bind(&endpoint.endpoint_id)
        .bind(now.0)
        .bind(now.plus(EVENT_LIFE_S).0)
        .bind(REPLAY_MAX)
        .fetch_all(conn)
        .await)
    .map_err(while_doing("queue parked webhook deliveries"))?;
    let has_more = i64::try_from(queued.len()) == Ok(REPLAY_MAX);
    let last_seq = queued.iter().map(|row| row.seq).max();
    Ok(Replayed { deliveries: queued.len(), has_more, last_seq })
}
