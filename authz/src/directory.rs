//! The directory feed's two tasks: the one numberer of a deployment, and the follower that every node runs.
//!
//! Changes commit without a number. The numberer, one node at a time, numbers them in order; each node's follower
//! re-reads the feed, refreshes its cache and wakes the long polls that wait for it.

use std::time::Duration;

use chassis::{Fault, lease, shutdown::Shutdown};
use tokio::sync::{Notify, watch};

use crate::{app::App, store::directory};

/// How often the numberer looks for changes of other nodes.
const NUMBER_EVERY: Duration = Duration::from_millis(100);
/// How often a node looks for numbered changes.
const FOLLOW_EVERY: Duration = Duration::from_millis(150);
/// How many changes are taken at once.
const CHANGES_MAX: i64 = 200;

/// The last change that this node has taken in, and the bells that shorten the waits.
#[derive(Debug)]
pub struct DirectoryHead {
    seen: watch::Sender<i64>,
    changed: Notify,
    numbered: Notify,
    ending: Shutdown,
}

impl DirectoryHead {
    /// Starts from the head that the cache was loaded at. Waits end with the service.
    pub fn at(seq: i64, ending: Shutdown) -> Self {
        Self { seen: watch::Sender::new(seq), changed: Notify::new(), numbered: Notify::new(), ending }
    }

    /// Says that a change was committed here.
    pub fn wake(&self) {
        self.changed.notify_one();
    }

    /// The last number that this node has taken in.
    pub fn seen(&self) -> i64 {
        *self.seen.borrow()
    }

    /// Waits until a change after `seq` was taken in, at most so long.
    pub async fn wait_past(&self, seq: i64, at_most: Duration) {
        let mut seen = self.seen.subscribe();
        // Whatever ends the wait, the caller looks for itself what there is.
        tokio::select! {
            _ = seen.wait_for(|seen| *seen > seq) => {}
            () = tokio::time::sleep(at_most) => {}
            () = self.ending.triggered() => {}
        }
    }
}

/// Runs both tasks until the shutdown.
pub fn spawn(app: &App, shutdown: &Shutdown) {
    let (numbering, ending) = (app.clone(), shutdown.clone());
    shutdown.spawn("directory numberer", async move {
        let (db, platform) = (numbering.db.clone(), numbering.platform.clone());
        lease::run_leased(db, platform, "directory_numberer", ending, move |_held| {
            Box::pin(number(numbering.clone()))
        })
        .await;
    });
    let (following, ending) = (app.clone(), shutdown.clone());
    shutdown.spawn("directory follower", async move { follow(following, ending).await });
}

/// Numbers until it is dropped: when the lease is lost or the service ends.
async fn number(app: App) {
    loop {
        match number_once(&app).await {
            Ok(0) => {
                tokio::select! {
                    () = app.directory.changed.notified() => {}
                    () = tokio::time::sleep(NUMBER_EVERY) => {}
                }
            }
            Ok(_) => app.directory.numbered.notify_one(),
            Err(fault) => {
                tracing::warn!(
                    error = &fault as &dyn std::error::Error,
                    "directory changes were not numbered"
                );
                tokio::time::sleep(NUMBER_EVERY * 5).await;
            }
        }
    }
}

async fn number_once(app: &App) -> Result<usize, Fault> {
    if !app.db.read(|tx| Box::pin(directory::has_unnumbered(tx))).await? {
        return Ok(0);
    }
    app.db.write(|tx| Box::pin(directory::number_events(tx, CHANGES_MAX))).await
}

async fn follow(app: App, shutdown: Shutdown) {
    while !shutdown.is_triggered() {
        match follow_once(&app).await {
            Ok(true) => {}
            Ok(false) => {
                tokio::select! {
                    () = shutdown.triggered() => {}
                    () = app.directory.numbered.notified() => {}
                    () = tokio::time::sleep(FOLLOW_EVERY) => {}
                }
            }
            Err(fault) => {
                tracing::warn!(error = &fault as &dyn std::error::Error, "the directory was not followed");
                tokio::time::sleep(FOLLOW_EVERY * 3).await;
            }
        }
    }
}

/// Takes in the next changes; `false` when there were none.
async fn follow_once(app: &App) -> Result<bool, Fault> {
    let after = app.directory.seen();
    let changes = app.db.read(move |tx| Box::pin(directory::changes_after(tx, after, CHANGES_MAX))).await?;
    let Some(last) = changes.last().map(|change| change.seq) else { return Ok(false) };
    let mut objects: Vec<_> = changes.into_iter().map(|change| (change.kind, change.object_id)).collect();
    objects.sort_unstable();
    objects.dedup();
    app.registry.refresh(&app.db, objects).await?;
    app.directory.seen.send_replace(last);
    Ok(true)
}
