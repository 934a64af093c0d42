//! Sizes, codings and spellings that are refused before a handler runs: security rows A10 to A15 and A22, each test
//! named after its row.

use std::time::Duration;

use chassis::http::{HttpOptions, ServeOptions};
use tokio::io::AsyncWriteExt;

use crate::world::{World, read_reply};

#[tokio::test]
async fn a12_a_body_declared_too_large_is_refused_before_it_is_read() {
    let world = World::start().await;
    let mut stream = world.connect().await;
    let head = format!("POST /raw HTTP/1.1\r\nHost: {}\r\nContent-Length: 65537\r\n\r\n", world.address);
    stream.write_all(head.as_bytes()).await.unwrap();
    let reply = read_reply(&mut stream).await.unwrap();
    reply.is_problem(413, "body_too_large");
}

#[tokio::test]
async fn a12_a_chunked_body_is_cut_at_the_limit() {
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
async fn a12_a_body_at_the_limit_is_taken_both_ways() {
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
async fn a12_a_body_that_stops_arriving_is_answered_with_408() {
    let short = Duration::from_millis(100);
    let world = World::start_with(|http| http.body_deadline = short, |_| ()).await;
    let mut stream = world.connect().await;
    let head = format!("POST /raw HTTP/1.1\r\nHost: {}\r\nContent-Length: 10\r\n\r\nhalf", world.address);
    stream.write_all(head.as_bytes()).await.unwrap();
    read_reply(&mut stream).await.unwrap().is_problem(408, "body_timeout");
}

#[tokio::test]
async fn a13_compressed_bodies_are_refused() {
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
async fn a11_a_long_uri_is_answered_with_414() {
    let world = World::start().await;
    let path = format!("/fixed?{}", "a".repeat(9000));
    world.get(&path).await.is_problem(414, "uri_too_long");
}

#[tokio::test]
async fn a11_large_or_many_headers_end_in_431_or_a_closed_connection() {
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

fn soon_closed(serve: &mut ServeOptions) {
    serve.header_deadline = Duration::from_millis(500);
}

#[tokio::test]
async fn a10_two_lengths_for_one_body_never_make_two_requests() {
    let world = World::start_with(|_| (), soon_closed).await;
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
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: \x0bchunked\r\nContent-Length: 4\r\n",
        "Transfer-Encoding : chunked\r\nContent-Length: 4\r\n",
        "Content-Length: 0x5\r\n",
        "Content-Length: 5\r\n Transfer-Encoding: chunked\r\n",
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
        tokio::time::sleep(Duration::from_millis(100)).await;
        world.get("/fixed").await
    });
    assert_eq!(first.text, "slow");
    let problem = second.is_problem(503, "overloaded");
    assert_eq!((second.headers["retry-after"].as_str(), &problem["retryable"]), ("1", &true.into()));
    assert_eq!(world.get("/fixed").await.text, "fixed");
}

#[tokio::test]
async fn a10_a_chunk_size_that_is_none_ends_the_connection() {
    let world = World::start_with(|_| (), soon_closed).await;
    let smuggled = "GET /id/smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
    for chunk in ["0x5\r\nhello", "-1\r\n", "5 5\r\nhello", "FFFFFFFFFFFFFFFF1\r\n", "\r\n", "5\nhello\n"] {
        let head =
            format!("POST /raw HTTP/1.1\r\nHost: {}\r\nTransfer-Encoding: chunked\r\n\r\n", world.address);
        let mut stream = world.connect().await;
        let request = format!("{head}{chunk}\r\n0\r\n\r\n{smuggled}");
        stream.write_all(request.as_bytes()).await.unwrap();
        let first = read_reply(&mut stream).await;
        assert!(first.as_ref().is_none_or(|reply| reply.status == 400), "{chunk:?}: {first:?}");
        let second = read_reply(&mut stream).await;
        assert!(second.is_none(), "{chunk:?}: {second:?}");
    }
}

#[tokio::test]
async fn a12_a_body_longer_than_declared_is_no_second_request_with_its_rest() {
    let world = World::start().await;
    let head = format!("POST /raw HTTP/1.1\r\nHost: {}\r\nContent-Length: 4\r\n\r\n", world.address);
    let mut stream = world.connect().await;
    stream.write_all(format!("{head}bodyREST OF IT").as_bytes()).await.unwrap();
    assert_eq!(read_reply(&mut stream).await.unwrap().text, "body");
    stream.write_all(b"\r\n\r\n").await.unwrap();
    let second = read_reply(&mut stream).await;
    assert!(second.as_ref().is_none_or(|reply| reply.status == 400), "{second:?}");
}

#[tokio::test]
async fn a14_a15_headers_of_proxies_that_nobody_trusts_have_no_effect() {
    let world = World::start().await;
    for name in [
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "X-Forwarded-For",
        "X-Forwarded-Port",
        "X-Real-IP",
        "X_Forwarded_For",
        "X_Forwarded_Host",
        "X-Original-URL",
        "X-Rewrite-URL",
    ] {
        let reply = world.send("GET", "/target", &[(name, "203.0.113.9")], b"").await;
        assert_eq!(reply.text, format!("http://{}/target 127.0.0.1", world.address), "{name}");
    }
    let forwarded = [("Forwarded", "for=203.0.113.9;host=evil.example;proto=https")];
    let reply = world.send("GET", "/target", &forwarded, b"").await;
    assert_eq!(reply.text, format!("http://{}/target 127.0.0.1", world.address));
}

#[tokio::test]
async fn a14_a_trusted_proxy_is_believed_about_the_clients_address_and_nothing_else() {
    let trusting = |http: &mut HttpOptions| {
        http.trusted_proxies.networks = vec!["127.0.0.0/8".parse().unwrap()];
    };
    let world = World::start_with(trusting, |_| ()).await;
    let said = [
        ("X-Forwarded-For", "198.51.100.7, 203.0.113.9"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "https"),
        ("Forwarded", "for=198.51.100.1;host=evil.example"),
        ("X_Forwarded_For", "198.51.100.2"),
    ];
    assert_eq!(world.send("GET", "/client", &said, b"").await.text, "203.0.113.9");
    let target = world.send("GET", "/target", &said, b"").await.text;
    assert_eq!(target, format!("http://{}/target 127.0.0.1", world.address));
    let nobody = World::start().await;
    assert_eq!(nobody.send("GET", "/client", &said, b"").await.text, "127.0.0.1");
}

#[tokio::test]
async fn a22_other_spellings_of_a_path_reach_nothing() {
    let world = World::start().await;
    for path in [
        "/fixed/",
        "//fixed",
        "/%66ixed",
        "/fixed;x=1",
        "/x/../fixed",
        "/./fixed",
        "/fixed%2f",
        "/fixed%00",
        "/FIXED",
        "/x/%2e%2e/fixed",
        "/fixed%3fx",
        "/fixed\\",
        "/..;/fixed",
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", world.address);
        let reply = world.raw(request.as_bytes()).await;
        assert!(reply.as_ref().is_none_or(|reply| matches!(reply.status, 400 | 404)), "{path}: {reply:?}");
    }
}
