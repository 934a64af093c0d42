//! What an operator does beside the running service: signing keys (row B7), clients (row J8), and a restore (DEC14).

use std::{sync::Arc, time::Duration};

use authz::desk::{Desk, begin_epoch};
use chassis::{Db, db::DbOptions, keyring::KeyRing, on, sqlx, testing::TestDatabase, while_doing};
use keys::{SigningKey, dpop::NewProof};
use reqwest::StatusCode;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use crate::platform::assertion_key;
use crate::world::{RESOURCE_API, Reply, World, header};

/// The ring as `countersign keys` opens it, on connections of its own.
async fn ring_beside(world: &World, database: &TestDatabase) -> Arc<KeyRing> {
    let db = Db::open(database.url(), &DbOptions::default()).await.unwrap();
    let (master, policy) = (world.config.master_keys().unwrap(), world.config.ring_policy());
    KeyRing::open(db, world.platform.clone(), master, policy).await.unwrap()
}

async fn published(world: &World) -> (Vec<String>, String) {
    let reply = world.send(world.http.get(world.at("/oauth2/jwks"))).await;
    let keys = reply.json["keys"].as_array().unwrap().iter();
    let kids = keys.map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
    (kids, reply.header("cache-control").to_owned())
}

async fn signing_kid(world: &World) -> String {
    let token = world.management_token("acme", "backend", "users:read").await;
    header(&token)["kid"].as_str().unwrap().to_owned()
}

/// Asks until the running service has followed.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited in vain: {what}");
}

#[tokio::test]
async fn b7_a_new_key_is_published_for_a_whole_max_age_before_it_signs_and_the_old_one_until_its_last_token_ends()
 {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let (beside, policy) = (ring_beside(&world, &database).await, world.config.ring_policy());
        let old = signing_kid(&world).await;
        let token = world.management_token("acme", "backend", "users:read").await;
        beside.begin_rotation().await.unwrap();
        until("both keys published", async || published(&world).await.0.len() == 2).await;
        let (kids, cache_control) = published(&world).await;
        let new = kids.into_iter().find(|kid| *kid != old).unwrap();
        assert_eq!(cache_control, format!("public, max-age={}", policy.jwks_max_age_s));
        assert!(policy.lead_s() > policy.jwks_max_age_s);

        // Nothing changes before the last cache that lacks the new key has ended.
        world.clock.advance(policy.lead_s() - 1);
        beside.rotate().await.unwrap();
        assert_eq!((beside.active().kid(), signing_kid(&world).await), (&*old, old.clone()));
        assert_eq!(
            world.get(&token, "/v1/users/usr_x").await.status,
            StatusCode::NOT_FOUND,
            "the token is good"
        );
        world.clock.advance(1);
        until("the new key signs", async || signing_kid(&world).await == new).await;
        assert_eq!(world.get(&token, "/v1/users/usr_x").await.status, StatusCode::NOT_FOUND, "still good");

        world.clock.advance(policy.linger_s() - 1);
        beside.rotate().await.unwrap();
        assert!(published(&world).await.0.contains(&old));
        world.clock.advance(1);
        until("the old key is gone", async || published(&world).await.0 == [new.clone()]).await;
        world.stop().await;
    }
}

#[tokio::test]
async fn a_key_that_is_revoked_beside_the_running_service_ends_its_tokens_there() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let beside = ring_beside(&world, &database).await;
        let old = signing_kid(&world).await;
        let token = world.management_token("acme", "backend", "users:read").await;
        assert!(beside.revoke(&old).await.unwrap());
        until("the key is gone", async || !published(&world).await.0.contains(&old)).await;
        assert_eq!(world.get(&token, "/v1/users/usr_x").await.status, StatusCode::UNAUTHORIZED);
        let fresh = world.management_token("acme", "backend", "users:read").await;
        assert_eq!(world.get(&fresh, "/v1/users/usr_x").await.status, StatusCode::NOT_FOUND);
        world.stop().await;
    }
}

/// Takes part in the feed: what it has told, the service's own cache has taken in.
struct Follower {
    token: String,
    seq: i64,
}

impl Follower {
    async fn start(world: &World) -> Self {
        let token = world.management_token("platform", "admin", "directory:read").await;
        let mut follower = Self { token, seq: 0 };
        follower.seq = follower.read(world, "").await["seq"].as_i64().unwrap();
        loop {
            let seq =
                follower.read(world, &format!("?after_seq={}&wait_s=1", follower.seq)).await["seq"].clone();
            if seq == json!(follower.seq) {
                return follower;
            }
            follower.seq = seq.as_i64().unwrap();
        }
    }

