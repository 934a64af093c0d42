//! `GET /v1/directory`: a snapshot, then every change, in order and without gaps.

use std::{collections::BTreeMap, time::Duration};

use chassis::testing::TestDatabase;
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::world::{Reply, World};

async fn feed(world: &World, token: &str, query: &str) -> Reply {
    let reply = world.get(token, &format!("/v1/directory{query}")).await;
    assert_eq!(reply.status, StatusCode::OK, "{}", reply.json);
    assert_eq!(reply.json["schema_version"], 1);
    reply
}

fn seq(reply: &Reply) -> i64 {
    reply.json["seq"].as_i64().unwrap()
}

/// Waits until the feed has nothing new, and gives its head.
async fn head(world: &World, token: &str) -> i64 {
    let mut at = seq(&feed(world, token, "").await);
    loop {
        let next = seq(&feed(world, token, &format!("?after_seq={at}&wait_s=1")).await);
        if next == at {
            return at;
        }
        at = next;
    }
}

#[tokio::test]
async fn a_snapshot_lists_partners_clients_and_users_that_are_not_active() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let users = world.management_token("acme", "backend", "users:write").await;
        world.register("acme", "backend", "alice").await;
        let carol = world.register("acme", "backend", "carol").await;
        world.post(&users, &format!("/v1/users/{carol}/disable"), &json!({})).await;
        let token = world.management_token("platform", "admin", "directory:read").await;
        let reply = feed(&world, &token, "").await;
        assert_eq!(reply.json["snapshot"], true);
        let entries = reply.json["entries"].as_array().unwrap();
        let of = |kind: &str| entries.iter().filter(|entry| entry["kind"] == kind).collect::<Vec<_>>();
        assert_eq!((of("partner").len(), of("client").len(), of("subject").len()), (4, 15, 1));
        assert_eq!(of("subject")[0]["id"], carol);
        assert_eq!(of("subject")[0]["body"]["status"], "disabled");
        let pti = world.id("pti", "backend");
        let client = &of("client").into_iter().find(|entry| entry["id"] == pti).unwrap()["body"];
        assert_eq!((&client["profile"], &client["status"]), (&json!("pti_jws"), &json!("active")));
        assert_eq!(client["signature_keys"][0]["kty"], "OKP");
        assert!(client["signature_keys"][0]["kid"].is_string());
        assert_eq!(client["partner_id"], world.partner_id("pti"));
        assert!(!reply.json.to_string().contains("secret"));
        world.stop().await;
    }
}

#[tokio::test]
async fn a_change_arrives_within_a_second() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let token = world.management_token("platform", "admin", "directory:read").await;
        let carol = world.register("acme", "backend", "carol").await;
        let users = world.management_token("acme", "backend", "users:write").await;
        let at = head(&world, &token).await;
        let path = format!("?after_seq={at}&wait_s=10");
        let waiting = feed(&world, &token, &path);
        let changing = async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            world.post(&users, &format!("/v1/users/{carol}/disable"), &json!({})).await;
            Instant::now()
        };
        let (reply, changed) = tokio::join!(waiting, changing);
        let elapsed = changed.elapsed();
        assert!(elapsed < Duration::from_secs(1), "{:?}: {elapsed:?}", database.engine());
        assert_eq!((reply.json["snapshot"].clone(), seq(&reply)), (json!(false), at + 1));
        assert_eq!(
            reply.json["entries"],
            json!([{
                "seq": at + 1, "kind": "subject", "id": carol,
                "body": {"id": carol, "partner_id": world.partner_id("acme"), "status": "disabled"},
            }])
        );
        world.stop().await;
    }
}

/// Two nodes make changes at once while a reader follows: it sees every number once, in order.
#[tokio::test(flavor = "multi_thread")]
async fn the_feed_has_no_gaps_while_nodes_write_at_once() {
    for database in TestDatabase::both().await {
        let one = World::start(&database).await;
        let two = World::node(&database, 2, Some(&one.issuer)).await;
        let token = one.management_token("platform", "admin", "directory:read").await;
        let users = one.management_token("acme", "backend", "users:write").await;
        let mut subs = Vec::new();
        for number in 0..8 {
            subs.push(one.register("acme", "backend", &format!("u-{number}")).await);
        }
        let start = head(&one, &token).await;
        let writing = futures_util::future::join_all(subs.iter().enumerate().map(|(number, sub)| {
            let (node, users) = (if number % 2 == 0 { &one } else { &two }, &users);
            async move {
                for verb in ["disable", "enable", "disable"] {
                    let reply = node.post(users, &format!("/v1/users/{sub}/{verb}"), &json!({})).await;
                    assert_eq!(reply.status, StatusCode::OK, "{}", reply.json);
                }
            }
        }));
        let following = async {
            let (mut at, mut states) = (start, BTreeMap::new());
            while at < start + 24 {
                let reply = feed(&two, &token, &format!("?after_seq={at}&wait_s=5")).await;
                assert_eq!(reply.json["snapshot"], false);
                for entry in reply.json["entries"].as_array().unwrap() {
                    assert_eq!(entry["seq"].as_i64().unwrap(), at + 1);
                    at += 1;
                    states.insert(entry["id"].as_str().unwrap().to_owned(), entry["body"]["status"].clone());
                }
            }
            states
        };
        let (_, states) = tokio::join!(writing, following);
        assert_eq!(states.len(), subs.len());
        assert!(states.values().all(|status| status == "disabled"), "{states:?}");
        two.stop().await;
        one.stop().await;
    }
}

