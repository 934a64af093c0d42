//! Events that payment gateways sent by themselves. One is stored before it is answered, and decided once.

use chassis::sqlx;
use chassis::{Fault, Tx, on, row, while_doing};
use keys::UnixSeconds;

use crate::domain::charge_event::EventState;
use crate::domain::telling::Telling;
use crate::gateway::{DeclineCategory, GatewayEvent};

/// How long an applied or ignored event is kept, seconds: 400 days, longer than a gateway lets charges be disputed.
pub const EVENT_KEPT_S: i64 = 400 * 86_400;

/// An event as stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredGatewayEvent {
    pub provider: String,
    pub event_id: String,
    pub kind: String,
    /// `charge`, `refund` or `dispute`; `None`: it was not understood.
    pub about: Option<String>,
    /// Our own id that it names: of the charge or refund; of a dispute, of the charge.
    pub reference: Option<String>,
    /// The charge it names.
    pub charge_id: Option<String>,
    pub provider_ref: Option<String>,
    pub merchant: Option<String>,
    /// Minor units.
    pub amount: Option<i64>,
    pub currency: Option<String>,
    pub told: Option<String>,
    pub decline_code: Option<String>,
    pub decline_category: Option<String>,
    pub state: String,
    /// Why it was ignored or parked.
    pub reason: Option<String>,
    /// Tries at applying it that failed.
    pub attempts: i64,
    pub occurred_at_s: Option<i64>,
    pub received_at_s: i64,
    pub decided_at_s: Option<i64>,
}

row!(StoredGatewayEvent {
    provider,
    event_id,
    kind,
    about,
    reference,
    charge_id,
    provider_ref,
    merchant,
    amount,
    currency,
    told,
    decline_code,
    decline_category,
    state,
    reason,
    attempts,
    occurred_at_s,
    received_at_s,
    decided_at_s,
});

impl StoredGatewayEvent {
    /// What it tells, and of what; `None`: it was not understood.
    ///
    /// # Errors
    /// A word that this version does not know.
    pub fn telling(&self) -> Result<Option<Telling>, Fault> {
        let (Some(about), Some(told)) = (&self.about, &self.told) else { return Ok(None) };
        Telling::stored(about, told).map(Some).map_err(while_doing("read what a gateway event tells"))
    }
}

/// What became of an event that arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It is stored now.
    New,
    /// It was stored before, with the same body.
    Repeated,
    /// Another body was stored under its id before; that one stays.
    Differing,
}

const INSERT: &str = "INSERT INTO gateway_event (provider, event_id, body_hash, kind, about, reference, charge_id,
        provider_ref, merchant, amount, currency, told, decline_code, decline_category, state, attempts, due_at_ms,
        occurred_at_s, received_at_s)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 'received', 0, $15, $16, $17)
    ON CONFLICT (provider, event_id) DO NOTHING";

const BODY_HASH: &str = "SELECT body_hash FROM gateway_event WHERE provider = $1 AND event_id = $2";

/// Stores an event, to be applied. A repeat changes nothing.
pub async fn insert_gateway_event(
    tx: &mut Tx,
    provider: &str,
    event: &GatewayEvent,
    (now, now_ms): (UnixSeconds, i64),
) -> Result<Kept, Fault> {
    let said = event.said.as_ref();
    let decline = said.and_then(|said| said.decline.as_ref());
    let done = on!(tx, conn => sqlx::query(INSERT)
        .bind(provider)
        .bind(&event.event_id)
        .bind(&event.body_hash)
        .bind(&event.kind)
        .bind(said.map(|said| said.telling.about().as_str()))
        .bind(said.map(|said| said.reference.as_str()))
        .bind(said.map(|said| said.charge_id.as_str()))
        .bind(said.map(|said| said.provider_ref.as_str()))
        .bind(said.and_then(|said| said.merchant.as_deref()))
        .bind(said.map(|said| said.money.amount))
        .bind(said.map(|said| said.money.currency.as_str()))
        .bind(said.map(|said| said.telling.as_str()))
        .bind(decline.map(|(code, _)| code.as_str()))
        .bind(decline.and_then(|(_, category)| category.map(DeclineCategory::as_str)))
        .bind(now_ms)
        .bind(event.occurred_at.map(|at| at.0))
        .bind(now.0)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("insert gateway event"))?;
    if done == 1 {
        return Ok(Kept::New);
    }
    let stored: Option<(String,)> = on!(tx, conn => sqlx::query_as(BODY_HASH)
        .bind(provider)
        .bind(&event.event_id)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("find the first of a repeated gateway event"))?;
    let same = stored.is_none_or(|(hash,)| hash == event.body_hash);
    Ok(if same { Kept::Repeated } else { Kept::Differing })
}

