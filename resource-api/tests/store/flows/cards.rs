//! Cards and personal data in a request: nothing of them stays but token, brand, last four digits, and sealed
//! fields.

use chassis::sqlx;
use chassis::testing::TestDatabase;
use chassis::{on, while_doing};
use serde_json::{Value, json};

use super::world::{Ask, World, order};

const NUMBER: &str = "4242424242424242";
const PII: [&str; 4] = ["Ada-Marie", "Lovelace-Byron", "ada.lovelace@example.com", "1990-12-10"];

fn card_order(wallet: &str, number: &str) -> Value {
    let mut body = order(wallet, 1_500, "", "order-1");
    body["payment_method"] =
        json!({"card": {"number": number, "cvc": "737", "exp_month": 12, "exp_year": 2030}});
    body
}

/// Every text of every table that this feature writes.
async fn everything_stored(world: &World) -> String {
    const TABLES: [&str; 7] = [
        "SELECT fiat_in_id || client_reference || COALESCE(device_hash, '') || claim || COALESCE(method_last4, '') FROM fiat_in",
        "SELECT charge_id || source_token || COALESCE(provider_ref, '') FROM charge",
        "SELECT hits || inputs_hash FROM monitoring_decision",
        "SELECT key_hash || fingerprint || COALESCE(answer_body, '') || owner FROM claim",
        "SELECT data FROM event",
        "SELECT external_id || sub || COALESCE(pii_mac, '') FROM customer",
        "SELECT sealed || value_mac FROM customer_pii",
    ];
    let mut all = String::new();
    for sql in TABLES {
        let rows: Vec<(String,)> = world
            .app
            .db
            .read(move |tx| {
                Box::pin(async move {
                    on!(tx, conn => sqlx::query_as(sql).fetch_all(conn).await)
                        .map_err(while_doing("read a table"))
                })
            })
            .await
            .unwrap();
        for (text,) in rows {
            all.push_str(&text);
            all.push('\n');
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_is_charged_and_its_number_is_stored_nowhere() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (_, wallet) = world.customer("alice").await;
        let token = world.one_time("alice", None);
        let ask = Ask::post("/v1/fiat-ins", &card_order(&wallet, NUMBER)).bearer(&token);
        let first = world.call(ask.clone()).await;
        assert_eq!(
            (first.status, first.json()["state"].as_str()),
            (201, Some("completed")),
            "{}",
            first.text
        );
        assert_eq!(first.json()["payment_method"], json!({"brand": "visa", "last4": "4242"}));
        let again = world.call(ask).await;
        assert_eq!((again.status, &again.text), (201, &first.text));
        let other = Ask::post("/v1/fiat-ins", &card_order(&wallet, "5555555555554444")).bearer(&token);
        assert_eq!(world.call(other).await.code(), "token_already_used");
        let stored = everything_stored(&world).await;
        assert!(stored.contains("tok_card_visa"));
        assert!(!stored.contains(NUMBER), "the number is stored");
        assert!(!stored.contains("737\""), "the code is stored");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_card_that_is_refused_leaves_the_token_unused() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let (_, wallet) = world.customer("alice").await;
    let token = world.one_time("alice", None);
    for (number, code) in [("4242424242424241", "invalid_card"), ("4111111111111111", "card_refused")] {
        let reply = world.call(Ask::post("/v1/fiat-ins", &card_order(&wallet, number)).bearer(&token)).await;
        assert_eq!((reply.status, reply.code().as_str()), (422, code));
        assert!(!reply.text.contains(number));
    }
    let reply = world.call(Ask::post("/v1/fiat-ins", &card_order(&wallet, NUMBER)).bearer(&token)).await;
    assert_eq!(reply.status, 201);
}

#[tokio::test(flavor = "multi_thread")]
async fn personal_data_is_sealed_queued_for_kyc_and_in_no_event() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (customer_id, wallet) = world.customer("alice").await;
        let mut body = order(&wallet, 1_500, "tok_success", "order-1");
        body["pii"] = json!({
            "given_name": PII[0], "family_name": PII[1], "emails": [PII[2]], "birth_date": PII[3],
        });
        body["device"] = json!({"id": "device-7-of-ada", "user_agent": "Browser of Ada", "ip_country": "DE"});
        let reply = world.call(Ask::post("/v1/fiat-ins", &body).bearer(&world.one_time("alice", None))).await;
        assert_eq!(
            (reply.status, reply.json()["state"].as_str()),
            (201, Some("completed")),
            "{}",
            reply.text
        );
        let events = world.events().await;
        let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect();
        for kind in ["monitoring.accepted", "fiat_in.processing", "fiat_in.completed", "entity.credited"] {
            assert!(kinds.iter().any(|known| known == kind), "{kind} in {kinds:?}");
        }
        let completed = events.iter().find(|event| event["type"] == "fiat_in.completed").unwrap();
        assert_eq!(completed["data"]["customer_id"], customer_id);
        assert_eq!(completed["data"]["amount"], json!({"amount": 1_500, "currency": "EUR"}));
        let stored = everything_stored(&world).await;
        for secret in PII.iter().chain(&["device-7-of-ada", "Browser of Ada"]) {
            assert!(!stored.contains(secret), "{secret} is stored in clear");
        }
    }
}
