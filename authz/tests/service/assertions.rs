//! Client authentication by assertion (`private_key_jwt`): the rows T5 to T9 of the security checklist.

use chassis::testing::TestDatabase;
use futures_util::future::join_all;
use keys::{SigningKey, jws};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{
    platform::assertion_key,
    world::{NOW, World},
};

#[tokio::test]
async fn a_sound_assertion_authenticates_once() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let id = world.id("acme", "jwt");
        let assertion = world.assertion(&id, &assertion_key(), &json!({}));
        let first = world.assertion_grant(&assertion).await;
        assert_eq!(first.status, StatusCode::OK, "{}", first.json);
        world.assertion_grant(&assertion).await.oauth_refused(401, "invalid_client");
        let explicit = jws::sign_with(
            &assertion_key(),
            &[("typ", "client-authentication+jwt")],
            json!({"iss": id, "sub": id, "aud": [world.issuer], "jti": "explicit", "exp": NOW + 60})
                .to_string()
                .as_bytes(),
        );
        assert_eq!(world.assertion_grant(&explicit.unwrap()).await.status, StatusCode::OK);
        world.stop().await;
    }
}

/// Fifty requests with one assertion at once, over two nodes of one database: one passes.
#[tokio::test(flavor = "multi_thread")]
async fn of_many_racing_uses_of_one_assertion_one_passes() {
    for database in TestDatabase::both().await {
        let one = World::start(&database).await;
        let two = World::node(&database, 2, Some(&one.issuer)).await;
        let assertion = one.assertion(&one.id("acme", "jwt"), &assertion_key(), &json!({}));
        let uses =
            (0..50).map(|number| if number % 2 == 0 { &one } else { &two }.assertion_grant(&assertion));
        let replies = join_all(uses).await;
        let count = |status: StatusCode| replies.iter().filter(|reply| reply.status == status).count();
        assert_eq!(count(StatusCode::OK), 1, "{:?}", database.engine());
        // After ten failures the throttle refuses unseen.
        assert_eq!(count(StatusCode::UNAUTHORIZED) + count(StatusCode::TOO_MANY_REQUESTS), 49);
        two.stop().await;
        one.stop().await;
    }
}

#[tokio::test]
async fn assertions_with_other_claims_are_refused() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let id = world.id("acme", "jwt");
    let changes: [fn(i64, &World) -> Value; 14] = [
        |_, world| json!({"aud": world.at("/oauth2/token")}),
        |_, world| json!({"aud": [world.issuer, "https://other.example"]}),
        |_, _| json!({"aud": "https://other.example"}),
        |_, _| json!({"aud": null}),
        |_, _| json!({"iss": "cli_other"}),
        |_, _| json!({"jti": null}),
        |_, _| json!({"exp": null}),
        |now, _| json!({"exp": (now + 60).to_string()}),
        |now, _| json!({"exp": now + 3601}),
        |now, _| json!({"exp": now}),
        |now, _| json!({"exp": now + 315_360_000}),
        |now, _| json!({"nbf": now + 11}),
        |now, _| json!({"iat": now + 61}),
        |_, _| json!({"nbf": "soon"}),
    ];
    for change in changes {
        world.clock.advance(7); // fewer than ten failures in any minute
        let change = change(world.now().0, &world);
        let assertion = world.assertion(&id, &assertion_key(), &change);
        let reply = world.assertion_grant(&assertion).await;
        reply.oauth_refused(401, "invalid_client");
    }
    let now = world.now().0;
    let latest = world.assertion(&id, &assertion_key(), &json!({"exp": now + 3600}));
    assert_eq!(world.assertion_grant(&latest).await.status, StatusCode::OK);
    let ahead = world.assertion(&id, &assertion_key(), &json!({"nbf": now + 10, "iat": now + 10}));
    assert_eq!(world.assertion_grant(&ahead).await.status, StatusCode::OK);
    world.stop().await;
}

#[tokio::test]
async fn only_a_client_that_is_allowed_to_may_name_the_endpoint_as_audience() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let endpoint = json!({"aud": world.at("/oauth2/token")});
    let legacy = world.assertion(&world.id("acme", "legacy"), &assertion_key(), &endpoint);
    assert_eq!(world.assertion_grant(&legacy).await.status, StatusCode::OK);
    let strict = world.assertion(&world.id("acme", "jwt"), &assertion_key(), &endpoint);
    world.assertion_grant(&strict).await.oauth_refused(401, "invalid_client");
    world.stop().await;
}

#[tokio::test]
async fn forged_algorithms_and_headers_are_refused() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let id = world.id("acme", "jwt");
    let sound = world.assertion(&id, &assertion_key(), &json!({}));
    let mut parts = sound.split('.');
    let (header, payload, signature) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
    let header: Value = serde_json::from_slice(&keys::b64::decode(header).unwrap()).unwrap();
    let with = |change: Value| {
        let mut header = header.clone();
        for (name, value) in change.as_object().unwrap() {
            header[name] = value.clone();
        }
        format!("{}.{payload}.{signature}", keys::b64::encode(header.to_string().as_bytes()))
    };
    let jwk = assertion_key().public_jwk().to_value();
    let mut forged = vec![
        with(json!({"alg": "none"})),
        with(json!({"alg": "None"})),
        with(json!({"alg": "HS256"})),
        with(json!({"alg": "RS256"})),
        with(json!({"jwk": jwk})),
        with(json!({"jku": "https://evil.example/jwks"})),
        with(json!({"x5u": "https://evil.example/cert"})),
        with(json!({"crit": ["exp"]})),
        with(json!({"b64": false})),
    ];
    let other = SigningKey::es256_from_seed([99; 32]).unwrap();
    forged.push(world.assertion(&id, &other, &json!({})));
    forged.push(world.assertion(&id, &other.with_kid(assertion_key().kid()).unwrap(), &json!({})));
    forged.push(format!("{}.{payload}.", sound.split('.').next().unwrap()));
    for assertion in forged {
        world.clock.advance(7); // fewer than ten failures in any minute
        world.assertion_grant(&assertion).await.oauth_refused(401, "invalid_client");
    }
    world.assertion_grant("not a jwt").await.oauth_refused(401, "invalid_client");
    world.stop().await;
}

#[tokio::test]
async fn a_used_assertion_stays_used_after_a_restart() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let id = world.id("acme", "jwt");
        let assertion = world.assertion(&id, &assertion_key(), &json!({}));
        assert_eq!(world.assertion_grant(&assertion).await.status, StatusCode::OK);
        let issuer = world.issuer.clone();
        world.stop().await;
        let again = World::node(&database, 2, Some(&issuer)).await;
        again.assertion_grant(&assertion).await.oauth_refused(401, "invalid_client");
        again.stop().await;
    }
}
