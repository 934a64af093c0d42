//! TLS listeners: security rows A1 and A2, certificates that are replaced, client certificates.

use std::sync::Arc;
use std::time::Duration;

use chassis::http::{ServeOptions, Tls};
use keys::digest::sha256_b64;
use rustls::ClientConfig;
use rustls::pki_types::{CertificateDer, ServerName};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::authority::{Authority, files};
use crate::world::{World, read_reply};

/// A TLS listener, the authority behind its certificate, and the folder of its files.
struct Secure {
    world: World,
    authority: Authority,
    folder: TempDir,
}

impl Secure {
    async fn start(clients: Option<&Authority>) -> Self {
        Self::start_with(clients, |_| ()).await
    }

    async fn start_with(clients: Option<&Authority>, change: impl FnOnce(&mut ServeOptions)) -> Self {
        let (authority, folder) = (Authority::new("Server authority"), tempfile::tempdir().unwrap());
        let tls = Tls::open(files(folder.path(), &authority.sign("first", "localhost"), clients)).unwrap();
        let secure = |serve: &mut ServeOptions| {
            serve.tls = Some(tls);
            change(serve);
        };
        Self { world: World::start_with(|_| (), secure).await, authority, folder }
    }

    async fn connect(&self, client: Arc<ClientConfig>) -> TlsStream<TcpStream> {
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(client).connect(name, self.world.connect().await).await.unwrap()
    }

    async fn certificate(&self) -> CertificateDer<'static> {
        let stream = self.connect(self.authority.client(None)).await;
        stream.get_ref().1.peer_certificates().unwrap()[0].clone()
    }

    /// Waits for another certificate than `old`.
    async fn replaced(&self, old: &CertificateDer<'_>) -> Duration {
        let began = Instant::now();
        while self.certificate().await == *old {
            assert!(began.elapsed() < Duration::from_secs(10), "the certificate stayed");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        began.elapsed()
    }

    async fn ask(&self, stream: &mut TlsStream<TcpStream>, path: &str) -> String {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.world.address);
        stream.write_all(request.as_bytes()).await.unwrap();
        read_reply(stream).await.unwrap().text
    }
}

/// A `ClientHello` that offers no version above `minor` of 3 (RFC 5246 §7.4.1.2: 1 is TLS 1.0, 2 is TLS 1.1).
fn old_hello(minor: u8) -> Vec<u8> {
    let (suites, signatures) = ([0, 6, 0xc0, 0x13, 0xc0, 0x09, 0, 0x2f], [0, 8, 0, 13, 0, 4, 0, 2, 4, 3]);
    let body = [&[3, minor][..], &[7; 32], &[0], &suites, &[1, 0], &signatures].concat();
    let length = u8::try_from(body.len()).unwrap();
    [&[0x16, 3, 1, 0, length + 4, 1, 0, 0, length][..], &body].concat()
}

async fn answer_to(world: &World, bytes: &[u8]) -> Vec<u8> {
    let mut stream = world.connect().await;
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await.expect("it stays open");
    answer
}

async fn old_versions_are_refused(world: &World) {
    const ALERT: u8 = 0x15;
    const PROTOCOL_VERSION: u8 = 70;
    for minor in [1, 2] {
        let answer = answer_to(world, &old_hello(minor)).await;
        assert_eq!((answer[0], answer.last()), (ALERT, Some(&PROTOCOL_VERSION)), "TLS 1.{}", minor - 1);
    }
}

#[tokio::test]
async fn a1_plain_http_to_a_tls_port_gets_no_answer() {
    let secure = Secure::start(None).await;
    let request = format!("GET /fixed HTTP/1.1\r\nHost: {}\r\n\r\n", secure.world.address);
    let answer = answer_to(&secure.world, request.as_bytes()).await;
    assert!(!String::from_utf8_lossy(&answer).contains("HTTP"), "{answer:?}");
    let mut stream = secure.connect(secure.authority.client(None)).await;
    assert_eq!(secure.ask(&mut stream, "/fixed").await, "fixed");
}

#[tokio::test]
async fn a2_old_versions_are_refused_also_after_the_certificate_was_replaced() {
    let secure = Secure::start(None).await;
    old_versions_are_refused(&secure.world).await;
    let first = secure.certificate().await;
    files(secure.folder.path(), &secure.authority.sign("second", "localhost"), None);
    secure.replaced(&first).await;
    old_versions_are_refused(&secure.world).await;
}

#[tokio::test]
async fn a_changed_certificate_is_served_without_a_restart_and_open_connections_go_on() {
    let secure = Secure::start(None).await;
    let first = secure.certificate().await;
    let mut open = secure.connect(secure.authority.client(None)).await;
    // Half of a pair is written: the old one is served on.
    std::fs::write(secure.folder.path().join("tls.pem"), "-----BEGIN").unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(secure.certificate().await, first);
    files(secure.folder.path(), &secure.authority.sign("second", "localhost"), None);
    secure.replaced(&first).await;
    assert_eq!(secure.ask(&mut open, "/fixed").await, "fixed");
}

#[tokio::test]
async fn sighup_replaces_the_certificate_and_ends_nothing() {
    let secure = Secure::start(None).await;
    let first = secure.certificate().await;
    files(secure.folder.path(), &secure.authority.sign("second", "localhost"), None);
    let id = std::process::id().to_string();
    assert!(std::process::Command::new("kill").args(["-HUP", &id]).status().unwrap().success());
    secure.replaced(&first).await;
}

#[tokio::test]
async fn a_handshake_that_is_not_finished_is_cut_off() {
    let soon = Duration::from_millis(200);
    let secure = Secure::start_with(None, |serve| serve.tls_deadline = soon).await;
    for beginning in [&b""[..], &[0x16, 3, 1, 1, 0, 1]] {
        let began = Instant::now();
        answer_to(&secure.world, beginning).await;
        assert!((150..3000).contains(&began.elapsed().as_millis()));
    }
}

#[tokio::test]
async fn a_client_certificate_reaches_the_handler_with_what_it_is_worth() {
    let (known, foreign) = (Authority::new("Partners"), Authority::new("Partners"));
    let secure = Secure::start(Some(&known)).await;
    for (authority, trusted) in [(&known, true), (&foreign, false)] {
        let own = authority.sign("backend", "client.example");
        let mut stream = secure.connect(secure.authority.client(Some(&own))).await;
        let thumbprint = sha256_b64(&own.der);
        let expected = format!("{thumbprint} {trusted} O=Acme\\, Inc.,CN=backend");
        assert_eq!(secure.ask(&mut stream, "/certificate").await, expected);
    }
    let mut stream = secure.connect(secure.authority.client(None)).await;
    assert_eq!(secure.ask(&mut stream, "/certificate").await, "none");
}

#[test]
fn files_that_do_not_fit_are_named() {
    let (authority, folder) = (Authority::new("Server authority"), tempfile::tempdir().unwrap());
    let own = authority.sign("one", "localhost");
    let mut given = files(folder.path(), &own, None);
    std::fs::write(&given.key_file, authority.sign("other", "localhost").key.serialize_pem()).unwrap();
    assert!(Tls::open(given.clone()).unwrap_err().to_string().contains("does not go with"));
    std::fs::write(&given.key_file, "no key").unwrap();
    assert!(Tls::open(given.clone()).unwrap_err().to_string().contains("no private key"));
    given.certificate_file = folder.path().join("missing.pem");
    assert!(Tls::open(given).unwrap_err().to_string().contains("missing.pem"));
}
