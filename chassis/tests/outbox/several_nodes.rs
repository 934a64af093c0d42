//! Several nodes on one database, and nodes that die.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::receiver::Receiver;
use crate::world::{PARTNER, World, eventually};

/// A claim is one guarded statement, so as long as nobody dies at-least-once is exactly once.
#[tokio::test(flavor = "multi_thread")]
async fn two_dispatchers_deliver_each_event_once() {
    const EVENTS: usize = 120;
    for world in World::both().await {
        let receiver = Receiver::start().await;
        world.register(PARTNER, &receiver.url, &[]).await;
        let nodes = [world.start_node(), world.start_node()];
        for number in 0..EVENTS {
            world.tell(&nodes[number % 2]).await;
        }
        eventually("all are delivered", async || {
            let stats = nodes[0].outbox.stats().await.unwrap();
            (stats.unnumbered == 0 && stats.pending == 0).then_some(())
        })
        .await;
        let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
        for webhook in receiver.received() {
            *counts.entry(webhook.seq()).or_default() += 1;
        }
        let expected: BTreeMap<i64, usize> =
            (1..=i64::try_from(EVENTS).unwrap()).map(|seq| (seq, 1)).collect();
        assert_eq!(counts, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dispatcher_was_sending_when_it_died_is_sent_again_with_the_same_id() {
    for world in World::both().await {
        let receiver = Receiver::start().await;
        receiver.will_take(Duration::from_hours(1));
        world.register(PARTNER, &receiver.url, &[]).await;
        let node = world.start_node();
        let event_id = world.tell(&node).await;
        eventually("the first attempt is under way", async || receiver.received().pop()).await;
        drop(node);
        receiver.will_take(Duration::ZERO);

        let _successor = world.start_node();
        tokio::time::sleep(Duration::from_millis(300)).await;
        let stuck = world.deliveries(&event_id).await.remove(0);
        assert_eq!((stuck.state.as_str(), stuck.attempt), ("delivering", 1));
        assert_eq!(receiver.received().len(), 1, "the lease still holds");
        world.clock.advance(60);
        assert_eq!(world.delivery_in(&event_id, "delivered").await.attempt, 2);
        let webhooks = receiver.received();
        assert_eq!(webhooks.len(), 2);
        assert!(webhooks.iter().all(|webhook| webhook.id() == event_id));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_numbering_node_dies_another_takes_over_after_its_lease() {
    for world in World::both().await {
        let first = world.start_node();
        world.tell(&first).await;
        eventually("numbered", async || (first.outbox.stats().await.unwrap().unnumbered == 0).then_some(()))
            .await;
        drop(first);
        let second = world.start_node();
        world.tell(&second).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(second.outbox.stats().await.unwrap().unnumbered, 1, "the lease still holds");
        world.clock.advance(4);
        eventually("numbered by the second", async || {
            (second.outbox.stats().await.unwrap().unnumbered == 0).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_ends_in_order_finishes_its_attempts_and_hands_over_the_numbering_at_once() {
    for world in World::both().await {
        let receiver = Receiver::start().await;
        receiver.will_take(Duration::from_millis(50));
        world.register(PARTNER, &receiver.url, &[]).await;
        let first = world.start_node();
        let begun = world.tell(&first).await;
        eventually("the attempt is under way", async || receiver.received().pop()).await;
        first.end().await;
        assert_eq!(world.deliveries(&begun).await[0].state, "delivered");
        let second = world.start_node();
        let next = world.tell(&second).await;
        world.delivery_in(&next, "delivered").await;
        assert_eq!(receiver.received().len(), 2);
    }
}
