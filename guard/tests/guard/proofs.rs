//! Rows I1 to I5 of the security checklist: tokens that are bound to a key, and the proofs they need (RFC 9449).

use std::sync::atomic::Ordering;

use keys::dpop::NewProof;
use keys::token::TokenKind;
use keys::{SigningKey, UnixSeconds};

use crate::world::{AUDIENCE, Reply, SHOP, World};

const THING: &str = "/v1/things/1";
const PAY: &str = "/v1/pay";

fn device() -> SigningKey {
    SigningKey::es256_from_seed([42; 32]).unwrap()
}

/// A proof to be made, with everything right for one POST to [`PAY`].
struct Plan<'a> {
    method: &'a str,
    path: &'a str,
    jti: &'a str,
    iat: UnixSeconds,
    nonce: Option<&'a str>,
    token: Option<&'a str>,
    key: SigningKey,
}

impl<'a> Plan<'a> {
    fn pay(world: &World, token: &'a str, jti: &'a str) -> Self {
        let (iat, key) = (world.now(), device());
        Self { method: "POST", path: PAY, jti, iat, nonce: None, token: Some(token), key }
    }

    fn read(world: &World, token: &'a str, jti: &'a str, nonce: Option<&'a str>) -> Self {
        Self { method: "GET", path: THING, nonce, ..Self::pay(world, token, jti) }
    }

    fn sign(&self) -> String {
        let uri = format!("{AUDIENCE}{}", self.path);
        let Self { method, jti, iat, nonce, token, .. } = *self;
        NewProof { method, uri: &uri, jti, iat, access_token: token, nonce }.sign(&self.key).unwrap()
    }
}

fn bound(world: &World, kind: TokenKind) -> String {
    let mut token = world.token(kind);
    token.cnf_jkt = Some(device().public_jwk().thumbprint());
    token.sign(&world.key).unwrap()
}

async fn send(world: &World, (method, path): (&str, &str), token: &str, proof: &str) -> Reply {
    let authorization = format!("DPoP {token}");
    world.send(method, path, &[("authorization", &authorization), ("dpop", proof)], "{}").await
}

/// A bound token for one payment, and a proof for it.
pub(crate) fn payment_proof(world: &World, jti: &str, nonce: Option<&str>) -> (String, String) {
    let token = bound(world, TokenKind::OneTime);
    let proof = Plan { nonce, ..Plan::pay(world, &token, jti) }.sign();
    (token, proof)
}

/// Pays with a proof.
pub(crate) async fn pay_with_proof(world: &World, token: &str, proof: &str) -> Reply {
    pay(world, token, proof).await
}

async fn pay(world: &World, token: &str, proof: &str) -> Reply {
    send(world, ("POST", PAY), token, proof).await
}

#[track_caller]
fn refused(reply: &Reply, code: &str) {
    assert_eq!((reply.status, reply.code()), (401, code));
    let challenge = reply.header("www-authenticate");
    assert!(challenge.starts_with(&format!("DPoP error=\"{code}\"")), "{challenge}");
    assert!(challenge.contains("algs=\"ES256 EdDSA PS256 RS256\""), "{challenge}");
    assert!(challenge.contains("resource_metadata="), "{challenge}");
}

#[tokio::test]
async fn a_bound_token_with_a_proof_by_its_key_is_let_in() {
    let world = World::start().await;
    for kind in [TokenKind::Client, TokenKind::OneTime] {
        let token = bound(&world, kind);
        let reply = pay(&world, &token, &Plan::pay(&world, &token, kind.as_str()).sign()).await;
        assert_eq!((reply.status, &reply.body["kind"]), (200, &kind.as_str().into()));
        assert_eq!(reply.header("dpop-nonce").len(), 24);
        assert_eq!(reply.header("www-authenticate"), "");
    }
}

/// Row I4.
#[tokio::test]
async fn a_bound_token_counts_as_dpop_only_and_another_token_never_as_dpop() {
    let world = World::start().await;
    let token = bound(&world, TokenKind::Client);
    refused(&world.post(PAY, &token).await, "invalid_token");
    let proof = Plan::pay(&world, &token, "jti-1").sign();
    let authorization = format!("Bearer {token}");
    let with_proof = [("authorization", authorization.as_str()), ("dpop", proof.as_str())];
    refused(&world.send("POST", PAY, &with_proof, "{}").await, "invalid_token");
    let plain = world.sign(TokenKind::Client);
    refused(&pay(&world, &plain, &Plan::pay(&world, &plain, "jti-2").sign()).await, "invalid_token");
    assert_eq!(world.post(PAY, &plain).await.status, 200);
    let one_time = bound(&world, TokenKind::OneTime);
    let in_header = world.send("POST", "/users/u/funding", &[("x-pti-token", &one_time)], "{}").await;
    assert_eq!((in_header.status, in_header.code()), (401, "invalid_token"));
    assert_eq!(pay(&world, &token, &proof).await.status, 200, "nothing was spent by the refusals");
}

