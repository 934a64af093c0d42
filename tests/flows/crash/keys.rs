//! Rotations of signing keys that are killed (reliability R13): the command that begins one, and the process that lets
//! the new key sign or removes the old one. All the while a client gets tokens and shows them at the payments API, and
//! a verifier writes down which keys were published when. Days pass by moving the processes' clock.

use std::collections::HashMap;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chassis::db::Engine;
use chassis::{Clock, SystemClock};
use keys::ring::RingPolicy;
use keys::{UnixSeconds, b64};
use serde_json::Value;
use tokio::sync::{Mutex, RwLock};

use super::PATIENCE;
use super::rig::Rig;
use crate::commands::succeeded;
use crate::process::{Dev, countersign};

const SCOPE: &str = "fiat_ins:read";
const PAUSE: Duration = Duration::from_millis(50);
/// How long before its end a token is no longer used, seconds: a request on a busy machine takes its time.
const MARGIN_S: i64 = 30;

/// Where a rotation is held: before its transaction, inside it, after it.
const POINTS: [&str; 3] = ["keys.before_write", "keys.in_write", "keys.after_write"];

/// What `dev` wants of the authorization server's keys.
fn policy() -> RingPolicy {
    let [issuer, resource] = ["http://localhost:8080", "http://localhost:8081"].map(str::parse);
    let (issuer, resource) = (issuer.expect("an origin"), resource.expect("an origin"));
    authz::Config::new(issuer, resource, String::new().into(), String::new().into()).ring_policy()
}

/// A token, and when it was asked for.
#[derive(Clone)]
struct Issued {
    token: String,
    kid: String,
    asked: UnixSeconds,
    ends: UnixSeconds,
}

/// What the client knows.
#[derive(Default)]
struct Known {
    /// When each key was first seen in the JWKS; the keys that were there from the beginning: long ago.
    published: HashMap<String, UnixSeconds>,
    now_published: Vec<String>,
    /// The first and the last token of each key.
    tokens: HashMap<String, Vec<Issued>>,
    signs: String,
    accepted: usize,
    wrong: Vec<String>,
}

/// A client and a verifier at work while processes die.
struct Client {
    http: reqwest::Client,
    issuer: String,
    resource: String,
    id: String,
    secret: String,
    /// How far the processes' clock is ahead, seconds. Held while a request is under way.
    ahead_s: RwLock<i64>,
    known: Mutex<Known>,
    done: AtomicBool,
}

impl Client {
    fn of(dev: &Dev) -> Arc<Self> {
        let client = dev.client("acme-backend");
        let text = |member: &str| client[member].as_str().expect("text").to_owned();
        let http = reqwest::Client::builder().timeout(PATIENCE).build().expect("a client");
        Arc::new(Self {
            http,
            issuer: dev.credential("/issuer").to_owned(),
            resource: dev.credential("/resource").to_owned(),
            id: text("client_id"),
            secret: text("client_secret"),
            ahead_s: RwLock::new(0),
            known: Mutex::default(),
            done: AtomicBool::new(false),
        })
    }

