//! The outbound fetcher: where it does not go, what it does not follow, and how much it takes.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Redirect;
use axum::routing::{get, post};
use chassis::fetch::{FetchError, FetchPolicy, FetchRequest, Fetcher};
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, header};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

fn url(text: &str) -> Url {
    text.parse().unwrap()
}

fn strict() -> Fetcher {
    Fetcher::new(FetchPolicy::default())
}

fn local() -> Fetcher {
    Fetcher::new(FetchPolicy { allow_loopback_http: true, body_bytes_max: 1000, ..FetchPolicy::default() })
}

/// A receiver on the loopback interface.
async fn receiver() -> Url {
    let endless = get(async || {
        Body::from_stream(stream::repeat_with(|| {
            Ok::<_, std::io::Error>(axum::body::Bytes::from_static(&[0; 512]))
        }))
    });
    let router = Router::new()
        .route(
            "/echo",
            post(async |headers: HeaderMap, body: String| format!("{:?} {body}", headers.get("x-a"))),
        )
        .route("/away", get(async || Redirect::temporary("http://169.254.169.254/")))
        .route("/large", get(async || "x".repeat(1001)))
        .route("/fits", get(async || "x".repeat(1000)))
        .route("/endless", endless)
        .route("/never", get(async || std::future::pending::<()>().await))
        .route(
            "/agent",
            get(async |headers: HeaderMap| headers[header::USER_AGENT].to_str().unwrap().to_owned()),
        );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url(&base)
}

#[tokio::test]
async fn addresses_that_are_not_public_are_refused_at_set_up_and_at_sending() {
    let fetcher = strict();
    for target in [
        "http://example.com/",
        "ftp://example.com/",
        "https://user:pass@example.com/",
        "https://localhost/",
        "https://localhost./",
        "https://a.localhost/",
        "https://127.0.0.1/",
        "https://2130706433/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://127.1/",
        "https://0/",
        "https://10.0.0.1/",
        "https://192.168.0.1/",
        "https://172.16.5.5/",
        "https://100.64.0.1/",
        "https://169.254.169.254/latest/meta-data/",
        "https://[::1]/",
        "https://[::]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:a9fe:a9fe]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
        "https://[fe80::1]/",
        "https://[fd00:ec2::254]/",
    ] {
        let target = url(target);
        assert!(matches!(fetcher.check_url(&target).await, Err(FetchError::NotAllowed(_))), "{target}");
        let refused = fetcher.fetch(FetchRequest::get(target.clone())).await.unwrap_err();
        assert!(matches!(refused, FetchError::NotAllowed(_)) && !refused.may_have_arrived(), "{target}");
    }
}

#[tokio::test]
async fn a_name_is_judged_by_the_addresses_it_leads_to() {
    // `ip6-localhost` and the machine's own name are no `localhost` by spelling; what they lead to is not public.
    let own_name = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let target = url(&format!("https://{}/", own_name.trim()));
    let checked = strict().check_url(&target).await;
    assert!(matches!(checked, Err(FetchError::NotAllowed(_) | FetchError::Unresolved)), "{checked:?}");
    let unknown = strict().fetch(FetchRequest::get(url("https://name.invalid/"))).await.unwrap_err();
    assert_eq!(unknown, FetchError::Unresolved);
}

#[tokio::test]
async fn an_allowed_network_opens_itself_and_nothing_else() {
    let networks = vec!["10.1.0.0/16".parse().unwrap()];
    let fetcher = Fetcher::new(FetchPolicy { allow_networks: networks, ..FetchPolicy::default() });
    assert_eq!(fetcher.check_url(&url("https://10.1.2.3/")).await, Ok(()));
    for target in ["https://10.2.0.1/", "http://10.1.2.3/", "https://127.0.0.1/"] {
        assert!(fetcher.check_url(&url(target)).await.is_err(), "{target}");
    }
}

