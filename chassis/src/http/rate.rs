//! How often a network and a client may ask: the generic cell rate algorithm in tables of fixed size, so that a
//! million invented addresses take no more memory than one.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicI64, Ordering};

use http::StatusCode;
use serde::Deserialize;

use super::places::network_of;
use super::problem::Problem;
use crate::platform::Platform;

/// Places in each row of a table. Two keys share a limit only when they share a place in both rows.
const PLACES: usize = 16 * 1024;
const ROWS: usize = 2;

/// A steady rate and what may come at once on top of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Requests in each second, in the long run; 0: no limit.
    pub per_s: u32,
    /// Requests at once, at least 1.
    pub burst: u32,
}

/// The limits of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimits {
    /// Of one network (an IPv4 address, an IPv6 /64), counted before anything of the request is believed.
    pub network: Rate,
    /// Of one client, counted once it has authenticated, so that nobody else can use its share up.
    pub client: Rate,
}

impl Default for RateLimits {
    fn default() -> Self {
        Self { network: Rate { per_s: 500, burst: 2000 }, client: Rate { per_s: 1000, burst: 4000 } }
    }
}

impl RateLimits {
    /// No limits.
    pub const NONE: Self = Self { network: Rate { per_s: 0, burst: 1 }, client: Rate { per_s: 0, burst: 1 } };
}

/// The request came too soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests; again in {retry_after_s} s")]
pub struct TooMany {
    /// Seconds until the next one is taken.
    pub retry_after_s: u32,
}

impl From<TooMany> for Problem {
    fn from(refusal: TooMany) -> Self {
        let detail = "Too many requests. The header Retry-After says when to go on.";
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", detail).retry_after(refusal.retry_after_s)
    }
}

/// The limits of a service at work.
pub struct RateLimiter {
    platform: Platform,
    networks: Table,
    clients: Table,
}

impl RateLimiter {
    /// Limits as set; unset, the defaults, and on a developer's machine none.
    pub fn new(limits: Option<RateLimits>, platform: &Platform) -> Self {
        let unset = if platform.development { RateLimits::NONE } else { RateLimits::default() };
        let limits = limits.unwrap_or(unset);
        Self {
            platform: platform.clone(),
            networks: Table::new(limits.network),
            clients: Table::new(limits.client),
        }
    }

    /// Counts a request of a network.
    ///
    /// # Errors
    /// [`TooMany`]; the request is then not counted.
    pub fn count_network(&self, address: IpAddr) -> Result<(), TooMany> {
        self.networks.count(&network_of(address), || self.platform.clock.now_ms())
    }

    /// Counts a request of a client that has authenticated.
    ///
    /// # Errors
    /// [`TooMany`]; the request is then not counted.
    pub fn count_client(&self, client_id: &str) -> Result<(), TooMany> {
        self.clients.count(client_id, || self.platform.clock.now_ms())
    }
}

/// For each place the moment, in microseconds, at which everything counted there has been worked off.
struct Table {
    interval_us: i64,
    window_us: i64,
    hashers: [RandomState; ROWS],
    places: Box<[AtomicI64]>,
}

impl Table {
    fn new(rate: Rate) -> Self {
        let interval_us = if rate.per_s == 0 { 0 } else { (1_000_000 / i64::from(rate.per_s)).max(1) };
        let places = if interval_us == 0 { 0 } else { ROWS * PLACES };
        Self {
            interval_us,
            window_us: interval_us * i64::from(rate.burst.max(1)),
            hashers: Default::default(),
            places: (0..places).map(|_| AtomicI64::new(0)).collect(),
        }
    }

    fn count<K: Hash + ?Sized>(&self, key: &K, clock_ms: impl Fn() -> i64) -> Result<(), TooMany> {
        if self.interval_us == 0 {
            return Ok(());
        }
        let now_us = clock_ms().saturating_mul(1000);
        let (mut admitted, mut soonest_us) = (false, i64::MAX);
        for (row, hasher) in self.hashers.iter().enumerate() {
            let at = usize::try_from(hasher.hash_one(key) % PLACES as u64).unwrap_or_default();
            let Some(place) = self.places.get(row * PLACES + at) else { continue };
            let counted = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |until| {
                // A clock that was set back must not lock anybody out.
                let until = if until > now_us + self.window_us { now_us } else { until.max(now_us) };
                (until + self.interval_us <= now_us + self.window_us).then_some(until + self.interval_us)
            });
            match counted {
                Ok(_) => admitted = true,
                Err(until) => soonest_us = soonest_us.min(until + self.interval_us - self.window_us - now_us),
            }
        }
        if admitted {
            return Ok(());
        }
        let seconds = soonest_us.max(1).saturating_add(999_999) / 1_000_000;
        Err(TooMany { retry_after_s: u32::try_from(seconds).unwrap_or(u32::MAX) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: i64 = 1_700_000_000_000;

    fn table() -> Table {
        Table::new(Rate { per_s: 2, burst: 5 })
    }

    #[test]
    fn a_burst_is_taken_and_then_the_steady_rate() {
        let table = table();
        for _ in 0..5 {
            assert_eq!(table.count("a", || NOW_MS), Ok(()));
        }
        assert_eq!(table.count("a", || NOW_MS), Err(TooMany { retry_after_s: 1 }));
        assert_eq!(table.count("b", || NOW_MS), Ok(()), "another key has its own");
        assert_eq!(table.count("a", || NOW_MS + 500), Ok(()));
        assert!(table.count("a", || NOW_MS + 500).is_err());
        for _ in 0..5 {
            assert_eq!(table.count("a", || NOW_MS + 10_000), Ok(()));
        }
    }

    #[test]
    fn no_limit_counts_nothing() {
        let table = Table::new(RateLimits::NONE.network);
        assert!(table.places.is_empty());
        assert!((0..10_000).all(|_| table.count("a", || NOW_MS).is_ok()));
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out() {
        let table = table();
        for _ in 0..5 {
            table.count("a", || NOW_MS).unwrap();
        }
        assert_eq!(table.count("a", || NOW_MS - 3_600_000), Ok(()));
    }

    /// Reliability row R19: a flood of invented keys takes no memory, and leaves those who are there their share.
    #[test]
    fn a_million_keys_take_the_memory_of_one() {
        let table = Table::new(Rate { per_s: 500, burst: 2000 });
        assert!((0..1_000_000).all(|key: u32| table.count(&key, || NOW_MS).is_ok()));
        assert_eq!(table.places.len(), ROWS * PLACES);
        assert_eq!(table.count("a client", || NOW_MS), Ok(()));
    }
}
