//! The rows of a key ring. Column `ring` holds the algorithm of the key.

use std::str::FromStr;

use keys::ring::{KeyState, RingKey, RingPolicy, Step, plan};
use keys::{Algorithm, UnixSeconds};

use crate::audit::{NewAudit, insert_audit};
use crate::db::{Fault, Tx, while_doing};
use crate::{on, row};

/// One signing key as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeyRow {
    pub(super) kid: String,
    pub(super) ring: String,
    pub(super) state: String,
    pub(super) sealed_jwk: String,
    pub(super) published_at_s: i64,
    pub(super) activated_at_s: Option<i64>,
    pub(super) retired_at_s: Option<i64>,
}

row!(KeyRow { kid, ring, state, sealed_jwk, published_at_s, activated_at_s, retired_at_s });

/// A key that was made before the unit, in case the plan wants one.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) kid: String,
    pub(super) sealed_jwk: String,
}

/// What a planning unit needs to know.
#[derive(Debug, Clone)]
pub(super) struct Planning {
    pub(super) policy: RingPolicy,
    pub(super) now: UnixSeconds,
    pub(super) candidate: Option<Candidate>,
}

/// The row that planners take turns at: a service has one ring, whatever algorithms its keys have.
const RING: &str = "signing";

const TAKE_RING: &str = "INSERT INTO key_ring (ring, version) VALUES ($1, 1)
    ON CONFLICT (ring) DO UPDATE SET version = key_ring.version + 1";

const LIST_KEYS: &str = "SELECT kid, ring, state, sealed_jwk, published_at_s, activated_at_s, retired_at_s
    FROM signing_key ORDER BY state, kid";

const INSERT_KEY: &str = "INSERT INTO signing_key (kid, ring, state, sealed_jwk, published_at_s)
    VALUES ($1, $2, 'next', $3, $4)";

const ACTIVATE_KEY: &str = "UPDATE signing_key SET state = 'active', activated_at_s = $2
    WHERE kid = $1 AND state = 'next'";

const RETIRE_KEY: &str = "UPDATE signing_key SET state = 'retired', retired_at_s = $2
    WHERE kid = $1 AND state = 'active'";

const DELETE_KEY: &str = "DELETE FROM signing_key WHERE kid = $1 AND state <> 'active'";

const REVOKE_KEY: &str = "DELETE FROM signing_key WHERE kid = $1";

/// All keys of the ring: the active one, the next, the retired ones.
pub(super) async fn list_keys(tx: &mut Tx) -> Result<Vec<KeyRow>, Fault> {
    on!(tx, conn => sqlx::query_as(LIST_KEYS).fetch_all(conn).await).map_err(while_doing("list signing keys"))
}

/// Brings the ring to what the policy wants now and returns its keys. Planners take turns at the ring's row, so
/// what one decides the next one sees. Without a candidate no key is made.
pub(super) async fn follow_plan(tx: &mut Tx, planning: Planning) -> Result<Vec<KeyRow>, Fault> {
    take_ring(tx).await?;
    settle(tx, planning).await
}

/// Publishes the candidate as the next key, unless one of the wanted algorithm is published already: it takes over
/// as soon as the policy lets it.
pub(super) async fn begin_rotation(
    tx: &mut Tx,
    mut planning: Planning,
    audit: NewAudit,
) -> Result<Vec<KeyRow>, Fault> {
    take_ring(tx).await?;
    let rows = list_keys(tx).await?;
    let wanted = planning.policy.alg.as_str();
    if !rows.iter().any(|row| row.state == KeyState::Next.as_str() && row.ring == wanted) {
        take_step(tx, Step::CreateNext, &mut planning).await?;
        insert_audit(tx, &[audit]).await?;
    }
    settle(tx, planning).await
}

/// Takes the key out at once, whatever its state, and lets another one sign if it was the active one. `None` when
/// there is no such key.
pub(super) async fn revoke_key(
    tx: &mut Tx,
    kid: &str,
    planning: Planning,
    audit: NewAudit,
) -> Result<Option<Vec<KeyRow>>, Fault> {
    take_ring(tx).await?;
    let revoked = on!(&mut *tx, conn => sqlx::query(REVOKE_KEY)
        .bind(kid)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("revoke a signing key"))?;
    if revoked == 0 {
        return Ok(None);
    }
    insert_audit(tx, &[audit]).await?;
    settle(tx, planning).await.map(Some)
}

async fn take_ring(tx: &mut Tx) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query(TAKE_RING).bind(RING).execute(conn).await.map(drop))
        .map_err(while_doing("take the key ring"))
}

/// Takes steps until none is due; the ring's row is held.
async fn settle(tx: &mut Tx, mut planning: Planning) -> Result<Vec<KeyRow>, Fault> {
    loop {
        let rows = list_keys(tx).await?;
        let mut steps = wanted_steps(&rows, &planning)?;
        if planning.candidate.is_none() {
            steps.retain(|step| *step != Step::CreateNext);
        }
        if steps.is_empty() {
            return Ok(rows);
        }
        for step in steps {
            take_step(tx, step, &mut planning).await?;
        }
    }
}

/// The steps that the policy wants, given these keys.
pub(super) fn wanted_steps(rows: &[KeyRow], planning: &Planning) -> Result<Vec<Step>, Fault> {
    let keys: Vec<RingKey> = rows.iter().map(KeyRow::as_ring_key).collect::<Result<_, _>>()?;
    Ok(plan(&keys, &planning.policy, planning.now))
}

async fn take_step(tx: &mut Tx, step: Step, planning: &mut Planning) -> Result<(), Fault> {
    let now = planning.now.0;
    match step {
        Step::CreateNext => {
            let Some(Candidate { kid, sealed_jwk }) = planning.candidate.take() else { return Ok(()) };
            let ring = planning.policy.alg.as_str();
            on!(tx, conn => sqlx::query(INSERT_KEY)
                .bind(kid)
                .bind(ring)
                .bind(sealed_jwk)
                .bind(now)
                .execute(conn)
                .await
                .map(drop))
        }
        Step::Activate(kid) => {
            on!(tx, conn => sqlx::query(ACTIVATE_KEY).bind(kid).bind(now).execute(conn).await.map(drop))
        }
        Step::Retire(kid) => {
            on!(tx, conn => sqlx::query(RETIRE_KEY).bind(kid).bind(now).execute(conn).await.map(drop))
        }
        Step::Drop(kid) => on!(tx, conn => sqlx::query(DELETE_KEY).bind(kid).execute(conn).await.map(drop)),
    }
    .map_err(while_doing("take a step of the key plan"))
}

impl KeyRow {
    pub(super) fn key_state(&self) -> Result<KeyState, Fault> {
        KeyState::from_str(&self.state).map_err(while_doing("read a signing key's state"))
    }

    pub(super) fn as_ring_key(&self) -> Result<RingKey, Fault> {
        let alg = Algorithm::from_str(&self.ring).map_err(while_doing("read a signing key's algorithm"))?;
        Ok(RingKey {
            kid: self.kid.clone(),
            alg,
            state: self.key_state()?,
            published_at: UnixSeconds(self.published_at_s),
            activated_at: self.activated_at_s.map(UnixSeconds),
            retired_at: self.retired_at_s.map(UnixSeconds),
        })
    }
}
