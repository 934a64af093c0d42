//! `POST /oauth2/token`: the client credentials grant with secrets.

use chassis::testing::TestDatabase;
use keys::token::{AccessToken, Expect};
use reqwest::StatusCode;
use serde_json::Value;

use crate::world::{RESOURCE_API, World, header, payload};

#[tokio::test]
async fn a_client_gets_an_access_token_that_verifies_with_the_published_keys() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let reply = world.grant("acme", "backend", &[("scope", "fiat_ins:read fiat_ins:execute")]).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.json);
        assert_eq!(reply.header("cache-control"), "no-store");
        assert_eq!(reply.header("content-type"), "application/json");
        assert_eq!(reply.json["token_type"], "Bearer");
        assert_eq!(reply.json["expires_in"], 600);
        assert_eq!(reply.json["scope"], "fiat_ins:execute fiat_ins:read");
        assert_eq!(reply.json.get("refresh_token"), None);
        let token = reply.json["access_token"].as_str().unwrap();
        assert_eq!(header(token)["typ"], "at+jwt");
        let keys = world.send(world.http.get(world.at("/oauth2/jwks"))).await.json;
        let key_for = |kid: &str| {
            let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == kid)?;
            Some(keys::PublicJwk::try_from(key).unwrap().verifying_key())
        };
        let expect = Expect { issuer: &world.base, audience: RESOURCE_API };
        let token = AccessToken::verify(token, &expect, key_for, world.now()).unwrap();
        assert_eq!(token.sub, world.id("acme", "backend"));
        assert_eq!(token.sub, token.client_id);
        assert_eq!(token.partner_id, world.partner_id("acme"));
        assert_eq!(token.exp.since(token.iat), 600);
        world.stop().await;
    }
}

#[tokio::test]
async fn the_audience_follows_from_resource_or_scope() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let audience =
        |reply: &crate::world::Reply| payload(reply.json["access_token"].as_str().unwrap())["aud"].clone();
    let issuer = world.base.clone();
    let granted = [
        (vec![("scope", "users:write")], issuer.clone()),
        (vec![("scope", "fiat_ins:read")], RESOURCE_API.to_owned()),
        (vec![("resource", RESOURCE_API)], RESOURCE_API.to_owned()),
        (vec![("resource", issuer.as_str())], issuer.clone()),
        (vec![("resource", RESOURCE_API), ("scope", "")], RESOURCE_API.to_owned()),
    ];
    for (form, expected) in granted {
        let reply = world.grant("acme", "backend", &form).await;
        assert_eq!(reply.status, StatusCode::OK, "{form:?}: {}", reply.json);
        assert_eq!(audience(&reply), Value::String(expected), "{form:?}");
    }
    let refused = [
        (vec![], "invalid_scope"),
        (vec![("scope", "users:write fiat_ins:read")], "invalid_scope"),
        (vec![("scope", "users:write"), ("resource", RESOURCE_API)], "invalid_scope"),
        (vec![("scope", "ledger:read")], "invalid_scope"),
        (vec![("scope", "FIAT_INS:READ")], "invalid_scope"),
        (vec![("scope", "fiat_ins:read\"")], "invalid_scope"),
        (vec![("resource", "http://127.0.0.1:9")], "invalid_target"),
        (vec![("resource", "/relative")], "invalid_target"),
        (vec![("resource", "http://127.0.0.1:8081/#part")], "invalid_target"),
        (vec![("resource", RESOURCE_API), ("resource", issuer.as_str())], "invalid_target"),
    ];
    for (form, error) in refused {
        world.grant("acme", "backend", &form).await.oauth_refused(400, error);
    }
    let many = (0..6000).map(|number| format!("s{number}")).collect::<Vec<_>>().join(" ");
    world.grant("acme", "backend", &[("scope", &many)]).await.oauth_refused(400, "invalid_scope");
    let one_service = world.grant("acme", "post", &[]).await;
    one_service.oauth_refused(401, "invalid_client");
    world.stop().await;
}

