//! `countersign dev` as its user meets it: a process, its files, its exit status.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::process::{Dev, Ports, countersign, credentials, dev_command, ledger_verify, said};

/// Everything a backend of the partner does here.
pub(crate) const BACKEND_SCOPE: &str =
    "customers:write entities:write entities:read fiat_ins:execute fiat_ins:read";

/// A place for a data directory and the output beside it.
pub(crate) fn folder() -> TempDir {
    TempDir::with_prefix("countersign-dev-").expect("a temporary directory")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode()
        & 0o777
}

fn texts(list: &Value, member: &str) -> Vec<String> {
    let items = list.as_array().expect("a list").iter();
    items.map(|item| item[member].as_str().expect("text").to_owned()).collect()
}

#[tokio::test]
async fn dev_gives_a_client_all_it_needs_in_a_file_of_its_owner() {
    let folder = folder();
    let data = folder.path().join("data");
    let dev = Dev::start(&data, Ports::ANY).await;
    assert_eq!(mode(&data.join("credentials.json")), 0o600);
    for secret in ["authz.master", "resource-api.master"] {
        assert_eq!(mode(&data.join(secret)), 0o600, "{secret}");
    }
    let mut members: Vec<&String> = dev.credentials.as_object().expect("an object").keys().collect();
    members.sort();
    assert_eq!(
        members,
        [
            "ca_file",
            "clients",
            "front_door",
            "inbox",
            "issuer",
            "ops",
            "partners",
            "resource",
            "shop",
            "users",
            "webhook_sink"
        ]
    );
    let listed = texts(&dev.credentials["clients"], "alias");
    for alias in [
        "acme-backend",
        "acme-reviewer",
        "acme-signed",
        "acme-web",
        "acme-app",
        "acme-spa",
        "acme-fapi",
        "pti-backend",
        "resource-api",
        "admin-cli",
    ] {
        assert!(listed.iter().any(|known| known == alias), "{alias} in {listed:?}");
        let client = dev.client(alias);
        for member in ["client_id", "token_endpoint_auth_method", "scope", "partner"] {
            assert!(client[member].is_string(), "{alias} has no {member}");
        }
    }
    assert!(dev.client("acme-signed")["private_jwk"]["d"].is_string());
    assert!(dev.client("acme-signed")["signature_jwk"]["d"].is_string());
    assert_eq!(dev.client("pti-backend")["private_jwk"]["alg"], "RS512");
    assert_eq!(texts(&dev.credentials["users"], "alias"), ["alice", "bob", "carol"]);
    for alias in ["acme-backend", "acme-reviewer"] {
        let scope = dev.client(alias)["scope"].as_str().expect("scope");
        let own: Vec<&str> = scope.split(' ').filter(|name| !name.starts_with("users:")).collect();
        assert!(!dev.token(alias, &own.join(" ")).await.is_empty());
    }
}

