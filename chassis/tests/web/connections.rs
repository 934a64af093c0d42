//! The accept loop: those who dawdle are cut off (reliability row R16), those being answered are let finish.

use std::sync::atomic::Ordering;
use std::time::Duration;

use chassis::http::ServeOptions;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::world::{World, no_tls, read_reply};

/// Reads until the other side closes; fails the test if it does not within five seconds.
async fn closed_after(mut stream: TcpStream) -> Duration {
    let began = Instant::now();
    let mut sink = Vec::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut sink))
        .await
        .expect("the connection stayed open");
    began.elapsed()
}

async fn impatient() -> World {
    World::start_with(|_| (), |serve| serve.header_deadline = Duration::from_millis(200)).await
}

#[tokio::test]
async fn a_client_that_sends_nothing_or_too_little_is_cut_off() {
    let world = impatient().await;
    // `P` and the half preface could still become HTTP/2: no timer of hyper's runs yet.
    for beginning in
        ["", "P", "PRI * HTTP/2.0\r\n\r\n", "GET /fixed HTT", "GET /fixed HTTP/1.1\r\nHost: a\r\n"]
    {
        let mut stream = world.connect().await;
        stream.write_all(beginning.as_bytes()).await.unwrap();
        let taken = closed_after(stream).await;
        assert!(taken >= Duration::from_millis(150), "{beginning:?} {taken:?}");
    }
}

#[tokio::test]
async fn a_head_that_trickles_in_does_not_move_its_deadline() {
    let world = impatient().await;
    let mut stream = world.connect().await;
    let began = Instant::now();
    stream.write_all(b"GET /fixed HTTP/1.1\r\nHost: example.com\r\n").await.unwrap();
    for _ in 0..100 {
        if stream.write_all(b"X-Drop: a\r\n").await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}

#[tokio::test]
async fn an_idle_connection_is_closed_after_its_answer() {
    let world = impatient().await;
    let mut stream = world.connect().await;
    let request = format!("GET /fixed HTTP/1.1\r\nHost: {}\r\n\r\n", world.address);
    stream.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(read_reply(&mut stream).await.unwrap().text, "fixed");
    stream.write_all(request.as_bytes()).await.unwrap();
    assert_eq!(read_reply(&mut stream).await.unwrap().text, "fixed");
    assert!(closed_after(stream).await >= Duration::from_millis(150));
}

#[tokio::test]
async fn a_client_that_does_not_read_its_answer_is_cut_off() {
    let world = World::start_with(|_| (), |serve| serve.write_deadline = Duration::from_millis(200)).await;
    let mut stream = world.connect().await;
    let request = format!("GET /endless HTTP/1.1\r\nHost: {}\r\n\r\n", world.address);
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let mut taken = Vec::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut taken))
        .await
        .expect("the connection stayed open");
    assert!(taken.len() < 64 * 1024 * 1024, "{} bytes", taken.len());
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_their_turn() {
    let world = World::start_with(|_| (), |serve| serve.connections_max = 1).await;
    let first = world.connect().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(timeout(Duration::from_millis(200), world.get("/fixed")).await.is_err());
    drop(first);
    assert_eq!(timeout(Duration::from_secs(5), world.get("/fixed")).await.unwrap().text, "fixed");
}

#[tokio::test]
async fn one_network_does_not_get_every_connection() {
    let world = World::start_with(|_| (), |serve| serve.connections_of_one_network_max = 2).await;
    let held = [world.connect().await, world.connect().await];
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(closed_after(world.connect().await).await < Duration::from_secs(1));
    drop(held);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.get("/fixed").await.text, "fixed");
}

#[tokio::test]
async fn a_load_balancer_may_have_more_connections_than_others() {
    let balancers = vec!["127.0.0.0/8".parse().unwrap()];
    let change = |serve: &mut ServeOptions| {
        serve.connections_of_one_network_max = 1;
        serve.trusted_networks = balancers;
    };
    let world = World::start_with(|_| (), change).await;
    let _held = [world.connect().await, world.connect().await];
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(world.get("/fixed").await.text, "fixed");
}

