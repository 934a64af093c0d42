//! What a client asked for and what it was told, written down before each request and after each answer.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::PATIENCE;
use super::rig::Running;
use crate::process::{Answer, Wallet};

/// How often a client repeats at once what is answered "try again", and its pause before that.
const TRIES: u32 = 5;
const PAUSE: Duration = Duration::from_millis(50);

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Order,
    Transfer,
}

/// One operation, the same in every byte however often it is sent.
#[derive(Debug, Clone)]
pub(crate) struct Operation {
    pub(crate) kind: Kind,
    /// Its `client_reference`, and its `Idempotency-Key` unless a one-time token is used.
    pub(crate) reference: String,
    pub(crate) one_time: Option<String>,
    pub(crate) body: Value,
}

impl Operation {
    /// A fiat-in by the partner's backend.
    pub(crate) fn order(wallet: &Wallet, reference: &str, amount: i64, instrument: &str) -> Self {
        let body = wallet.order(reference, amount, instrument);
        Self { kind: Kind::Order, reference: reference.to_owned(), one_time: None, body }
    }

    /// The same by the customer's app with a one-time token, which says who the customer is.
    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.one_time = Some(token.to_owned());
        self.body.as_object_mut().expect("an object").remove("customer");
        self
    }

    /// A transfer between two wallets.
    pub(crate) fn transfer(source: &Wallet, destination: &Wallet, reference: &str, amount: i64) -> Self {
        let body = json!({
            "source": source.entity, "destination": destination.entity, "client_reference": reference,
            "money": { "amount": amount, "currency": "EUR" },
        });
        Self { kind: Kind::Transfer, reference: reference.to_owned(), one_time: None, body }
    }

    /// Where single ones are read.
    pub(crate) fn path(&self) -> &'static str {
        match self.kind {
            Kind::Order => "/v1/fiat-ins",
            Kind::Transfer => "/v1/transfers",
        }
    }

    pub(crate) fn amount(&self) -> i64 {
        self.body["money"]["amount"].as_i64().expect("amount")
    }

    /// A wallet that its body names.
    pub(crate) fn wallet(&self, member: &str) -> &str {
        self.body[member].as_str().expect("a wallet")
    }
}

/// An operation and the first definite answer to it.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) operation: Operation,
    pub(crate) answer: Option<Answer>,
}

impl Entry {
    /// What the operation made, once it is known that it did.
    pub(crate) fn made(&self) -> Option<&str> {
        let answer = self.answer.as_ref().filter(|answer| matches!(answer.status, 201 | 202))?;
        answer.body["id"].as_str()
    }
}

/// All of it, in the order of the first requests; also as lines of JSON in a file, for people.
pub(crate) struct History {
    entries: Mutex<Vec<Entry>>,
    file: Mutex<File>,
}

impl History {
    pub(crate) fn in_file(path: &Path) -> Self {
        let file = File::create(path).expect("the history's file");
        Self { entries: Mutex::new(Vec::new()), file: Mutex::new(file) }
    }

    /// Sends an operation for the first time and keeps what came back.
    pub(crate) async fn send(&self, running: &Running, operation: Operation) -> Option<Answer> {
        self.send_again(running, self.add(operation)).await
    }

    /// Sends an operation until there is a definite answer, which a running process owes.
    pub(crate) async fn insist(&self, running: &Running, operation: Operation) -> Answer {
        let place = self.add(operation);
        let sent = async {
            loop {
                if let Some(answer) = self.send_again(running, place).await {
                    return answer;
                }
            }
        };
        tokio::time::timeout(PATIENCE, sent).await.expect("a definite answer")
    }

    fn add(&self, operation: Operation) -> usize {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.push(Entry { operation, answer: None });
        entries.len() - 1
    }

    /// Sends an operation as it was sent first. The first definite answer stays in the history; this one is returned.
    pub(crate) async fn send_again(&self, running: &Running, place: usize) -> Option<Answer> {
        let operation = self.entry(place).operation;
        let Operation { kind, reference, one_time, body } = &operation;
        self.write(&json!({ "sent": reference, "kind": format!("{kind:?}"), "body": body }));
        let (token, key) = match one_time {
            Some(token) => (token.as_str(), None),
            None => (&*running.token, Some(reference.as_str())),
        };
        let mut answer = running.dev.send(token, operation.path(), key, body).await;
        for _ in 1..TRIES {
            if answer.as_ref().is_none_or(is_definite) {
                break;
            }
            tokio::time::sleep(PAUSE).await;
            answer = running.dev.send(token, operation.path(), key, body).await;
        }
        let outcome = answer.as_ref().map(|answer| json!([answer.status, answer.body]));
        self.write(&json!({ "sent": reference, "answer": outcome }));
        let definite = answer.filter(is_definite)?;
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries[place].answer.get_or_insert_with(|| definite.clone());
        Some(definite)
    }

    pub(crate) fn entry(&self, place: usize) -> Entry {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)[place].clone()
    }

    pub(crate) fn entries(&self) -> Vec<Entry> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    fn write(&self, line: &Value) {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        writeln!(file, "{line}").expect("the history's file");
    }
}

/// Whether an answer says what became of the operation: neither trouble of the server nor "still running".
fn is_definite(answer: &Answer) -> bool {
    answer.status < 500 && answer.body["code"] != "idempotency_in_progress"
}
