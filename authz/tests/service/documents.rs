//! Discovery, JWKS, OpenAPI, probes.

use chassis::testing::TestDatabase;
use reqwest::StatusCode;
use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn both_discovery_paths_answer_the_same_true_document() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let mut documents = Vec::new();
    for path in ["/.well-known/openid-configuration", "/.well-known/oauth-authorization-server"] {
        let reply = world.send(world.http.get(world.at(path))).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.header("content-type"), "application/json");
        assert!(reply.header("cache-control").contains("max-age"));
        documents.push(reply.json);
    }
    assert_eq!(documents[0], documents[1]);
    let document = &documents[0];
    assert_eq!(document["issuer"], world.issuer);
    assert_eq!(document["token_endpoint"], format!("{}/oauth2/token", world.issuer));
    assert_eq!(document["grant_types_supported"], json!(["client_credentials"]));
    assert_eq!(
        document["token_endpoint_auth_methods_supported"],
        json!(["client_secret_basic", "client_secret_post", "private_key_jwt"])
    );
    assert_eq!(document.get("tls_client_certificate_bound_access_tokens"), None, "no listener asks for one");
    let scopes = document["scopes_supported"].as_array().unwrap();
    assert!(scopes.contains(&json!("fiat_ins:execute")) && scopes.contains(&json!("directory:read")));
    assert!(!scopes.contains(&json!("openid")), "no grant of this build gives an ID token");
    world.stop().await;
}

#[tokio::test]
async fn an_unknown_host_is_misdirected() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let path = world.at("/.well-known/openid-configuration");
    let reply = world.send(world.http.get(path).header("host", "evil.example")).await;
    reply.refused(421, "misdirected_request");
    world.stop().await;
}

#[tokio::test]
async fn the_jwks_has_public_members_only() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let reply = world.send(world.http.get(world.at("/oauth2/jwks"))).await;
        assert_eq!(reply.header("content-type"), "application/jwk-set+json");
        assert_eq!(reply.header("cache-control"), "public, max-age=300");
        let keys = reply.json["keys"].as_array().unwrap();
        assert!(!keys.is_empty());
        for key in keys {
            assert_eq!(
                (&key["kty"], &key["alg"], &key["use"]),
                (&json!("EC"), &json!("ES256"), &json!("sig"))
            );
            assert!(key["kid"].is_string());
            for private in ["d", "p", "q", "k"] {
                assert_eq!(key.get(private), None);
            }
        }
        world.stop().await;
    }
}

#[tokio::test]
async fn the_documentation_is_served_offline() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let document = world.send(world.http.get(world.at("/openapi.json"))).await.json;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let page = world.send(world.http.get(world.at("/docs/"))).await;
    assert_eq!(page.status, StatusCode::OK);
    let script = world.http.get(world.at("/docs/swagger-ui-bundle.js")).send().await.unwrap();
    assert_eq!(script.status(), StatusCode::OK);
    assert!(!page.json.as_str().unwrap().contains("https://"));
    world.stop().await;
}

#[tokio::test]
async fn probes_and_metrics_are_on_the_ops_listener_only() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        for path in ["/livez", "/readyz", "/metrics"] {
            let private = world.send(world.http.get(format!("{}{path}", world.ops))).await;
            assert_eq!(private.status, StatusCode::OK, "{path}: {}", private.json);
            world.send(world.http.get(world.at(path))).await.refused(404, "unknown_path");
        }
        let ready = world.send(world.http.get(format!("{}/readyz", world.ops))).await.json;
        let names: Vec<_> =
            ready["checks"].as_array().unwrap().iter().map(|check| check["name"].clone()).collect();
        assert_eq!(names, ["migrated", "database", "signing_key"]);
        world.stop().await;
    }
}

#[tokio::test]
async fn a_service_that_would_speak_plain_http_to_the_world_does_not_start() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let mut config = world.config.clone();
    config.issuer = "http://id.example.com".parse().unwrap();
    let listeners = authz::Listeners { public: Vec::new(), ops: Vec::new(), ops_routes: axum::Router::new() };
    let shutdown = chassis::shutdown::Shutdown::new();
    let refused = authz::start(config, listeners, world.platform.clone(), shutdown).await.err().unwrap();
    assert!(refused.to_string().contains("issuer: http://id.example.com must be https"), "{refused}");
    world.stop().await;
}

/// Public clients, for whose browsers a cross-origin answer would be, have no grant yet.
#[tokio::test]
async fn no_foreign_page_may_read_an_answer() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    for path in ["/oauth2/token", "/oauth2/jwks", "/.well-known/openid-configuration"] {
        for method in [reqwest::Method::OPTIONS, reqwest::Method::GET] {
            let request = world.http.request(method, world.at(path)).header("origin", "https://evil.example");
            let reply = world.send(request.header("access-control-request-method", "POST")).await;
            assert!(reply.headers.keys().all(|name| !name.as_str().starts_with("access-control-")), "{path}");
        }
    }
    world.stop().await;
}

#[tokio::test]
async fn a_path_written_otherwise_is_another_path() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let address = world.base.strip_prefix("http://").unwrap();
    for path in
        ["/oauth2/token/", "//oauth2/token", "/oauth2/%74oken", "/oauth2/token;x=1", "/x/../oauth2/token"]
    {
        // A client library would tidy the path up.
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        );
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        tokio::io::AsyncWriteExt::write_all(&mut stream, head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::io::AsyncReadExt::read_to_string(&mut stream, &mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 404"), "{path}: {answer}");
    }
    world.stop().await;
}

#[tokio::test]
async fn every_guarded_operation_names_its_security_scheme() {
    let document = serde_json::to_value(authz::http::openapi()).unwrap();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let guarded = path.starts_with("/v1/");
            let expected = if guarded { json!([{"bearer": []}]) } else { json!(null) };
            assert_eq!(operation["security"], expected, "{method} {path}");
        }
    }
}
