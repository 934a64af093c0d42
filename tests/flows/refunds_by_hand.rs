//! Refunds in the hands of people: what could not be found out is settled once, with evidence, by another client than
//! the ones that asked for it and that made the order.

use chassis::audit::{AuditFilter, list_audit};
use resource_api::sandbox::RefundStep;
use serde_json::{Value, json};

use crate::world::call::with_status;
use crate::world::{Call, Customer, Reply, World, charge_of, eventually, refund_event};

/// The gateway's keys are gone after a day: whatever is still unknown then is left to a person.
const GIVEN_UP_S: i64 = 86_401;

/// A refund of 400 out of 1,000 that was left to a person.
struct Left {
    /// Where it is read.
    path: String,
    /// As it was answered first.
    refund: Value,
    order: String,
    customer: Customer,
}

/// An order by one client, refunded by another, and left to a person; `step` is all that the gateway does about it.
async fn left_by(world: &World, (orderer, asker): (&str, &str), step: RefundStep) -> Left {
    let customer = world.customer().await;
    let mut body = world.payment(&customer, 1_000, "tok_success");
    body["customer"] = json!(customer.customer_id);
    let order = world.post_as(orderer, "/v1/fiat-ins", &body, 201).await;
    world.sandbox.script_refunds(&charge_of(&order), vec![step]);
    let order = order["id"].as_str().expect("an id").to_owned();
    let ask = json!({ "amount": 400, "reason": "a test" });
    let refund = world.post_as(asker, &format!("/v1/fiat-ins/{order}/refunds"), &ask, 202).await;
    let path = format!("/v1/fiat-ins/{order}/refunds/{}", refund["id"].as_str().expect("an id"));
    // Whatever it did, it is never heard of again.
    world.sandbox.vanish(true);
    world.clock.advance(GIVEN_UP_S);
    world.api.ready().await;
    let manual = || async { (world.get_as("ta/backend", &path).await["state"] == "manual").then_some(()) };
    eventually("the refund is left to a person", manual).await;
    Left { path, refund, order, customer }
}

/// The same by the partner's backend; the gateway gave the money back.
async fn left(world: &World) -> Left {
    left_by(world, ("ta/backend", "ta/second"), RefundStep::SucceedThenDrop).await
}

fn succeeded() -> Value {
    json!({ "outcome": "succeeded", "evidence": "settlement report 2026-01-02, line 9", "provider_ref": "grf_seen" })
}

fn failed() -> Value {
    json!({ "outcome": "failed", "evidence": "support case 78 of the gateway", "decline_code": "instrument_closed" })
}

async fn resolve_call(world: &World, client: &str, left: &Left, body: &Value) -> Call {
    world.call_as(client, "POST", &format!("{}/resolve", left.path), Some(body)).await
}

async fn resolve(world: &World, client: &str, left: &Left, body: &Value) -> Reply {
    world.send(resolve_call(world, client, left, body).await).await
}

/// State of the order, what went back, what is on its way, what the wallet has.
async fn standing(world: &World, left: &Left) -> (String, i64, i64, i64) {
    let order = world.get_as("ta/backend", &format!("/v1/fiat-ins/{}", left.order)).await;
    let number = |name: &str| order["refunds"][name].as_i64().expect("a number");
    let state = order["state"].as_str().expect("a state").to_owned();
    (state, number("refunded"), number("in_flight"), world.available(&left.customer).await)
}

fn returned() -> (String, i64, i64, i64) {
    ("partially_refunded".to_owned(), 400, 0, 600)
}

fn kept() -> (String, i64, i64, i64) {
    ("completed".to_owned(), 0, 0, 1_000)
}

