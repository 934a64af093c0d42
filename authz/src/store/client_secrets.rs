//! A client's secret and the one before it: `client.secret_mac` and rows of `client_old_secret`.

use chassis::{
    db::{Fault, Tx, while_doing},
    on,
};
use keys::UnixSeconds;

const KEEP_OLD: &str = "INSERT INTO client_old_secret (client_id, secret_mac, expires_at_s)
    SELECT client_id, secret_mac, $3 FROM client
    WHERE partner_id = $1 AND client_id = $2 AND secret_mac IS NOT NULL
    ON CONFLICT (client_id) DO UPDATE SET secret_mac = excluded.secret_mac, expires_at_s = excluded.expires_at_s";

/// Keeps the present secret good until then, beside the one that replaces it in the same transaction. Of two old
/// secrets the younger one stays.
pub async fn keep_old_secret(
    tx: &mut Tx,
    partner_id: &str,
    client_id: &str,
    until: UnixSeconds,
) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query(KEEP_OLD)
        .bind(partner_id)
        .bind(client_id)
        .bind(until.0)
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("keep a client's old secret"))
}

const DELETE_OLD: &str = "DELETE FROM client_old_secret WHERE client_id = $1";

/// Ends the old secret; `false` when there was none.
pub async fn delete_old_secret(tx: &mut Tx, client_id: &str) -> Result<bool, Fault> {
    on!(tx, conn => sqlx::query(DELETE_OLD)
        .bind(client_id)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
    .map_err(while_doing("end a client's old secret"))
}

const SET_SECRET: &str = "UPDATE client SET secret_mac = $3
    WHERE partner_id = $1 AND client_id = $2 AND secret_mac IS NOT NULL";

/// Replaces the secret's MAC; `false` when the partner has no such client or it has no secret.
pub async fn set_client_secret(
    tx: &mut Tx,
    partner_id: &str,
    client_id: &str,
    secret_mac: &str,
) -> Result<bool, Fault> {
    on!(tx, conn => sqlx::query(SET_SECRET)
        .bind(partner_id)
        .bind(client_id)
        .bind(secret_mac)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
    .map_err(while_doing("set client secret"))
}
