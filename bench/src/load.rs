//! A small load client: kept-alive HTTP/1.1 connections that send prepared requests and read whole answers.
//!
//! It measures nothing but answers per second and latency; the server's CPU time is read from the system
//! (see `process`), because on a machine shared with the client only that figure can be compared.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// Requests as bytes on the wire. Sent in order; `Repeat` starts again at the end, `Once` stops there.
#[derive(Clone)]
pub(crate) enum Requests {
    /// The same requests over and over, for a time.
    Repeat(Arc<Vec<Vec<u8>>>, Duration),
    /// Each exactly once, as fast as the connections allow.
    Once(Arc<Vec<Vec<u8>>>),
}

/// What one load gave.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) answers: usize,
    pub(crate) seconds: f64,
    /// Microseconds, sorted.
    latencies_us: Vec<u64>,
}

impl Load {
    /// The latency below which this share of the answers came, in microseconds.
    pub(crate) fn latency_us(&self, share: f64) -> u64 {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "an index below the length"
        )]
        let index = (self.latencies_us.len() as f64 * share) as usize;
        self.latencies_us.get(index.min(self.latencies_us.len().saturating_sub(1))).copied().unwrap_or(0)
    }

    #[allow(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    pub(crate) fn per_second(&self) -> f64 {
        self.answers as f64 / self.seconds
    }
}

/// One request as bytes. `headers` end up as given; Host, Content-Length and keep-alive are added.
pub(crate) fn request(
    method: &str,
    authority: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Vec<u8> {
    let mut text = format!("{method} {path} HTTP/1.1\r\nhost: {authority}\r\n");
    for (name, value) in headers {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    }
    if !body.is_empty() || method == "POST" {
        text.push_str("content-length: ");
        text.push_str(&body.len().to_string());
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(body);
    bytes
}

/// Drives `connections` connections against 127.0.0.1:`port`.
///
/// # Errors
/// When an answer's status is not 2xx: a run with refusals measures refusals and is void.
pub(crate) async fn drive(port: u16, connections: usize, requests: Requests) -> anyhow::Result<Load> {
    let next = Arc::new(AtomicUsize::new(0));
    let began = Instant::now();
    let tasks: Vec<_> = (0..connections)
        .map(|_| tokio::spawn(one_connection(port, requests.clone(), Arc::clone(&next), began)))
        .collect();
    let mut latencies_us = Vec::new();
    for task in tasks {
        latencies_us.extend(task.await.context("a connection's task")??);
    }
    let seconds = began.elapsed().as_secs_f64();
    latencies_us.sort_unstable();
    Ok(Load { answers: latencies_us.len(), seconds, latencies_us })
}

async fn one_connection(
    port: u16,
    requests: Requests,
    next: Arc<AtomicUsize>,
    began: Instant,
) -> anyhow::Result<Vec<u64>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.context("connect")?;
    stream.set_nodelay(true)?;
    let mut buffer = Vec::with_capacity(16 * 1024);
    let mut latencies = Vec::new();
    loop {
        let index = next.fetch_add(1, Ordering::Relaxed);
        let bytes = match &requests {
            Requests::Repeat(list, time) if began.elapsed() < *time => &list[index % list.len()],
            Requests::Once(list) if index < list.len() => &list[index],
            _ => return Ok(latencies),
        };
        let sent = Instant::now();
        stream.write_all(bytes).await.context("send")?;
        let status = read_answer(&mut stream, &mut buffer).await?;
        if !(200..300).contains(&status) {
            bail!("answered {status}: {}", String::from_utf8_lossy(&buffer));
        }
        latencies.push(u64::try_from(sent.elapsed().as_micros()).unwrap_or(u64::MAX));
    }
}

/// Reads one answer with a Content-Length into `buffer` and gives its status.
async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<u16> {
    buffer.clear();
    loop {
        if stream.read_buf(buffer).await.context("receive")? == 0 {
            bail!("the server closed the connection after {} bytes", buffer.len());
        }
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&buffer[..end]).context("the head is not text")?.to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok()).context("no status")?;
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .and_then(|text| text.trim().parse().ok())
            .context("no content-length")?;
        while buffer.len() < end + 4 + length {
            if stream.read_buf(buffer).await.context("receive")? == 0 {
                bail!("the answer was cut");
            }
        }
        return Ok(status);
    }
}
