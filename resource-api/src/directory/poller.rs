//! Reads the authorization server's feed and stores it. One process at a time does, under a lease.

use std::time::Duration;

use chassis::Platform;
use chassis::db::{Fault, Outcome};
use chassis::shutdown::Shutdown;
use serde::Deserialize;
use serde_json::Value;

use super::Directory;
use super::store::{self, Entry, State};
use crate::auth::{AuthzClient, AuthzUnavailable};

/// The feed's schema that this version reads.
pub const SCHEMA_VERSION: i64 = 1;
/// How long a poll may be held open when there is nothing new, seconds. Well below the age at which
/// the directory counts as stale, because each answer confirms it.
const WAIT_S: u32 = 2;
/// The longest pause after a poll that failed.
const PAUSE_MAX: Duration = Duration::from_secs(2);
/// Rows written by one unit while a snapshot is staged.
const STAGED_AT_ONCE: usize = 200;
/// Rows of old epochs deleted by one unit.
const DELETED_AT_ONCE: i64 = 200;

/// An answer of `GET /v1/directory`.
#[derive(Debug, Clone, Deserialize)]
pub struct Feed {
    /// Its schema.
    pub schema_version: i64,
    /// Whether it replaces everything known before.
    pub snapshot: bool,
    /// The number up to which it tells everything.
    pub seq: i64,
    /// The objects.
    pub entries: Vec<FeedEntry>,
}

/// One object in its state at `seq`.
#[derive(Debug, Clone, Deserialize)]
pub struct FeedEntry {
    /// The number of the change; in a snapshot it may be absent.
    pub seq: Option<i64>,
    /// The kind of object.
    pub kind: String,
    /// The object's id.
    pub id: String,
    /// Its state.
    pub body: Value,
}

/// Why a poll did not count.
#[derive(Debug, thiserror::Error)]
pub enum PollFault {
    /// The feed was not to be had.
    #[error(transparent)]
    Authz(#[from] AuthzUnavailable),
    /// It could not be stored.
    #[error(transparent)]
    Store(#[from] Fault),
    /// It is of a schema that this version must not guess at.
    #[error("the directory feed has schema version {0}")]
    Schema(i64),
}

/// Polls until the lease or the service ends.
pub async fn run(directory: Directory, authz: AuthzClient, platform: Platform, shutdown: Shutdown) {
    let mut pause = Duration::from_millis(100);
    while !shutdown.is_triggered() {
        tokio::select! {
            () = shutdown.triggered() => return,
            polled = poll(&directory, &authz, &platform) => match polled {
                Ok(()) => {
                    pause = Duration::from_millis(100);
                    continue;
                }
                Err(fault) => tracing::warn!(%fault, "the directory feed cannot be read"),
            },
        }
        tokio::select! {
            () = shutdown.triggered() => return,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
        }
    }
}

/// One poll: asks for what came after the stored number, and stores it.
///
/// # Errors
/// [`PollFault`]; then nothing has changed.
pub async fn poll(directory: &Directory, authz: &AuthzClient, platform: &Platform) -> Result<(), PollFault> {
    let state = directory.db().read(|tx| Box::pin(store::find_state(tx))).await?;
    let after = if state.epoch.is_empty() { None } else { Some(state.seq) };
    let feed = authz.directory(after, WAIT_S).await?;
    apply(directory, platform, &state, feed).await
}

/// Stores one answer of the feed, which was asked for when the directory stood at `state`.
///
/// # Errors
/// [`PollFault`]; then nothing has changed.
pub async fn apply(
    directory: &Directory,
    platform: &Platform,
    state: &State,
    feed: Feed,
) -> Result<(), PollFault> {
    if feed.schema_version != SCHEMA_VERSION {
        return Err(PollFault::Schema(feed.schema_version));
    }
    let entries: Vec<Entry> = feed
        .entries
        .into_iter()
        .map(|entry| Entry {
            kind: entry.kind,
            id: entry.id,
            seq: entry.seq.unwrap_or(feed.seq),
            body: entry.body.to_string(),
        })
        .collect();
    if feed.snapshot {
        replace(directory, state, platform.new_id("dse"), feed.seq, entries).await?;
    } else {
        extend(directory, state, feed.seq, entries).await?;
    }
    directory.wake();
    Ok(())
}

async fn extend(directory: &Directory, state: &State, seq: i64, entries: Vec<Entry>) -> Result<(), Fault> {
    let from = state.clone();
    directory
        .db()
        .write_or_undo(move |tx| {
            let (from, entries) = (from.clone(), entries.clone());
            Box::pin(async move {
                if !store::advance(tx, &from, &from.epoch, seq.max(from.seq)).await? {
                    return Ok(Outcome::Undo(()));
                }
                for entry in &entries {
                    store::upsert_entry(tx, &from.epoch, entry).await?;
                }
                Ok(Outcome::Commit(()))
            })
        })
        .await
}

async fn replace(
    directory: &Directory,
    state: &State,
    epoch: String,
    seq: i64,
    entries: Vec<Entry>,
) -> Result<(), Fault> {
    let db = directory.db();
    for piece in entries.chunks(STAGED_AT_ONCE) {
        let (piece, epoch) = (piece.to_vec(), epoch.clone());
        db.write(move |tx| {
            let (piece, epoch) = (piece.clone(), epoch.clone());
            Box::pin(async move {
                for entry in &piece {
                    store::upsert_entry(tx, &epoch, entry).await?;
                }
                Ok(())
            })
        })
        .await?;
    }
    let from = state.clone();
    db.write(move |tx| {
        let (from, epoch) = (from.clone(), epoch.clone());
        Box::pin(async move { store::advance(tx, &from, &epoch, seq).await })
    })
    .await?;
    while db.write(|tx| Box::pin(store::delete_old_epochs(tx, DELETED_AT_ONCE))).await? > 0 {}
    Ok(())
}
