//! What the gateway tells of refunds and disputes (N16): once, in any order, only if it fits; the rest waits for a
//! person.

use resource_api::operations::parked_events;
use resource_api::sandbox::{DisputeAsk, EVERY_CHARGE, EventStep, Lie, RefundStep, Step};
use serde_json::{Value, json};

use super::{comes_to, heard, heard_in_the_end, open_order, order_state, tell, verdicts};
use crate::world::call::with_status;
use crate::world::{Call, Customer, Reply, World, charge_of, dispute_event, eventually, refund_event};

/// A completed order and its customer.
async fn paid(world: &World, amount: i64) -> (Value, Customer) {
    let customer = world.customer().await;
    let order = world.order(&customer, amount, "tok_success").await.expect(201);
    assert_eq!(order["state"], "completed", "{order}");
    (order, customer)
}

fn path_of(order: &Value) -> String {
    format!("/v1/fiat-ins/{}/refunds", order["id"].as_str().expect("an id"))
}

async fn refund(world: &World, order: &Value, amount: i64) -> Reply {
    let body = json!({ "amount": amount, "reason": "a test" });
    world.send(world.call_as("ta/backend", "POST", &path_of(order), Some(&body)).await).await
}

/// A refund whose answer from the gateway never comes; `steps` says what the gateway does, `events` what it tells.
async fn open_refund(
    world: &World,
    order: &Value,
    (steps, events): (Vec<RefundStep>, Vec<EventStep>),
) -> Value {
    let charge = charge_of(order);
    world.sandbox.script_refunds(&charge, steps);
    world.sandbox.script_refund_events(&charge, events);
    refund(world, order, 400).await.expect(202)
}

async fn read_refund(world: &World, order: &Value, refund: &Value) -> Value {
    let path = format!("{}/{}", path_of(order), refund["id"].as_str().expect("an id"));
    world.get_as("ta/backend", &path).await
}

async fn refund_comes_to(world: &World, order: &Value, (refund, state): (&Value, &str)) -> Value {
    eventually(state, || async {
        let now = read_refund(world, order, refund).await;
        (now["state"] == state).then_some(now)
    })
    .await
}

async fn refunded(world: &World, order: &Value) -> Value {
    let path = format!("/v1/fiat-ins/{}", order["id"].as_str().expect("an id"));
    world.get_as("ta/backend", &path).await["refunds"].clone()
}

async fn booked(world: &World, kind: &str) -> i64 {
    world.number(format!("SELECT COUNT(*) FROM ledger_txn WHERE kind = '{kind}'")).await
}

/// The reasons of all parked events, sorted, once there are this many.
async fn parked_for(world: &World, count: usize) -> Vec<String> {
    eventually("the events are parked", || async {
        let parked = parked_events::parked(&world.api.app.db).await.expect("a read");
        let mut reasons: Vec<String> = parked.into_iter().filter_map(|event| event.reason).collect();
        reasons.sort_unstable();
        (reasons.len() >= count).then_some(reasons)
    })
    .await
}

async fn dispute(world: &World, order: &Value, turn: &str) {
    let ask =
        DisputeAsk { charge: charge_of(order), turn: turn.to_owned(), times: 2, ..DisputeAsk::default() };
    world.sandbox.dispute(&ask).await.expect("a dispute of what was collected");
}

