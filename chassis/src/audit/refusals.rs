//! Refusals until they are written: a row each at first; beyond [`ROWS_PER_REASON`] per client, reason and minute they
//! are counted in one row, which grows until the minute is over. So a flood costs neither memory nor rows.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use super::queue::empty;
use super::row::{AuditRow, Outcome};
use crate::Platform;

/// Refusals of one client, for one reason, within one minute that get a row of their own.
const ROWS_PER_REASON: u64 = 20;

/// Clients and reasons told apart within a minute; all others share one count.
const REASONS_MAX: usize = 1_024;

/// Refusals with a row of their own that wait to be written; the rest is counted only. While nothing can be written,
/// counts of four times as many minutes and reasons wait with them.
const ROWS_MAX: usize = 1_024;

/// How long a count may still grow after its minute, seconds: until its last writing has surely ended.
const GRACE_S: i64 = 10;

/// Longest private reason that is kept, characters.
const REASON_CHARS_MAX: usize = 300;

/// The count that all clients and reasons beyond [`REASONS_MAX`] share.
const OTHER: &str = "other";

/// A refused request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RefusedRequest {
    /// As the caller was told it.
    pub error_id: String,
    /// The method.
    pub method: &'static str,
    /// The route's template, never the path that was sent.
    pub path: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable code.
    pub code: &'static str,
    /// The private reason, where the code alone does not say it.
    pub reason: String,
    /// The partner of the client; empty: unknown.
    pub partner_id: String,
    /// The client that asked, or claimed to; empty: none that we know.
    pub client_id: String,
    /// The subject of its token; empty: none.
    pub sub: String,
}

/// What was refused and is not written yet.
#[derive(Default)]
pub(super) struct Refusals {
    minute: i64,
    /// Of this minute, by client and code.
    counts: HashMap<String, BTreeMap<&'static str, Count>>,
    reasons: usize,
    /// Refusals with a row of their own, and counts of minutes that are over.
    rows: Vec<AuditRow>,
}

/// Refusals of one client, for one reason, within one minute.
struct Count {
    partner_id: String,
    all: u64,
    /// Those without a row of their own.
    more: u64,
    /// The row of `more`, once there is one, and whether it has changed.
    audit_id: Option<String>,
    changed: bool,
    first_at_s: i64,
    last_at_s: i64,
}

impl Refusals {
    /// Notes one. Costs no memory once its client and reason were refused often within the minute.
    pub(super) fn note(&mut self, platform: &Platform, refused: RefusedRequest, now_s: i64) {
        self.begin_minute(platform, now_s);
        if !self.is_counted_only(&refused, now_s) {
            self.rows.push(refused_row(platform.new_id("aud"), refused, now_s));
        }
    }

    /// Rows and counts together.
    pub(super) fn waiting(&self) -> usize {
        self.rows.len() + self.reasons
    }

    /// Takes the rows to be written.
    pub(super) fn take(&mut self, platform: &Platform, now_s: i64) -> Vec<AuditRow> {
        self.begin_minute(platform, now_s);
        self.draw_counts(platform);
        std::mem::take(&mut self.rows)
    }

    /// Ends the counts of a minute that is over.
    fn begin_minute(&mut self, platform: &Platform, now_s: i64) {
        let minute = now_s.div_euclid(60);
        if minute != self.minute {
            if self.rows.len() < 4 * ROWS_MAX {
                self.draw_counts(platform);
            }
            (self.minute, self.reasons) = (minute, 0);
            self.counts.clear();
        }
    }

    /// Counts a refusal; false: it gets a row of its own as well.
    fn is_counted_only(&mut self, refused: &RefusedRequest, now_s: i64) -> bool {
        let known = self.counts.get(&refused.client_id).is_some_and(|known| known.contains_key(refused.code));
        let (client_id, code) = if known || self.reasons < REASONS_MAX {
            (refused.client_id.as_str(), refused.code)
        } else {
            ("", OTHER)
        };
        if !self.counts.contains_key(client_id) {
            self.counts.insert(client_id.to_owned(), BTreeMap::new());
        }
        let Some(reasons) = self.counts.get_mut(client_id) else { return true };
        let room = self.rows.len() < ROWS_MAX;
        let count = reasons.entry(code).or_insert_with(|| {
            self.reasons += 1;
            let partner_id = if code == OTHER { String::new() } else { refused.partner_id.clone() };
            Count::new(partner_id, now_s)
        });
        count.all += 1;
        count.last_at_s = now_s;
        if count.all <= ROWS_PER_REASON && code != OTHER && room {
            return false;
        }
        count.more += 1;
        count.changed = true;
        true
    }

    /// Makes rows of the counts that have changed.
    fn draw_counts(&mut self, platform: &Platform) {
        for (client_id, reasons) in &mut self.counts {
            for (code, count) in reasons.iter_mut().filter(|(_, count)| count.changed) {
                let audit_id = count.audit_id.get_or_insert_with(|| platform.new_id("aud")).clone();
                self.rows.push(count.row(audit_id, self.minute, client_id, code));
                count.changed = false;
            }
        }
    }
}

impl Count {
    fn new(partner_id: String, now_s: i64) -> Self {
        Self {
            partner_id,
            all: 0,
            more: 0,
            audit_id: None,
            changed: false,
            first_at_s: now_s,
            last_at_s: now_s,
        }
    }

    /// The row that says how many more there were.
    fn row(&self, audit_id: String, minute: i64, client_id: &str, code: &'static str) -> AuditRow {
        let details = json!({
            "code": code,
            "more": self.more,
            "first_at": self.first_at_s,
            "last_at": self.last_at_s,
        });
        let minute_over_s = (minute + 1) * 60;
        AuditRow {
            partner_id: self.partner_id.clone(),
            client_id: client_id.to_owned(),
            action: "requests.refused".to_owned(),
            outcome: Outcome::Refused.as_str().to_owned(),
            open_until_s: Some(minute_over_s + GRACE_S),
            ..empty(audit_id, minute * 60, &details)
        }
    }
}

fn refused_row(audit_id: String, refused: RefusedRequest, now_s: i64) -> AuditRow {
    let mut details = json!({
        "code": refused.code,
        "status": refused.status,
        "method": refused.method,
        "path": refused.path,
    });
    if !refused.reason.is_empty() {
        details["reason"] = Value::from(refused.reason.chars().take(REASON_CHARS_MAX).collect::<String>());
    }
    let outcome = if refused.status >= 500 { Outcome::Failed } else { Outcome::Refused };
    AuditRow {
        partner_id: refused.partner_id,
        client_id: refused.client_id,
        sub: refused.sub,
        action: "request.refused".to_owned(),
        outcome: outcome.as_str().to_owned(),
        error_id: refused.error_id,
        ..empty(audit_id, now_s, &details)
    }
}
