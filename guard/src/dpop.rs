//! Tokens bound to a key (RFC 9449): presented under the scheme `DPoP` only, with a proof by that key, each proof
//! once.
//!
//! For what changes something, a proof's `jti` is remembered durably and across all processes. For what only reads,
//! each process remembers for itself, and the proof must carry this service's nonce, so that no proof can be made in
//! advance.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

use http::{HeaderMap, Method, request::Parts};
use keys::dpop::{self, Asked, Nonces, ProofRefusal, Verified};
use keys::token::AccessToken;
use keys::{UnixSeconds, digest};

use crate::layer::Facts;
use crate::refusal::Refusal;
use crate::standing::ReplayMemory;

/// The header of a proof (RFC 9449 §4.1).
pub const PROOF: &str = "dpop";
/// The header of this service's nonce (RFC 9449 §9).
pub const NONCE: &str = "dpop-nonce";

/// How many proofs one generation of [`RecentProofs`] holds; what comes on top is turned away for a moment.
const RECENT_MAX: usize = 1 << 18;
/// Length of a generation, seconds: longer than a proof lives.
const GENERATION_S: i64 = dpop::AGE_S_MAX + dpop::AHEAD_S_MAX + 2;

/// How a token is presented in `Authorization`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// RFC 6750.
    Bearer,
    /// RFC 9449 §7.1.
    Dpop,
}

/// What the guard judges proofs with.
#[derive(Debug)]
pub struct Dpop {
    nonces: Nonces,
    nonce_on_writes: bool,
    recent: RecentProofs,
}

impl Dpop {
    /// All nodes of the service have the same nonces. Reads need one in any case, writes with `nonce_on_writes`, and for
    /// proofs from before a restore of the database.
    pub fn new(nonces: Nonces, nonce_on_writes: bool) -> Self {
        Self { nonces, nonce_on_writes, recent: RecentProofs::default() }
    }

    /// The nonce for the next proof.
    pub(crate) fn next_nonce(&self, now: UnixSeconds) -> String {
        self.nonces.issue(now)
    }

    /// Whether the holder of the token's key sends this request. `None`: the token is bound to no key.
    ///
    /// The proof's `jti` is still to be taken, with [`Self::take`], once nothing else speaks against the request.
    ///
    /// # Errors
    /// 401 with a `DPoP` challenge.
    pub(crate) fn judge(
        &self,
        parts: &Parts,
        facts: impl FnOnce() -> Result<Facts, Refusal>,
        (scheme, text, token): (Scheme, &str, &AccessToken),
        now: UnixSeconds,
    ) -> Result<Option<Verified>, Refusal> {
        let unproved = |detail: &str| Refusal::dpop("invalid_token", detail);
        let jkt = match (scheme, token.cnf_jkt.as_deref()) {
            (Scheme::Bearer, None) => return Ok(None),
            (Scheme::Bearer, Some(_)) => {
                return Err(unproved("The token is bound to a key: send it as DPoP, with a proof."));
            }
            (Scheme::Dpop, None) => {
                return Err(unproved("The token is not bound to a key: send it as Bearer."));
            }
            (Scheme::Dpop, Some(jkt)) => jkt,
        };
        let facts = facts()?;
        let uri = format!("{}://{}{}", facts.scheme, facts.authority, facts.path);
        let asked = Asked { method: parts.method.as_str(), uri: &uri, access_token: Some(text) };
        let refused = |refusal: ProofRefusal| Refusal::dpop("invalid_dpop_proof", &refusal.to_string());
        let proof = dpop::verify(one_proof(&parts.headers)?, &asked, now).map_err(refused)?;
        if proof.jkt != jkt {
            return Err(unproved("The proof is by another key than the token's."));
        }
        let needed = is_read(&parts.method) || self.nonce_on_writes || self.nonces.are_due(proof.iat);
        let current = proof.nonce.as_deref().map_or(!needed, |nonce| self.nonces.accepts(nonce, now));
        if current {
            Ok(Some(proof))
        } else {
            Err(Refusal::dpop("use_dpop_nonce", "The proof must carry the nonce of the DPoP-Nonce header."))
        }
    }

