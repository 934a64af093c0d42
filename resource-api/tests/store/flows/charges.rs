//! The life of a charge beyond captured and declined: the payer who has to prove who they are, what is reserved before
//! it is collected, and every way in which a gateway is known to misbehave.

use chassis::Clock as _;
use chassis::testing::TestDatabase;
use http::{HeaderMap, Method};
use resource_api::domain::charge::ChargeState;
use resource_api::sandbox::{Outcome, Step};
use resource_api::store::charge_attempts::list_attempts;
use serde_json::{Value, json};

use super::world::{Ask, Reply, World, loopback, order};

/// Many orders of one customer, so that only the gateway decides.
pub(super) async fn start(database: &TestDatabase) -> World {
    start_with(database, |_| ()).await
}

async fn start_with(database: &TestDatabase, change: impl FnOnce(&mut Value)) -> World {
    let world = World::start_with(database, |config| {
        config["monitoring"] = json!({ "orders_1h_max": 1_000, "orders_24h_max": 1_000 });
        change(config);
    });
    world.await
}

pub(super) async fn place(world: &World, wallet: &str, token: &str, reference: &str) -> (Ask, Reply) {
    let body = order(wallet, 1_200, token, reference);
    let ask = Ask::post("/v1/fiat-ins", &body).bearer(&world.one_time("alice", None));
    let reply = world.call(ask.clone()).await;
    (ask, reply)
}

pub(super) fn text(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_else(|| panic!("no {pointer} in {value}")).to_owned()
}

pub(super) fn outcome(world: &World, charge_id: &str) -> Option<Outcome> {
    world
        .sandbox
        .charges()
        .into_iter()
        .find(|charge| charge.reference == charge_id)
        .map(|charge| charge.outcome)
}

