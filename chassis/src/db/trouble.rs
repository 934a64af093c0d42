//! What a test may make of the disk under an SQLite file: full, or read-only. Nothing without fail points.

use crate::failpoint::is_planted;

/// The name by which a test plants it, the statement that brings it about, and the one that ends it. Both come from
/// SQLite itself, so the errors are those of a real disk.
const TROUBLES: [(&str, &str, &str); 2] = [
    ("sqlite_full", "PRAGMA max_page_count = 1", "PRAGMA max_page_count = 4294967294"),
    ("sqlite_read_only", "PRAGMA query_only = 1", "PRAGMA query_only = 0"),
];

/// The troubles that a connection has now.
#[derive(Debug, Default)]
pub(crate) struct Trouble([bool; TROUBLES.len()]);

impl Trouble {
    /// The statements that bring the connection to what is planted.
    pub(crate) fn changes(&mut self) -> Vec<&'static str> {
        let mut changes = Vec::new();
        for (now, (name, begin, end)) in self.0.iter_mut().zip(TROUBLES) {
            let wanted = is_planted(name);
            if std::mem::replace(now, wanted) != wanted {
                changes.push(if wanted { begin } else { end });
            }
        }
        changes
    }
}
