//! The signing keys of a service: made once however many nodes start, sealed under the master key, rotated by
//! the plan of [`keys::ring`], and published as a JWKS (RFC 7517 §5) that is rendered when it changes, never
//! when it is asked for.

mod store;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use keys::ring::{KeyState, RingKey, RingPolicy, Step};
use keys::seal::{Aad, MasterKeys};
use keys::{Algorithm, SigningKey, VerifyingKey, strict_json};
use serde_json::{Value, json};
use tokio::time::sleep;

use self::store::{
    Candidate, KeyRow, Planning, begin_rotation, follow_plan, list_keys, revoke_key, wanted_steps,
};
use crate::audit::{Actor, NewAudit};
use crate::db::{Db, Fault, while_doing};
use crate::sealed::SIGNING_KEY;
use crate::shutdown::Shutdown;
use crate::{Platform, failpoint};

/// Pause between two looks at the ring. Another node's new key is known here after this long, which is well
/// before it signs; a revoked one is out of use here after this long.
const PAUSE: Duration = Duration::from_secs(1);

/// Size of new RSA keys.
const RSA_BITS: usize = 2048;

/// Audit rows that are drawn before a unit, which takes one for each step. Steps that remove keys are left to the next
/// look when there are more.
const AUDIT_ROWS: usize = 32;

/// The ring that every service has.
pub const SIGNING: &str = "signing";

/// One ring of a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingKind {
    /// Its name in the database, and at the command line.
    pub purpose: &'static str,
    /// Which keys it wants, and how long things take.
    pub policy: RingPolicy,
}

impl RingKind {
    /// The ring that every service has, with this policy.
    pub fn signing(policy: RingPolicy) -> Self {
        Self { purpose: SIGNING, policy }
    }
}

/// The signing keys of a service. Reading never waits.
pub struct KeyRing {
    purpose: &'static str,
    db: Db,
    platform: Platform,
    master: MasterKeys,
    policy: RingPolicy,
    held: ArcSwap<Held>,
}

/// One consistent state of the ring.
struct Held {
    rows: Vec<KeyRow>,
    active: SigningKey,
    verifying: HashMap<String, VerifyingKey>,
    jwks: Arc<str>,
    published: Vec<Value>,
}

impl KeyRing {
    /// Opens the ring, making and activating its first key if there is none. Of several nodes that start at once
    /// one makes the key.
    ///
    /// # Errors
    /// When the database fails or a stored key cannot be opened with these master keys.
    pub async fn open(
        db: Db,
        platform: Platform,
        master: MasterKeys,
        policy: RingPolicy,
    ) -> Result<Arc<Self>, Fault> {
        Self::open_for(SIGNING, db, platform, master, policy).await
    }

    /// Opens another ring than the one of a service's tokens, under a name of its own. Its keys are planned apart.
    ///
    /// # Errors
    /// As [`KeyRing::open`].
    pub async fn open_for(
        purpose: &'static str,
        db: Db,
        platform: Platform,
        master: MasterKeys,
        policy: RingPolicy,
    ) -> Result<Arc<Self>, Fault> {
        let opening = Opening { purpose, db: &db, platform: &platform, master: &master, policy };
        let rows = opening.planned_rows().await?;
        let held = ArcSwap::from_pointee(opening.hold(rows)?);
        Ok(Arc::new(Self { purpose, db, platform, master, policy, held }))
    }

