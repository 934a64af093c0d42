//! The numberer: gives each partner's committed events their sequence numbers and queues their deliveries.
//!
//! A number is given after the commit, so no reader sees `n + 1` before `n`. The lease row is the first thing a pass
//! writes, so that passes of two nodes cannot overlap, not even when a lease changes hands while one is under way.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use sqlx::QueryBuilder;

use super::deliveries::{NewDelivery, Queued, queue_deliveries};
use super::endpoints::{read_kinds, wants};
use crate::audit::{Carried, insert_carried};
use crate::db::{Tx, while_doing};
use crate::lease::{TTL_MS, try_lease};
use crate::{Fault, on, row};

/// The name of the lease.
pub(super) const LEASE: &str = "outbox-numberer";

/// Events numbered in one pass; a pass is one unit of the writer.
const EVENTS_PER_PASS: i64 = 256;

/// Who numbers, and when.
#[derive(Debug, Clone)]
pub(super) struct Pass {
    pub(super) holder: Arc<str>,
    pub(super) now_ms: i64,
    pub(super) queued: Queued,
}

/// What a pass did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbered {
    /// Another node numbers.
    NotOurs,
    /// All that waited is numbered.
    All,
    /// There may be more.
    Some,
}

/// A committed event without a number, and what it carries for the audit.
struct Waiting {
    partner_id: String,
    event_id: String,
    kind: String,
    occurred_at_s: i64,
    data: String,
    audit_node: Option<String>,
    audit_object: Option<String>,
    audit_client: Option<String>,
    audit_sub: Option<String>,
    audit_error_id: Option<String>,
}

row!(Waiting {
    partner_id,
    event_id,
    kind,
    occurred_at_s,
    data,
    audit_node,
    audit_object,
    audit_client,
    audit_sub,
    audit_error_id,
});

impl Waiting {
    fn carried(&self) -> Carried<'_> {
        Carried {
            event_id: &self.event_id,
            partner_id: &self.partner_id,
            kind: &self.kind,
            occurred_at_s: self.occurred_at_s,
            data: &self.data,
            node: self.audit_node.as_deref(),
            object: self.audit_object.as_deref(),
            client_id: self.audit_client.as_deref(),
            sub: self.audit_sub.as_deref(),
            error_id: self.audit_error_id.as_deref(),
        }
    }
}

/// An endpoint that gets events.
struct Listener {
    partner_id: String,
    endpoint_id: String,
    event_kinds: String,
}

row!(Listener { partner_id, endpoint_id, event_kinds });

/// The last number of a partner after its counter was moved.
struct Counter {
    partner_id: String,
    last_seq: i64,
}

row!(Counter { partner_id, last_seq });

const IS_WAITING: &str = "SELECT ordinal FROM event WHERE seq IS NULL ORDER BY ordinal LIMIT 1";

/// Whether any event waits for its number. Cheap, so that an idle service writes nothing.
pub(super) async fn is_any_waiting(tx: &mut Tx) -> Result<bool, Fault> {
    let first: Option<(i64,)> = on!(tx, conn => sqlx::query_as(IS_WAITING).fetch_optional(conn).await)
        .map_err(while_doing("look for unnumbered events"))?;
    Ok(first.is_some())
}

const FIND_WAITING: &str = "SELECT partner_id, event_id, kind, occurred_at_s, data, audit_node, audit_object,
        audit_client, audit_sub, audit_error_id
    FROM event WHERE seq IS NULL
    ORDER BY ordinal, partner_id, event_id LIMIT $1";

/// Numbers the events that wait, oldest first, and queues them for the endpoints that want them.
pub(super) async fn number_waiting(tx: &mut Tx, pass: &Pass) -> Result<Numbered, Fault> {
    if !try_lease(tx, LEASE, &pass.holder, pass.now_ms, TTL_MS).await? {
        return Ok(Numbered::NotOurs);
    }
    let waiting: Vec<Waiting> =
        on!(tx, conn => sqlx::query_as(FIND_WAITING).bind(EVENTS_PER_PASS).fetch_all(conn).await)
            .map_err(while_doing("find unnumbered events"))?;
    if waiting.is_empty() {
        return Ok(Numbered::All);
    }
    let numbers = draw_numbers(tx, &waiting).await?;
    write_numbers(tx, &waiting, &numbers).await?;
    insert_carried(tx, &waiting.iter().map(Waiting::carried).collect::<Vec<_>>()).await?;
    queue(tx, &waiting, &numbers, pass.queued).await?;
    Ok(if i64::try_from(waiting.len()) == Ok(EVENTS_PER_PASS) { Numbered::Some } else { Numbered::All })
}

