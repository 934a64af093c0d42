//! What every refusal must look like, and that each can be found in the log.

use std::collections::HashSet;

use serde_json::Value;

use super::operation::{Operation, Service};
use crate::world::{PAUSE, Reply, log};

/// The ids of refusals that were seen.
#[derive(Default)]
pub(super) struct Refusals(Vec<String>);

impl Refusals {
    /// Checks status, code and shape, and keeps the id.
    #[track_caller]
    pub(super) fn take(
        &mut self,
        operation: &Operation,
        what: &str,
        reply: &Reply,
        (status, code): (u16, &str),
    ) {
        let shown = format!("{operation}, {what}: {} {}", reply.status, reply.text);
        assert_eq!(reply.status, status, "{shown}");
        assert_eq!(code_of(operation, &reply.body).as_deref(), Some(code), "{shown}");
        self.keep(reply, &shown);
    }

    /// Checks only the shape, and keeps the id.
    #[track_caller]
    pub(super) fn keep(&mut self, reply: &Reply, shown: &str) {
        let id = reply.body["error_id"].as_str().unwrap_or_else(|| panic!("no error_id: {shown}"));
        let digits = id.strip_prefix("err_").unwrap_or_default();
        assert!(digits.len() == 32 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()), "{shown}");
        assert_eq!(reply.header("x-request-id"), digits, "{shown}");
        assert_eq!(reply.header("cache-control"), "no-store", "{shown}");
        let kind = reply.header("content-type");
        assert!(matches!(kind, "application/problem+json" | "application/json"), "{kind}: {shown}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{shown}");
        self.0.push(digits.to_owned());
    }

    /// Every one of them stands in the log, and no two are the same.
    pub(super) async fn are_logged(mut self) {
        assert!(!self.0.is_empty(), "nothing was refused");
        let seen = self.0.len();
        self.0.sort();
        self.0.dedup();
        assert_eq!(self.0.len(), seen, "an error_id names one request");
        let mut missing = self.0;
        for _ in 0..200 {
            let text = log::text();
            let named: HashSet<&str> = text
                .split('"')
                .map(|word| word.strip_prefix("err_").unwrap_or(word))
                .filter(|word| word.len() == 32)
                .collect();
            missing.retain(|id| !named.contains(id.as_str()));
            if missing.is_empty() {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("{} of {seen} refusals are not in the log, the first is {}", missing.len(), missing[0]);
    }
}

/// The stable code: `error` at OAuth endpoints, `type` in the vendor's shape, else `code`.
fn code_of(operation: &Operation, body: &Value) -> Option<String> {
    let code = if operation.service == Service::Authz && operation.path.starts_with("/oauth2/") {
        &body["error"]
    } else if body["code"].is_number() {
        assert!(operation.dialect, "only a vendor's shape has a number for a code: {body}");
        &body["type"]
    } else {
        &body["code"]
    };
    code.as_str().map(str::to_ascii_lowercase)
}
