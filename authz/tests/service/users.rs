//! `/v1/users`.

use chassis::testing::TestDatabase;
use futures_util::future::join_all;
use reqwest::StatusCode;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn a_user_is_registered_once_under_the_partners_own_id() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let token = world.management_token("acme", "backend", "users:read users:write").await;
        let first = world.post(&token, "/v1/users", &json!({"external_id": "u-1"})).await;
        assert_eq!(first.status, StatusCode::CREATED, "{}", first.json);
        assert!(first.json["sub"].as_str().unwrap().starts_with("usr_"));
        assert_eq!(first.json["partner_id"], world.partner_id("acme"));
        assert_eq!((&first.json["external_id"], &first.json["status"]), (&json!("u-1"), &json!("active")));
        let again = world.post(&token, "/v1/users", &json!({"external_id": "u-1"})).await;
        assert_eq!((again.status, &again.json), (StatusCode::OK, &first.json));
        let path = format!("/v1/users/{}", first.json["sub"].as_str().unwrap());
        let found = world.get(&token, &path).await;
        assert_eq!((found.status, &found.json), (StatusCode::OK, &first.json));
        // The same external id at another partner is another person.
        assert_ne!(world.register("beta", "backend", "u-1").await, first.json["sub"].as_str().unwrap());
        world.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_registrations_of_one_user_make_one() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let token = world.management_token("acme", "backend", "users:write").await;
        let body = json!({"external_id": "racer"});
        let replies = join_all((0..16).map(|_| world.post(&token, "/v1/users", &body))).await;
        let created = replies.iter().filter(|reply| reply.status == StatusCode::CREATED).count();
        assert_eq!(created, 1);
        assert!(replies.iter().all(|reply| reply.json["sub"] == replies[0].json["sub"]));
        world.stop().await;
    }
}

#[tokio::test]
async fn a_disabled_user_can_be_enabled_again() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let sub = world.register("acme", "backend", "u-1").await;
        let token = world.management_token("acme", "backend", "users:read users:write").await;
        for (verb, status) in [("disable", "disabled"), ("disable", "disabled"), ("enable", "active")] {
            let reply = world.post(&token, &format!("/v1/users/{sub}/{verb}"), &json!({})).await;
            assert_eq!((reply.status, &reply.json["status"]), (StatusCode::OK, &json!(status)));
            assert_eq!(world.get(&token, &format!("/v1/users/{sub}")).await.json["status"], status);
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn another_partners_user_does_not_exist() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let sub = world.register("acme", "backend", "u-1").await;
    let foreign = world.management_token("beta", "backend", "users:read users:write").await;
    let mut bodies = Vec::new();
    for sub in [sub.as_str(), "usr_unknown"] {
        let reply = world.get(&foreign, &format!("/v1/users/{sub}")).await;
        reply.refused(404, "not_found");
        bodies.push((reply.json["detail"].clone(), reply.json["title"].clone()));
        for verb in ["disable", "enable"] {
            world
                .post(&foreign, &format!("/v1/users/{sub}/{verb}"), &json!({}))
                .await
                .refused(404, "not_found");
        }
    }
    assert_eq!(bodies[0], bodies[1]);
    let named = json!({"external_id": "u-2", "partner_id": world.partner_id("acme")});
    world.post(&foreign, "/v1/users", &named).await.refused(404, "not_found");
    world.stop().await;
}

#[tokio::test]
async fn the_platforms_client_registers_for_any_partner() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let token = world.management_token("platform", "admin", "users:read users:write").await;
    let partner_id = world.partner_id("acme");
    let body = json!({"external_id": "u-9", "partner_id": partner_id});
    let reply = world.post(&token, "/v1/users", &body).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.json);
    assert_eq!(reply.json["partner_id"], partner_id);
    assert_eq!(world.register("acme", "backend", "u-9").await, reply.json["sub"].as_str().unwrap());
    let unknown = json!({"external_id": "u-9", "partner_id": "par_unknown"});
    world.post(&token, "/v1/users", &unknown).await.refused(404, "not_found");
    world.stop().await;
}

#[tokio::test]
async fn personal_data_is_no_external_id() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let token = world.management_token("acme", "backend", "users:write").await;
    for (external_id, code) in [
        ("alice@example.com", "external_id_is_personal_data"),
        ("+49 151 12345678", "external_id_is_personal_data"),
        ("Alice Example", "external_id_malformed"),
        ("", "external_id_malformed"),
    ] {
        let reply = world.post(&token, "/v1/users", &json!({ "external_id": external_id })).await;
        reply.refused(422, code);
        assert_eq!(reply.json["errors"][0]["pointer"], "/external_id");
        assert!(external_id.is_empty() || !reply.json.to_string().contains(external_id));
    }
    for (body, code) in [
        (json!({"external_id": 7}), "wrong_type"),
        (json!({"external_id": "u-1", "status": "active"}), "unknown_field"),
        (json!({}), "missing_field"),
    ] {
        world.post(&token, "/v1/users", &body).await.refused(400, code);
    }
    world.stop().await;
}
