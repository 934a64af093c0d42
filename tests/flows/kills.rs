//! The payments API is cut off at bad moments; the same request is then sent again.

use std::time::Duration;

use resource_api::sandbox::Step;
use serde_json::{Value, json};

use crate::world::{Call, Customer, Reply, World, eventually};

/// Sends the request again until the order is completed; the first answer after the restart stands.
async fn completes(world: &World, call: &Call) -> Reply {
    let answer = world.send(call.clone()).await;
    assert!(matches!(answer.status, 201 | 202), "{}", answer.text);
    let path = format!("/v1/fiat-ins/{}", answer.body["id"].as_str().expect("an id"));
    let done = || async {
        // The time of another look at the gateway comes.
        world.clock.advance(1);
        let order = world.get_as("ta/backend", &path).await;
        (order["state"] == "completed").then_some(())
    };
    eventually("the order's end", done).await;
    assert_eq!(world.send(call.clone()).await.same(), answer.same());
    answer
}

async fn assert_one_effect(world: &World, customer: &Customer) {
    assert_eq!((world.order_ids("ta").await.len(), world.sandbox.charges().len()), (1, 1));
    assert_eq!(world.available(customer).await, 1_000);
    world.assert_all_booked().await;
}

/// Sends the call and waits until the database says that it came so far; its answer is not waited for.
async fn send_until(world: &World, call: &Call, sql: &str) {
    let (sent, reached) = (world.try_send(call.clone()), async {
        eventually(sql, || async { (world.number(sql.to_owned()).await > 0).then_some(()) }).await;
    });
    tokio::pin!(sent);
    tokio::pin!(reached);
    tokio::select! {
        () = &mut reached => {}
        _ = &mut sent => reached.await,
    }
}

flows! {
    async fn a_kill_right_after_the_commit_leaves_the_answer_and_one_effect(world: &mut World) {
        let customer = world.customer().await;
        let token = world.payment_token(&customer, 1_000).await;
        let call = world.pay_call(&token, &world.payment(&customer, 1_000, "tok_success"));
        let node = world.mortal_api().await;
        send_until(world, &call, "SELECT COUNT(*) FROM fiat_in WHERE state = 'completed'").await;
        world.kill_and_restart(node).await;
        let again = world.send(call.clone()).await;
        assert_eq!((again.status, &again.body["state"]), (201, &json!("completed")), "{}", again.text);
        let mut other = world.payment(&customer, 1_000, "tok_success");
        other["client_reference"] = json!("another");
        world.pay(&token, &other).await.refused(401, "token_already_used");
        assert_one_effect(world, &customer).await;
    }

    async fn a_kill_while_the_gateway_is_called_is_settled_by_the_next_node(world: &mut World) {
        let customer = world.customer().await;
        world.sandbox.script("tok_slow", vec![Step::CaptureThenHang]);
        let token = world.payment_token(&customer, 1_000).await;
        let call = world.pay_call(&token, &world.payment(&customer, 1_000, "tok_slow"));
        let node = world.mortal_api().await;
        send_until(world, &call, "SELECT COUNT(*) FROM charge WHERE state = 'submitting'").await;
        world.kill_and_restart(node).await;
        completes(world, &call).await;
        assert_one_effect(world, &customer).await;
    }

    async fn kills_at_any_moment_lose_and_double_nothing(world: &mut World) {
        let mut calls = Vec::new();
        let mut customers = Vec::new();
        for index in 0..6 {
            let customer = world.customer().await;
            let token = world.payment_token(&customer, 1_000).await;
            let body = world.payment(&customer, 1_000, "tok_success");
            calls.push(if index % 2 == 0 {
                world.pay_call(&token, &body)
            } else {
                world.order_call(&customer, &body).await
            });
            customers.push(customer);
        }
        let mut acknowledged: Vec<Option<Value>> = vec![None; calls.len()];
        for life_ms in [2, 6, 14] {
            let node = world.mortal_api().await;
            let sent = futures_util::future::join_all(calls.iter().map(|call| world.try_send(call.clone())));
            let answers = async {
                tokio::select! {
                    answers = sent => answers.into_iter().map(Result::ok).collect(),
                    () = tokio::time::sleep(Duration::from_millis(life_ms)) => Vec::new(),
                }
            };
            let answers: Vec<Option<Reply>> = answers.await;
            for (known, answer) in acknowledged.iter_mut().zip(answers) {
                *known = known.take().or(answer.filter(|answer| answer.status == 201).map(|answer| answer.body));
            }
            world.kill_and_restart(node).await;
        }
        for (call, known) in calls.iter().zip(acknowledged) {
            let answer = completes(world, call).await;
            if let Some(known) = known {
                assert_eq!(answer.body, known, "what was acknowledged stands");
            }
        }
        for customer in &customers {
            assert_eq!(world.available(customer).await, 1_000);
        }
        assert_eq!((world.order_ids("ta").await.len(), world.sandbox.charges().len()), (6, 6));
        world.assert_all_booked().await;
    }
}
