//! Fail points (feature `failpoints`): named places at which a test holds this process, to kill it exactly there, and
//! mistakes that can be planted to prove that a test would notice them.
//!
//! Without the feature, which no released build has, a point is nothing and a planted mistake is the constant `false`.
//! With it, the environment variable [`DIRECTORY`] names a directory through which another process controls this one:
//!
//! | file | written by | means |
//! |---|---|---|
//! | `NAME` | the test | the next arrival at this point is held; a number in it: the n-th |
//! | `NAME.held` | this process | somebody is held there. Later arrivals pass |
//! | `NAME` removed | the test | go on |
//! | `plant.NAME` | the test | make this mistake while the file is there |
//! | `clock` | the test | the system clock is ahead by this many seconds |
//!
//! A held task waits and does nothing else; a `kill -9` then ends the process with no destructor run and nothing
//! flushed. Files, not a variable for each point, because a test prepares what it needs before it arms a point, and has
//! to learn that the point was reached.

/// The environment variable that names the control directory.
pub const DIRECTORY: &str = "COUNTERSIGN_FAILPOINTS";

/// Whether this build has fail points.
pub const COMPILED_IN: bool = cfg!(feature = "failpoints");

/// A place at which a test may hold the process. `name` is `operation.moment`.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn reach(_name: &'static str) -> std::future::Ready<()> {
    std::future::ready(())
}

/// Whether a test has planted this mistake, or this trouble with the disk.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn is_planted(_name: &'static str) -> bool {
    false
}

/// By how many seconds a test has moved this process's system clock.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn clock_moved_by_s() -> i64 {
    0
}

#[cfg(feature = "failpoints")]
pub use controlled::{clock_moved_by_s, is_planted, reach};

#[cfg(feature = "failpoints")]
mod controlled {
    use std::collections::HashMap;
    use std::path::{Path, PathBuf};
    use std::sync::{Mutex, OnceLock, PoisonError};
    use std::time::Duration;

    /// Pause between two looks at whether a held task may go on.
    const LOOK: Duration = Duration::from_millis(5);

    fn directory() -> Option<&'static Path> {
        static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
        FOUND.get_or_init(|| std::env::var_os(super::DIRECTORY).map(PathBuf::from)).as_deref()
    }

    /// A place at which a test may hold the process. `name` is `operation.moment`.
    pub async fn reach(name: &'static str) {
        let Some(directory) = directory() else { return };
        let armed = directory.join(name);
        if is_to_be_held(&armed, name) {
            // Whoever cannot write this cannot be waited for either: the test times out and says so.
            drop(std::fs::write(directory.join(format!("{name}.held")), b""));
            while armed.exists() {
                tokio::time::sleep(LOOK).await;
            }
        }
    }

    /// Counts arrivals while the point is armed; true for the one that the file asks for.
    fn is_to_be_held(armed: &Path, name: &'static str) -> bool {
        static ARRIVED: Mutex<Option<HashMap<&'static str, u64>>> = Mutex::new(None);
        let mut arrived = ARRIVED.lock().unwrap_or_else(PoisonError::into_inner);
        let arrived = arrived.get_or_insert_default().entry(name).or_default();
        let Ok(text) = std::fs::read_to_string(armed) else {
            *arrived = 0;
            return false;
        };
        *arrived += 1;
        *arrived == text.trim().parse().unwrap_or(1)
    }

    /// By how many seconds a test has moved this process's system clock.
    pub fn clock_moved_by_s() -> i64 {
        let text = directory().and_then(|directory| std::fs::read_to_string(directory.join("clock")).ok());
        text.and_then(|text| text.trim().parse().ok()).unwrap_or_default()
    }

    /// Whether a test has planted this mistake, or this trouble with the disk.
    pub fn is_planted(name: &'static str) -> bool {
        directory().is_some_and(|directory| directory.join(format!("plant.{name}")).exists())
    }
}
