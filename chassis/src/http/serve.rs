//! The accept loop. hyper's own deadlines are silent without a timer, and some things it never times: both are
//! mended here.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use futures_util::future::join_all;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::Service;

use super::received::PeerAddress;
use super::stream::TimedStream;
use crate::shutdown::Shutdown;

/// Deadlines and caps of a listener.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// How long the first bytes, and then each request's whole head, may take. On HTTP/1.1 it also ends a connection
    /// that idles between requests.
    pub header_deadline: Duration,
    /// How long the other side may leave an answer unread.
    pub write_deadline: Duration,
    /// How many connections are open at once; further ones wait in the kernel's queue.
    pub connections_max: usize,
    /// Largest request head that is buffered, bytes.
    pub head_buffer_bytes_max: usize,
    /// How long requests under way may take after the shutdown began.
    pub drain_deadline: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            header_deadline: Duration::from_secs(10),
            write_deadline: Duration::from_secs(30),
            connections_max: 4096,
            head_buffer_bytes_max: 64 * 1024,
            drain_deadline: Duration::from_secs(20),
        }
    }
}

/// Answers on all listeners, HTTP/1.1 and HTTP/2 with prior knowledge, until the shutdown; then lets requests under
/// way finish, within the drain deadline, and returns.
pub async fn serve(listeners: Vec<TcpListener>, router: Router, options: ServeOptions, shutdown: Shutdown) {
    let server = Arc::new(Server {
        builder: builder(&options),
        places: Arc::new(Semaphore::new(options.connections_max)),
        router,
        options,
    });
    let open = GracefulShutdown::new();
    join_all(listeners.into_iter().map(|listener| accept(&server, listener, &open, &shutdown))).await;
    if tokio::time::timeout(server.options.drain_deadline, open.shutdown()).await.is_err() {
        tracing::warn!("requests were still under way when the drain deadline passed");
    }
}

struct Server {
    builder: Builder<TokioExecutor>,
    places: Arc<Semaphore>,
    router: Router,
    options: ServeOptions,
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
        .max_concurrent_streams(128)
        .max_pending_accept_reset_streams(20)
        .max_header_list_size(u32::try_from(head_bytes).unwrap_or(u32::MAX));
    builder
}

async fn accept(server: &Arc<Server>, listener: TcpListener, open: &GracefulShutdown, shutdown: &Shutdown) {
    loop {
        let arrived = async {
            let place = Arc::clone(&server.places).acquire_owned().await.map_err(io::Error::other)?;
            listener.accept().await.map(|(stream, peer)| (place, stream, peer))
        };
        tokio::select! {
            biased;
            () = shutdown.triggered() => return,
            arrived = arrived => match arrived {
                Ok((place, stream, peer)) => converse(server, stream, peer, place, open),
                Err(failed) => rest_after(&failed).await,
            },
        }
    }
}

/// A connection that broke before it was accepted is nothing; running out of file descriptors needs a pause.
async fn rest_after(failed: &io::Error) {
    let of_one = matches!(
        failed.kind(),
        io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionRefused
    );
    if !of_one {
        tracing::warn!(error = %failed, "cannot accept a connection");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn converse(
    server: &Arc<Server>,
    stream: TcpStream,
    peer: SocketAddr,
    place: OwnedSemaphorePermit,
    open: &GracefulShutdown,
) {
    // Without it small answers wait for the other side's acknowledgement; a socket that refuses is closing anyway.
    let _ = stream.set_nodelay(true);
    let stream = TimedStream::new(stream, server.options.header_deadline, server.options.write_deadline);
    let router = server.router.clone();
    let answer = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(PeerAddress(peer));
        let answering = router.clone().call(request);
        async move { answering.await as Result<Response, Infallible> }
    });
    let connection = server.builder.serve_connection(TokioIo::new(stream), answer).into_owned();
    let connection = open.watch(connection);
    tokio::spawn(async move {
        if let Err(broken) = connection.await {
            tracing::debug!(error = %broken, "a connection ended early");
        }
        drop(place);
    });
}
