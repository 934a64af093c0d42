//! `Idempotency-Key` on money routes: required, scoped to its caller, one effect for equal requests.

use serde_json::json;

use crate::world::World;
use crate::world::call::with_status;

flows! {
    async fn money_routes_want_exactly_one_key(world: &mut World) {
        let customer = world.customer().await;
        let good = world.order_call(&customer, &world.payment(&customer, 1_000, "tok_success")).await;
        let mut without = good.clone();
        without.headers.remove("idempotency-key");
        world.send(without).await.refused(400, "idempotency_key_required");
        let mut twice = good.clone();
        twice.headers.append("idempotency-key", "second".parse().expect("a value"));
        world.send(twice).await.refused(400, "idempotency_key_required");
        let long = "k".repeat(256);
        for bad in ["", "with space", long.as_str()] {
            world.send(good.clone().key(bad)).await.refused(400, "idempotency_key_invalid");
        }
        let moved = World::transfer(&customer.wallet, "ent_x", 1);
        let mut transfer = world.call_as("ta/backend", "POST", "/v1/transfers", Some(&moved)).await;
        transfer.headers.remove("idempotency-key");
        world.send(transfer).await.refused(400, "idempotency_key_required");
        assert!(world.order_ids("ta").await.is_empty());
        assert_eq!(world.send(good.key(&"k".repeat(255))).await.status, 201);
    }

    async fn the_same_request_gets_the_same_answer_in_a_row_at_once_and_after_a_restart(world: &mut World) {
        let customer = world.customer().await;
        let call = world.order_call(&customer, &world.payment(&customer, 1_000, "tok_success")).await;
        let replies = world.race(vec![call.clone(); 50]).await;
        assert_eq!(with_status(&replies, 201), 50, "{:?}", replies.iter().map(|reply| reply.status).collect::<Vec<_>>());
        let first = replies[0].clone();
        assert!(replies.iter().all(|reply| reply.same() == first.same()));
        assert_eq!(world.send(call.clone()).await.same(), first.same());
        world.restart_api().await;
        assert_eq!(world.send(call.clone()).await.same(), first.same());
        // A day later the token has expired; the key has not.
        world.clock.advance(86_400 + 60);
        let token = world.token_for_api("ta/backend").await;
        assert_eq!(world.send(call.bearer(&token)).await.same(), first.same());
        assert_eq!((world.order_ids("ta").await.len(), world.available(&customer).await), (1, 1_000));
    }

    async fn transfers_at_once_with_one_key_move_money_once(world: &mut World) {
        let (customer, other) = (world.customer().await, world.customer().await);
        world.fund(&customer, 10_000).await;
        let body = World::transfer(&customer.wallet, &other.wallet, 100);
        let call = world.call_as("ta/backend", "POST", "/v1/transfers", Some(&body)).await;
        let replies = world.race(vec![call.clone(); 50]).await;
        let answered: Vec<_> = replies.iter().filter(|reply| reply.status == 201).collect();
        assert!(!answered.is_empty() && answered.iter().all(|reply| reply.same() == answered[0].same()));
        for reply in replies.iter().filter(|reply| reply.status != 201) {
            reply.refused(409, "idempotency_in_progress");
        }
        assert_eq!((world.available(&customer).await, world.available(&other).await), (9_900, 100));
    }

    async fn a_used_key_is_refused_for_another_request(world: &mut World) {
        let (customer, other) = (world.customer().await, world.customer().await);
        let key = world.unique("key");
        let body = world.payment(&customer, 1_000, "tok_success");
        let call = world.order_call(&customer, &body).await.key(&key);
        let first = world.send(call.clone()).await;
        assert_eq!(first.status, 201, "{}", first.text);
        let mut changed = body.clone();
        changed["money"]["amount"] = json!(1_001);
        let reply = world.send(world.order_call(&customer, &changed).await.key(&key)).await;
        reply.refused(422, "idempotency_key_reused");
        let spaced = call.clone().with_body([&call.body[..], b" "].concat());
        world.send(spaced).await.refused(422, "idempotency_key_reused");
        let moved = World::transfer(&customer.wallet, &other.wallet, 1);
        let transfer = world.call_as("ta/backend", "POST", "/v1/transfers", Some(&moved)).await.key(&key);
        let reply = world.send(transfer).await;
        assert!(reply.status == 201 || reply.body["code"] == "idempotency_key_reused", "{}", reply.text);
        assert_eq!(world.send(call).await.same(), first.same());
        assert_eq!(world.order_ids("ta").await.len(), 1);
    }

    async fn keys_belong_to_their_caller(world: &mut World) {
        let (customer, stranger) = (world.customer().await, world.customer_of("tb").await);
        let key = world.unique("key");
        let first = world.order_call(&customer, &world.payment(&customer, 1_000, "tok_success")).await.key(&key);
        let first = world.send(first).await.expect(201);
        let theirs = world.order_call(&stranger, &world.payment(&stranger, 2_000, "tok_success")).await.key(&key);
        let theirs = world.send(theirs).await.expect(201);
        assert_ne!(first["id"], theirs["id"]);
        let mut body = world.payment(&customer, 3_000, "tok_success");
        body["customer"] = json!(customer.customer_id);
        let second = world.call_as("ta/second", "POST", "/v1/fiat-ins", Some(&body)).await.key(&key);
        assert_ne!(world.send(second).await.expect(201)["id"], first["id"]);
        assert_eq!((world.available(&customer).await, world.available(&stranger).await), (4_000, 2_000));
    }

    async fn a_refusal_that_made_nothing_leaves_the_key_free(world: &mut World) {
        let customer = world.customer().await;
        let key = world.unique("key");
        let mut wrong = world.payment(&customer, 1_000, "tok_success");
        wrong["entity_id"] = json!("ent_unknown");
        world.send(world.order_call(&customer, &wrong).await.key(&key)).await.refused(404, "not_found");
        let right = world.payment(&customer, 1_000, "tok_success");
        assert_eq!(world.send(world.order_call(&customer, &right).await.key(&key)).await.status, 201);
    }

    async fn a_reference_names_one_order_whatever_the_key(world: &mut World) {
        let customer = world.customer().await;
        let body = world.payment(&customer, 1_000, "tok_success");
        let first = world.send(world.order_call(&customer, &body).await).await.expect(201);
        let again = world.send(world.order_call(&customer, &body).await).await;
        again.refused(409, "client_reference_taken");
        assert!(again.text.contains(first["id"].as_str().expect("an id")), "{}", again.text);
        assert_eq!(world.available(&customer).await, 1_000);
    }
}
