//! One connection from its first byte to its last: what is written to a closed door, and who stays too long.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use axum::response::Response;
use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};
use tower::Service;

use super::received::PeerAddress;
use super::serve::{ServeOptions, Server};
use super::stream::TimedStream;
use super::tls::ClientCertificate;
use crate::shutdown::Shutdown;

/// Speaks with one peer until either side ends it.
pub(super) async fn converse(server: Arc<Server>, stream: TcpStream, peer: SocketAddr, shutdown: Shutdown) {
    // Without it small answers wait for the other side's acknowledgement; a socket that refuses is closing anyway.
    let _ = stream.set_nodelay(true);
    let stream = TimedStream::new(stream, server.options.write_deadline);
    let Some(tls) = &server.options.tls else {
        return speak_http(&server, stream, (peer, None), &shutdown).await;
    };
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(server.options.tls_deadline, tls.accept(stream)) => shaken,
        () = shutdown.triggered() => return,
    };
    match shaken {
        Ok(Ok((stream, certificate))) => speak_http(&server, stream, (peer, certificate), &shutdown).await,
        Ok(Err(failed)) => tracing::debug!(error = %failed, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

async fn speak_http<S>(
    server: &Server,
    stream: S,
    from: (SocketAddr, Option<ClientCertificate>),
    shutdown: &Shutdown,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (peer, certificate) = from;
    let activity = Arc::new(Activity::new());
    let noted = Arc::clone(&activity);
    let router = server.router.clone();
    let answer = service_fn(move |mut request: Request<Incoming>| {
        let busy = Busy::begin(&noted);
        request.extensions_mut().insert(PeerAddress(peer));
        if let Some(certificate) = &certificate {
            request.extensions_mut().insert(certificate.clone());
        }
        let answering = router.clone().call(request);
        async move {
            let answered = answering.await as Result<Response, Infallible>;
            drop(busy);
            answered
        }
    });
    let mut connection = pin!(server.builder.serve_connection(TokioIo::new(stream), answer));
    let mut look = pin!(sleep(server.options.header_deadline));
    let (mut told, mut ending) = (false, false);
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => {
                if let Err(broken) = ended {
                    tracing::debug!(error = %broken, "a connection ended early");
                }
                return;
            }
            () = shutdown.triggered(), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
            () = look.as_mut() => match activity.verdict(&server.options) {
                Verdict::LookAgain(after) => look.as_mut().reset(Instant::now() + after),
                // Whoever never asked anything gets no farewell, and whoever got one has had the time to leave.
                Verdict::NeverAsked => return,
                Verdict::Quiet if ending => return,
                Verdict::Quiet => {
                    ending = true;
                    connection.as_mut().graceful_shutdown();
                    look.as_mut().reset(Instant::now() + server.options.write_deadline);
                }
            },
        }
    }
}

/// When the peer last had something under way. Bytes alone do not count: pings and half a head are no requests.
struct Activity {
    began: Instant,
    asked: AtomicU64,
    in_flight: AtomicUsize,
    quiet_since_ms: AtomicU64,
}

enum Verdict {
    LookAgain(Duration),
    NeverAsked,
    Quiet,
}

impl Activity {
    fn new() -> Self {
        Self {
            began: Instant::now(),
            asked: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            quiet_since_ms: AtomicU64::new(0),
        }
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn verdict(&self, options: &ServeOptions) -> Verdict {
        if self.asked.load(Ordering::Relaxed) == 0 {
            return Verdict::NeverAsked;
        }
        if self.in_flight.load(Ordering::Relaxed) > 0 {
            return Verdict::LookAgain(options.idle_deadline);
        }
        let quiet_ms = self.elapsed_ms().saturating_sub(self.quiet_since_ms.load(Ordering::Relaxed));
        match options.idle_deadline.checked_sub(Duration::from_millis(quiet_ms)) {
            Some(left) if !left.is_zero() => Verdict::LookAgain(left),
            _ => Verdict::Quiet,
        }
    }
}

/// One request being answered. Dropped when the answer is there or nobody waits for it any more.
struct Busy(Arc<Activity>);

impl Busy {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.asked.fetch_add(1, Ordering::Relaxed);
        activity.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.quiet_since_ms.store(self.0.elapsed_ms(), Ordering::Relaxed);
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}