    async fn run(self: Arc<Self>) {
        while !self.done.load(Ordering::Relaxed) {
            self.look_at_the_keys().await;
            self.ask_for_a_token().await;
            self.show_tokens().await;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// JSON of an answer with this status; `None` while nobody answers.
    async fn answer(&self, request: reqwest::RequestBuilder) -> Option<(u16, Value)> {
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        Some((status, response.json().await.ok()?))
    }

    async fn look_at_the_keys(&self) {
        let ahead_s = self.ahead_s.read().await;
        let asked = self.answer(self.http.get(format!("{}/oauth2/jwks", self.issuer))).await;
        let Some((200, jwks)) = asked else { return };
        let seen = SystemClock.now().plus(*ahead_s);
        let kids: Vec<String> =
            jwks["keys"].as_array().expect("keys").iter().map(|key| text(key, "kid")).collect();
        let mut known = self.known.lock().await;
        let seen = if known.published.is_empty() { UnixSeconds(0) } else { seen };
        for kid in &kids {
            known.published.entry(kid.clone()).or_insert(seen);
        }
        known.now_published = kids;
    }

    async fn ask_for_a_token(&self) {
        let ahead_s = self.ahead_s.read().await;
        let asked = SystemClock.now().plus(*ahead_s);
        let request = self.http.post(format!("{}/oauth2/token", self.issuer));
        let form = [("grant_type", "client_credentials"), ("scope", SCOPE)];
        let answer = self.answer(request.basic_auth(&self.id, Some(&self.secret)).form(&form)).await;
        let Some((200, answer)) = answer else { return };
        let token = text(&answer, "access_token");
        let part = |index: usize| -> Value {
            let part = token.split('.').nth(index).expect("a part");
            serde_json::from_slice(&b64::decode(part).expect("base64url")).expect("JSON")
        };
        let (kid, ends) = (text(&part(0), "kid"), UnixSeconds(part(1)["exp"].as_i64().expect("exp")));
        let mut known = self.known.lock().await;
        let published = known.published.get(&kid).copied();
        // Whoever fetched the JWKS just before the key came, and keeps it for its max-age, has fetched it again.
        if published.is_none_or(|published| asked.since(published) < policy().jwks_max_age_s) {
            known.wrong.push(format!("{kid} signed at {asked:?} and was first published at {published:?}"));
        }
        known.signs.clone_from(&kid);
        let tokens = known.tokens.entry(kid.clone()).or_default();
        tokens.truncate(1);
        tokens.push(Issued { token, kid, asked, ends });
    }

    async fn show_tokens(&self) {
        let tokens: Vec<Issued> = self.known.lock().await.tokens.values().flatten().cloned().collect();
        for issued in tokens {
            self.show(&issued).await;
        }
    }

    /// The status of an answer to this token; `None` when its time is over or nobody answers.
    async fn show(&self, issued: &Issued) -> Option<u16> {
        let ahead_s = self.ahead_s.read().await;
        if SystemClock.now().plus(*ahead_s + MARGIN_S) >= issued.ends {
            return None;
        }
        let request = self.http.get(format!("{}/v1/fiat-ins?limit=1", self.resource));
        let (status, body) = self.answer(request.bearer_auth(&issued.token)).await?;
        let mut known = self.known.lock().await;
        match status {
            200 => known.accepted += 1,
            401 => known.wrong.push(format!("{} of {:?}: {body}", issued.kid, issued.asked)),
            // A process that has just started may say "try again".
            _ => {}
        }
        Some(status)
    }

    /// Asks until what is known is as wanted.
    async fn until(&self, what: &str, wanted: impl Fn(&Known) -> bool) {
        let look = async {
            while !wanted(&*self.known.lock().await) {
                tokio::time::sleep(PAUSE).await;
            }
        };
        assert!(tokio::time::timeout(PATIENCE, look).await.is_ok(), "waited in vain: {what}");
    }

    /// Every token whose time is not over is accepted now. How many keys signed them.
    async fn assert_all_accepted(&self) -> usize {
        let tokens = self.known.lock().await.tokens.clone();
        let mut keys = 0;
        for issued in tokens.values() {
            let mut accepted = false;
            for issued in issued {
                if let Some(status) = self.show(issued).await {
                    assert_eq!(status, 200, "a token of {}", issued.kid);
                    accepted = true;
                }
            }
            keys += usize::from(accepted);
        }
        keys
    }

    /// Time passes, for the processes and for this client.
    async fn advance(&self, rig: &Rig, by_s: i64) {
        let mut ahead_s = self.ahead_s.write().await;
        *ahead_s += by_s;
        rig.move_clock(*ahead_s);
    }
}

fn text(object: &Value, member: &str) -> String {
    object[member].as_str().unwrap_or_else(|| panic!("no {member} in {object}")).to_owned()
}

/// `countersign keys rotate` beside the running `dev`, with its clock and fail points.
fn rotate(rig: &Rig) -> Command {
    let mut command = countersign();
    command.args(["keys", "rotate", "--service", "authz", "--data-dir"]).arg(&rig.data);
    command.env(chassis::failpoint::DIRECTORY, rig.points());
    command
}

/// A stage on which keys are rotated.
struct Stage {
    rig: Rig,
    client: Arc<Client>,
    dev: Dev,
}

impl Stage {
    /// Time passes, so that the running process has a step to take; it dies at the point, and is started again.
    async fn dies_when(self, by_s: i64, point: &str) -> Self {
        let Self { rig, client, dev } = self;
        rig.arm(point);
        client.advance(&rig, by_s).await;
        rig.held(point).await;
        dev.kill();
        rig.disarm();
        let dev = rig.start_dev().await;
        Self { rig, client, dev }
    }

    /// A rotation that is asked for: the command dies at the point and is run again, then the service dies there when
    /// the new key is due.
    async fn rotation(self, point: &str) -> Self {
        let (old, before) = {
            let known = self.client.known.lock().await;
            (known.signs.clone(), known.now_published.len())
        };
        self.rig.arm(point);
        let mut dying = rotate(&self.rig).spawn().expect("it starts");
        self.rig.held(point).await;
        dying.kill().expect("killed");
        dying.wait().expect("the end");
        self.rig.disarm();
        let said = succeeded(&rotate(&self.rig).output().expect("it starts"));
        let committed = point == "keys.after_write";
        let expected = if committed { "was published before" } else { "is published now" };
        assert!(said.contains(expected), "{point}: {said}");
        self.client.until("the next key is published", |known| known.now_published.len() == before + 1).await;
        let stage = self.dies_when(policy().lead_s(), point).await;
        stage.client.until("the next key signs", |known| known.signs != old).await;
        // Also those of the rotation before, if they have not ended.
        assert!(stage.client.assert_all_accepted().await >= 2, "tokens of both keys are good");
        stage
    }
}

both_engines! {
    async fn r13_rotations_killed_at_any_point_are_finished_and_no_token_is_refused(engine: Engine) {
        let rig = Rig::on(engine).await;
        let dev = rig.start_dev().await;
        let client = Client::of(&dev);
        let working = tokio::spawn(Arc::clone(&client).run());
        client.until("a token is accepted", |known| known.accepted > 0).await;
        let mut stage = Stage { rig, client, dev };
        for point in POINTS {
            stage = stage.rotation(point).await;
        }

        // What the old keys signed has ended: they are removed.
        let stage = stage.dies_when(policy().linger_s(), "keys.in_write").await;
        stage.client.until("one key is left", |known| known.now_published == [known.signs.clone()]).await;

        // And a rotation that nobody asked for.
        let old = stage.client.known.lock().await.signs.clone();
        let stage = stage.dies_when(policy().rotation_s, "keys.before_write").await;
        stage.client.until("the next key is published", |known| known.now_published.len() == 2).await;
        let stage = stage.dies_when(policy().lead_s(), "keys.after_write").await;
        stage.client.until("the next key signs", |known| known.signs != old).await;
        assert_eq!(stage.client.assert_all_accepted().await, 2, "tokens of both keys are good");

        stage.client.done.store(true, Ordering::Relaxed);
        working.await.expect("the client's work");
        let known = stage.client.known.lock().await;
        assert_eq!(known.wrong, Vec::<String>::new());
        assert_eq!(known.published.len(), 5, "the first key and four others");
        drop(known);
        stage.dev.kill();
    }
}
