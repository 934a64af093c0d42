//! Orders that are withdrawn or wait in vain, and money that comes in all the same.

use chassis::Clock as _;
use chassis::sqlx;
use chassis::testing::TestDatabase;
use chassis::{on, while_doing};
use futures_util::future::join_all;
use resource_api::domain::charge::Channel;
use resource_api::gateway::Answer;
use resource_api::operations::fiat_ins::{Effect, Verdict};
use resource_api::sandbox::{Outcome, Step};
use resource_api::store::charges::{Lease, find_charge, take_ready_charge, withdraw_ready_charge};
use resource_api::store::fiat_ins::find_any_fiat_in;
use serde_json::{Value, json};

use super::charges::{outcome, place, start, text, wait_for_charge, wait_for_outcome};
use super::world::{Ask, Reply, World, order};

fn cancel_ask(world: &World, id: &str, key: &str) -> Ask {
    Ask::post(&format!("/v1/fiat-ins/{id}/cancel"), &json!({})).bearer(&world.client("backend")).key(key)
}

/// The directory is stale for a moment after the clock has moved.
async fn call(world: &World, ask: Ask) -> Reply {
    for _ in 0..50 {
        let reply = world.call(ask.clone()).await;
        if reply.status != 503 {
            return reply;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the directory stays stale");
}

async fn cancel(world: &World, id: &str, key: &str) -> Reply {
    call(world, cancel_ask(world, id, key)).await
}

async fn cancel_nth(world: &World, id: &str, index: i32) -> Reply {
    cancel(world, id, &format!("c{index}")).await
}

/// An order that waits for a reviewer: the sixth within an hour.
async fn in_review(world: &World, wallet: &str) -> Value {
    for index in 0..5 {
        assert_eq!(place(world, wallet, "tok_success", &format!("before-{index}")).await.1.status, 201);
    }
    let (_, sixth) = place(world, wallet, "tok_success", "sixth").await;
    assert_eq!(sixth.json()["state"], "in_review", "{}", sixth.text);
    sixth.json()
}

async fn review_of(world: &World, order: &Value) -> Value {
    let list = world.call(Ask::get("/v1/reviews").bearer(&world.client("reviewer"))).await.json();
    let all = list["data"].as_array().unwrap().clone();
    all.into_iter().find(|review| review["fiat_in_id"] == order["id"]).unwrap()
}

async fn decide(world: &World, review: &Value, verb: &str) -> Reply {
    let path = format!("/v1/reviews/{}/{verb}", text(review, "/id"));
    let ask = Ask::post(&path, &json!({"reason": "looked at it"})).bearer(&world.client("reviewer"));
    call(world, ask.key(verb)).await
}

/// What is in suspense for `acme`.
async fn suspense(world: &World) -> i64 {
    let read = world.app.db.read(|tx| {
        Box::pin(async move {
            let rows: Result<Vec<(i64,)>, _> = on!(tx, conn => sqlx::query_as(
                "SELECT posted FROM ledger_account WHERE account_id = 'suspense:EUR'").fetch_all(conn).await);
            rows.map_err(while_doing("read what is in suspense"))
        })
    });
    read.await.unwrap().into_iter().map(|(posted,)| posted).sum()
}

async fn late_events(world: &World) -> usize {
    world.events().await.iter().filter(|event| event["type"] == "charge.late_success").count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_in_review_is_cancelled_once_and_nobody_decides_it_any_more() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        let held = in_review(&world, &wallet).await;
        let id = text(&held, "/id");
        assert_eq!(held["expires_at"].as_i64(), Some(world.clock.now().0 + 3 * 86_400));
        let foreign = Ask::post(&format!("/v1/fiat-ins/{id}/cancel"), &json!({}));
        assert_eq!(world.call(foreign.clone().bearer(&world.client("other")).key("k")).await.status, 404);
        assert_eq!(world.call(foreign.clone().bearer(&world.user("bob")).key("k")).await.status, 404);
        let own = foreign.bearer(&world.user("alice")).key("k");
        let done = world.call(own.clone()).await;
        assert_eq!((done.status, done.json()["state"].as_str()), (200, Some("cancelled")), "{}", done.text);
        assert_eq!(done.json()["state_reason"], "cancelled_by_caller");
        assert_eq!(world.call(own).await.text, done.text);
        let review = review_of(&world, &held).await;
        assert_eq!((&review["state"], &review["decided_by"]), (&json!("withdrawn"), &Value::Null));
        for verb in ["accept", "refuse"] {
            assert_eq!(decide(&world, &review, verb).await.code(), "review_closed");
        }
        let again = cancel(&world, &id, "again").await;
        assert_eq!((again.status, again.code().as_str()), (409, "order_ended"));
        assert_eq!(world.balance(&wallet).await, 6_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_submitted_is_not_cancelled() {
    for database in TestDatabase::both().await {
        let world = start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        world.sandbox.script("tok_broken", vec![Step::Drop, Step::Capture]);
        let (_, open) = place(&world, &wallet, "tok_broken", "open").await;
        let id = text(&open.json(), "/id");
        let late = cancel(&world, &id, "c").await;
        assert_eq!((late.status, late.code().as_str()), (409, "already_submitted"), "{}", late.text);
        assert!(late.text.contains("refund"), "it says what to do: {}", late.text);
        world.clock.advance(6);
        world.wait_for_state(&id, "completed").await;
        assert_eq!(cancel(&world, &id, "c2").await.code(), "order_ended");
        assert_eq!(cancel(&world, "fin_nobody", "c").await.status, 404);
    }
}

/// What a crash after transaction A leaves, in the hands of 50 callers: an order whose charge was never sent.
#[tokio::test(flavor = "multi_thread")]
async fn n9_of_fifty_cancellations_one_counts_and_the_charge_is_never_sent() {
    for database in TestDatabase::both().await {
        let world = start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        world.sandbox.script("tok_never", vec![Step::Drop, Step::Capture]);
        let (ask, first) = place(&world, &wallet, "tok_never", "never").await;
        let id = text(&first.json(), "/id");
        world.execute("UPDATE claim SET answer_status = NULL, answer_body = NULL").await;
        world.execute("UPDATE charge SET state = 'ready', attempt = 0, due_at_ms = 9000000000000").await;
        let asks = (0..50).map(|index| cancel_nth(&world, &id, index));
        let replies = join_all(asks).await;
        let counted = |status: u16| replies.iter().filter(|reply| reply.status == status).count();
        assert_eq!((counted(200), counted(409)), (1, 49), "{:?}", replies.first());
        world.execute("UPDATE charge SET due_at_ms = 0").await;
        tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
        assert_eq!(
            world.sandbox.arrivals(&text(&first.json(), "/charge/id")),
            1,
            "only what the test sent before"
        );
        let told = world.call(ask).await;
        assert_eq!((told.status, told.json()["state"].as_str()), (201, Some("cancelled")), "{}", told.text);
        assert_eq!(text(&told.json(), "/charge/state"), "voided");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn n9_of_fifty_that_send_or_withdraw_a_charge_one_wins() {
    for database in TestDatabase::both().await {
        let world = start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        for round in 0..4 {
            let reference = format!("race-{round}");
            world.sandbox.script("tok_race", vec![Step::Drop]);
            let (_, first) = place(&world, &wallet, "tok_race", &reference).await;
            let (id, charge_id) = (text(&first.json(), "/id"), text(&first.json(), "/charge/id"));
            world
                .execute(
                    "UPDATE charge SET state = 'ready', due_at_ms = 9000000000000 WHERE state = 'unknown'",
                )
                .await;
            let now = world.clock.now();
            let tries = (0..50).map(|index| {
                let (id, charge_id) = (id.clone(), charge_id.clone());
                world.write(move |tx| {
                    let (id, charge_id) = (id.clone(), charge_id.clone());
                    Box::pin(async move {
                        if (index + round) % 2 == 0 {
                            return withdraw_ready_charge(tx, &id, now).await;
                        }
                        let holder = format!("lse_{index}");
                        let lease = Lease { holder: &holder, now_ms: 0, until_ms: 9_000_000_000_000 };
                        Ok(take_ready_charge(tx, &charge_id, lease).await?.is_some())
                    })
                })
            });
            assert_eq!(join_all(tries).await.into_iter().filter(|won| *won).count(), 1);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_waits_for_its_payer_is_cancelled_by_one_and_voided_at_the_gateway() {
    for database in TestDatabase::both().await {
        let world = start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        world
            .sandbox
            .script("tok_requires_action:void", vec![Step::Drop, Step::ServerError, Step::VoidThenDrop]);
        let (_, first) = place(&world, &wallet, "tok_requires_action", "wait").await;
        let (id, charge_id) = (text(&first.json(), "/id"), text(&first.json(), "/charge/id"));
        let replies = join_all((0..50).map(|index| cancel_nth(&world, &id, index))).await;
        assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1);
        for wait_s in [6, 31, 121] {
            tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
            world.clock.advance(wait_s);
        }
        wait_for_outcome(&world, &charge_id, &Outcome::Voided).await;
        let end = wait_for_charge(&world, &id, "voided").await;
        assert_eq!((end["state"].as_str(), world.balance(&wallet).await), (Some("cancelled"), 0));
        assert_eq!(suspense(&world).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn money_of_a_cancelled_order_goes_to_suspense_and_back_to_the_payer_once() {
    for database in TestDatabase::both().await {
        let world = start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        let (_, first) = place(&world, &wallet, "tok_late_success", "late").await;
        let id = text(&first.json(), "/id");
        assert_eq!(cancel(&world, &id, "c").await.status, 200);
        tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
        world.clock.advance(6);
        let end = wait_for_charge(&world, &id, "captured").await;
        assert_eq!((end["state"].as_str(), world.balance(&wallet).await), (Some("cancelled"), 0));
        assert_eq!(late_events(&world).await, 1);
        for _ in 0..100 {
            if !world.sandbox.refunds().is_empty() && suspense(&world).await == 0 {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        assert_eq!((suspense(&world).await, world.sandbox.refunds().len()), (0, 1));
        assert_eq!(world.balance(&wallet).await, 0);
        assert!(resource_api::ledger::verify(&world.app.db).await.unwrap().is_sound());
    }
}

/// A verdict that came without a call of ours.
async fn heard(world: &World, id: &str, answer: Answer) -> Effect {
    let id = id.to_owned();
    let read = world.app.db.read(move |tx| {
        let id = id.clone();
        Box::pin(async move {
            let order = find_any_fiat_in(tx, &id).await?.unwrap();
            let charge_id = order.charge.as_ref().unwrap().charge_id.clone();
            Ok((order, find_charge(tx, &charge_id).await?.unwrap()))
        })
    });
    let (order, charge) = read.await.unwrap();
    let verdict = Verdict::heard(&world.app, (order, &charge), answer, Channel::Event, None);
    world.app.settlements.submit(verdict).await.unwrap().effect
}

#[tokio::test(flavor = "multi_thread")]
async fn money_of_a_declined_charge_goes_to_suspense_once_however_often_it_is_told() {
    for database in TestDatabase::both().await {
        let world = start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        let (_, first) = place(&world, &wallet, "tok_decline", "declined").await;
        let id = text(&first.json(), "/id");
        let captured = || Answer::Captured { provider_ref: "gch_late".to_owned() };
        let effects = join_all((0..5).map(|_| heard(&world, &id, captured()))).await;
        assert_eq!(
            effects.iter().filter(|effect| matches!(effect, Effect::Late(_))).count(),
            1,
            "{effects:?}"
        );
        assert_eq!(effects.iter().filter(|effect| **effect == Effect::Ignored).count(), 4);
        let Some(Effect::Late(late)) = effects.into_iter().find(|effect| *effect != Effect::Ignored) else {
            panic!("nothing was late")
        };
        assert_eq!((late.amount, late.currency, late.fiat_in_id), (1_200, "EUR", id.clone()));
        let order =
            world.call(Ask::get(&format!("/v1/fiat-ins/{id}")).bearer(&world.client("backend"))).await;
        let order = order.json();
        assert_eq!(
            (order["state"].as_str(), order["charge"]["state"].as_str()),
            (Some("failed"), Some("declined"))
        );
        assert_eq!((suspense(&world).await, world.balance(&wallet).await), (1_200, 0));
        assert_eq!(late_events(&world).await, 1);
        assert!(resource_api::ledger::verify(&world.app.db).await.unwrap().is_sound());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_review_that_nobody_decides_in_time_expires_and_cannot_be_accepted_late() {
    for database in TestDatabase::both().await {
        let world = World::start_with(&database, |config| {
            config["monitoring"] = json!({ "review_ttl_s": 600 });
        });
        let world = world.await;
        let (_, wallet) = world.customer("alice").await;
        let held = in_review(&world, &wallet).await;
        let review = review_of(&world, &held).await;
        world.clock.advance(600);
        let late = decide(&world, &review, "accept").await;
        assert!(["review_expired", "review_closed"].contains(&late.code().as_str()), "{}", late.text);
        let expired = world.wait_for_state(&text(&held, "/id"), "expired").await;
        assert_eq!(
            (text(&expired, "/state_reason").as_str(), &expired["charge"]),
            ("review_timed_out", &Value::Null)
        );
        assert_eq!(review_of(&world, &held).await["state"], "expired");
        assert_eq!(world.balance(&wallet).await, 6_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_reviewers_decision_the_clock_and_a_cancellation_one_wins() {
    for database in TestDatabase::both().await {
        let world = World::start_with(&database, |config| {
            config["monitoring"] = json!({ "review_ttl_s": 600, "orders_1h_max": 1, "orders_24h_max": 100 });
        });
        let world = world.await;
        let (_, wallet) = world.customer("alice").await;
        assert_eq!(place(&world, &wallet, "tok_success", "first").await.1.status, 201);
        for round in 0..3 {
            let body = order(&wallet, 100, "tok_success", &format!("round-{round}"));
            let ask = Ask::post("/v1/fiat-ins", &body).bearer(&world.one_time("alice", None));
            let held = call(&world, ask).await.json();
            assert_eq!(held["state"], "in_review", "{held}");
            let review = review_of(&world, &held).await;
            let id = text(&held, "/id");
            world.clock.advance(600);
            let (refused, cancelled) =
                tokio::join!(decide_once(&world, &review, round), cancel_nth(&world, &id, round));
            let won = [refused.status, cancelled.status].iter().filter(|status| **status == 200).count();
            assert!(won <= 1, "{} {}", refused.text, cancelled.text);
            let end = ended(&world, &id).await;
            let expected = match (refused.status, cancelled.status) {
                (200, _) => "refused",
                (_, 200) => "cancelled",
                _ => "expired",
            };
            assert_eq!(end["state"], expected);
        }
    }
}

async fn decide_once(world: &World, review: &Value, round: i32) -> Reply {
    let path = format!("/v1/reviews/{}/refuse", text(review, "/id"));
    let ask = Ask::post(&path, &json!({"reason": "looked at it"})).bearer(&world.client("reviewer"));
    call(world, ask.key(&format!("r{round}"))).await
}

async fn ended(world: &World, id: &str) -> Value {
    for _ in 0..100 {
        let order =
            world.call(Ask::get(&format!("/v1/fiat-ins/{id}")).bearer(&world.client("backend"))).await.json();
        if order["state"] != "in_review" {
            return order;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("{id} stays in review");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_event_completes_a_charge_that_was_left_to_a_person() {
    for database in TestDatabase::both().await {
        let world = start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        world.sandbox.script("tok_dead", vec![Step::ServerError]);
        let (_, first) = place(&world, &wallet, "tok_dead", "dead").await;
        let id = text(&first.json(), "/id");
        assert_eq!(outcome(&world, &text(&first.json(), "/charge/id")), None);
        world.clock.advance(86_401);
        wait_for_charge(&world, &id, "manual").await;
        let answers = [
            Answer::Unknown("nothing"),
            Answer::Captured { provider_ref: "gch_1".to_owned() },
            Answer::Authorized { provider_ref: "gch_1".to_owned() },
        ];
        let mut effects = Vec::new();
        for answer in answers {
            effects.push(heard(&world, &id, answer).await);
        }
        let moved = Effect::Moved(resource_api::domain::charge::ChargeState::Captured);
        assert_eq!(effects, [Effect::Ignored, moved, Effect::Ignored]);
        assert_eq!(world.balance(&wallet).await, 1_200);
    }
}
