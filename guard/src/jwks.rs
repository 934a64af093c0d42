//! The issuer's published keys (RFC 7517 §5), kept in memory.
//!
//! The set is fetched every few seconds ([`REFRESH_EVERY`]): a key that was revoked is forgotten then, and a new
//! one is known long before it signs. A known `kid` never waits. An unknown one leads to a fetch of its own at
//! most once a minute, whoever asks; while the issuer is away, the keys that are known go on serving.

use std::collections::HashMap;
use std::sync::Arc;

use std::time::Duration;

use arc_swap::ArcSwapOption;
use futures_util::future::BoxFuture;
use futures_util::lock::Mutex;
use keys::ring::JWKS_MAX_AGE_S_MIN;
use keys::{PublicJwk, UnixSeconds, VerifyingKey, strict_json};
use serde_json::Value;

/// How often a service fetches the set anew: more often than any max-age it may be published with.
pub const REFRESH_EVERY: Duration = Duration::from_secs(3);
const _: () = assert!(REFRESH_EVERY.as_secs() * 2 < JWKS_MAX_AGE_S_MIN.unsigned_abs());

/// An unknown `kid` makes us ask the issuer no more often than this, seconds.
pub const REFETCH_INTERVAL_S: i64 = 60;
/// A set with more keys than this is not an honest one.
const KEYS_MAX: usize = 64;

/// The key set could not be had; the text is for the log.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the issuer's key set is unavailable: {0}")]
pub struct KeysUnavailable(pub String);

/// Fetches the bytes of the key set. Must have a deadline of its own.
pub trait KeySource: Send + Sync + 'static {
    /// One fetch.
    fn fetch(&self) -> BoxFuture<'_, Result<Vec<u8>, KeysUnavailable>>;
}

type KeyMap = HashMap<String, VerifyingKey>;

/// The cache.
pub struct KeyCache {
    source: Arc<dyn KeySource>,
    keys: ArcSwapOption<KeyMap>,
    /// When an unknown `kid` last made us ask; locked while we ask, so that one asks for all.
    asked_at: Mutex<Option<UnixSeconds>>,
}

impl KeyCache {
    /// An empty cache. The first token, or [`KeyCache::refresh`], fills it.
    pub fn new(source: Arc<dyn KeySource>) -> Self {
        Self { source, keys: ArcSwapOption::empty(), asked_at: Mutex::new(None) }
    }

    /// The key, if it is known. Never waits.
    pub fn known(&self, kid: &str) -> Option<VerifyingKey> {
        self.keys.load().as_ref().and_then(|keys| keys.get(kid).cloned())
    }

    /// The key, after asking the issuer for it if it is unknown and nobody asked within the minute.
    ///
    /// # Errors
    /// [`KeysUnavailable`] only while there are no keys at all to judge by.
    pub async fn find(&self, kid: &str, now: UnixSeconds) -> Result<Option<VerifyingKey>, KeysUnavailable> {
        if let Some(key) = self.known(kid) {
            return Ok(Some(key));
        }
        let mut asked_at = self.asked_at.lock().await;
        if let Some(key) = self.known(kid) {
            return Ok(Some(key));
        }
        let lately = asked_at.is_some_and(|at| (0..REFETCH_INTERVAL_S).contains(&now.since(at)));
        let empty = self.keys.load().is_none();
        if lately {
            return if empty { Err(KeysUnavailable("asked a moment ago".to_owned())) } else { Ok(None) };
        }
        *asked_at = Some(now);
        match self.fetch().await {
            Ok(()) => Ok(self.known(kid)),
            Err(failure) if empty => Err(failure),
            Err(failure) => {
                tracing::warn!(%failure, "keeping the keys that are known");
                Ok(None)
            }
        }
    }

    /// Fetches the set now, for a task that does so regularly: a key that was withdrawn is gone
    /// afterwards.
    ///
    /// # Errors
    /// [`KeysUnavailable`]; the keys that are known stay.
    pub async fn refresh(&self) -> Result<(), KeysUnavailable> {
        // After an emergency a new key signs at once: the first token with it need not wait for a refresh, so a
        // refresh does not count as having asked for an unknown `kid`.
        let _one_at_a_time = self.asked_at.lock().await;
        self.fetch().await
    }

    async fn fetch(&self) -> Result<(), KeysUnavailable> {
        let body = self.source.fetch().await?;
        let keys = read_set(&body).map_err(|problem| KeysUnavailable(problem.to_owned()))?;
        self.keys.store(Some(Arc::new(keys)));
        Ok(())
    }
}

/// RFC 7517 §5: keys of a kind we do not know are skipped; a set we cannot use at all is refused.
fn read_set(body: &[u8]) -> Result<KeyMap, &'static str> {
    let document = strict_json::parse(body).map_err(|_| "the key set is not JSON")?;
    let listed = document.get("keys").and_then(Value::as_array).ok_or("the key set has no list of keys")?;
    if listed.len() > KEYS_MAX {
        return Err("the key set is too long");
    }
    let mut keys = KeyMap::new();
    for value in listed {
        let Ok(jwk) = PublicJwk::try_from(value) else { continue };
        let Some(kid) = jwk.kid().map(str::to_owned) else { continue };
        if keys.insert(kid, jwk.verifying_key()).is_some() {
            return Err("the key set uses one kid twice");
        }
    }
    if keys.is_empty() { Err("the key set has no usable key") } else { Ok(keys) }
}