    /// Takes the proof's `jti`: of racing requests with one proof exactly one passes.
    ///
    /// # Errors
    /// 401 when it was used before, 503 when that cannot be found out.
    pub(crate) async fn take(
        &self,
        replay: &dyn ReplayMemory,
        method: &Method,
        proof: Verified,
        now: UnixSeconds,
    ) -> Result<(), Refusal> {
        let busy = || Refusal::unavailable("unavailable", "The service is busy. Send a new proof.");
        let first = if is_read(method) {
            self.recent.remember(&proof, now).ok_or_else(busy)?
        } else {
            let (value, until) = (proof.replay_value().to_owned(), proof.remember_until());
            replay.remember("dpop", proof.jkt, value, until).await.map_err(|_| busy())?
        };
        if first { Ok(()) } else { Err(Refusal::dpop("invalid_dpop_proof", "The proof was used before.")) }
    }
}

fn is_read(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

fn one_proof(headers: &HeaderMap) -> Result<&str, Refusal> {
    let refused = |detail| Refusal::dpop("invalid_dpop_proof", detail);
    let mut values = headers.get_all(PROOF).iter();
    let value = values.next().ok_or_else(|| refused("A bound token needs a DPoP proof."))?;
    if values.next().is_some() {
        return Err(refused("One DPoP proof, please."));
    }
    value.to_str().map_err(|_| refused("The proof is not text."))
}

/// The proofs that this process has seen, for at least as long as they could be sent again. Two generations, so that
/// forgetting costs nothing.
#[derive(Debug, Default)]
struct RecentProofs(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    began: i64,
    young: HashSet<[u8; 16]>,
    old: HashSet<[u8; 16]>,
}

impl RecentProofs {
    /// True when the proof is new; `None` when there is no room to remember it.
    fn remember(&self, proof: &Verified, now: UnixSeconds) -> Option<bool> {
        let name = name_of(proof);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.0.saturating_sub(held.began);
        if age >= GENERATION_S {
            let young = std::mem::take(&mut held.young);
            held.old = if age < 2 * GENERATION_S { young } else { HashSet::new() };
            held.began = now.0;
        }
        if held.old.contains(&name) || held.young.contains(&name) {
            return Some(false);
        }
        (held.young.len() < RECENT_MAX).then(|| held.young.insert(name))
    }
}

/// 128 bits of a hash of key and `jti`.
fn name_of(proof: &Verified) -> [u8; 16] {
    let hash = digest::sha256(format!("{} {}", proof.jkt, proof.replay_value()).as_bytes());
    let mut name = [0; 16];
    name.copy_from_slice(&hash[..16]);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof(jkt: &str, jti: &str) -> Verified {
        Verified { jkt: jkt.into(), jti: jti.into(), iat: UnixSeconds(0), nonce: None }
    }

    fn at(second: i64) -> UnixSeconds {
        UnixSeconds(1_800_000_000 + second)
    }

    #[test]
    fn a_proof_is_new_once_for_as_long_as_it_lives() {
        let recent = RecentProofs::default();
        for second in 0..GENERATION_S {
            assert_eq!(recent.remember(&proof("key", &format!("filler {second}")), at(second)), Some(true));
        }
        let last = GENERATION_S - 1;
        assert_eq!(recent.remember(&proof("key", "jti"), at(last)), Some(true));
        for later in 0..=dpop::AGE_S_MAX + dpop::AHEAD_S_MAX + 1 {
            assert_eq!(recent.remember(&proof("key", "jti"), at(last + later)), Some(false), "{later}");
        }
        assert_eq!(recent.remember(&proof("other key", "jti"), at(last)), Some(true));
    }

    #[test]
    fn what_is_forgotten_makes_room() {
        let recent = RecentProofs::default();
        for number in 0..RECENT_MAX {
            assert_eq!(recent.remember(&proof("key", &number.to_string()), at(0)), Some(true));
        }
        assert_eq!(recent.remember(&proof("key", "one more"), at(0)), None);
        assert_eq!(recent.remember(&proof("key", "0"), at(1)), Some(false));
        assert_eq!(recent.remember(&proof("key", "one more"), at(GENERATION_S)), Some(true));
        assert_eq!(recent.remember(&proof("key", "0"), at(3 * GENERATION_S)), Some(true));
        assert_eq!(recent.0.lock().unwrap().old.len(), 0);
    }
}