#[tokio::test]
async fn a_repeated_scope_token_counts_once_and_the_granted_scope_is_returned() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let reply = world.grant("acme", "backend", &[("scope", "fiat_ins:read fiat_ins:read")]).await;
    assert_eq!(reply.json["scope"], "fiat_ins:read");
    world.stop().await;
}

#[tokio::test]
async fn a_wrong_secret_and_an_unknown_client_look_the_same() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let form = [("grant_type", "client_credentials")];
    let (known, secret) = (world.id("acme", "backend"), world.secret("acme", "backend"));
    let wrong = world.token_basic(&known, "wrong", &form).await;
    let unknown = world.token_basic("cli_unknown", &secret, &form).await;
    for reply in [&wrong, &unknown] {
        reply.oauth_refused(401, "invalid_client");
        assert!(reply.header("www-authenticate").starts_with("Basic "));
    }
    assert_eq!(wrong.json["error_description"], unknown.json["error_description"]);
    let members =
        |reply: &crate::world::Reply| reply.json.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(members(&wrong), members(&unknown));
    let posted = world.token_form(&[form[0], ("client_id", &known), ("client_secret", "wrong")]).await;
    posted.oauth_refused(401, "invalid_client");
    assert_eq!(posted.header("www-authenticate"), "");
    world.stop().await;
}

#[tokio::test]
async fn the_registered_method_is_the_only_one() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let grant = ("grant_type", "client_credentials");
    let (basic, basic_secret) = (world.id("acme", "backend"), world.secret("acme", "backend"));
    let (post, post_secret) = (world.id("acme", "post"), world.secret("acme", "post"));
    let by_post = world.token_form(&[grant, ("client_id", &post), ("client_secret", &post_secret)]).await;
    assert_eq!(by_post.status, StatusCode::OK, "{}", by_post.json);
    let swapped = world.token_form(&[grant, ("client_id", &basic), ("client_secret", &basic_secret)]).await;
    swapped.oauth_refused(401, "invalid_client");
    world.token_basic(&post, &post_secret, &[grant]).await.oauth_refused(401, "invalid_client");
    world.token_form(&[grant, ("client_id", &basic)]).await.oauth_refused(401, "invalid_client");
    world.token_form(&[grant]).await.oauth_refused(401, "invalid_client");
    // A client without credentials may use no grant of this server.
    let public = world.token_form(&[grant, ("client_id", &world.id("acme", "public"))]).await;
    public.oauth_refused(400, "unauthorized_client");
    // A forged assertion beside a right secret is a second method.
    let both = world
        .token_basic(
            &basic,
            &basic_secret,
            &[
                grant,
                ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
                ("client_assertion", "e30.e30.AA"),
            ],
        )
        .await;
    both.oauth_refused(400, "invalid_request");
    let twice = world.token_basic(&basic, &basic_secret, &[grant, ("client_secret", &basic_secret)]).await;
    twice.oauth_refused(400, "invalid_request");
    let other = world.token_basic(&basic, &basic_secret, &[grant, ("client_id", &post)]).await;
    other.oauth_refused(400, "invalid_request");
    world.stop().await;
}

