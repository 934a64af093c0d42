//! The real `countersign` binary as a process of its own, and a client that starts from `credentials.json` alone.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use http::HeaderMap;
use serde_json::{Value, json};

/// How long a start may take on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(90);
const PAUSE: Duration = Duration::from_millis(20);
const LISTENERS: [&str; 6] = [
    "--authz-listen",
    "--resource-listen",
    "--door-listen",
    "--shop-listen",
    "--authz-ops-listen",
    "--resource-ops-listen",
];

/// The binary, or the one that `COUNTERSIGN_BINARY` names, without the environment's own settings of it.
pub(crate) fn countersign() -> Command {
    let binary = std::env::var_os("COUNTERSIGN_BINARY");
    let mut command = Command::new(binary.unwrap_or_else(|| env!("CARGO_BIN_EXE_countersign").into()));
    command.env_remove("RUST_LOG").stdin(Stdio::null());
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("COUNTERSIGN__")) {
        command.env_remove(name);
    }
    command
}

/// Runs a command of the binary to its end.
pub(crate) fn run(arguments: &[&str]) -> Output {
    countersign().args(arguments).output().expect("the binary starts")
}

/// What a finished command said, both streams.
pub(crate) fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// The six ports of `dev`.
#[derive(Clone, Copy)]
pub(crate) struct Ports([u16; 6]);

impl Ports {
    /// The system chooses.
    pub(crate) const ANY: Self = Self([0; 6]);

    /// Six that were free a moment ago, below those the system gives to outgoing connections: a killed process
    /// finds them free again.
    pub(crate) fn fixed() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let first = 12_000 + u16::try_from(std::process::id() % 15_000).expect("below 15000");
        let free = |port: &u16| {
            TcpListener::bind(("127.0.0.1", *port)).is_ok() && TcpListener::bind(("::1", *port)).is_ok()
        };
        let candidates = || first + NEXT.fetch_add(1, Ordering::Relaxed) % 5_000;
        let found: Vec<u16> = std::iter::repeat_with(candidates).filter(free).take(6).collect();
        Self(found.try_into().expect("six ports"))
    }

    /// The numbers, in the order of the flags.
    pub(crate) fn numbers(self) -> [u16; 6] {
        self.0
    }
}

/// The command line of `dev` on a data directory.
pub(crate) fn dev_command(data_dir: &Path, ports: Ports) -> Command {
    let mut command = countersign();
    command.arg("dev").arg("--data-dir").arg(data_dir);
    for (flag, port) in LISTENERS.iter().zip(ports.0) {
        command.arg(flag).arg(port.to_string());
    }
    let points = failpoints(data_dir);
    if points.is_dir() {
        command.env(chassis::failpoint::DIRECTORY, points);
    }
    command
}

/// Where fail points of a `dev` on this data directory are armed; there are none unless the directory exists.
pub(crate) fn failpoints(data_dir: &Path) -> PathBuf {
    data_dir.with_extension("failpoints")
}

/// An answer; a body that is no JSON is kept as text.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Value,
}

/// A running `countersign dev`. Dropped, it is killed.
pub(crate) struct Dev {
    child: Child,
    output: PathBuf,
    pub(crate) credentials: Value,
    http: reqwest::Client,
}

impl Dev {
    /// Starts it and waits until it says that it is up.
    pub(crate) async fn start(data_dir: &Path, ports: Ports) -> Self {
        Self::try_start(data_dir, ports).await.unwrap_or_else(|ended| panic!("{ended}"))
    }

    /// As [`Dev::start`]; what it said, if it ended instead.
    pub(crate) async fn try_start(data_dir: &Path, ports: Ports) -> Result<Self, String> {
        let began = tokio::time::Instant::now();
        let mut dev = Self::spawn(data_dir, ports);
        while !dev.said().contains("Countersign is up") {
            if let Some(status) = dev.child.try_wait().expect("the child's state") {
                return Err(format!("dev ended with {status}: {}", dev.said()));
            }
            assert!(began.elapsed() < PATIENCE, "dev is not up after {PATIENCE:?}: {}", dev.said());
            tokio::time::sleep(PAUSE).await;
        }
        dev.credentials = credentials(data_dir).expect("credentials.json is there once dev is up");
        Ok(dev)
    }

