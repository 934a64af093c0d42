//! When a delivery that failed is tried again: the waits of Standard Webhooks 1.0 ("Delivery"), with jitter so that
//! endpoints that failed together do not come back together.

const MINUTE_S: i64 = 60;
const HOUR_S: i64 = 60 * MINUTE_S;

/// A receiver's `Retry-After` moves the next attempt at most this far.
const RETRY_AFTER_MAX_S: i64 = 24 * HOUR_S;

/// The wait before each attempt, in seconds. As many attempts as waits; then the delivery is parked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule(Vec<i64>);

impl Default for Schedule {
    /// At once, then after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h, 14 h, 20 h and 24 h: three days in all.
    fn default() -> Self {
        let hours = [2, 5, 10, 14, 20, 24].map(|hours| hours * HOUR_S);
        let mut waits = vec![0, 5, 5 * MINUTE_S, 30 * MINUTE_S];
        waits.extend(hours);
        Self(waits)
    }
}

impl Schedule {
    /// A schedule of one's own; the first wait counts from the moment the event was numbered.
    pub fn new(waits_s: Vec<i64>) -> Self {
        Self(waits_s)
    }

    /// The wait before the first attempt, seconds.
    pub fn first_s(&self) -> i64 {
        self.0.first().copied().unwrap_or(0)
    }

    /// The wait after `attempts` failed attempts, seconds, or `None` when the delivery is to be parked.
    ///
    /// Jitter adds up to a tenth, drawn from `random`; at least one second is in play, so that short waits spread too.
    /// A receiver that asked for a longer wait (`Retry-After`, RFC 9110 §10.2.3) gets it, up to a day.
    pub fn wait_s(&self, attempts: i64, random: u64, retry_after_s: Option<i64>) -> Option<i64> {
        let wait = usize::try_from(attempts).ok().and_then(|index| self.0.get(index)).copied()?;
        let spread = if wait == 0 { 0 } else { (wait / 10).max(1) };
        let jitter = i64::try_from(random % (spread.unsigned_abs() + 1)).unwrap_or(0);
        let asked = retry_after_s.unwrap_or(0).clamp(0, RETRY_AFTER_MAX_S);
        Some((wait + jitter).max(asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_schedule_makes_ten_attempts_over_three_days() {
        let schedule = Schedule::default();
        let waits: Vec<i64> = (0..).map_while(|attempts| schedule.wait_s(attempts, 0, None)).collect();
        assert_eq!(waits, [0, 5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400]);
        assert!(waits.iter().sum::<i64>() > 3 * 24 * HOUR_S);
    }

    #[test]
    fn jitter_only_lengthens_a_wait_and_by_at_most_a_tenth() {
        let schedule = Schedule::default();
        let drawn: Vec<i64> = (0..1_000).filter_map(|random| schedule.wait_s(2, random, None)).collect();
        assert_eq!((drawn.iter().min(), drawn.iter().max()), (Some(&300), Some(&330)));
        assert_eq!(schedule.wait_s(1, u64::MAX, None), Some(6));
    }

    #[test]
    fn after_the_last_attempt_there_is_no_wait() {
        assert_eq!(Schedule::new(vec![0, 1]).wait_s(2, 7, Some(60)), None);
        assert_eq!(Schedule::new(Vec::new()).wait_s(0, 0, None), None);
        assert_eq!(Schedule::default().wait_s(-1, 0, None), None);
    }

    #[test]
    fn retry_after_lengthens_a_wait_but_not_beyond_a_day() {
        let schedule = Schedule::default();
        assert_eq!(schedule.wait_s(1, 0, Some(60)), Some(60));
        assert_eq!(schedule.wait_s(2, 0, Some(1)), Some(300));
        assert_eq!(schedule.wait_s(1, 0, Some(i64::MAX)), Some(86_400));
        assert_eq!(schedule.wait_s(1, 0, Some(-5)), Some(5));
    }
}