#[tokio::test]
async fn the_form_is_strict_and_stays_in_the_body() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let (id, secret) = (world.id("acme", "backend"), world.secret("acme", "backend"));
    let grant = ("grant_type", "client_credentials");
    let scope = ("scope", "fiat_ins:read");
    let repeated = world.token_basic(&id, &secret, &[grant, scope, ("scope", "fiat_ins:execute")]).await;
    repeated.oauth_refused(400, "invalid_request");
    for query in ["scope=fiat_ins:read", "client_secret=x", "grant%5Ftype=client_credentials"] {
        let url = format!("{}?{query}", world.at("/oauth2/token"));
        let reply =
            world.send(world.http.post(url).basic_auth(&id, Some(&secret)).form(&[grant, scope])).await;
        reply.oauth_refused(400, "invalid_request");
    }
    let unknown = world.token_basic(&id, &secret, &[grant, scope, ("colour", "<b>green</b>")]).await;
    assert_eq!(unknown.status, StatusCode::OK);
    assert!(!unknown.json.to_string().contains("green"));
    let empty = world.token_basic(&id, &secret, &[grant, scope, ("resource", ""), ("client_id", "")]).await;
    assert_eq!(empty.status, StatusCode::OK, "{}", empty.json);
    world.token_basic(&id, &secret, &[scope]).await.oauth_refused(400, "invalid_request");
    let password = world.token_basic(&id, &secret, &[("grant_type", "password"), ("username", "u")]).await;
    password.oauth_refused(400, "unsupported_grant_type");
    let json = world.send(
        world
            .http
            .post(world.at("/oauth2/token"))
            .basic_auth(&id, Some(&secret))
            .json(&serde_json::json!({})),
    );
    json.await.oauth_refused(415, "invalid_request");
    for method in [reqwest::Method::GET, reqwest::Method::PUT, reqwest::Method::DELETE] {
        let reply = world.send(world.http.request(method, world.at("/oauth2/token"))).await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(reply.header("allow"), "POST");
    }
    world.stop().await;
}

#[tokio::test]
async fn guessing_is_throttled_for_the_guesser_alone() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let form = [("grant_type", "client_credentials"), ("scope", "fiat_ins:read")];
    let (id, secret) = (world.id("acme", "backend"), world.secret("acme", "backend"));
    for _ in 0..10 {
        world.token_basic(&id, "wrong", &form).await.oauth_refused(401, "invalid_client");
    }
    let throttled = world.token_basic(&id, &secret, &form).await;
    throttled.oauth_refused(429, "temporarily_unavailable");
    assert_eq!(throttled.header("retry-after"), "60");
    assert_eq!(world.grant("acme", "issuer", &[("scope", "fiat_ins:read")]).await.status, StatusCode::OK);
    world.clock.advance(60);
    assert_eq!(world.token_basic(&id, &secret, &form).await.status, StatusCode::OK);
    world.stop().await;
}

#[tokio::test]
async fn a_signing_client_must_sign_its_token_requests_too() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let unsigned = world.grant("acme", "signed", &[("scope", "fiat_ins:read")]).await;
        unsigned.oauth_refused(401, "invalid_client");
        let body = "grant_type=client_credentials&scope=fiat_ins%3Aread";
        let pair = format!("{}:{}", world.id("acme", "signed"), world.secret("acme", "signed"));
        let authorization = format!("Basic {}", base64(pair.as_bytes()));
        let request = crate::world::ToSign {
            method: "POST",
            path: "/oauth2/token",
            authorization: Some(&authorization),
            dpop: None,
            content_type: Some("application/x-www-form-urlencoded"),
            body,
        };
        let headers = world.signature(&request, &crate::platform::signature_key(), "n-1");
        let send = || world.http.post(world.at("/oauth2/token")).headers(headers.clone());
        let signed = world.send(send().body(body)).await;
        assert_eq!(signed.status, StatusCode::OK, "{}", signed.json);
        world.send(send().body(body)).await.oauth_refused(401, "invalid_client");
        world.send(send().body(format!("{body}+x"))).await.oauth_refused(401, "invalid_client");
        world.stop().await;
    }
}

/// Base64 with padding, as HTTP Basic wants it.
fn base64(bytes: &[u8]) -> String {
    let text = keys::b64::encode(bytes).replace('-', "+").replace('_', "/");
    let padding = "=".repeat((4 - text.len() % 4) % 4);
    text + &padding
}

#[tokio::test]
async fn issuing_with_a_secret_executes_no_statement() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    // The background tasks read the feed now and then, so many requests are compared with few statements.
    let before = world.running.db().statements();
    for _ in 0..200 {
        let reply = world.grant("acme", "backend", &[("scope", "fiat_ins:read")]).await;
        assert_eq!(reply.status, StatusCode::OK);
    }
    let executed = world.running.db().statements() - before;
    assert!(executed < 150, "{executed} statements");
    world.stop().await;
}
