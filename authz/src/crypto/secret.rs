//! Generated client secrets: 256 bits, kept as one keyed MAC, so a copy of the database helps nobody guess.

use chassis::entropy::{Entropy, secret_b64};
use keys::{digest, mac::MacKey, seal::MasterKeys};
use secrecy::{ExposeSecret, SecretString};

/// Longest secret that is looked at, bytes.
const SECRET_BYTES_MAX: usize = 256;

/// The MAC key for client secrets.
#[derive(Debug, Clone)]
pub struct SecretMacs(MacKey);

impl SecretMacs {
    /// Derives the key. It must come from a master key with the database's own hash root, or no secret is recognised
    /// after a change of the master key.
    pub fn new(master: &MasterKeys) -> Self {
        Self(master.mac_key("client-secret"))
    }

    /// What is stored of the client's secret.
    pub fn mac(&self, client_id: &str, secret: &SecretString) -> String {
        let parts: [&[u8]; 2] = [client_id.as_bytes(), secret.expose_secret().as_bytes()];
        self.0.mac_b64(&parts)
    }

    /// Whether `secret` is one of those behind `stored`. Without a stored MAC it works as long and says no.
    pub fn matches(&self, client_id: &str, secret: &str, stored: &[&str]) -> bool {
        if secret.len() > SECRET_BYTES_MAX {
            return false;
        }
        let mac = self.0.mac_b64(&[client_id.as_bytes(), secret.as_bytes()]);
        stored.iter().fold(false, |same, stored| digest::equal(mac.as_bytes(), stored.as_bytes()) | same)
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

    fn macs(current: u8, root: u8) -> SecretMacs {
        let master = MasterKeys::new(MasterKey::new([current; 32]), Vec::new());
        SecretMacs::new(&master.hashing_with([root; 32]))
    }

    #[test]
    fn a_secret_matches_only_its_own_client_and_macs() {
        let (macs, secret) = (macs(1, 9), new_secret(&SeededEntropy::new(1)));
        let stored = macs.mac("cli_1", &secret);
        let other = macs.mac("cli_1", &SecretString::from("other"));
        assert!(macs.matches("cli_1", secret.expose_secret(), &[&stored]));
        assert!(macs.matches("cli_1", secret.expose_secret(), &[&other, &stored]));
        assert!(!macs.matches("cli_2", secret.expose_secret(), &[&stored]));
        assert!(!macs.matches("cli_1", "another", &[&stored, &other]));
        assert!(!macs.matches("cli_1", secret.expose_secret(), &[]));
        assert!(!macs.matches("cli_1", "", &[""]));
        assert!(!macs.matches("cli_1", &"x".repeat(257), &[&stored]));
    }

    #[test]
    fn a_secret_survives_a_new_master_key() {
        let secret = new_secret(&SeededEntropy::new(2));
        let stored = macs(1, 9).mac("cli_1", &secret);
        assert!(macs(2, 9).matches("cli_1", secret.expose_secret(), &[&stored]));
        assert!(!macs(1, 8).matches("cli_1", secret.expose_secret(), &[&stored]));
    }
}
