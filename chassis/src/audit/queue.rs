//! Issued tokens and refusals on their way to the audit. Nobody waits for it: what is noted stays in memory until it
//! is written, at most a second, and there are bounds to all of it. Tokens that a client was issued within that second
//! are one row. What becomes of refusals is said in `refusals`.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use super::node;
use super::refusals::{Refusals, RefusedRequest};
use super::row::{AuditRow, Outcome, insert_rows};
use crate::shutdown::Shutdown;
use crate::{Db, Fault, Platform};

/// How long a row of the queue is kept, seconds: 7 days.
pub const REQUEST_LIFE_S: i64 = 7 * 86_400;

/// Tokens that wait to be written; those beyond are dropped, and counted in a metric.
const TOKENS_MAX: usize = 20_000;

/// Tokens in one row.
const TOKENS_PER_ROW: usize = 256;

/// Rows written in one unit.
const ROWS_PER_UNIT: usize = 256;

/// Pause between two writings.
const PAUSE: Duration = Duration::from_secs(1);

/// An issued token. The token itself is never noted.
#[derive(Debug, Clone, Copy)]
pub struct IssuedToken<'t> {
    /// Its `jti`.
    pub jti: &'t str,
    /// Its subject.
    pub sub: &'t str,
    /// The client it was issued to.
    pub client_id: &'t str,
    /// The client's partner.
    pub partner_id: &'t str,
    /// Its kind.
    pub kind: &'static str,
    /// Its audience.
    pub audience: &'t str,
}

/// What waits to be written. All clones are one queue.
#[derive(Clone)]
pub struct AuditQueue(Arc<Queue>);

struct Queue {
    service: &'static str,
    platform: Platform,
    noted: Mutex<Noted>,
    /// What could not be written yet. Nothing new is taken before it is.
    unwritten: tokio::sync::Mutex<Vec<AuditRow>>,
}

#[derive(Default)]
struct Noted {
    refusals: Refusals,
    /// Issued tokens, by client.
    issued: HashMap<String, Vec<Group>>,
    tokens: usize,
    dropped: u64,
}

/// Tokens that share everything but their ids.
struct Group {
    partner_id: String,
    kind: &'static str,
    audience: String,
    at_s: i64,
    /// `jti`, and the subject where it is not the client.
    tokens: Vec<(String, Option<String>)>,
}

impl AuditQueue {
    /// An empty queue of a service.
    pub fn new(service: &'static str, platform: Platform) -> Self {
        let unwritten = tokio::sync::Mutex::default();
        Self(Arc::new(Queue { service, platform, noted: Mutex::default(), unwritten }))
    }

    fn noted(&self) -> MutexGuard<'_, Noted> {
        self.0.noted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a refusal. Costs no memory once its client and reason were refused often within the minute.
    pub fn refused(&self, refused: RefusedRequest) {
        let now_s = self.0.platform.now().0;
        self.noted().refusals.note(&self.0.platform, refused, now_s);
    }

    /// Notes an issued token.
    pub fn issued(&self, token: IssuedToken<'_>) {
        let now_s = self.0.platform.now().0;
        let mut noted = self.noted();
        if noted.tokens >= TOKENS_MAX {
            noted.dropped += 1;
            return;
        }
        noted.tokens += 1;
        let entry = (token.jti.to_owned(), (token.sub != token.client_id).then(|| token.sub.to_owned()));
        if !noted.issued.contains_key(token.client_id) {
            noted.issued.insert(token.client_id.to_owned(), Vec::new());
        }
        let Some(groups) = noted.issued.get_mut(token.client_id) else { return };
        let fits = |group: &&mut Group| {
            group.kind == token.kind
                && group.audience == token.audience
                && group.tokens.len() < TOKENS_PER_ROW
        };
        if let Some(group) = groups.iter_mut().find(fits) {
            group.tokens.push(entry);
        } else {
            groups.push(Group {
                partner_id: token.partner_id.to_owned(),
                kind: token.kind,
                audience: token.audience.to_owned(),
                at_s: now_s,
                tokens: vec![entry],
            });
        }
    }

