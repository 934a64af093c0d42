//! Charges in the hands of people: who may look, ask again, and settle what could not be found out — once, by another
//! client than the one that made the order, with evidence.

use chassis::audit::{AuditFilter, list_audit};
use resource_api::sandbox::Step;
use serde_json::{Value, json};

use crate::world::call::with_status;
use crate::world::{Call, Customer, Reply, World, charge_of, eventually, gateway_event};

/// The gateway's keys are gone after a day: whatever is still unknown then is left to a person.
const GIVEN_UP_S: i64 = 86_401;

async fn read(world: &World, charge: &str) -> Value {
    world.get_as("ta/backend", &format!("/v1/charges/{charge}")).await
}

async fn order_state(world: &World, order: &Value) -> String {
    let path = format!("/v1/fiat-ins/{}", order["id"].as_str().expect("an id"));
    world.get_as("ta/backend", &path).await["state"].as_str().expect("a state").to_owned()
}

/// Lets a day pass and waits until the charge of the order is left to a person; the directory is fresh again.
async fn left_to_a_person(world: &World, order: &Value) -> String {
    let charge = charge_of(order);
    world.clock.advance(GIVEN_UP_S);
    world.api.ready().await;
    eventually("the charge is left to a person", || async {
        (read(world, &charge).await["state"] == "manual").then_some(())
    })
    .await;
    charge
}

/// An order that the gateway collected and never told of: it is unreachable since.
async fn collected_in_silence(world: &World, customer: &Customer) -> Value {
    world.sandbox.script("tok_gone", vec![Step::CaptureThenDrop]);
    let order = world.order(customer, 1_000, "tok_gone").await.expect(202);
    world.sandbox.vanish(true);
    order
}

/// An order of which the gateway never knew anything.
async fn never_collected(world: &World, customer: &Customer) -> Value {
    world.sandbox.script("tok_broken", vec![Step::ServerError]);
    world.order(customer, 1_000, "tok_broken").await.expect(202)
}

fn captured() -> Value {
    json!({ "outcome": "captured", "evidence": "settlement report 2026-01-02, line 4", "provider_ref": "gch_seen" })
}

fn declined() -> Value {
    json!({ "outcome": "declined", "evidence": "support case 77 of the gateway", "decline_code": "card_declined" })
}

async fn resolve_call(world: &World, client: &str, charge: &str, body: &Value) -> Call {
    world.call_as(client, "POST", &format!("/v1/charges/{charge}/resolve"), Some(body)).await
}

async fn resolve(world: &World, client: &str, charge: &str, body: &Value) -> Reply {
    world.send(resolve_call(world, client, charge, body).await).await
}

/// A genuine event of the gateway about the charge of an order.
fn captured_event(world: &World, id: &str, order: &Value) -> Call {
    world.genuine_event(id, &gateway_event(order, "captured"))
}

