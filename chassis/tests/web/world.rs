//! A server with a handful of routes, a raw socket to it, and the log that it writes.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use axum::extract::Path;
use axum::response::Response;
use axum::routing::{get, post};
use axum::{Extension, Router};
use chassis::http::{
    ClientAddress, ClientCertificate, ErrorId, HttpOptions, PeerAddress, RawBody, ServeOptions, StrictForm,
    StrictJson, StrictQuery, TargetUri, layered, serve,
};
use chassis::shutdown::Shutdown;
use chassis::telemetry::{self, Format, LogGuard};
use chassis::{Clock, Platform, SystemClock};
use http::{HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tower::util::MapResponseLayer;

/// Where all servers of this test binary write their log.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<u8>>>);

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

static LOG: OnceLock<(Kept, LogGuard)> = OnceLock::new();

fn log() -> &'static Kept {
    let (kept, _) = LOG.get_or_init(|| {
        let kept = Kept::default();
        let shown = std::panic::take_hook();
        let guard = telemetry::init_to(Format::Json, "trace", Box::new(kept.clone())).unwrap();
        let logged = std::panic::take_hook();
        // Also shown, so that a failing test says why.
        std::panic::set_hook(Box::new(move |panic| {
            logged(panic);
            shown(panic);
        }));
        (kept, guard)
    });
    kept
}

/// The log lines that hold `text`, once there is one; waits for the writing thread.
pub(crate) async fn log_lines_with(text: &str) -> Vec<Value> {
    for _ in 0..100 {
        let all = String::from_utf8(log().0.lock().unwrap().clone()).unwrap();
        let found: Vec<Value> = all
            .lines()
            .filter(|line| line.contains(text))
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        if found.iter().any(|line| line["target"] == "access") {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("no access line with {text}");
}

/// Everything logged so far.
pub(crate) fn whole_log() -> String {
    String::from_utf8(log().0.lock().unwrap().clone()).unwrap()
}

/// A running server.
pub(crate) struct World {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) slow_finished: Arc<AtomicUsize>,
    pub(crate) ended: JoinHandle<()>,
}

/// An answer, read off the wire.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) text: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// Asserts status and code, and that it is a problem document with its id; returns the document.
    pub(crate) fn is_problem(&self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.headers["cache-control"], "no-store");
        let problem = self.json();
        assert_eq!((&problem["status"], &problem["code"]), (&status.into(), &code.into()), "{problem}");
        let id = problem["error_id"].as_str().unwrap();
        assert_eq!(id.strip_prefix("err_"), problem["request_id"].as_str());
        assert_eq!(self.headers["x-request-id"], problem["request_id"].as_str().unwrap());
        problem
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    amount: i64,
    #[serde(default)]
    lines: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    text: String,
}

#[derive(Deserialize)]
struct Form {
    grant_type: String,
    scope: Option<String>,
    #[serde(default)]
    resource: Vec<String>,
}

#[derive(Deserialize)]
struct Page {
    limit: Option<u32>,
}

fn routes(slow_finished: Arc<AtomicUsize>) -> Router {
    Router::new()
        .route("/fixed", get(async || "fixed"))
        .route("/client", get(async |client: ClientAddress| client.0.to_string()))
        .route("/target", get(async |target: TargetUri, peer: PeerAddress| format!("{target} {}", peer.ip())))
        .route(
            "/certificate",
            get(async |presented: Option<Extension<ClientCertificate>>| match presented {
                Some(Extension(one)) => {
                    format!("{} {} {}", one.thumbprint(), one.is_trusted(SystemClock.now()), one.subject())
                }
                None => "none".to_owned(),
            }),
        )
        .route("/raw", post(async |RawBody(body): RawBody| body))
        .route(
            "/orders",
            post(async |StrictJson { value, raw, .. }: StrictJson<Order>| {
                let texts: Vec<String> = value.lines.into_iter().map(|line| line.text).collect();
                format!("{} {} {}", value.amount, texts.join("+"), raw.len())
            }),
        )
        .route(
            "/form",
            post(async |StrictForm { value, .. }: StrictForm<Form>| {
                format!("{} {:?} {}", value.grant_type, value.scope, value.resource.join("+"))
            }),
        )
        .route(
            "/page",
            get(async |StrictQuery { value, .. }: StrictQuery<Page>| format!("{:?}", value.limit)),
        )
        .route("/id/{name}", get(async || ErrorId::current().to_string()))
        .route("/number/{number}", get(async |Path(number): Path<u32>| number.to_string()))
        .route("/bare", get(async || StatusCode::FORBIDDEN))
        .route("/panic", get(async || panicking("hunter2")))
        .route(
            "/slow",
            get(async move || {
                tokio::time::sleep(Duration::from_millis(300)).await;
                slow_finished.fetch_add(1, Ordering::SeqCst);
                "slow"
            }),
        )
        .route("/never", get(async || std::future::pending::<()>().await))
        .route("/endless", get(async || "x".repeat(64 * 1024 * 1024)))
        .layer(MapResponseLayer::new(|mut response: Response| {
            response.headers_mut().insert("x-inner-layer", HeaderValue::from_static("kept"));
            response
        }))
}

