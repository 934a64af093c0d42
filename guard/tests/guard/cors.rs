//! Which origins may call and read.

use keys::token::TokenKind;

use crate::world::{Reply, SHOP, World, client};

async fn preflight(world: &World, origin: &str) -> Reply {
    let headers = [("origin", origin), ("access-control-request-method", "POST")];
    world.send("OPTIONS", "/v1/pay", &headers, "").await
}

#[tokio::test]
async fn a_preflight_is_allowed_for_an_origin_that_any_active_client_registers() {
    let world = World::start().await;
    let reply = preflight(&world, SHOP).await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (204, SHOP));
    assert_eq!(reply.header("access-control-allow-methods"), "POST");
    let expected = "authorization, dpop, content-type, idempotency-key, x-pti-token, x-pti-client-id, \
        x-pti-request-id, x-pti-scenario-id, x-pti-session-id";
    assert_eq!(reply.header("access-control-allow-headers"), expected);
    assert_eq!(reply.header("vary"), "origin");
    assert_eq!(reply.header("access-control-allow-credentials"), "");
}

#[tokio::test]
async fn an_unregistered_origin_gets_no_permission() {
    let world = World::start().await;
    for origin in
        ["https://evil.example", "null", "https://shop.example.evil.example", "HTTPS://SHOP.EXAMPLE"]
    {
        let reply = preflight(&world, origin).await;
        assert_eq!((reply.status, reply.code()), (403, "origin_not_registered"), "{origin}");
        assert_eq!(reply.header("access-control-allow-origin"), "", "{origin}");
        assert_eq!(reply.header("vary"), "origin");
    }
}

#[tokio::test]
async fn an_answer_is_readable_only_for_an_origin_of_the_tokens_own_client() {
    let world = World::start().await;
    let mut other = client("cli_b");
    other.allowed_origins = vec!["https://b.example".into()];
    world.register(other);
    let bearer = format!("Bearer {}", world.sign(TokenKind::Client));
    let ask = async |origin: &str, auth: &str| {
        world.send("GET", "/v1/things/thi_1", &[("origin", origin), ("authorization", auth)], "").await
    };
    let own = ask(SHOP, &bearer).await;
    assert_eq!((own.status, own.header("access-control-allow-origin")), (200, SHOP));
    assert_eq!(
        own.header("access-control-expose-headers"),
        "www-authenticate, dpop-nonce, location, retry-after"
    );
    let foreign = ask("https://b.example", &bearer).await;
    assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (200, ""));
    let refused = ask("https://b.example", "Bearer a.b.c").await;
    assert_eq!((refused.status, refused.header("access-control-allow-origin")), (401, "https://b.example"));
    let unknown = ask("https://evil.example", "Bearer a.b.c").await;
    assert_eq!((unknown.status, unknown.header("access-control-allow-origin")), (401, ""));
}

#[tokio::test]
async fn a_refusal_after_the_token_was_known_follows_the_tokens_client() {
    let world = World::start().await;
    let mut other = client("cli_b");
    other.allowed_origins = vec!["https://b.example".into()];
    world.register(other);
    let bearer = format!("Bearer {}", world.sign(TokenKind::Employee));
    let headers = [("origin", "https://b.example"), ("authorization", bearer.as_str())];
    let reply = world.send("GET", "/v1/things/thi_1", &headers, "").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (403, ""));
}

#[tokio::test]
async fn every_answer_varies_with_the_origin() {
    let world = World::start().await;
    let plain = world.get("/v1/things/thi_1", &world.sign(TokenKind::Client)).await;
    assert_eq!((plain.header("vary"), plain.header("access-control-allow-origin")), ("origin", ""));
    let bare = world.send("OPTIONS", "/v1/pay", &[], "").await;
    assert_eq!((bare.status, bare.header("allow")), (405, "POST"));
}
