//! Values that count once: the `jti` of an assertion (RFC 7523 §3), the nonce of a signed request, a proof's
//! identifier. The memory is a table, so it outlives a restart and is shared by all nodes.

use keys::UnixSeconds;
use keys::digest::sha256_b64;

use crate::db::{Fault, Tx, while_doing};
use crate::on;

const INSERT_VALUE: &str = "INSERT INTO replay_guard (kind, owner, value_hash, expires_at_s)
    VALUES ($1, $2, $3, $4) ON CONFLICT (kind, owner, value_hash) DO NOTHING RETURNING kind";

/// Remembers a value until `expires_at` and says whether it is new; false means that it was seen before.
///
/// `kind` and `owner` are part of the key: no kind of value passes for another, and one client's values never
/// block another's. Of racing transactions one gets true. `expires_at` must not be before the moment from
/// which the value is refused for its own expiry.
pub async fn remember_once(
    tx: &mut Tx,
    kind: &str,
    owner: &str,
    value: &str,
    expires_at: UnixSeconds,
) -> Result<bool, Fault> {
    let inserted: Option<(String,)> = on!(tx, conn => sqlx::query_as(INSERT_VALUE)
        .bind(kind)
        .bind(owner)
        .bind(sha256_b64(value.as_bytes()))
        .bind(expires_at.0)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("remember a value that counts once"))?;
    Ok(inserted.is_some())
}
