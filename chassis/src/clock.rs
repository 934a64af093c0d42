//! The only way any crate reads the time of day; `clippy.toml` bans the others.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use keys::UnixSeconds;

/// Tells the time.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch, UTC.
    fn now_ms(&self) -> i64;

    /// The same moment in whole seconds.
    fn now(&self) -> UnixSeconds {
        UnixSeconds(self.now_ms().div_euclid(1000))
    }
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that reads the system clock")]
    fn now_ms(&self) -> i64 {
        let now = SystemTime::now();
        let now_ms = match now.duration_since(UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_millis()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |ms| -ms),
        };
        now_ms.saturating_add(crate::failpoint::clock_moved_by_s() * 1000)
    }
}

/// A clock for tests: it stands still until it is told to move.
#[derive(Debug)]
pub struct FixedClock(AtomicI64);

impl FixedClock {
    /// A clock that shows `unix_s` seconds since the Unix epoch.
    pub fn at(unix_s: i64) -> Self {
        Self(AtomicI64::new(unix_s * 1000))
    }

    /// Moves the clock by so many seconds, back if negative.
    pub fn advance(&self, by_s: i64) {
        self.advance_ms(by_s * 1000);
    }

    /// Moves the clock by so many milliseconds, back if negative.
    pub fn advance_ms(&self, by_ms: i64) {
        self.0.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Clock for FixedClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_clock_moves_only_when_told() {
        let clock = FixedClock::at(1_700_000_000);
        assert_eq!(clock.now(), UnixSeconds(1_700_000_000));
        clock.advance(61);
        clock.advance_ms(999);
        assert_eq!(clock.now(), UnixSeconds(1_700_000_061));
        assert_eq!(clock.now_ms(), 1_700_000_061_999);
    }

    #[test]
    fn moments_before_the_epoch_round_down() {
        let clock = FixedClock::at(0);
        clock.advance_ms(-1);
        assert_eq!(clock.now(), UnixSeconds(-1));
    }

    #[test]
    fn the_system_clock_is_past_2024() {
        assert!(SystemClock.now() > UnixSeconds(1_704_067_200));
    }
}