/// `SELECT` of [`StoredGatewayEvent`] with this rest.
macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT provider, event_id, kind, about, reference, charge_id, provider_ref, merchant, amount, currency,
                told, decline_code, decline_category, state, reason, attempts, occurred_at_s, received_at_s, decided_at_s
            FROM gateway_event ",
            $rest
        )
    };
}

const DUE: &str = select!(
    "WHERE state = 'received' AND due_at_ms <= $1 ORDER BY due_at_ms, received_at_s, event_id LIMIT $2"
);

/// Events that wait to be applied, the longest waiting first.
pub async fn list_due_gateway_events(
    tx: &mut Tx,
    now_ms: i64,
    limit: i64,
) -> Result<Vec<StoredGatewayEvent>, Fault> {
    on!(tx, conn => sqlx::query_as(DUE).bind(now_ms).bind(limit).fetch_all(conn).await)
        .map_err(while_doing("list due gateway events"))
}

const OF_CHARGE: &str =
    select!("WHERE provider = $1 AND charge_id = $2 ORDER BY received_at_s, event_id LIMIT $3");

/// Events that name a charge, also those of its refunds and disputes, oldest first.
pub async fn list_gateway_events_of_charge(
    tx: &mut Tx,
    provider: &str,
    charge_id: &str,
    limit: i64,
) -> Result<Vec<StoredGatewayEvent>, Fault> {
    on!(tx, conn => sqlx::query_as(OF_CHARGE).bind(provider).bind(charge_id).bind(limit).fetch_all(conn).await)
        .map_err(while_doing("list the gateway events of a charge"))
}

const PARKED: &str = select!("WHERE state = 'parked' ORDER BY due_at_ms, event_id LIMIT $1");

/// Events that wait for a person, oldest first.
pub async fn list_parked_gateway_events(tx: &mut Tx, limit: i64) -> Result<Vec<StoredGatewayEvent>, Fault> {
    on!(tx, conn => sqlx::query_as(PARKED).bind(limit).fetch_all(conn).await)
        .map_err(while_doing("list parked gateway events"))
}

const COUNT_PARKED: &str = "SELECT COUNT(*) FROM gateway_event WHERE state = 'parked'";

/// How many events wait for a person.
pub async fn count_parked_gateway_events(tx: &mut Tx) -> Result<i64, Fault> {
    let (count,): (i64,) = on!(tx, conn => sqlx::query_as(COUNT_PARKED).fetch_one(conn).await)
        .map_err(while_doing("count parked gateway events"))?;
    Ok(count)
}

/// What was decided about an event.
#[derive(Debug, Clone, Copy)]
pub struct EventDecision<'a> {
    pub provider: &'a str,
    pub event_id: &'a str,
    /// The state it must be in.
    pub from: EventState,
    /// The state it goes to.
    pub to: EventState,
    /// Why, as a code.
    pub reason: Option<&'a str>,
    pub now: UnixSeconds,
}

const DECIDE: &str =
    "UPDATE gateway_event SET state = $4, reason = $5, decided_at_s = $6, expires_at_s = $7, attempts = 0
    WHERE provider = $1 AND event_id = $2 AND state = $3";

/// Moves an event on; `false` when it was not in the state it must be in.
pub async fn decide_gateway_event(tx: &mut Tx, decision: &EventDecision<'_>) -> Result<bool, Fault> {
    let done = matches!(decision.to, EventState::Applied | EventState::Ignored);
    let decided_at = (decision.to != EventState::Received).then_some(decision.now.0);
    let moved = on!(tx, conn => sqlx::query(DECIDE)
        .bind(decision.provider)
        .bind(decision.event_id)
        .bind(decision.from.as_str())
        .bind(decision.to.as_str())
        .bind(decision.reason)
        .bind(decided_at)
        .bind(done.then(|| decision.now.plus(EVENT_KEPT_S).0))
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("decide a gateway event"))?;
    Ok(moved == 1)
}

const POSTPONE: &str = "UPDATE gateway_event SET attempts = attempts + 1, due_at_ms = $3
    WHERE provider = $1 AND event_id = $2 AND state = 'received'";

/// Lets an event that could not be applied wait until `due_at_ms`.
pub async fn postpone_gateway_event(
    tx: &mut Tx,
    provider: &str,
    event_id: &str,
    due_at_ms: i64,
) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query(POSTPONE)
        .bind(provider)
        .bind(event_id)
        .bind(due_at_ms)
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("postpone a gateway event"))
}
