//! Orders that wait for a person: who decides, once, and what becomes of them.

use serde_json::{Value, json};

use crate::world::call::with_status;
use crate::world::{Call, Customer, Reply, World};

/// VEL-1 lets so many orders of one customer through within an hour.
const ORDERS_PER_HOUR: usize = 5;

/// A customer whose next order will be reviewed.
async fn busy_customer(world: &World) -> Customer {
    let customer = world.customer().await;
    for _ in 0..ORDERS_PER_HOUR {
        world.order(&customer, 100, "tok_success").await.expect(201);
    }
    customer
}

/// An order in review: its answer, and the review's id.
async fn in_review(world: &World, customer: &Customer) -> (Value, String) {
    let order = world.order(customer, 100, "tok_success").await.expect(202);
    assert_eq!((&order["state"], &order["decision"]), (&json!("in_review"), &json!("review")), "{order}");
    let review = review_of(world, &order).await;
    (order, review)
}

async fn review_of(world: &World, order: &Value) -> String {
    let reviews = world.get_as("ta/reviewer", "/v1/reviews?state=open").await;
    let all = reviews["data"].as_array().expect("data");
    let review = all.iter().find(|review| review["fiat_in_id"] == order["id"]).expect("the review");
    review["id"].as_str().expect("an id").to_owned()
}

async fn decision(world: &World, client: &str, review: &str, verb: &str) -> Call {
    let body = json!({ "reason": "looked at it" });
    world.call_as(client, "POST", &format!("/v1/reviews/{review}/{verb}"), Some(&body)).await
}

async fn decide(world: &World, client: &str, review: &str, verb: &str) -> Reply {
    world.send(decision(world, client, review, verb).await).await
}

async fn state_of(world: &World, order: &Value) -> String {
    let path = format!("/v1/fiat-ins/{}", order["id"].as_str().expect("an id"));
    world.get_as("ta/backend", &path).await["state"].as_str().expect("a state").to_owned()
}

flows! {
    async fn an_accepted_order_is_charged_and_told(world: &mut World) {
        let receiver = world.receiver("ta").await;
        let customer = busy_customer(world).await;
        let (order, review) = in_review(world, &customer).await;
        assert_eq!(world.available(&customer).await, 500);
        let call = decision(world, "ta/reviewer", &review, "accept").await;
        let decided = world.send(call.clone()).await;
        assert_eq!((decided.status, &decided.body["state"]), (200, &json!("accepted")), "{}", decided.text);
        assert_eq!(world.send(call).await.same(), decided.same());
        assert_eq!(state_of(world, &order).await, "completed");
        assert_eq!(world.available(&customer).await, 600);
        let completed = |event: &Value| event["type"] == "fiat_in.completed" && event["data"]["fiat_in_id"] == order["id"];
        let event = receiver.wait_for("fiat_in.completed", completed).await;
        assert!(event.is_signed_by(&receiver.public_key));
        decide(world, "ta/reviewer", &review, "refuse").await.refused(409, "review_closed");
    }

    async fn a_refused_order_is_never_charged(world: &mut World) {
        let customer = busy_customer(world).await;
        let (order, review) = in_review(world, &customer).await;
        let decided = decide(world, "ta/reviewer", &review, "refuse").await.expect(200);
        assert_eq!(decided["state"], "refused", "{decided}");
        assert_eq!(state_of(world, &order).await, "refused");
        decide(world, "ta/reviewer", &review, "accept").await.refused(409, "review_closed");
        assert_eq!((world.sandbox.charges().len(), world.available(&customer).await), (ORDERS_PER_HOUR, 500));
    }

    async fn the_client_that_made_an_order_does_not_decide_it(world: &mut World) {
        let customer = busy_customer(world).await;
        let mut body = world.payment(&customer, 100, "tok_success");
        body["customer"] = json!(customer.customer_id);
        let order = world.post_as("ta/both", "/v1/fiat-ins", &body, 202).await;
        let review = review_of(world, &order).await;
        for verb in ["accept", "refuse"] {
            decide(world, "ta/both", &review, verb).await.refused(403, "four_eyes_required");
        }
        assert_eq!(state_of(world, &order).await, "in_review");
        decide(world, "ta/reviewer", &review, "accept").await.expect(200);
        assert_eq!(state_of(world, &order).await, "completed");
        // An order of somebody else it may decide.
        let (_, another) = in_review(world, &customer).await;
        decide(world, "ta/both", &another, "accept").await.expect(200);
    }

    async fn of_many_decisions_at_once_one_counts(world: &mut World) {
        let customer = busy_customer(world).await;
        let (order, review) = in_review(world, &customer).await;
        let mut calls = Vec::new();
        for index in 0..16 {
            let client = if index % 3 == 0 { "ta/both" } else { "ta/reviewer" };
            calls.push(decision(world, client, &review, if index % 2 == 0 { "accept" } else { "refuse" }).await);
        }
        let replies = world.race(calls).await;
        assert_eq!((with_status(&replies, 200), with_status(&replies, 409)), (1, 15));
        let winner = replies.iter().find(|reply| reply.status == 200).expect("a winner");
        let (state, balance) = if winner.body["state"] == "accepted" { ("completed", 600) } else { ("refused", 500) };
        assert_eq!((state_of(world, &order).await.as_str(), world.available(&customer).await), (state, balance));
    }

    async fn a_decision_needs_a_reason_a_scope_and_the_own_tenant(world: &mut World) {
        let customer = busy_customer(world).await;
        let (order, review) = in_review(world, &customer).await;
        let path = format!("/v1/reviews/{review}/accept");
        for reason in ["", "   "] {
            let call = world.call_as("ta/reviewer", "POST", &path, Some(&json!({ "reason": reason }))).await;
            world.send(call).await.refused(422, "reason_required");
        }
        decide(world, "ta/backend", &review, "accept").await.refused(403, "insufficient_scope");
        decide(world, "tb/reviewer", &review, "accept").await.refused(404, "not_found");
        assert_eq!(world.get_as("tb/reviewer", "/v1/reviews").await["data"], json!([]));
        assert_eq!(state_of(world, &order).await, "in_review");
    }

    async fn an_accepted_order_that_the_rules_refuse_by_now_is_refused(world: &mut World) {
        let customer = busy_customer(world).await;
        world.verified(&customer, 1).await;
        let order = world.order(&customer, 9_000, "tok_success").await.expect(202);
        let review = review_of(world, &order).await;
        // In between the customer's level is taken back: the amount is too much now.
        world.verified(&customer, 0).await;
        decide(world, "ta/reviewer", &review, "accept").await.expect(200);
        assert_eq!(state_of(world, &order).await, "refused");
        assert_eq!(world.available(&customer).await, 500);
    }
}
