//! What the payment gateway may do to us: decline, stay silent, collect and lose the answer, lie. Nothing is ever
//! booked that was not collected, and nothing is collected twice.

use resource_api::sandbox::Step;
use serde_json::{Value, json};

use crate::world::{Customer, World, eventually};

/// The state of an order.
async fn read(world: &World, id: &Value) -> Value {
    world.get_as("ta/backend", &format!("/v1/fiat-ins/{}", id.as_str().expect("an id"))).await
}

/// Lets the time come at which unknown charges are looked at again, and waits for the order's state.
async fn comes_to(world: &World, id: &Value, state: &str) -> Value {
    world.clock.advance(31);
    let look = || async {
        let order = read(world, id).await;
        (order["state"] == state).then_some(order)
    };
    eventually("the recovery worker", look).await
}

async fn declined(world: &World, customer: &Customer, instrument: &str, code: &str) {
    let token = world.payment_token(customer, 1_000).await;
    let body = world.payment(customer, 1_000, instrument);
    let reply = world.pay(&token, &body).await;
    assert_eq!((reply.status, &reply.body["state"]), (201, &json!("failed")), "{}", reply.text);
    assert!(reply.text.contains(code), "{}", reply.text);
    assert_eq!(world.pay(&token, &body).await.same(), reply.same());
}

