//! The table of operations, stale directories, and one-time tokens.

use std::sync::atomic::Ordering;

use keys::token::TokenKind;

use crate::world::{AUDIENCE, World, client};

#[tokio::test]
async fn a_public_operation_asks_for_nothing_and_an_unlisted_route_lets_nobody_in() {
    let world = World::start().await;
    assert_eq!(world.send("GET", "/open", &[], "").await.status, 200);
    let token = world.sign(TokenKind::Client);
    let hidden = world.get("/hidden", &token).await;
    assert_eq!((hidden.status, hidden.code()), (404, "not_found"));
    assert_eq!(world.get("/nowhere", &token).await.status, 404);
}

#[tokio::test]
async fn head_is_guarded_like_get_and_other_methods_name_what_is_allowed() {
    let world = World::start().await;
    assert_eq!(world.send("HEAD", "/v1/things/thi_1", &[], "").await.status, 401);
    let reply = world.post("/v1/things/thi_1", &world.sign(TokenKind::Client)).await;
    assert_eq!((reply.status, reply.code(), reply.header("allow")), (405, "method_not_allowed", "GET"));
}

#[tokio::test]
async fn without_credentials_the_challenge_has_no_error_code() {
    let world = World::start().await;
    let reply = world.send("GET", "/v1/things/thi_1", &[], "").await;
    assert_eq!(reply.status, 401);
    assert_eq!(
        reply.header("www-authenticate"),
        format!("Bearer resource_metadata=\"{AUDIENCE}/.well-known/oauth-protected-resource\"")
    );
}

#[tokio::test]
async fn a_stale_directory_stops_money_and_not_reading() {
    let world = World::start().await;
    world.directory.stale.store(true, Ordering::SeqCst);
    let token = world.sign(TokenKind::Client);
    let reply = world.post("/v1/pay", &token).await;
    assert_eq!((reply.status, reply.code()), (503, "directory_stale"));
    assert_eq!(world.get("/v1/things/thi_1", &token).await.status, 200);
    world.directory.unloaded.store(true, Ordering::SeqCst);
    assert_eq!(world.get("/v1/things/thi_1", &token).await.code(), "directory_stale");
}

#[tokio::test]
async fn a_one_time_token_needs_the_scope_in_its_clients_policy() {
    let world = World::start().await;
    let token = world.sign(TokenKind::OneTime);
    assert_eq!(world.post("/v1/pay", &token).await.status, 200);
    let mut poorer = client("cli_a");
    poorer.scope = "things:read".parse().unwrap();
    world.register(poorer);
    let reply = world.post("/v1/pay", &token).await;
    assert_eq!((reply.status, reply.code()), (403, "insufficient_scope"));
}

#[tokio::test]
async fn an_expired_one_time_token_is_handed_on_as_late_for_a_day() {
    let world = World::start().await;
    let token = world.sign(TokenKind::OneTime);
    let ordinary = world.sign(TokenKind::Client);
    world.advance(299);
    assert_eq!(world.post("/v1/pay", &token).await.body["late"], false);
    world.advance(1);
    let late = world.post("/v1/pay", &token).await;
    assert_eq!((late.status, &late.body["late"]), (200, &serde_json::json!(true)));
    assert_eq!(world.post("/v1/pay", &ordinary).await.status, 401, "only one-time tokens are ever late");
    assert_eq!(world.get("/v1/things/thi_1", &token).await.status, 401);
    world.advance(86_400);
    assert_eq!(world.post("/v1/pay", &token).await.status, 200);
    world.advance(1);
    assert_eq!(world.post("/v1/pay", &token).await.status, 401);
}

#[tokio::test]
async fn a_late_one_time_token_of_a_disabled_subject_is_refused() {
    let world = World::start().await;
    let token = world.sign(TokenKind::OneTime);
    world.advance(400);
    world.directory.denied.lock().unwrap().insert("usr_a".into());
    assert_eq!(world.post("/v1/pay", &token).await.status, 401);
}

#[tokio::test]
async fn an_opaque_bearer_is_left_to_the_handler_only_where_it_is_marked() {
    let world = World::start().await;
    assert_eq!(world.get("/v1/status", "opaque-text").await.body["opaque"], "opaque-text");
    assert_eq!(world.get("/v1/status", &world.sign(TokenKind::Client)).await.body["caller"], "cli_a");
    assert_eq!(world.get("/v1/status", "a.b.c").await.status, 401);
    assert_eq!(world.get("/v1/things/thi_1", "opaque-text").await.status, 401);
}

#[tokio::test]
async fn a_refusal_of_the_handler_itself_points_to_the_metadata_too() {
    let world = World::start().await;
    let reply = world.get("/v1/status", "expired").await;
    assert_eq!(reply.status, 401);
    assert!(reply.header("www-authenticate").starts_with("Bearer resource_metadata="));
}
