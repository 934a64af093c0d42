//! The open transaction that every store function takes, and the macros that write one query for both drivers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{PgConnection, Postgres, SqliteConnection, Transaction};

use super::url::Engine;

/// An open transaction on either database. Store functions take `&mut Tx` and use it through
/// [`on!`](crate::on); how it ends is the business of [`Db`](super::Db).
///
/// A store function must hand on the error of a failed statement as a [`Fault`](super::Fault): on
/// `PostgreSQL` the transaction is lost from that moment.
pub enum Tx {
    /// On an SQLite file.
    Sqlite(SqliteTx),
    /// On `PostgreSQL`.
    Postgres(PostgresTx),
}

/// Counts statements; shared by all transactions of a database.
pub(crate) type Counter = Arc<AtomicU64>;

/// The SQLite half of [`Tx`]. Who made it begins and ends the transaction by statements.
pub struct SqliteTx {
    connection: SqliteConnection,
    statements: Counter,
}

/// The `PostgreSQL` half of [`Tx`].
pub struct PostgresTx {
    transaction: Transaction<'static, Postgres>,
    statements: Counter,
}

impl Tx {
    /// Which database it is on, for the few statements that must differ.
    pub fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    pub(crate) fn sqlite(connection: SqliteConnection, statements: Counter) -> Self {
        Self::Sqlite(SqliteTx { connection, statements })
    }
}

impl SqliteTx {
    /// The connection, for one statement. Used by [`on!`](crate::on).
    pub fn connection(&mut self) -> &mut SqliteConnection {
        self.statements.fetch_add(1, Ordering::Relaxed);
        &mut self.connection
    }

    /// The connection, for what is not a unit's own statement.
    pub(crate) fn uncounted(&mut self) -> &mut SqliteConnection {
        &mut self.connection
    }

    pub(crate) fn into_connection(self) -> SqliteConnection {
        self.connection
    }
}

impl PostgresTx {
    pub(crate) fn new(transaction: Transaction<'static, Postgres>, statements: Counter) -> Self {
        Self { transaction, statements }
    }

    pub(crate) async fn commit(self) -> Result<(), sqlx::Error> {
        self.transaction.commit().await
    }

    /// The connection, for one statement. Used by [`on!`](crate::on).
    pub fn connection(&mut self) -> &mut PgConnection {
        self.statements.fetch_add(1, Ordering::Relaxed);
        &mut self.transaction
    }
}

/// Runs one query body on whichever database the transaction is: the body is expanded once per driver and
/// checked against each. Write `$1` placeholders, and end an `execute` with `.map(drop)` or
/// `.map(|done| done.rows_affected())`: its result type is the driver's own.
///
/// ```
/// use chassis::{Fault, Tx, on, sqlx, while_doing};
///
/// async fn find_name(tx: &mut Tx, id: &str) -> Result<Option<(String,)>, Fault> {
///     on!(tx, conn => sqlx::query_as("SELECT name FROM client WHERE client_id = $1").bind(id).fetch_optional(conn).await)
///         .map_err(while_doing("find the name of a client"))
/// }
/// ```
#[macro_export]
macro_rules! on {
    ($tx:expr, $conn:ident => $body:expr) => {
        match $tx {
            $crate::db::Tx::Sqlite(held) => {
                let $conn = held.connection();
                $body
            }
            $crate::db::Tx::Postgres(held) => {
                let $conn = held.connection();
                $body
            }
        }
    };
}

/// Lets a struct be read from a row of either database, each field from the column of its name:
/// `row!(Client { id, name, enabled })`.
#[macro_export]
macro_rules! row {
    ($name:ident { $($field:ident),+ $(,)? }) => {
        $crate::row!(@for $crate::sqlx::sqlite::SqliteRow, $name { $($field),+ });
        $crate::row!(@for $crate::sqlx::postgres::PgRow, $name { $($field),+ });
    };
    (@for $row:ty, $name:ident { $($field:ident),+ }) => {
        impl $crate::sqlx::FromRow<'_, $row> for $name {
            fn from_row(row: &$row) -> $crate::sqlx::Result<Self> {
                Ok($name { $($field: $crate::sqlx::Row::try_get(row, stringify!($field))?),+ })
            }
        }
    };
}
