//! Events and webhooks: signed, in order, the same id over retries, no address inside our own network.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::world::{Call, Event, World, eventually};

async fn events_of(world: &World, partner: &str) -> Vec<Value> {
    let list = world.get_as(&format!("{partner}/backend"), "/v1/events?limit=100").await;
    list["data"].as_array().expect("data").clone()
}

/// Waits until as many deliveries arrived as the partner has events.
async fn all_delivered(world: &World, receiver: &crate::world::Receiver, partner: &str) -> Vec<Event> {
    let complete = || async {
        let (events, arrived) = (events_of(world, partner).await, receiver.all());
        let ids: BTreeSet<&str> = arrived.iter().map(|event| event.id.as_str()).collect();
        let known = |event: &Value| ids.contains(event["id"].as_str().unwrap_or_default());
        (!events.is_empty() && events.iter().filter(|event| event["type"] != "customer.created").all(known))
            .then_some(arrived)
    };
    eventually("every delivery", complete).await
}

flows! {
    async fn events_are_numbered_without_gaps_and_delivered_as_listed(world: &mut World) {
        let receiver = world.receiver("ta").await;
        let (customer, other) = (world.customer().await, world.customer().await);
        world.fund(&customer, 5_000).await;
        for _ in 0..5 {
            let body = World::transfer(&customer.wallet, &other.wallet, 10);
            world.post_as("ta/backend", "/v1/transfers", &body, 201).await;
        }
        world.order(&customer, 100, "tok_decline").await.expect(201);
        world.order(&customer, 900_000_000, "tok_success").await.expect(201);
        receiver.wait_for("fiat_in.refused", |event| event["type"] == "fiat_in.refused").await;
        let arrived = all_delivered(world, &receiver, "ta").await;
        let listed = events_of(world, "ta").await;
        let numbers: Vec<i64> = listed.iter().map(|event| event["seq"].as_i64().expect("seq")).collect();
        assert_eq!(numbers, (1..=i64::try_from(listed.len()).expect("few")).collect::<Vec<_>>());
        for event in &arrived {
            assert!(event.is_signed_by(&receiver.public_key), "{event:?}");
            assert_eq!(event.body["id"], event.id.as_str());
            let twin = listed.iter().find(|twin| twin["id"] == event.id.as_str()).expect("it is listed");
            for member in ["type", "seq", "occurred_at", "data"] {
                assert_eq!(event.body[member], twin[member], "{member} of {}", event.text);
            }
        }
        let kinds: BTreeSet<&str> = listed.iter().filter_map(|event| event["type"].as_str()).collect();
        for kind in ["fiat_in.completed", "fiat_in.failed", "fiat_in.refused", "entity.credited", "transfer.completed"] {
            assert!(kinds.contains(kind), "no {kind} in {kinds:?}");
        }
        let page = world.get_as("ta/backend", "/v1/events?after_seq=2&limit=3").await;
        let page: Vec<_> = page["data"].as_array().expect("data").iter().map(|event| event["seq"].as_i64()).collect();
        assert_eq!(page, [Some(3), Some(4), Some(5)]);
    }

    async fn a_failed_delivery_comes_again_under_the_same_id(world: &mut World) {
        let receiver = world.receiver("ta").await;
        receiver.fail_next(2);
        world.customer().await;
        let again = || async {
            world.clock.advance(6);
            let all = receiver.all();
            let first = all.first()?.id.clone();
            (all.iter().filter(|event| event.id == first).count() >= 2).then_some(all)
        };
        let all = eventually("the second attempt", again).await;
        let same: Vec<_> = all.iter().filter(|event| event.id == all[0].id).collect();
        assert_eq!(same[0].text, same[1].text);
        assert!(same[1].timestamp > same[0].timestamp && same[1].is_signed_by(&receiver.public_key));
        all_delivered(world, &receiver, "ta").await;
    }

    async fn an_event_can_be_sent_again_and_is_its_partners_own(world: &mut World) {
        let receiver = world.receiver("ta").await;
        let customer = world.customer().await;
        world.order(&customer, 100, "tok_success").await.expect(201);
        let event = receiver.wait_for("fiat_in.completed", |event| event["type"] == "fiat_in.completed").await;
        let path = format!("/v1/events/{}/redeliver", event.id);
        world.send(world.call_as("ta/backend", "POST", &path, Some(&json!({}))).await).await.expect(202);
        let twice = || async { (receiver.all().iter().filter(|other| other.id == event.id).count() == 2).then_some(()) };
        eventually("the second delivery", twice).await;
        world.send(world.call_as("tb/backend", "POST", &path, Some(&json!({}))).await).await.refused(404, "not_found");
        let read = world.call_as("tb/backend", "GET", &format!("/v1/events/{}", event.id), None).await;
        world.send(read).await.refused(404, "not_found");
        assert!(events_of(world, "tb").await.is_empty());
    }

    async fn a_partner_hears_of_its_own_customers_only(world: &mut World) {
        let (ours, theirs) = (world.receiver("ta").await, world.receiver("tb").await);
        let (customer, stranger) = (world.customer().await, world.customer_of("tb").await);
        world.order(&customer, 100, "tok_success").await.expect(201);
        world.order(&stranger, 100, "tok_success").await.expect(201);
        let completed = |event: &Value| event["type"] == "fiat_in.completed";
        assert_eq!(ours.wait_for("ours", completed).await.body["data"]["customer_id"], customer.customer_id.as_str());
        assert_eq!(theirs.wait_for("theirs", completed).await.body["data"]["customer_id"], stranger.customer_id.as_str());
        assert!(ours.all().iter().all(|event| !event.text.contains(&stranger.customer_id)));
        assert!(theirs.all().iter().all(|event| !event.text.contains(&customer.customer_id)));
    }

    async fn a_disabled_endpoint_hears_nothing_more(world: &mut World) {
        let receiver = world.receiver("ta").await;
        let second = world.receiver("ta").await;
        let list = world.get_as("ta/backend", "/v1/webhook-endpoints").await;
        assert!(!list.to_string().contains("secret") && !list.to_string().contains("whsk_"), "{list}");
        let all = list["data"].as_array().expect("data");
        let endpoint = all.iter().find(|endpoint| endpoint["url"] == receiver.url.as_str()).expect("the endpoint");
        let path = format!("/v1/webhook-endpoints/{}", endpoint["id"].as_str().expect("an id"));
        world.send(world.call_as("tb/backend", "DELETE", &path, None).await).await.refused(404, "not_found");
        assert_eq!(world.send(world.call_as("ta/backend", "DELETE", &path, None).await).await.status, 204);
        let customer = world.customer().await;
        world.order(&customer, 100, "tok_success").await.expect(201);
        second.wait_for("fiat_in.completed", |event| event["type"] == "fiat_in.completed").await;
        assert!(receiver.all().iter().all(|event| event.body["type"] != "fiat_in.completed"));
    }

    async fn an_address_inside_a_network_is_no_webhook_target(world: &mut World) {
        let targets = [
            "http://10.0.0.1/x", "http://192.168.1.1/x", "http://172.16.0.1/x", "http://169.254.169.254/latest/meta-data",
            "https://10.0.0.1/x", "https://169.254.169.254/", "http://example.com/x", "http://[fd00::1]/x",
            "http://[fe80::1]/x", "http://[::ffff:10.0.0.1]/x", "http://167772161/x", "http://0x0a000001/x",
            "http://012.0.0.1/x", "http://0.0.0.0/x", "http://100.64.0.1/x", "https://[64:ff9b::a00:1]/x",
            "https://metadata.google.internal/x", "ftp://example.com/x", "file:///etc/passwd", "not a url", "",
            "https://user:pass@example.com/x",
        ];
        for url in targets {
            let call = world.call_as("ta/backend", "POST", "/v1/webhook-endpoints", Some(&json!({ "url": url }))).await;
            let reply = world.send(call).await;
            assert_eq!(reply.status, 422, "{url}: {}", reply.text);
            reply.refused(422, "target_not_allowed");
        }
        let list = world.get_as("ta/backend", "/v1/webhook-endpoints").await;
        assert_eq!(list["data"], json!([]));
    }

    async fn a_redirect_is_not_followed(world: &mut World) {
        let (elsewhere, moved) = redirecting().await;
        let body = json!({ "url": moved });
        world.post_as("ta/backend", "/v1/webhook-endpoints", &body, 201).await;
        let customer = world.customer().await;
        world.order(&customer, 100, "tok_success").await.expect(201);
        let attempted = || async {
            let events = events_of(world, "ta").await;
            let event = events.iter().find(|event| event["type"] == "fiat_in.completed")?;
            let path = format!("/v1/events/{}/deliveries", event["id"].as_str()?);
            let deliveries = world.get_as("ta/backend", &path).await;
            deliveries["data"].as_array()?.iter().any(|one| one["response_code"] == 307).then_some(())
        };
        eventually("a refused redirect", attempted).await;
        assert_eq!(elsewhere.load(std::sync::atomic::Ordering::Relaxed), 0);
    }

    async fn a_foreign_list_of_events_is_empty_for_a_signed_client_too(world: &mut World) {
        let customer = world.customer().await;
        world.order(&customer, 100, "tok_success").await.expect(201);
        let token = world.token("tb/signed", "events:read").await;
        let call = Call::get(format!("{}/v1/events", world.resource)).bearer(&token);
        let list = world.send(call.signed_by(world.client("tb/signed"), world)).await.expect(200);
        assert_eq!(list["data"], json!([]));
    }
}

/// A server that sends whoever calls elsewhere, and counts who goes there.
async fn redirecting() -> (std::sync::Arc<std::sync::atomic::AtomicUsize>, String) {
    use axum::response::Redirect;
    use axum::routing::any;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let seen = std::sync::Arc::new(AtomicUsize::new(0));
    let counted = seen.clone();
    let elsewhere = move || {
        counted.fetch_add(1, Ordering::Relaxed);
        std::future::ready("seen")
    };
    let router = axum::Router::new()
        .route("/moved", any(|| async { Redirect::temporary("/elsewhere") }))
        .route("/elsewhere", any(elsewhere));
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let url = format!("http://{}/moved", listener.local_addr().expect("an address"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (seen, url)
}
