//! Rows of `operation_allowlist`.

use chassis::{
    db::{Fault, Tx, while_doing},
    on, row,
};

use crate::domain::operation::AllowedOperation;

struct Row {
    partner_id: String,
    method: String,
    path_template: String,
    scope: String,
}
row!(Row { partner_id, method, path_template, scope });

const LIST: &str = "SELECT partner_id, method, path_template, scope FROM operation_allowlist
    WHERE $1 = '' OR partner_id = $1 ORDER BY partner_id, path_template, method";

/// The allow-list rows of one partner, or of all when `partner_id` is empty, each with its partner's id.
pub async fn list_operations(
    tx: &mut Tx,
    partner_id: &str,
) -> Result<Vec<(String, AllowedOperation)>, Fault> {
    let rows = on!(tx, conn => sqlx::query_as::<_, Row>(LIST).bind(partner_id).fetch_all(conn).await)
        .map_err(while_doing("list allowed operations"))?;
    let operation = |row: Row| {
        let operation = AllowedOperation { method: row.method, path: row.path_template, scope: row.scope };
        (row.partner_id, operation)
    };
    Ok(rows.into_iter().map(operation).collect())
}

const INSERT: &str = "INSERT INTO operation_allowlist (partner_id, method, path_template, scope)
    VALUES ($1, $2, $3, $4)";

/// Replaces the partner's allow-list; none means the configured defaults.
pub async fn replace_operations(
    tx: &mut Tx,
    partner_id: &str,
    operations: &[AllowedOperation],
) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query("DELETE FROM operation_allowlist WHERE partner_id = $1")
        .bind(partner_id)
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("delete allowed operations"))?;
    for operation in operations {
        on!(tx, conn => sqlx::query(INSERT)
            .bind(partner_id)
            .bind(operation.method.as_str())
            .bind(operation.path.as_str())
            .bind(operation.scope.as_str())
            .execute(conn)
            .await
            .map(drop))
        .map_err(while_doing("insert allowed operation"))?;
    }
    Ok(())
}