flows! {
    async fn a_decline_fails_the_order_for_good(world: &mut World) {
        let customer = world.customer().await;
        declined(world, &customer, "tok_decline", "card_declined").await;
        declined(world, &customer, "tok_insufficient_funds", "insufficient_funds").await;
        declined(world, &customer, "tok_nobody_knows", "invalid_instrument").await;
        assert_eq!(world.available(&customer).await, 0);
        world.clock.advance(60);
        assert_eq!(world.order_ids("ta").await.len(), 3);
        assert!(world.sandbox.charges().iter().all(|charge| world.sandbox.arrivals(&charge.reference) == 1));
    }

    async fn a_silent_gateway_is_asked_again_and_collects_once(world: &mut World) {
        let receiver = world.receiver("ta").await;
        let customer = world.customer().await;
        let token = world.payment_token(&customer, 1_000).await;
        let body = world.payment(&customer, 1_000, "tok_timeout_then_success");
        let reply = world.pay(&token, &body).await;
        assert_eq!((reply.status, &reply.body["state"]), (202, &json!("processing")), "{}", reply.text);
        assert!(!reply.header("retry-after").is_empty() && !reply.header("location").is_empty());
        assert_eq!(world.pay(&token, &body).await.same(), reply.same(), "a repeat starts nothing");
        assert_eq!(world.available(&customer).await, 0);
        comes_to(world, &reply.body["id"], "completed").await;
        assert_eq!((world.available(&customer).await, world.sandbox.charges().len()), (1_000, 1));
        receiver.wait_for("fiat_in.completed", |event| event["type"] == "fiat_in.completed").await;
        world.assert_all_booked().await;
    }

    async fn a_lost_answer_is_found_at_the_gateway_and_booked_once(world: &mut World) {
        let customer = world.customer().await;
        let token = world.payment_token(&customer, 1_000).await;
        let body = world.payment(&customer, 1_000, "tok_success_then_lost_answer");
        let reply = world.pay(&token, &body).await;
        assert_eq!((reply.status, &reply.body["state"]), (202, &json!("processing")), "{}", reply.text);
        comes_to(world, &reply.body["id"], "completed").await;
        world.clock.advance(3_600);
        assert_eq!((world.available(&customer).await, world.sandbox.charges().len()), (1_000, 1));
        world.assert_all_booked().await;
    }

    async fn a_charge_collected_in_silence_is_found_too(world: &mut World) {
        let customer = world.customer().await;
        world.sandbox.script("tok_late", vec![Step::CaptureThenHang]);
        let reply = world.order(&customer, 1_000, "tok_late").await;
        assert_eq!(reply.status, 202, "{}", reply.text);
        comes_to(world, &reply.body["id"], "completed").await;
        assert_eq!((world.available(&customer).await, world.sandbox.charges().len()), (1_000, 1));
    }

    async fn trouble_at_the_gateway_decides_nothing(world: &mut World) {
        let customer = world.customer().await;
        world.sandbox.script("tok_broken", vec![Step::ServerError, Step::Garbage, Step::Drop, Step::Capture]);
        let reply = world.order(&customer, 1_000, "tok_broken").await;
        assert_eq!((reply.status, &reply.body["state"]), (202, &json!("processing")), "{}", reply.text);
        for arrivals in 2..=3 {
            world.clock.advance(121);
            let charge = reply.body.pointer("/charge/id").or_else(|| reply.body.pointer("/charge/charge_id"));
            let charge = charge.and_then(Value::as_str).unwrap_or_default().to_owned();
            let arrived = || async { (charge.is_empty() || world.sandbox.arrivals(&charge) >= arrivals).then_some(()) };
            eventually("another attempt", arrived).await;
            assert_eq!(read(world, &reply.body["id"]).await["state"], "processing");
        }
        world.clock.advance(600);
        comes_to(world, &reply.body["id"], "completed").await;
        assert_eq!((world.available(&customer).await, world.sandbox.charges().len()), (1_000, 1));
    }

    async fn a_charge_for_another_amount_is_not_booked(world: &mut World) {
        let customer = world.customer().await;
        world.sandbox.script("tok_short", vec![Step::CaptureShort]);
        let reply = world.order(&customer, 1_000, "tok_short").await;
        assert_eq!((reply.status, &reply.body["state"]), (202, &json!("processing")), "{}", reply.text);
        world.clock.advance(31);
        assert_eq!(world.available(&customer).await, 0);
        assert_eq!(world.rows("ledger_entry").await, Vec::<String>::new());
    }

    async fn a_restart_in_the_middle_of_a_charge_ends_in_one_collection(world: &mut World) {
        let customer = world.customer().await;
        let token = world.payment_token(&customer, 1_000).await;
        let body = world.payment(&customer, 1_000, "tok_timeout_then_success");
        let first = world.pay(&token, &body).await;
        assert_eq!(first.status, 202, "{}", first.text);
        world.restart_api().await;
        assert_eq!(world.pay(&token, &body).await.same(), first.same());
        comes_to(world, &first.body["id"], "completed").await;
        assert_eq!((world.available(&customer).await, world.sandbox.charges().len()), (1_000, 1));
        world.assert_all_booked().await;
    }

    async fn a_card_becomes_a_token_and_its_number_is_kept_nowhere(world: &mut World) {
        let customer = world.customer().await;
        let token = world.open_token(&customer).await;
        let mut body = world.payment(&customer, 1_000, "x");
        body["payment_method"] = json!({ "card": {
            "number": "4242424242424242", "exp_month": 12, "exp_year": 2030, "cvc": "737",
        } });
        let paid = world.pay(&token, &body).await;
        assert_eq!((paid.status, &paid.body["state"]), (201, &json!("completed")), "{}", paid.text);
        assert_eq!(world.pay(&token, &body).await.same(), paid.same());
        assert!(!paid.text.contains("424242424242"));
        let mut other = body.clone();
        other["payment_method"]["card"]["number"] = json!("5555555555554444");
        world.pay(&token, &other).await.refused(401, "token_already_used");
        let second = world.open_token(&customer).await;
        for number in ["4242424242424241", "4111111111111111", "42"] {
            let mut wrong = body.clone();
            wrong["client_reference"] = json!(world.unique("order"));
            wrong["payment_method"]["card"]["number"] = json!(number);
            let reply = world.pay(&second, &wrong).await;
            assert_eq!(reply.status, 422, "{number}: {}", reply.text);
            assert!(!reply.text.contains(number) || number.len() < 4, "{}", reply.text);
        }
        body["client_reference"] = json!(world.unique("order"));
        world.pay(&second, &body).await.expect(201);
        for (table, rows) in world.dump().await {
            assert!(!rows.iter().any(|row| row.contains("4242424242424242") || row.contains("5555555555554444")), "{table}");
        }
    }
}
