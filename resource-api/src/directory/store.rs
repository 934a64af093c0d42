//! Rows of the stored directory. A snapshot is staged under an epoch of its own in pieces, then switched to in
//! one statement, so that no unit grows with the number of clients.

use chassis::db::{Fault, Tx, while_doing};
use chassis::{on, row};

/// One object of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `partner`, `client`, `subject` or a kind of a newer schema.
    pub kind: String,
    /// The object's id.
    pub id: String,
    /// The feed's number of this state of it.
    pub seq: i64,
    /// JSON text.
    pub body: String,
}
row!(Entry { kind, id, seq, body });

/// How far the feed has been read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// Whose rows count; empty before the first snapshot.
    pub epoch: String,
    /// The last number applied.
    pub seq: i64,
    /// How many polls have succeeded.
    pub polls: i64,
}
row!(State { epoch, seq, polls });

struct Polls {
    polls: i64,
}
row!(Polls { polls });

const STATE: &str = "SELECT epoch, seq, polls FROM directory_state WHERE name = 'feed'";

/// How far the feed has been read.
pub async fn find_state(tx: &mut Tx) -> Result<State, Fault> {
    on!(tx, conn => sqlx::query_as::<_, State>(STATE).fetch_one(conn).await)
        .map_err(while_doing("read the directory state"))
}

const ADVANCE: &str = "UPDATE directory_state SET epoch = $1, seq = $2, polls = polls + 1
    WHERE name = 'feed' AND epoch = $3 AND seq = $4 RETURNING polls";

/// Moves the state from `from` to (`epoch`, `seq`) and counts the poll. False when another poller
/// moved it meanwhile; then nothing of this poll may be kept.
pub async fn advance(tx: &mut Tx, from: &State, epoch: &str, seq: i64) -> Result<bool, Fault> {
    on!(tx, conn => sqlx::query_as::<_, Polls>(ADVANCE)
        .bind(epoch)
        .bind(seq)
        .bind(from.epoch.as_str())
        .bind(from.seq)
        .fetch_optional(conn)
        .await)
    .map(|moved| moved.is_some_and(|row| row.polls > 0))
    .map_err(while_doing("advance the directory state"))
}

const UPSERT: &str = "INSERT INTO directory_entry (epoch, kind, id, seq, body) VALUES ($1, $2, $3, $4, $5)
    ON CONFLICT (epoch, kind, id) DO UPDATE SET seq = excluded.seq, body = excluded.body
    WHERE excluded.seq >= directory_entry.seq";

/// Stores the newest state of an object under `epoch`. An older state than the stored one is dropped.
pub async fn upsert_entry(tx: &mut Tx, epoch: &str, entry: &Entry) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query(UPSERT)
        .bind(epoch)
        .bind(entry.kind.as_str())
        .bind(entry.id.as_str())
        .bind(entry.seq)
        .bind(entry.body.as_str())
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("store a directory entry"))
}

const ENTRIES: &str =
    "SELECT kind, id, seq, body FROM directory_entry WHERE epoch = $1 AND seq > $2 ORDER BY seq";

/// The objects of `epoch` that changed after the number `after`, oldest first. All of them: `after` = -1.
pub async fn entries_after(tx: &mut Tx, epoch: &str, after: i64) -> Result<Vec<Entry>, Fault> {
    on!(tx, conn => sqlx::query_as::<_, Entry>(ENTRIES).bind(epoch).bind(after).fetch_all(conn).await)
        .map_err(while_doing("list directory entries"))
}

struct Key {
    epoch: String,
    kind: String,
    id: String,
}
row!(Key { epoch, kind, id });

const OLD: &str = "SELECT epoch, kind, id FROM directory_entry
    WHERE epoch <> (SELECT epoch FROM directory_state WHERE name = 'feed') LIMIT $1";
const DELETE: &str = "DELETE FROM directory_entry WHERE epoch = $1 AND kind = $2 AND id = $3";

/// Deletes up to `limit` rows of epochs that no longer count; returns how many there were.
pub async fn delete_old_epochs(tx: &mut Tx, limit: i64) -> Result<usize, Fault> {
    let old = on!(tx, conn => sqlx::query_as::<_, Key>(OLD).bind(limit).fetch_all(conn).await)
        .map_err(while_doing("find old directory entries"))?;
    for key in &old {
        on!(tx, conn => sqlx::query(DELETE)
            .bind(key.epoch.as_str())
            .bind(key.kind.as_str())
            .bind(key.id.as_str())
            .execute(conn)
            .await
            .map(drop))
        .map_err(while_doing("delete an old directory entry"))?;
    }
    Ok(old.len())
}
