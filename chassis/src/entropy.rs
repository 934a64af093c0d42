//! The only way any crate draws random bytes; `clippy.toml` bans the others.

use std::sync::atomic::{AtomicU64, Ordering};

/// A source of random bytes.
pub trait Entropy: Send + Sync {
    /// Fills all of `out`.
    fn fill(&self, out: &mut [u8]);
}

/// The operating system's generator, through aws-lc-rs.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    #[allow(clippy::disallowed_methods, reason = "this is the one place that draws from the system")]
    fn fill(&self, out: &mut [u8]) {
        if aws_lc_rs::rand::fill(out).is_err() {
            // Without random bytes every secret from here on would be guessable: nothing is safer than to stop.
            std::process::abort();
        }
    }
}

/// A repeatable source for tests. Never for anything that must be secret.
#[derive(Debug)]
pub struct SeededEntropy(AtomicU64);

impl SeededEntropy {
    /// A source whose bytes follow from `seed` alone.
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    /// The next word of the `SplitMix64` sequence.
    fn next(&self) -> u64 {
        const STEP: u64 = 0x9E37_79B9_7F4A_7C15;
        let mut word = self.0.fetch_add(STEP, Ordering::Relaxed).wrapping_add(STEP);
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        word ^ (word >> 31)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            let word = self.next().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }
}

/// `N` random bytes.
pub fn bytes<const N: usize>(entropy: &dyn Entropy) -> [u8; N] {
    let mut out = [0; N];
    entropy.fill(&mut out);
    out
}

/// A new secret of 256 bits as base64url text, 43 characters.
pub fn secret_b64(entropy: &dyn Entropy) -> String {
    keys::b64::encode(bytes::<32>(entropy))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes() {
        let (one, two, other) = (SeededEntropy::new(7), SeededEntropy::new(7), SeededEntropy::new(8));
        let drawn = bytes::<37>(&one);
        assert_eq!(drawn, bytes::<37>(&two));
        assert_ne!(drawn, bytes::<37>(&other));
        assert_ne!(drawn, bytes::<37>(&one));
    }

    #[test]
    fn the_system_never_draws_the_same_secret_twice() {
        let secret = secret_b64(&SystemEntropy);
        assert_eq!(secret.len(), 43);
        assert_ne!(secret, secret_b64(&SystemEntropy));
    }
}