/// Its settings and pings are prompt, and it never asks for anything.
#[tokio::test]
async fn an_http_2_connection_without_a_request_is_closed_too() {
    let world = impatient().await;
    let mut stream = world.connect().await;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.unwrap();
    assert!(closed_after(stream).await >= Duration::from_millis(150));
}

/// The answer stands ready, but the client opens no window for it.
#[tokio::test]
async fn an_http_2_answer_that_is_not_taken_does_not_hold_the_connection() {
    let soon = Duration::from_millis(200);
    let change = |serve: &mut ServeOptions| {
        (serve.header_deadline, serve.idle_deadline, serve.write_deadline) = (soon, soon, soon);
    };
    let world = World::start_with(|_| (), change).await;
    let mut stream = world.connect().await;
    let window_of_nothing = b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0";
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    stream.write_all(window_of_nothing).await.unwrap();
    let authority = world.address.to_string();
    let length = u8::try_from(authority.len()).unwrap();
    let block = [&[0x82, 0x86, 0x04, 6], &b"/fixed"[..], &[0x01, length], authority.as_bytes()].concat();
    let head = [0, 0, u8::try_from(block.len()).unwrap(), 1, 5, 0, 0, 0, 1];
    stream.write_all(&[&head[..], &block].concat()).await.unwrap();
    assert!(closed_after(stream).await >= Duration::from_millis(300));
}

#[tokio::test]
async fn a_shutdown_lets_the_running_request_finish_and_takes_no_new_one() {
    let world = World::start().await;
    let mut stream = world.connect().await;
    let request = format!("GET /slow HTTP/1.1\r\nHost: {}\r\n\r\n", world.address);
    stream.write_all(request.as_bytes()).await.unwrap();
    let idle = world.connect().await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    world.shutdown.trigger();
    let reply = read_reply(&mut stream).await.unwrap();
    assert_eq!(reply.text, "slow");
    assert!(closed_after(stream).await < Duration::from_secs(1));
    timeout(Duration::from_secs(5), world.ended).await.unwrap().unwrap();
    assert_eq!(world.slow_finished.load(Ordering::SeqCst), 1);
    assert!(closed_after(idle).await < Duration::from_secs(1));
    assert!(TcpStream::connect(world.address).await.is_err());
}

#[tokio::test]
async fn a_request_longer_than_the_drain_deadline_does_not_hold_the_shutdown_up() {
    let world = World::start_with(|_| (), |serve| serve.drain_deadline = Duration::from_millis(100)).await;
    let mut stream = world.connect().await;
    let request = format!("GET /never HTTP/1.1\r\nHost: {}\r\n\r\n", world.address);
    stream.write_all(request.as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    world.shutdown.trigger();
    timeout(Duration::from_secs(2), world.ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn http_2_with_prior_knowledge_is_spoken_with_the_same_rules() {
    let world = World::start().await;
    let client =
        reqwest::Client::builder().no_proxy().http2_prior_knowledge().tls_backend_preconfigured(no_tls());
    let client = client.build().unwrap();
    let reply = client.get(format!("http://{}/target?x=1", world.address)).send().await.unwrap();
    assert_eq!(reply.version(), reqwest::Version::HTTP_2);
    assert_eq!(reply.text().await.unwrap(), format!("http://{}/target?x=1 127.0.0.1", world.address));
    let foreign =
        client.get(format!("http://localhost:{}/fixed", world.address.port())).send().await.unwrap();
    assert_eq!(foreign.status().as_u16(), 421);
    let large =
        client.get(format!("http://{}/fixed", world.address)).header("x-large", "a".repeat(128 * 1024));
    assert!(large.send().await.is_err_and(|_| true) || world.get("/fixed").await.status == 200);
}
