//! Stored gateway events: kept once, decided once.

use chassis::testing::TestDatabase;
use keys::UnixSeconds;
use keys::token::Money;
use resource_api::domain::charge_event::{EventState, Told};
use resource_api::domain::refund::DisputeTurn;
use resource_api::domain::telling::{RefundWord, Telling};
use resource_api::gateway::{DeclineCategory, GatewayEvent, Said};
use resource_api::store::gateway_events::{
    EVENT_KEPT_S, EventDecision, Kept, count_parked_gateway_events, decide_gateway_event,
    insert_gateway_event, list_due_gateway_events, list_gateway_events_of_charge, list_parked_gateway_events,
    postpone_gateway_event,
};

use crate::{NOW, opened, unit};

const NOW_MS: i64 = NOW.0 * 1_000;

fn event(id: &str, hash: &str, said: bool) -> GatewayEvent {
    GatewayEvent {
        event_id: id.to_owned(),
        kind: "charge.declined".to_owned(),
        body_hash: hash.to_owned(),
        occurred_at: Some(UnixSeconds(5)),
        said: said.then(|| Said {
            telling: Telling::Charge(Told::Declined),
            reference: "chg_1".to_owned(),
            charge_id: "chg_1".to_owned(),
            provider_ref: "gch_1".to_owned(),
            merchant: None,
            money: Money { amount: 500, currency: "EUR".to_owned() },
            decline: Some(("insufficient_funds".to_owned(), Some(DeclineCategory::Soft))),
        }),
    }
}

fn decision(id: &str, from: EventState, to: EventState) -> EventDecision<'_> {
    EventDecision { provider: "sandbox", event_id: id, from, to, reason: Some("why"), now: NOW }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_kept_once_and_a_repeat_with_another_body_is_noticed() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        for (hash, kept) in [("a", Kept::New), ("a", Kept::Repeated), ("b", Kept::Differing)] {
            let new = event("gev_1", hash, true);
            let found =
                unit!(db, [new], tx => insert_gateway_event(tx, "sandbox", &new, (NOW, NOW_MS)).await);
            assert_eq!(found, kept, "{hash}");
        }
        // Another gateway's id is another event.
        let new = event("gev_1", "c", true);
        let found = unit!(db, [new], tx => insert_gateway_event(tx, "other", &new, (NOW, NOW_MS)).await);
        assert_eq!(found, Kept::New);
        let of_charge = unit!(db, [], tx => list_gateway_events_of_charge(tx, "sandbox", "chg_1", 10).await);
        let [kept] = of_charge.as_slice() else { panic!("{of_charge:?}") };
        assert_eq!(kept.telling().unwrap(), Some(Telling::Charge(Told::Declined)));
        assert_eq!((kept.amount, kept.decline_code.as_deref()), (Some(500), Some("insufficient_funds")));
        assert_eq!((kept.state.as_str(), kept.decided_at_s), ("received", None));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_a_refund_or_a_dispute_is_kept_with_its_charge() {
    let tellings =
        [(Telling::Refund(RefundWord::Failed), "rfd_1"), (Telling::Dispute(DisputeTurn::Lost), "chg_1")];
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        for (telling, reference) in tellings {
            let mut new = event(reference, "a", true);
            let said = new.said.as_mut().unwrap();
            (said.telling, said.reference) = (telling, reference.to_owned());
            said.decline = Some(("refund_declined".to_owned(), None));
            unit!(db, [new], tx => insert_gateway_event(tx, "sandbox", &new, (NOW, NOW_MS)).await);
        }
        let mut kept = unit!(db, [], tx => list_gateway_events_of_charge(tx, "sandbox", "chg_1", 10).await);
        kept.sort_by(|a, b| b.event_id.cmp(&a.event_id));
        let read: Vec<_> =
            kept.iter().map(|kept| kept.telling().unwrap().zip(kept.reference.as_deref())).collect();
        assert_eq!(read, tellings.map(Some));
        assert_eq!(
            (kept[0].decline_code.as_deref(), &kept[0].decline_category),
            (Some("refund_declined"), &None)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_decided_once_and_only_what_is_settled_expires() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        for id in ["gev_1", "gev_2"] {
            let new = event(id, id, id == "gev_1");
            unit!(db, [new], tx => insert_gateway_event(tx, "sandbox", &new, (NOW, NOW_MS)).await);
        }
        let decide = async |id: &'static str, from, to| {
            let given = (from, to);
            unit!(db, [given], tx => decide_gateway_event(tx, &decision(id, given.0, given.1)).await)
        };
        assert!(decide("gev_1", EventState::Received, EventState::Applied).await);
        assert!(!decide("gev_1", EventState::Received, EventState::Parked).await, "it is decided");
        assert!(decide("gev_2", EventState::Received, EventState::Parked).await);
        assert_eq!(unit!(db, [], tx => count_parked_gateway_events(tx).await), 1);
        let parked = unit!(db, [], tx => list_parked_gateway_events(tx, 10).await);
        assert_eq!((parked[0].event_id.as_str(), parked[0].reason.as_deref()), ("gev_2", Some("why")));
        assert_eq!(parked[0].telling().unwrap(), None);
        assert!(unit!(db, [], tx => list_due_gateway_events(tx, NOW_MS, 10).await).is_empty());
        let sweeper = chassis::sweeper::Sweeper::new(db.clone(), swept_at(EVENT_KEPT_S + 1));
        let sweeper = sweeper.table("gateway_event", "expires_at_s", "provider, event_id");
        assert_eq!(sweeper.sweep().await.unwrap(), 1, "a parked one stays");
        assert!(decide("gev_2", EventState::Parked, EventState::Received).await);
        let due = unit!(db, [], tx => list_due_gateway_events(tx, NOW_MS, 10).await);
        assert_eq!((due.len(), due[0].attempts, due[0].decided_at_s), (1, 0, None));
    }
}

/// A machine on which so many seconds have passed.
fn swept_at(after_s: i64) -> chassis::Platform {
    let (platform, _) = chassis::testing::platform();
    let clock = std::sync::Arc::new(chassis::FixedClock::at(NOW.0 + after_s));
    chassis::Platform { clock, ..platform }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_postponed_event_waits_and_counts_its_tries() {
    for database in TestDatabase::both().await {
        let db = opened(&database).await;
        let new = event("gev_1", "a", true);
        unit!(db, [new], tx => insert_gateway_event(tx, "sandbox", &new, (NOW, NOW_MS)).await);
        unit!(db, [], tx => postpone_gateway_event(tx, "sandbox", "gev_1", NOW_MS + 1_000).await);
        assert!(unit!(db, [], tx => list_due_gateway_events(tx, NOW_MS + 999, 10).await).is_empty());
        let due = unit!(db, [], tx => list_due_gateway_events(tx, NOW_MS + 1_000, 10).await);
        assert_eq!((due.len(), due[0].attempts), (1, 1));
    }
}
