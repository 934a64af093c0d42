//! The issuer's keys: fetched when needed, kept when the issuer is away.

use std::sync::atomic::Ordering;

use keys::SigningKey;
use keys::token::TokenKind;

use crate::world::{World, jwks_of};

const THING: &str = "/v1/things/thi_1";

#[tokio::test]
async fn an_unknown_kid_asks_the_issuer_at_most_once_a_minute() {
    let world = World::start().await;
    assert_eq!(world.get(THING, &world.sign(TokenKind::Client)).await.status, 200);
    assert_eq!(world.jwks.hits.load(Ordering::SeqCst), 1);
    let newer = SigningKey::es256_from_seed([8; 32]).unwrap();
    let token = world.token(TokenKind::Client).sign(&newer).unwrap();
    for _ in 0..5 {
        assert_eq!(world.get(THING, &token).await.status, 401);
    }
    assert_eq!(world.jwks.hits.load(Ordering::SeqCst), 1, "the minute is not over");
    *world.jwks.document.lock().unwrap() = jwks_of(&[&world.key, &newer]);
    world.advance(60);
    assert_eq!(world.get(THING, &token).await.status, 200);
    assert_eq!(world.jwks.hits.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn many_first_tokens_at_once_fetch_once_and_all_pass() {
    let world = World::start().await;
    let token = world.sign(TokenKind::Client);
    let replies = futures_util::future::join_all((0..32).map(|_| world.get(THING, &token))).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(world.jwks.hits.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn known_keys_serve_on_while_the_issuer_is_away() {
    let world = World::start().await;
    assert_eq!(world.get(THING, &world.sign(TokenKind::Client)).await.status, 200);
    world.jwks.down.store(true, Ordering::SeqCst);
    assert!(world.keys.refresh().await.is_err());
    assert_eq!(world.get(THING, &world.sign(TokenKind::Client)).await.status, 200);
    let other = SigningKey::es256_from_seed([8; 32]).unwrap();
    world.advance(61);
    let unknown = world.token(TokenKind::Client).sign(&other).unwrap();
    let reply = world.get(THING, &unknown).await;
    assert_eq!((reply.status, reply.code()), (401, "invalid_token"));
}

#[tokio::test]
async fn without_any_key_the_answer_is_503_and_not_401() {
    let world = World::start().await;
    world.jwks.down.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let reply = world.get(THING, &world.sign(TokenKind::Client)).await;
        assert_eq!((reply.status, reply.code()), (503, "keys_unavailable"));
        assert_eq!(reply.header("retry-after"), "1");
    }
}

#[tokio::test]
async fn a_withdrawn_key_is_forgotten_at_the_next_refresh() {
    let world = World::start().await;
    assert_eq!(world.get(THING, &world.sign(TokenKind::Client)).await.status, 200);
    let newer = SigningKey::es256_from_seed([8; 32]).unwrap();
    *world.jwks.document.lock().unwrap() = jwks_of(&[&newer]);
    world.keys.refresh().await.unwrap();
    assert_eq!(world.get(THING, &world.sign(TokenKind::Client)).await.status, 401);
}

#[tokio::test]
async fn an_unusable_set_replaces_nothing() {
    let world = World::start().await;
    world.keys.refresh().await.unwrap();
    let twice = jwks_of(&[&world.key, &world.key]);
    for document in
        ["", "{}", "[]", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AAAA","kid":"x"}]}"#, &twice]
    {
        *world.jwks.document.lock().unwrap() = document.to_owned();
        assert!(world.keys.refresh().await.is_err(), "{document}");
        assert_eq!(world.get(THING, &world.sign(TokenKind::Client)).await.status, 200, "{document}");
    }
}
