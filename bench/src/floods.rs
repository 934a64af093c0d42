//! Token issue beside each kind of flood: whoever behaves must not notice, and memory must come back.
//!
//! The good client comes from 127.0.0.1, the flood from other addresses of the loopback network, as two networks would.
//! Every flood is bounded in connections and in time. Client, flood and server share the machine, so a p99 beside a flood
//! also holds what the flood's own client uses.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep, timeout};

use crate::load::{Load, Requests, drive, request};
use crate::product::{FORM, Product};

/// Connections of the good client.
const CONNECTIONS: usize = 8;
/// How long a flood has run when the measurement begins.
const HEAD_START: Duration = Duration::from_millis(500);
/// How long a server may take to let go of what a flood made it hold.
const RECOVERY: Duration = Duration::from_secs(12);

/// What an attacker does, over and over, on each of some connections.
#[derive(Clone, Copy)]
enum Kind {
    /// A head that never ends, a byte a second.
    SlowHeads,
    /// Connections that say nothing and go.
    Connects,
    /// Token requests with a wrong secret.
    WrongSecrets,
    /// Bodies far over the limit.
    LargeBodies,
    /// Paths far over the limit.
    LongPaths,
    /// HTTP/2 streams that are reset as soon as they are opened.
    RapidReset,
}

impl Kind {
    const ALL: [(Self, &'static str, usize); 6] = [
        (Self::SlowHeads, "1,000 unfinished heads", 1_000),
        (Self::Connects, "connects and leaves", 8),
        (Self::WrongSecrets, "wrong secrets", 8),
        (Self::LargeBodies, "1 MiB bodies", 8),
        (Self::LongPaths, "48 KiB paths", 8),
        (Self::RapidReset, "HTTP/2 rapid reset", 4),
    ];
}

/// Measures token issue alone, then beside each flood, and prints the table.
pub(crate) async fn measure(time: Duration) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let product = Product::start(folder.path(), &[]).await?;
    let port = product.port("/issuer")?;
    let token = Arc::new(vec![product.client_credentials_request()?]);
    let issue = || drive(port, CONNECTIONS, Requests::Repeat(Arc::clone(&token), time));
    issue().await.context("warm up")?;
    let quiet = issue().await.context("quiet")?;
    let quiet_mib = product.server.resident_mib()?;
    println!(
        "| beside | token issue p50 / p99 ms | p99 × quiet | issued a second | attempts of the flood a second | MiB at the end, later |"
    );
    println!("|---|---|---|---|---|---|");
    println!("| nothing | {} | 1.0 | {:.0} | | {quiet_mib:.0} |", percentiles(&quiet), quiet.per_second());
    for (kind, name, connections) in Kind::ALL {
        let flood = Flood::start(kind, connections, &Target::of(&product)?);
        sleep(HEAD_START).await;
        let beside = issue().await.with_context(|| format!("beside {name}"))?;
        let attempts = flood.stop().await;
        let peak_mib = product.server.resident_mib()?;
        sleep(RECOVERY).await;
        #[allow(clippy::cast_precision_loss, reason = "milliseconds and counts far below 2^52")]
        let (ratio, rate) = (
            beside.latency_us(0.99) as f64 / quiet.latency_us(0.99).max(1) as f64,
            attempts as f64 / (time + HEAD_START).as_secs_f64(),
        );
        println!(
            "| {name} | {} | {ratio:.1} | {:.0} | {rate:.0} | {peak_mib:.0}, {:.0} |",
            percentiles(&beside),
            beside.per_second(),
            product.server.resident_mib()?
        );
    }
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "latencies of seconds at most")]
fn percentiles(load: &Load) -> String {
    let ms = |share| load.latency_us(share) as f64 / 1_000.0;
    format!("{:.1} / {:.1}", ms(0.5), ms(0.99))
}

/// Whom the flood is sent to, and its prepared bytes.
#[derive(Clone)]
struct Target {
    port: u16,
    authority: Arc<str>,
    wrong: Arc<[u8]>,
    large: Arc<[u8]>,
    long: Arc<[u8]>,
}

impl Target {
    fn of(product: &Product) -> anyhow::Result<Self> {
        let authority = product.authority("/issuer")?;
        let id = product.client("acme-backend")?["client_id"].as_str().context("client_id")?.to_owned();
        let form = format!("grant_type=client_credentials&client_id={id}&client_secret=wrong");
        let post = |body: &[u8]| {
            request("POST", &authority, "/oauth2/token", &[("content-type", FORM)], body).into()
        };
        Ok(Self {
            port: product.port("/issuer")?,
            wrong: post(form.as_bytes()),
            large: post(&vec![b'a'; 1024 * 1024]),
            long: request("GET", &authority, &format!("/{}", "a".repeat(48 * 1024)), &[], b"").into(),
            authority: authority.into(),
        })
    }

