//! Endpoints whose deliveries are written in another format than Standard Webhooks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use chassis::Fault;
use chassis::outbox::{Envelope, NewEndpoint, StoredEvent, Written, insert_endpoint};
use futures_util::future::BoxFuture;

use crate::receiver::Receiver;
use crate::world::{Node, PARTNER, World, loopback};

/// Writes who it is for and which event it is; knows nothing of monitoring, and fails the first time.
#[derive(Default)]
struct Plain {
    asked: AtomicUsize,
}

impl Envelope for Plain {
    fn write<'a>(
        &'a self,
        format: &'a str,
        recipient: &'a str,
        event: &'a StoredEvent,
    ) -> BoxFuture<'a, Result<Written, Fault>> {
        Box::pin(async move {
            if event.kind.starts_with("monitoring.") {
                return Ok(Written::Nothing);
            }
            if self.asked.fetch_add(1, Ordering::SeqCst) == 0 {
                return Ok(Written::NotNow("no key yet"));
            }
            let text = format!("{format} {recipient} {}", event.event_id);
            Ok(Written::Body { content_type: "text/plain", text })
        })
    }
}

async fn register(world: &World, url: &str) -> String {
    let new = NewEndpoint::draw(&world.platform, &world.master, PARTNER, url, Vec::new()).unwrap();
    let new = new.in_format("plain", "cli_1");
    let public_key = new.endpoint.public_key.clone();
    world
        .db
        .write(move |tx| {
            let new = new.clone();
            Box::pin(async move { insert_endpoint(tx, &new).await })
        })
        .await
        .unwrap();
    public_key
}

#[tokio::test(flavor = "multi_thread")]
async fn an_envelope_writes_the_body_again_for_each_attempt() {
    for world in World::both().await {
        let receiver = Receiver::start().await;
        let public_key = register(&world, &receiver.url).await;
        let outbox = world.outbox(loopback(), vec![0, 5]).with_envelope(Arc::new(Plain::default()));
        let node = Node::start(outbox);
        let event_id = world.tell(&node).await;
        let waiting = world.delivery_in(&event_id, "retrying").await;
        assert_eq!(waiting.failure.as_deref(), Some("no key yet"));
        assert!(receiver.received().is_empty());
        world.clock.advance(6);
        world.delivery_in(&event_id, "delivered").await;
        let webhook = receiver.received().remove(0);
        assert_eq!(webhook.body, format!("plain cli_1 {event_id}"));
        assert_eq!((webhook.header("content-type"), webhook.id()), ("text/plain", event_id.as_str()));
        assert!(webhook.verifies_with(&public_key), "the standard headers are there in every format");
        node.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_format_has_no_words_for_is_skipped_and_without_its_writer_a_delivery_waits() {
    for world in World::both().await {
        let receiver = Receiver::start().await;
        register(&world, &receiver.url).await;
        let silent = world.event(PARTNER, "monitoring.accepted");
        let silent_id = silent.event_id.clone();
        world.commit(vec![silent]).await;
        let outbox = world.outbox(loopback(), vec![0, 5]).with_envelope(Arc::new(Plain::default()));
        let node = Node::start(outbox);
        world.delivery_in(&silent_id, "skipped").await;
        node.end().await;
        let node = world.start_node();
        let event_id = world.tell(&node).await;
        let waiting = world.delivery_in(&event_id, "retrying").await;
        assert_eq!(waiting.failure.as_deref(), Some("this service does not write the endpoint's format"));
        node.end().await;
        assert!(receiver.received().is_empty());
    }
}
