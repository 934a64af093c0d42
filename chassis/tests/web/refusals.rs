//! Hosts, unknown places, mistakes of ours, and what is written down of all that.

use std::collections::HashSet;
use std::time::Duration;

use crate::world::{World, log_lines_with, no_tls, whole_log};

#[tokio::test]
async fn only_the_services_own_hosts_are_answered_and_the_scheme_is_configured() {
    let world = World::start().await;
    let ask = async |host: &str| {
        let request = format!("GET /target?a=%2F HTTP/1.1\r\n{host}Connection: close\r\n\r\n");
        world.raw(request.as_bytes()).await.unwrap()
    };
    let own = format!("http://{}/target?a=%2F 127.0.0.1", world.address);
    assert_eq!(ask(&format!("Host: {}\r\n", world.address)).await.text, own);
    for spelling in ["api.example.com", "API.example.com:443"] {
        let reply =
            ask(&format!("Host: {spelling}\r\nX-Forwarded-Proto: http\r\nX-Forwarded-For: 9.9.9.9\r\n"))
                .await;
        assert_eq!(reply.text, "https://api.example.com/target?a=%2F 127.0.0.1");
    }
    for foreign in ["evil.test", "api.example.com.evil.test", "api.example.com:80", "u@api.example.com", ""] {
        let headers = format!(
            "Host: {foreign}\r\nX-Forwarded-Host: api.example.com\r\nForwarded: host=api.example.com\r\n"
        );
        ask(&headers).await.is_problem(421, "misdirected_request");
    }
    ask("").await.is_problem(421, "misdirected_request");
    ask("Host: api.example.com\r\nHost: api.example.com\r\n").await.is_problem(400, "ambiguous_host");
}

