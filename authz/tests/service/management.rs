//! `/v1/partners` and `/v1/clients`.

use chassis::testing::TestDatabase;
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::{platform::signature_key, world::World};

const ADMIN: &str = "platform:admin partners:write clients:read clients:write";

#[tokio::test]
async fn the_platform_creates_a_partner_and_its_client_which_then_gets_a_token() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let admin = world.management_token("platform", "admin", ADMIN).await;
        let partner =
            world.post(&admin, "/v1/partners", &json!({"alias": "gamma", "name": "Gamma Ltd"})).await;
        assert_eq!(partner.status, StatusCode::CREATED, "{}", partner.json);
        assert_eq!(
            (&partner.json["status"], &partner.json["is_platform"]),
            (&json!("active"), &json!(false))
        );
        let taken = world.post(&admin, "/v1/partners", &json!({"alias": "gamma", "name": "Other"})).await;
        taken.refused(409, "alias_taken");
        let new = json!({
            "alias": "backend", "partner_id": partner.json["id"], "scope": "fiat_ins:read",
            "token_endpoint_auth_method": "client_secret_basic", "grant_types": ["client_credentials"],
            "signature_keys": [signature_key().public_jwk().to_value()],
        });
        let client = world.post(&admin, "/v1/clients", &new).await;
        assert_eq!(client.status, StatusCode::CREATED, "{}", client.json);
        world.post(&admin, "/v1/clients", &new).await.refused(409, "alias_taken");
        let (id, secret) =
            (client.json["client_id"].as_str().unwrap(), client.json["client_secret"].as_str().unwrap());
        let form = [("grant_type", "client_credentials")];
        let granted = world.token_basic(id, secret, &form).await;
        assert_eq!(granted.status, StatusCode::OK, "{}", granted.json);
        let shown = world.get(&admin, &format!("/v1/clients/{id}")).await;
        assert_eq!(shown.json.get("client_secret"), None);
        assert_eq!(shown.json["signature_keys"][0]["kty"], "OKP");
        let rotated = world.post(&admin, &format!("/v1/clients/{id}/rotate-secret"), &json!({})).await;
        let fresh = rotated.json["client_secret"].as_str().unwrap();
        world.token_basic(id, secret, &form).await.oauth_refused(401, "invalid_client");
        assert_eq!(world.token_basic(id, fresh, &form).await.status, StatusCode::OK);
        let path = format!("/v1/partners/{}/disable", partner.json["id"].as_str().unwrap());
        assert_eq!(world.post(&admin, &path, &json!({})).await.json["status"], "disabled");
        world.token_basic(id, fresh, &form).await.oauth_refused(401, "invalid_client");
        let enabled = world.post(&admin, &path.replace("disable", "enable"), &json!({})).await;
        assert_eq!(enabled.json["status"], "active");
        assert_eq!(world.token_basic(id, fresh, &form).await.status, StatusCode::OK);
        world.stop().await;
    }
}

#[tokio::test]
async fn lists_come_in_pages_and_show_no_secret() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let admin = world.management_token("platform", "admin", ADMIN).await;
        for (path, id, total) in [("/v1/clients", "client_id", 15), ("/v1/partners", "id", 4)] {
            let (mut seen, mut after) = (Vec::new(), String::new());
            loop {
                let page = world.get(&admin, &format!("{path}?limit=3&after={after}")).await.json;
                assert!(!page.to_string().contains("secret\":"), "{page}");
                let ids =
                    page["data"].as_array().unwrap().iter().map(|one| one[id].as_str().unwrap().to_owned());
                seen.extend(ids);
                if page["has_more"] == false {
                    break;
                }
                after.clone_from(seen.last().unwrap());
            }
            let mut sorted = seen.clone();
            sorted.sort();
            sorted.dedup();
            assert_eq!((seen.len(), &seen), (total, &sorted), "{path}");
            world.get(&admin, &format!("{path}?limit=0")).await.refused(422, "value_refused");
            world.get(&admin, &format!("{path}?limit=101")).await.refused(422, "value_refused");
        }
        let own = world.management_token("beta", "backend", "clients:read").await;
        assert_eq!(world.get(&own, "/v1/clients").await.json["data"].as_array().unwrap().len(), 1);
        world.stop().await;
    }
}

