//! Tokens bound to a key (RFC 9449) at the token endpoint, on management paths and in one-time user tokens: rows I1 to
//! I5 and, for clients that must bind, I7 of the security checklist.

use chassis::testing::TestDatabase;
use keys::{SigningKey, UnixSeconds, dpop::NewProof};
use reqwest::StatusCode;
use serde_json::json;

use crate::{
    platform::signature_key,
    world::{RESOURCE_API, Reply, ToSign, World, payload},
};

const GRANT: [(&str, &str); 2] = [("grant_type", "client_credentials"), ("scope", "fiat_ins:read")];
const MANAGE: [(&str, &str); 2] = [("grant_type", "client_credentials"), ("scope", "users:read")];

fn device() -> SigningKey {
    SigningKey::es256_from_seed([42; 32]).unwrap()
}

/// A proof for `method` at `path`, with everything right.
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
    fn token(world: &World, jti: &'a str) -> Self {
        let (iat, key) = (world.now(), device());
        Self { method: "POST", path: "/oauth2/token", jti, iat, nonce: None, token: None, key }
    }

    fn call(world: &World, jti: &'a str, path: &'a str, token: &'a str) -> Self {
        Self { method: "GET", path, token: Some(token), ..Self::token(world, jti) }
    }

    fn sign(&self, world: &World) -> String {
        let uri = world.at(self.path);
        let Self { method, jti, iat, nonce, token, .. } = *self;
        NewProof { method, uri: &uri, jti, iat, access_token: token, nonce }.sign(&self.key).unwrap()
    }
}

/// The grant of the partner's `client` with these proofs, each in a header of its own.
async fn grant(world: &World, client: &str, form: &[(&str, &str)], proofs: &[&str]) -> Reply {
    let (id, secret) = (world.id("acme", client), world.secret("acme", client));
    let mut request = world.http.post(world.at("/oauth2/token")).basic_auth(id, Some(secret)).form(form);
    for proof in proofs {
        request = request.header("dpop", *proof);
    }
    world.send(request).await
}

async fn call(world: &World, path: &str, authorization: String, proof: Option<&str>) -> Reply {
    let mut request = world.http.get(world.at(path)).header("authorization", authorization);
    if let Some(proof) = proof {
        request = request.header("dpop", proof);
    }
    world.send(request).await
}

#[tokio::test]
async fn a_token_request_with_a_proof_gets_a_token_bound_to_its_key() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        for client in ["backend", "bound"] {
            let proof = Plan::token(&world, client).sign(&world);
            let reply = grant(&world, client, &GRANT, &[&proof]).await;
            assert_eq!(reply.status, StatusCode::OK, "{}", reply.json);
            assert_eq!(reply.json["token_type"], "DPoP");
            assert_eq!(reply.header("dpop-nonce"), "", "nonces are off by default");
            let claims = payload(reply.json["access_token"].as_str().unwrap());
            assert_eq!(claims["cnf"], json!({"jkt": device().public_jwk().thumbprint()}));
        }
        let plain = grant(&world, "backend", &GRANT, &[]).await;
        assert_eq!((plain.status, &plain.json["token_type"]), (StatusCode::OK, &json!("Bearer")));
        assert_eq!(payload(plain.json["access_token"].as_str().unwrap()).get("cnf"), None);
        world.stop().await;
    }
}

/// Row I7 for a client that must bind: no token without a key, on no path.
#[tokio::test]
async fn a_client_that_must_bind_gets_no_token_without_a_key() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    world.register("acme", "backend", "alice").await;
    grant(&world, "bound", &GRANT, &[]).await.oauth_refused(400, "invalid_dpop_proof");
    let form = [GRANT[0], ("scope", "user_tokens:write")];
    let proof = Plan::token(&world, "jti-1").sign(&world);
    let reply = grant(&world, "bound", &form, &[&proof]).await;
    let token = reply.json["access_token"].as_str().unwrap();
    let mut body =
        json!({"external_id": "alice", "method": "POST", "url": format!("{RESOURCE_API}/v1/fiat-ins")});
    for (jkt, status) in [(None, 422), (Some(device().public_jwk().thumbprint()), 201)] {
        if let Some(jkt) = jkt {
            body["dpop_jkt"] = json!(jkt);
        }
        let reply = signed_ask(&world, token, &body.to_string(), &format!("jti-{status}")).await;
        assert_eq!(reply.status.as_u16(), status, "{}", reply.json);
        if status == 422 {
            assert_eq!(reply.json["errors"][0], json!({"pointer": "/dpop_jkt", "code": "required"}));
        }
    }
    world.stop().await;
}

