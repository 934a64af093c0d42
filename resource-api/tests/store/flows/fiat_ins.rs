//! Fiat-ins end to end: one-time tokens and keys, refusals that leave nothing, answers that repeat.

use chassis::testing::TestDatabase;
use futures_util::StreamExt as _;
use futures_util::future::join_all;
use futures_util::stream;
use keys::token::TokenKind;
use serde_json::{Value, json};

use super::issuer::grant;
use super::world::{Ask, Reply, World, order};

fn post(body: &Value, token: &str) -> Ask {
    Ask::post("/v1/fiat-ins", body).bearer(token)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_one_time_token_credits_the_wallet_once_and_repeats_its_answer() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (customer_id, wallet) = world.customer("alice").await;
        let token = world.one_time("alice", Some((2_500, "EUR")));
        let body = order(&wallet, 2_500, "tok_success", "order-1");
        let statements = world.app.db.statements();
        let first = world.call(post(&body, &token)).await;
        println!(
            "{:?}: A + B0 + C took {} statements",
            database.engine(),
            world.app.db.statements() - statements
        );
        assert_eq!(first.status, 201, "{}", first.text);
        let told = first.json();
        assert_eq!(told["state"], "completed");
        assert_eq!(told["customer_id"], customer_id);
        assert_eq!(told["stages"][3], json!({"kind": "credit", "status": "completed"}));
        assert_eq!(world.balance(&wallet).await, 2_500);

        let again = world.call(post(&body, &token)).await;
        assert_eq!((again.status, &again.text), (201, &first.text));
        let other = world.call(post(&order(&wallet, 2_500, "tok_success", "order-2"), &token)).await;
        assert_eq!((other.status, other.code().as_str()), (401, "token_already_used"));
        world.clock.advance(301);
        let late = world.call(post(&body, &token)).await;
        assert_eq!((late.status, &late.text), (201, &first.text), "the answer is had again after exp");
        assert_eq!(world.sandbox.charges().len(), 1);
        assert_eq!(world.balance(&wallet).await, 2_500);
    }
}