#[tokio::test]
async fn a_partner_reaches_its_own_clients_and_no_partner() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let beta = world.management_token("beta", "backend", "clients:read clients:write partners:write").await;
    let foreign = world.id("acme", "backend");
    world.get(&beta, &format!("/v1/clients/{foreign}")).await.refused(404, "not_found");
    for verb in ["disable", "enable", "rotate-secret"] {
        world
            .post(&beta, &format!("/v1/clients/{foreign}/{verb}"), &json!({}))
            .await
            .refused(404, "not_found");
    }
    assert_eq!(world.grant("acme", "backend", &[("scope", "users:read")]).await.status, StatusCode::OK);
    world.get(&beta, "/v1/partners").await.refused(403, "platform_only");
    world
        .post(&beta, "/v1/partners", &json!({"alias": "x", "name": "X"}))
        .await
        .refused(403, "platform_only");
    let (own, acme) = (world.partner_id("beta"), world.partner_id("acme"));
    assert_eq!(world.get(&beta, &format!("/v1/partners/{own}")).await.json["alias"], "beta");
    world.get(&beta, &format!("/v1/partners/{acme}")).await.refused(404, "not_found");
    world.post(&beta, &format!("/v1/partners/{own}/disable"), &json!({})).await.refused(403, "platform_only");
    world.stop().await;
}

#[tokio::test]
async fn settings_that_do_not_go_together_are_refused() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let admin = world.management_token("platform", "admin", ADMIN).await;
    let cases: Vec<(Value, &str)> = vec![
        (json!({"alias": "Not Good"}), "/alias"),
        (json!({"scope": "no:such"}), "/scope"),
        (json!({"allowed_origins": ["http://shop.example/path"]}), "/allowed_origins"),
        (json!({"access_token_ttl_s": 3601}), "/access_token_ttl_s"),
        (json!({"token_endpoint_auth_method": "private_key_jwt"}), "/assertion_keys"),
        (json!({"token_endpoint_auth_method": "none"}), "/grant_types"),
        (json!({"profile": "http_sig"}), "/signature_keys"),
        (json!({"signature_keys": [{"kty": "oct", "k": "AAAA"}]}), "/signature_keys/0"),
        (json!({"signature_keys": [signature_key().to_private_jwk().unwrap()]}), "/signature_keys/0"),
    ];
    for (change, pointer) in cases {
        let mut new = json!({
            "alias": "fresh", "scope": "users:read", "token_endpoint_auth_method": "client_secret_basic",
            "grant_types": ["client_credentials"],
        });
        for (name, value) in change.as_object().unwrap() {
            new[name] = value.clone();
        }
        let reply = world.post(&admin, "/v1/clients", &new).await;
        reply.refused(422, "value_refused");
        assert_eq!(reply.json["errors"][0]["pointer"], pointer, "{}", reply.json);
    }
    let method = json!({"alias": "a", "scope": "", "token_endpoint_auth_method": "tls_client_auth"});
    assert_eq!(world.post(&admin, "/v1/clients", &method).await.status.as_u16() / 100, 4);
    world.stop().await;
}

#[tokio::test]
async fn nobody_gives_away_a_scope_that_it_does_not_hold() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let beta = world.management_token("beta", "backend", "clients:write").await;
    let new = |scope: &str| json!({"alias": "more", "scope": scope, "token_endpoint_auth_method": "client_secret_basic"});
    for scope in ["platform:admin", "fiat_ins:execute", "users:read user_tokens:write"] {
        world.post(&beta, "/v1/clients", &new(scope)).await.refused(403, "scope_not_grantable");
    }
    let within = world.post(&beta, "/v1/clients", &new("users:read")).await;
    assert_eq!(within.status, StatusCode::CREATED, "{}", within.json);
    let id = within.json["client_id"].as_str().unwrap();
    let secret = within.json["client_secret"].as_str().unwrap();
    let refused = world.token_basic(id, secret, &[("grant_type", "client_credentials")]).await;
    refused.oauth_refused(400, "unauthorized_client");
    world.stop().await;
}

#[tokio::test]
async fn the_platform_cannot_lock_itself_out() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let admin = world.management_token("platform", "admin", ADMIN).await;
    let own = format!("/v1/partners/{}/disable", world.partner_id("platform"));
    world.post(&admin, &own, &json!({})).await.refused(409, "own_partner");
    world.post(&admin, "/v1/partners/par_unknown/disable", &json!({})).await.refused(404, "not_found");
    let public = format!("/v1/clients/{}/rotate-secret", world.id("acme", "jwt"));
    world.post(&admin, &public, &json!({})).await.refused(409, "no_secret");
    world.stop().await;
}
