//! What a crash or a silent gateway leaves is finished by the recovery worker, once.

use chassis::testing::TestDatabase;
use resource_api::sandbox::Step;

use super::world::{Ask, World, order};

async fn placed(world: &World, wallet: &str, token: &str) -> (Ask, super::world::Reply) {
    let body = order(wallet, 1_200, token, token);
    let ask = Ask::post("/v1/fiat-ins", &body).bearer(&world.one_time("alice", None));
    let reply = world.call(ask.clone()).await;
    (ask, reply)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_outcome_is_answered_202_and_found_out_later() {
    for database in TestDatabase::both().await {
        for token in ["tok_timeout_then_success", "tok_success_then_lost_answer"] {
            let world = World::start(&database).await;
            let (_, wallet) = world.customer("alice").await;
            world.execute("DELETE FROM fiat_in").await;
            let before = world.balance(&wallet).await;
            let (ask, first) = placed(&world, &wallet, token).await;
            let told = first.json();
            assert_eq!((first.status, told["state"].as_str()), (202, Some("processing")), "{}", first.text);
            assert_eq!(told["charge"]["state"], "unknown");
            assert_eq!(world.balance(&wallet).await, before);
            world.clock.advance(6);
            let id = told["id"].as_str().unwrap();
            let end = world.wait_for_state(id, "completed").await;
            assert_eq!(end["charge"]["state"], "captured");
            assert_eq!(world.balance(&wallet).await, before + 1_200);
            assert_eq!(world.sandbox.charges().len(), 1, "collected once");
            let again = world.call(ask).await;
            assert_eq!((again.status, &again.text), (202, &first.text), "the first answer stays the answer");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_left_at_any_point_is_completed_once() {
    // What a crash leaves: after A, after B0, and after the gateway collected but before C.
    const LEFT: [(&str, &str); 3] = [
        (
            "UPDATE charge SET state = 'ready', attempt = 0, lease_holder = NULL, due_at_ms = 0, submitted_at_s = NULL",
            "tok_left_ready",
        ),
        (
            "UPDATE charge SET state = 'submitting', attempt = 1, lease_holder = 'gone', due_at_ms = 0, submitted_at_s = created_at_s - 60",
            "tok_left_leased",
        ),
        (
            "UPDATE charge SET state = 'submitting', attempt = 1, lease_holder = 'gone', due_at_ms = 0, submitted_at_s = created_at_s - 60",
            "tok_left_collected",
        ),
    ];
    for database in TestDatabase::both().await {
        for (sql, token) in LEFT {
            let world = World::start(&database).await;
            let (_, wallet) = world.customer("alice").await;
            world.execute("DELETE FROM fiat_in").await;
            world.execute("DELETE FROM charge").await;
            let before = world.balance(&wallet).await;
            let silent = if token == "tok_left_collected" { Step::CaptureThenHang } else { Step::Hang };
            world.sandbox.script(token, vec![silent, Step::Capture]);
            let (ask, first) = placed(&world, &wallet, token).await;
            assert_eq!(first.status, 202);
            // The process died before it could record an answer.
            world.execute("UPDATE claim SET answer_status = NULL, answer_body = NULL").await;
            world.execute(sql).await;
            let again = world.call(ask.clone()).await;
            assert_eq!(
                (again.status, again.json()["state"].as_str()),
                (201, Some("completed")),
                "{}",
                again.text
            );
            assert_eq!(world.balance(&wallet).await, before + 1_200);
            assert_eq!(world.sandbox.charges().len(), 1, "collected once");
            assert_eq!(world.call(ask).await.text, again.text);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_that_is_never_found_out_is_left_to_a_person_and_never_failed() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let (_, wallet) = world.customer("alice").await;
    world.sandbox.script("tok_dead", vec![Step::ServerError]);
    let (_, first) = placed(&world, &wallet, "tok_dead").await;
    let id = first.json()["id"].as_str().unwrap().to_owned();
    world.clock.advance(86_401);
    for _ in 0..50 {
        let order =
            world.call(Ask::get(&format!("/v1/fiat-ins/{id}")).bearer(&world.client("backend"))).await.json();
        assert_eq!(order["state"], "processing");
        if order["charge"]["state"] == "manual" {
            assert_eq!(world.balance(&wallet).await, 0);
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the charge was not left to a person");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_amount_at_the_gateway_is_not_booked() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let (_, wallet) = world.customer("alice").await;
    world.sandbox.script("tok_short", vec![Step::CaptureShort]);
    let (_, first) = placed(&world, &wallet, "tok_short").await;
    assert_eq!((first.status, first.json()["charge"]["state"].as_str()), (202, Some("unknown")));
    assert_eq!(world.balance(&wallet).await, 0);
}
