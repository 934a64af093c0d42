//! Charges that take more than one answer: the payer is sent to the bank, money is reserved before it is collected, an
//! order is withdrawn while the gateway waits.

use resource_api::sandbox::{Outcome, Step};
use serde_json::{Value, json};

use crate::world::{Call, Customer, Reply, World, eventually};

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

async fn comes_to(world: &World, order: &Value, state: &str) -> Value {
    let look = || async {
        let order = world.get_as("ta/backend", &format!("/v1/fiat-ins/{}", text(order, "/id"))).await;
        (order["state"] == state).then_some(order)
    };
    eventually("the order's end", look).await
}

/// An order whose payer has to go to the bank.
async fn awaiting(world: &World, customer: &Customer, instrument: &str) -> Value {
    let reply = world.order(customer, 1_000, instrument).await;
    assert_eq!((reply.status, &reply.body["state"]), (202, &json!("requires_action")), "{}", reply.text);
    reply.body
}

async fn cancel(world: &World, client: &str, order: &Value) -> Reply {
    let path = format!("/v1/fiat-ins/{}/cancel", text(order, "/id"));
    world.send(world.call_as(client, "POST", &path, Some(&json!({}))).await).await
}

flows! {
    async fn a_payer_is_sent_to_the_bank_and_the_order_completes(world: &mut World) {
        let receiver = world.receiver("ta").await;
        let customer = world.customer().await;
        let token = world.open_token(&customer).await;
        let mut body = world.payment(&customer, 1_000, "x");
        body["payment_method"] = json!({ "card": {
            "number": "4000000000003220", "exp_month": 12, "exp_year": 2030, "cvc": "737",
        } });
        let paid = world.pay(&token, &body).await;
        assert_eq!((paid.status, &paid.body["state"]), (202, &json!("requires_action")), "{}", paid.text);
        assert_eq!(world.pay(&token, &body).await.same(), paid.same());
        let status = text(&paid.body, "/status_token");
        let read = Call::get(format!("{}/v1/fiat-ins/{}", world.resource, text(&paid.body, "/id"))).bearer(status);
        let followed = world.send(read.clone()).await.expect(200);
        let page = text(&followed, "/next_action/redirect_url").to_owned();
        let confirmed = world.send(Call::get(page.clone())).await;
        assert!(confirmed.text.contains("Confirm the payment"), "{}", confirmed.text);
        assert!(world.sandbox.confirm(text(&paid.body, "/charge/id")));
        world.clock.advance(16);
        let done = comes_to(world, &paid.body, "completed").await;
        assert!(done.get("next_action").is_none(), "{done}");
        assert_eq!(world.available(&customer).await, 1_000);
        let waits = receiver.wait_for("fiat_in.requires_action", |event| event["type"] == "fiat_in.requires_action").await;
        assert!(!waits.text.contains(&page), "where the payer goes is the caller's alone");
        receiver.wait_for("fiat_in.completed", |event| event["type"] == "fiat_in.completed").await;
        world.assert_all_booked().await;
    }

    async fn a_restart_between_authorization_and_capture_ends_in_one_collection(world: &mut World) {
        let customer = world.customer().await;
        world.sandbox.script("tok_auth", vec![Step::Authorize]);
        world.sandbox.script("tok_auth:capture", vec![Step::CaptureThenDrop]);
        let reply = world.order(&customer, 1_000, "tok_auth").await;
        assert_eq!((reply.status, text(&reply.body, "/charge/state")), (202, "authorized"), "{}", reply.text);
        world.restart_api().await;
        world.clock.advance(6);
        let done = comes_to(world, &reply.body, "completed").await;
        let charge_id = text(&done, "/charge/id");
        assert_eq!((world.sandbox.arrivals(charge_id), world.sandbox.arrivals(&format!("{charge_id}:capture"))), (1, 1));
        assert_eq!(world.available(&customer).await, 1_000);
        world.assert_all_booked().await;
    }

    async fn n1_an_order_that_waits_is_cancelled_by_its_own_partner_and_voided_at_the_gateway(world: &mut World) {
        let receiver = world.receiver("ta").await;
        let customer = world.customer().await;
        let order = awaiting(world, &customer, "tok_requires_action").await;
        assert_eq!(cancel(world, "tb/backend", &order).await.status, 404);
        let cancelled = cancel(world, "ta/backend", &order).await;
        assert_eq!((cancelled.status, &cancelled.body["state"]), (200, &json!("cancelled")), "{}", cancelled.text);
        cancel(world, "ta/backend", &order).await.refused(409, "order_ended");
        let voided = || async {
            world.sandbox.charges().iter().any(|charge| charge.outcome == Outcome::Voided).then_some(())
        };
        eventually("the void at the gateway", voided).await;
        receiver.wait_for("fiat_in.cancelled", |event| event["type"] == "fiat_in.cancelled").await;
        assert_eq!(world.available(&customer).await, 0);
        assert_eq!(world.rows("ledger_entry").await, Vec::<String>::new());
    }

    async fn n9_money_that_comes_after_a_cancellation_goes_back_once(world: &mut World) {
        let receiver = world.receiver("ta").await;
        let customer = world.customer().await;
        let order = awaiting(world, &customer, "tok_late_success").await;
        assert_eq!(cancel(world, "ta/backend", &order).await.status, 200);
        let captured = || async {
            world.sandbox.charges().iter().any(|charge| charge.outcome == Outcome::Captured).then_some(())
        };
        eventually("the capture that comes late", captured).await;
        let told = || async {
            world.clock.advance(6);
            let order = world.get_as("ta/backend", &format!("/v1/fiat-ins/{}", text(&order, "/id"))).await;
            (order["charge"]["state"] == "captured").then_some(order)
        };
        let order = eventually("the charge is known to be captured", told).await;
        assert_eq!((&order["state"], world.available(&customer).await), (&json!("cancelled"), 0));
        receiver.wait_for("charge.late_success", |event| event["type"] == "charge.late_success").await;
        receiver.wait_for("refund.succeeded", |event| event["type"] == "refund.succeeded").await;
        let entries = world.rows("ledger_entry").await;
        let in_suspense = entries.iter().filter(|row| row.contains("suspense:EUR")).count();
        assert_eq!((entries.len(), in_suspense), (4, 2), "in and out: {entries:?}");
        assert_eq!((world.sandbox.refunds().len(), world.available(&customer).await), (1, 0));
        world.assert_books().await;
    }
}
