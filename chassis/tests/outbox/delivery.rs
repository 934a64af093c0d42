//! What a receiver gets, and what happens when it does not take it.

use std::time::Duration;

use chassis::fetch::FetchPolicy;
use chassis::outbox::redeliver;
use keys::UnixSeconds;

use crate::receiver::Receiver;
use crate::world::{NOW_S, Node, PARTNER, World, eventually, loopback};

async fn redeliver_event(
    world: &World,
    node: &Node,
    partner_id: &'static str,
    event_id: &str,
) -> Option<usize> {
    let (event_id, now) = (event_id.to_owned(), world.platform.now());
    let queued = world
        .db
        .write(move |tx| {
            let event_id = event_id.clone();
            Box::pin(async move { redeliver(tx, partner_id, &event_id, now).await })
        })
        .await
        .unwrap();
    node.outbox.wake_dispatcher();
    queued
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_delivered_once_with_a_signature_that_verifies() {
    for world in World::both().await {
        let receiver = Receiver::start().await;
        let endpoint = world.register(PARTNER, &receiver.url, &[]).await;
        let node = world.start_node();
        let event_id = world.tell(&node).await;
        let delivery = world.delivery_in(&event_id, "delivered").await;
        assert_eq!(
            (delivery.attempt, delivery.response_code, delivery.next_attempt_at),
            (1, Some(204), None)
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
        let webhooks = receiver.received();
        assert_eq!(webhooks.len(), 1);
        let webhook = &webhooks[0];
        assert!(webhook.verifies_with(&endpoint.public_key));
        assert_eq!(webhook.id(), event_id);
        assert_eq!(webhook.header("webhook-timestamp"), NOW_S.to_string());
        assert_eq!(webhook.header("content-type"), "application/json");
        let expected = format!(
            concat!(
                r#"{{"id":"{}","type":"fiat_in.completed","occurred_at":"2027-01-15T08:00:00Z","seq":1,"#,
                r#""data":{{"amount":{{"amount":10000,"currency":"EUR"}},"#,
                r#""fiat_in_id":"fin_1","state":"completed"}}}}"#
            ),
            event_id
        );
        assert_eq!(webhook.body, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_500_the_event_is_sent_again_later_with_the_same_id() {
    for world in World::both().await {
        let receiver = Receiver::start().await;
        receiver.will_answer(&[500]);
        let endpoint = world.register(PARTNER, &receiver.url, &[]).await;
        let node = world.start_node();
        let event_id = world.tell(&node).await;
        let failed = world.delivery_in(&event_id, "retrying").await;
        assert_eq!((failed.response_code, failed.failure.as_deref()), (Some(500), Some("answered 500")));
        let next_s = failed.next_attempt_at.unwrap().0;
        assert!((NOW_S + 5..=NOW_S + 6).contains(&next_s), "{next_s}");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(receiver.received().len(), 1);
        world.clock.advance(6);
        let delivered = world.delivery_in(&event_id, "delivered").await;
        assert_eq!((delivered.attempt, delivered.failure), (2, None));
        let webhooks = receiver.received();
        assert_eq!(webhooks.len(), 2);
        assert_eq!(webhooks[0].id(), webhooks[1].id());
        assert_eq!(webhooks[0].body, webhooks[1].body);
        assert_eq!(webhooks[1].header("webhook-timestamp"), (NOW_S + 6).to_string());
        assert!(webhooks.iter().all(|webhook| webhook.verifies_with(&endpoint.public_key)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_schedule_ends_a_delivery_is_parked_until_it_is_redelivered() {
    for world in World::both().await {
        let receiver = Receiver::start().await;
        receiver.will_answer(&[500, 302, 404]);
        world.register(PARTNER, &receiver.url, &["fiat_in.*"]).await;
        let node = world.start_node();
        let event_id = world.tell(&node).await;
        for attempt in 1..=2 {
            eventually("the next attempt failed", async || {
                let delivery = world.deliveries(&event_id).await.pop()?;
                (delivery.state == "retrying" && delivery.attempt == attempt).then_some(())
            })
            .await;
            world.clock.advance(100);
        }
        let parked = world.delivery_in(&event_id, "parked").await;
        assert_eq!((parked.attempt, parked.response_code, parked.next_attempt_at), (3, Some(404), None));
        // The notice of it is an event too.
        let stats = eventually("the notice is numbered", async || {
            Some(node.outbox.stats().await.unwrap()).filter(|stats| stats.unnumbered == 0)
        })
        .await;
        assert_eq!((stats.pending, stats.parked, stats.oldest_age_s), (0, 1, 0));
        world.clock.advance(1_000_000);
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(receiver.received().len(), 3);

        assert_eq!(redeliver_event(&world, &node, PARTNER, &event_id).await, Some(1));
        assert_eq!(world.delivery_in(&event_id, "delivered").await.attempt, 1);
        assert_eq!(receiver.received().len(), 4);
        assert!(receiver.received().iter().all(|webhook| webhook.id() == event_id));
        assert_eq!(node.outbox.stats().await.unwrap().parked, 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redelivery_also_reaches_an_endpoint_registered_later_and_is_refused_to_another_partner() {
    for world in World::both().await {
        let node = world.start_node();
        let event_id = world.tell(&node).await;
        eventually("numbered", async || (node.outbox.stats().await.unwrap().unnumbered == 0).then_some(()))
            .await;
        let receiver = Receiver::start().await;
        world.register(PARTNER, &receiver.url, &["fiat_in.*"]).await;
        world.register(PARTNER, &receiver.url, &["kyc.*"]).await;
        assert_eq!(redeliver_event(&world, &node, "par_other", &event_id).await, None);
        assert_eq!(redeliver_event(&world, &node, PARTNER, "evt_unknown").await, None);
        assert_eq!(redeliver_event(&world, &node, PARTNER, &event_id).await, Some(1));
        world.delivery_in(&event_id, "delivered").await;
        assert_eq!(receiver.received().len(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_asks_for_a_longer_wait_gets_it() {
    for world in World::both().await {
        let receiver = Receiver::start().await;
        receiver.will_answer_with_header(503, "retry-after", "600");
        world.register(PARTNER, &receiver.url, &[]).await;
        let node = world.start_node();
        let event_id = world.tell(&node).await;
        let delivery = world.delivery_in(&event_id, "retrying").await;
        assert_eq!(delivery.next_attempt_at, Some(UnixSeconds(NOW_S + 600)));
        assert_eq!(delivery.attempted_at, Some(UnixSeconds(NOW_S)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_is_not_followed() {
    for world in World::both().await {
        let (receiver, elsewhere) = (Receiver::start().await, Receiver::start().await);
        receiver.will_answer_with_header(307, "location", &elsewhere.url);
        world.register(PARTNER, &receiver.url, &[]).await;
        let node = world.start_node();
        let event_id = world.tell(&node).await;
        assert_eq!(world.delivery_in(&event_id, "retrying").await.response_code, Some(307));
        assert!(elsewhere.received().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_endpoint_does_not_delay_another() {
    const EVENTS: usize = 30;
    for world in World::both().await {
        let (slow, quick) = (Receiver::start().await, Receiver::start().await);
        slow.will_take(Duration::from_hours(1));
        world.register(PARTNER, &slow.url, &[]).await;
        world.register(PARTNER, &quick.url, &[]).await;
        let node = world.start_node();
        for _ in 0..EVENTS {
            world.tell(&node).await;
        }
        let quick_has_all = async {
            eventually("the quick endpoint has all", async || {
                (quick.received().len() == EVENTS).then_some(())
            })
            .await;
        };
        // Far below the attempt deadline: nothing here waited for the slow endpoint to fail.
        tokio::time::timeout(Duration::from_secs(10), quick_has_all).await.unwrap();
        let under_way = slow.received().len();
        assert!((1..=8).contains(&under_way), "{under_way}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_address_is_refused_at_registration_and_when_called() {
    for world in World::both().await {
        let receiver = Receiver::start().await;
        let strict = world.outbox(FetchPolicy::default(), vec![0, 5]);
        let lenient = world.outbox(loopback(), vec![0, 5]);
        let refused = [
            "https://10.0.0.1/hook",
            "https://169.254.169.254/latest/meta-data",
            "https://[::ffff:192.168.0.1]/hook",
            "https://[fd00::1]/hook",
            "https://2130706433/hook",
            "http://example.com/hook",
            "ftp://example.com/hook",
            "not a url",
        ];
        for url in refused {
            assert!(strict.prepare_endpoint(PARTNER, url, Vec::new()).await.is_err(), "{url}");
        }
        assert!(strict.prepare_endpoint(PARTNER, &receiver.url, Vec::new()).await.is_err());
        assert!(lenient.prepare_endpoint(PARTNER, &receiver.url, Vec::new()).await.is_ok());

        // A name may come to point elsewhere after registration, so the address counts when it is called, too.
        world.register(PARTNER, &receiver.url, &[]).await;
        let node = Node::start(strict);
        let event_id = world.tell(&node).await;
        let delivery = world.delivery_in(&event_id, "retrying").await;
        assert_eq!(delivery.response_code, None);
        assert!(delivery.failure.is_some());
        assert!(receiver.received().is_empty());
    }
}
