//! Identifiers: a short prefix that names the kind of thing, and a UUIDv7 (RFC 9562 §5.7) that sorts by time.

use uuid::Builder;

use crate::clock::Clock;
use crate::entropy::{Entropy, bytes};

/// A new identifier such as `usr_018bcfe568007a2fb1c4d5e6f7a8b9c0`: the prefix, an underscore, and the 32
/// lower-case hexadecimal digits of a `UUIDv7`.
pub fn new_id(prefix: &str, clock: &dyn Clock, entropy: &dyn Entropy) -> String {
    let unix_ms = u64::try_from(clock.now_ms()).unwrap_or(0);
    let uuid = Builder::from_unix_timestamp_millis(unix_ms, &bytes::<10>(entropy)).into_uuid();
    format!("{prefix}_{}", uuid.simple())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::FixedClock;
    use crate::entropy::SeededEntropy;

    #[test]
    fn an_id_is_a_prefix_and_a_uuid_of_version_7() {
        let id = new_id("usr", &FixedClock::at(1_700_000_000), &SeededEntropy::new(1));
        let (prefix, uuid) = id.split_once('_').unwrap();
        assert_eq!((prefix, uuid.len()), ("usr", 32));
        assert_eq!(&uuid[..12], "018bcfe56800");
        assert_eq!(&uuid[12..13], "7");
        assert!(uuid.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
    }

    #[test]
    fn later_ids_sort_after_earlier_ones() {
        let (clock, entropy) = (FixedClock::at(1_700_000_000), SeededEntropy::new(1));
        let earlier = new_id("usr", &clock, &entropy);
        clock.advance_ms(1);
        assert!(earlier < new_id("usr", &clock, &entropy));
    }
}
