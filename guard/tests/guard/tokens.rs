//! Which tokens count, and for what.

use aws_lc_rs::hmac;
use keys::token::TokenKind;
use keys::{SigningKey, b64};
use serde_json::{Value, json};

use crate::world::World;

const THING: &str = "/v1/things/thi_1";

#[tokio::test]
async fn a_good_token_makes_a_caller() {
    let world = World::start().await;
    let client = world.get(THING, &world.sign(TokenKind::Client)).await;
    assert_eq!(client.status, 200);
    assert_eq!(client.body["kind"], "client");
    assert_eq!(client.body["partner_id"], "par_a");
    assert_eq!(client.body["own"], Value::Null);
    let user = world.get(THING, &world.sign(TokenKind::User)).await;
    assert_eq!((user.status, &user.body["own"]), (200, &json!("usr_a")));
}

#[tokio::test]
async fn every_kind_meets_every_operation_as_the_contract_says() {
    let world = World::start().await;
    for kind in TokenKind::ALL {
        let token = world.sign(kind);
        let expected = match kind {
            TokenKind::Client | TokenKind::User | TokenKind::Exchanged => (200, ""),
            TokenKind::OneTime => (401, "invalid_token"),
            TokenKind::Process | TokenKind::Employee => (403, "wrong_token_kind"),
        };
        let reply = world.get(THING, &token).await;
        assert_eq!((reply.status, reply.code()), expected, "GET with {kind}");
        let expected = match kind {
            TokenKind::Client | TokenKind::OneTime => (200, ""),
            _ => (403, "wrong_token_kind"),
        };
        let reply = world.post("/v1/pay", &token).await;
        assert_eq!((reply.status, reply.code()), expected, "POST with {kind}");
    }
}

