//! Generated client secrets: 256 bits, kept as one keyed MAC, so a copy of the database helps nobody guess.

use chassis::entropy::{Entropy, secret_b64};
use keys::{digest, mac::MacKey, seal::MasterKeys};
use secrecy::{ExposeSecret, SecretString};

/// Longest secret that is looked at, bytes.
const SECRET_BYTES_MAX: usize = 256;

/// The MAC keys for client secrets: the current master key's first, then those of older ones.
#[derive(Debug, Clone)]
pub struct SecretMacs(Vec<MacKey>);

impl SecretMacs {
    /// Derives the keys.
    pub fn new(master: &MasterKeys) -> Self {
        Self(master.mac_keys("client-secret"))
    }

    /// What is stored of the client's secret.
    pub fn mac(&self, client_id: &str, secret: &SecretString) -> String {
        let parts: [&[u8]; 2] = [client_id.as_bytes(), secret.expose_secret().as_bytes()];
        self.0.first().map(|key| key.mac_b64(&parts)).unwrap_or_default()
    }

    /// Whether `secret` is the one behind `stored`. Without a stored MAC it works as long and says no.
    pub fn matches(&self, client_id: &str, secret: &str, stored: Option<&str>) -> bool {
        if secret.len() > SECRET_BYTES_MAX {
            return false;
        }
        let parts: [&[u8]; 2] = [client_id.as_bytes(), secret.as_bytes()];
        let expected = stored.unwrap_or_default();
        let same = self.0.iter().fold(false, |same, key| {
            digest::equal(key.mac_b64(&parts).as_bytes(), expected.as_bytes()) | same
        });
        same && stored.is_some()
    }
}

/// A new client secret.
pub fn new_secret(entropy: &dyn Entropy) -> SecretString {
    secret_b64(entropy).into()
}

#[cfg(test)]
mod tests {
    use chassis::SeededEntropy;
    use keys::seal::MasterKey;

    use super::*;

    fn macs(current: u8, older: &[u8]) -> SecretMacs {
        let key = |byte: u8| MasterKey::new([byte; 32]);
        SecretMacs::new(&MasterKeys::new(key(current), older.iter().copied().map(key).collect()))
    }

    #[test]
    fn a_secret_matches_only_its_own_client_and_mac() {
        let (macs, secret) = (macs(1, &[]), new_secret(&SeededEntropy::new(1)));
        let stored = macs.mac("cli_1", &secret);
        assert!(macs.matches("cli_1", secret.expose_secret(), Some(&stored)));
        assert!(!macs.matches("cli_2", secret.expose_secret(), Some(&stored)));
        assert!(!macs.matches("cli_1", "other", Some(&stored)));
        assert!(!macs.matches("cli_1", secret.expose_secret(), None));
        assert!(!macs.matches("cli_1", "", Some("")));
        assert!(!macs.matches("cli_1", &"x".repeat(257), Some(&stored)));
    }

    #[test]
    fn a_secret_survives_a_new_master_key() {
        let secret = new_secret(&SeededEntropy::new(2));
        let stored = macs(1, &[]).mac("cli_1", &secret);
        assert!(macs(2, &[1]).matches("cli_1", secret.expose_secret(), Some(&stored)));
        assert!(!macs(2, &[]).matches("cli_1", secret.expose_secret(), Some(&stored)));
    }
}