    /// Starts it and does not wait.
    pub(crate) fn spawn(data_dir: &Path, ports: Ports) -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        fs::create_dir_all(data_dir).expect("the data directory");
        let output = data_dir.with_extension("output");
        let file = File::create(&output).expect("a file for the output");
        let child = dev_command(data_dir, ports)
            .stdout(file.try_clone().expect("a second handle"))
            .stderr(file)
            .spawn()
            .expect("the binary starts");
        let http =
            reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        Self { child, output, credentials: Value::Null, http }
    }

    /// Everything that it printed.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// `kill -9`, and waits for the end.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("the end");
    }

    /// `kill -9` without waiting for the end: requests under way break off.
    pub(crate) fn kill_now(&self) {
        self.signal("KILL");
    }

    /// SIGTERM.
    pub(crate) fn ask_to_end(&self) {
        self.signal("TERM");
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).status();
        assert!(sent.expect("sh").success());
    }

    /// Waits for the end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let began = tokio::time::Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("the child's state") {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "dev does not end: {}", self.said());
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// A text of `credentials.json` at a JSON pointer.
    pub(crate) fn credential(&self, pointer: &str) -> &str {
        let text = self.credentials.pointer(pointer).and_then(Value::as_str);
        text.unwrap_or_else(|| panic!("credentials.json has no text at {pointer}"))
    }

    /// A client of `credentials.json`.
    pub(crate) fn client(&self, alias: &str) -> &Value {
        let clients = self.credentials["clients"].as_array().expect("clients");
        clients.iter().find(|client| client["alias"] == alias).unwrap_or_else(|| panic!("no client {alias}"))
    }

    /// A token of a client with a secret.
    pub(crate) async fn token(&self, alias: &str, scope: &str) -> String {
        let client = self.client(alias);
        let [id, secret] =
            ["client_id", "client_secret"].map(|member| client[member].as_str().expect("text"));
        let form = [("grant_type", "client_credentials"), ("scope", scope)];
        let url = format!("{}/oauth2/token", self.credential("/issuer"));
        let answer = self.answer(self.http.post(url).basic_auth(id, Some(secret)).form(&form)).await;
        let answer = answer.expect("the token endpoint answers");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["access_token"].as_str().expect("access_token").to_owned()
    }

    /// A POST to the payments API under an `Idempotency-Key`; `None` when no whole answer came.
    pub(crate) async fn post(&self, token: &str, path: &str, key: &str, body: &Value) -> Option<Answer> {
        self.send(token, path, Some(key), body).await
    }

    /// A POST to the payments API, with or without an `Idempotency-Key`; `None` when no whole answer came.
    pub(crate) async fn send(
        &self,
        token: &str,
        path: &str,
        key: Option<&str>,
        body: &Value,
    ) -> Option<Answer> {
        let url = format!("{}{path}", self.credential("/resource"));
        let request = self.http.post(url).bearer_auth(token).json(body);
        let request = match key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        };
        self.answer(request).await
    }

    /// A POST of these bytes with these headers to any URL; `None` when no whole answer came.
    pub(crate) async fn send_raw(&self, url: String, headers: HeaderMap, body: Vec<u8>) -> Option<Answer> {
        self.answer(self.http.post(url).headers(headers).body(body)).await
    }

    /// As [`Dev::get`]; `None` when no whole answer came.
    pub(crate) async fn try_get(&self, token: &str, path: &str) -> Option<Answer> {
        let request = self.http.get(format!("{}{path}", self.credential("/resource"))).bearer_auth(token);
        self.answer(request).await
    }

    /// A GET at the payments API.
    pub(crate) async fn get(&self, token: &str, path: &str) -> Answer {
        self.try_get(token, path).await.expect("the payments API answers")
    }

    /// A GET of any URL without credentials; `None` when nothing answers.
    pub(crate) async fn fetch(&self, url: &str) -> Option<Answer> {
        self.answer(self.http.get(url)).await
    }

    async fn answer(&self, request: reqwest::RequestBuilder) -> Option<Answer> {
        let response = request.timeout(Duration::from_secs(30)).send().await.ok()?;
        let status = response.status().as_u16();
        let text = response.text().await.ok()?;
        Some(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::String(text)) })
    }

    /// A new customer with a EUR wallet.
    pub(crate) async fn wallet(&self, token: &str, external_id: &str) -> Wallet {
        let customer = json!({ "external_id": external_id, "kind": "person", "country": "DE" });
        let customer = self.made(token, "/v1/customers", &format!("customer-{external_id}"), &customer).await;
        let wallet = json!({ "kind": "customer", "owner": customer, "currency": "EUR" });
        let entity = self.made(token, "/v1/entities", &format!("wallet-{external_id}"), &wallet).await;
        Wallet { customer, entity }
    }

    /// The id of something that a POST makes.
    async fn made(&self, token: &str, path: &str, key: &str, body: &Value) -> String {
        let answer = self.post(token, path, key, body).await.expect("an answer");
        assert_eq!(answer.status, 201, "{}", answer.body);
        answer.body["id"].as_str().expect("id").to_owned()
    }

    /// What a wallet has available, minor units.
    pub(crate) async fn balance(&self, token: &str, wallet: &Wallet) -> i64 {
        let answer = self.get(token, &format!("/v1/entities/{}", wallet.entity)).await;
        answer.body.pointer("/balances/available").and_then(Value::as_i64).expect("a balance")
    }
}

/// A customer and a wallet of theirs.
#[derive(Debug, Clone)]
pub(crate) struct Wallet {
    pub(crate) customer: String,
    pub(crate) entity: String,
}

impl Wallet {
    /// A fiat-in by the partner's backend.
    pub(crate) fn order(&self, reference: &str, amount: i64, instrument: &str) -> Value {
        json!({
            "entity_id": self.entity, "customer": self.customer, "client_reference": reference,
            "money": { "amount": amount, "currency": "EUR" }, "payment_method": { "token": instrument },
        })
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// `credentials.json` of a data directory, if it is there.
pub(crate) fn credentials(data_dir: &Path) -> Option<Value> {
    let bytes = fs::read(data_dir.join("credentials.json")).ok()?;
    Some(serde_json::from_slice(&bytes).expect("credentials.json is JSON"))
}

/// `countersign ledger verify` on a data directory: whether it is sound, and what it said.
pub(crate) fn ledger_verify(data_dir: &Path) -> (bool, String) {
    let output =
        countersign().args(["ledger", "verify", "--data-dir"]).arg(data_dir).output().expect("it starts");
    (output.status.success(), said(&output))
}