/// Row I4: missing and wrong `ath`, another key. Row I1: everything else that a proof may get wrong.
#[tokio::test]
async fn a_proof_that_is_not_for_this_request_token_and_key_is_refused() {
    let world = World::start().await;
    let token = bound(&world, TokenKind::Client);
    let other_token = world.sign(TokenKind::Client);
    let now = world.now();
    let plan = || Plan::pay(&world, &token, "jti-1");
    let cases = [
        ("no ath", Plan { token: None, ..plan() }, "invalid_dpop_proof"),
        ("another token's ath", Plan { token: Some(&other_token), ..plan() }, "invalid_dpop_proof"),
        ("another method", Plan { method: "PUT", ..plan() }, "invalid_dpop_proof"),
        ("another path", Plan { path: THING, ..plan() }, "invalid_dpop_proof"),
        ("too old", Plan { iat: now.plus(-61), ..plan() }, "invalid_dpop_proof"),
        ("ahead", Plan { iat: now.plus(11), ..plan() }, "invalid_dpop_proof"),
        ("no jti", Plan { jti: "", ..plan() }, "invalid_dpop_proof"),
        (
            "another key",
            Plan { key: SigningKey::es256_from_seed([43; 32]).unwrap(), ..plan() },
            "invalid_token",
        ),
        ("a foreign nonce", Plan { nonce: Some("AAAAAAAAAAAAAAAAAAAAAAAA"), ..plan() }, "use_dpop_nonce"),
    ];
    for (what, plan, code) in cases {
        let reply = pay(&world, &token, &plan.sign()).await;
        assert_eq!((reply.status, reply.code()), (401, code), "{what}");
        refused(&reply, code);
    }
    let authorization = format!("DPoP {token}");
    let header = ("authorization", authorization.as_str());
    refused(&world.send("POST", PAY, &[header], "{}").await, "invalid_dpop_proof");
    let proof = plan().sign();
    let twice = [header, ("dpop", proof.as_str()), ("dpop", proof.as_str())];
    refused(&world.send("POST", PAY, &twice, "{}").await, "invalid_dpop_proof");
    refused(&pay(&world, &token, &token).await, "invalid_dpop_proof");
    refused(&pay(&world, &proof, &proof).await, "invalid_token");
    assert_eq!(pay(&world, &token, &proof).await.status, 200, "nothing was spent by the refusals");
}

/// Row I3.
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_counts_once_in_sequence_and_in_parallel() {
    let world = World::start().await;
    let token = bound(&world, TokenKind::Client);
    let nonce = send(&world, ("GET", THING), &token, "").await.header("dpop-nonce").to_owned();
    for (place, plan) in [
        (("POST", PAY), Plan::pay(&world, &token, "jti-1")),
        (("GET", THING), Plan::read(&world, &token, "jti-2", Some(&nonce))),
    ] {
        let proof = plan.sign();
        let sent = (0..16).map(|_| send(&world, place, &token, &proof));
        let replies = futures_util::future::join_all(sent).await;
        assert_eq!(replies.iter().filter(|reply| reply.status == 200).count(), 1, "{place:?}");
        let again = send(&world, place, &token, &proof).await;
        refused(&again, "invalid_dpop_proof");
    }
}

/// Row I3: what two processes share is the durable memory; without it nothing is changed.
#[tokio::test]
async fn a_write_is_turned_away_while_the_memory_is_away_and_a_read_is_not() {
    let world = World::start().await;
    let token = bound(&world, TokenKind::Client);
    world.memory.away.store(true, Ordering::SeqCst);
    let reply = pay(&world, &token, &Plan::pay(&world, &token, "jti-1").sign()).await;
    assert_eq!((reply.status, reply.code(), reply.header("retry-after")), (503, "unavailable", "1"));
    let nonce = reply.header("dpop-nonce");
    let proof = Plan::read(&world, &token, "jti-2", Some(nonce)).sign();
    assert_eq!(send(&world, ("GET", THING), &token, &proof).await.status, 200);
}

/// Row I5.
#[tokio::test]
async fn a_read_needs_the_services_nonce_and_gets_it_from_the_challenge() {
    let world = World::start().await;
    let token = bound(&world, TokenKind::Client);
    let read = async |jti: &str, nonce: Option<&str>| {
        let proof = Plan::read(&world, &token, jti, nonce).sign();
        send(&world, ("GET", THING), &token, &proof).await
    };
    let challenge = read("jti-1", None).await;
    refused(&challenge, "use_dpop_nonce");
    let nonce = challenge.header("dpop-nonce");
    assert_eq!(read("jti-1", Some(nonce)).await.status, 200, "the challenged proof was not spent");
    world.advance(119);
    assert_eq!(read("jti-2", Some(nonce)).await.status, 200);
    world.advance(61);
    let stale = read("jti-3", Some(nonce)).await;
    refused(&stale, "use_dpop_nonce");
    assert_ne!(stale.header("dpop-nonce"), nonce);
    assert_eq!(read("jti-3", Some(stale.header("dpop-nonce"))).await.status, 200);
}

#[tokio::test]
async fn every_refusal_of_a_dpop_request_is_a_dpop_challenge_and_a_bare_request_gets_both() {
    let world = World::start().await;
    let token = bound(&world, TokenKind::Client);
    world.advance(300);
    let expired = pay(&world, &token, &Plan::pay(&world, &token, "jti-1").sign()).await;
    refused(&expired, "invalid_token");
    let bare = world.send("POST", PAY, &[], "{}").await;
    let challenges: Vec<_> = bare.headers.get_all("www-authenticate").iter().collect();
    assert_eq!(challenges.len(), 2);
    assert!(challenges[0].to_str().unwrap().starts_with("Bearer resource_metadata="));
    assert!(challenges[1].to_str().unwrap().starts_with("DPoP resource_metadata="));
    assert_eq!(bare.header("dpop-nonce"), "");
}

#[tokio::test]
async fn a_browser_may_read_the_nonce() {
    let world = World::start().await;
    let token = bound(&world, TokenKind::Client);
    let proof = Plan::pay(&world, &token, "jti-1").sign();
    let authorization = format!("DPoP {token}");
    let headers = [("authorization", authorization.as_str()), ("dpop", &proof), ("origin", SHOP)];
    let reply = world.send("POST", PAY, &headers, "{}").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, SHOP));
    assert!(reply.header("access-control-expose-headers").contains("dpop-nonce"));
}
