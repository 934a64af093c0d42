//! One effect per key, and the same answer to every repeat: the mechanism behind `Idempotency-Key` and behind
//! one-time tokens.
//!
//! A rule claims its key in the transaction that makes the effect. [`Claimed::Fresh`] means go on; the effect
//! and the claim commit together, or neither does (an `Undo` leaves the key unused). A repeat with the same
//! fingerprint gets the stored answer; the same key with another request is [`Claimed::Different`].

mod many;

use keys::UnixSeconds;
use keys::digest::sha256_b64;
use serde::{Deserialize, Serialize};
use sqlx::QueryBuilder;

use crate::db::{Fault, Tx, while_doing};
use crate::failpoint::is_planted;
use crate::{on, row};

pub use many::{NewClaim, claim_fresh, take_back_claims};

/// Which key was used, by whom, for what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimKey {
    /// `"idempotency"` or `"one_time"`.
    pub kind: &'static str,
    /// Whose key it is: partner, client and subject, or a token's issuer.
    pub owner: String,
    /// The key as it was sent, or the token's `jti`. Only its hash is stored.
    pub key: String,
    /// The operation it was used for.
    pub route: String,
}

/// A claim's row without the key itself: what an operation keeps so that its end, whoever brings it about, can
/// record the answer.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ClaimRef {
    /// As in [`ClaimKey`].
    pub kind: String,
    /// As in [`ClaimKey`].
    pub owner: String,
    /// base64url(SHA-256(key)).
    pub key_hash: String,
}

/// What a claim found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claimed {
    /// The key is ours now: go on and make the effect.
    Fresh,
    /// The same request came before and made this resource.
    Same {
        /// What the first request made.
        resource_id: String,
        /// Its answer; absent when the first request committed but did not record one.
        answer: Option<StoredAnswer>,
    },
    /// The key was used for another request.
    Different,
}

/// An answer as it was first given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredAnswer {
    /// HTTP status.
    pub status: u16,
    /// Body, as sent.
    pub body: String,
}

/// A claim that was made, as [`find_claim`] returns it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundClaim {
    /// The operation it was made for.
    pub route: String,
    /// Keyed hash of the request that made it.
    pub fingerprint: String,
    /// What that request made.
    pub resource_id: String,
    /// Its answer, if one was recorded.
    pub answer: Option<StoredAnswer>,
    /// From this moment on the key may be claimed anew.
    pub expires_at: UnixSeconds,
}

struct ClaimRow {
    route: String,
    fingerprint: String,
    resource_id: String,
    answer_status: Option<i64>,
    answer_body: Option<String>,
    expires_at_s: i64,
}

row!(ClaimRow { route, fingerprint, resource_id, answer_status, answer_body, expires_at_s });

/// Takes the key, also over an expired row. Of racing transactions one gets the row; the others wait for its end.
const TAKE_KEY: &str = "INSERT INTO claim
    (kind, owner, key_hash, route, fingerprint, resource_id, created_at_s, expires_at_s)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (kind, owner, key_hash) DO UPDATE SET route = excluded.route,
        fingerprint = excluded.fingerprint, resource_id = excluded.resource_id,
        answer_status = NULL, answer_body = NULL,
        created_at_s = excluded.created_at_s, expires_at_s = excluded.expires_at_s
    WHERE claim.expires_at_s <= excluded.created_at_s
    RETURNING resource_id";

/// The write of the planted mistake that consumes a token by reading first: it takes whatever it finds.
const TAKE_KEY_BLINDLY: &str = "INSERT INTO claim
    (kind, owner, key_hash, route, fingerprint, resource_id, created_at_s, expires_at_s)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
    ON CONFLICT (kind, owner, key_hash) DO UPDATE SET fingerprint = excluded.fingerprint,
        resource_id = excluded.resource_id, answer_status = NULL, answer_body = NULL
    RETURNING resource_id";

const FIND_CLAIM: &str =
    "SELECT route, fingerprint, resource_id, answer_status, answer_body, expires_at_s FROM claim
    WHERE kind = $1 AND owner = $2 AND key_hash = $3";

const RECORD_ANSWER: &str = "UPDATE claim SET answer_status = $4, answer_body = $5
    WHERE kind = $1 AND owner = $2 AND key_hash = $3 AND answer_status IS NULL RETURNING resource_id";

/// Claims a key for a request with this fingerprint (a keyed hash of method, target and body), which will make
/// `resource_id`. The key is bound until `expires_at`.
#[allow(clippy::too_many_arguments, reason = "each is a column; a struct would only repeat their names")]
pub async fn claim(
    tx: &mut Tx,
    key: &ClaimKey,
    fingerprint: &str,
    resource_id: &str,
    now: UnixSeconds,
    expires_at: UnixSeconds,
) -> Result<Claimed, Fault> {
    let take = if is_planted("read_then_write") { TAKE_KEY_BLINDLY } else { TAKE_KEY };
    let taken: Option<(String,)> = on!(&mut *tx, conn => sqlx::query_as(take)
        .bind(key.kind)
        .bind(key.owner.as_str())
        .bind(key.hash())
        .bind(key.route.as_str())
        .bind(fingerprint)
        .bind(resource_id)
        .bind(now.0)
        .bind(expires_at.0)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("claim a key"))?;
    if taken.is_some() {
        return Ok(Claimed::Fresh);
    }
    let found = find_claim(tx, key).await?.ok_or_else(|| Fault::new("claim a key: its row vanished"))?;
    let same =
        found.route == key.route && keys::digest::equal(found.fingerprint.as_bytes(), fingerprint.as_bytes());
    Ok(if same {
        Claimed::Same { resource_id: found.resource_id, answer: found.answer }
    } else {
        Claimed::Different
    })
}