    /// How much waits to be written or counts: rows, counts and tokens together.
    pub fn waiting(&self) -> usize {
        let noted = self.noted();
        noted.refusals.waiting() + noted.tokens
    }

    /// Writes what was noted.
    ///
    /// # Errors
    /// The store's fault. What was not written stays for the next time; meanwhile what is noted stays within its
    /// bounds.
    pub async fn flush(&self, db: &Db) -> Result<(), Fault> {
        let mut unwritten = self.0.unwritten.lock().await;
        if unwritten.is_empty() {
            *unwritten = self.take();
        }
        while !unwritten.is_empty() {
            let size = unwritten.len().min(ROWS_PER_UNIT);
            let unit: Arc<[AuditRow]> = unwritten[..size].into();
            db.write(move |tx| {
                let unit = Arc::clone(&unit);
                Box::pin(async move { insert_rows(tx, &unit).await })
            })
            .await?;
            unwritten.drain(..size);
        }
        Ok(())
    }

    /// Takes everything out, as rows.
    fn take(&self) -> Vec<AuditRow> {
        let platform = &self.0.platform;
        let (mut rows, issued, dropped) = {
            let mut noted = self.noted();
            noted.tokens = 0;
            let rows = noted.refusals.take(platform, platform.now().0);
            (rows, std::mem::take(&mut noted.issued), std::mem::take(&mut noted.dropped))
        };
        if dropped > 0 {
            metrics::counter!("audit_dropped_total", "service" => self.0.service).increment(dropped);
            tracing::warn!(dropped, "issued tokens without an audit row: the queue was full");
        }
        for (client_id, groups) in issued {
            rows.extend(
                groups.into_iter().map(|group| issued_row(platform.new_id("aud"), &client_id, group)),
            );
        }
        rows
    }

    /// Writes each second until the service ends; what waits then is written first.
    pub(super) async fn run(self, db: Db, shutdown: Shutdown) {
        metrics::counter!("audit_dropped_total", "service" => self.0.service).increment(0);
        loop {
            let last = shutdown.is_triggered();
            if let Err(fault) = self.flush(&db).await {
                tracing::warn!(%fault, "audit rows wait: cannot write");
            }
            if last {
                return;
            }
            tokio::select! {
                () = shutdown.triggered() => {}
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }
}

impl std::fmt::Debug for AuditQueue {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("AuditQueue").field("service", &self.0.service).finish_non_exhaustive()
    }
}

fn issued_row(audit_id: String, client_id: &str, group: Group) -> AuditRow {
    let Group { partner_id, kind, audience, at_s, tokens } = group;
    let first = tokens.first().map(|(jti, _)| jti.clone()).unwrap_or_default();
    let of = |(jti, sub): &(String, Option<String>)| match sub {
        Some(sub) => json!({ "jti": jti, "sub": sub }),
        None => json!(jti),
    };
    let list: Vec<Value> = tokens.iter().map(of).collect();
    let details = json!({ "kind": kind, "audience": audience, "count": list.len(), "tokens": list });
    AuditRow {
        partner_id,
        client_id: client_id.to_owned(),
        action: "token.issued".to_owned(),
        object_id: if tokens.len() == 1 { first } else { String::new() },
        ..empty(audit_id, at_s, &details)
    }
}

/// A row of this node's requests, done by nobody.
pub(super) fn empty(audit_id: String, at_s: i64, details: &Value) -> AuditRow {
    AuditRow {
        audit_id,
        chain: format!("{}#requests", node()),
        seq: None,
        chain_hash: None,
        partner_id: String::new(),
        client_id: String::new(),
        sub: String::new(),
        action: String::new(),
        object_id: String::new(),
        outcome: Outcome::Done.as_str().to_owned(),
        error_id: String::new(),
        occurred_at_s: at_s,
        details: details.to_string(),
        open_until_s: None,
        expires_at_s: Some(at_s + REQUEST_LIFE_S),
    }
}
