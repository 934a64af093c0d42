//! Receivers in trouble (row R12): every way not to take a delivery, for as long as the schedule lasts.

use std::time::Duration;

use chassis::outbox::{Delivery, Endpoint, OutboxOptions, Schedule, with_expiring_tables};
use chassis::sweeper::Sweeper;
use chassis::{Fault, on, while_doing};
use keys::UnixSeconds;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::receiver::Receiver;
use crate::world::{NOW_S, Node, PARTNER, World, eventually, loopback};

const HOUR_S: i64 = 3_600;

/// What a receiver does with a connection.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Manner {
    /// Answers 500.
    Error,
    /// Reads and never answers.
    Silence,
    /// Closes at once.
    HangUp,
    /// Sends its caller elsewhere.
    Redirect,
    /// Answers 200 with a body that does not end.
    Flood,
    /// Answers 200 and says that ten gigabytes follow.
    Boast,
    /// Answers 200 one byte at a time.
    Drip,
}

/// A receiver of this manner; its address, `host:port`.
async fn receiver(manner: Manner) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, manner));
        }
    });
    address
}

async fn answer(mut stream: TcpStream, manner: Manner) {
    if manner == Manner::HangUp {
        return;
    }
    let mut request = [0; 16_384];
    let _ = stream.read(&mut request).await;
    let head = |rest: &str| format!("HTTP/1.1 {rest}\r\n\r\n").into_bytes();
    let head = match manner {
        Manner::Silence => return std::future::pending().await,
        Manner::Error | Manner::HangUp => head("500 No\r\ncontent-length: 0"),
        Manner::Redirect => head("308 There\r\nlocation: http://127.0.0.1:9/\r\ncontent-length: 0"),
        // Without a length, so that only counting can stop it.
        Manner::Flood => head("200 OK\r\nconnection: close"),
        Manner::Boast => head("200 OK\r\ncontent-length: 10000000000"),
        // Within what is taken, so that only the deadline can stop it.
        Manner::Drip => head("200 OK\r\ncontent-length: 1000000"),
    };
    let (piece, pause) = match manner {
        Manner::Flood => (vec![b'x'; 65_536], Duration::ZERO),
        Manner::Drip => (vec![b'x'], Duration::from_millis(50)),
        _ => return drop(stream.write_all(&head).await),
    };
    let mut sent = stream.write_all(&head).await;
    while sent.is_ok() {
        tokio::time::sleep(pause).await;
        sent = stream.write_all(&piece).await;
    }
}

/// The address of a port that nobody listens on.
async fn closed_port() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

/// Waits until no delivery of these endpoints is under way or due, and gives them all.
async fn at_rest(world: &World, endpoints: &[Endpoint], attempt: i64) -> Vec<Delivery> {
    eventually(&format!("attempt {attempt} is over everywhere"), async || {
        let mut all = Vec::new();
        for endpoint in endpoints {
            all.extend(world.deliveries_to(endpoint, None).await);
        }
        let over = |one: &Delivery| {
            one.attempt >= attempt && matches!(one.state.as_str(), "retrying" | "parked" | "delivered")
        };
        (all.len() >= endpoints.len() && all.iter().all(over)).then_some(all)
    })
    .await
}

async fn rows(world: &World) -> (i64, i64) {
    let counted: Result<(i64, i64), Fault> = world
        .db
        .read(|tx| {
            Box::pin(async move {
                const COUNT: &str =
                    "SELECT (SELECT COUNT(*) FROM event), (SELECT COUNT(*) FROM webhook_delivery)";
                on!(tx, conn => chassis::sqlx::query_as(COUNT).fetch_one(conn).await)
                    .map_err(while_doing("count"))
            })
        })
        .await;
    counted.unwrap()
}

fn soon(options: &mut OutboxOptions) {
    options.attempt_deadline = Duration::from_millis(400);
}

