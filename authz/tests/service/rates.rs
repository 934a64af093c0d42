//! How often clients and networks may ask, whose address counts (security row A14, reliability row R19), and paths
//! in another spelling (row A22).

use authz::Config;
use chassis::http::{Rate, RateLimits};
use chassis::testing::TestDatabase;

use crate::world::{Reply, World};

const GRANT: [(&str, &str); 2] = [("grant_type", "client_credentials"), ("scope", "fiat_ins:read")];

fn three_of_a_client(config: &mut Config) {
    let network = RateLimits::NONE.network;
    config.listener.rate_limits = Some(RateLimits { network, client: Rate { per_s: 1, burst: 3 } });
}

fn three_of_a_network(config: &mut Config) {
    let client = RateLimits::NONE.client;
    config.listener.rate_limits = Some(RateLimits { network: Rate { per_s: 1, burst: 3 }, client });
}

fn three_of_a_network_behind_a_proxy(config: &mut Config) {
    three_of_a_network(config);
    behind_a_proxy(config);
}

fn behind_a_proxy(config: &mut Config) {
    config.listener.trusted_proxies.networks = vec!["127.0.0.0/8".parse().unwrap()];
}

/// A request of `client` that the load balancer says is from `address`.
async fn from(world: &World, client: &str, secret: &str, address: &str) -> Reply {
    let request =
        world.http.post(world.at("/oauth2/token")).basic_auth(world.id("acme", client), Some(secret));
    world.send(request.form(&GRANT).header("x-forwarded-for", address)).await
}

fn refused(reply: &Reply) {
    reply.oauth_refused(429, "temporarily_unavailable");
    assert_eq!(reply.header("retry-after"), "1");
}

#[tokio::test]
async fn a_client_that_asks_too_often_waits_and_others_do_not() {
    let world = World::tuned_node(&TestDatabase::sqlite(), 1, None, three_of_a_client).await;
    for _ in 0..5 {
        // Whoever only says that it is the client does not use its share up.
        from(&world, "backend", "wrong", "").await.oauth_refused(401, "invalid_client");
    }
    for _ in 0..3 {
        assert_eq!(world.grant("acme", "backend", &GRANT[1..]).await.status, 200);
    }
    refused(&world.grant("acme", "backend", &GRANT[1..]).await);
    assert_eq!(world.grant("acme", "issuer", &GRANT[1..]).await.status, 200);
    world.clock.advance(1);
    assert_eq!(world.grant("acme", "backend", &GRANT[1..]).await.status, 200);
    refused(&world.grant("acme", "backend", &GRANT[1..]).await);
    world.stop().await;
}

#[tokio::test]
async fn a14_a_network_that_asks_too_often_waits_whatever_it_says_of_its_address() {
    let world = World::tuned_node(&TestDatabase::sqlite(), 1, None, three_of_a_network).await;
    let secret = world.secret("acme", "backend");
    for address in ["203.0.113.1", "203.0.113.2", "203.0.113.3"] {
        assert_eq!(from(&world, "backend", &secret, address).await.status, 200);
    }
    refused(&from(&world, "backend", &secret, "203.0.113.4").await);
    refused(&from(&world, "issuer", "wrong", "203.0.113.5").await);
    world.stop().await;
}

#[tokio::test]
async fn behind_a_trusted_proxy_each_network_has_its_own_share() {
    let world = World::tuned_node(&TestDatabase::sqlite(), 1, None, three_of_a_network_behind_a_proxy).await;
    let secret = world.secret("acme", "backend");
    for _ in 0..3 {
        assert_eq!(from(&world, "backend", &secret, "203.0.113.1").await.status, 200);
    }
    refused(&from(&world, "backend", &secret, "198.51.100.9, 203.0.113.1").await);
    assert_eq!(from(&world, "backend", &secret, "203.0.113.2").await.status, 200);
    world.stop().await;
}

#[tokio::test]
async fn failures_behind_a_trusted_proxy_close_the_door_for_their_own_address_only() {
    let world = World::tuned_node(&TestDatabase::sqlite(), 1, None, behind_a_proxy).await;
    let secret = world.secret("acme", "backend");
    for _ in 0..10 {
        from(&world, "backend", "wrong", "203.0.113.1").await.oauth_refused(401, "invalid_client");
    }
    from(&world, "backend", &secret, "203.0.113.1").await.oauth_refused(429, "temporarily_unavailable");
    assert_eq!(from(&world, "backend", &secret, "203.0.113.2").await.status, 200);
    world.stop().await;
}

#[tokio::test]
async fn a22_the_token_endpoint_has_one_spelling() {
    let world = World::start(&TestDatabase::sqlite()).await;
    let (id, secret) = (world.id("acme", "backend"), world.secret("acme", "backend"));
    for path in ["/oauth2/token/", "//oauth2/token", "/oauth2//token", "/oauth2/%74oken", "/oauth2/token;x=1"]
    {
        let request = world.http.post(world.at(path)).basic_auth(&id, Some(&secret)).form(&GRANT);
        world.send(request).await.refused(404, "unknown_path");
    }
    for path in ["/v1/clients/", "//v1/clients", "/v1/%63lients", "/v1/clients;x=1"] {
        let reply = world.send(world.http.get(world.at(path))).await;
        assert!(matches!(reply.status.as_u16(), 401 | 404), "{path} {}", reply.status);
    }
    world.stop().await;
}