/// A signed `POST /v1/user-tokens` with a bound client token; the signature covers the proof.
async fn signed_ask(world: &World, token: &str, body: &str, jti: &str) -> Reply {
    let path = "/v1/user-tokens";
    let authorization = format!("DPoP {token}");
    let proof = Plan { method: "POST", ..Plan::call(world, jti, path, token) }.sign(world);
    let request = ToSign {
        method: "POST",
        path,
        authorization: Some(&authorization),
        dpop: Some(&proof),
        content_type: Some("application/json"),
        body,
    };
    let headers = world.signature(&request, &signature_key(), jti);
    world.send(world.http.post(world.at(path)).headers(headers).body(body.to_owned())).await
}

#[tokio::test]
async fn a_user_token_can_be_bound_to_a_devices_key() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        world.register("acme", "backend", "alice").await;
        let token = world.management_token("acme", "issuer", "user_tokens:write").await;
        let jkt = device().public_jwk().thumbprint();
        let url = format!("{RESOURCE_API}/v1/fiat-ins");
        let body = json!({"external_id": "alice", "method": "POST", "url": url, "dpop_jkt": jkt});
        let reply = world.signed_post(&token, "/v1/user-tokens", &body, "n-1").await;
        assert_eq!((reply.status, &reply.json["token_type"]), (StatusCode::CREATED, &json!("DPoP")));
        let claims = payload(reply.json["access_token"].as_str().unwrap());
        assert_eq!(claims["cnf"], json!({ "jkt": jkt }));
        world.stop().await;
    }
}

/// Row I1.
#[tokio::test]
async fn a_bad_proof_gets_no_token_whether_or_not_one_was_needed() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let now = world.now();
    let plan = || Plan::token(&world, "jti-1");
    let good = plan().sign(&world);
    let cases = [
        Plan { method: "GET", ..plan() },
        Plan { path: "/oauth2/other", ..plan() },
        Plan { iat: now.plus(-61), ..plan() },
        Plan { iat: now.plus(11), ..plan() },
        Plan { jti: "", ..plan() },
    ];
    for client in ["backend", "bound"] {
        for case in &cases {
            let proof = case.sign(&world);
            grant(&world, client, &GRANT, &[&proof]).await.oauth_refused(400, "invalid_dpop_proof");
        }
        grant(&world, client, &GRANT, &[&good, &good]).await.oauth_refused(400, "invalid_dpop_proof");
        grant(&world, client, &GRANT, &["not-a-proof"]).await.oauth_refused(400, "invalid_dpop_proof");
    }
    let with_query = NewProof {
        method: "POST",
        uri: &format!("{}?a=b#c", world.at("/oauth2/token").replace("http", "HTTP")),
        jti: "jti-q",
        iat: now,
        access_token: None,
        nonce: None,
    };
    let with_query = with_query.sign(&device()).unwrap();
    assert_eq!(grant(&world, "backend", &GRANT, &[&with_query]).await.status, StatusCode::OK);
    let wrong =
        world.http.post(world.at("/oauth2/token")).basic_auth(world.id("acme", "backend"), Some("wrong"));
    let wrong = world.send(wrong.form(&GRANT).header("dpop", &good)).await;
    wrong.oauth_refused(401, "invalid_client");
    assert_eq!(grant(&world, "backend", &GRANT, &[&good]).await.status, StatusCode::OK, "nothing spent it");
    world.stop().await;
}

