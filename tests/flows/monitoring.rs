//! Limits hold at redemption, however many tokens were issued before: G11 with VEL-1 and VEL-2, AMT-1, GEO-1.

use serde_json::{Value, json};

use crate::world::{Customer, Reply, World};

async fn redeemed_at_once(world: &World, customer: &Customer, (count, amount): (usize, i64)) -> Vec<Reply> {
    let mut calls = Vec::new();
    for _ in 0..count {
        let token = world.payment_token(customer, amount).await;
        calls.push(world.pay_call(&token, &world.payment(customer, amount, "tok_success")));
    }
    world.race(calls).await
}

fn in_state(replies: &[Reply], state: &str) -> usize {
    replies.iter().filter(|reply| reply.body["state"] == state).count()
}

flows! {
    async fn parallel_redemption_does_not_pass_the_orders_of_an_hour_or_a_day(world: &mut World) {
        let customer = world.customer().await;
        let replies = redeemed_at_once(world, &customer, (20, 100)).await;
        let states = ["completed", "in_review", "refused"].map(|state| in_state(&replies, state));
        assert_eq!(states, [5, 10, 5], "{:?}", replies[0].text);
        assert_eq!(world.available(&customer).await, 500);
        for refused in replies.iter().filter(|reply| reply.body["state"] == "refused") {
            assert_eq!((refused.status, &refused.body["state_reason"]), (201, &json!("transaction_velocity")));
        }
        // A day later the windows are empty again.
        world.clock.advance(86_401);
        assert_eq!(world.order(&customer, 100, "tok_success").await.expect(201)["state"], "completed");
    }

    async fn parallel_redemption_does_not_pass_the_sum_of_a_day_or_a_month(world: &mut World) {
        let customer = world.customer().await;
        let replies = redeemed_at_once(world, &customer, (5, 4_000)).await;
        assert_eq!((in_state(&replies, "completed"), in_state(&replies, "refused")), (2, 3), "{:?}", replies[0].text);
        assert_eq!(world.available(&customer).await, 8_000);
        world.clock.advance(86_401);
        let replies = redeemed_at_once(world, &customer, (5, 3_500)).await;
        assert_eq!((in_state(&replies, "completed"), in_state(&replies, "refused")), (2, 3));
        assert_eq!(world.available(&customer).await, 15_000, "the month's 150.00 are used up");
        world.clock.advance(86_401);
        assert_eq!(world.order(&customer, 1, "tok_success").await.expect(201)["state"], "refused");
        world.clock.advance(30 * 86_400);
        assert_eq!(world.order(&customer, 1, "tok_success").await.expect(201)["state"], "completed");
    }

    async fn limits_are_each_customers_own(world: &mut World) {
        let (one, two) = (world.customer().await, world.customer().await);
        let mut calls = Vec::new();
        for customer in [&one, &two] {
            for _ in 0..4 {
                let token = world.payment_token(customer, 4_000).await;
                calls.push(world.pay_call(&token, &world.payment(customer, 4_000, "tok_success")));
            }
        }
        let replies = world.race(calls).await;
        assert_eq!((in_state(&replies, "completed"), in_state(&replies, "refused")), (4, 4));
        assert_eq!((world.available(&one).await, world.available(&two).await), (8_000, 8_000));
    }

    async fn a_failed_charge_gives_its_share_of_the_limit_back(world: &mut World) {
        let customer = world.customer().await;
        for _ in 0..3 {
            assert_eq!(world.order(&customer, 4_500, "tok_decline").await.expect(201)["state"], "failed");
        }
        assert_eq!(world.order(&customer, 4_500, "tok_success").await.expect(201)["state"], "completed");
    }

    async fn a_single_amount_is_capped_by_the_level(world: &mut World) {
        let customer = world.customer().await;
        for (level, cap) in [(0, 5_000), (1, 15_000), (2, 100_000)] {
            world.verified(&customer, level).await;
            let over = world.order(&customer, cap + 1, "tok_success").await.expect(201);
            assert_eq!((&over["state"], &over["state_reason"]), (&json!("refused"), &json!("amount_limit")), "{over}");
            world.clock.advance(31 * 86_400);
            assert_eq!(world.order(&customer, cap, "tok_success").await.expect(201)["state"], "completed");
        }
    }

    async fn no_order_comes_from_a_blocked_country(world: &mut World) {
        let abroad = world.register_customer("ta", &json!({ "kind": "person", "country": "IR" })).await;
        let customer = world.customer().await;
        let refused = |answer: &Value| {
            assert_eq!((&answer["state"], &answer["state_reason"]), (&json!("refused"), &json!("blocked_jurisdiction")));
        };
        refused(&world.order(&abroad, 100, "tok_success").await.expect(201));
        let mut near = world.payment(&customer, 100, "tok_success");
        near["device"] = json!({ "ip_country": "KP" });
        refused(&world.send(world.order_call(&customer, &near).await).await.expect(201));
        let mut card = world.payment(&customer, 100, "x");
        card["payment_method"] = json!({ "card": { "number": "4000003640000002", "exp_month": 1, "exp_year": 2031 } });
        refused(&world.send(world.order_call(&customer, &card).await).await.expect(201));
        assert!(world.sandbox.charges().is_empty());
    }

    async fn an_amount_that_cannot_be_compared_waits_for_a_person(world: &mut World) {
        let customer = world.customer().await;
        let wallet = world.open_wallet("ta", &customer.customer_id, "NOK").await;
        let mut body = world.payment(&customer, 100, "tok_success");
        body["entity_id"] = json!(wallet);
        body["money"]["currency"] = json!("NOK");
        let order = world.send(world.order_call(&customer, &body).await).await.expect(202);
        assert_eq!((&order["state"], &order["state_reason"]), (&json!("in_review"), &json!("manual_check")), "{order}");
    }
}
