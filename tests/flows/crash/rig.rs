//! One `countersign dev` to be killed: its data directory, its databases on either engine, its fail points.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chassis::db::Engine;
use chassis::{Clock, SystemClock};
use http::{HeaderMap, HeaderValue};
use keys::http_signature::{Message, Signer, TAG_REQUEST};
use keys::{SigningKey, jws};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{PATIENCE, collected};
use crate::binary::folder;
use crate::process::{Answer, Dev, Ports, Wallet, failpoints, ledger_verify};
use crate::world::Databases;

/// What the backend of these tests does.
const SCOPE: &str = "customers:write entities:write entities:read fiat_ins:execute fiat_ins:read \
                     transfers:execute transfers:read events:read charges:read";
/// Life of the one-time tokens, seconds: longer than any kill and restart.
const ONE_TIME_LIFE_S: i64 = 900;
/// Starts until a process that does not come up counts as broken.
const STARTS: u32 = 4;
/// Requests until an answer other than "try again" must have come, and the pause between them.
const TRIES: u32 = 100;
const PAUSE: Duration = Duration::from_millis(100);
/// The file that says by how much the process's clock is ahead.
const CLOCK: &str = "clock";

/// Where a process lives that is killed and started again.
pub(crate) struct Rig {
    _folder: TempDir,
    pub(crate) databases: Option<Databases>,
    pub(crate) data: PathBuf,
    points: PathBuf,
    ports: Ports,
}

impl Rig {
    /// An empty one.
    pub(crate) async fn on(engine: Engine) -> Self {
        let folder = folder();
        let data = folder.path().join("data");
        let points = failpoints(&data);
        fs::create_dir_all(&data).expect("the data directory");
        fs::create_dir_all(&points).expect("the fail points' directory");
        let databases = match engine {
            Engine::Sqlite => None,
            Engine::Postgres => Some(Databases::on(engine).await),
        };
        if let Some(databases) = &databases {
            let [authz, resource_api] =
                [&databases.authz, &databases.resource_api].map(|database| json!(database.url().expose()));
            let text = format!("authz = {authz}\nresource_api = {resource_api}\n");
            fs::write(data.join("databases.toml"), text).expect("written");
        }
        Self { _folder: folder, databases, data, points, ports: Ports::fixed() }
    }

    /// Starts the process and gets what a partner's backend holds.
    pub(crate) async fn start(&self) -> Running {
        let dev = self.start_dev().await;
        let token = dev.token("acme-backend", SCOPE).await;
        let signer = SignedClient::new(&dev).await;
        Running { dev: Arc::new(dev), token: token.into(), signer: Arc::new(signer) }
    }

    /// Starts the process; once more when a machine that is busy made its start fail, as whoever supervises it would.
    pub(crate) async fn start_dev(&self) -> Dev {
        let mut started = Dev::try_start(&self.data, self.ports).await;
        for _ in 1..STARTS {
            if started.is_ok() {
                break;
            }
            started = Dev::try_start(&self.data, self.ports).await;
        }
        started.unwrap_or_else(|ended| panic!("{ended}"))
    }

    /// The directory of the fail points, for a command beside the process.
    pub(crate) fn points(&self) -> &Path {
        &self.points
    }

    /// Moves the clock of the process so many seconds ahead of the machine's.
    pub(crate) fn move_clock(&self, ahead_s: i64) {
        let written = self.beside("clock");
        fs::write(&written, ahead_s.to_string()).expect("written");
        fs::rename(written, self.points.join(CLOCK)).expect("moved");
    }

    /// Holds the next arrival at this point.
    pub(crate) fn arm(&self, point: &str) {
        fs::write(self.points.join(point), "1").expect("armed");
    }

    /// Waits until somebody is held at this point.
    pub(crate) async fn held(&self, point: &str) {
        let held = self.points.join(format!("{point}.held"));
        let look = async {
            while !held.exists() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, look).await.is_ok(), "nobody comes to {point}");
    }

    /// Disarms every point, so that the next process is not held.
    pub(crate) fn disarm(&self) {
        for entry in fs::read_dir(&self.points).expect("the fail points' directory") {
            let path = entry.expect("an entry").path();
            let name = path.file_name().expect("a name").to_string_lossy().into_owned();
            if !name.starts_with("plant.") && name != CLOCK {
                fs::remove_file(path).expect("disarmed");
            }
        }
    }

    /// Plants a mistake or a trouble.
    pub(crate) fn plant(&self, mistake: &str) {
        fs::write(self.points.join(format!("plant.{mistake}")), "").expect("planted");
    }

    /// Ends it.
    pub(crate) fn lift(&self, mistake: &str) {
        fs::remove_file(self.points.join(format!("plant.{mistake}"))).expect("lifted");
    }

    /// What `ledger verify` objects to.
    pub(crate) fn ledger_violations(&self) -> Vec<String> {
        let (sound, report) = ledger_verify(&self.data);
        if sound { Vec::new() } else { vec![format!("INV1, INV2: {report}")] }
    }

    /// How often the gateway collected, by charge.
    pub(crate) fn collected(&self) -> HashMap<String, usize> {
        collected(&self.data)
    }

    /// A file beside the data directory that outlives the processes.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.data.parent().unwrap_or(Path::new("/")).join(name)
    }
}

/// The process while it runs, and what a partner's backend holds then. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Running {
    pub(crate) dev: Arc<Dev>,
    pub(crate) token: Arc<str>,
    signer: Arc<SignedClient>,
}

