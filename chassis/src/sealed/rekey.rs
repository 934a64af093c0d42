//! Moving sealed texts to the current master key while services run.
//!
//! What is left to do is what the texts themselves say, so a run that was interrupted is simply started again. Each
//! text is replaced only if it is still the one that was opened: of a concurrent change the newer text stays.

use keys::seal::MasterKeys;
use sqlx::{AssertSqlSafe, QueryBuilder};

use super::{SealedColumn, SealedField};
use crate::db::{Db, Fault, Tx, while_doing};
use crate::{Platform, on, row};

/// Texts in one unit: a service that runs on the same database waits no longer for it than for its own.
const BATCH: i64 = 50;

/// How often a column is walked: services may seal under the other key while it is.
const PASSES_MAX: u32 = 3;

/// How far a run has come in one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Which table.
    pub table: &'static str,
    /// Which column.
    pub column: &'static str,
    /// Texts of it that this run has sealed anew so far.
    pub sealed_anew: u64,
}

/// What a run did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rekeyed {
    /// Texts that are under the current key now and were not before.
    pub sealed_anew: u64,
    /// Texts that are under another key still: somebody went on sealing under it.
    pub left: u64,
}

/// Seals every text of these columns under the current master key, in small units, and tells how far it is after each.
/// Interrupted at any point it can be run again. Not to be run by two at once: they would only do the work twice.
///
/// # Errors
/// When the database fails, or a text opens with none of the held keys; what was sealed anew until then stays.
pub async fn rekey(
    (db, platform): (&Db, &Platform),
    master: &MasterKeys,
    columns: &[SealedColumn],
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<Rekeyed, Fault> {
    let mut done = Rekeyed::default();
    for _ in 0..PASSES_MAX {
        for column in columns {
            done.sealed_anew += walk((db, platform), master, *column, tell).await?;
        }
        done.left = 0;
        for column in columns {
            done.left += count_outdated(db, *column, master.current_prefix()).await?;
        }
        if done.left == 0 {
            break;
        }
    }
    Ok(done)
}

/// A text that is not under the current key, and where it belongs.
#[derive(Debug, Clone, Default)]
struct Outdated {
    tenant: String,
    row_key: String,
    field: String,
    sealed: String,
}
row!(Outdated { tenant, row_key, field, sealed });

/// Goes once through a column, in the order of its keys.
async fn walk(
    (db, platform): (&Db, &Platform),
    master: &MasterKeys,
    column: SealedColumn,
    tell: &mut (dyn FnMut(Progress) + Send),
) -> Result<u64, Fault> {
    let mut sealed_anew = 0;
    let mut after = Outdated::default();
    loop {
        let (from, prefix) = (after.clone(), master.current_prefix());
        let found = db
            .read(move |tx| Box::pin(async move { list_outdated(tx, column, &prefix, &from).await }))
            .await?;
        let Some(last) = found.last() else { return Ok(sealed_anew) };
        after = last.clone();
        let renewed = renew(platform, master, column, found)?;
        sealed_anew += db
            .write(move |tx| {
                let renewed = renewed.clone();
                Box::pin(async move { replace(tx, column, &renewed).await })
            })
            .await?;
        tell(Progress { table: column.table, column: column.column, sealed_anew });
    }
}

/// The same texts under the current key: old and new.
fn renew(
    platform: &Platform,
    master: &MasterKeys,
    column: SealedColumn,
    found: Vec<Outdated>,
) -> Result<Vec<(Outdated, String)>, Fault> {
    let renewed = found.into_iter().map(|old| {
        let failed = |doing: &str, fault| {
            let SealedColumn { table, column, .. } = column;
            Fault::new(format!("{doing} {table}.{column} of {}: {fault}", old.row_key))
        };
        let place = column.place(&old.tenant, &old.row_key, &old.field);
        let plain = master.open(&place, &old.sealed).map_err(|fault| failed("open", fault))?;
        let plain = zeroize::Zeroizing::new(plain);
        let new = master.seal(platform.random(), &place, &plain).map_err(|fault| failed("seal", fault))?;
        Ok((old, new))
    });
    renewed.collect()
}

/// The texts after `after` in the order of their keys that are not under the current key.
async fn list_outdated(
    tx: &mut Tx,
    column: SealedColumn,
    prefix: &str,
    after: &Outdated,
) -> Result<Vec<Outdated>, Fault> {
    let key: Vec<&str> = column.key().collect();
    let field = match column.field {
        SealedField::Named(_) => "''",
        SealedField::Column(name) => name,
    };
    let (tenant, row, table) = (column.tenant.unwrap_or("''"), column.row, column.table);
    let select = format!(
        "SELECT {tenant} AS tenant, {row} AS row_key, {field} AS field, {} AS sealed FROM {table} WHERE {} AND ({}) > (",
        column.column,
        outdated(column, prefix),
        key.join(", "),
    );
    on!(tx, conn => {
        let mut statement = QueryBuilder::new(select);
        let mut values = statement.separated(", ");
        if column.tenant.is_some() {
            values.push_bind(after.tenant.as_str());
        }
        values.push_bind(after.row_key.as_str());
        if let SealedField::Column(_) = column.field {
            values.push_bind(after.field.as_str());
        }
        statement.push(format!(") ORDER BY {} LIMIT {BATCH}", key.join(", ")));
        statement.build_query_as().fetch_all(conn).await
    })
    .map_err(while_doing("list texts under another master key"))
}

/// The condition that a text is not under the key of this prefix, which is letters, digits, `-`, `_` and `.` only.
fn outdated(column: SealedColumn, prefix: &str) -> String {
    let name = column.column;
    format!("{name} IS NOT NULL AND substr({name}, 1, {}) <> '{prefix}'", prefix.len())
}

/// Replaces each text that is still the one that was opened, in one statement.
async fn replace(tx: &mut Tx, column: SealedColumn, renewed: &[(Outdated, String)]) -> Result<u64, Fault> {
    let SealedColumn { table, column: name, tenant, row, field } = column;
    let same = |name: &str, told: &str| format!(" AND {table}.{name} = told.{told}");
    let tenant = tenant.map(|tenant| same(tenant, "column4")).unwrap_or_default();
    let field = match field {
        SealedField::Column(field) => same(field, "column5"),
        SealedField::Named(_) => String::new(),
    };
    let row = same(row, "column3");
    let found = format!(") AS told WHERE {table}.{name} = told.column2{row}{tenant}{field}");
    on!(tx, conn => {
        let mut statement = QueryBuilder::new(format!("UPDATE {table} SET {name} = told.column1 FROM ("));
        statement.push_values(renewed, |mut values, (old, new)| {
            values
                .push_bind(new.as_str())
                .push_bind(old.sealed.as_str())
                .push_bind(old.row_key.as_str())
                .push_bind(old.tenant.as_str())
                .push_bind(old.field.as_str());
        });
        statement.push(found);
        statement.build().execute(conn).await.map(|done| done.rows_affected())
    })
    .map_err(while_doing("seal texts anew"))
}

async fn count_outdated(db: &Db, column: SealedColumn, prefix: String) -> Result<u64, Fault> {
    let sql = format!("SELECT COUNT(*) FROM {} WHERE {}", column.table, outdated(column, &prefix));
    let (count,): (i64,) = db
        .read(move |tx| {
            Box::pin(async move {
                on!(tx, conn => sqlx::query_as(AssertSqlSafe(sql)).fetch_one(conn).await)
                    .map_err(while_doing("count texts under another master key"))
            })
        })
        .await?;
    Ok(count.unsigned_abs())
}
