//! Monitoring over HTTP: what is refused, what waits for a person, and who may decide it.

use chassis::testing::TestDatabase;
use futures_util::future::join_all;
use serde_json::{Value, json};

use super::world::{Ask, Reply, World, order};

async fn placed(world: &World, wallet: &str, amount: i64, reference: &str) -> Reply {
    let body = order(wallet, amount, "tok_success", reference);
    world.call(Ask::post("/v1/fiat-ins", &body).bearer(&world.one_time("alice", None))).await
}

/// Six orders within an hour: the sixth waits.
async fn waiting(world: &World, wallet: &str) -> Value {
    for index in 0..5 {
        assert_eq!(placed(world, wallet, 100, &format!("before-{index}")).await.status, 201);
    }
    let sixth = placed(world, wallet, 100, "sixth").await;
    assert_eq!((sixth.status, sixth.json()["state"].as_str()), (202, Some("in_review")), "{}", sixth.text);
    sixth.json()
}

async fn open_review(world: &World) -> String {
    let list = world.call(Ask::get("/v1/reviews?state=open").bearer(&world.client("reviewer"))).await.json();
    list["data"][0]["id"].as_str().unwrap_or_else(|| panic!("{list}")).to_owned()
}

async fn decide(world: &World, client: &str, id: &str, verb: &str, key: &str) -> Reply {
    let ask = Ask::post(&format!("/v1/reviews/{id}/{verb}"), &json!({"reason": "called the customer"}));
    world.call(ask.bearer(&world.client(client)).key(key)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_accepted_review_is_charged_and_the_maker_may_not_decide_it() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        let held = waiting(&world, &wallet).await;
        assert_eq!(held["state_reason"], "transaction_velocity");
        assert_eq!(world.sandbox.charges().len(), 5);
        let review = open_review(&world).await;
        let own = decide(&world, "backend", &review, "accept", "k").await;
        assert_eq!((own.status, own.code().as_str()), (403, "four_eyes_required"));
        assert_eq!(decide(&world, "other", &review, "accept", "k").await.status, 404);
        let silent = Ask::post(&format!("/v1/reviews/{review}/accept"), &json!({"reason": " "}));
        let silent = world.call(silent.bearer(&world.client("reviewer")).key("s")).await;
        assert_eq!((silent.status, silent.code().as_str()), (422, "reason_required"));

        let accepted = decide(&world, "reviewer", &review, "accept", "k").await;
        assert_eq!(
            (accepted.status, accepted.json()["state"].as_str()),
            (200, Some("accepted")),
            "{}",
            accepted.text
        );
        let end = world.wait_for_state(held["id"].as_str().unwrap(), "completed").await;
        assert_eq!(end["state_reason"], Value::Null);
        assert_eq!(world.balance(&wallet).await, 600);
        assert_eq!(decide(&world, "reviewer", &review, "accept", "k").await.text, accepted.text);
        let late = decide(&world, "reviewer", &review, "refuse", "k2").await;
        assert_eq!((late.status, late.code().as_str()), (409, "review_closed"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_review_ends_the_order() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        let held = waiting(&world, &wallet).await;
        let review = open_review(&world).await;
        let refused = decide(&world, "reviewer", &review, "refuse", "k").await;
        assert_eq!((refused.status, refused.json()["state"].as_str()), (200, Some("refused")));
        let end = world.wait_for_state(held["id"].as_str().unwrap(), "refused").await;
        assert_eq!((end["state_reason"].as_str(), end["charge"].is_null()), (Some("review_refused"), true));
        assert_eq!(world.balance(&wallet).await, 500);
        let seen = world
            .call(Ask::get(&format!("/v1/reviews/{review}")).bearer(&world.client("reviewer")))
            .await
            .json();
        assert_eq!(
            (seen["decided_by"].as_str(), seen["decision_reason"].as_str()),
            (Some("reviewer"), Some("called the customer"))
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_rules_refuse_at_the_second_look_stays_refused() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        let held = waiting(&world, &wallet).await;
        world.execute("UPDATE customer SET country = 'KP'").await;
        let decided = decide(&world, "reviewer", &open_review(&world).await, "accept", "k").await.json();
        assert_eq!(decided["fiat_in"]["state"], "refused");
        let end = world.wait_for_state(held["id"].as_str().unwrap(), "refused").await;
        assert_eq!(end["state_reason"], "blocked_jurisdiction");
        assert_eq!(world.sandbox.charges().len(), 5);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn amounts_over_the_cap_and_blocked_countries_are_refused_with_a_public_code_only() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        let over = placed(&world, &wallet, 100_001, "over").await;
        assert_eq!((over.status, over.json()["state"].as_str()), (201, Some("refused")));
        assert_eq!(over.json()["state_reason"], "amount_limit");
        assert!(!over.text.contains("100000") && !over.text.contains("AMT"), "{}", over.text);
        let mut body = order(&wallet, 100, "tok_success", "geo");
        body["device"] = json!({"ip_country": "IR"});
        let geo = world.call(Ask::post("/v1/fiat-ins", &body).bearer(&world.one_time("alice", None))).await;
        assert_eq!(geo.json()["state_reason"], "blocked_jurisdiction");
        assert_eq!(world.sandbox.charges().len(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_orders_at_the_edge_of_a_sum_do_not_all_pass() {
    for database in TestDatabase::both().await {
        let world = World::start_with(&database, |config| {
            config["monitoring"] = json!({
                "sum_24h_max": [0, 0, 2_500, 2_500], "orders_1h_max": 100, "orders_24h_max": 100,
            });
        })
        .await;
        let (_, wallet) = world.customer("alice").await;
        let asks = (0..12).map(|index| {
            let world = &world;
            let wallet = wallet.clone();
            async move { placed(world, &wallet, 1_000, &format!("edge-{index}")).await }
        });
        let replies = join_all(asks).await;
        for reply in &replies {
            assert_eq!(reply.status, 201, "{}", reply.text);
        }
        let completed = replies.iter().filter(|reply| reply.json()["state"] == "completed").count();
        let refused =
            replies.iter().filter(|reply| reply.json()["state_reason"] == "transaction_velocity").count();
        assert_eq!((completed, refused), (2, 10));
        assert_eq!(world.balance(&wallet).await, 2_000);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parallel_orders_do_not_slip_past_the_count() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        let asks = (0..20).map(|index| {
            let world = &world;
            let wallet = wallet.clone();
            async move { placed(world, &wallet, 100, &format!("count-{index}")).await }
        });
        let states: Vec<String> = join_all(asks)
            .await
            .iter()
            .map(|reply| reply.json()["state"].as_str().unwrap().to_owned())
            .collect();
        let count = |state: &str| states.iter().filter(|known| *known == state).count();
        assert_eq!((count("completed"), count("in_review"), count("refused")), (5, 10, 5), "{states:?}");
    }
}
