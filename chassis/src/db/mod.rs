//! The one door to a service's database: SQLite by default, `PostgreSQL` beyond one machine.
//!
//! [`Db::read`] and [`Db::write`] are all there is. A rule is one *unit*: a closure that gets the open
//! transaction and may be run twice, so it clones what it needs inside, gets its random bytes and the time from
//! outside, and waits for nothing but the transaction. [`on!`](crate::on) writes one query for both databases.

mod batch;
mod fault;
mod migrate;
mod postgres;
mod readers;
mod sqlite;
mod trouble;
mod tx;
mod unit;
mod url;

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError, RwLock};

use futures_util::future::BoxFuture;
use sqlx::PgPool;
use tokio::sync::{Semaphore, TryAcquireError, mpsc};
use tokio::task::JoinHandle;

pub use self::batch::Batch;
pub use self::fault::{Fault, while_doing};
pub use self::migrate::Migration;
pub use self::tx::{PostgresTx, SqliteTx, Tx};
pub use self::unit::Outcome;
pub use self::url::{BadDatabaseUrl, DatabaseUrl, DbOptions, Engine};

use self::fault::Kind;
use self::readers::Readers;
use self::tx::Counter;
use self::unit::{Ask, Terms, Unit, Verdict};

/// An open database. Cheap to clone; all clones share its connections.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

struct Inner {
    backend: Backend,
    options: DbOptions,
    statements: Counter,
}

enum Backend {
    Sqlite { door: RwLock<Option<Door>>, readers: Box<Readers> },
    Postgres { pool: PgPool, places: Arc<Semaphore> },
}

/// The way to the SQLite writer; gone once the database is closed.
struct Door {
    queue: mpsc::Sender<Box<dyn Unit>>,
    writer: JoinHandle<()>,
}

impl fmt::Debug for Db {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Db({:?})", self.engine())
    }
}

impl Db {
    /// Opens the database, creating an SQLite file that is absent. Tables are the business of [`Db::migrate`].
    ///
    /// # Errors
    /// When the file cannot be opened or the server does not answer.
    pub async fn open(url: &DatabaseUrl, options: &DbOptions) -> Result<Self, Fault> {
        let statements = Counter::default();
        let backend = match url.engine() {
            Engine::Sqlite => {
                let path = url.path();
                let writer = sqlite::Writer::open(&path, options, Arc::clone(&statements)).await?;
                let (queue, waiting) = mpsc::channel(options.queue_max);
                let door = Door { queue, writer: tokio::spawn(writer.run(waiting)) };
                Backend::Sqlite {
                    door: RwLock::new(Some(door)),
                    readers: Box::new(Readers::new(&path, options, Arc::clone(&statements))),
                }
            }
            Engine::Postgres => Backend::Postgres {
                pool: postgres::open(url, options).await?,
                places: Arc::new(Semaphore::new(options.queue_max)),
            },
        };
        Ok(Self(Arc::new(Inner { backend, options: options.clone(), statements })))
    }

    /// Which database program answers.
    pub fn engine(&self) -> Engine {
        match self.0.backend {
            Backend::Sqlite { .. } => Engine::Sqlite,
            Backend::Postgres { .. } => Engine::Postgres,
        }
    }

    /// Statements that reads and units have executed since this database was opened.
    pub fn statements(&self) -> u64 {
        self.0.statements.load(Ordering::Relaxed)
    }

    /// Reads from one consistent view of the database.
    ///
    /// # Errors
    /// What `work` returns; retryable when no connection became free or the read took too long.
    pub async fn read<T, F>(&self, work: F) -> Result<T, Fault>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, Fault>> + Send + 'static,
        T: Send + 'static,
    {
        let reading = async {
            match &self.0.backend {
                Backend::Sqlite { readers, .. } => readers.read(work).await,
                Backend::Postgres { pool, .. } => {
                    postgres::read(pool, Arc::clone(&self.0.statements), work).await
                }
            }
        };
        match tokio::time::timeout(self.0.options.read_limit, reading).await {
            Ok(ending) => ending.map_err(Fault::of_read),
            Err(_elapsed) => Err(Fault::of(Kind::Timeout, "read: it took longer than its limit")),
        }
    }

