//! The SQLite side: one connection that writes, whose waiting units share one durable commit, and a few that
//! read. One commit costs one flush of the disk however many units it holds.

use std::collections::VecDeque;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};

use super::fault::{Fault, Kind, while_doing};
use super::trouble::Trouble;
use super::tx::{Counter, Tx};
use super::unit::{Unit, Verdict, attempt};
use super::url::DbOptions;
use crate::failpoint::is_planted;

/// How long the planted mistake that answers before the commit takes until it commits.
const PLANTED_DELAY: Duration = Duration::from_secs(2);

/// Units that still wait for their turn, in order.
pub(crate) type Queue = mpsc::Receiver<Box<dyn Unit>>;

/// How a file is opened. The page caches are small because two services of several connections each share a
/// machine; `synchronous = FULL` because an acknowledged commit must survive a power cut.
pub(crate) fn connect_options(path: &Path, options: &DbOptions) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(options.wait_limit)
        .foreign_keys(true)
        .pragma("cache_size", "-2048")
        .pragma("temp_store", "memory")
        .pragma("journal_size_limit", "67108864")
        .statement_cache_capacity(128)
        .disable_statement_logging()
}

/// Creates the file, readable by its owner only: it holds everything there is.
fn create(path: &Path) -> Result<(), Fault> {
    let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
    opened.map(drop).map_err(while_doing("create the SQLite file"))
}

/// The one task that writes.
pub(crate) struct Writer {
    tx: Tx,
    connect: SqliteConnectOptions,
    options: DbOptions,
    statements: Counter,
    /// The connection may be inside a transaction that could not be ended: open another before going on.
    broken: bool,
    trouble: Trouble,
}

/// Units that are run in one transaction.
struct Group {
    units: VecDeque<Box<dyn Unit>>,
    /// Whether units that arrive meanwhile may join.
    open: bool,
}

