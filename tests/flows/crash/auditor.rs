//! Whether what the service shows agrees with what its client remembers. Every disagreement is a sentence that begins
//! with the invariant it breaks (docs/reliability.md).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream;
use serde_json::Value;

use super::history::{Entry, History, Kind};
use super::rig::{Rig, Running};
use super::{PATIENCE, at_rest};
use crate::process::Answer;

/// Operations that are sent again at once.
const AT_ONCE: usize = 16;
/// How long events may take to be numbered after a restart.
const NUMBERING: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);

/// Compares one history with the service, as often as wanted.
pub(crate) struct Auditor<'a> {
    pub(crate) rig: &'a Rig,
    pub(crate) history: &'a History,
    told: Mutex<Told>,
}

/// The events read so far.
#[derive(Default)]
struct Told {
    last_seq: i64,
    ids: HashSet<String>,
    /// How often each kind of event told of each object.
    times: HashMap<(String, String), usize>,
}

/// What exists now, by the partner's own reference.
struct Found {
    orders: HashMap<String, Vec<Value>>,
    transfers: HashMap<String, Vec<Value>>,
}

impl Found {
    fn of(&self, entry: &Entry) -> &[Value] {
        let by_reference = match entry.operation.kind {
            Kind::Order => &self.orders,
            Kind::Transfer => &self.transfers,
        };
        by_reference.get(&entry.operation.reference).map_or(&[], Vec::as_slice)
    }
}

impl<'a> Auditor<'a> {
    pub(crate) fn new(rig: &'a Rig, history: &'a History) -> Self {
        Self { rig, history, told: Mutex::default() }
    }

    /// Sends these operations again under their own keys and tokens until each is definite and at rest.
    pub(crate) async fn settle(&self, running: &Running, places: Vec<usize>) -> Vec<String> {
        let settled = stream::iter(places).map(|place| self.settle_one(running, place));
        settled.buffer_unordered(AT_ONCE).collect::<Vec<_>>().await.concat()
    }

    async fn settle_one(&self, running: &Running, place: usize) -> Vec<String> {
        let Entry { operation, answer: known } = self.history.entry(place);
        let name = &operation.reference;
        let Some(answer) = self.insist(running, place).await else {
            return vec![format!("INV3: {name} stays unknown")];
        };
        let mut wrong = Vec::new();
        if let Some(known) = known.as_ref().filter(|known| !same(known, &answer)) {
            wrong.push(format!("INV3: {name} was answered {known:?}, and after the crash {answer:?}"));
        }
        let made = answer.body["id"].as_str().filter(|_| answer.status < 300);
        if let (Kind::Order, Some(id)) = (operation.kind, made) {
            let ends = async {
                while !at_rest(&running.dev.get(&running.token, &format!("/v1/fiat-ins/{id}")).await.body) {
                    tokio::time::sleep(PAUSE).await;
                }
            };
            if tokio::time::timeout(PATIENCE, ends).await.is_err() {
                wrong.push(format!("INV3: {name} never ends"));
            }
        }
        if known.is_some() {
            return wrong;
        }
        match self.insist(running, place).await {
            Some(again) if same(&again, &answer) => {}
            again => wrong.push(format!("INV3: {name} was answered {answer:?}, and then {again:?}")),
        }
        wrong
    }

