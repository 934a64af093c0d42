//! Where a token may stand.

use keys::token::TokenKind;

use crate::world::{World, client};

const FUNDING: &str = "/users/u1/funding";

#[tokio::test]
async fn the_pti_header_carries_one_time_tokens_on_its_dialects_paths_only() {
    let world = World::start().await;
    let once = world.sign(TokenKind::OneTime);
    let reply = world.send("POST", FUNDING, &[("x-pti-token", &once)], "{}").await;
    assert_eq!((reply.status, &reply.body["kind"]), (200, &serde_json::json!("one_time")));
    let elsewhere = world.send("POST", "/v1/pay", &[("x-pti-token", &once)], "{}").await;
    assert_eq!(elsewhere.status, 401);
    let ordinary =
        world.send("POST", FUNDING, &[("x-pti-token", &world.sign(TokenKind::Client))], "{}").await;
    assert_eq!((ordinary.status, &ordinary.body["dialect"]), (401, &serde_json::json!("pti")));
}

#[tokio::test]
async fn a_dialect_that_the_partner_has_not_switched_on_is_not_there() {
    let world = World::start().await;
    let mut without = client("cli_a");
    without.dialects.clear();
    world.register(without);
    let reply = world.send("POST", FUNDING, &[("x-pti-token", &world.sign(TokenKind::OneTime))], "{}").await;
    assert_eq!((reply.status, reply.code()), (404, "not_found"));
}

#[tokio::test]
async fn two_tokens_in_one_request_are_a_bad_request() {
    let world = World::start().await;
    let token = world.sign(TokenKind::OneTime);
    let bearer = format!("Bearer {token}");
    let cases: [&[(&str, &str)]; 3] = [
        &[("authorization", &bearer), ("x-pti-token", &token)],
        &[("authorization", &bearer), ("authorization", &bearer)],
        &[("x-pti-token", &token), ("x-pti-token", &token)],
    ];
    for headers in cases {
        let reply = world.send("POST", FUNDING, headers, "{}").await;
        assert_eq!((reply.status, reply.code()), (400, "invalid_request"));
    }
}

#[tokio::test]
async fn a_token_in_the_query_or_under_another_scheme_is_not_seen() {
    let world = World::start().await;
    let token = world.sign(TokenKind::Client);
    let query = world.send("GET", &format!("/v1/things/thi_1?access_token={token}"), &[], "").await;
    assert_eq!(query.status, 401);
    for scheme in ["Basic", "DPoP", "Token"] {
        let value = format!("{scheme} {token}");
        let reply = world.send("GET", "/v1/things/thi_1", &[("authorization", &value)], "").await;
        assert_eq!(reply.status, 401, "{scheme}");
    }
}
