//! `kill -9` at bad moments: nothing acknowledged is lost, nothing happens twice.

/// Expands each test into one for each database.
macro_rules! both_engines {
    ($($(#[$meta:meta])* async fn $name:ident($engine:ident: Engine) $body:block)+) => { $(
        mod $name {
            use super::*;

            async fn flow($engine: Engine) $body

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                flow(Engine::Sqlite).await;
            }

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                flow(Engine::Postgres).await;
            }
        }
    )+ };
}

mod auditor;
mod history;
mod keys;
mod load;
mod planted;
mod rig;
mod rows;
mod rows_of_events;
mod soak;

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::Value;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::binary::{BACKEND_SCOPE, folder};
use crate::process::{Answer, Dev, Ports, Wallet, ledger_verify};

/// How long an order may take to end after a crash: the dead process's lease on its charge, and the next look.
const PATIENCE: Duration = Duration::from_secs(40);

/// The order under a reference, once it is in a state that `wanted` names.
async fn order_in(dev: &Dev, token: &str, reference: &str, wanted: &[&str]) -> Value {
    let look = async {
        loop {
            let list = dev.get(token, "/v1/fiat-ins?limit=100").await;
            let orders = list.body["data"].as_array().cloned().unwrap_or_default();
            let order = orders.into_iter().find(|order| order["client_reference"] == reference);
            if let Some(order) = order.filter(|order| wanted.iter().any(|state| order["state"] == *state)) {
                return order;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, look).await;
    found.unwrap_or_else(|_| panic!("{reference} does not become {wanted:?}"))
}

/// Whether nothing more happens to an order by itself.
fn at_rest(order: &Value) -> bool {
    matches!(order["state"].as_str(), Some("completed" | "failed" | "refused" | "in_review" | "cancelled"))
}

/// How often the gateway collected, by charge.
fn collected(data_dir: &Path) -> HashMap<String, usize> {
    let text = fs::read_to_string(data_dir.join("sandbox-gateway.jsonl")).unwrap_or_default();
    let mut times = HashMap::new();
    for charge in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        if charge["status"] == "captured" {
            *times.entry(charge["reference"].as_str().expect("reference").to_owned()).or_default() += 1;
        }
    }
    times
}

fn data_dir(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("data")
}

fn assert_sound(data_dir: &Path) {
    let (sound, report) = ledger_verify(data_dir);
    assert!(sound, "{report}");
}

#[tokio::test]
async fn an_order_settled_just_before_a_kill_gets_the_same_answer_again_and_one_effect() {
    let folder = folder();
    let (data, ports) = (data_dir(&folder), Ports::fixed());
    let dev = Dev::start(&data, ports).await;
    let token = dev.token("acme-backend", BACKEND_SCOPE).await;
    let wallet = dev.wallet(&token, "unlucky").await;
    let body = wallet.order("settled", 4_200, "tok_success");
    // The request is sent and its answer never read: as far as the caller knows, it was lost with the process.
    let authority = dev.credential("/resource").trim_start_matches("http://").to_owned();
    let mut line = TcpStream::connect(&authority).await.expect("connected");
    let text = body.to_string();
    let request = format!(
        "POST /v1/fiat-ins HTTP/1.1\r\nhost: {authority}\r\nauthorization: Bearer {token}\r\n\
         idempotency-key: settled\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{text}",
        text.len()
    );
    line.write_all(request.as_bytes()).await.expect("sent");
    let order = order_in(&dev, &token, "settled", &["completed"]).await;
    dev.kill();
    assert_sound(&data);

    let dev = Dev::start(&data, ports).await;
    let token = dev.token("acme-backend", BACKEND_SCOPE).await;
    let first = dev.post(&token, "/v1/fiat-ins", "settled", &body).await.expect("an answer");
    assert_eq!((first.status, &first.body["id"]), (201, &order["id"]), "{}", first.body);
    assert_eq!(first.body["state"], "completed");
    let second = dev.post(&token, "/v1/fiat-ins", "settled", &body).await.expect("an answer");
    assert_eq!(first, second, "repeated, it is the same answer");
    assert_eq!(dev.balance(&token, &wallet).await, 4_200);
    dev.kill();
    let times = collected(&data);
    assert_eq!(times.values().collect::<Vec<_>>(), [&1], "{times:?}");
    assert_sound(&data);
}

#[tokio::test]
async fn an_order_recorded_and_not_yet_charged_at_a_kill_is_finished_once() {
    let folder = folder();
    let (data, ports) = (data_dir(&folder), Ports::fixed());
    let dev = Dev::start(&data, ports).await;
    let token = dev.token("acme-backend", BACKEND_SCOPE).await;
    let wallet = dev.wallet(&token, "unlucky").await;
    // The gateway stays silent, so the kill falls between the order's transaction and the charge's.
    let body = wallet.order("open", 900, "tok_timeout_then_success");
    let (lost, order) = tokio::join!(dev.post(&token, "/v1/fiat-ins", "open", &body), async {
        let order = order_in(&dev, &token, "open", &["processing"]).await;
        // SIGKILL while the request waits: the connection breaks.
        dev.kill_now();
        order
    });
    assert_eq!(lost, None, "no answer arrived");
    drop(dev);
    assert_sound(&data);

    let dev = Dev::start(&data, ports).await;
    let token = dev.token("acme-backend", BACKEND_SCOPE).await;
    let answer = dev.post(&token, "/v1/fiat-ins", "open", &body).await.expect("an answer");
    assert!(matches!(answer.status, 201 | 202), "{answer:?}");
    assert_eq!(answer.body["id"], order["id"]);
    let finished = order_in(&dev, &token, "open", &["completed"]).await;
    assert_eq!(finished["id"], order["id"]);
    let again = dev.post(&token, "/v1/fiat-ins", "open", &body).await.expect("an answer");
    assert_eq!((again.status, &again.body["id"]), (answer.status, &order["id"]));
    assert_eq!(dev.balance(&token, &wallet).await, 900);
    dev.kill();
    let times = collected(&data);
    assert_eq!(times.values().collect::<Vec<_>>(), [&1], "{times:?}");
    assert_sound(&data);
}

/// One order as its caller remembers it.
struct Sent {
    reference: String,
    body: Value,
    answer: Option<Answer>,
}

/// Milliseconds after the first order at which the process is killed, a round each.
const KILLS_MS: [u64; 10] = [4, 9, 15, 25, 40, 60, 85, 120, 170, 250];
/// Wallets in a round; each gets fewer orders than VEL-1 lets through.
const WALLETS: usize = 4;
const ORDERS_EACH: usize = 3;

/// Orders one wallet's orders one after the other until the process is gone.
async fn keep_ordering(dev: &Dev, token: &str, (name, wallet): (&str, &Wallet)) -> Vec<Sent> {
    let mut sent = Vec::new();
    for order in 0..ORDERS_EACH {
        let reference = format!("{name}-o{order}");
        let body = wallet.order(&reference, 100 + i64::try_from(order).expect("small"), "tok_success");
        let answer = dev.post(token, "/v1/fiat-ins", &reference, &body).await;
        let gone = answer.is_none();
        sent.push(Sent { reference, body, answer });
        if gone {
            break;
        }
    }
    sent
}

/// Every acknowledged order is there and answers as before. How many there are.
async fn assert_kept(dev: &Dev, token: &str, sent: &[Sent]) -> usize {
    let acknowledged: Vec<(&Sent, &Answer)> =
        sent.iter().filter_map(|order| Some((order, order.answer.as_ref()?))).collect();
    join_all(acknowledged.iter().map(async |(order, answer)| {
        let id = answer.body["id"].as_str().unwrap_or_else(|| panic!("{}: {answer:?}", order.reference));
        let read = dev.get(token, &format!("/v1/fiat-ins/{id}")).await;
        assert_eq!((read.status, &read.body["client_reference"]), (200, &order.reference.as_str().into()));
        let again = dev.post(token, "/v1/fiat-ins", &order.reference, &order.body).await;
        assert_eq!(again.as_ref(), Some(*answer), "{}: another answer after the crash", order.reference);
    }))
    .await;
    acknowledged.len()
}

/// Every order is sent again, also what was not acknowledged; each is completed, and counts once in its wallet.
async fn assert_settled(dev: &Dev, token: &str, (wallets, sent): (&[Wallet], &[Sent])) {
    let orders = join_all(sent.iter().map(async |order| {
        let answer = dev.post(token, "/v1/fiat-ins", &order.reference, &order.body).await.expect("an answer");
        assert!(matches!(answer.status, 201 | 202), "{}: {answer:?}", order.reference);
        let path = format!("/v1/fiat-ins/{}", answer.body["id"].as_str().expect("id"));
        let completed = async {
            while dev.get(token, &path).await.body["state"] != "completed" {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, completed).await.is_ok(), "{} stays open", order.reference);
        path
    }));
    let paths: HashSet<String> = orders.await.into_iter().collect();
    assert_eq!(paths.len(), sent.len(), "one order for each reference");
    let mut due: HashMap<&str, i64> = HashMap::new();
    for order in sent {
        let entity = order.body["entity_id"].as_str().expect("entity_id");
        *due.entry(entity).or_default() += order.body["money"]["amount"].as_i64().expect("amount");
    }
    for wallet in wallets {
        let expected = due.get(wallet.entity.as_str()).copied().unwrap_or_default();
        assert_eq!(dev.balance(token, wallet).await, expected, "each order counts once");
    }
}

#[tokio::test]
async fn kills_while_orders_are_in_flight_lose_nothing_that_was_acknowledged() {
    let folder = folder();
    let (data, ports) = (data_dir(&folder), Ports::fixed());
    let mut dev = Dev::start(&data, ports).await;
    let (mut acknowledged, mut rounds) = (0, Vec::new());
    for (round, after_ms) in KILLS_MS.into_iter().enumerate() {
        let token = dev.token("acme-backend", BACKEND_SCOPE).await;
        let names: Vec<String> = (0..WALLETS).map(|number| format!("r{round}-w{number}")).collect();
        let wallets = join_all(names.iter().map(|name| dev.wallet(&token, name))).await;
        let ordering =
            names.iter().zip(&wallets).map(|(name, wallet)| keep_ordering(&dev, &token, (name, wallet)));
        let (sent, ()) = tokio::join!(join_all(ordering), async {
            tokio::time::sleep(Duration::from_millis(after_ms)).await;
            dev.kill_now();
        });
        drop(dev);
        assert_sound(&data);
        let sent: Vec<Sent> = sent.into_iter().flatten().collect();
        dev = Dev::start(&data, ports).await;
        let token = dev.token("acme-backend", BACKEND_SCOPE).await;
        acknowledged += assert_kept(&dev, &token, &sent).await;
        rounds.push((wallets, sent));
    }
    let token = dev.token("acme-backend", BACKEND_SCOPE).await;
    for (wallets, sent) in &rounds {
        assert_kept(&dev, &token, sent).await;
        assert_settled(&dev, &token, (wallets, sent)).await;
    }
    dev.kill();
    assert!(acknowledged > 0, "some kills fell after an acknowledgement");
    let times = collected(&data);
    assert!(times.values().all(|times| *times == 1), "{times:?}");
    assert_sound(&data);
}