#[tokio::test]
async fn a_reader_that_is_ahead_or_too_far_behind_gets_a_snapshot() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let token = world.management_token("platform", "admin", "directory:read").await;
    let at = head(&world, &token).await;
    for after in [at + 100, -1] {
        let reply = feed(&world, &token, &format!("?after_seq={after}")).await;
        assert_eq!(reply.json["snapshot"], true, "after {after}");
    }
    let all = feed(&world, &token, "?after_seq=0").await;
    assert_eq!((all.json["snapshot"].clone(), seq(&all)), (json!(false), at));
    world.clock.advance(8 * 24 * 3600);
    let sweeper = chassis::sweeper::Sweeper::new(world.running.db().clone(), world.platform.clone()).table(
        "directory_event",
        "expires_at_s",
        "event_id",
    );
    sweeper.sweep().await.unwrap();
    let token = world.management_token("platform", "admin", "directory:read").await;
    let reply = feed(&world, &token, "?after_seq=0").await;
    assert_eq!((reply.json["snapshot"].clone(), seq(&reply)), (json!(true), at));
    let caught_up = feed(&world, &token, &format!("?after_seq={at}")).await;
    assert_eq!(
        (caught_up.json["snapshot"].clone(), caught_up.json["entries"].clone()),
        (json!(false), json!([]))
    );
    world.stop().await;
}

/// A client that one node disables gets no token at another within a second.
#[tokio::test]
async fn a_disabled_client_is_refused_on_every_node_within_a_second() {
    for database in TestDatabase::both().await {
        let one = World::start(&database).await;
        let two = World::node(&database, 2, Some(&one.issuer)).await;
        let (id, secret) = (one.id("acme", "backend"), one.secret("acme", "backend"));
        let form = [("grant_type", "client_credentials"), ("scope", "users:read")];
        let before = two.token_basic(&id, &secret, &form).await;
        assert_eq!(before.status, StatusCode::OK, "{}", before.json);
        let old_token = before.json["access_token"].as_str().unwrap().to_owned();
        let admin = one.management_token("platform", "admin", "clients:write").await;
        let disabled = one.post(&admin, &format!("/v1/clients/{id}/disable"), &json!({})).await;
        assert_eq!(disabled.json["status"], "disabled", "{}", disabled.json);
        let since = Instant::now();
        one.token_basic(&id, &secret, &form).await.oauth_refused(401, "invalid_client");
        while two.token_basic(&id, &secret, &form).await.status == StatusCode::OK {
            assert!(since.elapsed() < Duration::from_secs(1));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        two.get(&old_token, "/v1/users/usr_1").await.refused(401, "invalid_token");
        two.stop().await;
        one.stop().await;
    }
}

#[tokio::test]
async fn a_malformed_query_is_refused() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let token = world.management_token("platform", "admin", "directory:read").await;
    for query in ["?after_seq=one", "?after_seq=1&after_seq=2", "?wait_s=-1"] {
        let reply = world.get(&token, &format!("/v1/directory{query}")).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{query}: {}", reply.json);
        assert_ne!(reply.json["code"], Value::Null);
    }
    world.stop().await;
}

#[tokio::test]
async fn the_feed_is_for_the_platform_alone() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let token = world.management_token("beta", "backend", "directory:read").await;
    world.get(&token, "/v1/directory").await.refused(403, "platform_only");
    world.stop().await;
}

/// A long poll does not hold up the end of the service.
#[tokio::test]
async fn waiting_readers_are_answered_when_the_service_ends() {
    let database = TestDatabase::sqlite();
    let world = World::start(&database).await;
    let token = world.management_token("platform", "admin", "directory:read").await;
    let at = head(&world, &token).await;
    let waiting =
        world.http.get(world.at(&format!("/v1/directory?after_seq={at}&wait_s=10"))).bearer_auth(&token);
    let waiting = tokio::spawn(waiting.send());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let since = Instant::now();
    world.stop().await;
    assert!(since.elapsed() < Duration::from_secs(3), "{:?}", since.elapsed());
    assert_eq!(waiting.await.unwrap().unwrap().status(), StatusCode::OK);
}

/// As the resource API itself comes: with an assertion, without naming a scope.
#[tokio::test]
async fn the_resource_api_reads_the_feed_with_its_assertion() {
    for database in TestDatabase::both().await {
        let world = World::start(&database).await;
        let key = keys::SigningKey::es256_from_seed([21; 32]).unwrap();
        let assertion = world.assertion(&world.id("platform", "resource-api"), &key, &json!({}));
        let granted = world.assertion_grant(&assertion).await;
        assert_eq!(granted.json["scope"], "directory:read users:read users:write", "{}", granted.json);
        let token = granted.json["access_token"].as_str().unwrap();
        assert_eq!(feed(&world, token, "").await.json["snapshot"], true);
        world.stop().await;
    }
}
