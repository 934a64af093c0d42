//! The buffer between those who log and the thread that writes.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::Duration;

/// Lines beyond this wait nowhere: they are dropped and counted.
const WAITING_BYTES_MAX: usize = 1024 * 1024;

/// How long lines are gathered before one write.
const GATHER: Duration = Duration::from_millis(20);

/// Takes lines without waiting and has them written in groups.
pub(super) struct Sink {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
    /// Held while writing, so that groups stay in order.
    out: Mutex<Box<dyn Write + Send>>,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    dropped: u64,
}

impl Sink {
    /// Starts the writing thread; it ends when the sink is gone.
    pub(super) fn start(out: Box<dyn Write + Send>) -> io::Result<Arc<Self>> {
        let sink =
            Arc::new(Self { waiting: Mutex::default(), arrived: Condvar::new(), out: Mutex::new(out) });
        let weak = Arc::downgrade(&sink);
        thread::Builder::new().name("log".to_owned()).spawn(move || write_until_gone(&weak))?;
        Ok(sink)
    }

    /// Writes what has been logged so far, now.
    pub(super) fn flush(&self) {
        let mut out = locked(&self.out);
        let Waiting { bytes, dropped } = std::mem::take(&mut *locked(&self.waiting));
        // There is nowhere left to report a log that cannot be written.
        let _ = out.write_all(&bytes);
        if dropped > 0 {
            let _ = writeln!(out, "{{\"level\":\"ERROR\",\"target\":\"log\",\"lines_dropped\":{dropped}}}");
        }
        let _ = out.flush();
    }

    pub(super) fn writer(self: &Arc<Self>) -> LineWriter {
        LineWriter(Arc::clone(self))
    }

    fn push(&self, line: &[u8]) {
        let mut waiting = locked(&self.waiting);
        if waiting.bytes.len() + line.len() > WAITING_BYTES_MAX {
            waiting.dropped += 1;
            return;
        }
        let first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        if first {
            self.arrived.notify_one();
        }
    }

    /// Waits for a line, but not for ever, so that the thread notices when the sink is gone.
    fn wait(&self) {
        let waiting = locked(&self.waiting);
        let _ = self
            .arrived
            .wait_timeout_while(waiting, Duration::from_secs(1), |waiting| waiting.bytes.is_empty());
    }
}

fn write_until_gone(sink: &Weak<Sink>) {
    while let Some(sink) = sink.upgrade() {
        sink.wait();
        thread::sleep(GATHER);
        sink.flush();
    }
}

/// A panic while logging must not end the log.
fn locked<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Passes one line on.
pub(super) struct LineWriter(Arc<Sink>);

impl Write for LineWriter {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Stuck;

    impl Write for Stuck {
        fn write(&mut self, _bytes: &[u8]) -> io::Result<usize> {
            thread::sleep(Duration::from_secs(2));
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_stuck_terminal_neither_stops_the_program_nor_fills_its_memory() {
        let sink = Sink::start(Box::new(Stuck)).unwrap();
        let line = [b'x'; 1024];
        for _ in 0..4096 {
            sink.writer().write_all(&line).unwrap();
        }
        let waiting = locked(&sink.waiting);
        assert!(waiting.bytes.len() <= WAITING_BYTES_MAX && waiting.dropped > 0);
    }
}
