//! The restore epoch of a database.
//!
//! A database that is restored from a backup has forgotten what was spent after the backup was made. So whatever
//! counts once and was issued before the restore is void after it. The epoch is read at the start of a service and
//! kept in memory: judging by it costs nothing.

use crate::UnixSeconds;

/// How often a database was restored, and up to which moment of issue things that count once are void.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RestoreEpoch {
    number: i64,
    void_until: UnixSeconds,
}

impl RestoreEpoch {
    /// The epoch after the `number`th restore. `void_until` is the moment of the restore and the difference of clocks
    /// on top, so that nothing from before it can carry a later moment.
    pub fn new(number: i64, void_until: UnixSeconds) -> Self {
        Self { number, void_until }
    }

    /// How often the database was restored; 0: never.
    pub fn number(&self) -> i64 {
        self.number
    }

    /// Up to when things that were issued are void.
    pub fn void_until(&self) -> UnixSeconds {
        self.void_until
    }

    /// Whether something that counts once and was issued at this moment is void.
    pub fn voids(&self, issued_at: UnixSeconds) -> bool {
        self.number > 0 && issued_at <= self.void_until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_restore_voids_and_only_what_is_not_younger() {
        assert!(!RestoreEpoch::default().voids(UnixSeconds(i64::MIN)));
        assert!(!RestoreEpoch::default().voids(UnixSeconds(0)));
        let epoch = RestoreEpoch::new(2, UnixSeconds(100));
        for (issued_at, void) in [(i64::MIN, true), (99, true), (100, true), (101, false), (i64::MAX, false)]
        {
            assert_eq!(epoch.voids(UnixSeconds(issued_at)), void, "{issued_at}");
        }
    }
}