/// Row I3: in sequence, in parallel, by another client, on another node and after a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_proof_gets_one_token_on_whatever_node() {
    for database in TestDatabase::both().await {
        let first = World::start(&database).await;
        let second = World::node(&database, 2, Some(&first.base)).await;
        let proof = Plan::token(&first, "jti-1").sign(&first);
        let host = first.base.strip_prefix("http://").unwrap();
        let send = async |world: &World, client: &str| {
            let (id, secret) = (first.id("acme", client), first.secret("acme", client));
            let request =
                world.http.post(world.at("/oauth2/token")).basic_auth(id, Some(secret)).form(&GRANT);
            world.send(request.header("host", host).header("dpop", &proof)).await
        };
        let here = (0..8).map(|_| send(&first, "backend"));
        let there = (0..8).map(|_| send(&second, "backend"));
        let (here, there) = tokio::join!(join_all(here), join_all(there));
        let replies: Vec<_> = here.into_iter().chain(there).collect();
        assert_eq!(replies.iter().filter(|reply| reply.status == StatusCode::OK).count(), 1);
        for reply in replies.iter().filter(|reply| reply.status != StatusCode::OK) {
            reply.oauth_refused(400, "invalid_dpop_proof");
        }
        send(&second, "post").await.oauth_refused(401, "invalid_client");
        send(&second, "issuer").await.oauth_refused(400, "invalid_dpop_proof");
        second.stop().await;
        let restarted = World::node(&database, 3, Some(&first.base)).await;
        send(&restarted, "backend").await.oauth_refused(400, "invalid_dpop_proof");
        restarted.stop().await;
        first.stop().await;
    }
}

async fn join_all<F: Future<Output = Reply>>(sent: impl Iterator<Item = F>) -> Vec<Reply> {
    futures_util::future::join_all(sent).await
}

/// Row I5.
#[tokio::test]
async fn in_nonce_mode_the_challenge_brings_the_nonce_and_every_node_knows_it() {
    for database in TestDatabase::both().await {
        let on = |config: &mut authz::Config| config.dpop_nonce_required = true;
        let world = World::tuned_node(&database, 1, None, on).await;
        let (id, secret) = (world.id("acme", "backend"), world.secret("acme", "backend"));
        let ask = async |node: &World, jti: &str, nonce: Option<&str>| {
            let proof = Plan { nonce, ..Plan::token(node, jti) }.sign(node);
            let request = node.http.post(node.at("/oauth2/token")).basic_auth(&id, Some(&secret));
            node.send(request.form(&MANAGE).header("dpop", &proof)).await
        };
        let challenge = ask(&world, "jti-1", None).await;
        challenge.oauth_refused(400, "use_dpop_nonce");
        let nonce = challenge.header("dpop-nonce");
        let granted = ask(&world, "jti-1", Some(nonce)).await;
        assert_eq!((granted.status, granted.header("dpop-nonce")), (StatusCode::OK, nonce));
        let other = World::tuned_node(&database, 2, None, on).await;
        assert_eq!(ask(&other, "jti-2", Some(nonce)).await.status, StatusCode::OK);
        for bad in ["AAAAAAAAAAAAAAAAAAAAAAAA", "x"] {
            ask(&world, "jti-3", Some(bad)).await.oauth_refused(400, "use_dpop_nonce");
        }
        let token = granted.json["access_token"].as_str().unwrap();
        let path = "/v1/users/usr_x";
        let plan = |jti, nonce| Plan { nonce, ..Plan::call(&world, jti, path, token) };
        let bare = call(&world, path, format!("DPoP {token}"), Some(&plan("jti-4", None).sign(&world))).await;
        bare.refused(401, "use_dpop_nonce");
        assert_eq!(bare.header("dpop-nonce"), nonce);
        let proof = plan("jti-4", Some(nonce)).sign(&world);
        let found = call(&world, path, format!("DPoP {token}"), Some(&proof)).await;
        assert_eq!((found.status.as_u16(), found.header("dpop-nonce")), (404, nonce));
        world.clock.advance(121);
        ask(&world, "jti-5", Some(nonce)).await.oauth_refused(400, "use_dpop_nonce");
        other.stop().await;
        world.stop().await;
    }
}

