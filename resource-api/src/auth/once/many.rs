//! The same rule for a batch command: attempts that begin together.
//!
//! A batch takes only what is plain: a key nobody has used, or a token that is good for just this operation. Whatever
//! is not (a repeat, a token for something else or too late) is left alone, so that [`begin`](super::begin) decides it
//! in a unit of its own.

use std::collections::HashSet;

use chassis::claim::{ClaimRef, NewClaim, StoredAnswer, claim_fresh, record_answers_of, take_back_claims};
use chassis::db::{Fault, Tx};
use guard::one_time::mismatch;

use super::{Attempt, Bound, asked_operation};

/// One attempt of a batch, as [`begin`](super::begin) takes it.
#[derive(Debug, Clone, Copy)]
pub struct Beginning<'a> {
    /// The attempt.
    pub attempt: &'a Attempt,
    /// What it will make.
    pub resource_id: &'a str,
    /// What its body asks for.
    pub bound: &'a Bound,
}

impl Beginning<'_> {
    /// Without a token, or with one that is in time and for this operation.
    fn is_plain(&self) -> bool {
        let asked = &self.attempt.asked;
        asked
            .caller
            .one_time
            .as_ref()
            .is_none_or(|token| !token.late && mismatch(token, &asked_operation(asked, self.bound)).is_none())
    }
}

/// Begins the plain attempts in one statement and says of each, in the order given, whether it has begun. For one
/// that has not, nothing was written. Of attempts under one key only the first is plain.
///
/// # Errors
/// The store's fault.
pub async fn begin_plain(tx: &mut Tx, beginnings: &[Beginning<'_>]) -> Result<Vec<bool>, Fault> {
    let mut seen: HashSet<ClaimRef> = HashSet::with_capacity(beginnings.len());
    let plain: Vec<bool> =
        beginnings.iter().map(|one| one.is_plain() && seen.insert(one.attempt.claim())).collect();
    let claims: Vec<NewClaim<'_>> = beginnings
        .iter()
        .zip(&plain)
        .filter(|(_, plain)| **plain)
        .map(|(one, _)| NewClaim {
            key: &one.attempt.asked.key,
            fingerprint: &one.attempt.fingerprint,
            resource_id: one.resource_id,
            now: one.attempt.asked.now,
            expires_at: one.attempt.asked.expires_at,
        })
        .collect();
    let mut taken = claim_fresh(tx, &claims).await?.into_iter();
    Ok(plain.into_iter().map(|plain| plain && taken.next().unwrap_or_default()).collect())
}

/// How the operation of an attempt that began in a batch ended there.
#[derive(Debug, Clone, Copy)]
pub enum Ended<'a> {
    /// It was refused and left nothing: its key or token is to be unused.
    Refused,
    /// This is the answer that every repeat gets.
    Answered(&'a StoredAnswer),
    /// Its answer comes later.
    GoesOn,
}

/// Ends the attempts of a batch: one statement for the refused, one for the answers.
///
/// # Errors
/// The store's fault; the unit then rolls back.
pub async fn end_all(tx: &mut Tx, ends: &[(&Attempt, Ended<'_>)]) -> Result<(), Fault> {
    let mut refused = Vec::new();
    let mut answers = Vec::new();
    for (attempt, end) in ends {
        match end {
            Ended::Refused => refused.push(attempt.claim()),
            Ended::Answered(answer) => answers.push((attempt.claim(), StoredAnswer::clone(answer))),
            Ended::GoesOn => {}
        }
    }
    take_back_claims(tx, &refused).await?;
    record_answers_of(tx, &answers).await.map(drop)
}
