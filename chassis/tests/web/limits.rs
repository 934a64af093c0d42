//! Sizes and codings that are refused before a handler runs.

use tokio::io::AsyncWriteExt;

use crate::world::{World, read_reply};

#[tokio::test]
async fn a_body_declared_too_large_is_refused_before_it_is_read() {
    let world = World::start().await;
    let mut stream = world.connect().await;
    let head = format!("POST /raw HTTP/1.1\r\nHost: {}\r\nContent-Length: 65537\r\n\r\n", world.address);
    stream.write_all(head.as_bytes()).await.unwrap();
    let reply = read_reply(&mut stream).await.unwrap();
    reply.is_problem(413, "body_too_large");
}

#[tokio::test]
async fn a_chunked_body_is_cut_at_the_limit() {
    let world = World::start().await;
    let mut stream = world.connect().await;
    let head = format!("POST /raw HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n", world.address);
    stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = format!("4000\r\n{}\r\n", "x".repeat(0x4000));
    for _ in 0..5 {
        // It may have answered and closed already.
        let _ = stream.write_all(chunk.as_bytes()).await;
    }
    read_reply(&mut stream).await.unwrap().is_problem(413, "body_too_large");
}

#[tokio::test]
async fn a_body_at_the_limit_is_taken_both_ways() {
    let world = World::start().await;
    let body = "x".repeat(64 * 1024);
    assert_eq!(world.post("/raw", "text/plain", body.as_bytes()).await.text.len(), body.len());
    let chunked = format!(
        "POST /raw HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n10000\r\n{body}\r\n0\r\n\r\n",
        world.address
    );
    assert_eq!(world.raw(chunked.as_bytes()).await.unwrap().text.len(), body.len());
}

#[tokio::test]
async fn a_body_that_stops_arriving_is_answered_with_408() {
    let short = std::time::Duration::from_millis(100);
    let world = World::start_with(|http| http.body_deadline = short, |_| ()).await;
    let mut stream = world.connect().await;
    let head = format!("POST /raw HTTP/1.1\r\nHost: {}\r\nContent-Length: 10\r\n\r\nhalf", world.address);
    stream.write_all(head.as_bytes()).await.unwrap();
    read_reply(&mut stream).await.unwrap().is_problem(408, "body_timeout");
}

#[tokio::test]
async fn compressed_bodies_are_refused() {
    let world = World::start().await;
    for coding in ["gzip", "deflate", "br", "identity, gzip"] {
        let headers = [("Content-Type", "application/json"), ("Content-Encoding", coding)];
        world.send("POST", "/orders", &headers, b"x").await.is_problem(415, "unsupported_content_encoding");
    }
    let twice = [("Content-Encoding", "identity"), ("Content-Encoding", "gzip")];
    world.send("POST", "/raw", &twice, b"x").await.is_problem(415, "unsupported_content_encoding");
    assert_eq!(world.send("POST", "/raw", &[("Content-Encoding", "identity")], b"x").await.status, 200);
}

#[tokio::test]
async fn a_long_uri_is_answered_with_414() {
    let world = World::start().await;
    let path = format!("/fixed?{}", "a".repeat(9000));
    world.get(&path).await.is_problem(414, "uri_too_long");
}

#[tokio::test]
async fn large_or_many_headers_end_in_431_or_a_closed_connection() {
    let world = World::start().await;
    let large = "a".repeat(17 * 1024);
    world.send("GET", "/fixed", &[("X-Large", &large)], b"").await.is_problem(431, "headers_too_large");
    for (name, bomb) in [
        ("one header of 128 KiB", format!("X-Bomb: {}\r\n", "a".repeat(128 * 1024))),
        ("10,000 headers", "X-Bomb: a\r\n".repeat(10_000)),
        ("a block of 1 MiB", format!("X-Bomb: {}\r\n", "a".repeat(1000)).repeat(1048)),
    ] {
        let request = format!("GET /fixed HTTP/1.1\r\nHost: {}\r\n{bomb}\r\n", world.address);
        let reply = world.raw(request.as_bytes()).await;
        assert!(reply.as_ref().is_none_or(|reply| reply.status == 431), "{name}: {reply:?}");
    }
    let uri = format!("GET /{} HTTP/1.1\r\nHost: {}\r\n\r\n", "a".repeat(64 * 1024), world.address);
    let reply = world.raw(uri.as_bytes()).await;
    assert!(reply.as_ref().is_none_or(|reply| matches!(reply.status, 414 | 431)), "{reply:?}");
    assert_eq!(world.get("/fixed").await.text, "fixed");
}

#[tokio::test]
async fn two_lengths_for_one_body_never_make_two_requests() {
    let world = World::start().await;
    let host = format!("Host: {}\r\n", world.address);
    let smuggled = "GET /id/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for lengths in [
        "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "Transfer-Encoding: chunked, identity\r\n",
        "Transfer-Encoding: xchunked\r\n",
        "Content-Length: +5\r\n",
        "Content-Length: 5, 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
    ] {
        let request = format!("POST /raw HTTP/1.1\r\n{host}{lengths}\r\n0\r\n\r\n{smuggled}");
        let mut stream = world.connect().await;
        stream.write_all(request.as_bytes()).await.unwrap();
        let first = read_reply(&mut stream).await;
        assert!(first.as_ref().is_none_or(|reply| matches!(reply.status, 200 | 400)), "{lengths}: {first:?}");
        let second = read_reply(&mut stream).await;
        assert!(second.is_none(), "{lengths}: {second:?}");
    }
}

#[tokio::test]
async fn requests_beyond_the_number_worked_on_at_once_are_answered_with_503() {
    let world = World::start_with(|http| http.in_flight_max = 1, |_| ()).await;
    let (first, second) = tokio::join!(world.get("/slow"), async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        world.get("/fixed").await
    });
    assert_eq!(first.text, "slow");
    let problem = second.is_problem(503, "overloaded");
    assert_eq!((second.headers["retry-after"].as_str(), &problem["retryable"]), ("1", &true.into()));
    assert_eq!(world.get("/fixed").await.text, "fixed");
}
