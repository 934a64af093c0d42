//! Sequence numbers: per partner, without gaps, in commit order.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chassis::outbox::{EVENT_LIFE_S, StoredEvent, insert_events, list_events, with_expiring_tables};
use chassis::sweeper::Sweeper;
use chassis::{Fault, Outcome};
use tokio_util::task::AbortOnDropHandle;

use crate::receiver::Receiver;
use crate::world::{PARTNER, World, eventually};

const PARTNERS: [&str; 2] = [PARTNER, "par_other"];

async fn listed(world: &World, partner_id: &'static str, after_seq: i64, limit: i64) -> Vec<StoredEvent> {
    let events = world
        .db
        .read(move |tx| Box::pin(async move { list_events(tx, partner_id, after_seq, limit).await }))
        .await;
    events.unwrap()
}

/// Two partners, eight writers, two nodes. Each transaction notes when it began and when it was committed: if one was
/// committed before another began, its events have the lower numbers.
#[tokio::test(flavor = "multi_thread")]
async fn numbers_are_gap_free_and_in_commit_order_with_concurrent_writers_and_two_nodes() {
    const WRITERS: usize = 8;
    const ROUNDS: usize = 25;
    for world in World::both().await {
        let world = Arc::new(world);
        let nodes = [world.start_node(), world.start_node()];
        // The lease expires again and again, so that the numbering changes hands in the midst of it.
        let hurried = Arc::clone(&world);
        let hurry = AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                tokio::time::sleep(Duration::from_millis(5)).await;
                hurried.clock.advance(4);
            }
        }));
        let ticks = Arc::new(AtomicUsize::new(0));
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..WRITERS {
            let (world, ticks) = (Arc::clone(&world), Arc::clone(&ticks));
            let outbox = nodes[writer % 2].outbox.clone();
            writers.spawn(async move {
                let mut spans = Vec::new();
                for round in 0..ROUNDS {
                    let partner = PARTNERS[(writer + round) % 2];
                    let pair = [world.event(partner, "a.first"), world.event(partner, "a.second")];
                    let ids = pair.clone().map(|event| event.event_id);
                    let began = ticks.fetch_add(1, Ordering::SeqCst);
                    world.commit(pair.to_vec()).await;
                    let ended = ticks.fetch_add(1, Ordering::SeqCst);
                    outbox.wake();
                    spans.push((partner, ids, began, ended));
                }
                spans
            });
        }
        let spans: Vec<_> = writers.join_all().await.into_iter().flatten().collect();
        eventually("all are numbered", async || {
            (nodes[0].outbox.stats().await.unwrap().unnumbered == 0).then_some(())
        })
        .await;

        drop(hurry);
        for partner in PARTNERS {
            let events = listed(&world, partner, 0, 10_000).await;
            let numbers: Vec<i64> = events.iter().map(|event| event.seq).collect();
            let count = i64::try_from(WRITERS * ROUNDS).unwrap();
            assert_eq!(numbers, (1..=count).collect::<Vec<_>>());
            let seq: HashMap<&str, i64> =
                events.iter().map(|event| (event.event_id.as_str(), event.seq)).collect();
            let own: Vec<_> = spans.iter().filter(|(of, ..)| *of == partner).collect();
            for (_, [first, second], began, ended) in &own {
                assert!(seq[first.as_str()] < seq[second.as_str()], "order within a transaction");
                assert!(began < ended);
            }
            for (_, earlier, _, committed) in &own {
                for (_, later, began, _) in &own {
                    assert!(committed > began || seq[earlier[1].as_str()] < seq[later[0].as_str()]);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_an_undone_transaction_leaves_no_gap() {
    for world in World::both().await {
        let node = world.start_node();
        world.tell(&node).await;
        let undone = world.event(PARTNER, "a.undone");
        world
            .db
            .write_or_undo(move |tx| {
                let undone = undone.clone();
                Box::pin(async move {
                    insert_events(tx, &[undone]).await?;
                    Ok::<_, Fault>(Outcome::Undo(()))
                })
            })
            .await
            .unwrap();
        world.tell(&node).await;
        let events = eventually("both are numbered", async || {
            let events = listed(&world, PARTNER, 0, 10).await;
            (events.len() == 2).then_some(events)
        })
        .await;
        assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2]);
        assert!(events.iter().all(|event| event.kind == "fiat_in.completed"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_transaction_is_numbered_in_order_and_read_in_pages() {
    for world in World::both().await {
        let events: Vec<_> = (0..600).map(|_| world.event(PARTNER, "a.many")).collect();
        let ids: Vec<String> = events.iter().map(|event| event.event_id.clone()).collect();
        world.commit(events).await;
        assert!(listed(&world, PARTNER, 0, 10).await.is_empty(), "not numbered yet, so not readable yet");
        let node = world.start_node();
        eventually("all are numbered", async || {
            (node.outbox.stats().await.unwrap().unnumbered == 0).then_some(())
        })
        .await;
        let mut read = Vec::new();
        while read.len() < ids.len() {
            let page = listed(&world, PARTNER, i64::try_from(read.len()).unwrap(), 250).await;
            assert!(!page.is_empty());
            read.extend(page.into_iter().map(|event| event.event_id));
        }
        assert_eq!(read, ids);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_and_deliveries_are_swept_after_their_life_and_numbers_go_on() {
    for world in World::both().await {
        let receiver = Receiver::start().await;
        world.register(PARTNER, &receiver.url, &[]).await;
        let node = world.start_node();
        let old = world.tell(&node).await;
        world.delivery_in(&old, "delivered").await;
        let sweeper = with_expiring_tables(Sweeper::new(world.db.clone(), world.platform.clone()));
        world.clock.advance(EVENT_LIFE_S - 1);
        assert_eq!(sweeper.sweep().await.unwrap(), 0);
        world.clock.advance(1);
        assert_eq!(sweeper.sweep().await.unwrap(), 2);
        assert!(listed(&world, PARTNER, 0, 10).await.is_empty());
        let new = world.tell(&node).await;
        world.delivery_in(&new, "delivered").await;
        assert_eq!(listed(&world, PARTNER, 0, 10).await[0].seq, 2);
    }
}
