//! What the payment gateway tells by itself (security.md N16): genuine or not, before our own answer, late, repeated, in
//! any order, and untrue. A charge is booked at most once, and only for what fits it; the rest waits for a person.

mod repayments;

use keys::webhook::TOLERANCE_S;
use resource_api::operations::parked_events;
use resource_api::sandbox::{EventStep, Lie, Step};
use serde_json::{Value, json};

use crate::world::call::with_status;
use crate::world::{
    Call, Customer, EVENT_SECRET, EVENT_SECRET_BEFORE, PAUSE, Reply, World, charge_of, eventually,
    gateway_event,
};

/// Sends a genuine event, which is taken.
async fn tell(world: &World, id: &str, body: &Value) {
    let reply = world.send(world.genuine_event(id, body)).await;
    assert_eq!(reply.expect(200), json!({ "received": true }));
}

/// An order whose answer from the gateway never came; `steps` says what the gateway did.
async fn open_order(world: &World, customer: &Customer, steps: Vec<Step>) -> Value {
    let token = world.unique("tok");
    world.sandbox.script(&token, steps);
    let order = world.order(customer, 1_000, &token).await.expect(202);
    assert_eq!(order["charge"]["state"], "unknown", "{order}");
    order
}

async fn order_state(world: &World, order: &Value) -> String {
    let path = format!("/v1/fiat-ins/{}", order["id"].as_str().expect("an id"));
    world.get_as("ta/backend", &path).await["state"].as_str().expect("a state").to_owned()
}

async fn comes_to(world: &World, order: &Value, state: &str) {
    eventually(state, || async { (order_state(world, order).await == state).then_some(()) }).await;
}

/// The charge with its events, once none of at least `count` events waits any more.
async fn heard(world: &World, order: &Value, count: usize) -> Value {
    let path = format!("/v1/charges/{}", charge_of(order));
    eventually("the events are applied", || async {
        let charge = world.get_as("ta/backend", &path).await;
        let events = charge["events"].as_array().expect("events");
        let done = events.len() >= count && events.iter().all(|event| event["state"] != "received");
        done.then_some(charge)
    })
    .await
}

/// The same while time passes: on a busy machine a unit may take too long, and then the event is tried again later.
async fn heard_in_the_end(world: &World, order: &Value, count: usize) -> Value {
    let passing = async {
        for _ in 0..200 {
            tokio::time::sleep(PAUSE * 20).await;
            world.clock.advance(1);
        }
    };
    tokio::select! {
        charge = heard(world, order, count) => charge,
        () = passing => panic!("time passed in vain"),
    }
}

/// `state/reason` of each event, in the order in which they came.
fn verdicts(charge: &Value) -> Vec<String> {
    let word = |event: &Value, member: &str| event[member].as_str().unwrap_or("-").to_owned();
    let events = charge["events"].as_array().expect("events");
    events.iter().map(|event| format!("{}/{}", word(event, "state"), word(event, "reason"))).collect()
}

async fn refused_and_not_kept(world: &World, what: &str, call: Call) {
    let reply: Reply = world.send(call).await;
    assert_eq!(
        (reply.status, reply.body["code"].as_str()),
        (400, Some("bad_signature")),
        "{what}: {}",
        reply.text
    );
    assert_eq!(world.rows("gateway_event").await, Vec::<String>::new(), "{what}");
}