    /// A connection from one of the attacker's addresses.
    async fn connect(&self, number: usize) -> std::io::Result<TcpStream> {
        let last = u8::try_from(number % 8).unwrap_or_default();
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::new(127, 0, 1, last + 1), 0).into())?;
        socket.connect((Ipv4Addr::LOCALHOST, self.port).into()).await
    }
}

/// A flood that runs until it is stopped.
struct Flood {
    attempts: Arc<AtomicU64>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Flood {
    fn start(kind: Kind, connections: usize, target: &Target) -> Self {
        let attempts = Arc::new(AtomicU64::new(0));
        let one = |number| {
            let (target, attempts) = (target.clone(), Arc::clone(&attempts));
            tokio::spawn(async move {
                loop {
                    // A connection that the server ends is what the flood is there to see: it comes again.
                    if attack(kind, &target, number, &attempts).await.is_err() {
                        sleep(Duration::from_millis(5)).await;
                    }
                }
            })
        };
        let tasks = (0..connections).map(one).collect();
        Self { attempts, tasks }
    }

    async fn stop(self) -> u64 {
        for task in &self.tasks {
            task.abort();
        }
        for task in self.tasks {
            drop(task.await);
        }
        self.attempts.load(Ordering::Relaxed)
    }
}

/// One connection's worth of a flood.
async fn attack(kind: Kind, target: &Target, number: usize, attempts: &AtomicU64) -> std::io::Result<()> {
    let mut stream = target.connect(number).await?;
    let count = |more| attempts.fetch_add(more, Ordering::Relaxed);
    match kind {
        Kind::Connects => {
            count(1);
            Ok(())
        }
        Kind::SlowHeads => {
            count(1);
            stream.write_all(b"GET / HTTP/1.1\r\nx-slow: ").await?;
            loop {
                sleep(Duration::from_secs(1)).await;
                stream.write_all(b"a").await?;
            }
        }
        Kind::WrongSecrets => ask_and_read(&mut stream, &target.wrong, count).await,
        Kind::LargeBodies => ask_and_read(&mut stream, &target.large, count).await,
        Kind::LongPaths => ask_and_read(&mut stream, &target.long, count).await,
        Kind::RapidReset => rapid_reset(&mut stream, &target.authority, count).await,
    }
}

/// Sends a request again and again on one connection and reads whatever comes.
async fn ask_and_read(
    stream: &mut TcpStream,
    bytes: &[u8],
    count: impl Fn(u64) -> u64,
) -> std::io::Result<()> {
    let mut answer = [0; 4096];
    loop {
        count(1);
        let sent = stream.write_all(bytes).await;
        let read = timeout(Duration::from_secs(5), stream.read(&mut answer)).await;
        sent?;
        if !matches!(read, Ok(Ok(1..))) {
            return Ok(());
        }
    }
}

/// Opens streams and resets each at once (CVE-2023-44487), until the server ends the connection.
async fn rapid_reset(
    stream: &mut TcpStream,
    authority: &str,
    count: impl Fn(u64) -> u64,
) -> std::io::Result<()> {
    let frame = |kind: u8, flags: u8, id: u32, payload: &[u8]| {
        let length = u32::try_from(payload.len()).unwrap_or_default().to_be_bytes();
        [&length[1..], &[kind, flags], &id.to_be_bytes(), payload].concat()
    };
    let field = |name: &str, value: &str| {
        let length = |text: &str| u8::try_from(text.len().min(126)).unwrap_or_default();
        [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
    };
    let head =
        [(":method", "GET"), (":scheme", "http"), (":path", "/oauth2/jwks"), (":authority", authority)];
    let head: Vec<u8> = head.iter().flat_map(|(name, value)| field(name, value)).collect();
    let opening = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".as_slice(), &frame(4, 0, 0, &[])].concat();
    stream.write_all(&opening).await?;
    let began = Instant::now();
    let mut answer = vec![0; 16 * 1024];
    for number in 0..100_000_u32 {
        let id = 2 * number + 1;
        let both = [frame(1, 5, id, &head), frame(3, 0, id, &8_u32.to_be_bytes())].concat();
        stream.write_all(&both).await?;
        count(1);
        if stream.try_read(&mut answer).is_ok_and(|read| read == 0) || began.elapsed().as_secs() > 5 {
            break;
        }
    }
    Ok(())
}
