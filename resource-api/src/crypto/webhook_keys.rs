//! The RSA keys that sign webhooks in a vendor's envelope: a key ring of their own, made when the first endpoint asks
//! for that envelope.
//!
//! Making an RSA key takes long, so it is never made for a request that reads, and not at all where no partner needs
//! it. Once a ring is stored, every node opens it within a second and publishes it; its rotation follows the rules of
//! the other ring.

use std::sync::Arc;
use std::time::Duration;

use chassis::Platform;
use chassis::db::{Db, Fault};
use chassis::keyring::KeyRing;
use chassis::shutdown::Shutdown;
use keys::ring::RingPolicy;
use keys::seal::MasterKeys;
use tokio::sync::OnceCell;

/// The ring's name.
pub const WEBHOOK_RING: &str = "webhook";

/// Pause between two looks whether another node made the ring.
const PAUSE: Duration = Duration::from_secs(1);

/// The ring, once there is one.
pub struct WebhookKeys {
    db: Db,
    platform: Platform,
    master: Arc<MasterKeys>,
    policy: RingPolicy,
    ring: OnceCell<Arc<KeyRing>>,
}

impl WebhookKeys {
    /// Opens the ring if it is stored already, and makes nothing.
    ///
    /// # Errors
    /// When the database fails or the ring cannot be opened.
    pub async fn open(
        db: Db,
        platform: Platform,
        master: Arc<MasterKeys>,
        policy: RingPolicy,
    ) -> Result<Arc<Self>, Fault> {
        let keys = Self { db, platform, master, policy, ring: OnceCell::new() };
        keys.look().await?;
        Ok(Arc::new(keys))
    }

    /// The ring; with its first key made now, if there was none. Takes up to a second then, and is no work for a
    /// request that reads.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn made(&self) -> Result<Arc<KeyRing>, Fault> {
        let ring = self.ring.get_or_try_init(|| {
            let master = MasterKeys::clone(&self.master);
            KeyRing::open_for(WEBHOOK_RING, self.db.clone(), self.platform.clone(), master, self.policy)
        });
        ring.await.cloned()
    }

    /// The ring, if this node knows of one.
    pub fn known(&self) -> Option<&KeyRing> {
        self.ring.get().map(Arc::as_ref)
    }

    async fn look(&self) -> Result<(), Fault> {
        if self.ring.get().is_none() && KeyRing::has_keys(&self.db, WEBHOOK_RING).await? {
            self.made().await?;
        }
        Ok(())
    }

    /// Waits for the ring to be made by anybody, then rotates it until the service ends.
    pub async fn run(self: Arc<Self>, shutdown: Shutdown) {
        while self.ring.get().is_none() {
            tokio::select! {
                () = shutdown.triggered() => return,
                () = tokio::time::sleep(PAUSE) => {}
            }
            if let Err(fault) = self.look().await {
                tracing::warn!(%fault, "the webhook keys will be looked for again");
            }
        }
        if let Some(ring) = self.ring.get() {
            Arc::clone(ring).run_rotation(shutdown).await;
        }
    }
}