/// The claim of a key, if there is one, expired or not.
pub async fn find_claim(tx: &mut Tx, key: &ClaimKey) -> Result<Option<FoundClaim>, Fault> {
    let row: Option<ClaimRow> = on!(tx, conn => sqlx::query_as(FIND_CLAIM)
        .bind(key.kind)
        .bind(key.owner.as_str())
        .bind(key.hash())
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("find a claim"))?;
    row.map(FoundClaim::try_from).transpose()
}

/// Stores the answer that repeats will get. The first one stays: false means that there was one already, or
/// that the key was never claimed.
pub async fn record_answer(tx: &mut Tx, key: &ClaimKey, answer: &StoredAnswer) -> Result<bool, Fault> {
    record_answer_of(tx, &key.reference(), answer).await
}

/// As [`record_answer`], for an operation that ends after the request that began it is gone.
pub async fn record_answer_of(tx: &mut Tx, claim: &ClaimRef, answer: &StoredAnswer) -> Result<bool, Fault> {
    let recorded: Option<(String,)> = on!(tx, conn => sqlx::query_as(RECORD_ANSWER)
        .bind(claim.kind.as_str())
        .bind(claim.owner.as_str())
        .bind(claim.key_hash.as_str())
        .bind(i64::from(answer.status))
        .bind(answer.body.as_str())
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("record an answer"))?;
    Ok(recorded.is_some())
}

const RECORD_ANSWERS: &str =
    "UPDATE claim SET answer_status = told.column4, answer_body = told.column5 FROM (";

const RECORD_ANSWERS_OF: &str = ") AS told
    WHERE claim.kind = told.column1 AND claim.owner = told.column2 AND claim.key_hash = told.column3
        AND claim.answer_status IS NULL
    RETURNING kind, owner, key_hash";

/// As [`record_answer_of`] for many claims in one statement; returns those whose answer was recorded now.
pub async fn record_answers_of(
    tx: &mut Tx,
    answers: &[(ClaimRef, StoredAnswer)],
) -> Result<Vec<ClaimRef>, Fault> {
    if answers.is_empty() {
        return Ok(Vec::new());
    }
    on!(tx, conn => {
        let mut statement = QueryBuilder::new(RECORD_ANSWERS);
        statement.push_values(answers, |mut values, (claim, answer)| {
            values
                .push_bind(claim.kind.as_str())
                .push_bind(claim.owner.as_str())
                .push_bind(claim.key_hash.as_str())
                .push_bind(i64::from(answer.status))
                .push_bind(answer.body.as_str());
        });
        statement.push(RECORD_ANSWERS_OF);
        statement.build_query_as::<ClaimRef>().fetch_all(conn).await
    })
    .map_err(while_doing("record answers"))
}

row!(ClaimRef { kind, owner, key_hash });

/// The recorded answer of a claim; `None` while there is none.
pub async fn find_answer_of(tx: &mut Tx, claim: &ClaimRef) -> Result<Option<StoredAnswer>, Fault> {
    let row: Option<ClaimRow> = on!(tx, conn => sqlx::query_as(FIND_CLAIM)
        .bind(claim.kind.as_str())
        .bind(claim.owner.as_str())
        .bind(claim.key_hash.as_str())
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("find the answer of a claim"))?;
    Ok(row.map(FoundClaim::try_from).transpose()?.and_then(|found| found.answer))
}

impl ClaimKey {
    fn hash(&self) -> String {
        sha256_b64(self.key.as_bytes())
    }

    /// The claim's row, to be kept beside what it made.
    pub fn reference(&self) -> ClaimRef {
        ClaimRef { kind: self.kind.to_owned(), owner: self.owner.clone(), key_hash: self.hash() }
    }
}

impl TryFrom<ClaimRow> for FoundClaim {
    type Error = Fault;

    fn try_from(row: ClaimRow) -> Result<Self, Fault> {
        let answer = match (row.answer_status, row.answer_body) {
            (Some(status), Some(body)) => {
                let status = u16::try_from(status).map_err(while_doing("read a stored answer"))?;
                Some(StoredAnswer { status, body })
            }
            _ => None,
        };
        Ok(Self {
            route: row.route,
            fingerprint: row.fingerprint,
            resource_id: row.resource_id,
            answer,
            expires_at: UnixSeconds(row.expires_at_s),
        })
    }
}
