//! Everything this process logs, kept so that flows can look for what must not be there.

use std::io::{self, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use chassis::telemetry::{self, Format, LogGuard};

static LINES: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct Kept;

impl Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LINES.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts the product's own log, at level debug, into memory. Once for the process; all worlds share it.
pub(super) fn capture() {
    static LOG: OnceLock<LogGuard> = OnceLock::new();
    LOG.get_or_init(|| {
        // The log withholds the words of a panic; a failed assertion must be readable.
        let hook = std::panic::take_hook();
        let guard = telemetry::init_to(Format::Json, "debug", Box::new(Kept)).expect("the log starts");
        std::panic::set_hook(hook);
        guard
    });
}

/// All that was logged so far.
pub(crate) fn text() -> String {
    let lines = LINES.lock().unwrap_or_else(PoisonError::into_inner);
    String::from_utf8_lossy(&lines).into_owned()
}

/// Waits until a line that is logged now has been written, and so all before it.
pub(crate) async fn settled() {
    let mark = format!("mark {:?}", std::thread::current().id());
    tracing::info!(mark, "everything before this is written");
    super::eventually("the log", || std::future::ready(text().contains(&mark).then_some(()))).await;
}
