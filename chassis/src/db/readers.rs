//! Connections that read an SQLite file. A pool of its own kind: a read costs its statements and two more, and
//! a connection whose reader left in the middle is closed, never handed on.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::fault::{Fault, Kind, while_doing};
use super::sqlite::connect_options;
use super::tx::{Counter, Tx};
use super::url::DbOptions;

pub(crate) struct Readers {
    connect: SqliteConnectOptions,
    wait_limit: Duration,
    statements: Counter,
    /// One permit for each connection that may be in use.
    places: Semaphore,
    idle: Mutex<Vec<SqliteConnection>>,
}

impl Readers {
    /// Nothing is opened yet: the writer makes the file.
    pub(crate) fn new(path: &Path, options: &DbOptions, statements: Counter) -> Self {
        Self {
            connect: connect_options(path, options).read_only(true),
            wait_limit: options.wait_limit,
            statements,
            places: Semaphore::new(options.readers as usize),
            idle: Mutex::default(),
        }
    }

    /// Runs a read between `BEGIN` and `COMMIT`, so that all its statements see one state of the file.
    pub(crate) async fn read<T, F>(&self, work: F) -> Result<T, Fault>
    where
        F: for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T, Fault>>,
    {
        let place = timeout(self.wait_limit, self.places.acquire()).await;
        let place = place.map_err(|_elapsed| Fault::of(Kind::Pool, "read: no connection became free"))?;
        let _place = place.map_err(|_closed| Fault::of(Kind::Closed, "read: the database is closed"))?;
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut connection = match idle {
            Some(connection) => connection,
            None => SqliteConnection::connect_with(&self.connect)
                .await
                .map_err(while_doing("open the SQLite file to read"))?,
        };
        sqlx::query("BEGIN").execute(&mut connection).await.map_err(while_doing("begin a read"))?;
        let mut tx = Tx::sqlite(connection, Arc::clone(&self.statements));
        let value = work(&mut tx).await;
        let Tx::Sqlite(held) = tx else { return value };
        let mut connection = held.into_connection();
        let ended = sqlx::query("COMMIT").execute(&mut connection).await;
        ended.map_err(while_doing("end a read"))?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
        value
    }

    /// Refuses further reads and closes what is idle.
    pub(crate) async fn close(&self) {
        self.places.close();
        let idle = std::mem::take(&mut *self.idle.lock().unwrap_or_else(PoisonError::into_inner));
        for connection in idle {
            // It only read: there is nothing that a failed farewell could lose.
            drop(connection.close().await);
        }
    }
}