#[tokio::test]
async fn a_stale_nonce_is_challenged_even_where_none_is_needed() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let proof = Plan { nonce: Some("stale"), ..Plan::token(&world, "jti-1") }.sign(&world);
    let challenge = grant(&world, "backend", &GRANT, &[&proof]).await;
    challenge.oauth_refused(400, "use_dpop_nonce");
    let nonce = challenge.header("dpop-nonce");
    let proof = Plan { nonce: Some(nonce), ..Plan::token(&world, "jti-1") }.sign(&world);
    assert_eq!(grant(&world, "backend", &GRANT, &[&proof]).await.status, StatusCode::OK);
    world.stop().await;
}

/// Row I4 on management paths.
#[tokio::test]
async fn a_bound_token_needs_its_keys_proof_on_management_paths() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let sub = world.register("acme", "backend", "alice").await;
        let path = format!("/v1/users/{sub}");
        let proof = Plan::token(&world, "jti-1").sign(&world);
        let reply = grant(&world, "bound", &MANAGE, &[&proof]).await;
        let token = reply.json["access_token"].as_str().unwrap();
        let unbound = world.management_token("acme", "backend", "users:read").await;
        let plan = |jti| Plan::call(&world, jti, &path, token);
        let good = plan("jti-2").sign(&world);
        let other = SigningKey::es256_from_seed([43; 32]).unwrap();
        let cases = [
            (format!("Bearer {token}"), None, "invalid_token"),
            (format!("Bearer {token}"), Some(good.clone()), "invalid_token"),
            (format!("DPoP {token}"), None, "invalid_dpop_proof"),
            (format!("DPoP {unbound}"), Some(good.clone()), "invalid_token"),
            (
                format!("DPoP {token}"),
                Some(Plan { token: None, ..plan("a") }.sign(&world)),
                "invalid_dpop_proof",
            ),
            (
                format!("DPoP {token}"),
                Some(Plan { token: Some(&unbound), ..plan("b") }.sign(&world)),
                "invalid_dpop_proof",
            ),
            (
                format!("DPoP {token}"),
                Some(Plan { path: "/v1/users", ..plan("c") }.sign(&world)),
                "invalid_dpop_proof",
            ),
            (format!("DPoP {token}"), Some(Plan { key: other, ..plan("d") }.sign(&world)), "invalid_token"),
        ];
        for (authorization, proof, code) in cases {
            let reply = call(&world, &path, authorization, proof.as_deref()).await;
            reply.refused(401, code);
            let challenge = reply.header("www-authenticate");
            assert!(challenge.starts_with("DPoP ") && challenge.contains("algs=\"ES256 "), "{challenge}");
        }
        let found = call(&world, &path, format!("DPoP {token}"), Some(&good)).await;
        assert_eq!((found.status, &found.json["sub"]), (StatusCode::OK, &json!(sub)), "{}", found.json);
        call(&world, &path, format!("DPoP {token}"), Some(&good)).await.refused(401, "invalid_dpop_proof");
        world.stop().await;
    }
}

#[tokio::test]
async fn the_setting_is_shown_and_the_metadata_lists_the_algorithms() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let document = world.send(world.http.get(world.at("/.well-known/oauth-authorization-server"))).await;
    let algorithms = json!(["ES256", "EdDSA", "PS256", "RS256"]);
    assert_eq!(document.json["dpop_signing_alg_values_supported"], algorithms);
    let token = world.management_token("beta", "backend", "clients:read clients:write").await;
    let body = json!({"alias": "new", "token_endpoint_auth_method": "client_secret_basic", "scope": "users:read",
        "grant_types": ["client_credentials"], "dpop_required": true});
    let created = world.post(&token, "/v1/clients", &body).await;
    assert_eq!((created.status, &created.json["dpop_required"]), (StatusCode::CREATED, &json!(true)));
    let path = format!("/v1/clients/{}", created.json["client_id"].as_str().unwrap());
    assert_eq!(world.get(&token, &path).await.json["dpop_required"], true);
    world.stop().await;
}
