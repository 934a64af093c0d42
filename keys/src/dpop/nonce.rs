//! The server's nonces (RFC 9449 §8, §9): no memory, shared by all nodes through the master key.

use crate::mac::MacKey;
use crate::{UnixSeconds, b64, digest};

/// How long one nonce is given out, seconds. It is taken for one to two windows.
pub const NONCE_WINDOW_S: i64 = 60;

/// Makes and recognises the nonces of one service.
#[derive(Debug, Clone)]
pub struct Nonces(MacKey);

impl Nonces {
    /// `key` is the service's own, derived for this purpose alone.
    pub fn new(key: MacKey) -> Self {
        Self(key)
    }

    /// The nonce of the present window.
    pub fn issue(&self, now: UnixSeconds) -> String {
        self.of_window(window(now))
    }

    /// Whether the nonce is of the present window or the one before. The next one is taken too, as a node
    /// whose clock is a little ahead may have issued it.
    pub fn accepts(&self, nonce: &str, now: UnixSeconds) -> bool {
        let present = window(now);
        [present, present.saturating_sub(1), present.saturating_add(1)]
            .into_iter()
            .any(|window| digest::equal(self.of_window(window).as_bytes(), nonce.as_bytes()))
    }

    fn of_window(&self, window: i64) -> String {
        let mac = self.0.mac(&[b"dpop nonce", &window.to_be_bytes()]);
        b64::encode(&mac[..18])
    }
}

fn window(now: UnixSeconds) -> i64 {
    now.0.div_euclid(NONCE_WINDOW_S)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    fn nonces(seed: u8) -> Nonces {
        Nonces::new(MacKey::new(&[seed; 32]))
    }

    #[test]
    fn a_nonce_is_taken_on_every_node_for_one_to_two_windows() {
        let (here, there) = (nonces(1), nonces(1));
        let nonce = here.issue(NOW);
        assert_eq!(nonce.len(), 24);
        for (later, taken) in
            [(0, true), (59, true), (119, true), (120, false), (100_000, false), (-61, false)]
        {
            assert_eq!(there.accepts(&nonce, NOW.plus(later)), taken, "{later}");
        }
        assert_ne!(nonce, here.issue(NOW.plus(NONCE_WINDOW_S)));
    }

    #[test]
    fn a_foreign_or_mangled_nonce_is_not_taken() {
        let nonce = nonces(1).issue(NOW);
        assert!(!nonces(2).accepts(&nonce, NOW));
        for bad in ["", "x", &nonce[1..], &format!("{nonce}A"), &nonce.to_lowercase()] {
            assert!(!nonces(1).accepts(bad, NOW), "{bad:?}");
        }
    }
}