impl Running {
    /// A new customer with a EUR wallet; `None` when the process died meanwhile.
    pub(crate) async fn wallet(&self, external_id: &str) -> Option<Wallet> {
        let customer = json!({ "external_id": external_id, "kind": "person", "country": "DE" });
        let customer = self.made("/v1/customers", &format!("customer-{external_id}"), &customer).await?;
        let wallet = json!({ "kind": "customer", "owner": customer, "currency": "EUR" });
        let entity = self.made("/v1/entities", &format!("wallet-{external_id}"), &wallet).await?;
        Some(Wallet { customer, entity })
    }

    async fn made(&self, path: &str, key: &str, body: &Value) -> Option<String> {
        let answer = insist(async || self.dev.post(&self.token, path, key, body).await).await?;
        (answer.status == 201).then(|| answer.body["id"].as_str().expect("id").to_owned())
    }

    /// A one-time token for any fiat-in of this customer; `None` when the process died meanwhile.
    pub(crate) async fn one_time(&self, external_id: &str) -> Option<String> {
        let body = json!({
            "external_id": external_id, "method": "POST", "expires_in": ONE_TIME_LIFE_S,
            "url": format!("{}/v1/fiat-ins", self.dev.credential("/resource")),
        });
        let url = format!("{}/v1/user-tokens", self.dev.credential("/issuer"));
        let body = body.to_string().into_bytes();
        let ask = async || self.signer.post(&self.dev, url.clone(), body.clone(), "application/json").await;
        let answer = insist(ask).await?;
        (answer.status == 201).then(|| answer.body["access_token"].as_str().expect("a token").to_owned())
    }

    /// Everything of a list that the partner sees, newest first.
    pub(crate) async fn list(&self, path: &str) -> Vec<Value> {
        let (mut all, mut next) = (Vec::new(), format!("{path}?limit=100"));
        loop {
            let page = insist(async || self.dev.try_get(&self.token, &next).await).await;
            let page = page.expect("the payments API answers");
            assert_eq!(page.status, 200, "{next}: {}", page.body);
            all.extend(page.body["data"].as_array().expect("data").iter().cloned());
            match page.body["next_cursor"].as_str() {
                Some(cursor) => next = format!("{path}?limit=100&cursor={cursor}"),
                None => return all,
            }
        }
    }
}

/// `acme-signed`, which asks for one-time tokens: every request signed (RFC 9421).
struct SignedClient {
    key: SigningKey,
    token: String,
}

impl SignedClient {
    async fn new(dev: &Dev) -> Self {
        let client = dev.client("acme-signed");
        let held = |member: &str| SigningKey::from_private_jwk(&client[member]).expect("a private key");
        let issuer = dev.credential("/issuer");
        let id = client["client_id"].as_str().expect("client_id");
        let form = || {
            let now = SystemClock.now();
            let claims = json!({
                "iss": id, "sub": id, "aud": issuer, "jti": unique(), "iat": now, "exp": now.plus(60),
            });
            let assertion = jws::sign(&held("private_jwk"), "client-authentication+jwt", &claims);
            url::form_urlencoded::Serializer::new(String::new())
                .append_pair("grant_type", "client_credentials")
                .append_pair("scope", "user_tokens:write")
                .append_pair(
                    "client_assertion_type",
                    "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                )
                .append_pair("client_assertion", &assertion.expect("signed"))
                .finish()
                .into_bytes()
        };
        let mut signer = Self { key: held("signature_jwk"), token: String::new() };
        let url = format!("{issuer}/oauth2/token");
        let kind = "application/x-www-form-urlencoded";
        let answer = insist(async || signer.post(dev, url.clone(), form(), kind).await).await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body["access_token"].as_str().expect("access_token").clone_into(&mut signer.token);
        signer
    }

    /// A signed POST to the authorization server.
    async fn post(
        &self,
        dev: &Dev,
        url: String,
        body: Vec<u8>,
        content_type: &'static str,
    ) -> Option<Answer> {
        let parsed = url::Url::parse(&url).expect("a URL");
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static(content_type));
        if !self.token.is_empty() {
            headers.insert("authorization", header(&format!("Bearer {}", self.token)));
        }
        let message = Message {
            method: "POST",
            authority: parsed.authority(),
            path: parsed.path(),
            query: parsed.query(),
            headers: &headers,
            body: &body,
        };
        let (key, nonce, created) = (&self.key, unique(), SystemClock.now());
        let signer = Signer { key, keyid: key.kid(), tag: TAG_REQUEST, created, nonce: &nonce };
        let signed = signer.sign(&message).expect("a signature");
        if let Some(digest) = signed.content_digest {
            headers.insert("content-digest", header(&digest));
        }
        headers.insert("signature-input", header(&signed.signature_input));
        headers.insert("signature", header(&signed.signature));
        dev.send_raw(url, headers, body).await
    }
}

/// Asks until the answer is another one than "try again"; `None` once nobody answers.
async fn insist(ask: impl AsyncFn() -> Option<Answer>) -> Option<Answer> {
    for _ in 1..TRIES {
        let answer = ask().await?;
        if answer.status < 500 && answer.body["code"] != "idempotency_in_progress" {
            return Some(answer);
        }
        tokio::time::sleep(PAUSE).await;
    }
    ask().await
}

fn header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("a header value")
}

/// A text that no other call returns, in no other process either.
pub(crate) fn unique() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("{}-{}-{}", std::process::id(), SystemClock.now_ms(), NEXT.fetch_add(1, Ordering::Relaxed))
}
