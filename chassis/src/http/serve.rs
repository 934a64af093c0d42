//! The accept loop. hyper's own deadlines are silent without a timer, and some things it never times: both are
//! mended here and in `connection`.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use futures_util::future::join_all;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::connection::converse;
use super::places::Places;
use super::tls::Tls;
use crate::shutdown::Shutdown;

/// Shortest and longest rest of the accept loop while the system gives it no connection.
const REST: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(1));

/// Deadlines and caps of a listener.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// TLS; `None`: plain HTTP.
    pub tls: Option<Tls>,
    /// How long a TLS handshake may take.
    pub tls_deadline: Duration,
    /// How long the first request's head, and then each request's whole head, may take. On HTTP/1.1 it also ends a
    /// connection that idles between requests.
    pub header_deadline: Duration,
    /// How long a connection may stay without a request being answered. Half a head, pings and an answer that is
    /// not taken do not count as one.
    pub idle_deadline: Duration,
    /// How long the other side may leave an answer unread.
    pub write_deadline: Duration,
    /// How many connections are open at once; further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// How many of them one network (an IPv4 address, an IPv6 /64) may have; further ones are closed.
    pub connections_of_one_network_max: usize,
    /// Networks of load balancers, which speak for many and so are not held to the limit of one network.
    pub trusted_networks: Vec<IpNet>,
    /// Largest request head that is buffered, bytes.
    pub head_buffer_bytes_max: usize,
    /// How many requests of one HTTP/2 connection are answered at once.
    pub streams_max: u32,
    /// How long requests under way may take after the shutdown began.
    pub drain_deadline: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            tls: None,
            tls_deadline: Duration::from_secs(10),
            header_deadline: Duration::from_secs(10),
            idle_deadline: Duration::from_mins(1),
            write_deadline: Duration::from_secs(30),
            connections_max: 4096,
            connections_of_one_network_max: 1024,
            trusted_networks: Vec::new(),
            head_buffer_bytes_max: 64 * 1024,
            streams_max: 128,
            drain_deadline: Duration::from_secs(20),
        }
    }
}

impl ServeOptions {
    fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted_networks.iter().any(|network| network.contains(&peer))
    }
}

/// Answers on all listeners, HTTP/1.1 and HTTP/2 (over TLS by ALPN, else with prior knowledge), until the shutdown;
/// then lets requests under way finish, within the drain deadline, and returns.
pub async fn serve(listeners: Vec<TcpListener>, router: Router, options: ServeOptions, shutdown: Shutdown) {
    let server = Arc::new(Server {
        builder: builder(&options),
        places: Places::new(options.connections_max, options.connections_of_one_network_max),
        router,
        options,
    });
    if let Some(tls) = server.options.tls.clone() {
        let ending = shutdown.clone();
        shutdown.spawn("certificate reload", async move { tls.keep_current(ending).await });
    }
    let open = TaskTracker::new();
    join_all(listeners.into_iter().map(|listener| accept(&server, listener, &open, &shutdown))).await;
    open.close();
    if tokio::time::timeout(server.options.drain_deadline, open.wait()).await.is_err() {
        tracing::warn!("requests were still under way when the drain deadline passed");
    }
}

pub(super) struct Server {
    pub(super) builder: Builder<TokioExecutor>,
    pub(super) router: Router,
    pub(super) options: ServeOptions,
    places: Arc<Places>,
}

fn builder(options: &ServeOptions) -> Builder<TokioExecutor> {
    let head_bytes = options.head_buffer_bytes_max;
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(options.header_deadline)
        .max_buf_size(head_bytes)
        .max_headers(100);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_secs(20))
        .keep_alive_timeout(options.header_deadline)
        .max_concurrent_streams(options.streams_max)
        // Both kinds of rapid reset: streams the peer resets, and streams it makes us reset (CVE-2025-8671).
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(64)
        // What a connection may have us hold: bodies not yet read, answers not yet sent.
        .initial_stream_window_size(64 * 1024)
        .initial_connection_window_size(1024 * 1024)
        .max_send_buf_size(256 * 1024)
        .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX));
    builder
}

async fn accept(server: &Arc<Server>, listener: TcpListener, open: &TaskTracker, shutdown: &Shutdown) {
    let mut rest = REST.0;
    loop {
        let arrived = async {
            let free = server.places.free().await?;
            listener.accept().await.map(|(stream, peer)| (free, stream, peer))
        };
        let arrived = tokio::select! {
            biased;
            () = shutdown.triggered() => return,
            arrived = arrived => arrived,
        };
        match arrived {
            Ok((free, stream, peer)) => {
                rest = REST.0;
                let trusted = server.options.trusts(peer.ip());
                let Some(place) = server.places.take(free, peer.ip(), trusted) else {
                    metrics::counter!("connections_refused_total").increment(1);
                    continue;
                };
                let talk = converse(Arc::clone(server), stream, peer, shutdown.clone());
                open.spawn(async move {
                    talk.await;
                    drop(place);
                });
            }
            Err(failed) if is_of_one_connection(&failed) => {}
            Err(failed) => {
                if rest == REST.0 {
                    tracing::warn!(error = %failed, "cannot accept connections; trying on");
                }
                tokio::time::sleep(rest).await;
                rest = (rest * 2).min(REST.1);
            }
        }
    }
}

/// A connection that broke before it was accepted is nothing; all else, such as having no file descriptor left,
/// needs a pause (accept(2) would fail again at once).
fn is_of_one_connection(failed: &io::Error) -> bool {
    matches!(
        failed.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    )
}
