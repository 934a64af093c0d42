//! The server's nonces (RFC 9449 §8, §9): no memory, shared by all nodes through the master key.

use crate::mac::MacKey;
use crate::seal::MasterKeys;
use crate::{UnixSeconds, b64, digest};

/// How long one nonce is given out, seconds. It is taken for one to two windows.
pub const NONCE_WINDOW_S: i64 = 60;

const LABEL: &str = "dpop-nonce";

/// Makes and recognises the nonces of one service.
#[derive(Debug, Clone)]
pub struct Nonces {
    current: MacKey,
    older: Vec<MacKey>,
}

impl Nonces {
    /// Derives the service's keys for this purpose. Nonces under an older master key are recognised still.
    pub fn new(master: &MasterKeys) -> Self {
        Self { current: master.mac_key(LABEL), older: master.mac_keys(LABEL) }
    }

    /// The nonce of the present window.
    pub fn issue(&self, now: UnixSeconds) -> String {
        of_window(&self.current, window(now))
    }

    /// Whether the nonce is of the present window or the one before. The next one is taken too, as a node
    /// whose clock is a little ahead may have issued it.
    pub fn accepts(&self, nonce: &str, now: UnixSeconds) -> bool {
        let present = window(now);
        let windows = [present, present.saturating_sub(1), present.saturating_add(1)];
        let is = |key: &MacKey, window| digest::equal(of_window(key, window).as_bytes(), nonce.as_bytes());
        let mut keys = std::iter::once(&self.current).chain(&self.older);
        keys.any(|key| windows.into_iter().any(|window| is(key, window)))
    }
}

fn of_window(key: &MacKey, window: i64) -> String {
    b64::encode(&key.mac(&[&window.to_be_bytes()])[..18])
}

fn window(now: UnixSeconds) -> i64 {
    now.0.div_euclid(NONCE_WINDOW_S)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::MasterKey;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    fn nonces(seed: u8) -> Nonces {
        Nonces::new(&MasterKeys::new(MasterKey::new([seed; 32]), Vec::new()))
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
    fn a_nonce_survives_a_change_of_the_master_key() {
        let nonce = nonces(1).issue(NOW);
        let rekeyed = MasterKeys::new(MasterKey::new([2; 32]), vec![MasterKey::new([1; 32])]);
        let rekeyed = Nonces::new(&rekeyed);
        assert!(rekeyed.accepts(&nonce, NOW) && rekeyed.accepts(&rekeyed.issue(NOW), NOW));
        assert_ne!(rekeyed.issue(NOW), nonce);
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