#[tokio::test(flavor = "multi_thread")]
async fn r12_whatever_a_receiver_does_it_is_tried_for_three_days_then_parked_and_told_of_once() {
    use Manner::{Boast, Drip, Error, Flood, HangUp, Redirect, Silence};
    for world in World::both().await {
        let mut urls = vec![
            format!("http://{}/", closed_port().await),
            // No TLS is spoken there.
            format!("https://{}/", receiver(Error).await),
        ];
        for manner in [Error, Silence, HangUp, Redirect, Flood, Boast, Drip] {
            urls.push(format!("http://{}/", receiver(manner).await));
        }
        let mut endpoints = Vec::new();
        for url in &urls {
            endpoints.push(world.register(PARTNER, url, &["fiat_in.*"]).await);
        }
        let node = Node::start(world.outbox_with(loopback(), soon));
        world.tell(&node).await;
        for attempt in 1..=9 {
            let all = at_rest(&world, &endpoints, attempt).await;
            assert_eq!(rows(&world).await, (1, 9), "an attempt adds no row");
            assert!(all.iter().all(|one| one.state == "retrying" && one.failure.is_some()), "{all:?}");
            let mut next: Vec<i64> =
                all.iter().filter_map(|one| one.next_attempt_at).map(|at| at.0).collect();
            next.sort_unstable();
            if attempt > 3 {
                next.dedup();
                assert!(next.len() > 1, "they come back together: {next:?}");
            }
            world.clock.advance(next.last().unwrap() - world.platform.now().0);
        }
        let parked = at_rest(&world, &endpoints, 10).await;
        assert!(parked.iter().all(|one| one.state == "parked" && one.attempt == 10), "{parked:?}");
        let hours = world.platform.now().since(UnixSeconds(NOW_S)) / HOUR_S;
        assert!((72..=90).contains(&hours), "{hours}");
        assert_eq!(node.outbox.stats().await.unwrap().parked, 9);
        // One event for each endpoint, and none of them to an endpoint that wants other kinds.
        let told = eventually("every endpoint is told of", async || {
            let events = world.events().await;
            (events.len() >= 10).then_some(events)
        })
        .await;
        let told: Vec<_> = told.iter().filter(|event| event.kind == "webhook_endpoint.parked").collect();
        assert_eq!(told.len(), 9);
        for endpoint in &endpoints {
            let about = |event: &&&chassis::outbox::StoredEvent| event.data.contains(&endpoint.endpoint_id);
            assert_eq!(told.iter().filter(about).count(), 1);
        }
        assert_eq!(rows(&world).await, (10, 9));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r12_one_bad_receiver_among_fifty_delays_no_other() {
    const EVENTS: usize = 4;
    for world in World::both().await {
        let bad = world.register(PARTNER, &format!("http://{}/", receiver(Manner::Drip).await), &[]).await;
        let mut good = Vec::new();
        for _ in 0..49 {
            let receiver = Receiver::start().await;
            world.register(PARTNER, &receiver.url, &[]).await;
            good.push(receiver);
        }
        // Its attempts never end, so nothing that is delivered can have waited for one.
        let forever = |options: &mut OutboxOptions| options.attempt_deadline = Duration::from_hours(1);
        let node = Node::start(world.outbox_with(loopback(), forever));
        let mut told = Vec::new();
        for _ in 0..EVENTS {
            told.push(world.tell(&node).await);
        }
        told.sort_unstable();
        eventually("forty-nine have all", async || {
            good.iter().all(|receiver| receiver.received().len() >= EVENTS).then_some(())
        })
        .await;
        for receiver in &good {
            let mut ids: Vec<String> = receiver.received().iter().map(|one| one.id().to_owned()).collect();
            ids.sort_unstable();
            assert_eq!(ids, told, "each once");
        }
        assert_eq!(world.deliveries_to(&bad, Some("delivering")).await.len(), EVENTS);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r12_after_hours_of_trouble_everything_arrives_under_its_id_and_a_second_trouble_is_told_of_anew() {
    const EVENTS: usize = 30;
    for world in World::both().await {
        let receiver = Receiver::start().await;
        receiver.will_answer(&[503; EVENTS * 2]);
        let endpoint = world.register(PARTNER, &receiver.url, &["fiat_in.*"]).await;
        let short = |options: &mut OutboxOptions| options.schedule = Schedule::new(vec![0, 5 * HOUR_S]);
        let node = Node::start(world.outbox_with(loopback(), short));
        let mut told = Vec::new();
        for _ in 0..EVENTS {
            told.push(world.tell(&node).await);
        }
        told.sort_unstable();
        at_rest(&world, std::slice::from_ref(&endpoint), 1).await;
        world.clock.advance(6 * HOUR_S);
        let parked = eventually("all are given up", async || {
            let parked = world.deliveries_to(&endpoint, Some("parked")).await;
            (parked.len() == EVENTS).then_some(parked)
        })
        .await;
        assert!(parked.is_sorted_by_key(|one| one.seq));
        let notices = async || {
            let events = world.events().await;
            events.iter().filter(|event| event.kind == "webhook_endpoint.parked").count()
        };
        assert_eq!(notices().await, 1, "thirty deliveries, one notice");
        crate::replay::ask(&world, &node, &endpoint, chassis::outbox::Replay::Parked).await;
        eventually("all are delivered", async || {
            (world.deliveries_to(&endpoint, Some("delivered")).await.len() == EVENTS).then_some(())
        })
        .await;
        let mut ids: Vec<String> =
            receiver.received().iter().rev().take(EVENTS).map(|one| one.id().to_owned()).collect();
        ids.sort_unstable();
        assert_eq!(ids, told, "nothing is lost, and the ids are the same");
        receiver.will_answer(&[503; 2]);
        let later = world.tell(&node).await;
        world.delivery_in(&later, "retrying").await;
        world.clock.advance(6 * HOUR_S);
        world.delivery_in(&later, "parked").await;
        eventually("a second notice", async || (notices().await == 2).then_some(())).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn r12_of_many_given_up_at_once_on_two_nodes_one_is_told_of() {
    const EVENTS: usize = 16;
    for world in World::both().await {
        let url = format!("http://{}/", closed_port().await);
        let endpoint = world.register(PARTNER, &url, &["fiat_in.*"]).await;
        world.commit((0..EVENTS).map(|_| world.event(PARTNER, "fiat_in.completed")).collect()).await;
        let nodes = [0, 1].map(|_| Node::start(world.outbox(loopback(), vec![0])));
        eventually("all are given up", async || {
            (world.deliveries_to(&endpoint, Some("parked")).await.len() == EVENTS).then_some(())
        })
        .await;
        eventually("the notice is numbered", async || {
            (nodes[0].outbox.stats().await.unwrap().unnumbered == 0).then_some(())
        })
        .await;
        assert_eq!(world.events().await.len(), EVENTS + 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn delivered_and_parked_rows_end_with_their_life_and_numbers_go_on() {
    const LIFE_S: i64 = chassis::outbox::EVENT_LIFE_S;
    for world in World::both().await {
        let receiver = Receiver::start().await;
        receiver.will_answer(&[500]);
        world.register(PARTNER, &receiver.url, &["fiat_in.*"]).await;
        let node = Node::start(world.outbox(loopback(), vec![0]));
        let parked = world.tell(&node).await;
        world.delivery_in(&parked, "parked").await;
        let delivered = world.tell(&node).await;
        world.delivery_in(&delivered, "delivered").await;
        eventually("the notice is numbered", async || (world.events().await.len() == 3).then_some(())).await;
        let sweeper = with_expiring_tables(Sweeper::new(world.db.clone(), world.platform.clone()));
        world.clock.advance(LIFE_S - 1);
        sweeper.sweep().await.unwrap();
        assert_eq!(rows(&world).await, (3, 2), "a day too early");
        world.clock.advance(2);
        sweeper.sweep().await.unwrap();
        assert_eq!(rows(&world).await, (0, 0));
        let next = world.tell(&node).await;
        world.delivery_in(&next, "delivered").await;
        assert_eq!(receiver.received().pop().unwrap().seq(), 4, "a number is never given twice");
    }
}