/// A, B0 and C together, with what the background tasks read meanwhile spread over many orders.
#[tokio::test(flavor = "multi_thread")]
async fn an_order_costs_a_bounded_number_of_statements() {
    const CUSTOMERS: u64 = 16;
    const ORDERS: u64 = 128;
    for database in TestDatabase::both().await {
        let world = World::start_with(&database, |config| {
            config["monitoring"] = json!({ "orders_1h_max": 10_000, "orders_24h_max": 10_000 });
        })
        .await;
        for index in 0..CUSTOMERS {
            world.customer(&format!("c{index}")).await;
        }
        let before = world.app.db.statements();
        let orders = stream::iter(0..ORDERS).map(|index| {
            let sub = format!("c{}", index % CUSTOMERS);
            let body = order(&format!("ent_{sub}"), 1, "tok_success", &format!("o-{index}"));
            world.call(post(&body, &world.one_time(&sub, None)))
        });
        let replies: Vec<Reply> = orders.buffer_unordered(32).collect().await;
        for reply in &replies {
            assert_eq!(reply.json()["state"], "completed", "{}", reply.text);
        }
        let each = (world.app.db.statements() - before).div_ceil(ORDERS);
        println!("{:?}: {each} statements for each fiat-in", database.engine());
        assert!(each <= 30, "{each} statements for each fiat-in");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_token_follows_its_order_only_for_a_day() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let (_, wallet) = world.customer("alice").await;
    let mut told = Vec::new();
    for reference in ["a", "b"] {
        let body = order(&wallet, 100, "tok_success", reference);
        told.push(world.call(post(&body, &world.one_time("alice", None))).await.json());
    }
    let path = |index: usize| format!("/v1/fiat-ins/{}", told[index]["id"].as_str().unwrap());
    let token = told[0]["status_token"].as_str().unwrap();
    let own = world.call(Ask::get(&path(0)).bearer(token)).await;
    assert_eq!((own.status, own.json()["state"].as_str()), (200, Some("completed")));
    assert!(own.json().get("status_token").is_none());
    assert_eq!(world.call(Ask::get(&path(1)).bearer(token)).await.status, 401);
    assert_eq!(world.call(Ask::get("/v1/fiat-ins").bearer(token)).await.status, 401);
    world.clock.advance(86_400);
    assert_eq!(world.call(Ask::get(&path(0)).bearer(token)).await.status, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_equal_requests_make_one_order_and_equal_answers() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        let token = world.one_time("alice", None);
        let ask = post(&order(&wallet, 700, "tok_success", "order-1"), &token);
        let replies = join_all((0..64).map(|_| world.call(ask.clone()))).await;
        let answers: Vec<_> = replies.iter().map(|reply| (reply.status, reply.text.as_str())).collect();
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
        assert_eq!(answers[0].0, 201);
        assert_eq!(world.sandbox.charges().len(), 1);
        assert_eq!(world.balance(&wallet).await, 700);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixty_four_different_requests_one_spends_the_token() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        let token = world.one_time("alice", None);
        let asks = (0..64)
            .map(|index| post(&order(&wallet, 100 + index, "tok_success", &format!("o-{index}")), &token));
        let replies = join_all(asks.map(|ask| world.call(ask))).await;
        let won: Vec<&Reply> = replies.iter().filter(|reply| reply.status == 201).collect();
        let lost = replies
            .iter()
            .filter(|reply| reply.status == 401 && reply.code() == "token_already_used")
            .count();
        assert_eq!((won.len(), lost), (1, 63));
        assert_eq!(world.sandbox.charges().len(), 1);
        assert_eq!(world.balance(&wallet).await, won[0].json()["money"]["amount"].as_i64().unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_that_make_no_order_leave_the_token_unused() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        let (_, foreign) = world.customer("bob").await;
        let token = world.one_time("alice", None);
        let good = order(&wallet, 900, "tok_success", "order-1");
        let changed = |pointer: &str, value: Value| {
            let mut body = good.clone();
            *body.pointer_mut(pointer).unwrap() = value;
            body
        };
        let cases = [
            (changed("/entity_id", json!("ent_nobody")), 404, "not_found"),
            (changed("/entity_id", json!(foreign)), 404, "not_found"),
            (changed("/money/currency", json!("USD")), 422, "currency_mismatch"),
            (changed("/money/currency", json!("eur")), 422, "unknown_currency"),
            (changed("/money/amount", json!(0)), 422, "amount_not_positive"),
            (changed("/money/amount", json!(-5)), 422, "amount_not_positive"),
            (changed("/money/amount", json!(9_007_199_254_740_992_i64)), 422, "amount_too_large"),
            (changed("/money/amount", json!(10.5)), 400, "wrong_type"),
            (changed("/money/amount", json!("900")), 400, "wrong_type"),
            (changed("/payment_method", json!({})), 422, "payment_method_invalid"),
            (changed("/payment_method/token", json!("4242424242424242")), 422, "payment_token_invalid"),
            (changed("/client_reference", json!("4242424242424242")), 422, "client_reference_not_allowed"),
            (changed("/client_reference", json!("alice@example.com")), 422, "client_reference_not_allowed"),
        ];
        for (body, status, code) in cases {
            let reply = world.call(post(&body, &token)).await;
            assert_eq!((reply.status, reply.code().as_str()), (status, code), "{body}");
        }
        let reply = world.call(post(&good, &token)).await;
        assert_eq!((reply.status, reply.json()["state"].as_str()), (201, Some("completed")));
        assert_eq!(world.balance(&wallet).await, 900);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mismatch_with_the_bound_operation_spends_the_token() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        for (amount, currency) in [(901, "EUR"), (899, "EUR"), (900, "USD")] {
            let token = world.one_time("alice", Some((900, "EUR")));
            let mut body = order(&wallet, amount, "tok_success", "order-1");
            body["money"]["currency"] = json!(currency);
            let reply = world.call(post(&body, &token)).await;
            assert_eq!((reply.status, reply.code().as_str()), (403, "operation_mismatch"), "{body}");
            let again = world.call(post(&body, &token)).await;
            assert_eq!((again.status, again.code().as_str()), (403, "operation_mismatch"));
            let right = world.call(post(&order(&wallet, 900, "tok_success", "order-1"), &token)).await;
            assert_eq!((right.status, right.code().as_str()), (401, "token_already_used"));
        }
        let events = world.events().await;
        let told = |kind: &str| events.iter().filter(|event| event["type"] == kind).count();
        assert_eq!((told("user_token.mismatched"), told("user_token.replayed")), (3, 3));
        let elsewhere = world.mint(
            TokenKind::OneTime,
            "backend",
            "alice",
            Some(grant(&format!("{}/v1/transfers", world.base), None)),
        );
        let reply = world.call(post(&order(&wallet, 900, "tok_success", "order-1"), &elsewhere)).await;
        assert_eq!((reply.status, reply.code().as_str()), (403, "operation_mismatch"));
        assert_eq!(world.sandbox.charges().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_decline_ends_the_order_and_credits_nothing() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        for (token, code) in
            [("tok_decline", "card_declined"), ("tok_insufficient_funds", "insufficient_funds")]
        {
            let reply =
                world.call(post(&order(&wallet, 500, token, token), &world.one_time("alice", None))).await;
            let told = reply.json();
            assert_eq!((reply.status, told["state"].as_str()), (201, Some("failed")));
            assert_eq!(told["state_reason"], code);
            assert_eq!(
                told["stages"][2],
                json!({"kind": "payment", "status": "failed", "failure_reason": code})
            );
            assert_eq!(told["charge"]["decline_category"], "soft");
        }
        assert_eq!(world.balance(&wallet).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_orders_for_its_customer_under_an_idempotency_key() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (customer_id, wallet) = world.customer("alice").await;
        let token = world.client("backend");
        let mut body = order(&wallet, 600, "tok_success", "order-1");
        let reply = world.call(post(&body, &token)).await;
        assert_eq!((reply.status, reply.code().as_str()), (400, "idempotency_key_required"));
        let reply = world.call(post(&body, &token).key("k1")).await;
        assert_eq!((reply.status, reply.code().as_str()), (422, "customer_required"));
        body["customer"] = json!(customer_id);
        let first = world.call(post(&body, &token).key("k1")).await;
        assert_eq!(
            (first.status, first.json()["state"].as_str()),
            (201, Some("completed")),
            "{}",
            first.text
        );
        let again = world.call(post(&body, &token).key("k1")).await;
        assert_eq!((again.status, &again.text), (201, &first.text));
        let second = world.call(post(&body, &token).key("k2")).await;
        assert_eq!((second.status, second.code().as_str()), (409, "client_reference_taken"));
        body["money"]["amount"] = json!(601);
        let other = world.call(post(&body, &token).key("k1")).await;
        assert_eq!((other.status, other.code().as_str()), (422, "idempotency_key_reused"));
        let foreign = world.call(post(&body, &world.client("other")).key("k1")).await;
        assert_eq!((foreign.status, foreign.code().as_str()), (404, "not_found"));
        assert_eq!(world.balance(&wallet).await, 600);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_seen_by_their_partner_and_their_own_user_only() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        world.customer("bob").await;
        let spent = world.one_time("alice", None);
        let mut ids = Vec::new();
        for (reference, token) in [("a", spent.clone()), ("b", world.one_time("alice", None))] {
            let reply = world.call(post(&order(&wallet, 100, "tok_success", reference), &token)).await;
            ids.push(reply.json()["id"].as_str().unwrap().to_owned());
            world.clock.advance(1);
        }
        let path = format!("/v1/fiat-ins/{}", ids[0]);
        let seen = |token: String| {
            let world = &world;
            let path = path.clone();
            async move {
                let one = world.call(Ask::get(&path).bearer(&token)).await.status;
                let list = world.call(Ask::get("/v1/fiat-ins").bearer(&token)).await.json();
                (one, list["data"].as_array().unwrap().len())
            }
        };
        assert_eq!(seen(world.client("backend")).await, (200, 2));
        assert_eq!(seen(world.user("alice")).await, (200, 2));
        assert_eq!(seen(spent).await, (200, 1), "the token that was spent on it");
        assert_eq!(
            seen(world.one_time("alice", None)).await,
            (404, 0),
            "another one-time token of the same user"
        );
        assert_eq!(seen(world.user("bob")).await, (404, 0));
        assert_eq!(seen(world.client("other")).await, (404, 0));
        let page = world.call(Ask::get("/v1/fiat-ins?limit=1").bearer(&world.client("backend"))).await.json();
        assert_eq!(page["data"][0]["id"], ids[1].as_str());
        let next = format!("/v1/fiat-ins?limit=1&cursor={}", page["next_cursor"].as_str().unwrap());
        let page = world.call(Ask::get(&next).bearer(&world.client("backend"))).await.json();
        assert_eq!(
            (page["data"][0]["id"].as_str(), page["has_more"].as_bool()),
            (Some(ids[0].as_str()), Some(false))
        );
        assert_eq!(world.call(Ask::get(&next).bearer(&world.client("other"))).await.status, 400);
    }
}
