//! An orderly end: one signal that everything hears, and the tasks that must be waited for.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The signal to end, and the list of tasks that have not ended yet. All clones are one.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    signal: CancellationToken,
    tasks: TaskTracker,
}

impl Shutdown {
    /// One that only [`trigger`](Self::trigger) sets off.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that SIGTERM and SIGINT (Ctrl-C) set off as well. A second signal ends the process at once, with
    /// status 130. Must be called inside the runtime.
    ///
    /// # Errors
    /// When the signal handlers cannot be installed.
    pub fn on_signals() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let shutdown = Self::new();
        let told = shutdown.clone();
        tokio::spawn(async move {
            for first in [true, false] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if first {
                    tracing::info!("shutting down");
                    told.trigger();
                } else {
                    std::process::exit(130);
                }
            }
        });
        Ok(shutdown)
    }

    /// Tells everything to end. Further calls change nothing.
    pub fn trigger(&self) {
        self.signal.cancel();
    }

    /// Resolves once the end was asked for; at once if it was.
    pub async fn triggered(&self) {
        self.signal.cancelled().await;
    }

    /// Whether the end was asked for.
    pub fn is_triggered(&self) -> bool {
        self.signal.is_cancelled()
    }

    /// Starts a task that [`finished`](Self::finished) waits for. The task itself must listen to
    /// [`triggered`](Self::triggered). A panic in it is logged under its name and ends nothing else.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let running = self.tasks.spawn(task);
        self.tasks.spawn(async move {
            if let Err(failed) = running.await
                && failed.is_panic()
            {
                tracing::error!(task = name, "a background task panicked and has ended");
                metrics::counter!("background_task_panics_total", "task" => name).increment(1);
            }
        });
    }

    /// Waits until every task has ended, at most so long. Returns whether all did.
    pub async fn finished(&self, at_most: Duration) -> bool {
        self.tasks.close();
        tokio::time::timeout(at_most, self.tasks.wait()).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    #[tokio::test]
    async fn finished_waits_for_the_tasks_that_heard_the_signal() {
        let shutdown = Shutdown::new();
        let ended = Arc::new(AtomicBool::new(false));
        let (heard, flag) = (shutdown.clone(), Arc::clone(&ended));
        shutdown.spawn("worker", async move {
            heard.triggered().await;
            tokio::time::sleep(Duration::from_millis(20)).await;
            flag.store(true, Ordering::SeqCst);
        });
        assert!(!shutdown.is_triggered());
        shutdown.trigger();
        assert!(shutdown.finished(Duration::from_secs(5)).await);
        assert!(ended.load(Ordering::SeqCst) && shutdown.is_triggered());
    }

    #[tokio::test]
    async fn a_task_that_does_not_listen_is_not_waited_for_longer_than_said() {
        let shutdown = Shutdown::new();
        shutdown.spawn("deaf", std::future::pending());
        assert!(!shutdown.finished(Duration::from_millis(10)).await);
    }

    #[tokio::test]
    async fn a_panicking_task_ends_alone() {
        let shutdown = Shutdown::new();
        shutdown.spawn("clumsy", async { panic!("on purpose") });
        shutdown.spawn("steady", async {});
        assert!(shutdown.finished(Duration::from_secs(5)).await);
    }
}