#[tokio::test]
async fn a_target_with_a_host_of_its_own_must_agree_with_the_header() {
    let world = World::start().await;
    let ask = async |target: &str, host: &str| {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        world.raw(request.as_bytes()).await.unwrap()
    };
    let good = ask("http://api.example.com/target", "api.example.com").await;
    assert_eq!(good.text, "https://api.example.com/target 127.0.0.1");
    ask("http://evil.test/target", "api.example.com").await.is_problem(400, "ambiguous_host");
    ask("http://evil.test/target", "evil.test").await.is_problem(421, "misdirected_request");
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_problems_too() {
    let world = World::start().await;
    world.get("/nowhere").await.is_problem(404, "unknown_path");
    for method in ["GET", "TRACE", "PROPFIND", "DELETE"] {
        let reply = world.send(method, "/orders", &[], b"").await;
        reply.is_problem(405, "method_not_allowed");
        assert_eq!(reply.headers["allow"], "POST");
    }
    let head = world.send("HEAD", "/orders", &[], b"").await;
    assert_eq!((head.status, head.headers["allow"].as_str()), (405, "POST"));
}

#[tokio::test]
async fn what_a_library_refuses_becomes_a_problem_and_keeps_the_headers_of_layers_below() {
    let world = World::start().await;
    assert_eq!(world.get("/number/7").await.text, "7");
    let unreadable = world.get("/number/seven").await;
    unreadable.is_problem(400, "bad_request");
    assert!(!unreadable.text.contains("seven"), "{unreadable:?}");
    world.get("/bare").await.is_problem(403, "refused");
    let wrong_method = world.get("/orders").await;
    assert_eq!(wrong_method.headers["x-inner-layer"], "kept");
}

#[tokio::test]
async fn every_answer_names_its_request_and_forbids_sniffing_and_storing() {
    let world = World::start().await;
    let replies = [world.get("/fixed").await, world.get("/fixed").await, world.get("/nowhere").await];
    let ids: HashSet<&str> = replies.iter().map(|reply| reply.headers["x-request-id"].as_str()).collect();
    assert_eq!(ids.len(), 3);
    for reply in &replies {
        assert_eq!(reply.headers["x-content-type-options"], "nosniff");
        assert_eq!(reply.headers["cache-control"], "no-store");
    }
    let inside = world.get("/id/a").await;
    assert_eq!(inside.text, format!("err_{}", inside.headers["x-request-id"]));
}

#[tokio::test]
async fn a_panic_is_answered_without_detail_and_logged_under_the_same_id() {
    let world = World::start().await;
    let reply = world.get("/panic").await;
    let problem = reply.is_problem(500, "internal");
    assert!(!reply.text.contains("hunter2") && !reply.text.contains("panic"), "{reply:?}");
    let lines = log_lines_with(problem["request_id"].as_str().unwrap()).await;
    let place = lines.iter().find(|line| line["message"] == "panic").unwrap();
    assert!(place["place"].as_str().unwrap().contains("world.rs"), "{place}");
    let failed = lines.iter().find(|line| line["message"] == "request failed").unwrap();
    assert_eq!((&failed["level"], &failed["error_id"]), (&"ERROR".into(), &problem["error_id"]));
    assert_eq!(world.get("/fixed").await.text, "fixed");
}

#[tokio::test]
async fn a_handler_that_never_ends_is_answered_with_503() {
    let world = World::start_with(|http| http.request_deadline = Duration::from_millis(50), |_| ()).await;
    let problem = world.get("/never").await.is_problem(503, "unavailable");
    assert_eq!(problem["retryable"], true);
}

#[tokio::test]
async fn the_access_line_holds_the_route_and_never_what_was_sent() {
    let world = World::start().await;
    let secret = "canary-7f3a91";
    let headers = [
        ("Authorization", format!("Bearer {secret}")),
        ("Cookie", format!("s={secret}")),
        ("User-Agent", secret.to_owned()),
        ("Content-Type", "application/json".to_owned()),
        ("X-Evil", format!("{secret}\tINFO fake")),
    ];
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let path = format!("/id/{secret}?q={secret}");
    let good = world.send("GET", &path, &headers, b"").await;
    let body = format!("{{\"{secret}\":\"{secret}\"}}");
    let refused = world.send("POST", &format!("/orders?q={secret}"), &headers, body.as_bytes()).await;
    let unknown = world.send("GET", &format!("/{secret}"), &headers, b"").await;
    for (reply, method, path, status) in
        [(&good, "GET", "/id/{name}", 200), (&refused, "POST", "/orders", 400), (&unknown, "GET", "-", 404)]
    {
        let lines = log_lines_with(&reply.headers["x-request-id"]).await;
        let access = lines.iter().find(|line| line["target"] == "access").unwrap();
        assert_eq!((&access["method"], &access["path"]), (&method.into(), &path.into()));
        assert_eq!((&access["status"], &access["service"]), (&status.into(), &"web-test".into()));
        assert!(access["ms"].is_u64());
    }
    let access = log_lines_with(&refused.headers["x-request-id"]).await;
    assert!(access.iter().any(|line| line["code"] == "unknown_field"), "{access:?}");
    assert!(!whole_log().contains(secret));
}

#[tokio::test]
async fn probes_and_metrics_tell_operators_what_goes_on() {
    let world = World::start().await;
    world.get("/id/metrics").await;
    world.get("/metrics-unknown").await;
    let readiness = chassis::ops::Readiness::new();
    let flag = readiness.flag("directory");
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let router = chassis::ops::router(readiness);
    let served = chassis::http::serve(
        vec![listener],
        router,
        chassis::http::ServeOptions::default(),
        world.shutdown.clone(),
    );
    let served = tokio::spawn(served);
    let client = reqwest::Client::builder().no_proxy().tls_backend_preconfigured(no_tls()).build().unwrap();
    let ask = async |path: &str| {
        let reply = client.get(format!("{base}{path}")).send().await.unwrap();
        (reply.status().as_u16(), reply.text().await.unwrap())
    };
    assert_eq!(ask("/livez").await, (200, "live\n".to_owned()));
    let not_yet = r#"{"ready":false,"checks":[{"name":"directory","ready":false,"reason":"not yet"}]}"#;
    assert_eq!(ask("/readyz").await, (503, not_yet.to_owned()));
    flag.set(true);
    assert_eq!(ask("/readyz").await.0, 200);
    let (_, metrics) = ask("/metrics").await;
    let line = r#"http_requests_total{service="web-test",method="GET",path="/id/{name}",status="200"}"#;
    assert!(metrics.contains(line), "{metrics}");
    assert!(metrics.contains("http_request_seconds_bucket") && !metrics.contains("metrics-unknown"));
    world.shutdown.trigger();
    served.await.unwrap();
}
