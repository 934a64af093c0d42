//! What really stands in the tables.

use std::collections::BTreeMap;

use chassis::db::{Db, DbOptions, Engine, Fault, Tx, while_doing};
use chassis::on;
use chassis::testing::TestDatabase;
use sqlx::AssertSqlSafe;

use super::World;

const CAPTURES: &str = "SELECT t.reference, CAST(SUM(e.amount) AS BIGINT)
    FROM ledger_txn t JOIN ledger_entry e ON e.partner_id = t.partner_id AND e.txn_id = t.txn_id
    WHERE t.reference LIKE 'charge:%:capture' AND e.side = 'credit' GROUP BY t.reference";

const REFUNDS: &str = "SELECT t.reference, CAST(SUM(e.amount) AS BIGINT)
    FROM ledger_txn t JOIN ledger_entry e ON e.partner_id = t.partner_id AND e.txn_id = t.txn_id
    WHERE t.reference LIKE 'refund:%' AND e.side = 'credit' GROUP BY t.reference";

async fn texts(tx: &mut Tx, sql: String) -> Result<Vec<String>, Fault> {
    let rows: Vec<(String,)> = on!(tx, conn => sqlx::query_as(AssertSqlSafe(sql)).fetch_all(conn).await)
        .map_err(while_doing("dump a table"))?;
    Ok(rows.into_iter().map(|(text,)| text).collect())
}

async fn numbers(tx: &mut Tx, sql: String) -> Result<Vec<i64>, Fault> {
    let rows: Vec<(i64,)> = on!(tx, conn => sqlx::query_as(AssertSqlSafe(sql)).fetch_all(conn).await)
        .map_err(while_doing("count rows"))?;
    Ok(rows.into_iter().map(|(number,)| number).collect())
}

async fn rows(tx: &mut Tx, engine: Engine, table: &str) -> Result<Vec<String>, Fault> {
    if engine == Engine::Postgres {
        return texts(tx, format!("SELECT t::TEXT FROM {table} t")).await;
    }
    let columns = texts(tx, format!("SELECT name FROM pragma_table_info('{table}')")).await?;
    let values: Vec<String> = columns.iter().map(|column| format!("quote(\"{column}\")")).collect();
    texts(tx, format!("SELECT {} FROM {table}", values.join(" || ',' || "))).await
}

async fn tables(tx: &mut Tx, engine: Engine) -> Result<Vec<String>, Fault> {
    let sql = match engine {
        Engine::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
        Engine::Postgres => "SELECT tablename::TEXT FROM pg_tables WHERE schemaname = 'public'",
    };
    texts(tx, sql.to_owned()).await
}

/// Every row of every table of a database, as text, by table.
async fn dump(database: &TestDatabase) -> BTreeMap<String, Vec<String>> {
    let db = Db::open(database.url(), &DbOptions::default()).await.expect("the database opens");
    let engine = database.engine();
    let dumped = db.read(move |tx| {
        Box::pin(async move {
            let mut all = BTreeMap::new();
            for table in tables(tx, engine).await? {
                let rows = rows(tx, engine, &table).await?;
                all.insert(table, rows);
            }
            Ok(all)
        })
    });
    let all = dumped.await.expect("a dump");
    db.close().await;
    all
}

impl World {
    /// Every row of both databases, by `service.table`.
    pub(crate) async fn dump(&self) -> BTreeMap<String, Vec<String>> {
        let mut all = BTreeMap::new();
        for (service, database) in [("authz", &self.databases.authz), ("api", &self.databases.resource_api)] {
            for (table, rows) in dump(database).await {
                all.insert(format!("{service}.{table}"), rows);
            }
        }
        all
    }

    /// The rows of a table of the payments API.
    pub(crate) async fn rows(&self, table: &'static str) -> Vec<String> {
        let engine = self.databases.resource_api.engine();
        let read = self.api.app.db.read(move |tx| Box::pin(async move { rows(tx, engine, table).await }));
        read.await.expect("a read")
    }

    /// The one number a query of the payments API's database gives.
    pub(crate) async fn number(&self, sql: String) -> i64 {
        let read = self.api.app.db.read(move |tx| {
            let sql = sql.clone();
            Box::pin(async move { numbers(tx, sql).await })
        });
        read.await.expect("a read").first().copied().unwrap_or_default()
    }

    /// What was credited for each charge, by charge id.
    pub(super) async fn booked_captures(&self) -> BTreeMap<String, i64> {
        self.booked(CAPTURES).await
    }

    /// What went back with each refund, by refund id.
    pub(super) async fn booked_refunds(&self) -> BTreeMap<String, i64> {
        self.booked(REFUNDS).await
    }

    /// References and sums of transactions, by the id in the reference.
    async fn booked(&self, sql: &'static str) -> BTreeMap<String, i64> {
        let read = self.api.app.db.read(move |tx| {
            Box::pin(async move {
                let rows: Vec<(String, i64)> = on!(tx, conn => sqlx::query_as(sql).fetch_all(conn).await)
                    .map_err(while_doing("read what is booked"))?;
                Ok(rows)
            })
        });
        let id = |reference: &str| reference.split(':').nth(1).unwrap_or_default().to_owned();
        read.await.expect("a read").into_iter().map(|(reference, sum)| (id(&reference), sum)).collect()
    }
}
