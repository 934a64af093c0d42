//! The events of a partner: written with the change they tell of, read once they are numbered.

use keys::UnixSeconds;
use serde_json::Value;
use sqlx::QueryBuilder;

use crate::audit::{Actor, node};
use crate::db::{Tx, while_doing};
use crate::{Fault, on, row};

/// The version of the shape of `data`, the same for all kinds so far.
pub const EVENT_SCHEMA_VERSION: i64 = 1;

/// How long an event and its deliveries are kept, seconds: 90 days from the moment it occurred, or they were queued.
pub const EVENT_LIFE_S: i64 = 90 * 86_400;

/// Rows in one INSERT; keeps the number of bound values far below what either database takes.
const ROWS_PER_INSERT: usize = 256;

/// A state change to be told to a partner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// `evt_…`; becomes the `webhook-id`, so a receiver knows a repeat by it.
    pub event_id: String,
    /// Whose event it is.
    pub partner_id: String,
    /// What happened, as `family.fact`.
    pub kind: &'static str,
    /// When it happened.
    pub occurred_at: UnixSeconds,
    /// Ids, states, amounts and reason codes only: never personal data, never a secret.
    pub data: Value,
}

/// A numbered event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEvent {
    /// `evt_…`.
    pub event_id: String,
    /// Whose event it is.
    pub partner_id: String,
    /// Its place among the partner's events: 1, 2, 3 … without gaps, in commit order.
    pub seq: i64,
    /// What happened, as `family.fact`.
    pub kind: String,
    /// [`EVENT_SCHEMA_VERSION`] at the time of writing.
    pub schema_version: i64,
    /// When it happened.
    pub occurred_at: UnixSeconds,
    /// The JSON text of the event's data.
    pub data: String,
}

/// An event as its row has it.
struct EventRow {
    event_id: String,
    partner_id: String,
    seq: i64,
    kind: String,
    schema_version: i64,
    occurred_at_s: i64,
    data: String,
}

row!(EventRow { event_id, partner_id, seq, kind, schema_version, occurred_at_s, data });

impl From<EventRow> for StoredEvent {
    fn from(row: EventRow) -> Self {
        Self {
            event_id: row.event_id,
            partner_id: row.partner_id,
            seq: row.seq,
            kind: row.kind,
            schema_version: row.schema_version,
            occurred_at: UnixSeconds(row.occurred_at_s),
            data: row.data,
        }
    }
}

const INSERT: &str =
    "INSERT INTO event (partner_id, event_id, ordinal, kind, schema_version, occurred_at_s, data,
        expires_at_s, audit_node, audit_object, audit_client, audit_sub, audit_error_id)
    SELECT added.column1, added.column2,
        COALESCE((SELECT MAX(ordinal) FROM event WHERE seq IS NULL), 0) + added.column3,
        added.column4, added.column5, added.column6, added.column7, added.column8, added.column9,
        added.column10, added.column11, added.column12, added.column13
    FROM (";

impl NewEvent {
    /// What the change was made to: the id that is called after the event's family, or else the order or customer.
    fn object(&self) -> &str {
        let family = self.kind.split('.').next().unwrap_or_default();
        let own = self.data.get(format!("{family}_id"));
        let named = own.or_else(|| self.data.get("fiat_in_id")).or_else(|| self.data.get("customer_id"));
        named.and_then(Value::as_str).unwrap_or_default()
    }
}

/// [`insert_events_by`] for changes that the service makes by itself, in the background.
pub async fn insert_events(tx: &mut Tx, events: &[NewEvent]) -> Result<(), Fault> {
    insert_events_by(tx, &Actor::node(), events).await
}

/// Writes events in the transaction of the change they tell of, in the order given. One statement for up to 256.
///
/// The ordinal is a Lamport clock: it is greater than that of every event still unnumbered that this transaction can
/// see. So an event that could know of another is numbered after it, whatever node wrote it and whatever its clock
/// says, and no row is locked for it.
///
/// Each event carries who acted: when it is numbered, its audit row is written from it (see [`crate::audit`]).
pub async fn insert_events_by(tx: &mut Tx, actor: &Actor, events: &[NewEvent]) -> Result<(), Fault> {
    insert(tx, &events.iter().map(|event| (actor, event)).collect::<Vec<_>>()).await
}

/// [`insert_events_by`] for the changes of a batch command, in each of which somebody else may have acted.
pub async fn insert_events_of(tx: &mut Tx, events: &[(Actor, NewEvent)]) -> Result<(), Fault> {
    insert(tx, &events.iter().map(|(actor, event)| (actor, event)).collect::<Vec<_>>()).await
}

async fn insert(tx: &mut Tx, events: &[(&Actor, &NewEvent)]) -> Result<(), Fault> {
    for chunk in events.chunks(ROWS_PER_INSERT) {
        let rows = (1_i64..).zip(chunk);
        on!(&mut *tx, conn => {
            let mut statement = QueryBuilder::new(INSERT);
            statement.push_values(rows, |mut values, (offset, (actor, event))| {
                values
                    .push_bind(event.partner_id.as_str())
                    .push_bind(event.event_id.as_str())
                    .push_bind(offset)
                    .push_bind(event.kind)
                    .push_bind(EVENT_SCHEMA_VERSION)
                    .push_bind(event.occurred_at.0)
                    .push_bind(event.data.to_string())
                    .push_bind(event.occurred_at.plus(EVENT_LIFE_S).0)
                    .push_bind(node())
                    .push_bind(event.object())
                    .push_bind(actor.client_id.as_str())
                    .push_bind(actor.sub.as_str())
                    .push_bind(actor.error_id.as_str());
            });
            statement.push(") AS added");
            statement.build().execute(conn).await.map(drop)
        })
        .map_err(while_doing("insert events"))?;
    }
    Ok(())
}

const FIND: &str = "SELECT event_id, partner_id, seq, kind, schema_version, occurred_at_s, data
    FROM event WHERE partner_id = $1 AND event_id = $2 AND seq IS NOT NULL";

/// The partner's event, or `None` when it is unknown, another partner's, or not numbered yet.
pub async fn find_event(tx: &mut Tx, partner_id: &str, event_id: &str) -> Result<Option<StoredEvent>, Fault> {
    let found: Option<EventRow> = on!(tx, conn => sqlx::query_as(FIND)
        .bind(partner_id)
        .bind(event_id)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("find event"))?;
    Ok(found.map(StoredEvent::from))
}

const LIST: &str = "SELECT event_id, partner_id, seq, kind, schema_version, occurred_at_s, data
    FROM event WHERE partner_id = $1 AND seq > $2 ORDER BY seq LIMIT $3";

/// The partner's events after a sequence number, oldest first. Since numbers are given after commit, a reader that saw
/// `n` has missed none below it.
pub async fn list_events(
    tx: &mut Tx,
    partner_id: &str,
    after_seq: i64,
    limit: i64,
) -> Result<Vec<StoredEvent>, Fault> {
    let rows: Vec<EventRow> = on!(tx, conn => sqlx::query_as(LIST)
        .bind(partner_id)
        .bind(after_seq)
        .bind(limit)
        .fetch_all(conn)
        .await)
    .map_err(while_doing("list events"))?;
    Ok(rows.into_iter().map(StoredEvent::from).collect())
}