flows! {
    async fn a_second_client_settles_what_could_not_be_found_out_and_the_wallet_is_credited_once(world: &mut World) {
        let receiver = world.receiver("ta").await;
        let customer = world.customer().await;
        let order = collected_in_silence(world, &customer).await;
        let charge = left_to_a_person(world, &order).await;
        assert_eq!(order_state(world, &order).await, "processing");
        let waiting = world.get_as("ta/backend", "/v1/charges?state=manual").await;
        assert_eq!(waiting["data"][0]["id"], json!(charge), "{waiting}");
        resolve(world, "ta/backend", &charge, &captured()).await.refused(403, "insufficient_scope");
        resolve(world, "tb/reviewer", &charge, &captured()).await.refused(404, "not_found");

        let call = resolve_call(world, "ta/reviewer", &charge, &captured()).await;
        let settled = world.send(call.clone()).await;
        assert_eq!((settled.status, &settled.body["state"]), (200, &json!("captured")), "{}", settled.text);
        assert_eq!(settled.body["resolution"]["evidence"], captured()["evidence"]);
        assert_eq!(settled.body["provider_ref"], "gch_seen");
        let heard = settled.body["attempts"].as_array().expect("what was heard");
        let by_person = |one: &Value| one["channel"] == "person" && one["heard"] == "captured";
        assert!(heard.iter().any(by_person), "{heard:?}");
        assert_eq!(world.send(call.clone()).await.same(), settled.same(), "a repeat is answered alike");
        let changed = world.send(call.with_body(declined().to_string())).await;
        assert_eq!(changed.status, 422, "{}", changed.text);
        resolve(world, "ta/reviewer", &charge, &declined()).await.refused(409, "terminal");

        assert_eq!((order_state(world, &order).await.as_str(), world.available(&customer).await), ("completed", 1_000));
        let completed = |event: &Value| event["type"] == "fiat_in.completed";
        receiver.wait_for("fiat_in.completed", completed).await;
        world.assert_all_booked().await;

        let filter = AuditFilter { action: Some("charge.resolved".to_owned()), ..AuditFilter::default() };
        let rows = world.api.app.db.read(move |tx| {
            let filter = filter.clone();
            Box::pin(async move { list_audit(tx, &filter, 10).await })
        });
        let rows = rows.await.expect("the audit");
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((&row.client_id, &row.object_id), (&world.client("ta/reviewer").client_id, &charge));
        assert!(row.details.contains("settlement report 2026-01-02, line 4"), "{row:?}");
    }

    async fn a_charge_settled_as_declined_fails_the_order_and_a_later_capture_goes_to_suspense(world: &mut World) {
        let customer = world.customer().await;
        let order = never_collected(world, &customer).await;
        let charge = left_to_a_person(world, &order).await;
        let settled = resolve(world, "ta/reviewer", &charge, &declined()).await.expect(200);
        assert_eq!((&settled["state"], &settled["decline_code"]), (&json!("declined"), &json!("card_declined")));
        assert_eq!((order_state(world, &order).await.as_str(), world.available(&customer).await), ("failed", 0));
        world.send(captured_event(world, "gev_1", &order)).await.expect(200);
        let applied = || async {
            let events = read(world, &charge).await["events"].clone();
            (events[0]["state"] == "applied").then(|| events[0]["reason"].clone())
        };
        assert_eq!(eventually("the event is applied", applied).await, "late_success");
        assert_eq!((order_state(world, &order).await.as_str(), world.available(&customer).await), ("failed", 0));
        let suspense = "SELECT COUNT(*) FROM ledger_txn WHERE kind = 'late_success'";
        assert_eq!(world.number(suspense.to_owned()).await, 1);
    }

    async fn the_client_that_made_an_order_does_not_settle_its_charge(world: &mut World) {
        let customer = world.customer().await;
        world.sandbox.script("tok_broken", vec![Step::ServerError]);
        let mut body = world.payment(&customer, 1_000, "tok_broken");
        body["customer"] = json!(customer.customer_id);
        let order = world.post_as("ta/both", "/v1/fiat-ins", &body, 202).await;
        resolve(world, "ta/reviewer", &charge_of(&order), &declined()).await.refused(409, "invalid_state");
        let charge = left_to_a_person(world, &order).await;
        for body in [captured(), declined()] {
            resolve(world, "ta/both", &charge, &body).await.refused(403, "four_eyes_required");
        }
        assert_eq!(read(world, &charge).await["state"], "manual");
        resolve(world, "ta/reviewer", &charge, &declined()).await.expect(200);
        resolve(world, "ta/both", &charge, &declined()).await.refused(409, "terminal");
    }

    async fn evidence_is_needed_and_holds_no_card_number(world: &mut World) {
        let customer = world.customer().await;
        let order = never_collected(world, &customer).await;
        let charge = left_to_a_person(world, &order).await;
        let long = "x".repeat(501);
        for (evidence, code) in [
            ("  ", "evidence_required"),
            (long.as_str(), "evidence_too_long"),
            ("card 4242 4242 4242 4242 was charged", "evidence_not_allowed"),
        ] {
            let body = json!({ "outcome": "declined", "evidence": evidence });
            let reply = resolve(world, "ta/reviewer", &charge, &body).await;
            reply.refused(422, code);
            reply.points_at("/evidence");
            assert!(!reply.text.contains("4242 4242"), "{}", reply.text);
        }
        let wrong = json!({ "outcome": "captured", "evidence": "x", "decline_code": "card_declined" });
        resolve(world, "ta/reviewer", &charge, &wrong).await.refused(422, "decline_code_not_allowed");
        let other = json!({ "outcome": "refunded", "evidence": "x" });
        let reply = resolve(world, "ta/reviewer", &charge, &other).await;
        assert!(matches!(reply.status, 400 | 422), "{}", reply.text);
        assert_eq!(read(world, &charge).await["state"], "manual");
    }

    async fn of_many_who_settle_a_charge_at_once_one_does(world: &mut World) {
        let customer = world.customer().await;
        let order = collected_in_silence(world, &customer).await;
        let charge = left_to_a_person(world, &order).await;
        let mut calls = Vec::new();
        for index in 0..16 {
            let client = if index % 3 == 0 { "ta/both" } else { "ta/reviewer" };
            let body = if index % 2 == 0 { captured() } else { declined() };
            calls.push(resolve_call(world, client, &charge, &body).await);
        }
        let replies = world.race(calls).await;
        assert_eq!((with_status(&replies, 200), with_status(&replies, 409)), (1, 15));
        let winner = replies.iter().find(|reply| reply.status == 200).expect("a winner");
        let (state, balance) = if winner.body["state"] == "captured" { ("completed", 1_000) } else { ("failed", 0) };
        assert_eq!((order_state(world, &order).await.as_str(), world.available(&customer).await), (state, balance));
        assert_eq!(world.rows("charge_resolution").await.len(), 1);
    }

    async fn of_a_person_and_an_event_at_once_one_settles_the_charge(world: &mut World) {
        let customer = world.customer().await;
        let order = collected_in_silence(world, &customer).await;
        let charge = left_to_a_person(world, &order).await;
        let mut calls: Vec<Call> =
            (0..4).map(|number| captured_event(world, &format!("gev_{number}"), &order)).collect();
        for _ in 0..4 {
            calls.push(resolve_call(world, "ta/reviewer", &charge, &declined()).await);
        }
        let replies = world.race(calls).await;
        assert_eq!(with_status(&replies[..4], 200), 4, "every event is taken");
        let settled_by_hand = with_status(&replies[4..], 200);
        assert_eq!(settled_by_hand + with_status(&replies[4..], 409), 4);
        assert!(settled_by_hand <= 1);
        let done = || async {
            let charge = read(world, &charge).await;
            let waits = charge["events"].as_array()?.iter().any(|event| event["state"] == "received");
            (!waits && charge["settled_at"].is_i64()).then_some(charge)
        };
        let charge = eventually("the charge is settled", done).await;
        let by_hand = charge["resolution"].is_object();
        assert_eq!(by_hand, settled_by_hand == 1, "{charge}");
        let expected = if by_hand { ("failed", 0) } else { ("completed", 1_000) };
        assert_eq!((order_state(world, &order).await.as_str(), world.available(&customer).await), expected);
    }

    async fn a_probe_has_the_gateway_asked_now_also_for_a_charge_left_to_a_person(world: &mut World) {
        let customer = world.customer().await;
        let probe = async |charge: &str, client: &str| {
            let call = world.call_as(client, "POST", &format!("/v1/charges/{charge}/probe"), Some(&json!({}))).await;
            world.send(call).await
        };
        // The clock stands still: without the probe nobody would look.
        let order = world.order(&customer, 1_000, "tok_success_then_lost_answer").await.expect(202);
        let charge = charge_of(&order);
        probe(&charge, "ta/backend").await.refused(403, "insufficient_scope");
        probe(&charge, "tb/reviewer").await.refused(404, "not_found");
        assert_eq!(probe(&charge, "ta/reviewer").await.expect(202)["id"], json!(charge));
        eventually("it is found out", || async { (order_state(world, &order).await == "completed").then_some(()) }).await;
        probe(&charge, "ta/reviewer").await.refused(409, "terminal");

        let late = collected_in_silence(world, &customer).await;
        let charge = left_to_a_person(world, &late).await;
        world.sandbox.vanish(false);
        probe(&charge, "ta/reviewer").await.expect(202);
        eventually("it is found out", || async { (order_state(world, &late).await == "completed").then_some(()) }).await;
        assert_eq!(world.available(&customer).await, 2_000);
        world.assert_all_booked().await;
    }

    async fn a_charge_left_to_a_person_is_only_looked_for_because_the_gateway_may_have_forgotten_its_key(world: &mut World) {
        let customer = world.customer().await;
        let order = never_collected(world, &customer).await;
        let charge = left_to_a_person(world, &order).await;
        let (sent, heard) = (world.sandbox.arrivals(&charge), read(world, &charge).await["attempts"].clone());
        // Sent again, it would be collected now.
        world.sandbox.script("tok_broken", vec![Step::Capture]);
        let path = format!("/v1/charges/{charge}/probe");
        world.post_as("ta/reviewer", &path, &json!({}), 202).await;
        let looked = || async {
            let charge = read(world, &charge).await;
            let more = charge["attempts"].as_array()?.len() > heard.as_array()?.len();
            (more && charge["state"] == "manual").then_some(charge)
        };
        let after = eventually("it was looked for, and is left to a person again", looked).await;
        let probes = |list: &Value| list.as_array().map_or(0, |all| all.iter().filter(|one| one["channel"] == "probe").count());
        assert!(probes(&after["attempts"]) > probes(&heard), "{after}");
        assert_eq!((world.sandbox.arrivals(&charge), world.sandbox.charges().len()), (sent, 0));
    }

    async fn charges_are_listed_by_state_and_show_no_instrument(world: &mut World) {
        let customer = world.customer().await;
        for _ in 0..2 {
            world.order(&customer, 100, "tok_success").await.expect(201);
        }
        world.order(&customer, 100, "tok_decline").await.expect(201);
        let all = world.get_as("ta/backend", "/v1/charges").await;
        assert_eq!(all["data"].as_array().map(Vec::len), Some(3), "{all}");
        assert!(!all.to_string().contains("tok_"), "{all}");
        let declined = world.get_as("ta/backend", "/v1/charges?state=declined").await;
        assert_eq!((declined["data"].as_array().map(Vec::len), &declined["has_more"]), (Some(1), &json!(false)));
        assert_eq!(declined["data"][0]["decline_code"], "card_declined");
        let first = world.get_as("ta/backend", "/v1/charges?limit=2").await;
        let cursor = first["next_cursor"].as_str().expect("a cursor");
        let rest = world.get_as("ta/backend", &format!("/v1/charges?limit=2&cursor={cursor}")).await;
        assert_eq!(rest["data"].as_array().map(Vec::len), Some(1), "{rest}");
        let wrong = world.call_as("ta/backend", "GET", "/v1/charges?state=lost", None).await;
        world.send(wrong).await.refused(400, "invalid_state");
        let moved = format!("/v1/charges?state=captured&cursor={cursor}");
        let moved = world.call_as("ta/backend", "GET", &moved, None).await;
        world.send(moved).await.refused(400, "invalid_cursor");
        assert_eq!(world.get_as("tb/backend", "/v1/charges").await["data"], json!([]));
    }
}