#[tokio::test]
async fn credentials_appear_only_once_everything_answers() {
    let folder = folder();
    let data = folder.path().join("data");
    for round in 0..2 {
        let mut dev = Dev::spawn(&data, Ports::ANY);
        let earlier = credentials(&data).filter(|_| round > 0);
        let fresh = loop {
            // Of an earlier start: only until this one begins.
            match credentials(&data) {
                Some(found) if Some(&found) != earlier.as_ref() => break found,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        };
        dev.credentials = fresh;
        for pointer in ["/ops/authz", "/ops/resource_api"] {
            let url = format!("{}/readyz", dev.credential(pointer));
            let answer = dev.fetch(&url).await.unwrap_or_else(|| panic!("{url} does not answer"));
            assert_eq!(answer.status, 200, "{url}: {}", answer.body);
        }
        for pointer in ["/inbox", "/webhook_sink"] {
            let answer = dev.fetch(dev.credential(pointer)).await.expect("an answer");
            assert!(answer.status == 200 && answer.body.is_array(), "{pointer}: {answer:?}");
        }
        for pointer in ["/front_door", "/shop"] {
            let answer = dev.fetch(dev.credential(pointer)).await.expect("an answer");
            assert!((200..500).contains(&answer.status), "{pointer}: {answer:?}");
        }
        assert_eq!(texts(&dev.credentials["users"], "alias"), ["alice", "bob", "carol"]);
        let token = dev.token("acme-backend", BACKEND_SCOPE).await;
        assert_eq!(dev.get(&token, "/v1/entities").await.status, 200);
        dev.kill();
    }
}

#[tokio::test]
async fn started_again_dev_keeps_secrets_ids_and_money_and_takes_new_ports() {
    let folder = folder();
    let data = folder.path().join("data");
    let mut first = Dev::start(&data, Ports::ANY).await;
    let token = first.token("acme-backend", BACKEND_SCOPE).await;
    let wallet = first.wallet(&token, "keeper").await;
    let order =
        first.post(&token, "/v1/fiat-ins", "order-1", &wallet.order("order-1", 1_250, "tok_success")).await;
    let order = order.expect("an answer");
    assert_eq!((order.status, &order.body["state"]), (201, &Value::from("completed")), "{}", order.body);
    let before = first.credentials.clone();
    first.ask_to_end();
    assert!(first.ended().await.success(), "{}", first.said());

    let second = Dev::start(&data, Ports::fixed()).await;
    for kept in ["partners", "clients", "users"] {
        assert_eq!(before[kept], second.credentials[kept], "{kept}");
    }
    assert_ne!(before["issuer"], second.credentials["issuer"], "the port is another");
    let token = second.token("acme-backend", BACKEND_SCOPE).await;
    assert_eq!(second.balance(&token, &wallet).await, 1_250);
    let id = order.body["id"].as_str().expect("id");
    let read = second.get(&token, &format!("/v1/fiat-ins/{id}")).await;
    assert_eq!((read.status, &read.body["state"]), (200, &Value::from("completed")));
    // The sink has moved with its port, and so has the partner's endpoint.
    let sink = second.credential("/webhook_sink").to_owned();
    let order = wallet.order("order-2", 300, "tok_success");
    second.post(&token, "/v1/fiat-ins", "order-2", &order).await.expect("an answer");
    let mut delivered = Vec::new();
    for _ in 0..500 {
        delivered = second.fetch(&sink).await.expect("an answer").body.as_array().expect("a list").clone();
        if delivered.iter().any(|event| event["body"]["type"] == "fiat_in.completed") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(delivered.iter().any(|event| event["body"]["type"] == "fiat_in.completed"), "{delivered:?}");
    second.kill();
    let (sound, report) = ledger_verify(&data);
    assert!(sound, "{report}");
}

#[tokio::test]
async fn the_tour_ends_well_and_shows_no_secret() {
    let folder = folder();
    let data = folder.path().join("data");
    let mut command = tokio::process::Command::from(dev_command(&data, Ports::ANY));
    let output = command.args(["--tour", "--exit"]).kill_on_drop(true).output().await.expect("it starts");
    let shown = said(&output);
    assert!(output.status.success(), "{shown}");
    assert!(shown.contains("everything held"), "{shown}");
    let credentials = credentials(&data).expect("credentials.json");
    for client in credentials["clients"].as_array().expect("clients") {
        let secrets = ["/client_secret", "/private_jwk/d", "/signature_jwk/d"];
        for secret in secrets.iter().filter_map(|pointer| client.pointer(pointer)?.as_str()) {
            assert!(!shown.contains(secret), "the tour shows a secret of {}", client["alias"]);
        }
    }
    assert!(
        !shown.contains("eyJ") || shown.contains("characters)"),
        "tokens are shown by their beginning only"
    );
    let (sound, report) = ledger_verify(&data);
    assert!(sound, "{report}");
}

#[test]
fn exit_without_the_tour_is_a_mistake() {
    let output = countersign().args(["dev", "--exit"]).output().expect("it starts");
    assert!(!output.status.success());
    assert!(said(&output).contains("--tour"), "{}", said(&output));
}

#[test]
fn dev_refuses_any_address_but_loopback() {
    let folder = folder();
    let data = folder.path().join("data");
    for address in ["0.0.0.0:0", "[::]:0", "192.0.2.1:8080", "example.com:8080", "65536"] {
        for flag in
            ["--authz-listen", "--resource-listen", "--door-listen", "--shop-listen", "--authz-ops-listen"]
        {
            let output = countersign().args(["dev", flag, address, "--data-dir"]).arg(&data).output();
            let output = output.expect("it starts");
            assert!(!output.status.success(), "{flag} {address} was taken");
            assert!(said(&output).contains(flag), "{}", said(&output));
        }
    }
    assert!(!data.exists(), "nothing is left behind");
}

#[test]
fn a_taken_port_names_the_flag_that_moves_it() {
    let folder = folder();
    let taken = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = taken.local_addr().expect("its address").port().to_string();
    for flag in ["--authz-listen", "--shop-listen", "--resource-ops-listen"] {
        // The last value of a flag counts, so the ports before it stay free ones.
        let mut command = countersign();
        command.args(["dev", "--data-dir"]).arg(folder.path().join("data"));
        for other in [
            "--authz-listen",
            "--resource-listen",
            "--door-listen",
            "--shop-listen",
            "--authz-ops-listen",
            "--resource-ops-listen",
        ] {
            command.args([other, if other == flag { &port } else { "0" }]);
        }
        let output = command.output().expect("it starts");
        assert!(!output.status.success(), "{flag}");
        let said = said(&output);
        assert!(said.contains(flag) && said.contains(&port), "{flag}: {said}");
    }
}

#[tokio::test]
async fn sigterm_lets_the_request_under_way_end_and_then_ends_with_status_0() {
    let folder = folder();
    let data = folder.path().join("data");
    let mut dev = Dev::start(&data, Ports::ANY).await;
    let token = dev.token("acme-backend", BACKEND_SCOPE).await;
    let wallet = dev.wallet(&token, "patient").await;
    // The gateway stays silent until its deadline; until then the request is under way.
    let order = wallet.order("slow", 700, "tok_timeout_then_success");
    let (answer, ()) = tokio::join!(dev.post(&token, "/v1/fiat-ins", "slow", &order), async {
        while dev.get(&token, "/v1/fiat-ins").await.body["data"].as_array().is_none_or(Vec::is_empty) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        dev.ask_to_end();
    });
    let answer = answer.expect("the request under way is answered");
    assert_eq!((answer.status, &answer.body["state"]), (202, &Value::from("processing")), "{}", answer.body);
    assert!(dev.ended().await.success(), "{}", dev.said());
    assert!(dev.fetch(dev.credential("/issuer")).await.is_none(), "nobody answers any more");
}
