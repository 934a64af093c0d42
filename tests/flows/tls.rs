//! `countersign dev --tls`: everything over https, with an authority of its own (security row A1).

use std::path::Path;
use std::process::Child;
use std::time::Duration;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::binary::folder;
use crate::process::{Ports, credentials, dev_command};

/// How long a start and a tour may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_mins(2);

/// A process that is killed when the test ends.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

async fn wait_for_the_tour(process: &mut Killed, output: &Path) {
    let began = Instant::now();
    loop {
        let said = std::fs::read_to_string(output).unwrap_or_default();
        if said.contains("Still running") {
            assert!(said.contains("The tour is over: everything held."), "{said}");
            return;
        }
        let ended = process.0.try_wait().expect("the child's state");
        assert!(ended.is_none() && began.elapsed() < PATIENCE, "{ended:?} {said}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn text<'a>(credentials: &'a Value, member: &str) -> &'a str {
    credentials[member].as_str().expect("text")
}

#[tokio::test]
async fn a1_the_tour_works_over_https_and_plain_http_to_the_same_ports_is_refused() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let folder = folder();
    let (data, output) = (folder.path().join("data"), folder.path().join("output"));
    let file = std::fs::File::create(&output).expect("a file for the output");
    let child = dev_command(&data, Ports::ANY)
        .args(["--tls", "--tour"])
        .stdout(file.try_clone().expect("a second handle"))
        .stderr(file)
        .spawn()
        .expect("the binary starts");
    let mut process = Killed(child);
    wait_for_the_tour(&mut process, &output).await;
    let credentials = credentials(&data).expect("credentials.json");
    let authority = std::fs::read(text(&credentials, "ca_file")).expect("ca_file");
    let authority = reqwest::Certificate::from_pem(&authority).expect("a certificate");
    let trusting = reqwest::Client::builder().tls_certs_only([authority]).build().expect("a client");
    let stranger = reqwest::Client::new();
    for member in ["issuer", "resource", "front_door", "shop"] {
        let base = text(&credentials, member);
        let url = format!("{base}/.well-known/openid-configuration");
        let status = trusting.get(&url).send().await.expect("an answer over https").status().as_u16();
        assert_eq!(status, if member == "issuer" { 200 } else { 404 }, "{member}");
        assert!(stranger.get(&url).send().await.is_err(), "{member}: an authority nobody knows is trusted");
        let authority = base.strip_prefix("https://").expect("https");
        let answer = plain_answer(authority).await;
        assert!(!answer.windows(4).any(|four| four == b"HTTP"), "{member} answered plain HTTP");
    }
}

async fn plain_answer(authority: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(authority).await.expect("a connection");
    let request = format!("GET /livez HTTP/1.1\r\nHost: {authority}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = Vec::new();
    // A reset is a refusal too.
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer))
        .await
        .expect("it ends");
    answer
}