flows! {
    async fn n16_an_event_that_is_not_shown_to_be_the_gateways_is_refused_and_leaves_nothing(world: &mut World) {
        let customer = world.customer().await;
        let order = open_order(world, &customer, vec![Step::Drop]).await;
        let (body, now) = (gateway_event(&order, "captured"), world.now().0);
        let text = body.to_string();
        let stranger = world.event_delivery("gev_1", &text, ([9; 32], now));
        refused_and_not_kept(world, "another secret", stranger).await;
        for at in [now - TOLERANCE_S - 1, now + TOLERANCE_S + 1] {
            refused_and_not_kept(world, "another time", world.event_delivery("gev_1", &text, (EVENT_SECRET, at))).await;
        }
        let good = world.genuine_event("gev_1", &body);
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            let mut without = good.clone();
            without.headers.remove(name);
            refused_and_not_kept(world, name, without).await;
        }
        let mut other = body.clone();
        other["data"]["amount"] = json!(1);
        refused_and_not_kept(world, "another body", good.clone().with_body(other.to_string())).await;
        refused_and_not_kept(world, "another id", good.clone().header("webhook-id", "gev_2")).await;
        let elsewhere = good.clone().to(format!("{}/v1/gateway-events/stripe", world.resource));
        world.send(elsewhere).await.refused(404, "not_found");
        let huge = good.with_body(vec![b' '; 70_000]);
        assert_eq!(world.send(huge).await.status, 413);
        assert_eq!(world.rows("gateway_event").await, Vec::<String>::new());
        assert_eq!(order_state(world, &order).await, "processing");
    }

    async fn n16_while_a_rotation_lasts_the_secret_before_counts_too(world: &mut World) {
        let customer = world.customer().await;
        let order = open_order(world, &customer, vec![Step::CaptureThenDrop]).await;
        let text = gateway_event(&order, "captured").to_string();
        world.send(world.event_delivery("gev_old", &text, (EVENT_SECRET_BEFORE, world.now().0))).await.expect(200);
        comes_to(world, &order, "completed").await;
        world.assert_all_booked().await;
    }

    async fn n16_an_event_ends_an_order_whose_answer_never_came(world: &mut World) {
        let receiver = world.receiver("ta").await;
        let customer = world.customer().await;
        world.sandbox.script_events("tok_events_reversed", vec![EventStep::default()]);
        let order = world.order(&customer, 1_000, "tok_events_reversed").await.expect(202);
        comes_to(world, &order, "completed").await;
        let charge = heard(world, &order, 1).await;
        assert_eq!(verdicts(&charge), ["applied/-"], "{charge}");
        assert_eq!(charge["state"], "captured");
        assert_eq!(world.available(&customer).await, 1_000);
        receiver.wait_for("fiat_in.completed", |event| event["type"] == "fiat_in.completed").await;
        world.assert_all_booked().await;
    }

    async fn n16_a_declining_event_fails_the_order(world: &mut World) {
        let customer = world.customer().await;
        let order = open_order(world, &customer, vec![Step::Drop]).await;
        tell(world, "gev_1", &gateway_event(&order, "declined")).await;
        comes_to(world, &order, "failed").await;
        let charge = heard(world, &order, 1).await;
        assert_eq!((&charge["decline_code"], &charge["decline_category"]), (&json!("insufficient_funds"), &json!("soft")));
        // What is not known to be final decides nothing.
        let other = open_order(world, &customer, vec![Step::Drop]).await;
        let mut vague = gateway_event(&other, "declined");
        vague["data"]["decline_code"] = json!("try_again_later");
        tell(world, "gev_2", &vague).await;
        heard(world, &other, 1).await;
        assert_eq!(order_state(world, &other).await, "processing");
    }

    async fn n16_five_repeats_and_a_reversed_order_book_once(world: &mut World) {
        let customer = world.customer().await;
        let repeated = world.order(&customer, 1_000, "tok_event_five_times").await.expect(202);
        let reversed = world.order(&customer, 500, "tok_events_reversed").await.expect(202);
        for order in [&repeated, &reversed] {
            comes_to(world, order, "completed").await;
        }
        assert_eq!(verdicts(&heard(world, &repeated, 1).await), ["applied/-"], "one event however often it comes");
        let charge = heard(world, &reversed, 3).await;
        // The earlier words may be applied while `captured` is: they never take it back.
        let verdicts = verdicts(&charge);
        assert_eq!((verdicts.len(), verdicts[0].as_str()), (3, "applied/-"), "{charge}");
        assert!(verdicts.iter().all(|one| matches!(one.as_str(), "applied/-" | "ignored/stale" | "ignored/under_way")), "{charge}");
        assert_eq!((&charge["state"], world.available(&customer).await), (&json!("captured"), 1_500));
        world.assert_all_booked().await;
    }

    async fn n16_an_event_before_our_own_answer_books_once_and_the_answer_tells_it(world: &mut World) {
        let customer = world.customer().await;
        world.sandbox.script("tok_held", vec![Step::Capture]);
        world.sandbox.script_events(
            "tok_held",
            vec![EventStep { before_answer: true, hold_answer: true, ..EventStep::default() }],
        );
        let ordering = world.order(&customer, 1_000, "tok_held");
        let meanwhile = async {
            let captured = || async {
                let charges = world.get_as("ta/backend", "/v1/charges?state=captured").await;
                charges["data"].as_array()?.first().cloned()
            };
            let charge = eventually("the event is applied", captured).await;
            assert_eq!(world.available(&customer).await, 1_000, "before the gateway has answered");
            world.sandbox.release();
            charge
        };
        let (reply, charge) = tokio::join!(ordering, meanwhile);
        let order = reply.expect(201);
        assert_eq!((&order["state"], &order["charge"]["id"]), (&json!("completed"), &charge["id"]), "{order}");
        assert_eq!(world.available(&customer).await, 1_000);
        world.assert_all_booked().await;
    }

    async fn n16_what_does_not_fit_its_charge_is_parked_and_nothing_is_booked_for_it(world: &mut World) {
        let customer = world.customer().await;
        let lies = [
            (Lie::Amount, "parked/wrong_amount"),
            (Lie::Currency, "parked/wrong_currency"),
            (Lie::Merchant, "parked/wrong_merchant"),
        ];
        let mut orders = Vec::new();
        for (index, (lie, verdict)) in lies.into_iter().enumerate() {
            let token = format!("tok_lie_{index}");
            world.sandbox.script(&token, vec![Step::CaptureThenDrop]);
            world.sandbox.script_events(&token, vec![EventStep { lie: Some(lie), ..EventStep::default() }]);
            let order = world.order(&customer, 1_000, &token).await.expect(202);
            let charge = heard(world, &order, 1).await;
            assert_eq!(verdicts(&charge), [verdict], "{charge}");
            assert_eq!((charge["state"].as_str(), charge["settled_at"].as_i64()), (Some("unknown"), None), "{charge}");
            orders.push(order);
        }
        assert_eq!(world.available(&customer).await, 0);
        assert_eq!(world.rows("ledger_entry").await, Vec::<String>::new());
        // The truth is found by asking, and booked once.
        world.clock.advance(31);
        for order in &orders {
            comes_to(world, order, "completed").await;
        }
        assert_eq!(world.available(&customer).await, 3_000);
        world.assert_all_booked().await;
    }

    async fn n16_an_unknown_reference_and_an_event_that_nobody_understands_are_parked(world: &mut World) {
        let customer = world.customer().await;
        let order = world.order(&customer, 1_000, "tok_success").await.expect(201);
        let mut unknown = gateway_event(&order, "captured");
        unknown["data"]["reference"] = json!("chg_ffffffffffffffffffffffffffffffff");
        tell(world, "gev_1", &unknown).await;
        tell(world, "gev_2", &json!({ "type": "payout.paid", "data": {} })).await;
        let parked = || async {
            let count = world.number("SELECT COUNT(*) FROM gateway_event WHERE state = 'parked'".to_owned()).await;
            (count == 2).then_some(())
        };
        eventually("both are parked", parked).await;
        let rows = world.rows("gateway_event").await.join("\n");
        assert!(rows.contains("unknown_reference") && rows.contains("not_understood"), "{rows}");
        assert_eq!(world.available(&customer).await, 1_000);
        let metrics = world.send(Call::get(format!("http://{}/metrics", world.api.ops))).await.text;
        assert!(metrics.contains("gateway_events_parked") && metrics.contains("gateway_events_total"), "{metrics}");
    }

    async fn n16_after_an_end_no_event_changes_it(world: &mut World) {
        let customer = world.customer().await;
        let paid = world.order(&customer, 1_000, "tok_success").await.expect(201);
        for (id, status) in [("gev_1", "captured"), ("gev_2", "declined"), ("gev_3", "voided"), ("gev_4", "pending")] {
            tell(world, id, &gateway_event(&paid, status)).await;
        }
        let charge = heard(world, &paid, 4).await;
        assert_eq!(verdicts(&charge), ["ignored/known", "ignored/stale", "ignored/stale", "ignored/stale"], "{charge}");
        assert_eq!((&charge["state"], order_state(world, &paid).await.as_str()), (&json!("captured"), "completed"));
        // Another collection under our reference would be money twice: a person has to look.
        let mut twice = gateway_event(&paid, "captured");
        twice["data"]["id"] = json!("gch_another");
        tell(world, "gev_5", &twice).await;
        let charge = heard(world, &paid, 5).await;
        assert!(verdicts(&charge).contains(&"parked/other_charge_at_gateway".to_owned()), "{charge}");
        assert_eq!(world.available(&customer).await, 1_000);
        world.assert_all_booked().await;
    }

    async fn n16_a_repeated_id_with_another_body_is_answered_and_changes_nothing(world: &mut World) {
        let customer = world.customer().await;
        let order = open_order(world, &customer, vec![Step::Drop]).await;
        tell(world, "gev_1", &gateway_event(&order, "pending")).await;
        let first = heard(world, &order, 1).await;
        tell(world, "gev_1", &gateway_event(&order, "captured")).await;
        assert_eq!(heard(world, &order, 1).await["events"], first["events"]);
        assert_eq!((order_state(world, &order).await.as_str(), world.available(&customer).await), ("processing", 0));
    }

    async fn an_event_without_a_definite_word_has_the_gateway_asked_at_once(world: &mut World) {
        let customer = world.customer().await;
        let order = world.order(&customer, 1_000, "tok_success_then_lost_answer").await.expect(202);
        // The clock stands still: only the event can bring the next look.
        tell(world, "gev_1", &gateway_event(&order, "pending")).await;
        comes_to(world, &order, "completed").await;
        assert_eq!((world.available(&customer).await, world.sandbox.charges().len()), (1_000, 1));
        world.assert_all_booked().await;
    }

    async fn an_event_tells_that_the_payer_has_proved_who_they_are(world: &mut World) {
        let customer = world.customer().await;
        world.sandbox.script_events("tok_requires_action", vec![EventStep::default()]);
        let order = world.order(&customer, 1_000, "tok_requires_action").await.expect(202);
        assert_eq!(order["state"], "requires_action", "{order}");
        let page = order.pointer("/next_action/redirect_url").and_then(Value::as_str).expect("a page").to_owned();
        assert_eq!(world.send(Call::post_text(page, "outcome=confirm")).await.status, 200);
        // The clock stands still: nobody asks the gateway.
        comes_to(world, &order, "completed").await;
        // The first says what our own call heard, or is about to hear; or it is applied after the second.
        let verdicts = verdicts(&heard(world, &order, 2).await);
        assert!(matches!(verdicts[0].as_str(), "ignored/known" | "ignored/under_way" | "ignored/stale"), "{verdicts:?}");
        assert_eq!(verdicts[1], "applied/-");
        world.assert_all_booked().await;
    }

    async fn an_event_tells_that_the_money_is_reserved_and_it_is_collected_then(world: &mut World) {
        let customer = world.customer().await;
        world.sandbox.script("tok_reserved", vec![Step::AuthorizeThenDrop]);
        world.sandbox.script_events("tok_reserved", vec![EventStep::default()]);
        let order = world.order(&customer, 1_000, "tok_reserved").await.expect(202);
        comes_to(world, &order, "completed").await;
        assert_eq!(world.available(&customer).await, 1_000);
        let charge = heard(world, &order, 1).await;
        assert_eq!(verdicts(&charge)[0], "applied/-", "{charge}");
        world.assert_all_booked().await;
    }

    async fn a_parked_event_is_tried_again_or_left_aside_by_the_operator(world: &mut World) {
        let customer = world.customer().await;
        let order = open_order(world, &customer, vec![Step::CaptureThenDrop]).await;
        let mut other = gateway_event(&order, "captured");
        other["merchant"] = json!("mrc_somebody");
        tell(world, "gev_1", &other).await;
        assert_eq!(verdicts(&heard(world, &order, 1).await), ["parked/wrong_merchant"]);
        let db = &world.api.app.db;
        let parked = parked_events::parked(db).await.expect("a read");
        assert_eq!(parked.iter().map(|event| event.event_id.as_str()).collect::<Vec<_>>(), ["gev_1"]);
        let decide = async |id: &str, verdict| {
            let said = (verdict, "asked the gateway");
            parked_events::decide_parked(db, &world.platform, ("sandbox", id), said).await.expect("a write")
        };
        assert!(!decide("gev_2", parked_events::Verdict::Dismissed).await);
        // Nothing was put right: it is parked again.
        assert!(decide("gev_1", parked_events::Verdict::Again).await);
        assert_eq!(verdicts(&heard(world, &order, 1).await), ["parked/wrong_merchant"]);
        assert!(decide("gev_1", parked_events::Verdict::Dismissed).await);
        assert!(!decide("gev_1", parked_events::Verdict::Dismissed).await, "once");
        assert_eq!(verdicts(&heard(world, &order, 1).await), ["ignored/dismissed"]);
        assert_eq!((order_state(world, &order).await.as_str(), world.available(&customer).await), ("processing", 0));
    }

    async fn an_event_that_was_answered_is_applied_after_a_restart(world: &mut World) {
        let customer = world.customer().await;
        let order = open_order(world, &customer, vec![Step::CaptureThenDrop]).await;
        tell(world, "gev_1", &gateway_event(&order, "captured")).await;
        world.restart_api().await;
        // Should the node that ended not have given its lease back: it expires before the charge is looked at again.
        world.clock.advance(4);
        comes_to(world, &order, "completed").await;
        world.assert_all_booked().await;
    }

    async fn of_many_events_and_our_own_look_at_once_one_books(world: &mut World) {
        let customer = world.customer().await;
        let order = open_order(world, &customer, vec![Step::CaptureThenDrop]).await;
        let calls = |status: &str, from: usize| -> Vec<Call> {
            let body = gateway_event(&order, status);
            (from..from + 8).map(|number| world.genuine_event(&format!("gev_{number}"), &body)).collect()
        };
        let mut all = calls("captured", 0);
        all.extend(calls("pending", 8));
        all.extend(calls("captured", 0));
        // The recovery worker looks at the same time.
        world.clock.advance(6);
        let replies = world.race(all).await;
        assert_eq!(with_status(&replies, 200), 24);
        comes_to(world, &order, "completed").await;
        heard_in_the_end(world, &order, 16).await;
        assert_eq!(world.rows("ledger_txn").await.len(), 1);
        assert_eq!(world.available(&customer).await, 1_000);
        world.assert_all_booked().await;
    }

    async fn of_contradicting_events_at_once_one_is_the_end(world: &mut World) {
        let customer = world.customer().await;
        let order = open_order(world, &customer, vec![Step::CaptureThenDrop]).await;
        let calls: Vec<Call> = (0..16)
            .map(|number| {
                let status = if number % 2 == 0 { "captured" } else { "declined" };
                world.genuine_event(&format!("gev_{number}"), &gateway_event(&order, status))
            })
            .collect();
        assert_eq!(with_status(&world.race(calls).await, 200), 16);
        let charge = heard_in_the_end(world, &order, 16).await;
        let (state, balance) = (order_state(world, &order).await, world.available(&customer).await);
        match charge["state"].as_str() {
            Some("captured") => assert_eq!((state.as_str(), balance), ("completed", 1_000)),
            Some("declined") => assert_eq!((state.as_str(), balance), ("failed", 0)),
            other => panic!("{other:?}: {charge}"),
        }
        // Money beside a decline is in suspense, once.
        let late = verdicts(&charge).iter().filter(|verdict| *verdict == "applied/late_success").count();
        assert_eq!(late, usize::from(state == "failed"), "{charge}");
        let booked = world.rows("ledger_txn").await;
        assert_eq!(booked.len(), 1, "{booked:?}");
    }
}