    /// Runs a unit and answers once what it did is durable. A refusal that must last (a spent code) is a value
    /// like any other.
    ///
    /// # Errors
    /// What `work` returns, after a rollback; retryable when the queue is full, the database is locked or lost,
    /// or the unit took longer than its limit.
    pub async fn write<T, F>(&self, work: F) -> Result<T, Fault>
    where
        F: for<'t> FnMut(&'t mut Tx) -> BoxFuture<'t, Result<T, Fault>> + Send + 'static,
        T: Send + 'static,
    {
        let terms = Terms { may_undo: false, limit: self.0.options.unit_limit };
        self.submit(work, terms, |_| Verdict::Commit).await
    }

    /// Runs a unit that may end in [`Outcome::Undo`], which leaves nothing behind. On SQLite it costs a
    /// savepoint, so a unit that never undoes belongs in [`Db::write`].
    ///
    /// # Errors
    /// As for [`Db::write`].
    pub async fn write_or_undo<T, F>(&self, work: F) -> Result<T, Fault>
    where
        F: for<'t> FnMut(&'t mut Tx) -> BoxFuture<'t, Result<Outcome<T>, Fault>> + Send + 'static,
        T: Send + 'static,
    {
        let terms = Terms { may_undo: true, limit: self.0.options.unit_limit };
        let verdict_on = |outcome: &Outcome<T>| match outcome {
            Outcome::Commit(_) => Verdict::Commit,
            Outcome::Undo(_) => Verdict::Undo,
        };
        self.submit(work, terms, verdict_on).await.map(Outcome::into_inner)
    }

    /// Ends all connections, after the units that wait have been served. Later calls get a retryable fault.
    pub async fn close(&self) {
        match &self.0.backend {
            Backend::Sqlite { door, readers } => {
                let door = door.write().unwrap_or_else(PoisonError::into_inner).take();
                if let Some(Door { queue, writer }) = door {
                    drop(queue);
                    drop(writer.await);
                }
                readers.close().await;
            }
            Backend::Postgres { pool, places } => {
                let all = u32::try_from(self.0.options.queue_max).unwrap_or(u32::MAX);
                drop(places.acquire_many(all).await);
                places.close();
                pool.close().await;
            }
        }
    }

    /// Queues a unit and waits for its result. Dropping this future before the unit began skips the unit.
    async fn submit<R, F>(&self, work: F, terms: Terms, verdict_on: fn(&R) -> Verdict) -> Result<R, Fault>
    where
        F: for<'t> FnMut(&'t mut Tx) -> BoxFuture<'t, Result<R, Fault>> + Send + 'static,
        R: Send + 'static,
    {
        let (ask, answer) = Ask::new(work, terms, verdict_on);
        self.enqueue(Box::new(ask))?;
        answer.await.unwrap_or_else(|_gone| Err(Fault::of(Kind::Closed, "write: the database was closed")))
    }

    fn enqueue(&self, unit: Box<dyn Unit>) -> Result<(), Fault> {
        let full = || Fault::of(Kind::Full, "write: too many units are waiting");
        let closed = || Fault::of(Kind::Closed, "write: the database is closed");
        match &self.0.backend {
            Backend::Sqlite { door, .. } => {
                let door = door.read().unwrap_or_else(PoisonError::into_inner);
                let door = door.as_ref().ok_or_else(closed)?;
                door.queue.try_send(unit).map_err(|_| full())
            }
            Backend::Postgres { pool, places } => {
                let place = Arc::clone(places).try_acquire_owned().map_err(|refused| match refused {
                    TryAcquireError::NoPermits => full(),
                    TryAcquireError::Closed => closed(),
                })?;
                let settled = postgres::settle(pool.clone(), unit, Arc::clone(&self.0.statements));
                tokio::spawn(async move {
                    settled.await;
                    drop(place);
                });
                Ok(())
            }
        }
    }
}