    async fn read(&self, world: &World, query: &str) -> Value {
        let reply = world.get(&self.token, &format!("/v1/directory{query}")).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.json);
        reply.json
    }

    async fn next(&mut self, world: &World) {
        let feed = self.read(world, &format!("?after_seq={}&wait_s=10", self.seq)).await;
        let seq = feed["seq"].as_i64().unwrap();
        assert!(seq > self.seq, "nothing changed");
        self.seq = seq;
    }
}

#[tokio::test]
async fn j8_two_secrets_are_good_until_the_old_one_is_ended_or_its_time_is_over() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let mut feed = Follower::start(&world).await;
        let desk = Desk::open(&world.config, world.platform.clone()).await.unwrap();
        let client = desk.find_client("acme/backend").await.unwrap();
        let form = [("grant_type", "client_credentials"), ("scope", "users:read")];
        let status = async |secret: &str| world.token_basic(&client.id, secret, &form).await.status.as_u16();
        let first = world.secret("acme", "backend");

        let second = desk.rotate_secret(&client, 3_600).await.unwrap();
        feed.next(&world).await;
        let second = second.expose_secret();
        assert_eq!((status(&first).await, status(second).await), (200, 200), "both are good");
        assert!(desk.end_old_secret(&client).await.unwrap());
        feed.next(&world).await;
        assert_eq!((status(&first).await, status(second).await), (401, 200));
        assert!(!desk.end_old_secret(&client).await.unwrap(), "there is none any more");

        let third = desk.rotate_secret(&client, 60).await.unwrap();
        feed.next(&world).await;
        let third = third.expose_secret();
        world.clock.advance(59);
        assert_eq!((status(second).await, status(third).await), (200, 200));
        world.clock.advance(1);
        assert_eq!((status(second).await, status(third).await), (401, 200), "its time is over");

        let fourth = desk.rotate_secret(&client, 0).await.unwrap();
        feed.next(&world).await;
        assert_eq!((status(third).await, status(fourth.expose_secret()).await), (401, 200), "void at once");
        desk.disable(&client).await.unwrap();
        feed.next(&world).await;
        assert_eq!(status(fourth.expose_secret()).await, 401);
        assert_eq!(
            actions(world.running.db(), &client.id).await,
            ["client.disabled", "client.old_secret_ended"]
                .into_iter()
                .chain(["client.secret_replaced"; 3])
                .collect::<Vec<_>>()
        );
        desk.close().await;
        world.stop().await;
    }
}

/// What the audit says was done to an object since it was created, in the order of the names.
async fn actions(db: &Db, object_id: &str) -> Vec<String> {
    const LIST: &str = "SELECT action FROM audit_event WHERE object_id = $1 AND action <> 'client.created'
        AND action LIKE 'client.%' ORDER BY action";
    let object_id = object_id.to_owned();
    let rows: Vec<(String,)> = db
        .read(move |tx| {
            Box::pin(async move {
                on!(tx, conn => sqlx::query_as(LIST).bind(object_id).fetch_all(conn).await)
                    .map_err(while_doing("list audit"))
            })
        })
        .await
        .unwrap();
    rows.into_iter().map(|(action,)| action).collect()
}

#[tokio::test]
async fn a_client_added_beside_the_running_service_gets_a_token() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let mut feed = Follower::start(&world).await;
        let desk = Desk::open(&world.config, world.platform.clone()).await.unwrap();
        let mut settings = desk.find_client("acme/backend").await.unwrap().settings;
        let refused = desk.add_client("acme", settings.clone()).await.unwrap_err();
        assert!(refused.to_string().contains("already"), "{refused}");
        settings.alias = "second".into();
        assert!(
            desk.add_client("nobody", settings.clone()).await.unwrap_err().to_string().contains("nobody")
        );
        let (client, secret) = desk.add_client("acme", settings.clone()).await.unwrap();
        feed.next(&world).await;
        let form = [("grant_type", "client_credentials"), ("scope", "users:read")];
        let reply = world.token_basic(&client.id, secret.unwrap().expose_secret(), &form).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.json);
        settings.alias = "No Good".into();
        assert!(
            desk.add_client("acme", settings).await.unwrap_err().to_string().contains("alias: malformed")
        );
        assert!(desk.find_client("acme/none").await.is_err() && desk.find_client("cli_none").await.is_err());
        desk.close().await;
        world.stop().await;
    }
}