impl Writer {
    /// Opens the file, creating it if absent. Several processes may do so at once: changing to WAL needs the
    /// file alone for a moment, so a busy file is tried again.
    pub(crate) async fn open(path: &Path, options: &DbOptions, statements: Counter) -> Result<Self, Fault> {
        create(path)?;
        let connect = connect_options(path, options);
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match SqliteConnection::connect_with(&connect).await.map_err(while_doing("open the SQLite file"))
            {
                Ok(connection) => {
                    let tx = Tx::sqlite(connection, Arc::clone(&statements));
                    let (options, trouble) = (options.clone(), Trouble::default());
                    return Ok(Self { tx, connect, options, statements, broken: false, trouble });
                }
                Err(fault) if fault.kind() == Kind::Busy && Instant::now() < deadline => {
                    sleep(Duration::from_millis(20)).await;
                }
                Err(fault) => return Err(fault),
            }
        }
    }

    /// Serves units until every sender is gone and the queue is empty.
    pub(crate) async fn run(mut self, mut queue: Queue) {
        let mut pending: VecDeque<Group> = VecDeque::new();
        loop {
            let group = match pending.pop_front() {
                Some(group) => group,
                None => match queue.recv().await {
                    Some(unit) => Group { units: VecDeque::from([unit]), open: true },
                    None => break,
                },
            };
            self.settle(group, &mut queue, &mut pending).await;
        }
        // Good manners only: the statistics that SQLite gathered while it served.
        drop(self.execute("PRAGMA optimize", "optimize").await);
    }

    /// Runs one group to its end. What could not be part of it goes to the front of `pending`.
    async fn settle(&mut self, mut group: Group, queue: &mut Queue, pending: &mut VecDeque<Group>) {
        group.units.retain(|unit| !unit.is_abandoned());
        if group.units.is_empty() {
            return;
        }
        if let Err(fault) = self.begin().await {
            // Whoever waits would wait as long again for the same answer.
            while let Some(unit) = group.next(queue) {
                unit.answer(Err(fault.clone()));
            }
            return;
        }
        let closes_at = Instant::now() + self.options.group_time;
        let mut done: VecDeque<Box<dyn Unit>> = VecDeque::new();
        while done.len() < self.options.group_units_max && (done.is_empty() || Instant::now() < closes_at) {
            let Some(mut unit) = group.next(queue) else { break };
            if unit.is_abandoned() {
                continue;
            }
            match self.run_one(&mut *unit).await {
                Ok(()) => done.push_back(unit),
                Err(fault) => {
                    self.roll_back().await;
                    return isolate(done, (unit, fault), group, pending);
                }
            }
        }
        if !group.units.is_empty() {
            pending.push_front(Group { open: false, ..group });
        }
        if is_planted("answer_before_commit") {
            for unit in done.drain(..) {
                unit.answer(Ok(()));
            }
            sleep(PLANTED_DELAY).await;
        }
        let ending = self.commit().await;
        for unit in done {
            unit.answer(ending.clone());
        }
    }

    /// A unit that may undo runs in its own savepoint; the others do not pay for one.
    async fn run_one(&mut self, unit: &mut dyn Unit) -> Result<(), Fault> {
        if !unit.may_undo() {
            return attempt(unit, &mut self.tx).await.map(drop);
        }
        self.execute("SAVEPOINT unit", "begin a unit").await?;
        if attempt(unit, &mut self.tx).await? == Verdict::Undo {
            self.execute("ROLLBACK TO unit", "undo a unit").await?;
        }
        self.execute("RELEASE unit", "end a unit").await
    }

    async fn begin(&mut self) -> Result<(), Fault> {
        if self.broken {
            let opened = SqliteConnection::connect_with(&self.connect).await;
            let connection = opened.map_err(while_doing("open the SQLite file again"))?;
            self.tx = Tx::sqlite(connection, Arc::clone(&self.statements));
            self.broken = false;
            self.trouble = Trouble::default();
        }
        for sql in self.trouble.changes() {
            self.execute(sql, "change what the disk allows").await?;
        }
        let began = self.execute("BEGIN IMMEDIATE", "begin a group").await;
        self.broken = began.as_ref().is_err_and(|fault| fault.kind() != Kind::Busy);
        began
    }

    async fn commit(&mut self) -> Result<(), Fault> {
        let committed = self.execute("COMMIT", "commit a group").await;
        if committed.is_err() {
            self.roll_back().await;
        }
        committed
    }

    async fn roll_back(&mut self) {
        if let Err(fault) = self.execute("ROLLBACK", "roll a group back").await {
            // Some errors end the transaction by themselves, and a lost connection ends it too.
            tracing::warn!(%fault, "the writer opens its file again");
            self.broken = true;
        }
    }

    /// The writer's own statements; they do not count as a unit's.
    async fn execute(&mut self, sql: &'static str, doing: &'static str) -> Result<(), Fault> {
        let Tx::Sqlite(held) = &mut self.tx else {
            return Err(Fault::new("the SQLite writer holds another database's transaction"));
        };
        sqlx::query(sql).execute(held.uncounted()).await.map(drop).map_err(while_doing(doing))
    }
}

impl Group {
    /// The next unit: first those it was made of, then those that wait in the queue.
    fn next(&mut self, queue: &mut Queue) -> Option<Box<dyn Unit>> {
        let own = self.units.pop_front();
        if own.is_none() && self.open { queue.try_recv().ok() } else { own }
    }
}

/// After a fault and the rollback: the units before the faulty one ran well and run again together, the faulty
/// one runs alone, the rest follows. So a unit runs at most twice, and only a unit that faults as the first of
/// its transaction is answered with its fault.
///
/// (Splitting at the unit that is known to be faulty needs fewer runs than halving until it is alone.)
fn isolate(
    done: VecDeque<Box<dyn Unit>>,
    (unit, fault): (Box<dyn Unit>, Fault),
    rest: Group,
    pending: &mut VecDeque<Group>,
) {
    if !rest.units.is_empty() {
        pending.push_front(Group { open: false, ..rest });
    }
    if done.is_empty() || matches!(fault.kind(), Kind::Timeout | Kind::Panicked) {
        unit.answer(Err(fault));
    } else {
        pending.push_front(Group { units: VecDeque::from([unit]), open: false });
    }
    if !done.is_empty() {
        pending.push_front(Group { units: done, open: false });
    }
}