    async fn insist(&self, running: &Running, place: usize) -> Option<Answer> {
        let sent = async {
            loop {
                if let Some(answer) = self.history.send_again(running, place).await {
                    return answer;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, sent).await.ok()
    }

    /// Everything, once every operation has been settled.
    pub(crate) async fn audit(&self, running: &Running) -> Vec<String> {
        let entries = self.history.entries();
        let by_reference = |list: Vec<Value>| {
            let mut found: HashMap<String, Vec<Value>> = HashMap::new();
            for item in list {
                let reference = item["client_reference"].as_str().unwrap_or_default().to_owned();
                found.entry(reference).or_default().push(item);
            }
            found
        };
        let found = Found {
            orders: by_reference(running.list("/v1/fiat-ins").await),
            transfers: by_reference(running.list("/v1/transfers").await),
        };
        let mut wrong = exactly_once(&entries, &found);
        wrong.extend(one_effect_a_token(&entries, &found));
        wrong.extend(self.balances(running, &entries, &found).await);
        wrong.extend(collected_and_credited(&self.rig.collected(), &found));
        wrong.extend(self.events(running, &entries, &found).await);
        wrong.extend(self.rig.ledger_violations());
        wrong
    }

    /// INV2: each wallet holds what was credited and what was moved, no less than nothing, and nothing is held back.
    async fn balances(&self, running: &Running, entries: &[Entry], found: &Found) -> Vec<String> {
        let mut due: BTreeMap<&str, i64> = BTreeMap::new();
        for entry in entries {
            let operation = &entry.operation;
            for item in found.of(entry) {
                match operation.kind {
                    Kind::Order if item["state"] == "completed" => {
                        *due.entry(operation.wallet("entity_id")).or_default() += operation.amount();
                    }
                    Kind::Transfer if item["state"] == "completed" => {
                        *due.entry(operation.wallet("source")).or_default() -= operation.amount();
                        *due.entry(operation.wallet("destination")).or_default() += operation.amount();
                    }
                    _ => {}
                }
            }
        }
        let wallets: HashMap<String, Value> = running
            .list("/v1/entities")
            .await
            .into_iter()
            .map(|wallet| (wallet["id"].as_str().unwrap_or_default().to_owned(), wallet))
            .collect();
        let mut wrong = Vec::new();
        for (wallet, due) in due {
            let available = wallets.get(wallet).and_then(|wallet| wallet["balances"]["available"].as_i64());
            if available != Some(due) || due < 0 {
                wrong.push(format!("INV2: {wallet} has {available:?} available where {due} is due"));
            }
        }
        wrong
    }

    /// INV6: each change is told once, under an id of its own, in a sequence without gaps.
    async fn events(&self, running: &Running, entries: &[Entry], found: &Found) -> Vec<String> {
        let mut due = BTreeSet::new();
        for (entry, item) in
            entries.iter().flat_map(|entry| found.of(entry).iter().map(move |item| (entry, item)))
        {
            let id = item["id"].as_str().unwrap_or_default();
            let kinds: &[&str] = match (entry.operation.kind, item["state"].as_str().unwrap_or_default()) {
                (Kind::Transfer, "completed") => &["transfer.completed"],
                (Kind::Order, "completed") => {
                    &["monitoring.accepted", "fiat_in.processing", "fiat_in.completed", "entity.credited"]
                }
                (Kind::Order, "failed") => &["monitoring.accepted", "fiat_in.processing", "fiat_in.failed"],
                (Kind::Order, "refused") => &["monitoring.refused", "fiat_in.refused"],
                (Kind::Order, "in_review") => &["monitoring.review", "fiat_in.in_review"],
                _ => &[],
            };
            due.extend(kinds.iter().map(|kind| ((*kind).to_owned(), id.to_owned())));
        }
        let mut wrong = Vec::new();
        let numbered = async {
            loop {
                wrong.extend(self.read_events(running).await);
                if self.missing(&due).is_empty() {
                    return;
                }
                tokio::time::sleep(PAUSE).await;
            }
        };
        // What is missing in the end is said below.
        drop(tokio::time::timeout(NUMBERING, numbered).await);
        let missing = self.missing(&due);
        wrong.extend(missing.into_iter().map(|(kind, id)| format!("INV6: no event {kind} of {id}")));
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let twice = due.iter().filter(|due| told.times.get(*due).is_some_and(|times| *times > 1));
        wrong.extend(twice.map(|(kind, id)| format!("INV6: {kind} of {id} was told more than once")));
        wrong
    }

    fn missing(&self, due: &BTreeSet<(String, String)>) -> Vec<(String, String)> {
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        due.iter().filter(|due| !told.times.contains_key(*due)).cloned().collect()
    }

    /// Reads the events after the last one that was read.
    async fn read_events(&self, running: &Running) -> Vec<String> {
        let mut wrong = Vec::new();
        loop {
            let after = self.told.lock().unwrap_or_else(PoisonError::into_inner).last_seq;
            let path = format!("/v1/events?limit=100&after_seq={after}");
            let page = running.dev.get(&running.token, &path).await;
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            for event in page.body["data"].as_array().into_iter().flatten() {
                let (id, seq) = (event["id"].as_str().unwrap_or_default(), event["seq"].as_i64());
                if seq != Some(told.last_seq + 1) {
                    wrong.push(format!("INV6: event {id} has number {seq:?} after {}", told.last_seq));
                }
                told.last_seq = seq.unwrap_or_default();
                if !told.ids.insert(id.to_owned()) {
                    wrong.push(format!("INV6: event id {id} comes twice"));
                }
                let of = event["data"]["transfer_id"].as_str().or(event["data"]["fiat_in_id"].as_str());
                let key = (
                    event["type"].as_str().unwrap_or_default().to_owned(),
                    of.unwrap_or_default().to_owned(),
                );
                *told.times.entry(key).or_default() += 1;
            }
            if page.body["has_more"] != true {
                return wrong;
            }
        }
    }
}

/// Two answers to one request. A refusal says each time which request it refused.
fn same(one: &Answer, other: &Answer) -> bool {
    let refusal = one.status >= 400 && one.status == other.status && one.body["code"] == other.body["code"];
    refusal || one == other
}

/// INV3: what was acknowledged is there once and is what was acknowledged; what was refused is not there.
fn exactly_once(entries: &[Entry], found: &Found) -> Vec<String> {
    let mut wrong = Vec::new();
    for entry in entries {
        let (name, ids) = (&entry.operation.reference, found.of(entry));
        let ids: Vec<&str> = ids.iter().filter_map(|item| item["id"].as_str()).collect();
        match (&entry.answer, entry.made()) {
            (Some(_), Some(id)) if ids != [id] => {
                wrong.push(format!("INV3: {name} was acknowledged as {id}, and there is {ids:?}"));
            }
            (Some(answer), None) if !ids.is_empty() => {
                wrong.push(format!("INV3: {name} was refused with {}, and there is {ids:?}", answer.status));
            }
            (None, _) if ids.len() > 1 => wrong.push(format!("INV3: {name} is there as {ids:?}")),
            _ => {}
        }
    }
    let known: HashSet<&str> = entries.iter().map(|entry| entry.operation.reference.as_str()).collect();
    let references = found.orders.keys().chain(found.transfers.keys());
    let unknown = references.filter(|reference| !known.contains(reference.as_str()));
    wrong.extend(unknown.map(|reference| format!("INV3: nobody asked for {reference:?}")));
    wrong
}

/// INV4: a one-time token has one effect at most, and one if it was acknowledged.
fn one_effect_a_token(entries: &[Entry], found: &Found) -> Vec<String> {
    let mut effects: HashMap<&str, (usize, Vec<&str>)> = HashMap::new();
    for entry in entries {
        let Some(token) = &entry.operation.one_time else { continue };
        let (acknowledged, names) = effects.entry(token).or_default();
        *acknowledged += usize::from(entry.made().is_some());
        names.extend(found.of(entry).iter().map(|_| entry.operation.reference.as_str()));
    }
    let wrong = effects.into_values().filter(|(acknowledged, names)| names.len() > 1 || *acknowledged > 1);
    wrong.map(|(_, names)| format!("INV4: one token was good for {names:?}")).collect()
}

/// INV1, INV5: the gateway collected each completed order once, and nothing else.
fn collected_and_credited(collected: &HashMap<String, usize>, found: &Found) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut credited = HashSet::new();
    for order in found.orders.values().flatten().filter(|order| order["state"] == "completed") {
        let charge = order["charge"]["id"].as_str().unwrap_or_default();
        credited.insert(charge);
        let times = collected.get(charge).copied().unwrap_or_default();
        if times != 1 {
            wrong.push(format!("INV5: {} is completed and was collected {times} times", order["id"]));
        }
    }
    let kept = collected.keys().filter(|charge| !credited.contains(charge.as_str()));
    wrong.extend(kept.map(|charge| format!("INV1: {charge} was collected and credited to nobody")));
    wrong
}