/// Forgets what was used, as a restored database has.
async fn forget(db: &Db) {
    db.write(|tx| {
        Box::pin(async move {
            on!(tx, conn => sqlx::query("DELETE FROM replay_guard").execute(conn).await.map(drop))
                .map_err(while_doing("forget"))
        })
    })
    .await
    .unwrap();
}

/// A token request with a proof, by a client with this id and secret.
async fn with_proof(world: &World, (id, secret): (&str, &str), proof: &str) -> Reply {
    let form = [("grant_type", "client_credentials"), ("scope", "fiat_ins:read")];
    let request = world.http.post(world.at("/oauth2/token")).basic_auth(id, Some(secret)).form(&form);
    world.send(request.header("dpop", proof)).await
}

fn proof(world: &World, jti: &str, nonce: Option<&str>) -> String {
    let key = SigningKey::es256_from_seed([42; 32]).unwrap();
    let uri = world.at("/oauth2/token");
    let new = NewProof { method: "POST", uri: &uri, jti, iat: world.now(), access_token: None, nonce };
    new.sign(&key).unwrap()
}

#[tokio::test]
async fn after_a_restore_nothing_that_counts_once_and_was_made_before_is_taken() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let assertion = world.assertion(&world.id("acme", "jwt"), &assertion_key(), &json!({}));
        let undated = world.assertion(&world.id("acme", "jwt"), &assertion_key(), &json!({ "iat": null }));
        for used in [&assertion, &undated] {
            assert_eq!(world.assertion_grant(used).await.status, StatusCode::OK);
        }
        let (id, secret) = (world.id("acme", "backend"), world.secret("acme", "backend"));
        let feed = Follower::start(&world).await;
        forget(world.running.db()).await;
        let epoch = begin_epoch(world.running.db(), &world.platform).await.unwrap();
        assert_eq!((epoch.number(), epoch.voids(world.now())), (1, true));
        // Its numbers may have meant something else: who follows reads everything.
        let again = feed.read(&world, &format!("?after_seq={}", feed.seq)).await;
        assert_eq!(again["snapshot"], true);
        assert!(again["seq"].as_i64().unwrap() >= feed.seq + 1_000_000_000);
        let issuer = world.issuer.clone();
        world.stop().await;

        let world = World::node(&database, 2, Some(&issuer)).await;
        for used in [&assertion, &undated] {
            world.assertion_grant(used).await.oauth_refused(401, "invalid_client");
        }
        let client = (id.as_str(), secret.as_str());
        let refused = with_proof(&world, client, &proof(&world, "one", None)).await;
        refused.oauth_refused(400, "use_dpop_nonce");
        let nonce = refused.header("dpop-nonce").to_owned();
        let renewed = with_proof(&world, client, &proof(&world, "two", Some(&nonce))).await;
        assert_eq!(renewed.status, StatusCode::OK, "{}", renewed.json);
        world.clock.advance(11);
        let later = with_proof(&world, client, &proof(&world, "three", None)).await;
        assert_eq!(later.status, StatusCode::OK, "{}", later.json);
        world.stop().await;
    }
}

#[tokio::test]
async fn a_request_that_was_signed_before_a_restore_must_be_signed_anew() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        world.register("acme", "backend", "alice").await;
        let (id, secret) = (world.id("acme", "issuer"), world.secret("acme", "issuer"));
        begin_epoch(world.running.db(), &world.platform).await.unwrap();
        let issuer = world.issuer.clone();
        world.stop().await;
        let world = World::node(&database, 2, Some(&issuer)).await;
        let form = [("grant_type", "client_credentials"), ("scope", "user_tokens:write")];
        let token = world.token_basic(&id, &secret, &form).await;
        let token = token.json["access_token"].as_str().unwrap().to_owned();
        let body = json!({
            "external_id": "alice", "method": "POST", "url": format!("{RESOURCE_API}/v1/fiat-ins"),
        });
        world.signed_post(&token, "/v1/user-tokens", &body, "n-1").await.refused(401, "signature_void");
        world.clock.advance(11);
        let reply = world.signed_post(&token, "/v1/user-tokens", &body, "n-2").await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.json);
        world.stop().await;
    }
}