fn panicking(secret: &str) -> &'static str {
    assert!(secret.is_empty(), "the secret was {secret}");
    "unreachable"
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| (), |_| ()).await
    }

    /// One that keeps no log: its memory is looked at.
    pub(crate) async fn start_quiet() -> Self {
        Self::start_server(|_| (), |_| ()).await
    }

    pub(crate) async fn start_with(
        change_http: impl FnOnce(&mut HttpOptions),
        change_serve: impl FnOnce(&mut ServeOptions),
    ) -> Self {
        log();
        Self::start_server(change_http, change_serve).await
    }

    async fn start_server(
        change_http: impl FnOnce(&mut HttpOptions),
        change_serve: impl FnOnce(&mut ServeOptions),
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let origins =
            vec![format!("http://{address}").parse().unwrap(), "https://api.example.com".parse().unwrap()];
        let mut http = HttpOptions::new("web-test", origins);
        change_http(&mut http);
        let mut options = ServeOptions::default();
        change_serve(&mut options);
        let slow_finished = Arc::new(AtomicUsize::new(0));
        let router = layered(routes(Arc::clone(&slow_finished)), http, &Platform::system(true));
        let shutdown = Shutdown::new();
        let ended = tokio::spawn(serve(vec![listener], router, options, shutdown.clone()));
        Self { address, shutdown, slow_finished, ended }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends `GET path` with this server's own host.
    pub(crate) async fn get(&self, path: &str) -> Reply {
        self.send("GET", path, &[], b"").await
    }

    pub(crate) async fn post(&self, path: &str, content_type: &str, body: &[u8]) -> Reply {
        self.send("POST", path, &[("Content-Type", content_type)], body).await
    }

    pub(crate) async fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Reply {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        if !body.is_empty() || method == "POST" {
            head.extend(["Content-Length: ", &body.len().to_string(), "\r\n"]);
        }
        head.push_str("\r\n");
        self.raw(&[head.as_bytes(), body].concat())
            .await
            .unwrap_or_else(|| panic!("closed without an answer"))
    }

    /// Sends bytes as they are and reads one answer; `None` when the connection was closed without one.
    pub(crate) async fn raw(&self, bytes: &[u8]) -> Option<Reply> {
        let mut stream = self.connect().await;
        // The other side may close while this is still writing; what it answered can be read all the same.
        let _ = stream.write_all(bytes).await;
        read(&mut stream, !bytes.starts_with(b"HEAD ")).await
    }
}

/// Reads until the connection is closed or one answer is complete.
pub(crate) async fn read_reply(stream: &mut (impl AsyncRead + Unpin)) -> Option<Reply> {
    read(stream, true).await
}

async fn read(stream: &mut (impl AsyncRead + Unpin), with_body: bool) -> Option<Reply> {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(reply) = parse(&bytes, with_body) {
            return Some(reply);
        }
        let read = tokio::time::timeout(Duration::from_secs(20), stream.read(&mut piece)).await.unwrap();
        match read {
            Ok(0) | Err(_) => return None,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
        }
    }
}

fn parse(bytes: &[u8], with_body: bool) -> Option<Reply> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let declared = headers.get("content-length").filter(|_| with_body);
    let length: usize = declared.map_or(0, |length| length.parse().unwrap());
    let body = body.get(..length)?;
    Some(Reply { status, text: body.to_owned(), headers })
}

/// What reqwest needs to be built, for clients that speak http only.
pub(crate) fn no_tls() -> rustls::ClientConfig {
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions =
        rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    versions.unwrap().with_root_certificates(rustls::RootCertStore::empty()).with_no_client_auth()
}
