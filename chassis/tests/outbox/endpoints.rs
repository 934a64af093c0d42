//! Registering, filtering, rotating and disabling endpoints.

use chassis::outbox::{
    disable_endpoint, enable_endpoint, find_endpoint, find_event, list_endpoints, rotate_secret,
};
use keys::UnixSeconds;

use crate::receiver::Receiver;
use crate::world::{NOW_S, PARTNER, World, eventually};

async fn set_enabled(world: &World, partner_id: &'static str, endpoint_id: &str, enabled: bool) -> bool {
    let endpoint_id = endpoint_id.to_owned();
    world
        .db
        .write(move |tx| {
            let endpoint_id = endpoint_id.clone();
            Box::pin(async move {
                if enabled {
                    enable_endpoint(tx, partner_id, &endpoint_id).await
                } else {
                    disable_endpoint(tx, partner_id, &endpoint_id).await
                }
            })
        })
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_seen_by_its_partner_only_and_gets_only_the_kinds_it_wants() {
    for world in World::both().await {
        let receiver = Receiver::start().await;
        let endpoint = world.register(PARTNER, &receiver.url, &["kyc.*"]).await;
        world.register("par_other", &receiver.url, &[]).await;
        let asked = endpoint.endpoint_id.clone();
        let (own, foreign, all) = world
            .db
            .read(move |tx| {
                let asked = asked.clone();
                Box::pin(async move {
                    let own = find_endpoint(tx, PARTNER, &asked).await?;
                    let foreign = find_endpoint(tx, "par_other", &asked).await?;
                    Ok((own, foreign, list_endpoints(tx, PARTNER).await?))
                })
            })
            .await
            .unwrap();
        assert_eq!((own.as_ref(), foreign), (Some(&endpoint), None));
        assert_eq!(all, [endpoint]);

        let node = world.start_node();
        let (payment, check) =
            (world.event(PARTNER, "fiat_in.completed"), world.event(PARTNER, "kyc.completed"));
        let (payment_id, check_id) = (payment.event_id.clone(), check.event_id.clone());
        world.commit(vec![payment, check]).await;
        world.delivery_in(&check_id, "delivered").await;
        assert!(world.deliveries(&payment_id).await.is_empty());
        let webhooks = receiver.received();
        assert_eq!(webhooks.len(), 1);
        assert_eq!((webhooks[0].id(), webhooks[0].seq()), (check_id.as_str(), 2));
        let foreign = world
            .db
            .read(move |tx| {
                let check_id = check_id.clone();
                Box::pin(async move { find_event(tx, "par_other", &check_id).await })
            })
            .await
            .unwrap();
        assert_eq!(foreign, None);
        drop(node);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_endpoint_gets_nothing_until_it_is_enabled_again() {
    for world in World::both().await {
        let receiver = Receiver::start().await;
        receiver.will_answer(&[500]);
        let endpoint = world.register(PARTNER, &receiver.url, &[]).await;
        let node = world.start_node();
        let waiting = world.tell(&node).await;
        world.delivery_in(&waiting, "retrying").await;
        assert!(!set_enabled(&world, "par_other", &endpoint.endpoint_id, false).await);
        assert!(set_enabled(&world, PARTNER, &endpoint.endpoint_id, false).await);
        assert_eq!(world.delivery_in(&waiting, "skipped").await.next_attempt_at, None);
        let missed = world.tell(&node).await;
        eventually("numbered", async || (node.outbox.stats().await.unwrap().unnumbered == 0).then_some(()))
            .await;
        world.clock.advance(1_000);
        assert!(set_enabled(&world, PARTNER, &endpoint.endpoint_id, true).await);
        let next = world.tell(&node).await;
        world.delivery_in(&next, "delivered").await;
        assert!(world.deliveries(&missed).await.is_empty());
        let ids: Vec<String> = receiver.received().iter().map(|webhook| webhook.id().to_owned()).collect();
        assert_eq!(ids, [waiting, next]);
        assert_eq!(receiver.received()[1].seq(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_a_rotation_lasts_the_old_and_the_new_key_verify_and_then_only_the_new() {
    for world in World::both().await {
        let receiver = Receiver::start().await;
        let endpoint = world.register(PARTNER, &receiver.url, &[]).await;
        let node = world.start_node();
        let secret = node.outbox.prepare_secret(PARTNER, &endpoint.endpoint_id).unwrap();
        let (old, new) = (endpoint.public_key, secret.public_key.clone());
        assert_ne!(old, new);
        let until = UnixSeconds(NOW_S + 3_600);
        let rotated = world
            .db
            .write(move |tx| {
                let secret = secret.clone();
                Box::pin(async move { rotate_secret(tx, &secret, until).await })
            })
            .await
            .unwrap();
        assert!(rotated);
        for (advance_s, old_verifies) in [(3_599, true), (1, false)] {
            world.clock.advance(advance_s);
            let event_id = world.tell(&node).await;
            world.delivery_in(&event_id, "delivered").await;
            let webhook = receiver.received().pop().unwrap();
            assert!(webhook.verifies_with(&new));
            assert_eq!(webhook.verifies_with(&old), old_verifies);
        }
    }
}
