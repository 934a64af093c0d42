//! `POST /v1/user-tokens`.

use chassis::testing::TestDatabase;
use keys::token::{AccessToken, Expect, TokenKind};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    platform::signature_key,
    world::{DOOR, RESOURCE_API, World, header, payload},
};

fn ask(more: &Value) -> Value {
    let mut body = json!({
        "external_id": "alice", "method": "POST", "url": format!("{RESOURCE_API}/v1/fiat-ins"),
    });
    for (name, value) in more.as_object().unwrap() {
        if value.is_null() {
            body.as_object_mut().unwrap().remove(name);
        } else {
            body[name] = value.clone();
        }
    }
    body
}

async fn ready(database: &TestDatabase) -> (World, String) {
    let world = World::start(database).await;
    world.register("acme", "backend", "alice").await;
    let token = world.management_token("acme", "issuer", "user_tokens:write").await;
    (world, token)
}

#[tokio::test]
async fn a_token_is_bound_to_one_operation_of_one_user() {
    for database in TestDatabase::both().await {
        let (world, token) = ready(&database).await;
        let sub = world.register("acme", "backend", "alice").await;
        let money = json!({"amount": 1250, "currency": "EUR"});
        let body = ask(&json!({"money": money, "entity_id": "ent_1", "expires_in": 120}));
        let reply = world.signed_post(&token, "/v1/user-tokens", &body, "n-1").await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.json);
        assert_eq!((&reply.json["token_type"], &reply.json["expires_in"]), (&json!("Bearer"), &json!(120)));
        let issued = reply.json["access_token"].as_str().unwrap();
        assert_eq!(header(issued)["typ"], "operation+jwt");
        let claims = payload(issued);
        assert_eq!(claims.get("scope"), None);
        assert_eq!(claims["jti"], reply.json["jti"]);
        assert_eq!(
            claims["authorization_details"],
            json!([{
                "type": "operation", "actions": ["POST"], "locations": [format!("{RESOURCE_API}/v1/fiat-ins")],
                "money": money, "entity_id": "ent_1",
            }])
        );
        let keys = world.send(world.http.get(world.at("/oauth2/jwks"))).await.json;
        let key = keys::PublicJwk::try_from(&keys["keys"][0]).unwrap().verifying_key();
        let expect = Expect { issuer: &world.issuer, audience: RESOURCE_API };
        let read = AccessToken::verify(issued, &expect, |_| Some(key.clone()), world.now()).unwrap();
        assert_eq!((read.kind, &read.sub, read.exp.since(read.iat)), (TokenKind::OneTime, &sub, 120));
        assert_eq!(read.client_id, world.id("acme", "issuer"));
        assert_eq!(read.external_id.as_deref(), Some("alice"));
        world.stop().await;
    }
}

#[tokio::test]
async fn a_user_can_be_named_by_sub_and_the_default_life_is_five_minutes() {
    let database = TestDatabase::sqlite();
    let (world, token) = ready(&database).await;
    let sub = world.register("acme", "backend", "alice").await;
    let body = ask(&json!({"external_id": null, "sub": sub}));
    let reply = world.signed_post(&token, "/v1/user-tokens", &body, "n-1").await;
    assert_eq!(
        (reply.status, &reply.json["expires_in"]),
        (StatusCode::CREATED, &json!(300)),
        "{}",
        reply.json
    );
    assert_eq!(payload(reply.json["access_token"].as_str().unwrap())["sub"], sub);
    world.stop().await;
}

