//! Sending one endpoint again what it missed.

use chassis::outbox::{
    Endpoint, Outbox, REPLAY_MAX, Replay, Replayed, disable_endpoint, enable_endpoint, replay,
};

use crate::receiver::Receiver;
use crate::world::{Node, PARTNER, World, eventually, loopback};

/// Asks for it, as a partner does.
pub(crate) async fn ask(world: &World, node: &Node, endpoint: &Endpoint, what: Replay) -> Option<Replayed> {
    queue(world, &node.outbox, endpoint, what).await
}

async fn queue(world: &World, outbox: &Outbox, endpoint: &Endpoint, what: Replay) -> Option<Replayed> {
    let (endpoint, now) = (endpoint.clone(), world.platform.now());
    let queued = world.db.write(move |tx| {
        let (endpoint, what) = (endpoint.clone(), what.clone());
        Box::pin(async move { replay(tx, &endpoint, &what, now).await })
    });
    let queued = queued.await.unwrap();
    outbox.wake_dispatcher();
    queued
}

/// What an endpoint got, by number.
fn numbers(receiver: &Receiver) -> Vec<i64> {
    let mut numbers: Vec<i64> = receiver.received().iter().map(crate::receiver::Received::seq).collect();
    numbers.sort_unstable();
    numbers
}

async fn has(receiver: &Receiver, expected: &[i64]) {
    eventually(&format!("it has {expected:?}"), async || (numbers(receiver) == expected).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_event_or_all_after_a_number_go_to_this_endpoint_only() {
    for world in World::both().await {
        let (asking, other) = (Receiver::start().await, Receiver::start().await);
        let endpoint = world.register(PARTNER, &asking.url, &["fiat_in.*"]).await;
        world.register(PARTNER, &other.url, &["fiat_in.*"]).await;
        let node = world.start_node();
        let mut told = Vec::new();
        for kind in ["fiat_in.completed", "kyc.completed", "fiat_in.failed", "fiat_in.refused"] {
            let event = world.event(PARTNER, kind);
            told.push(event.event_id.clone());
            world.commit(vec![event]).await;
        }
        has(&asking, &[1, 3, 4]).await;
        has(&other, &[1, 3, 4]).await;
        let done = ask(&world, &node, &endpoint, Replay::After(2)).await.unwrap();
        assert_eq!(done, Replayed { deliveries: 2, has_more: false, last_seq: Some(4) });
        has(&asking, &[1, 3, 3, 4, 4]).await;
        // One that is asked for by name is sent, wanted or not.
        let one = Replay::Event(told[1].clone());
        assert_eq!(ask(&world, &node, &endpoint, one).await.unwrap().deliveries, 1);
        has(&asking, &[1, 2, 3, 3, 4, 4]).await;
        assert_eq!(ask(&world, &node, &endpoint, Replay::Event("evt_unknown".into())).await, None);
        let nothing = Replayed { deliveries: 0, has_more: false, last_seq: None };
        assert_eq!(ask(&world, &node, &endpoint, Replay::After(4)).await, Some(nothing));
        assert_eq!(ask(&world, &node, &endpoint, Replay::Parked).await, Some(nothing));
        assert_eq!(numbers(&other), [1, 3, 4]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_or_skipped_comes_only_when_it_is_asked_for() {
    for world in World::both().await {
        let receiver = Receiver::start().await;
        receiver.will_answer(&[500, 500]);
        let endpoint = world.register(PARTNER, &receiver.url, &["fiat_in.*"]).await;
        let node = Node::start(world.outbox(loopback(), vec![0, 3_600]));
        let given_up = world.tell(&node).await;
        world.delivery_in(&given_up, "retrying").await;
        world.clock.advance(4_000);
        world.delivery_in(&given_up, "parked").await;
        receiver.will_answer(&[500]);
        let waiting = world.tell(&node).await;
        world.delivery_in(&waiting, "retrying").await;
        let id = endpoint.endpoint_id.clone();
        let switched = world.db.write(move |tx| {
            let id = id.clone();
            Box::pin(async move {
                Ok(disable_endpoint(tx, PARTNER, &id).await? && enable_endpoint(tx, PARTNER, &id).await?)
            })
        });
        assert!(switched.await.unwrap());
        world.clock.advance(1_000_000);
        let next = world.tell(&node).await;
        world.delivery_in(&next, "delivered").await;
        let before = receiver.received().len();
        assert_eq!(world.deliveries_to(&endpoint, Some("parked")).await.len(), 1);
        assert_eq!(world.deliveries_to(&endpoint, Some("skipped")).await.len(), 1);
        assert_eq!(ask(&world, &node, &endpoint, Replay::Parked).await.unwrap().deliveries, 2);
        for event_id in [&given_up, &waiting] {
            world.delivery_in(event_id, "delivered").await;
        }
        assert_eq!(receiver.received().len(), before + 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_is_bounded_and_goes_on_where_it_ended() {
    let most = usize::try_from(REPLAY_MAX).unwrap();
    for world in World::both().await {
        let endpoint = world.register(PARTNER, "http://127.0.0.1:9/", &["kyc.*"]).await;
        let node = world.start_node();
        for _ in 0..4 {
            world.commit((0..256).map(|_| world.event(PARTNER, "kyc.completed")).collect()).await;
        }
        eventually("all are numbered", async || {
            (node.outbox.stats().await.unwrap().unnumbered == 0).then_some(())
        })
        .await;
        node.end().await;
        let outbox = world.outbox(loopback(), vec![0]);
        let first = queue(&world, &outbox, &endpoint, Replay::After(0)).await.unwrap();
        assert_eq!(first, Replayed { deliveries: most, has_more: true, last_seq: Some(REPLAY_MAX) });
        let rest = queue(&world, &outbox, &endpoint, Replay::After(REPLAY_MAX)).await.unwrap();
        assert_eq!(rest, Replayed { deliveries: 24, has_more: false, last_seq: Some(1_024) });
        assert_eq!(world.deliveries_to(&endpoint, None).await.len(), 1_024, "again is no second row");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_replays_at_once_each_delivery_is_queued_once() {
    const EVENTS: usize = 40;
    for world in World::both().await {
        let endpoint = world.register(PARTNER, "http://127.0.0.1:9/", &["fiat_in.*"]).await;
        world.commit((0..EVENTS).map(|_| world.event(PARTNER, "fiat_in.completed")).collect()).await;
        let node = Node::start(world.outbox(loopback(), vec![0]));
        eventually("all are given up", async || {
            (world.deliveries_to(&endpoint, Some("parked")).await.len() == EVENTS).then_some(())
        })
        .await;
        node.end().await;
        let outbox = world.outbox(loopback(), vec![0]);
        let asked = (0..4).map(|_| queue(&world, &outbox, &endpoint, Replay::Parked));
        let queued = futures_util::future::join_all(asked).await;
        assert_eq!(queued.iter().flatten().map(|done| done.deliveries).sum::<usize>(), EVENTS);
        assert_eq!(world.deliveries_to(&endpoint, Some("pending")).await.len(), EVENTS);
    }
}
