//! `countersign dev --tls`: everything over https, with an authority of its own (security rows A1 and I8).

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

/// What a caller with this certificate (PEM of certificate and key) reads: status and body.
async fn ask(credentials: &Value, own: Option<&str>, request: &str, token: Option<&str>) -> (u16, Value) {
    let authority = std::fs::read(text(credentials, "ca_file")).expect("ca_file");
    let authority = reqwest::Certificate::from_pem(&authority).expect("a certificate");
    let mut client = reqwest::Client::builder().tls_certs_only([authority]);
    if let Some(own) = own {
        client = client.identity(reqwest::Identity::from_pem(own.as_bytes()).expect("an identity"));
    }
    let client = client.build().expect("a client");
    let request = match token {
        Some(token) => client.get(request).bearer_auth(token),
        None => {
            let id = text(client_of(credentials, "acme-mtls"), "client_id");
            let form = [("grant_type", "client_credentials"), ("client_id", id), ("scope", "customers:read")];
            client.post(request).form(&form)
        }
    };
    let answer = request.send().await.expect("an answer");
    (answer.status().as_u16(), answer.json().await.expect("JSON"))
}

fn client_of<'a>(credentials: &'a Value, alias: &str) -> &'a Value {
    let clients = credentials["clients"].as_array().expect("clients");
    clients.iter().find(|client| client["alias"] == alias).expect("the client")
}

#[tokio::test]
async fn i8_a_token_bound_to_a_certificate_works_at_the_payments_api_with_that_certificate_only() {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let folder = folder();
    let data = folder.path().join("data");
    let child = dev_command(&data, Ports::ANY).arg("--tls").spawn().expect("the binary starts");
    let _process = Killed(child);
    let began = Instant::now();
    while credentials(&data).is_none() {
        assert!(began.elapsed() < PATIENCE, "dev does not start");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let credentials = credentials(&data).expect("credentials.json");
    let mtls = client_of(&credentials, "acme-mtls");
    let read = |name: &str| std::fs::read_to_string(text(mtls, name)).expect("a file");
    let own = format!("{}{}", read("certificate_file"), read("key_file"));
    let other_key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    let other = params.self_signed(&other_key).expect("a certificate").pem() + &other_key.serialize_pem();
    let endpoint = format!("{}/oauth2/token", text(&credentials, "issuer"));
    for stranger in [None, Some(other.as_str())] {
        let (status, refused) = ask(&credentials, stranger, &endpoint, None).await;
        assert_eq!((status, &refused["error"]), (401, &Value::from("invalid_client")));
    }
    let (status, granted) = ask(&credentials, Some(&own), &endpoint, None).await;
    assert_eq!(status, 200, "{granted}");
    let token = Some(text(&granted, "access_token"));
    for base in ["resource", "front_door"] {
        let url = format!("{}/v1/customers/usr_nobody", text(&credentials, base));
        assert_eq!(ask(&credentials, Some(&own), &url, token).await.0, 404, "{base}: let through");
        for stranger in [None, Some(other.as_str())] {
            let (status, refused) = ask(&credentials, stranger, &url, token).await;
            assert_eq!((status, &refused["code"]), (401, &Value::from("invalid_token")), "{base}");
            let detail = refused["detail"].as_str().expect("a detail");
            assert!(detail.contains("connect with that certificate"), "{detail}");
        }
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
