//! What a service gets from the machine it runs on.

use std::fmt;
use std::sync::Arc;

use keys::UnixSeconds;

use crate::clock::{Clock, SystemClock};
use crate::entropy::{Entropy, SystemEntropy, bytes};

/// Time, random bytes, and whether this is a developer's machine. Cheap to clone.
#[derive(Clone)]
pub struct Platform {
    /// The only source of the time of day.
    pub clock: Arc<dyn Clock>,
    /// The only source of random bytes.
    pub entropy: Arc<dyn Entropy>,
    /// Whether plain http to the loopback interface is allowed.
    pub development: bool,
}

impl Platform {
    /// The machine's own clock and generator.
    pub fn system(development: bool) -> Self {
        Self { clock: Arc::new(SystemClock), entropy: Arc::new(SystemEntropy), development }
    }

    /// The time of day.
    pub fn now(&self) -> UnixSeconds {
        self.clock.now()
    }

    /// A new identifier, see [`crate::id::new_id`].
    pub fn new_id(&self, prefix: &str) -> String {
        crate::id::new_id(prefix, &*self.clock, &*self.entropy)
    }

    /// `N` random bytes.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        bytes(&*self.entropy)
    }
}

impl fmt::Debug for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Platform").field("development", &self.development).finish_non_exhaustive()
    }
}
