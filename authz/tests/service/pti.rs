//! PTI's endpoints, as its own client calls them.

use authz::apply::apply;
use chassis::testing::TestDatabase;
use futures_util::future::join_all;
use keys::{Algorithm, SigningKey};
use reqwest::StatusCode;
use serde_json::json;

use crate::{
    platform::{platform_file, pti_key},
    world::{DOOR, NOW, RESOURCE_API, World, payload},
};

fn funding(user: &str) -> String {
    format!("{DOOR}/users/{user}/wallets/fiat/w-1/funding")
}

async fn ready(database: &TestDatabase) -> World {
    let world = World::start(database).await;
    world.register("pti", "users", "user-1").await;
    world
}

#[tokio::test]
async fn both_paths_issue_a_token_for_the_user_in_the_url() {
    for database in TestDatabase::both().await {
        let world = ready(&database).await;
        let sub = world.register("pti", "users", "user-1").await;
        let old = world.pti_post("/auth/userToken", &json!({"url": funding("user-1")})).await;
        assert_eq!(old.status, StatusCode::OK, "{}", old.json);
        assert_eq!((&old.json["expiresIn"], &old.json["tokenType"]), (&json!("300"), &json!("JWT")));
        let body = json!({"url": funding("user-1"), "method": "POST", "metaInformation": "shop 7"});
        let new = world.pti_post("/auth/jwt", &body).await;
        assert_eq!(new.status, StatusCode::OK, "{}", new.json);
        assert_eq!((&new.json["expiresAt"], &new.json["tokenType"]), (&json!(NOW + 300), &json!("JWT")));
        for reply in [&old, &new] {
            let claims = payload(reply.json["accessToken"].as_str().unwrap());
            assert_eq!((&claims["sub"], &claims["aud"]), (&json!(sub), &json!(RESOURCE_API)));
            assert_eq!(claims["external_id"], "user-1");
            let operation =
                json!([{"type": "operation", "actions": ["POST"], "locations": [funding("user-1")]}]);
            assert_eq!(claims["authorization_details"], operation);
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn a_partner_with_an_rsa_key_signs_with_rs512() {
    let database = TestDatabase::sqlite();
    let world = ready(&database).await;
    let rsa = SigningKey::generate_rsa(2048).unwrap().with_alg(Algorithm::Rs512).unwrap();
    let mut file = platform_file();
    file.partners[3].clients[0].signature_keys = vec![rsa.public_jwk().to_value()];
    apply(&world.config, &world.platform, &file).await.unwrap();
    let body = json!({"url": funding("user-1")}).to_string();
    let id = world.id("pti", "backend");
    for _ in 0..20 {
        let headers = world.pti_headers(&id, &rsa, "/auth/userToken", &body);
        let request = world.http.post(world.at("/auth/userToken")).headers(headers).body(body.clone());
        let reply = world.send(request).await;
        if reply.status == StatusCode::OK {
            world.stop().await;
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the new key was not taken in");
}

#[tokio::test]
async fn a_refusal_has_the_vendors_shape() {
    let database = TestDatabase::sqlite();
    let world = ready(&database).await;
    let two = world.register("pti", "users", "user-2").await;
    let users = world.management_token("pti", "users", "users:write").await;
    world.post(&users, &format!("/v1/users/{two}/disable"), &json!({})).await;
    let cases = [
        (json!({"url": funding("nobody")}), 404, "user_not_found"),
        (json!({"url": funding("user-2")}), 403, "user_disabled"),
        (json!({"url": format!("{DOOR}/users/user-1/kycs")}), 403, "operation_not_available"),
        (json!({"url": format!("{DOOR}/users/user-1/../user-1/wallets/fiat/w/funding")}), 400, "url_refused"),
        (json!({"url": "https://evil.example/users/user-1/wallets/fiat/w/funding"}), 400, "url_refused"),
        (json!({"url": 7}), 400, "wrong_type"),
        (json!({}), 400, "missing_field"),
    ];
    for (body, status, kind) in cases {
        let reply = world.pti_post("/auth/userToken", &body).await;
        assert_eq!(reply.status.as_u16(), status, "{body}: {}", reply.json);
        assert_eq!((&reply.json["code"], &reply.json["type"]), (&json!(status), &json!(kind)), "{body}");
        assert!(reply.json["message"].is_string() && reply.json["error_id"].is_string());
    }
    let get = json!({"url": funding("user-1"), "method": "GET"});
    assert_eq!(world.pti_post("/auth/jwt", &get).await.status, StatusCode::FORBIDDEN);
    // No path but those of its own list names a user; without one nobody could own the token.
    let native = json!({"url": format!("{RESOURCE_API}/v1/fiat-ins")});
    assert_eq!(world.pti_post("/auth/userToken", &native).await.status, StatusCode::FORBIDDEN);
    let long = json!({"url": funding("user-1"), "method": "POST", "metaInformation": "x".repeat(1025)});
    assert_eq!(world.pti_post("/auth/jwt", &long).await.status, StatusCode::BAD_REQUEST);
    world.stop().await;
}

#[tokio::test]
async fn an_unsigned_stale_or_altered_request_is_refused_alike() {
    let database = TestDatabase::sqlite();
    let world = ready(&database).await;
    let path = "/auth/userToken";
    let body = json!({"url": funding("user-1")}).to_string();
    let id = world.id("pti", "backend");
    let foreign = SigningKey::ed25519_from_seed([77; 32]).unwrap();
    let mut refused = Vec::new();
    let send = |headers: reqwest::header::HeaderMap, body: String| {
        world.send(world.http.post(world.at(path)).headers(headers).body(body))
    };
    refused.push(send(world.pti_headers(&id, &foreign, path, &body), body.clone()).await);
    refused.push(send(world.pti_headers("cli_unknown", &pti_key(), path, &body), body.clone()).await);
    refused.push(
        send(world.pti_headers(&world.id("acme", "signed"), &pti_key(), path, &body), body.clone()).await,
    );
    refused.push(send(world.pti_headers(&id, &pti_key(), "/auth/jwt", &body), body.clone()).await);
    refused
        .push(send(world.pti_headers(&id, &pti_key(), path, &body), body.replace("user-1", "user-2")).await);
    let mut unsigned = world.pti_headers(&id, &pti_key(), path, &body);
    unsigned.remove("x-pti-signature");
    refused.push(send(unsigned, body.clone()).await);
    let stale = world.pti_headers(&id, &pti_key(), path, &body);
    world.clock.advance(301);
    refused.push(send(stale, body.clone()).await);
    for reply in &refused {
        assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{}", reply.json);
        assert_eq!(
            (&reply.json["type"], &reply.json["message"]),
            (&json!("invalid_signature"), &refused[0].json["message"])
        );
    }
    assert_eq!(
        send(world.pti_headers(&id, &pti_key(), path, &body), body.clone()).await.status,
        StatusCode::OK
    );
    world.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_counts_once_however_often_it_is_sent() {
    for database in TestDatabase::both().await {
        let world = ready(&database).await;
        let path = "/auth/userToken";
        let body = json!({"url": funding("user-1")}).to_string();
        let headers = world.pti_headers(&world.id("pti", "backend"), &pti_key(), path, &body);
        let send = || world.send(world.http.post(world.at(path)).headers(headers.clone()).body(body.clone()));
        let replies = join_all((0..16).map(|_| send())).await;
        let issued = replies.iter().filter(|reply| reply.status == StatusCode::OK).count();
        let replayed = replies.iter().filter(|reply| reply.json["type"] == "signature_replayed").count();
        assert_eq!((issued, replayed), (1, 15), "{:?}", database.engine());
        world.stop().await;
    }
}

#[tokio::test]
async fn the_dialect_is_for_partners_that_have_it_switched_on() {
    let database = TestDatabase::sqlite();
    let world = ready(&database).await;
    let mut file = platform_file();
    file.partners[3].dialects.clear();
    apply(&world.config, &world.platform, &file).await.unwrap();
    let mut status = StatusCode::OK;
    for _ in 0..20 {
        world.clock.advance(1); // the same request within one second would be the same signature
        status = world.pti_post("/auth/userToken", &json!({"url": funding("user-1")})).await.status;
        if status == StatusCode::UNAUTHORIZED {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    world.stop().await;
}