flows! {
    async fn n16_an_event_ends_a_refund_whose_answer_never_came(world: &mut World) {
        let receiver = world.receiver("ta").await;
        let (order, customer) = paid(world, 1_000).await;
        // The clock stands still: nobody asks the gateway again.
        let open = open_refund(world, &order, (vec![RefundStep::SucceedThenDrop], vec![EventStep::default()])).await;
        refund_comes_to(world, &order, (&open, "succeeded")).await;
        let charge = heard(world, &order, 1).await;
        assert_eq!(verdicts(&charge), ["applied/-"], "{charge}");
        assert_eq!((&charge["events"][0]["about"], &charge["events"][0]["told"]), (&json!("refund"), &json!("succeeded")));
        assert_eq!((order_state(world, &order).await.as_str(), world.available(&customer).await), ("partially_refunded", 600));
        receiver.wait_for("refund.succeeded", |event| event["type"] == "refund.succeeded").await;
        assert_eq!(booked(world, "refund").await, 1);
    }

    async fn n16_a_refund_event_before_our_own_answer_and_again_books_once(world: &mut World) {
        let (order, customer) = paid(world, 1_000).await;
        let before = EventStep { before_answer: true, hold_answer: true, times: 3, ..EventStep::default() };
        world.sandbox.script_refund_events(EVERY_CHARGE, vec![before, EventStep::default()]);
        let meanwhile = async {
            let went_back = || async { (refunded(world, &order).await["refunded"] == 400).then_some(()) };
            eventually("the event is applied", went_back).await;
            world.sandbox.release();
        };
        let (reply, ()) = tokio::join!(refund(world, &order, 400), meanwhile);
        assert_eq!(reply.expect(201)["state"], "succeeded");
        let verdicts = verdicts(&heard(world, &order, 2).await);
        assert_eq!(verdicts, ["applied/-", "ignored/known"], "one event however often it comes");
        assert_eq!((booked(world, "refund").await, world.available(&customer).await), (1, 600));
        assert_eq!(refunded(world, &order).await, json!({ "refunded": 400, "in_flight": 0 }));
    }

    async fn n16_a_failing_refund_event_frees_the_money_and_a_vague_one_decides_nothing(world: &mut World) {
        let (order, customer) = paid(world, 1_000).await;
        let open = open_refund(world, &order, (vec![RefundStep::Drop], Vec::new())).await;
        let mut vague = refund_event(&open, "failed");
        vague["data"]["decline_code"] = json!("try_again_later");
        tell(world, "gev_1", &vague).await;
        assert_eq!(verdicts(&heard(world, &order, 1).await), ["ignored/known"]);
        assert_eq!((read_refund(world, &order, &open).await["state"].as_str(), world.available(&customer).await), (Some("unknown"), 600));
        tell(world, "gev_2", &refund_event(&open, "failed")).await;
        let failed = refund_comes_to(world, &order, (&open, "failed")).await;
        assert_eq!(failed["decline_code"], "refund_declined");
        assert_eq!((order_state(world, &order).await.as_str(), world.available(&customer).await), ("completed", 1_000));
        assert_eq!(booked(world, "refund").await, 0);
    }

    async fn n16_a_refunds_end_before_its_beginning_stays_and_another_end_waits_for_a_person(world: &mut World) {
        let (order, customer) = paid(world, 1_000).await;
        let open = open_refund(world, &order, (vec![RefundStep::SucceedThenDrop], Vec::new())).await;
        for (id, status) in [("gev_1", "succeeded"), ("gev_2", "pending"), ("gev_3", "succeeded"), ("gev_4", "failed")] {
            tell(world, id, &refund_event(&open, status)).await;
            refund_comes_to(world, &order, (&open, "succeeded")).await;
        }
        let mut twice = refund_event(&open, "succeeded");
        twice["data"]["id"] = json!("grf_another");
        tell(world, "gev_5", &twice).await;
        let charge = heard(world, &order, 5).await;
        let mut verdicts = verdicts(&charge);
        verdicts.sort_unstable();
        let expected = ["applied/-", "ignored/known", "ignored/known", "parked/ended_otherwise", "parked/other_refund_at_gateway"];
        assert_eq!(verdicts, expected, "{charge}");
        assert_eq!((booked(world, "refund").await, world.available(&customer).await), (1, 600));
    }

    async fn n16_a_refund_event_that_does_not_fit_is_parked_and_nothing_is_booked_for_it(world: &mut World) {
        let lies = [Lie::Amount, Lie::Currency, Lie::Merchant, Lie::Reference, Lie::Charge];
        let (order, customer) = paid(world, 1_000).await;
        let told = lies.map(|lie| EventStep { lie: Some(lie), ..EventStep::default() });
        let open = open_refund(world, &order, (vec![RefundStep::SucceedThenDrop], told.to_vec())).await;
        let expected = ["unknown_reference", "unknown_reference", "wrong_amount", "wrong_currency", "wrong_merchant"];
        assert_eq!(parked_for(world, 5).await, expected);
        assert_eq!((booked(world, "refund").await, read_refund(world, &order, &open).await["state"].as_str()), (0, Some("unknown")));
        // Another order's charge is none of this refund.
        let other = world.order(&customer, 500, "tok_success").await.expect(201);
        let mut elsewhere = refund_event(&open, "succeeded");
        elsewhere["data"]["charge"] = json!(charge_of(&other));
        tell(world, "gev_1", &elsewhere).await;
        assert_eq!(verdicts(&heard(world, &other, 1).await), ["parked/other_charge"]);
        // The truth is found by asking, and booked once.
        world.clock.advance(31);
        refund_comes_to(world, &order, (&open, "succeeded")).await;
        assert_eq!((booked(world, "refund").await, world.available(&customer).await), (1, 1_100));
    }

    async fn n16_each_turn_of_a_dispute_counts_once_however_often_it_is_told(world: &mut World) {
        let receiver = world.receiver("ta").await;
        let (order, customer) = paid(world, 1_000).await;
        dispute(world, &order, "opened").await;
        comes_to(world, &order, "disputed").await;
        refund(world, &order, 100).await.refused(409, "not_refundable");
        dispute(world, &order, "won").await;
        comes_to(world, &order, "completed").await;
        tell(world, "gev_z", &dispute_event(&charge_of(&order), 1_000, "won")).await;
        let charge = heard(world, &order, 3).await;
        assert_eq!(verdicts(&charge), ["applied/-", "applied/-", "ignored/known"], "{charge}");
        assert_eq!(charge["events"][0]["about"], "dispute");
        assert_eq!(world.available(&customer).await, 1_000, "nothing was booked");
        for kind in ["dispute.opened", "dispute.won"] {
            receiver.wait_for(kind, |event| event["type"] == kind).await;
        }
        // An end that was told once is no other end.
        dispute(world, &order, "lost").await;
        assert_eq!(parked_for(world, 1).await, ["ended_otherwise"]);
        assert_eq!((order_state(world, &order).await.as_str(), booked(world, "chargeback").await), ("completed", 0));
    }

    async fn n16_a_disputes_end_before_its_beginning_takes_the_money_once(world: &mut World) {
        let (order, customer) = paid(world, 1_000).await;
        dispute(world, &order, "lost").await;
        comes_to(world, &order, "charged_back").await;
        dispute(world, &order, "opened").await;
        let charge = heard(world, &order, 2).await;
        assert_eq!(verdicts(&charge), ["applied/-", "ignored/known"], "{charge}");
        assert_eq!((order_state(world, &order).await.as_str(), world.available(&customer).await), ("charged_back", 0));
        assert_eq!(booked(world, "chargeback").await, 1);
    }

    async fn n16_a_dispute_that_does_not_fit_is_parked_and_nothing_is_booked_for_it(world: &mut World) {
        let (order, customer) = paid(world, 1_000).await;
        let charge = charge_of(&order);
        let unknown = "chg_ffffffffffffffffffffffffffffffff";
        for (id, charge, amount, currency) in [
            ("gev_1", charge.as_str(), 1_001, "EUR"), ("gev_2", &charge, 0, "EUR"), ("gev_3", &charge, -5, "EUR"),
            ("gev_4", &charge, 1_000, "USD"), ("gev_5", &charge, 1_000, "QQQ"), ("gev_6", unknown, 1_000, "EUR"),
        ] {
            let mut told = dispute_event(charge, amount, "lost");
            told["data"]["currency"] = json!(currency);
            tell(world, id, &told).await;
        }
        let expected =
            ["unknown_reference", "wrong_amount", "wrong_amount", "wrong_amount", "wrong_currency", "wrong_currency"];
        assert_eq!(parked_for(world, 6).await, expected);
        assert_eq!((order_state(world, &order).await.as_str(), world.available(&customer).await), ("completed", 1_000));
        assert_eq!((booked(world, "chargeback").await, world.rows("dispute").await), (0, Vec::new()));
    }

    async fn a_parked_dispute_is_tried_again_once_its_charge_is_known_to_be_collected(world: &mut World) {
        let customer = world.customer().await;
        let order = open_order(world, &customer, vec![Step::CaptureThenDrop]).await;
        dispute(world, &order, "opened").await;
        assert_eq!(parked_for(world, 1).await, ["not_collected"]);
        world.clock.advance(31);
        comes_to(world, &order, "completed").await;
        let db = &world.api.app.db;
        let parked = parked_events::parked(db).await.expect("a read");
        let (id, said) = (parked[0].event_id.as_str(), (parked_events::Verdict::Again, "it is collected now"));
        assert!(parked_events::decide_parked(db, &world.platform, ("sandbox", id), said).await.expect("a write"));
        comes_to(world, &order, "disputed").await;
        assert_eq!(verdicts(&heard(world, &order, 1).await), ["applied/-"]);
    }

    async fn n16_of_many_refund_events_and_our_own_look_at_once_one_books(world: &mut World) {
        let (order, customer) = paid(world, 1_000).await;
        let open = open_refund(world, &order, (vec![RefundStep::SucceedThenDrop], Vec::new())).await;
        let body = refund_event(&open, "succeeded");
        let mut calls: Vec<Call> =
            (0..16).map(|number| world.genuine_event(&format!("gev_{number}"), &body)).collect();
        calls.extend(calls.clone());
        // The recovery worker looks at the same time.
        world.clock.advance(6);
        assert_eq!(with_status(&world.race(calls).await, 200), 32);
        let charge = heard_in_the_end(world, &order, 16).await;
        let applied = verdicts(&charge).iter().filter(|verdict| *verdict == "applied/-").count();
        assert!(applied <= 1, "{charge}");
        refund_comes_to(world, &order, (&open, "succeeded")).await;
        assert_eq!((booked(world, "refund").await, world.available(&customer).await), (1, 600));
    }

    async fn n16_of_contradicting_turns_of_a_dispute_at_once_one_is_the_end(world: &mut World) {
        let (order, customer) = paid(world, 1_000).await;
        let charge = charge_of(&order);
        let turns = ["opened", "won", "lost"];
        let calls: Vec<Call> = (0..18)
            .map(|number| world.genuine_event(&format!("gev_{number}"), &dispute_event(&charge, 1_000, turns[number % 3])))
            .collect();
        assert_eq!(with_status(&world.race(calls).await, 200), 18);
        let told = heard_in_the_end(world, &order, 18).await;
        let ends = verdicts(&told).iter().filter(|verdict| *verdict == "parked/ended_otherwise").count();
        assert_eq!(ends, 6, "every other end waits for a person: {told}");
        let lost = order_state(world, &order).await == "charged_back";
        assert!(lost || order_state(world, &order).await == "completed");
        let expected = if lost { (1, 0) } else { (0, 1_000) };
        assert_eq!((booked(world, "chargeback").await, world.available(&customer).await), expected);
    }

    async fn a_refund_event_that_was_answered_is_applied_after_a_restart(world: &mut World) {
        let (order, customer) = paid(world, 1_000).await;
        let open = open_refund(world, &order, (vec![RefundStep::SucceedThenDrop], Vec::new())).await;
        tell(world, "gev_1", &refund_event(&open, "succeeded")).await;
        world.restart_api().await;
        // Should the node that ended not have given its lease back: it expires before the refund is looked at again.
        world.clock.advance(4);
        refund_comes_to(world, &order, (&open, "succeeded")).await;
        assert_eq!((booked(world, "refund").await, world.available(&customer).await), (1, 600));
    }
}
