//! Partners, clients, their keys and the subjects that may not act, as the authorization server's feed
//! told them (`GET /v1/directory`).
//!
//! One leased poller ([`poller`]) reads the feed and stores it; every replica re-reads the stored
//! directory several times a second ([`Directory::follow`]) and answers the guard from memory. It is an
//! allow list for partners, clients and keys, a deny list for subjects.

pub mod poller;
pub mod snapshot;
pub mod store;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use chassis::db::{Db, Fault};
use chassis::shutdown::Shutdown;
use guard::{ClientStanding, Standing};
use keys::token::AccessToken;
use tokio::sync::{Mutex, Notify};
use tokio::time::{Instant, MissedTickBehavior, interval};

use self::snapshot::Snapshot;
use self::store::State;

/// A directory that no poll has confirmed for so long does not serve to move money by.
pub const FRESH_FOR: Duration = Duration::from_secs(10);
/// How often each replica looks whether the stored directory changed.
const REREAD_EVERY: Duration = Duration::from_millis(200);

/// The directory of this process. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Directory(Arc<Inner>);

struct Inner {
    db: Db,
    /// `None` until the first snapshot.
    snapshot: ArcSwapOption<Snapshot>,
    /// When a poll was last seen to have succeeded, on the monotonic clock: the time of day may jump.
    confirmed_at: ArcSwap<Option<Instant>>,
    /// What `snapshot` was built from. `polls` is -1 until the first read: a count that was there
    /// before this process says nothing about how old it is.
    applied: Mutex<State>,
    changed: Notify,
}

impl Directory {
    /// A directory that has not been read yet.
    pub fn new(db: Db) -> Self {
        Self(Arc::new(Inner {
            db,
            snapshot: ArcSwapOption::empty(),
            confirmed_at: ArcSwap::from_pointee(None),
            applied: Mutex::new(State { polls: -1, ..State::default() }),
            changed: Notify::new(),
        }))
    }

    /// Brings the snapshot up to what is stored now.
    ///
    /// # Errors
    /// When the database cannot be read; the snapshot stays as it is.
    pub async fn reread(&self) -> Result<(), Fault> {
        let mut applied = self.0.applied.lock().await;
        let before = applied.clone();
        let known = before.clone();
        let (state, entries) = self
            .0
            .db
            .read(move |tx| {
                Box::pin(async move {
                    let state = store::find_state(tx).await?;
                    let entries =
                        if state.epoch.is_empty() || (state.epoch == known.epoch && state.seq == known.seq) {
                            Vec::new()
                        } else if state.epoch == known.epoch {
                            store::entries_after(tx, &state.epoch, known.seq).await?
                        } else {
                            store::entries_after(tx, &state.epoch, -1).await?
                        };
                    Ok((state, entries))
                })
            })
            .await?;
        if !state.epoch.is_empty() && (state.epoch != before.epoch || !entries.is_empty()) {
            let base = if state.epoch == before.epoch { self.0.snapshot.load_full() } else { None };
            self.0.snapshot.store(Some(Arc::new(base.unwrap_or_default().with(&entries))));
        }
        if before.polls >= 0 && state.polls != before.polls {
            self.0.confirmed_at.store(Arc::new(Some(Instant::now())));
        }
        *applied = state;
        Ok(())
    }

    /// Follows the stored directory until the service ends.
    pub async fn follow(self, shutdown: Shutdown) {
        let mut tick = interval(REREAD_EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.triggered() => return,
                () = self.0.changed.notified() => {}
                _ = tick.tick() => {}
            }
            if let Err(fault) = self.reread().await {
                tracing::warn!(%fault, "the stored directory cannot be read");
            }
        }
    }

    /// The current snapshot, once there is one.
    pub fn snapshot(&self) -> Option<Arc<Snapshot>> {
        self.0.snapshot.load_full()
    }

    /// Wakes [`Directory::follow`]: the poller of this process has stored something.
    pub(crate) fn wake(&self) {
        self.0.changed.notify_one();
    }

    pub(crate) fn db(&self) -> &Db {
        &self.0.db
    }
}

impl Standing for Directory {
    fn client(&self, client_id: &str) -> Option<Arc<ClientStanding>> {
        self.0.snapshot.load().as_ref().and_then(|snapshot| snapshot.client(client_id))
    }

    fn is_denied(&self, token: &AccessToken) -> bool {
        self.0.snapshot.load().as_ref().is_none_or(|snapshot| snapshot.is_denied(token))
    }

    fn knows_origin(&self, origin: &str) -> bool {
        self.0.snapshot.load().as_ref().is_some_and(|snapshot| snapshot.knows_origin(origin))
    }

    fn is_loaded(&self) -> bool {
        self.0.snapshot.load().is_some()
    }

    fn is_fresh(&self) -> bool {
        self.0.confirmed_at.load().is_some_and(|at| at.elapsed() < FRESH_FOR)
    }
}
