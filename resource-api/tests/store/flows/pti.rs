//! The vendor's fiat-in: `POST /users/{userId}/wallets/fiat/{walletId}/funding`.

use chassis::Clock;
use chassis::testing::TestDatabase;
use keys::pti_jws::{self, Parts};
use keys::token::TokenKind;
use serde_json::{Value, json};

use super::issuer::{grant, pti_key};
use super::world::{Ask, World};

fn path(wallet: &str) -> String {
    format!("/users/ext-alice/wallets/fiat/{wallet}/funding")
}

/// A request body whose amount is written exactly so.
fn body(id: &str, amount: &str, information: &Value) -> String {
    format!(
        r#"{{"id":"{id}","amount":{amount},"initiator":{{"type":"PERSON","id":"ext-alice",
        "name":{{"firstName":"Ada","lastName":"Lovelace"}}}},
        "sourceMethod":{{"currency":"EUR","paymentInformation":{information}}}}}"#
    )
}

fn by_token(token: &str) -> Value {
    json!({ "type": "TOKEN", "token": token })
}

fn one_time(world: &World, wallet: &str) -> String {
    let uri = format!("{}{}", world.base, path(wallet));
    world.mint(TokenKind::OneTime, "pti-backend", "alice", Some(grant(&uri, None)))
}

fn ask(wallet: &str, text: &str) -> Ask {
    Ask::post(&path(wallet), &Value::Null).raw(text)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_pays_in_with_the_users_token_once() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (_, wallet) = world.customer_of("pti", "alice").await;
        let token = one_time(&world, &wallet);
        let funding =
            ask(&wallet, &body("t-1", "12.30", &by_token("tok_success"))).with("x-pti-token", &token);
        let first = world.call(funding.clone()).await;
        assert_eq!(first.status, 201, "{}", first.text);
        let told = first.json();
        assert_eq!((told["id"].as_str(), told["status"].as_str()), (Some("t-1"), Some("SETTLED")));
        assert_eq!(world.balance(&wallet).await, 1_230);
        assert_eq!(world.call(funding).await.text, first.text);
        let other = ask(&wallet, &body("t-2", "12.30", &by_token("tok_success"))).with("x-pti-token", &token);
        let other = world.call(other).await;
        assert_eq!(
            (other.status, other.json()["type"].as_str()),
            (401, Some("TOKEN_ALREADY_USED")),
            "{}",
            other.text
        );
        let link = told["link"].as_str().unwrap().strip_prefix(&world.base).unwrap().to_owned();
        let followed = world.call(Ask::get(&link).bearer(told["statusToken"].as_str().unwrap())).await;
        assert_eq!((followed.status, followed.json()["state"].as_str()), (200, Some("completed")));
        assert_eq!(world.balance(&wallet).await, 1_230);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backend_pays_in_under_its_signature_and_the_bodys_id_is_the_key() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (_, wallet) = world.customer_of("pti", "alice").await;
        let signed = |text: &str| {
            let path = path(&wallet);
            let parts = Parts {
                method: "POST",
                path: &path,
                query: None,
                body: text.as_bytes(),
                content_type: Some("application/json"),
                date: None,
                other_fields: &[],
            };
            let signature = pti_jws::sign(&pti_key(), "pti-backend", &parts, world.clock.now()).unwrap();
            ask(&wallet, text).with("x-pti-client-id", "pti-backend").with("x-pti-signature", &signature)
        };
        let text = body("t-1", "5", &by_token("tok_success"));
        let first = world.call(signed(&text)).await;
        assert_eq!((first.status, first.json()["status"].as_str()), (201, Some("SETTLED")), "{}", first.text);
        world.clock.advance(1);
        let again = world.call(signed(&text)).await;
        assert_eq!((again.status, &again.text), (201, &first.text));
        world.clock.advance(1);
        let other = world.call(signed(&body("t-1", "6", &by_token("tok_success")))).await;
        assert_eq!((other.status, other.json()["type"].as_str()), (409, Some("IDEMPOTENCY_KEY_REUSED")));
        assert_eq!(world.balance(&wallet).await, 500);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verdicts_have_the_vendors_words_and_statuses() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let (_, wallet) = world.customer_of("pti", "alice").await;
    let cases = [
        ("1", by_token("tok_decline"), 402, "REFUSED", Some("CARD_DECLINED")),
        ("1000.01", by_token("tok_success"), 403, "REFUSED", Some("AMOUNT_LIMIT")),
        ("1", by_token("tok_timeout_then_success"), 202, "PENDING", None),
        (
            "2.5",
            json!({"number": "4242424242424242", "cvv": "123", "expirationMonth": "12", "expirationYear": 30}),
            201,
            "SETTLED",
            None,
        ),
    ];
    for (index, (amount, information, status, word, reason)) in cases.into_iter().enumerate() {
        let text = body(&format!("t-{index}"), amount, &information);
        let reply = world.call(ask(&wallet, &text).with("x-pti-token", &one_time(&world, &wallet))).await;
        let told = reply.json();
        assert_eq!((reply.status, told["status"].as_str()), (status, Some(word)), "{}", reply.text);
        assert_eq!(told["reason"].as_str(), reason);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_input_leaves_the_token_unused() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let (_, wallet) = world.customer_of("pti", "alice").await;
    let token = one_time(&world, &wallet);
    let bodies = [
        body("t-1", "1e1", &by_token("tok_success")),
        body("t-1", "10.005", &by_token("tok_success")),
        body("t-1", "\"10\"", &by_token("tok_success")),
        body("t-1", "-1", &by_token("tok_success")),
        body("not a reference", "1", &by_token("tok_success")),
        body("t-1", "1", &json!({"accountNumber": "1", "routingNumber": "2"})),
        body("t-1", "1", &by_token("tok_success")).replacen('{', r#"{"amount":2,"#, 1),
        "{}".to_owned(),
        "not json".to_owned(),
    ];
    for text in bodies {
        let reply = world.call(ask(&wallet, &text).with("x-pti-token", &token)).await;
        assert_eq!(reply.status, 400, "{text}: {}", reply.text);
        assert!(reply.json()["error_id"].is_string());
    }
    let good = ask(&wallet, &body("t-1", "1", &by_token("tok_success"))).with("x-pti-token", &token);
    assert_eq!(world.call(good).await.status, 201);
}