/// Moves the counters of the partners concerned and answers the number of each event, in the order given.
async fn draw_numbers(tx: &mut Tx, waiting: &[Waiting]) -> Result<Vec<i64>, Fault> {
    let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
    for event in waiting {
        *counts.entry(&event.partner_id).or_default() += 1;
    }
    let counters: Vec<Counter> = on!(tx, conn => {
        let mut statement = QueryBuilder::new("INSERT INTO event_sequence (partner_id, last_seq) ");
        statement.push_values(&counts, |mut values, (partner_id, count)| {
            values.push_bind(*partner_id).push_bind(*count);
        });
        statement.push(
            " ON CONFLICT (partner_id) DO UPDATE SET last_seq = event_sequence.last_seq + excluded.last_seq
            RETURNING partner_id, last_seq",
        );
        statement.build_query_as().fetch_all(conn).await
    })
    .map_err(while_doing("move the event counters"))?;
    let mut next: HashMap<&str, i64> = HashMap::new();
    for counter in &counters {
        let count = counts.get(counter.partner_id.as_str()).copied().unwrap_or(0);
        next.insert(&counter.partner_id, counter.last_seq - count);
    }
    waiting
        .iter()
        .map(|event| {
            let last = next.get_mut(event.partner_id.as_str())?;
            *last += 1;
            Some(*last)
        })
        .collect::<Option<Vec<i64>>>()
        .ok_or_else(|| Fault::new("move the event counters: a counter is missing"))
}

/// Writes the numbers. All of them or none: a number that was drawn and not used would be a gap.
async fn write_numbers(tx: &mut Tx, waiting: &[Waiting], numbers: &[i64]) -> Result<(), Fault> {
    let rows = waiting.iter().zip(numbers);
    let changed = on!(tx, conn => {
        let mut statement = QueryBuilder::new("UPDATE event SET seq = numbered.column3 FROM (");
        statement.push_values(rows, |mut values, (event, seq)| {
            values
                .push_bind(event.partner_id.as_str())
                .push_bind(event.event_id.as_str())
                .push_bind(*seq);
        });
        statement.push(
            ") AS numbered WHERE event.partner_id = numbered.column1 AND event.event_id = numbered.column2
            AND event.seq IS NULL",
        );
        statement.build().execute(conn).await.map(|done| done.rows_affected())
    })
    .map_err(while_doing("number events"))?;
    if usize::try_from(changed) == Ok(waiting.len()) {
        Ok(())
    } else {
        Err(Fault::new("number events: an event was numbered by another"))
    }
}

/// Queues the numbered events for the enabled endpoints that want their kind.
async fn queue(tx: &mut Tx, waiting: &[Waiting], numbers: &[i64], when: Queued) -> Result<(), Fault> {
    let listeners = find_listeners(tx, waiting).await?;
    let mut by_partner: HashMap<&str, Vec<(&str, Vec<String>)>> = HashMap::new();
    for listener in &listeners {
        let kinds = read_kinds(&listener.event_kinds)?;
        by_partner.entry(&listener.partner_id).or_default().push((&listener.endpoint_id, kinds));
    }
    let mut deliveries = Vec::new();
    for (event, seq) in waiting.iter().zip(numbers) {
        for (endpoint_id, kinds) in by_partner.get(event.partner_id.as_str()).into_iter().flatten() {
            if wants(kinds, &event.kind) {
                deliveries.push(NewDelivery {
                    partner_id: &event.partner_id,
                    event_id: &event.event_id,
                    endpoint_id,
                    seq: *seq,
                });
            }
        }
    }
    queue_deliveries(tx, &deliveries, when).await
}

async fn find_listeners(tx: &mut Tx, waiting: &[Waiting]) -> Result<Vec<Listener>, Fault> {
    let partners: BTreeSet<&str> = waiting.iter().map(|event| event.partner_id.as_str()).collect();
    on!(tx, conn => {
        let mut statement = QueryBuilder::new(
            "SELECT partner_id, endpoint_id, event_kinds FROM webhook_endpoint
            WHERE status = 'enabled' AND partner_id IN (",
        );
        let mut list = statement.separated(", ");
        for partner_id in &partners {
            list.push_bind(*partner_id);
        }
        statement.push(") ORDER BY partner_id, endpoint_id");
        statement.build_query_as().fetch_all(conn).await
    })
    .map_err(while_doing("find the webhook endpoints of numbered events"))
}
