//! Rows 7 and 8 of the crash table: events of the gateway that were answered and not yet applied, that came before our
//! own answer, that come again and in reverse.

use std::sync::Arc;
use std::time::Duration;

use chassis::db::Engine;
use serde_json::Value;

use super::history::{History, Operation};
use super::rig::{Rig, Running};
use super::rows::{Stage, history, send, state, wallets};
use super::{PATIENCE, order_in};

/// The worker that applies events is held here: it has seen that one waits.
const BEFORE_APPLY: &str = "gateway_event.before_apply";
/// What an event told is booked, and not yet noted at the event.
const BEFORE_NOTE: &str = "gateway_event.before_note";

/// The events about the charge of an order, once there are as many and none waits if `decided`.
async fn events(running: &Running, reference: &str, (count, decided): (usize, bool)) -> Vec<Value> {
    let order = order_in(&running.dev, &running.token, reference, &["processing", "completed"]).await;
    let path = format!("/v1/charges/{}", order["charge"]["id"].as_str().expect("a charge"));
    let look = async {
        loop {
            let read = running.dev.get(&running.token, &path).await;
            let events = read.body["events"].as_array().cloned().unwrap_or_default();
            let waits = events.iter().any(|event| event["state"] == "received");
            if events.len() >= count && !(decided && waits) {
                return events;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, look).await;
    found.unwrap_or_else(|_| panic!("{reference}: no {count} events, or they are not decided"))
}

/// How many of these are in a state.
fn count(events: &[Value], state: &str) -> usize {
    events.iter().filter(|event| event["state"] == state).count()
}

/// Sends an order whose events are about to be held, until it was answered.
async fn answered(running: &Running, history: &Arc<History>, operation: Operation) {
    let answer = history.insist(running, operation).await;
    assert!(matches!(answer.status, 201 | 202), "{}", answer.body);
}

both_engines! {
    async fn row_7_an_event_before_our_own_answer_and_a_kill_after_the_call_book_once(engine: Engine) {
        let rig = Rig::on(engine).await;
        let history = history(&rig);
        let stage = Stage::new(&rig, &history);
        let mut running = rig.start().await;
        let names = ["row7-applied", "row7-waits"];
        let made = wallets(&running, &names).await;
        for (name, wallet) in names.iter().zip(&made) {
            let waits = *name == "row7-waits";
            rig.arm("fiat_in.after_call");
            if waits {
                rig.arm(BEFORE_APPLY);
            }
            // The event is taken with a 200 before the gateway answers our call.
            let operation = Operation::order(wallet, name, 1_000, "tok_event_before_answer");
            let lost = send(&running, &history, operation);
            rig.held("fiat_in.after_call").await;
            if waits {
                rig.held(BEFORE_APPLY).await;
                assert_eq!(count(&events(&running, name, (1, false)).await, "received"), 1);
                assert_eq!(state(&running, name).await, "processing");
            } else {
                // It is booked by the event while our own request is still held.
                order_in(&running.dev, &running.token, name, &["completed"]).await;
            }
            running = stage.restart(running).await;
            assert_eq!(lost.await.expect("a task"), None, "no answer arrived");
            order_in(&running.dev, &running.token, name, &["completed"]).await;
        }
        stage.assert_sound(&running).await;
        for name in names {
            let events = events(&running, name, (1, true)).await;
            assert_eq!(count(&events, "applied") + count(&events, "ignored"), events.len(), "{name}: {events:?}");
        }
    }

    async fn row_8_events_answered_and_not_applied_at_a_kill_repeated_and_reversed_are_applied_once(engine: Engine) {
        let rig = Rig::on(engine).await;
        let history = history(&rig);
        let stage = Stage::new(&rig, &history);
        let mut running = rig.start().await;
        // Of each: the token, where the worker is held, how many events there are.
        let cases = [
            ("row8-reversed", "tok_events_reversed", BEFORE_APPLY, 3),
            ("row8-reversed-booked", "tok_events_reversed", BEFORE_NOTE, 3),
            ("row8-repeated", "tok_event_five_times", BEFORE_APPLY, 1),
            ("row8-repeated-booked", "tok_event_five_times", BEFORE_NOTE, 1),
        ];
        let made = wallets(&running, &cases.map(|(name, ..)| name)).await;
        for ((name, token, point, told), wallet) in cases.iter().zip(&made) {
            rig.arm(point);
            answered(&running, &history, Operation::order(wallet, name, 700, token)).await;
            rig.held(point).await;
            // Each has its 200.
            let before = events(&running, name, (*told, false)).await;
            assert!(count(&before, "received") >= 1, "{name}: {before:?}");
            running = stage.restart(running).await;
            order_in(&running.dev, &running.token, name, &["completed"]).await;
            let after = events(&running, name, (*told, true)).await;
            assert_eq!((after.len(), count(&after, "parked")), (*told, 0), "{name}: {after:?}");
        }
        stage.assert_sound(&running).await;
    }
}
