//! The server's nonces (RFC 9449 §8, §9): no memory, shared by all nodes through a common key.

use crate::epoch::RestoreEpoch;
use crate::mac::MacKey;
use crate::seal::MasterKeys;
use crate::{UnixSeconds, b64, digest};

/// How long one nonce is given out, seconds. It is taken for one to two windows.
pub const NONCE_WINDOW_S: i64 = 60;

const LABEL: &str = "dpop-nonce";

/// Makes and recognises the nonces of one service.
#[derive(Debug, Clone)]
pub struct Nonces {
    key: MacKey,
    epoch: RestoreEpoch,
}

impl Nonces {
    /// Derives the service's key for this purpose.
    pub fn new(master: &MasterKeys) -> Self {
        Self { key: master.mac_key(LABEL), epoch: RestoreEpoch::default() }
    }

    /// The same for a database of this epoch. Nonces of an earlier one are not recognised: they may go with proofs
    /// whose use was forgotten by the restore.
    #[must_use]
    pub fn in_epoch(self, epoch: RestoreEpoch) -> Self {
        Self { epoch, ..self }
    }

    /// Whether a proof of this moment must carry a nonce, because the memory of its use may have been lost by a
    /// restore. One with a current nonce was made after it.
    pub fn are_due(&self, issued_at: UnixSeconds) -> bool {
        self.epoch.voids(issued_at)
    }

    /// The nonce of the present window.
    pub fn issue(&self, now: UnixSeconds) -> String {
        self.of_window(window(now))
    }

    /// Whether the nonce is of the present window or the one before. The next one is taken too, as a node
    /// whose clock is a little ahead may have issued it.
    pub fn accepts(&self, nonce: &str, now: UnixSeconds) -> bool {
        let present = window(now);
        let windows = [present, present.saturating_sub(1), present.saturating_add(1)];
        windows.into_iter().any(|window| digest::equal(self.of_window(window).as_bytes(), nonce.as_bytes()))
    }

    fn of_window(&self, window: i64) -> String {
        let mac = self.key.mac(&[&window.to_be_bytes(), &self.epoch.number().to_be_bytes()]);
        b64::encode(&mac[..18])
    }
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
        let keys =
            |current: u8| MasterKeys::new(MasterKey::new([current; 32]), Vec::new()).hashing_with([7; 32]);
        let nonce = Nonces::new(&keys(1)).issue(NOW);
        assert!(Nonces::new(&keys(2)).accepts(&nonce, NOW));
    }

    #[test]
    fn a_restore_voids_nonces_and_demands_them_of_earlier_proofs() {
        let restored = nonces(1).in_epoch(RestoreEpoch::new(1, NOW));
        assert!(!restored.accepts(&nonces(1).issue(NOW), NOW));
        assert!(restored.accepts(&restored.issue(NOW), NOW));
        assert!(restored.are_due(NOW) && !restored.are_due(NOW.plus(1)) && !nonces(1).are_due(NOW));
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