#[tokio::test]
async fn a_developers_machine_may_call_itself_over_http_and_nobody_else() {
    let base = receiver().await;
    let mut headers = HeaderMap::new();
    headers.insert("x-a", HeaderValue::from_static("1"));
    let request = FetchRequest {
        method: Method::POST,
        url: base.join("echo").unwrap(),
        headers,
        body: "hello".into(),
        deadline: Some(Duration::from_secs(5)),
    };
    let reply = local().fetch(request.clone()).await.unwrap();
    assert_eq!((reply.status.as_u16(), &reply.body[..]), (200, &b"Some(\"1\") hello"[..]));
    let by_name = Url::parse(&base.as_str().replace("127.0.0.1", "localhost")).unwrap().join("echo").unwrap();
    assert_eq!(local().fetch(FetchRequest { url: by_name, ..request }).await.unwrap().status.as_u16(), 200);
    for target in
        ["http://example.com/", "http://10.0.0.1/", "http://[::ffff:10.0.0.1]/", "https://10.0.0.1/"]
    {
        assert!(matches!(local().check_url(&url(target)).await, Err(FetchError::NotAllowed(_))), "{target}");
    }
    let agent = local().fetch(FetchRequest::get(base.join("agent").unwrap())).await.unwrap();
    assert!(agent.body.starts_with(b"countersign/"));
}

#[tokio::test]
async fn redirects_are_not_followed() {
    let away = receiver().await.join("away").unwrap();
    let refused = local().fetch(FetchRequest::get(away)).await.unwrap_err();
    assert!(matches!(refused, FetchError::Redirected(status) if status.as_u16() == 307));
}

#[tokio::test]
async fn answers_are_capped_in_size_and_time() {
    let base = receiver().await;
    let ask = async |path: &str| {
        let deadline = Some(Duration::from_millis(300));
        let request = FetchRequest { deadline, ..FetchRequest::get(base.join(path).unwrap()) };
        local().fetch(request).await.map(|reply| reply.body.len())
    };
    assert_eq!(ask("fits").await, Ok(1000));
    assert_eq!(ask("large").await, Err(FetchError::TooLarge(1000)));
    assert_eq!(ask("endless").await, Err(FetchError::TooLarge(1000)));
    assert_eq!(ask("never").await, Err(FetchError::TimedOut));
}

#[tokio::test]
async fn an_answer_that_drips_is_given_up_at_the_deadline() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = url(&format!("http://{}/", listener.local_addr().unwrap()));
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.read_exact(&mut [0; 16]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n").await.unwrap();
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let request = FetchRequest { deadline: Some(Duration::from_millis(400)), ..FetchRequest::get(target) };
    let began = tokio::time::Instant::now();
    let failed = local().fetch(request).await.unwrap_err();
    assert_eq!((failed.clone(), failed.may_have_arrived()), (FetchError::TimedOut, true));
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn whether_a_request_may_have_arrived_is_told_apart() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = url(&format!("http://{}/?key=hunter2", listener.local_addr().unwrap()));
    let dropping = tokio::spawn(async move { drop(listener.accept().await) });
    let broken = local().fetch(FetchRequest::get(target.clone())).await.unwrap_err();
    assert!(matches!(broken, FetchError::BrokenOff(_)) && broken.may_have_arrived(), "{broken:?}");
    dropping.await.unwrap();
    let closed = local().fetch(FetchRequest::get(target)).await.unwrap_err();
    assert!(matches!(closed, FetchError::NotConnected(_)) && !closed.may_have_arrived(), "{closed:?}");
    assert!(!format!("{broken} {closed} {broken:?} {closed:?}").contains("hunter2"));
}

#[tokio::test]
async fn a_server_without_tls_is_not_spoken_to_over_https() {
    let base = receiver().await.as_str().replace("http:", "https:");
    let failed = local().fetch(FetchRequest::get(url(&base))).await.unwrap_err();
    assert!(matches!(failed, FetchError::NotConnected(_)), "{failed:?}");
}