    /// Whether the ring of this name has keys: then it can be opened without making one.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has_keys(db: &Db, purpose: &'static str) -> Result<bool, Fault> {
        let rows = db.read(move |tx| Box::pin(list_keys(tx, purpose))).await?;
        Ok(!rows.is_empty())
    }

    /// The key that signs now.
    pub fn active(&self) -> SigningKey {
        self.held.load().active.clone()
    }

    /// The published key with this id, whether it signs now, will sign or has signed.
    pub fn verifying(&self, kid: &str) -> Option<VerifyingKey> {
        self.held.load().verifying.get(kid).cloned()
    }

    /// The JWKS document.
    pub fn jwks(&self) -> Arc<str> {
        Arc::clone(&self.held.load().jwks)
    }

    /// The JWKS document of this ring and another one. Where there is no other it was rendered before.
    pub fn jwks_with(&self, other: Option<&Self>) -> Arc<str> {
        let Some(other) = other else { return self.jwks() };
        let (own, others) = (self.held.load(), other.held.load());
        let keys: Vec<&Value> = own.published.iter().chain(&others.published).collect();
        Arc::from(json!({ "keys": keys }).to_string())
    }

    /// `Cache-Control` of the JWKS. Its max-age is the one after whose end a new key signs.
    pub fn cache_control(&self) -> String {
        format!("public, max-age={}", self.policy.jwks_max_age_s)
    }

    /// The keys as this process knows them now: the active one, the next, the retired ones.
    ///
    /// # Errors
    /// When a stored state or algorithm is none.
    pub fn list(&self) -> Result<Vec<RingKey>, Fault> {
        self.held.load().rows.iter().map(KeyRow::as_ring_key).collect()
    }

    /// Begins a rotation before its time: publishes a next key, which signs once every verifier can know it. Where one
    /// is published already, nothing changes.
    ///
    /// # Errors
    /// When the database fails; then nothing has changed.
    pub async fn begin_rotation(&self) -> Result<(), Fault> {
        let opening = self.opening();
        let planning = opening.planning_with_candidate().await?;
        failpoint::reach("keys.before_write").await;
        let rows = self.db.write(move |tx| Box::pin(begin_rotation(tx, planning.clone()))).await?;
        failpoint::reach("keys.after_write").await;
        self.take_over(rows)
    }

    /// Revokes a key: it is gone at once, and if it was the active one another signs from now on. Every node of
    /// the service follows within a second. False when there is no such key.
    ///
    /// # Errors
    /// When the database fails; then nothing has changed.
    pub async fn revoke(&self, kid: &str) -> Result<bool, Fault> {
        let opening = self.opening();
        let planning = opening.planning_with_candidate().await?;
        let kid = kid.to_owned();
        failpoint::reach("keys.before_write").await;
        let rows = self
            .db
            .write(move |tx| {
                let (kid, planning) = (kid.clone(), planning.clone());
                Box::pin(async move { revoke_key(tx, &kid, planning).await })
            })
            .await?;
        failpoint::reach("keys.after_write").await;
        rows.map(|rows| self.take_over(rows)).transpose().map(|done| done.is_some())
    }

    /// One look at the ring: takes the steps that are due, and takes over what other nodes did. Safe on every node at
    /// once, and after a crash in the middle.
    ///
    /// # Errors
    /// When the database fails; the keys held before stay in use.
    pub async fn rotate(&self) -> Result<(), Fault> {
        let rows = self.opening().planned_rows().await?;
        self.take_over(rows)
    }

    fn take_over(&self, rows: Vec<KeyRow>) -> Result<(), Fault> {
        if self.held.load().rows != rows {
            self.held.store(Arc::new(self.opening().hold(rows)?));
        }
        Ok(())
    }

    /// Looks at the ring every second until shutdown.
    pub async fn run_rotation(self: Arc<Self>, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.triggered() => return,
                () = sleep(PAUSE) => {}
            }
            if let Err(fault) = self.rotate().await {
                tracing::warn!(%fault, "key rotation will be tried again");
            }
        }
    }

    fn opening(&self) -> Opening<'_> {
        let Self { purpose, db, platform, master, policy, held: _ } = self;
        Opening { purpose, db, platform, master, policy: *policy }
    }
}

/// What is needed to read a ring and to move it on.
struct Opening<'a> {
    purpose: &'static str,
    db: &'a Db,
    platform: &'a Platform,
    master: &'a MasterKeys,
    policy: RingPolicy,
}

