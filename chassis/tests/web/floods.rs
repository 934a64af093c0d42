//! HTTP/2 as an attacker speaks it, frame by frame (security row A19), and connections without end. Each flood meets
//! a server in a process of its own, so that its memory can be looked at.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::alone::Alone;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// How much more memory a server may hold after a flood, KiB.
const GROWTH_KIB_MAX: u64 = 16 * 1024;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// An HPACK field that enters no table (RFC 7541 §6.2.2); for names and values below 127 bytes.
fn field(name: &str, value: &str) -> Vec<u8> {
    let length = |text: &str| u8::try_from(text.len()).unwrap();
    [&[0, length(name)], name.as_bytes(), &[length(value)], value.as_bytes()].concat()
}

fn head(method: &str, path: &str, authority: &str) -> Vec<u8> {
    let fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", authority)];
    fields.iter().flat_map(|(name, value)| field(name, value)).collect()
}

struct H2 {
    stream: TcpStream,
}

impl H2 {
    async fn connect(server: &Alone) -> Self {
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        let opening = [PREFACE, &frame(SETTINGS, 0, 0, &[]), &frame(SETTINGS, 1, 0, &[])].concat();
        stream.write_all(&opening).await.unwrap();
        Self { stream }
    }

    /// Sends the flood in pieces while reading, and returns whether the server ended the connection: by GOAWAY, by
    /// closing it, or by refusing to read on.
    async fn ends_under(self, flood: &[Vec<u8>]) -> bool {
        let (mut reading, mut writing) = self.stream.into_split();
        let seen = tokio::spawn(async move {
            let (mut all, mut piece) = (Vec::new(), [0; 16 * 1024]);
            loop {
                match reading.read(&mut piece).await {
                    Ok(0) | Err(_) => return true,
                    Ok(count) => all.extend_from_slice(&piece[..count]),
                }
                if has_goaway(&all) {
                    return true;
                }
            }
        });
        for piece in flood.chunks(64) {
            if writing.write_all(&piece.concat()).await.is_err() {
                break;
            }
        }
        timeout(Duration::from_secs(15), seen).await.is_ok_and(|ended| ended.unwrap())
    }
}

fn has_goaway(mut bytes: &[u8]) -> bool {
    while let [a, b, c, kind, rest @ ..] = bytes {
        if *kind == GOAWAY {
            return true;
        }
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        bytes = rest.get(5 + length..).unwrap_or_default();
    }
    false
}

fn stream_id(number: u32) -> u32 {
    2 * number + 1
}

/// Floods the server on four connections while a good client keeps asking. Every flood must be ended, the good
/// client be served promptly, and the memory stay.
async fn withstands(make: impl Fn(&str) -> Vec<Vec<u8>>) {
    let server = Alone::start(1024).await;
    server.answers_within(Duration::from_secs(5)).await;
    let before = server.memory_kib();
    let flood = make(&server.address.to_string());
    let floods = futures_util::future::join_all(
        (0..4).map(|_| async { H2::connect(&server).await.ends_under(&flood).await }),
    );
    let good = async {
        let mut slowest = Duration::ZERO;
        for _ in 0..20 {
            let began = Instant::now();
            server.answers_within(Duration::from_secs(5)).await;
            slowest = slowest.max(began.elapsed());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        slowest
    };
    let (ended, slowest) = tokio::join!(floods, good);
    assert_eq!(ended, [true; 4], "a flood went on");
    assert!(slowest < Duration::from_secs(2), "a good client waited {slowest:?}");
    let growth = server.memory_kib().saturating_sub(before);
    assert!(growth < GROWTH_KIB_MAX, "grew by {growth} KiB");
    server.answers_within(Duration::from_secs(1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a19_streams_that_are_opened_and_reset_at_once_end_the_connection() {
    withstands(|authority| {
        let head = head("GET", "/never", authority);
        let reset = 8_u32.to_be_bytes();
        (0..10_000)
            .map(|number| {
                let id = stream_id(number);
                let opened = frame(HEADERS, END_HEADERS | END_STREAM, id, &head);
                [opened, frame(RST_STREAM, 0, id, &reset)].concat()
            })
            .collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a19_a_head_that_goes_on_in_continuations_ends_the_connection() {
    withstands(|authority| {
        let more: Vec<u8> = (0..16).flat_map(|_| field("x-more", &"a".repeat(100))).collect();
        let first = frame(HEADERS, END_STREAM, 1, &head("GET", "/fixed", authority));
        std::iter::once(first).chain((0..5_000).map(|_| frame(CONTINUATION, 0, 1, &more))).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a19_empty_continuations_end_the_connection() {
    withstands(|authority| {
        let first = frame(HEADERS, END_STREAM, 1, &head("GET", "/fixed", authority));
        std::iter::once(first).chain((0..50_000).map(|_| frame(CONTINUATION, 0, 1, &[]))).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a19_empty_data_without_end_ends_the_connection() {
    withstands(|authority| {
        let first = frame(HEADERS, END_HEADERS, 1, &head("POST", "/raw", authority));
        std::iter::once(first).chain((0..100_000).map(|_| frame(DATA, 0, 1, &[]))).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a19_ten_thousand_streams_at_once_end_the_connection() {
    withstands(|authority| {
        let head = head("GET", "/never", authority);
        (0..10_000).map(|number| frame(HEADERS, END_HEADERS | END_STREAM, stream_id(number), &head)).collect()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a19_settings_without_end_do_not_fill_the_memory() {
    let server = Alone::start(1024).await;
    server.answers_within(Duration::from_secs(5)).await;
    let before = server.memory_kib();
    let mut flood = H2::connect(&server).await.stream;
    let settings = frame(SETTINGS, 0, 0, &[]).repeat(1000);
    // Never reads the acknowledgements: the server must stop taking what it cannot answer.
    let sending = async {
        for _ in 0..2_000 {
            if flood.write_all(&settings).await.is_err() {
                return;
            }
        }
    };
    let _ = timeout(Duration::from_secs(3), sending).await;
    let growth = server.memory_kib().saturating_sub(before);
    assert!(growth < GROWTH_KIB_MAX, "grew by {growth} KiB");
    server.answers_within(Duration::from_secs(1)).await;
}

/// A hundred and twenty connections while sixty-four descriptors are to be had (reliability row R17).
#[tokio::test(flavor = "multi_thread")]
async fn running_out_of_file_descriptors_is_survived() {
    let server = Alone::start(64).await;
    server.answers_within(Duration::from_secs(5)).await;
    let mut idle = Vec::new();
    for _ in 0..120 {
        idle.push(TcpStream::connect(server.address).await.unwrap());
    }
    assert!(
        timeout(Duration::from_millis(500), server.answer()).await.is_err(),
        "the descriptors did not run out"
    );
    assert!(server.is_running());
    drop(idle);
    server.answers_within(Duration::from_secs(5)).await;
}
