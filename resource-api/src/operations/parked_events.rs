//! What an operator does about events of the gateway that were parked. They belong to no partner for sure: one may name
//! a charge that nobody has. So it is the operator's work, with the commands, and audited.

use chassis::audit::{Actor, NewAudit, insert_audit};
use chassis::{Db, Fault, Platform};
use serde_json::json;

use crate::domain::charge_event::EventState;
use crate::store::gateway_events::{
    EventDecision, StoredGatewayEvent, decide_gateway_event, list_parked_gateway_events,
};

/// The most events shown at once.
const SHOWN: i64 = 1_000;

/// The reason of an event that an operator left aside.
const DISMISSED: &str = "dismissed";

/// What is done about a parked event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is tried again: what it did not fit was put right.
    Again,
    /// It was looked into, and nothing is to be done.
    Dismissed,
}

/// Events that are parked, oldest first, at most 1,000.
///
/// # Errors
/// The store's fault.
pub async fn parked(db: &Db) -> Result<Vec<StoredGatewayEvent>, Fault> {
    db.read(|tx| Box::pin(async move { list_parked_gateway_events(tx, SHOWN).await })).await
}

/// Decides a parked event. `note` is audited: no personal data. `false`: there is no parked event of that id.
///
/// # Errors
/// The store's fault.
pub async fn decide_parked(
    db: &Db,
    platform: &Platform,
    (provider, event_id): (&str, &str),
    (verdict, note): (Verdict, &str),
) -> Result<bool, Fault> {
    let (to, action, reason) = match verdict {
        Verdict::Again => (EventState::Received, "gateway_event.tried_again", None),
        Verdict::Dismissed => (EventState::Ignored, "gateway_event.dismissed", Some(DISMISSED)),
    };
    let audit = NewAudit::change(platform, Actor::node(), "", action, event_id);
    let audit = audit.with(json!({ "provider": provider, "note": note }));
    let (provider, event_id, now) = (provider.to_owned(), event_id.to_owned(), platform.now());
    db.write(move |tx| {
        let (provider, event_id, audit) = (provider.clone(), event_id.clone(), audit.clone());
        Box::pin(async move {
            let (provider, event_id) = (provider.as_str(), event_id.as_str());
            let decision = EventDecision { provider, event_id, from: EventState::Parked, to, reason, now };
            let decided = decide_gateway_event(tx, &decision).await?;
            if decided {
                insert_audit(tx, &[audit]).await?;
            }
            Ok(decided)
        })
    })
    .await
}
