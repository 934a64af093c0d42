//! The services as processes of their own, with production settings from a file.

use std::fs;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use chassis::testing::TestDatabase;
use serde_json::Value;

use super::{Files, PLATFORM, succeeded};
use crate::process::{countersign, run};

/// A service of its own process; dropped, it is killed.
pub(crate) struct Service(Child);

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

impl Service {
    pub(crate) fn start(service: &str, file: &str, log: &Path) -> Self {
        let log = fs::File::create(log).expect("a file");
        let mut command = countersign();
        command.args([service, "--config", file]).stdout(log.try_clone().expect("a handle")).stderr(log);
        Self(command.spawn().expect("it starts"))
    }

    /// SIGTERM, and its exit status.
    fn end(mut self) -> Option<i32> {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -TERM {}", self.0.id())).status();
        assert!(sent.expect("sh").success());
        self.0.wait().expect("the end").code()
    }
}

/// Asks a plain listener under the host that a load balancer would pass on.
pub(crate) async fn ask(port: u16, path: &str, host: &str) -> Option<(u16, Value)> {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let request = reqwest::Client::new().get(format!("http://127.0.0.1:{port}{path}")).header("host", host);
    let response = request.send().await.ok()?;
    let status = response.status().as_u16();
    Some((status, response.json().await.unwrap_or(Value::Null)))
}

pub(crate) async fn until_it_answers(port: u16, path: &str, wanted: u16) -> Value {
    for _ in 0..1_500 {
        match ask(port, path, "localhost").await {
            Some((status, body)) if status == wanted => return body,
            _ => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
    panic!("{path} does not answer {wanted}");
}

#[tokio::test]
async fn the_authorization_server_runs_from_a_file_takes_changes_in_and_ends_on_sigterm() {
    for database in TestDatabase::both().await {
        let files = Files::on(&database.url().expose(), "sqlite:unused");
        let log = files.folder.path().join("log");
        let config = files.authz_file();
        let service = Service::start("authz", &config, &log);
        let [public, ops] = files.ports;
        until_it_answers(ops, "/readyz", 200).await;
        let (status, document) =
            ask(public, "/.well-known/openid-configuration", "id.example.com").await.expect("an answer");
        assert_eq!((status, &document["issuer"]), (200, &"https://id.example.com".into()));
        let elsewhere =
            ask(public, "/.well-known/openid-configuration", "127.0.0.1").await.expect("an answer");
        assert_eq!((elsewhere.0, &elsewhere.1["code"]), (421, &"misdirected_request".into()));

        let platform = files.private("PLATFORM.toml", PLATFORM).display().to_string();
        let said = succeeded(&run(&["apply", "--config", &config, "-f", &platform]));
        let shown = |label: &str| {
            let rest = said.split_once(&format!("acme/backend: {label} ")).expect(label).1;
            rest.split_whitespace().next().expect("a value").to_owned()
        };
        let (id, secret) = (shown("client_id"), shown("client_secret"));
        let token = async || {
            let url = format!("http://127.0.0.1:{public}/oauth2/token");
            let form = [("grant_type", "client_credentials"), ("scope", "users:read")];
            let request = reqwest::Client::new().post(url).header("host", "id.example.com");
            request
                .basic_auth(&id, Some(&secret))
                .form(&form)
                .send()
                .await
                .expect("an answer")
                .status()
                .as_u16()
        };
        let mut status = token().await;
        for _ in 0..100 {
            if status == 200 {
                break;
            }
            // A client nobody knows yet looks like a guess; the throttle of failures is not in the way of a few.
            tokio::time::sleep(Duration::from_millis(300)).await;
            status = token().await;
        }
        assert_eq!(status, 200, "a change is taken in by the running service");
        assert_eq!(service.end(), Some(0));
        let log = fs::read_to_string(log).expect("the log");
        assert!(!log.contains(&secret), "the secret is not logged");
        for line in log.lines() {
            assert!(
                serde_json::from_str::<Value>(line).is_ok_and(|line| line.is_object()),
                "not one JSON line: {line}"
            );
        }
    }
}

/// The key ids that a service publishes, once it answers.
async fn published(port: u16, path: &str, host: &str) -> Vec<String> {
    for _ in 0..1_500 {
        if let Some((200, jwks)) = ask(port, path, host).await {
            let keys = jwks["keys"].as_array().expect("keys").iter();
            return keys.map(|key| key["kid"].as_str().expect("kid").to_owned()).collect();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{path} of {host} does not answer");
}

#[tokio::test]
async fn two_nodes_of_each_service_that_start_at_once_on_empty_databases_make_one_key_each() {
    for [authz, resource_api] in [
        [TestDatabase::sqlite(), TestDatabase::sqlite()],
        [TestDatabase::postgres().await, TestDatabase::postgres().await],
    ] {
        let files = || Files::on(&authz.url().expose(), &resource_api.url().expose());
        let nodes = [files(), files(), files(), files()];
        let kinds = ["authz", "authz", "resource-api", "resource-api"];
        let running: Vec<Service> = kinds
            .iter()
            .zip(&nodes)
            .map(|(kind, files)| {
                let config = if *kind == "authz" { files.authz_file() } else { files.resource_api_file() };
                Service::start(kind, &config, &files.folder.path().join("log"))
            })
            .collect();
        let mut first = Vec::new();
        for (pair, path, host) in [
            (&nodes[..2], "/oauth2/jwks", "id.example.com"),
            (&nodes[2..], "/.well-known/jwks.json", "api.example.com"),
        ] {
            let one = published(pair[0].ports[0], path, host).await;
            let other = published(pair[1].ports[0], path, host).await;
            assert_eq!((one.len(), &one), (1, &other), "{host}: both nodes publish the one key");
            first.extend(one);
        }
        for service in running {
            assert_eq!(service.end(), Some(0));
        }
        let both = ["--config", &nodes[0].authz_file(), "--config", &nodes[0].resource_api_file()];
        let listed = succeeded(&run(&[&["keys", "list"], &both[..]].concat()));
        assert_eq!(listed.matches("active").count(), 2, "{listed}");
        assert!(first.iter().all(|kid| listed.contains(kid)), "{first:?} in {listed}");
        succeeded(&run(&[&["audit", "verify"], &both[..]].concat()));
    }
}

#[tokio::test]
async fn the_payments_api_is_not_ready_before_it_knows_the_directory_and_ends_on_sigterm() {
    for database in TestDatabase::both().await {
        let files = Files::on("sqlite:unused", &database.url().expose());
        let log = files.folder.path().join("log");
        let service = Service::start("resource-api", &files.resource_api_file(), &log);
        let checks = until_it_answers(files.ports[1], "/readyz", 503).await;
        assert!(checks.to_string().contains("directory"), "{checks}");
        until_it_answers(files.ports[1], "/livez", 200).await;
        let (status, _) = ask(files.ports[0], "/openapi.json", "api.example.com").await.expect("an answer");
        assert_eq!(status, 200);
        assert_eq!(service.end(), Some(0));
    }
}
