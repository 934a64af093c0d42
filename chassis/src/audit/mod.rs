//! The audit: who did what, when, to what, and with what end. Codes and ids only, never personal data or a secret.
//!
//! A state change writes its row in its own transaction: with [`insert_audit`], or through its event, which carries
//! what the row needs and is turned into it when it is numbered. Issued tokens and refusals go through the
//! [`AuditQueue`], which nobody waits for. Every row is then sealed into a chain of hashes; [`verify`] proves order,
//! completeness and content.
//!
//! | file | what it does |
//! |---|---|
//! | `row` | the row, its hash, inserting, finding and listing |
//! | `carried` | audit rows of changes that have an event |
//! | `chain` | where chains end |
//! | `queue`, `refusals` | issued tokens and refusals: noted at once, written each second |
//! | `sealer` | gives sequence numbers and hashes; removes what has expired |
//! | `verify` | proves the chains |

mod carried;
mod chain;
mod queue;
mod refusals;
mod row;
mod sealer;
mod verify;

use std::sync::OnceLock;

use crate::http::ErrorId;

pub(crate) use carried::{Carried, insert_carried};
pub use queue::{AuditQueue, IssuedToken, REQUEST_LIFE_S};
pub use refusals::RefusedRequest;
pub use row::{AuditFilter, AuditRow, NewAudit, Outcome, find_audit_of_request, insert_audit, list_audit};
pub use sealer::{AuditSealer, run_audit};
pub use verify::{AuditReport, ChainReport, verify};

/// Longest name of a node.
const NODE_CHARS_MAX: usize = 63;

/// The name of the machine this process runs on, as rows carry it: a container's or pod's name, or `local`.
pub fn node() -> &'static str {
    static NODE: OnceLock<String> = OnceLock::new();
    NODE.get_or_init(|| {
        let named = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
        let name: String = named.chars().filter(plain).take(NODE_CHARS_MAX).collect();
        if name.is_empty() { "local".to_owned() } else { name }
    })
}

/// Who acts, in the request that is being answered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Actor {
    /// The client; empty for the node itself.
    pub client_id: String,
    /// The subject on whose behalf it acts; empty for the client's own.
    pub sub: String,
    /// The id of the request, as its caller is told it; empty outside of requests.
    pub error_id: String,
}

impl Actor {
    /// The node itself, by a task of its own or an operator's command.
    pub fn node() -> Self {
        Self::default()
    }

    /// A client, possibly for a subject (empty: for itself). To be made in the request's own task, outside the unit:
    /// it notes the request's id.
    pub fn client(client_id: impl Into<String>, sub: impl Into<String>) -> Self {
        let error_id = ErrorId::of_request().map(|id| id.to_string()).unwrap_or_default();
        Self { client_id: client_id.into(), sub: sub.into(), error_id }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_node_has_a_plain_name_that_stays() {
        assert!(!node().is_empty() && node().len() <= NODE_CHARS_MAX);
        assert!(node().chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.')));
        assert!(std::ptr::eq(node(), node()));
    }
}
