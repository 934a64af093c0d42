//! One token, many requests: at once, over two nodes, across a restart.

use serde_json::{Value, json};

use crate::world::call::with_status;
use crate::world::{ApiNode, Call, Customer, World};

const MANY: usize = 64;

/// The same token with `MANY` bodies that differ in a field the token does not bind.
fn distinct(world: &World, customer: &Customer, token: &str) -> Vec<Call> {
    (0..MANY).map(|_| world.pay_call(token, &world.payment(customer, 1_000, "tok_success"))).collect()
}

/// Every second call goes to the other node.
fn over_both(calls: Vec<Call>, other: &ApiNode) -> Vec<Call> {
    let send = |(index, call): (usize, Call)| if index % 2 == 0 { call } else { call.via(other.address) };
    calls.into_iter().enumerate().map(send).collect()
}

/// One order, one charge, one credit.
async fn assert_one_effect(world: &World, customer: &Customer) {
    assert_eq!(world.order_ids("ta").await.len(), 1);
    assert_eq!(world.sandbox.charges().len(), 1);
    assert_eq!(world.available(customer).await, 1_000);
    world.assert_all_booked().await;
}

async fn one_of_many(world: &World, customer: &Customer, token: &str, calls: Vec<Call>) {
    let replies = world.race(calls).await;
    assert_eq!(with_status(&replies, 201), 1);
    for reply in replies.iter().filter(|reply| reply.status != 201) {
        reply.refused(401, "token_already_used");
    }
    assert_one_effect(world, customer).await;
    let winner = replies.iter().position(|reply| reply.status == 201).expect("a winner");
    assert!(winner < MANY && !token.is_empty());
    let alerts = "SELECT COUNT(*) FROM event WHERE kind = 'user_token.replayed'";
    assert_eq!(world.number(alerts.to_owned()).await, 1, "the partner is told once");
}

async fn all_the_same(world: &World, customer: &Customer, calls: Vec<Call>) -> Value {
    let replies = world.race(calls).await;
    assert_eq!(replies[0].status, 201, "{}", replies[0].text);
    for reply in &replies {
        assert_eq!(reply.same(), replies[0].same());
    }
    assert_one_effect(world, customer).await;
    replies[0].body.clone()
}

flows! {
    async fn of_64_distinct_bodies_at_once_one_wins(world: &mut World) {
        let customer = world.customer().await;
        let token = world.payment_token(&customer, 1_000).await;
        let calls = distinct(world, &customer, &token);
        one_of_many(world, &customer, &token, calls).await;
    }

    async fn of_64_equal_bodies_at_once_all_get_the_one_answer(world: &mut World) {
        let customer = world.customer().await;
        let token = world.payment_token(&customer, 1_000).await;
        let call = world.pay_call(&token, &world.payment(&customer, 1_000, "tok_success"));
        all_the_same(world, &customer, vec![call; MANY]).await;
    }

    async fn a_restart_forgets_neither_the_answer_nor_the_use(world: &mut World) {
        let customer = world.customer().await;
        let token = world.payment_token(&customer, 1_000).await;
        let body = world.payment(&customer, 1_000, "tok_success");
        let first = world.pay(&token, &body).await;
        assert_eq!(first.status, 201, "{}", first.text);
        world.restart_api().await;
        assert_eq!(world.pay(&token, &body).await.same(), first.same());
        let other = world.payment(&customer, 1_000, "tok_success");
        world.pay(&token, &other).await.refused(401, "token_already_used");
        assert_one_effect(world, &customer).await;
    }

    async fn requests_that_arrive_while_the_service_restarts_find_one_winner(world: &mut World) {
        let customer = world.customer().await;
        let token = world.payment_token(&customer, 1_000).await;
        let (before, after): (Vec<Call>, Vec<Call>) = (distinct(world, &customer, &token), distinct(world, &customer, &token));
        let mut replies = world.race(before).await;
        world.restart_api().await;
        replies.extend(world.race(after).await);
        assert_eq!((with_status(&replies, 201), with_status(&replies, 401)), (1, 2 * MANY - 1));
        assert_one_effect(world, &customer).await;
    }

    async fn parallel_mismatches_and_a_good_request_end_in_one_verdict(world: &mut World) {
        let customer = world.customer().await;
        let token = world.payment_token(&customer, 1_000).await;
        let mut calls = Vec::new();
        for index in 0..16 {
            let amount = if index % 2 == 0 { 1_000 } else { 1_001 };
            calls.push(world.pay_call(&token, &world.payment(&customer, amount, "tok_success")));
        }
        let replies = world.race(calls).await;
        let (paid, mismatched) = (with_status(&replies, 201), with_status(&replies, 403));
        assert_eq!((paid + mismatched, with_status(&replies, 401)), (1, 15));
        assert_eq!(world.available(&customer).await, 1_000 * i64::try_from(paid).expect("0 or 1"));
    }
}

/// Only `PostgreSQL` is shared by several nodes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_on_one_database_agree_on_the_winner_and_the_answer() {
    let world = World::on(chassis::db::Engine::Postgres).await;
    let other = world.another_api().await;
    let customer = world.customer().await;
    let token = world.payment_token(&customer, 1_000).await;
    let calls = over_both(distinct(&world, &customer, &token), &other);
    one_of_many(&world, &customer, &token, calls).await;

    let second = world.customer().await;
    let token = world.payment_token(&second, 1_000).await;
    let call = world.pay_call(&token, &world.payment(&second, 1_000, "tok_success"));
    let replies = world.race(over_both(vec![call; MANY], &other)).await;
    assert!(replies.iter().all(|reply| reply.status == 201 && reply.same() == replies[0].same()));
    assert_eq!((world.order_ids("ta").await.len(), world.available(&second).await), (2, 1_000));

    // The same key at both nodes: one order again.
    let third = world.customer().await;
    let order = world.order_call(&third, &world.payment(&third, 1_000, "tok_success")).await;
    let replies = world.race(over_both(vec![order; MANY], &other)).await;
    assert!(replies.iter().all(|reply| reply.same() == replies[0].same()), "{:?}", replies[0]);
    assert_eq!((world.order_ids("ta").await.len(), world.available(&third).await), (3, 1_000));
    assert_eq!(json!(world.sandbox.charges().len()), json!(3));
    other.stop().await;
    world.end().await;
}