/// Waits until the sandbox has recorded this for a charge.
pub(super) async fn wait_for_outcome(world: &World, charge_id: &str, wanted: &Outcome) {
    for _ in 0..100 {
        if outcome(world, charge_id).as_ref() == Some(wanted) {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the gateway did not get to {wanted:?}: {:?}", outcome(world, charge_id));
}

/// The payer's browser on the bank's page.
async fn browse(method: Method, url: &str, body: &'static str) -> (u16, String) {
    let request = chassis::fetch::FetchRequest {
        method,
        url: url.parse().unwrap(),
        headers: HeaderMap::new(),
        body: body.into(),
        deadline: None,
    };
    let reply = loopback().fetch(request).await.unwrap();
    (reply.status.as_u16(), String::from_utf8(reply.body.to_vec()).unwrap())
}

async fn kinds(world: &World, of: &Value) -> Vec<String> {
    let events = world.events().await;
    let own = events.iter().filter(|event| event["data"]["fiat_in_id"] == *of);
    own.map(|event| text(event, "/type")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_who_proves_who_they_are_completes_the_order() {
    for database in TestDatabase::both().await {
        let world = start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        let (ask, first) = place(&world, &wallet, "tok_requires_action", "prove").await;
        let told = first.json();
        assert_eq!((first.status, told["state"].as_str()), (202, Some("requires_action")), "{}", first.text);
        assert_eq!(
            (&told["next_action"]["type"], &told["charge"]["state"]),
            (&json!("redirect"), &json!("requires_action"))
        );
        assert_eq!(told["expires_at"].as_i64(), Some(world.clock.now().0 + 900));
        assert_eq!(world.call(ask).await.text, first.text);
        let page = text(&told, "/next_action/redirect_url");
        assert!(browse(Method::GET, &page, "").await.1.contains("Confirm"));
        assert_eq!(browse(Method::POST, &page, "outcome=confirm").await.0, 200);
        assert_eq!(browse(Method::POST, &page, "outcome=fail").await.0, 404, "decided once");
        world.clock.advance(16);
        let end = world.wait_for_state(&text(&told, "/id"), "completed").await;
        assert!(end.get("next_action").is_none() && end.get("expires_at").is_none(), "{end}");
        assert_eq!(world.balance(&wallet).await, 1_200);
        let kinds = kinds(&world, &told["id"]).await;
        for kind in ["fiat_in.requires_action", "fiat_in.completed", "entity.credited"] {
            assert_eq!(kinds.iter().filter(|known| *known == kind).count(), 1, "{kind} in {kinds:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_who_fails_ends_the_order_and_one_who_stays_away_lets_it_expire_and_be_voided() {
    for database in TestDatabase::both().await {
        let world = start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        let (_, failing) = place(&world, &wallet, "tok_requires_action", "fail").await;
        let (_, waiting) = place(&world, &wallet, "tok_requires_action", "wait").await;
        assert!(world.sandbox.fail(&text(&failing.json(), "/charge/id")));
        world.clock.advance(16);
        let failed = world.wait_for_state(&text(&failing.json(), "/id"), "failed").await;
        assert_eq!(
            (text(&failed, "/state_reason").as_str(), text(&failed, "/charge/state").as_str()),
            ("authentication_failed", "declined")
        );
        world.clock.advance(900);
        let id = text(&waiting.json(), "/id");
        let expired = world.wait_for_state(&id, "expired").await;
        assert_eq!(text(&expired, "/state_reason"), "payer_timed_out");
        let charge_id = text(&expired, "/charge/id");
        wait_for_outcome(&world, &charge_id, &Outcome::Voided).await;
        assert!(!world.sandbox.confirm(&charge_id), "too late for the payer");
        assert_eq!(world.balance(&wallet).await, 0);
        assert_eq!(kinds(&world, &expired["id"]).await.last().map(String::as_str), Some("fiat_in.expired"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_authorized_is_captured_under_a_key_of_its_own() {
    for database in TestDatabase::both().await {
        let world = start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        let (ask, at_once) = place(&world, &wallet, "tok_authorized", "auth").await;
        assert_eq!(
            (at_once.status, at_once.json()["state"].as_str()),
            (201, Some("completed")),
            "{}",
            at_once.text
        );
        let charge_id = text(&at_once.json(), "/charge/id");
        assert_eq!(
            (world.sandbox.arrivals(&charge_id), world.sandbox.arrivals(&format!("{charge_id}:capture"))),
            (1, 1)
        );
        assert_eq!(world.call(ask).await.text, at_once.text);
        let (_, declined) = place(&world, &wallet, "tok_capture_declined", "declined").await;
        assert_eq!(
            (declined.status, declined.json()["state_reason"].as_str()),
            (201, Some("authorization_expired")),
            "{}",
            declined.text
        );
        let (_, proved) = place(&world, &wallet, "tok_requires_action_then_authorized", "both").await;
        assert!(world.sandbox.confirm(&text(&proved.json(), "/charge/id")));
        world.clock.advance(16);
        world.wait_for_state(&text(&proved.json(), "/id"), "completed").await;
        assert_eq!(world.balance(&wallet).await, 2_400);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_capture_whose_answer_is_lost_is_found_or_sent_again_and_collects_once() {
    for database in TestDatabase::both().await {
        let world = start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        let faults = [
            Step::Drop,
            Step::ServerError,
            Step::Garbage,
            Step::CaptureThenDrop,
            Step::CaptureThenServerError,
        ];
        let mut ids = Vec::new();
        for (index, fault) in faults.into_iter().enumerate() {
            let token = format!("tok_auth_{index}");
            world.sandbox.script(&token, vec![Step::Authorize]);
            world.sandbox.script(&format!("{token}:capture"), vec![fault, Step::Capture]);
            let (_, first) = place(&world, &wallet, &token, &token).await;
            let told = first.json();
            assert_eq!(
                (first.status, text(&told, "/charge/state").as_str()),
                (202, "authorized"),
                "{}",
                first.text
            );
            ids.push(text(&told, "/id"));
        }
        world.clock.advance(6);
        for id in &ids {
            let end = world.wait_for_state(id, "completed").await;
            assert_eq!(outcome(&world, &text(&end, "/charge/id")), Some(Outcome::Captured));
        }
        assert_eq!(world.balance(&wallet).await, 1_200 * 5);
        assert!(resource_api::ledger::verify(&world.app.db).await.unwrap().is_sound());
    }
}

/// Reliability row R11.
#[tokio::test(flavor = "multi_thread")]
async fn r11_whatever_the_gateway_does_a_charge_is_booked_once_and_never_failed_by_silence() {
    for database in TestDatabase::both().await {
        let world = start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        let faults = [
            ("dropped", vec![Step::Drop, Step::Capture]),
            ("garbage", vec![Step::Garbage, Step::Capture]),
            ("error", vec![Step::ServerError, Step::Capture]),
            ("hang", vec![Step::CaptureThenHang]),
            ("committed", vec![Step::CaptureThenDrop]),
            ("committed_500", vec![Step::CaptureThenServerError]),
            ("truncated", vec![Step::CaptureThenTruncate]),
            ("hidden", vec![Step::CaptureHidden(2)]),
            ("authorized", vec![Step::AuthorizeThenDrop]),
        ];
        let mut ids = Vec::new();
        for (name, steps) in faults {
            world.sandbox.script(name, steps);
            let (_, first) = place(&world, &wallet, name, name).await;
            let told = first.json();
            assert_eq!(
                (first.status, text(&told, "/charge/state").as_str()),
                (202, "unknown"),
                "{name}: {}",
                first.text
            );
            ids.push((name, text(&told, "/id")));
        }
        for wait_s in [6, 31, 121] {
            world.clock.advance(wait_s);
            tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
        }
        for (name, id) in &ids {
            let end = world.wait_for_state(id, "completed").await;
            let charge_id = text(&end, "/charge/id");
            assert_eq!(outcome(&world, &charge_id), Some(Outcome::Captured), "{name}");
        }
        let (_, slow) = place(&world, &wallet, "tok_slow", "slow").await;
        assert_eq!(
            slow.json()["state_reason"],
            "invalid_instrument",
            "an unknown token is a definite decline"
        );
        world.sandbox.script("tok_slow", vec![Step::CaptureAfter(300)]);
        assert_eq!(place(&world, &wallet, "tok_slow", "slow-2").await.1.status, 201);
        assert_eq!(world.balance(&wallet).await, 1_200 * 10);
        assert!(resource_api::ledger::verify(&world.app.db).await.unwrap().is_sound());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn n16_another_amount_or_currency_is_never_booked_and_ends_with_a_person() {
    for database in TestDatabase::both().await {
        let world = start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        let mut ids = Vec::new();
        for token in ["tok_wrong_amount", "tok_wrong_currency"] {
            let (_, first) = place(&world, &wallet, token, token).await;
            assert_eq!((first.status, text(&first.json(), "/charge/state").as_str()), (202, "unknown"));
            ids.push((text(&first.json(), "/id"), text(&first.json(), "/charge/id")));
        }
        world.clock.advance(86_401);
        for (id, charge_id) in ids {
            let manual = wait_for_charge(&world, &id, "manual").await;
            assert_eq!(manual["state"], "processing", "never failed by itself");
            let heard = world
                .app
                .db
                .read(move |tx| {
                    let charge_id = charge_id.clone();
                    Box::pin(async move { list_attempts(tx, &charge_id, 100).await })
                })
                .await
                .unwrap();
            let channels: Vec<_> = heard.iter().map(|attempt| attempt.channel.as_str()).collect();
            assert_eq!(channels, ["charge", "probe"], "the evidence is kept; so late it is only looked for");
            assert!(heard.iter().all(|attempt| attempt.heard == "unknown" && attempt.reason.is_some()));
        }
        assert_eq!(world.balance(&wallet).await, 0);
        let manual = world.events().await.iter().filter(|event| event["type"] == "charge.manual").count();
        assert_eq!(manual, 2);
    }
}

pub(super) async fn wait_for_charge(world: &World, id: &str, state: &str) -> Value {
    let mut last = Value::Null;
    for _ in 0..100 {
        let ask = Ask::get(&format!("/v1/fiat-ins/{id}")).bearer(&world.client("backend"));
        last = world.call(ask).await.json();
        if last["charge"]["state"] == state {
            return last;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the charge of {id} did not get {state}: {last}");
}

#[tokio::test(flavor = "multi_thread")]
async fn not_being_found_within_the_gateways_window_proves_nothing_and_sends_nothing_again() {
    for database in TestDatabase::both().await {
        let world =
            start_with(&database, |config| config["gateway"]["consistency_window_s"] = json!(90)).await;
        let (_, wallet) = world.customer("alice").await;
        world.sandbox.script("tok_lag", vec![Step::Drop, Step::Capture]);
        let (_, first) = place(&world, &wallet, "tok_lag", "lag").await;
        let (id, charge_id) = (text(&first.json(), "/id"), text(&first.json(), "/charge/id"));
        for wait_s in [6, 31] {
            world.clock.advance(wait_s);
            tokio::time::sleep(std::time::Duration::from_millis(1_200)).await;
            assert_eq!(world.sandbox.arrivals(&charge_id), 1, "looked for, not sent again");
        }
        world.clock.advance(121);
        world.wait_for_state(&id, "completed").await;
        assert_eq!((world.sandbox.arrivals(&charge_id), world.balance(&wallet).await), (2, 1_200));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_is_gone_for_most_of_a_day_loses_nothing() {
    for database in TestDatabase::both().await {
        let world = start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        world.sandbox.vanish(true);
        let (ask, first) = place(&world, &wallet, "tok_success", "gone").await;
        let id = text(&first.json(), "/id");
        assert_eq!((first.status, text(&first.json(), "/charge/state").as_str()), (202, "unknown"));
        for wait_s in [6, 31, 121, 601, 3_601, 3_601] {
            world.clock.advance(wait_s);
            tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        }
        assert_eq!(world.sandbox.charges().len(), 0);
        world.sandbox.vanish(false);
        world.clock.advance(3_601);
        world.wait_for_state(&id, "completed").await;
        assert_eq!(world.balance(&wallet).await, 1_200);
        assert_eq!(world.call(ask).await.text, first.text, "the first answer stays the answer");
    }
}

#[test]
fn a_final_state_is_what_money_cannot_leave_silently() {
    let finals: Vec<_> = ChargeState::ALL.iter().copied().filter(|state| state.is_final()).collect();
    assert_eq!(finals, [ChargeState::Captured, ChargeState::Declined, ChargeState::Voided]);
}