impl Opening<'_> {
    /// The ring's rows after the steps that are due. Writes only when there are any.
    async fn planned_rows(&self) -> Result<Vec<KeyRow>, Fault> {
        let purpose = self.purpose;
        let rows = self.db.read(move |tx| Box::pin(list_keys(tx, purpose))).await?;
        let mut planning = self.planning();
        let steps = wanted_steps(&rows, &planning)?;
        if steps.is_empty() {
            return Ok(rows);
        }
        if steps.contains(&Step::CreateNext) {
            planning.candidate = Some(self.new_candidate().await?);
        }
        planning.audit = self.audit_rows();
        failpoint::reach("keys.before_write").await;
        let rows = self.db.write(move |tx| Box::pin(follow_plan(tx, planning.clone()))).await?;
        failpoint::reach("keys.after_write").await;
        Ok(rows)
    }

    /// With neither a candidate nor audit rows, which only a unit that writes needs.
    fn planning(&self) -> Planning {
        let now = self.platform.now();
        Planning { purpose: self.purpose, policy: self.policy, now, candidate: None, audit: Vec::new() }
    }

    async fn planning_with_candidate(&self) -> Result<Planning, Fault> {
        let candidate = Some(self.new_candidate().await?);
        Ok(Planning { candidate, audit: self.audit_rows(), ..self.planning() })
    }

    /// Rows that say nothing yet. Taken from the end, their ids are in the order of the steps.
    fn audit_rows(&self) -> Vec<NewAudit> {
        let blank = || NewAudit::change(self.platform, Actor::node(), "", "key.step", "");
        let mut rows: Vec<NewAudit> = std::iter::repeat_with(blank).take(AUDIT_ROWS).collect();
        rows.sort_by(|one, other| other.audit_id.cmp(&one.audit_id));
        rows
    }

    async fn new_candidate(&self) -> Result<Candidate, Fault> {
        let key = match self.policy.alg {
            Algorithm::Es256 => SigningKey::es256_from_seed(self.platform.random()),
            Algorithm::EdDsa => SigningKey::ed25519_from_seed(self.platform.random()),
            rsa => tokio::task::spawn_blocking(move || SigningKey::generate_rsa(RSA_BITS)?.with_alg(rsa))
                .await
                .map_err(while_doing("make an RSA key"))?,
        }
        .map_err(while_doing("make a signing key"))?;
        let private = key.to_private_jwk().map_err(while_doing("write a signing key"))?;
        let kid = key.kid().to_owned();
        let sealed_jwk = self.seal(&kid, private.to_string().as_bytes())?;
        Ok(Candidate { kid, sealed_jwk })
    }

    fn seal(&self, kid: &str, plain: &[u8]) -> Result<String, Fault> {
        self.master
            .seal(self.platform.random(), &place(kid), plain)
            .map_err(while_doing("seal a signing key"))
    }

    fn open_sealed(&self, row: &KeyRow) -> Result<Vec<u8>, Fault> {
        let opened = self.master.open(&place(&row.kid), &row.sealed_jwk);
        opened.map_err(while_doing("open a signing key; is this the master key that sealed it?"))
    }

    /// Opens all keys of the ring and renders the JWKS.
    fn hold(&self, rows: Vec<KeyRow>) -> Result<Held, Fault> {
        let mut active = None;
        let mut verifying = HashMap::new();
        let mut published: Vec<Value> = Vec::new();
        for row in &rows {
            let private =
                strict_json::parse(&self.open_sealed(row)?).map_err(while_doing("read a signing key"))?;
            let key = SigningKey::from_private_jwk(&private).map_err(while_doing("read a signing key"))?;
            verifying.insert(row.kid.clone(), key.public_jwk().verifying_key());
            published.push(key.public_jwk().to_value());
            if row.key_state()? == KeyState::Active {
                active = Some(key);
            }
        }
        let active = active.ok_or_else(|| Fault::new("open the key ring: it has no active key"))?;
        let jwks = Arc::from(json!({ "keys": published }).to_string());
        Ok(Held { rows, active, verifying, jwks, published })
    }
}

/// Where a sealed key belongs: it opens nowhere else.
fn place(kid: &str) -> Aad<'_> {
    SIGNING_KEY.place("", kid, "")
}

/// The keys of a database's ring of this name as they are stored: the active one, the next, the retired ones; none when
/// there is no such ring. Opens nothing and takes no step, so that it can be asked at any time and without the master
/// key.
///
/// # Errors
/// When the database fails, or a stored state or algorithm is none.
pub async fn list_ring(db: &Db, purpose: &'static str) -> Result<Vec<RingKey>, Fault> {
    let rows = db.read(move |tx| Box::pin(list_keys(tx, purpose))).await?;
    rows.iter().map(KeyRow::as_ring_key).collect()
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyRing").field("active", &self.held.load().active.kid()).finish_non_exhaustive()
    }
}