#[tokio::test]
async fn claims_of_the_wrong_value_or_type_are_refused() {
    let world = World::start().await;
    let now = world.now().0;
    let cases: Vec<(&str, Value)> = vec![
        ("iss", json!("https://other.example")),
        ("iss", json!("https://as.example/")),
        ("iss", json!(["https://as.example"])),
        ("iss", Value::Null),
        ("aud", json!("https://other.example")),
        ("aud", json!(["https://rs.example"])),
        ("aud", json!(["https://rs.example", "https://other.example"])),
        ("aud", Value::Null),
        ("exp", json!(now)),
        ("exp", json!((now + 300).to_string())),
        ("exp", json!(1_800_000_300.0_f64)),
        ("exp", json!(-1)),
        ("exp", json!(9_223_372_036_854_775_808_u64)),
        ("exp", json!([now + 300])),
        ("exp", Value::Null),
        ("iat", json!("now")),
        ("iat", json!(now + 61)),
        ("nbf", json!(now + 61)),
        ("nbf", json!("soon")),
        ("token_kind", json!("admin")),
        ("token_kind", Value::Null),
        ("sub", json!("usr_a")),
        ("scope", json!(["things:read"])),
        ("cnf", json!({"x5t#S256": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"})),
        ("cnf", json!({"jkt": 1})),
    ];
    for (name, value) in cases {
        let token = world.forge("at+jwt", |claims| {
            claims.insert(name.into(), value.clone());
        });
        let reply = world.get(THING, &token).await;
        assert_eq!((reply.status, reply.code()), (401, "invalid_token"), "{name}: {value}");
        assert!(reply.header("www-authenticate").starts_with("Bearer error=\"invalid_token\""), "{name}");
    }
    for name in ["iss", "aud", "exp", "iat", "jti", "sub", "client_id", "partner_id", "token_kind", "scope"] {
        let token = world.forge("at+jwt", |claims| drop(claims.remove(name)));
        assert_eq!(world.get(THING, &token).await.status, 401, "without {name}");
    }
}

#[tokio::test]
async fn a_token_is_good_until_the_second_before_it_expires() {
    let world = World::start().await;
    let token = world.sign(TokenKind::Client);
    world.advance(299);
    assert_eq!(world.get(THING, &token).await.status, 200);
    world.advance(1);
    let reply = world.get(THING, &token).await;
    assert_eq!((reply.status, reply.code()), (401, "invalid_token"));
}

#[tokio::test]
async fn another_type_of_jwt_is_no_access_token() {
    let world = World::start().await;
    for typ in
        ["JWT", "jwt", "AT+JWT ", "logout+jwt", "dpop+jwt", "client-authentication+jwt", "operation+jwt"]
    {
        let token = world.forge(typ, |_| ());
        assert_eq!(world.get(THING, &token).await.status, 401, "{typ}");
    }
}

#[tokio::test]
async fn an_unsigned_or_symmetrically_signed_token_is_refused() {
    let world = World::start().await;
    let payload = b64::encode(serde_json::to_vec(&world.token(TokenKind::Client).to_claims()).unwrap());
    let kid = world.key.kid().to_owned();
    let public = world.key.public_jwk().to_value().to_string();
    for alg in ["none", "None", "nOnE", "HS256"] {
        let header = b64::encode(json!({"alg": alg, "kid": kid, "typ": "at+jwt"}).to_string());
        let input = format!("{header}.{payload}");
        let secret = hmac::Key::new(hmac::HMAC_SHA256, public.as_bytes());
        let signature = b64::encode(hmac::sign(&secret, input.as_bytes()).as_ref());
        for signature in [String::new(), signature] {
            let reply = world.get(THING, &format!("{input}.{signature}")).await;
            assert_eq!((reply.status, reply.code()), (401, "invalid_token"), "{alg}");
        }
    }
}

#[tokio::test]
async fn a_token_of_another_key_under_our_kid_is_refused() {
    let world = World::start().await;
    let token = world.sign(TokenKind::Client);
    let other = SigningKey::es256_from_seed([9; 32]).unwrap();
    let (input, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{input}.{}", b64::encode(other.sign(input.as_bytes()).unwrap()));
    assert_eq!(world.get(THING, &forged).await.status, 401);
    let zero = format!("{input}.{}", b64::encode([0; 64]));
    assert_eq!(world.get(THING, &zero).await.status, 401);
}

#[tokio::test]
async fn rubbish_is_refused_without_being_looked_at_for_long() {
    let world = World::start().await;
    let token = world.sign(TokenKind::Client);
    let cases = [
        "a".to_owned(),
        ".".repeat(60_000),
        format!("{token}="),
        format!("{token}.x"),
        format!("{}.x", "a".repeat(20_000)),
        token.to_uppercase(),
    ];
    for case in cases {
        let reply = world.get(THING, &case).await;
        assert!(matches!(reply.status, 400 | 401), "{} characters: {}", case.len(), reply.status);
    }
}

#[tokio::test]
async fn a_missing_scope_is_named_in_the_challenge() {
    let world = World::start().await;
    let mut token = world.token(TokenKind::Client);
    token.scope = "things:write".parse().unwrap();
    let reply = world.get(THING, &token.sign(&world.key).unwrap()).await;
    assert_eq!((reply.status, reply.code()), (403, "insufficient_scope"));
    let challenge = reply.header("www-authenticate");
    assert!(challenge.contains("error=\"insufficient_scope\", scope=\"things:read\""), "{challenge}");
    assert!(
        challenge.contains("resource_metadata=\"https://rs.example/.well-known/oauth-protected-resource\""),
        "{challenge}"
    );
}

#[tokio::test]
async fn standing_counts_at_once() {
    let world = World::start().await;
    let token = world.sign(TokenKind::User);
    world.directory.denied.lock().unwrap().insert("usr_a".into());
    assert_eq!(world.get(THING, &token).await.status, 401, "a disabled subject");
    world.directory.denied.lock().unwrap().clear();
    assert_eq!(world.get(THING, &token).await.status, 200);
    let mut poorer = crate::world::client("cli_a");
    poorer.scope = "pay:execute".parse().unwrap();
    world.register(poorer);
    assert_eq!(world.get(THING, &token).await.code(), "insufficient_scope", "a scope taken from the policy");
    let mut moved = crate::world::client("cli_a");
    moved.partner_id = "par_b".into();
    world.register(moved);
    assert_eq!(world.get(THING, &token).await.status, 401, "a token of another partner");
    world.directory.clients.lock().unwrap().clear();
    assert_eq!(world.get(THING, &token).await.status, 401, "a disabled client");
}

#[tokio::test]
async fn i8_a_token_bound_to_a_certificate_counts_on_a_connection_of_that_certificate_only() {
    const OWN: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    let world = World::start().await;
    let token = world.forge("at+jwt", |claims| drop(claims.insert("cnf".into(), json!({"x5t#S256": OWN}))));
    let authorization = format!("Bearer {token}");
    let other = OWN.replace('0', "1");
    for (certificate, status) in [(Some(OWN), 200), (Some(other.as_str()), 401), (None, 401)] {
        let mut headers = vec![("authorization", authorization.as_str())];
        headers.extend(certificate.map(|it| ("x-test-certificate", it)));
        let reply = world.send("GET", THING, &headers, "").await;
        assert_eq!(reply.status, status, "{certificate:?}");
        if status == 401 {
            assert_eq!(reply.code(), "invalid_token");
            assert!(reply.body["detail"].as_str().unwrap().contains("connect with that certificate"));
        }
    }
    let unbound = world.sign(TokenKind::Client);
    let headers = [("authorization", format!("Bearer {unbound}")), ("x-test-certificate", other)];
    let headers = headers.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(world.send("GET", THING, &headers, "").await.status, 200, "an unbound token needs none");
}