flows! {
    async fn a_second_client_settles_a_refund_that_could_not_be_found_out_and_it_is_booked_once(world: &mut World) {
        let receiver = world.receiver("ta").await;
        let left = left(world).await;
        assert_eq!(standing(world, &left).await, ("completed".to_owned(), 0, 400, 600));
        resolve(world, "ta/backend", &left, &succeeded()).await.refused(403, "insufficient_scope");
        resolve(world, "tb/reviewer", &left, &succeeded()).await.refused(404, "not_found");

        let call = resolve_call(world, "ta/reviewer", &left, &succeeded()).await;
        let settled = world.send(call.clone()).await;
        assert_eq!((settled.status, &settled.body["state"]), (200, &json!("succeeded")), "{}", settled.text);
        assert_eq!(settled.body["resolution"]["evidence"], succeeded()["evidence"]);
        assert_eq!(world.get_as("ta/backend", &left.path).await, settled.body);
        assert_eq!(world.send(call.clone()).await.same(), settled.same(), "a repeat is answered alike");
        let changed = world.send(call.with_body(failed().to_string())).await;
        assert_eq!(changed.status, 422, "{}", changed.text);
        resolve(world, "ta/reviewer", &left, &failed()).await.refused(409, "terminal");
        assert_eq!(standing(world, &left).await, returned());
        receiver.wait_for("refund.succeeded", |event| event["type"] == "refund.succeeded").await;

        let filter = AuditFilter { action: Some("refund.resolved".to_owned()), ..AuditFilter::default() };
        let rows = world.api.app.db.read(move |tx| {
            let filter = filter.clone();
            Box::pin(async move { list_audit(tx, &filter, 10).await })
        });
        let rows = rows.await.expect("the audit");
        let [row] = rows.as_slice() else { panic!("{rows:?}") };
        assert_eq!((&row.client_id, row.object_id.as_str()), (&world.client("ta/reviewer").client_id, left.refund["id"].as_str().expect("an id")));
        assert!(row.details.contains("settlement report 2026-01-02, line 9"), "{row:?}");
    }

    async fn a_refund_settled_as_failed_frees_the_money_and_a_later_success_waits_for_a_person(world: &mut World) {
        let left = left_by(world, ("ta/backend", "ta/backend"), RefundStep::ServerError).await;
        let settled = resolve(world, "ta/reviewer", &left, &failed()).await.expect(200);
        assert_eq!((&settled["state"], &settled["decline_code"]), (&json!("failed"), &json!("instrument_closed")));
        assert_eq!(standing(world, &left).await, kept());
        world.send(world.genuine_event("gev_1", &refund_event(&left.refund, "succeeded"))).await.expect(200);
        let charge = format!("/v1/charges/{}", left.refund["charge_id"].as_str().expect("a charge"));
        let parked = || async {
            let event = world.get_as("ta/backend", &charge).await["events"][0].clone();
            (event["state"] == "parked").then(|| event["reason"].clone())
        };
        assert_eq!(eventually("the event is parked", parked).await, "ended_otherwise");
        assert_eq!(standing(world, &left).await, kept());
    }

    async fn neither_who_asked_for_a_refund_nor_who_made_its_order_settles_it(world: &mut World) {
        for (orderer, asker) in [("ta/both", "ta/backend"), ("ta/backend", "ta/both")] {
            let left = left_by(world, (orderer, asker), RefundStep::SucceedThenDrop).await;
            for body in [succeeded(), failed()] {
                resolve(world, "ta/both", &left, &body).await.refused(403, "four_eyes_required");
            }
            assert_eq!(world.get_as("ta/backend", &left.path).await["state"], "manual");
            resolve(world, "ta/reviewer", &left, &succeeded()).await.expect(200);
            resolve(world, "ta/both", &left, &failed()).await.refused(409, "terminal");
            assert_eq!(standing(world, &left).await, returned());
            world.sandbox.vanish(false);
        }
    }

    async fn a_refund_is_settled_by_hand_only_once_it_was_left_to_a_person_and_with_evidence(world: &mut World) {
        let left = left(world).await;
        for (change, code, member) in [
            (json!({ "evidence": "  " }), "evidence_required", "/evidence"),
            (json!({ "evidence": "card 4242 4242 4242 4242" }), "evidence_not_allowed", "/evidence"),
            (json!({ "provider_ref": "a b" }), "provider_ref_not_allowed", "/provider_ref"),
            (json!({ "decline_code": "x" }), "decline_code_not_allowed", "/decline_code"),
        ] {
            let mut body = succeeded();
            for (name, value) in change.as_object().expect("members") {
                body[name] = value.clone();
            }
            let reply = resolve(world, "ta/reviewer", &left, &body).await;
            reply.refused(422, code);
            reply.points_at(member);
            assert!(!reply.text.contains("4242 4242"), "{}", reply.text);
        }
        let elsewhere = Left { path: left.path.replace(&left.order, "fin_ffffffffffffffffffffffffffffffff"), ..left };
        resolve(world, "ta/reviewer", &elsewhere, &succeeded()).await.refused(404, "not_found");
        world.sandbox.vanish(false);
        let ask = json!({ "amount": 100, "reason": "a test" });
        let open = world.post_as("ta/backend", &format!("/v1/fiat-ins/{}/refunds", elsewhere.order), &ask, 202).await;
        let path = format!("/v1/fiat-ins/{}/refunds/{}", elsewhere.order, open["id"].as_str().expect("an id"));
        let open = Left { path, refund: open, ..elsewhere };
        resolve(world, "ta/reviewer", &open, &succeeded()).await.refused(409, "invalid_state");
    }

    async fn of_many_who_settle_a_refund_at_once_one_does(world: &mut World) {
        let left = left(world).await;
        let mut calls = Vec::new();
        for index in 0..16 {
            // What the gateway did is in its record: only the truth may win here.
            let client = if index % 3 == 0 { "ta/both" } else { "ta/reviewer" };
            calls.push(resolve_call(world, client, &left, &succeeded()).await);
        }
        let replies = world.race(calls).await;
        assert_eq!((with_status(&replies, 200), with_status(&replies, 409)), (1, 15));
        assert_eq!(standing(world, &left).await, returned());
        assert_eq!(world.rows("refund_resolution").await.len(), 1);
    }

    async fn of_a_person_and_an_event_at_once_one_settles_the_refund(world: &mut World) {
        let left = left(world).await;
        let body = refund_event(&left.refund, "succeeded");
        let mut calls: Vec<Call> = (0..4).map(|number| world.genuine_event(&format!("gev_{number}"), &body)).collect();
        for _ in 0..4 {
            calls.push(resolve_call(world, "ta/reviewer", &left, &failed()).await);
        }
        let replies = world.race(calls).await;
        assert_eq!(with_status(&replies[..4], 200), 4, "every event is taken");
        let by_hand = with_status(&replies[4..], 200);
        assert_eq!(by_hand + with_status(&replies[4..], 409), 4);
        assert!(by_hand <= 1);
        let charge = format!("/v1/charges/{}", left.refund["charge_id"].as_str().expect("a charge"));
        let done = || async {
            let charge = world.get_as("ta/backend", &charge).await;
            let waits = charge["events"].as_array()?.iter().any(|event| event["state"] == "received");
            (!waits).then(|| charge["events"].clone())
        };
        let events = eventually("the events are decided", done).await;
        let expected = if by_hand == 1 { kept() } else { returned() };
        assert_eq!(standing(world, &left).await, expected);
        let count = |state: &str| events.as_array().map_or(0, |all| all.iter().filter(|one| one["state"] == state).count());
        // After `failed` by hand a success is money in two places.
        let expected = if by_hand == 1 { (0, 0, 4) } else { (1, 3, 0) };
        assert_eq!((count("applied"), count("ignored"), count("parked")), expected, "{events}");
    }
}
