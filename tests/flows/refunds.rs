//! Refunds through the whole: keys, races over HTTP, restarts, events; and never more than was collected (N9).

use serde_json::{Value, json};

use crate::world::call::with_status;
use crate::world::{Call, Customer, Reply, World, eventually};

/// A completed order: its id and its customer.
async fn paid(world: &World, amount: i64) -> (String, Customer) {
    let customer = world.customer().await;
    world.verified(&customer, 3).await;
    let order = world.order(&customer, amount, "tok_success").await.expect(201);
    assert_eq!(order["state"], "completed", "{order}");
    (order["id"].as_str().expect("an id").to_owned(), customer)
}

async fn refund_call(world: &World, order: &str, body: &Value) -> Call {
    world.call_as("ta/backend", "POST", &format!("/v1/fiat-ins/{order}/refunds"), Some(body)).await
}

async fn refund(world: &World, order: &str, amount: i64) -> Reply {
    world.send(refund_call(world, order, &json!({ "amount": amount, "reason": "a test" })).await).await
}

async fn read(world: &World, order: &str) -> Value {
    world.get_as("ta/backend", &format!("/v1/fiat-ins/{order}")).await
}

/// Sends all of them at once; what is still answered "try again" after that is sent again one by one.
async fn race(world: &World, calls: Vec<Call>) -> Vec<Reply> {
    let mut replies = world.race(calls.clone()).await;
    for (reply, call) in replies.iter_mut().zip(calls) {
        if reply.status == 503 {
            *reply = world.send(call).await;
        }
    }
    replies
}

/// How many refunds were accepted and how many refused, once all have ended: on a busy machine an end may be written
/// only by the worker, and the answer is then 202.
async fn verdicts(world: &World, order: &str, replies: &[Reply]) -> (usize, usize) {
    let ended = || async {
        world.clock.advance(31);
        (read(world, order).await["refunds"]["in_flight"] == 0).then_some(())
    };
    eventually("every refund has ended", ended).await;
    for refused in replies.iter().filter(|reply| reply.status >= 400) {
        refused.refused(422, "amount_exceeds_refundable");
        refused.points_at("/amount");
    }
    (with_status(replies, 201) + with_status(replies, 202), with_status(replies, 422))
}

flows! {
    async fn a_refund_is_told_to_the_partner_and_to_whoever_follows_the_order(world: &mut World) {
        let receiver = world.receiver("ta").await;
        let (order, customer) = paid(world, 1_000).await;
        let made = refund(world, &order, 400).await.expect(201);
        assert_eq!((&made["state"], &made["money"]), (&json!("succeeded"), &json!({"amount": 400, "currency": "EUR"})));
        for kind in ["refund.succeeded", "fiat_in.partially_refunded"] {
            let event = receiver.wait_for(kind, |event| event["type"] == kind).await;
            assert_eq!(event.body["data"]["fiat_in_id"], order.as_str());
        }
        let told = read(world, &order).await;
        assert_eq!((&told["state"], &told["refunds"]),
            (&json!("partially_refunded"), &json!({"refunded": 400, "in_flight": 0})));
        assert_eq!(world.available(&customer).await, 600);
    }

    async fn n3_n4_n5_a_refund_wants_one_key_which_names_one_refund(world: &mut World) {
        let (order, customer) = paid(world, 1_000).await;
        let (other, _) = paid(world, 1_000).await;
        let call = refund_call(world, &order, &json!({ "amount": 10, "reason": "a test" })).await;
        let mut without = call.clone();
        without.headers.remove("idempotency-key");
        world.send(without).await.refused(400, "idempotency_key_required");
        let replies = race(world, vec![call.clone(); 50]).await;
        assert!([201, 202].contains(&replies[0].status), "{}", replies[0].text);
        assert!(replies.iter().all(|reply| reply.same() == replies[0].same()));
        world.restart_api().await;
        assert_eq!(world.send(call.clone()).await.same(), replies[0].same());
        let changed = call.clone().with_body(json!({ "amount": 11, "reason": "a test" }).to_string());
        world.send(changed).await.refused(422, "idempotency_key_reused");
        let elsewhere = call.clone().to(call.url.replace(&order, &other));
        world.send(elsewhere).await.refused(422, "idempotency_key_reused");
        let second = world.token_for_api("ta/second").await;
        assert_ne!(world.send(call.bearer(&second)).await.expect(201)["id"], replies[0].body["id"]);
        assert_eq!((world.available(&customer).await, world.sandbox.refunds().len()), (980, 2));
    }

    async fn n9_parts_at_once_never_exceed_what_was_collected(world: &mut World) {
        let (order, customer) = paid(world, 1_000).await;
        world.order(&customer, 5_000, "tok_success").await.expect(201);
        let mut calls = Vec::new();
        for _ in 0..50 {
            calls.push(refund_call(world, &order, &json!({ "amount": 70, "reason": "a test" })).await);
        }
        let replies = race(world, calls).await;
        assert_eq!(verdicts(world, &order, &replies).await, (14, 36));
        assert_eq!(read(world, &order).await["refunds"], json!({"refunded": 980, "in_flight": 0}));
        assert_eq!(world.available(&customer).await, 5_020);
        assert_eq!(world.sandbox.refunds().iter().map(|refund| refund.amount).sum::<i64>(), 980);
    }

    async fn a_restart_in_the_middle_of_a_refund_ends_in_one(world: &mut World) {
        use resource_api::sandbox::{EVERY_CHARGE, RefundStep};
        let (order, customer) = paid(world, 1_000).await;
        world.sandbox.script_refunds(EVERY_CHARGE, vec![RefundStep::SucceedThenDrop]);
        let call = refund_call(world, &order, &json!({ "amount": 400, "reason": "a test" })).await;
        let first = world.send(call.clone()).await;
        assert_eq!((first.status, &first.body["state"]), (202, &json!("unknown")), "{}", first.text);
        assert!(!first.header("retry-after").is_empty());
        assert_eq!(world.available(&customer).await, 600, "set aside");
        world.restart_api().await;
        assert_eq!(world.send(call).await.same(), first.same());
        world.clock.advance(31);
        let ended = || async {
            let path = first.header("location").to_owned();
            let refund = world.get_as("ta/backend", &path).await;
            (refund["state"] == "succeeded").then_some(())
        };
        eventually("the recovery worker", ended).await;
        assert_eq!((world.available(&customer).await, world.sandbox.refunds().len()), (600, 1));
    }
}

/// Only `PostgreSQL` is shared by several nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n9_two_nodes_on_one_database_never_give_back_more_than_was_collected() {
    let world = World::on(chassis::db::Engine::Postgres).await;
    let node = world.another_api().await;
    let (order, customer) = paid(&world, 1_000).await;
    world.order(&customer, 5_000, "tok_success").await.expect(201);
    let mut calls = Vec::new();
    for index in 0..32 {
        let call = refund_call(&world, &order, &json!({ "amount": 300, "reason": "a test" })).await;
        calls.push(if index % 2 == 0 { call } else { call.via(node.address) });
    }
    let replies = race(&world, calls).await;
    assert_eq!(verdicts(&world, &order, &replies).await, (3, 29));
    assert_eq!(read(&world, &order).await["refunds"], json!({"refunded": 900, "in_flight": 0}));
    assert_eq!((world.available(&customer).await, world.sandbox.refunds().len()), (5_100, 3));
    node.stop().await;
    world.end().await;
}
