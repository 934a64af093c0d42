//! Rows of `directory_event` and its counter.
//!
//! A change commits without a number; [`number_events`] gives numbers afterwards. It takes the counter's row first,
//! so two numberers (a lease may overlap for a moment) follow each other, and no reader can see n+1 before n.

use chassis::{
    db::{Fault, Tx, while_doing},
    on, row,
};
use keys::UnixSeconds;

/// How long a change stays readable by number, seconds: 7 days.
pub const KEPT_S: i64 = 7 * 24 * 3600;

/// What kind of object changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ObjectKind {
    /// A partner, its allow-list included.
    Partner,
    /// A client, its keys included.
    Client,
    /// A subject's state.
    Subject,
}

impl ObjectKind {
    /// The stored and transmitted text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Partner => "partner",
            Self::Client => "client",
            Self::Subject => "subject",
        }
    }
}

/// A change that a unit is about to commit. `event_id` was drawn before the unit began.
#[derive(Debug, Clone)]
pub struct NewChange {
    /// `dir_…`
    pub event_id: String,
    /// What kind of object.
    pub kind: ObjectKind,
    /// Which one.
    pub object_id: String,
}

const INSERT: &str = "INSERT INTO directory_event (event_id, kind, object_id, body, seq, expires_at_s)
    VALUES ($1, $2, $3, NULL, NULL, $4)";

/// Records a change in the transaction that makes it.
pub async fn insert_change(tx: &mut Tx, change: &NewChange, now: UnixSeconds) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query(INSERT)
        .bind(change.event_id.as_str())
        .bind(change.kind.as_str())
        .bind(change.object_id.as_str())
        .bind(now.plus(KEPT_S).0)
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("insert directory event"))
}

struct Id {
    event_id: String,
}
row!(Id { event_id });

struct Seq {
    last_seq: i64,
}
row!(Seq { last_seq });

const LOCK: &str =
    "UPDATE directory_counter SET last_seq = last_seq WHERE name = 'directory' RETURNING last_seq";
const UNNUMBERED: &str = "SELECT event_id FROM directory_event WHERE seq IS NULL ORDER BY event_id LIMIT $1";
const NUMBER: &str = "UPDATE directory_event SET seq = $2 WHERE event_id = $1 AND seq IS NULL";
const ADVANCE: &str = "UPDATE directory_counter SET last_seq = $1 WHERE name = 'directory'";

/// Numbers up to `limit` committed changes and returns how many there were.
pub async fn number_events(tx: &mut Tx, limit: i64) -> Result<usize, Fault> {
    let Seq { last_seq } = on!(tx, conn => sqlx::query_as::<_, Seq>(LOCK).fetch_one(conn).await)
        .map_err(while_doing("lock the directory counter"))?;
    let waiting = on!(tx, conn => sqlx::query_as::<_, Id>(UNNUMBERED).bind(limit).fetch_all(conn).await)
        .map_err(while_doing("list unnumbered directory events"))?;
    let mut seq = last_seq;
    for Id { event_id } in &waiting {
        seq += 1;
        on!(tx, conn => sqlx::query(NUMBER).bind(event_id.as_str()).bind(seq).execute(conn).await.map(drop))
            .map_err(while_doing("number directory event"))?;
    }
    if seq > last_seq {
        on!(tx, conn => sqlx::query(ADVANCE).bind(seq).execute(conn).await.map(drop))
            .map_err(while_doing("advance the directory counter"))?;
    }
    Ok(waiting.len())
}

/// Whether a change waits for its number.
pub async fn has_unnumbered(tx: &mut Tx) -> Result<bool, Fault> {
    on!(tx, conn => sqlx::query_as::<_, Id>(UNNUMBERED).bind(1_i64).fetch_optional(conn).await)
        .map(|found| found.is_some())
        .map_err(while_doing("look for unnumbered directory events"))
}

/// How far the numbers jump after a restore: further than any reader can be ahead of the backup.
const SKIPPED: i64 = 1_000_000_000;

/// Leaves numbers out, so that no position of before is one of this feed: its reader gets a snapshot.
pub async fn skip_numbers(tx: &mut Tx) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query("UPDATE directory_counter SET last_seq = last_seq + $1 WHERE name = 'directory'")
        .bind(SKIPPED)
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("skip directory numbers"))
}

const HEAD: &str = "SELECT last_seq FROM directory_counter WHERE name = 'directory'";

/// The last number given. Read it before the objects: they are then at least as new.
pub async fn head(tx: &mut Tx) -> Result<i64, Fault> {
    on!(tx, conn => sqlx::query_as::<_, Seq>(HEAD).fetch_one(conn).await)
        .map(|row| row.last_seq)
        .map_err(while_doing("read the directory head"))
}

/// A numbered change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number.
    pub seq: i64,
    /// What kind of object, as text: a newer node may have written a kind that this one does not know.
    pub kind: String,
    /// Which one.
    pub object_id: String,
}
row!(Change { seq, kind, object_id });

const CHANGES: &str = "SELECT seq, kind, object_id FROM directory_event WHERE seq > $1 ORDER BY seq LIMIT $2";

/// Up to `limit` changes after the number `after`, in order.
pub async fn changes_after(tx: &mut Tx, after: i64, limit: i64) -> Result<Vec<Change>, Fault> {
    on!(tx, conn => sqlx::query_as::<_, Change>(CHANGES).bind(after).bind(limit).fetch_all(conn).await)
        .map_err(while_doing("list directory changes"))
}
