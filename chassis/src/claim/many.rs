//! Claims of a batch command: many keys in one statement.

use keys::UnixSeconds;
use sqlx::QueryBuilder;

use super::{ClaimKey, ClaimRef};
use crate::db::{Fault, Tx, while_doing};
use crate::on;

/// One claim among many; the parts are those of [`claim`](super::claim()).
#[derive(Debug, Clone, Copy)]
pub struct NewClaim<'a> {
    /// The key.
    pub key: &'a ClaimKey,
    /// Keyed hash of the request.
    pub fingerprint: &'a str,
    /// What the request will make.
    pub resource_id: &'a str,
    /// The moment of the claim.
    pub now: UnixSeconds,
    /// Until when the key is bound.
    pub expires_at: UnixSeconds,
}

const CLAIM: &str = "INSERT INTO claim
    (kind, owner, key_hash, route, fingerprint, resource_id, created_at_s, expires_at_s) ";

const OVER_EXPIRED: &str = " ON CONFLICT (kind, owner, key_hash) DO UPDATE SET route = excluded.route,
        fingerprint = excluded.fingerprint, resource_id = excluded.resource_id,
        answer_status = NULL, answer_body = NULL,
        created_at_s = excluded.created_at_s, expires_at_s = excluded.expires_at_s
    WHERE claim.expires_at_s <= excluded.created_at_s
    RETURNING kind, owner, key_hash";

/// Claims keys in one statement and says of each, in the order given, whether it is ours now. A key that is not was
/// claimed before: [`claim`](super::claim()) tells by which request. No key may be named twice.
///
/// The keys are taken in one order, so that two batches that want the same ones do not wait for each other.
///
/// # Errors
/// The store's fault.
pub async fn claim_fresh(tx: &mut Tx, claims: &[NewClaim<'_>]) -> Result<Vec<bool>, Fault> {
    if claims.is_empty() {
        return Ok(Vec::new());
    }
    let references: Vec<ClaimRef> = claims.iter().map(|claim| claim.key.reference()).collect();
    let mut rows: Vec<(&ClaimRef, &NewClaim<'_>)> = references.iter().zip(claims).collect();
    rows.sort_by_key(|(reference, _)| (&reference.kind, &reference.owner, &reference.key_hash));
    let taken: Vec<ClaimRef> = on!(tx, conn => {
        let mut statement = QueryBuilder::new(CLAIM);
        statement.push_values(rows, |mut values, (reference, claim)| {
            values
                .push_bind(claim.key.kind)
                .push_bind(claim.key.owner.as_str())
                .push_bind(reference.key_hash.as_str())
                .push_bind(claim.key.route.as_str())
                .push_bind(claim.fingerprint)
                .push_bind(claim.resource_id)
                .push_bind(claim.now.0)
                .push_bind(claim.expires_at.0);
        });
        statement.push(OVER_EXPIRED);
        statement.build_query_as().fetch_all(conn).await
    })
    .map_err(while_doing("claim keys"))?;
    let taken: std::collections::HashSet<ClaimRef> = taken.into_iter().collect();
    Ok(references.iter().map(|reference| taken.contains(reference)).collect())
}

/// Takes back claims that this very transaction made for operations that then were refused: the keys are unused.
///
/// # Errors
/// The store's fault.
pub async fn take_back_claims(tx: &mut Tx, claims: &[ClaimRef]) -> Result<(), Fault> {
    if claims.is_empty() {
        return Ok(());
    }
    on!(tx, conn => {
        let mut statement = QueryBuilder::new("DELETE FROM claim WHERE ");
        for (at, claim) in claims.iter().enumerate() {
            // An OR of whole keys, which both databases answer from the index.
            statement.push(if at == 0 { "(kind = " } else { " OR (kind = " });
            statement.push_bind(claim.kind.as_str());
            statement.push(" AND owner = ").push_bind(claim.owner.as_str());
            statement.push(" AND key_hash = ").push_bind(claim.key_hash.as_str());
            statement.push(")");
        }
        statement.build().execute(conn).await.map(drop)
    })
    .map_err(while_doing("take claims back"))
}
