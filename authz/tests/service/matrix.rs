//! Every management path with every kind of token, scope and signature: what it demands stands in its OpenAPI
//! extensions.

use chassis::testing::TestDatabase;
use keys::{
    SigningKey, UnixSeconds,
    token::{AccessToken, OperationGrant, Scope, TokenKind},
};
use reqwest::Method;
use serde_json::Value;

use crate::world::{NOW, RESOURCE_API, World};

struct Operation {
    method: Method,
    path: String,
    scopes: Vec<String>,
    kinds: Vec<String>,
}

/// Every operation of the document that takes a bearer token, its path with sample ids.
async fn operations(world: &World) -> Vec<Operation> {
    let document = world.send(world.http.get(world.at("/openapi.json"))).await.json;
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let texts = |name: &str| -> Vec<String> {
                let list =
                    operation[name].as_array().unwrap_or_else(|| panic!("{method} {path} lacks {name}"));
                list.iter().map(|text| text.as_str().unwrap().to_owned()).collect()
            };
            assert!(operation["x-idempotent"].is_boolean(), "{method} {path}");
            let (scopes, kinds) = (texts("x-scopes"), texts("x-token-kinds"));
            if kinds.is_empty() {
                assert!(!path.starts_with("/v1/"), "{method} {path} is open");
                continue;
            }
            assert!(path.starts_with("/v1/") && !scopes.is_empty(), "{method} {path}");
            let path = path
                .replace("{sub}", "usr_1")
                .replace("{client_id}", "cli_1")
                .replace("{partner_id}", "par_1");
            found.push(Operation { method: method.to_uppercase().parse().unwrap(), path, scopes, kinds });
        }
    }
    assert!(found.len() >= 17, "{} operations", found.len());
    found
}

fn token(world: &World, kind: TokenKind, scope: &Scope) -> AccessToken {
    let client_id = world.id("acme", "backend");
    let is_client = kind == TokenKind::Client;
    let has_session = !matches!(kind, TokenKind::Client | TokenKind::OneTime);
    AccessToken {
        iss: world.issuer.clone(),
        aud: world.issuer.clone(),
        sub: if is_client { client_id.clone() } else { "usr_1".into() },
        client_id,
        jti: world.platform.new_id("tok"),
        partner_id: world.partner_id("acme"),
        iat: UnixSeconds(NOW),
        exp: UnixSeconds(NOW + 60),
        kind,
        scope: if kind == TokenKind::OneTime { Scope::default() } else { scope.clone() },
        sid: has_session.then(|| "ses_1".into()),
        act: None,
        cnf_jkt: None,
        cnf_x5t: None,
        operation: (kind == TokenKind::OneTime).then(|| OperationGrant {
            method: "POST".into(),
            uri: format!("{}/v1/users", world.issuer),
            money: None,
            entity_id: None,
        }),
        process_id: (kind == TokenKind::Process).then(|| "prc_1".into()),
        roles: if kind == TokenKind::Employee { vec!["Officer".into()] } else { Vec::new() },
        acr: None,
        auth_time: None,
        external_id: None,
    }
}

async fn call(world: &World, operation: &Operation, token: &str) -> crate::world::Reply {
    let request = world.http.request(operation.method.clone(), world.at(&operation.path)).bearer_auth(token);
    let request =
        if operation.method == Method::GET { request } else { request.json(&serde_json::json!({})) };
    world.send(request).await
}

#[tokio::test]
async fn a_token_of_a_kind_that_is_not_listed_is_refused_everywhere() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    for operation in operations(&world).await {
        let scope: Scope = operation.scopes.join(" ").parse().unwrap();
        for kind in TokenKind::ALL {
            if operation.kinds.iter().any(|listed| listed == kind.as_str()) {
                continue;
            }
            let minted = world.mint(&token(&world, kind, &scope)).await;
            let reply = call(&world, &operation, &minted).await;
            if kind == TokenKind::OneTime {
                reply.refused(401, "invalid_token");
            } else {
                reply.refused(403, "wrong_token_kind");
            }
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn a_token_without_the_scope_is_refused_everywhere() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    for operation in operations(&world).await {
        // The scope in the token alone does not help either when the client's policy lacks it.
        let powerless = token(&world, TokenKind::Client, &"openid".parse().unwrap());
        let reply = call(&world, &operation, &world.mint(&powerless).await).await;
        reply.refused(403, "insufficient_scope");
        let challenge = reply.header("www-authenticate");
        assert!(
            challenge.contains("error=\"insufficient_scope\"") && challenge.contains(&operation.scopes[0])
        );
    }
    let mut beyond = token(&world, TokenKind::Client, &"partners:write".parse().unwrap());
    beyond.aud.clone_from(&world.issuer);
    let minted = world.mint(&beyond).await;
    world.get(&minted, "/v1/partners").await.refused(403, "insufficient_scope");
    world.stop().await;
}

#[tokio::test]
async fn a_token_that_does_not_verify_is_refused_everywhere() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let users: Scope = "users:read".parse().unwrap();
    let sound = token(&world, TokenKind::Client, &users);
    let minted = world.mint(&sound).await;
    let stranger = SigningKey::es256_from_seed([55; 32]).unwrap();
    let change = |change: &dyn Fn(&mut AccessToken)| {
        let mut changed = sound.clone();
        change(&mut changed);
        changed
    };
    let bad = [
        sound.sign(&stranger).unwrap(),
        world.mint(&change(&|token| token.aud = RESOURCE_API.into())).await,
        world.mint(&change(&|token| token.iss = "http://127.0.0.1:1".into())).await,
        world.mint(&change(&|token| token.exp = UnixSeconds(NOW))).await,
        world.mint(&change(&|token| token.iat = UnixSeconds(NOW + 11))).await,
        world.mint(&change(&|token| token.partner_id = world.partner_id("beta"))).await,
        world.mint(&change(&|token| token.client_id = "cli_unknown".into())).await,
        format!("{minted}A"),
        minted[..minted.len() - 2].to_owned(),
        "nonsense".to_owned(),
    ];
    for operation in operations(&world).await {
        for token in &bad {
            let reply = call(&world, &operation, token).await;
            reply.refused(401, "invalid_token");
            assert!(reply.header("www-authenticate").contains("error=\"invalid_token\""));
        }
        let request = world.http.request(operation.method.clone(), world.at(&operation.path));
        let reply = world.send(request).await;
        reply.refused(401, "invalid_token");
        assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"countersign\"");
    }
    assert_eq!(world.get(&minted, "/v1/users/usr_1").await.status.as_u16(), 404);
    world.stop().await;
}

#[tokio::test]
async fn a_signing_client_must_sign_its_management_calls() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let mut signed = token(&world, TokenKind::Client, &"users:read".parse().unwrap());
    signed.client_id = world.id("acme", "signed");
    signed.sub.clone_from(&signed.client_id);
    let minted = world.mint(&signed).await;
    world.get(&minted, "/v1/users/usr_1").await.refused(401, "signature_required");
    let authorization = format!("Bearer {minted}");
    let request = crate::world::ToSign {
        method: "GET",
        path: "/v1/users/usr_1",
        authorization: Some(&authorization),
        dpop: None,
        content_type: None,
        body: "",
    };
    let headers = world.signature(&request, &crate::platform::signature_key(), "n-1");
    let reply = world.send(world.http.get(world.at("/v1/users/usr_1")).headers(headers)).await;
    reply.refused(404, "not_found");
    assert_ne!(reply.json["detail"], Value::Null);
    world.stop().await;
}
