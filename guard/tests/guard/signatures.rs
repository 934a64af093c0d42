//! Clients that must sign every request.

use std::collections::HashMap;
use std::sync::atomic::Ordering;

use guard::Profile;
use http::HeaderMap;
use keys::http_signature::{Message, Signer, TAG_REQUEST};
use keys::token::TokenKind;
use keys::{SigningKey, pti_jws};

use crate::world::{Reply, World, client};

const BODY: &str = r#"{"amount":1}"#;

fn key() -> SigningKey {
    SigningKey::es256_from_seed([21; 32]).unwrap()
}

async fn signing_world(profile: Profile) -> World {
    let world = World::start().await;
    let_sign(&world, profile);
    world
}

/// The client must sign from now on.
fn let_sign(world: &World, profile: Profile) {
    let mut signed = client("cli_a");
    signed.profile = profile;
    let key = if profile == Profile::PtiJws { pti_key() } else { key() };
    signed.signature_keys = HashMap::from([(key.kid().to_owned(), key.public_jwk().verifying_key())]);
    world.register(signed);
}

/// A request that is signed at this moment as the profile asks.
pub(crate) async fn signed_at(world: &World, profile: Profile, nonce: &str) -> Reply {
    let_sign(world, profile);
    if profile == Profile::HttpSignature {
        return send(world, &key(), nonce, (0, BODY)).await;
    }
    let signature = pti_signature(world, "/users/u1/funding");
    let headers = [
        ("x-pti-client-id", "cli_a"),
        ("x-pti-signature", signature.as_str()),
        ("content-type", "application/json"),
    ];
    world.send("POST", "/users/u1/funding", &headers, BODY).await
}

/// Signs a POST of [`BODY`] to `/v1/pay` and sends it with `sent` as its body.
async fn send(world: &World, key: &SigningKey, nonce: &str, (age, sent): (i64, &str)) -> Reply {
    let bearer = format!("Bearer {}", world.sign(TokenKind::Client));
    let mut headers = HeaderMap::new();
    headers.insert("authorization", bearer.parse().unwrap());
    headers.insert("content-type", "application/json".parse().unwrap());
    let message = Message {
        method: "POST",
        authority: "rs.example",
        path: "/v1/pay",
        query: None,
        headers: &headers,
        body: BODY.as_bytes(),
    };
    let created = world.now().plus(-age);
    let signer = Signer { key, keyid: key.kid(), tag: TAG_REQUEST, created, nonce };
    let added = signer.sign(&message).unwrap();
    let digest = added.content_digest.unwrap();
    let headers = [
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
        ("content-digest", &digest),
        ("signature-input", &added.signature_input),
        ("signature", &added.signature),
    ];
    world.send("POST", "/v1/pay", &headers, sent).await
}

#[tokio::test]
async fn a_signed_request_passes_once() {
    let world = signing_world(Profile::HttpSignature).await;
    assert_eq!(send(&world, &key(), "n-1", (0, BODY)).await.status, 200);
    let again = send(&world, &key(), "n-1", (0, BODY)).await;
    assert_eq!((again.status, again.code()), (401, "signature_replayed"));
    assert_eq!(send(&world, &key(), "n-2", (0, BODY)).await.status, 200);
}

#[tokio::test]
async fn an_unsigned_or_badly_signed_request_is_refused() {
    let world = signing_world(Profile::HttpSignature).await;
    let unsigned = world.post("/v1/pay", &world.sign(TokenKind::Client)).await;
    assert_eq!((unsigned.status, unsigned.code()), (401, "signature_required"));
    assert!(unsigned.header("accept-signature").contains("tag=\"countersign-request\""));
    assert!(unsigned.header("www-authenticate").starts_with("Bearer "));
    let changed = send(&world, &key(), "n-1", (0, r#"{"amount":2}"#)).await;
    assert_eq!((changed.status, changed.code()), (401, "content_digest_mismatch"));
    let old = send(&world, &key(), "n-2", (61, BODY)).await;
    assert_eq!((old.status, old.code()), (401, "signature_not_fresh"));
    let foreign = SigningKey::es256_from_seed([22; 32]).unwrap();
    assert_eq!(send(&world, &foreign, "n-3", (0, BODY)).await.code(), "invalid_signature");
}

#[tokio::test]
async fn a_device_that_holds_a_one_time_token_need_not_sign() {
    let world = signing_world(Profile::HttpSignature).await;
    assert_eq!(world.post("/v1/pay", &world.sign(TokenKind::OneTime)).await.status, 200);
}

#[tokio::test]
async fn without_the_replay_memory_nothing_passes() {
    let world = signing_world(Profile::HttpSignature).await;
    world.memory.away.store(true, Ordering::SeqCst);
    let reply = send(&world, &key(), "n-1", (0, BODY)).await;
    assert_eq!((reply.status, reply.code()), (503, "unavailable"));
}

fn pti_key() -> SigningKey {
    SigningKey::ed25519_from_seed([5; 32]).unwrap()
}

fn pti_signature(world: &World, path: &str) -> String {
    let parts = pti_jws::Parts {
        method: "POST",
        path,
        query: None,
        body: BODY.as_bytes(),
        content_type: Some("application/json"),
        date: None,
        other_fields: &[],
    };
    pti_jws::sign(&pti_key(), "cli_a", &parts, world.now()).unwrap()
}

#[tokio::test]
async fn a_pti_request_is_authenticated_by_its_signature_alone() {
    let world = signing_world(Profile::PtiJws).await;
    let signature = pti_signature(&world, "/users/u1/funding");
    let headers = [
        ("x-pti-client-id", "cli_a"),
        ("x-pti-signature", signature.as_str()),
        ("content-type", "application/json"),
    ];
    let reply = world.send("POST", "/users/u1/funding", &headers, BODY).await;
    assert_eq!((reply.status, &reply.body["kind"]), (200, &serde_json::json!("client")));
    let replayed = world.send("POST", "/users/u1/funding", &headers, BODY).await;
    assert_eq!((replayed.status, replayed.code()), (401, "signature_replayed"));
    let native = world.send("POST", "/v1/pay", &headers, BODY).await;
    assert_eq!(native.status, 401, "outside the dialect the signature is no credential");
}

#[tokio::test]
async fn a_pti_signature_of_another_request_client_or_profile_is_refused() {
    let world = signing_world(Profile::PtiJws).await;
    let signature = pti_signature(&world, "/users/u2/funding");
    let send = async |client_id: &str| {
        let headers = [
            ("x-pti-client-id", client_id),
            ("x-pti-signature", signature.as_str()),
            ("content-type", "application/json"),
        ];
        world.send("POST", "/users/u1/funding", &headers, BODY).await
    };
    for client_id in ["cli_a", "cli_unknown"] {
        let reply = send(client_id).await;
        assert_eq!((reply.status, reply.code()), (401, "invalid_signature"), "{client_id}");
    }
    world.register(client("cli_a"));
    assert_eq!(send("cli_a").await.status, 401, "a client that does not use the scheme");
}