#[tokio::test]
async fn each_unacceptable_ask_is_refused_with_its_own_code() {
    let database = TestDatabase::sqlite();
    let (world, token) = ready(&database).await;
    let bob = world.register("acme", "backend", "bob").await;
    world.register("beta", "backend", "carol").await;
    let users = world.management_token("acme", "backend", "users:write").await;
    world.post(&users, &format!("/v1/users/{bob}/disable"), &json!({})).await;
    let funding = |user: &str| format!("{DOOR}/users/{user}/wallets/fiat/w-1/funding");
    let cases: Vec<(Value, u16, &str)> = vec![
        (json!({"dpop_jkt": "abc"}), 422, "value_refused"),
        (json!({"dpop_jkt": 1}), 400, "wrong_type"),
        (json!({"external_id": null}), 400, "malformed_request"),
        (json!({"sub": "usr_1"}), 400, "malformed_request"),
        (json!({"colour": "green"}), 400, "unknown_field"),
        (json!({"method": null}), 400, "missing_field"),
        (json!({"expires_in": "60"}), 400, "wrong_type"),
        (json!({"money": {"amount": 1.5, "currency": "EUR"}}), 400, "wrong_type"),
        (json!({"external_id": "nobody"}), 404, "user_not_found"),
        (json!({"external_id": "carol"}), 404, "user_not_found"),
        (json!({"external_id": "bob"}), 403, "user_disabled"),
        (json!({"method": "GET"}), 403, "operation_not_available"),
        (json!({"method": "post"}), 403, "operation_not_available"),
        (json!({"url": format!("{RESOURCE_API}/v1/entities")}), 403, "operation_not_available"),
        (json!({"url": "http://evil.example/v1/fiat-ins"}), 422, "url_refused"),
        (json!({"url": format!("{RESOURCE_API}/v1/../v1/fiat-ins")}), 422, "url_refused"),
        (json!({"url": format!("{RESOURCE_API}/v1%2Ffiat-ins")}), 422, "url_refused"),
        (json!({"url": format!("{RESOURCE_API}/v1/fiat-ins#x")}), 422, "url_refused"),
        (json!({"url": "http://a@127.0.0.1:8081/v1/fiat-ins"}), 422, "url_refused"),
        (json!({"url": funding("bob")}), 422, "url_refused"),
        (json!({"expires_in": 29}), 422, "value_refused"),
        (json!({"expires_in": 901}), 422, "value_refused"),
        (json!({"money": {"amount": 0, "currency": "EUR"}}), 422, "value_refused"),
        (json!({"money": {"amount": 1, "currency": "ZZZ"}}), 422, "value_refused"),
        (json!({"entity_id": "a b"}), 422, "value_refused"),
    ];
    for (number, (change, status, code)) in cases.into_iter().enumerate() {
        let nonce = format!("n-{number}");
        let reply = world.signed_post(&token, "/v1/user-tokens", &ask(&change), &nonce).await;
        assert_eq!(reply.json["code"], code, "{change}: {}", reply.json);
        reply.refused(status, code);
    }
    let own =
        world.signed_post(&token, "/v1/user-tokens", &ask(&json!({"url": funding("alice")})), "own").await;
    assert_eq!(own.status, StatusCode::CREATED, "{}", own.json);
    world.stop().await;
}

#[tokio::test]
async fn a_client_issues_only_what_its_own_policy_holds() {
    let database = TestDatabase::sqlite();
    let (world, _) = ready(&database).await;
    let narrow = world.management_token("acme", "narrow", "user_tokens:write").await;
    let refused = world.signed_post(&narrow, "/v1/user-tokens", &ask(&json!({})), "n-1").await;
    refused.refused(403, "insufficient_scope");
    let transfer = ask(&json!({"url": format!("{RESOURCE_API}/v1/transfers")}));
    let issued = world.signed_post(&narrow, "/v1/user-tokens", &transfer, "n-2").await;
    assert_eq!(issued.status, StatusCode::CREATED, "{}", issued.json);
    world.stop().await;
}

#[tokio::test]
async fn the_request_must_be_signed_by_the_client_itself() {
    for database in TestDatabase::both().await {
        let (world, token) = ready(&database).await;
        let path = "/v1/user-tokens";
        let body = ask(&json!({}));
        world.post(&token, path, &body).await.refused(401, "signature_required");
        let keyless = world.management_token("acme", "keyless", "user_tokens:write").await;
        world.signed_post(&keyless, path, &body, "n-0").await.refused(403, "signature_key_required");
        assert_eq!(world.signed_post(&token, path, &body, "n-1").await.status, StatusCode::CREATED);
        world.signed_post(&token, path, &body, "n-1").await.refused(401, "signature_replayed");
        let text = body.to_string();
        let authorization = format!("Bearer {token}");
        let request = crate::world::ToSign {
            method: "POST",
            path,
            authorization: Some(&authorization),
            dpop: None,
            content_type: Some("application/json"),
            body: &text,
        };
        let headers = world.signature(&request, &signature_key(), "n-2");
        let other = text.replace("alice", "mallory");
        let changed = world.http.post(world.at(path)).headers(headers).body(other);
        world.send(changed).await.refused(401, "content_digest_mismatch");
        let foreign = keys::SigningKey::ed25519_from_seed([77; 32]).unwrap();
        let headers = world.signature(&request, &foreign, "n-3");
        let sent = world.http.post(world.at(path)).headers(headers).body(text.clone());
        world.send(sent).await.refused(401, "invalid_signature");
        let headers = world.signature(&request, &signature_key(), "n-4");
        world.clock.advance(61);
        let late = world.http.post(world.at(path)).headers(headers).body(text.clone());
        world.send(late).await.refused(401, "signature_not_fresh");
        world.stop().await;
    }
}
