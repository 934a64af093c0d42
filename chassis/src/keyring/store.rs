//! The rows of a key ring. Column `ring` holds the algorithm of the key.

use std::str::FromStr;

use keys::ring::{KeyState, RingKey, RingPolicy, Step, plan};
use keys::{Algorithm, UnixSeconds};
use serde_json::json;

use crate::audit::{NewAudit, insert_audit};
use crate::db::{Fault, Tx, while_doing};
use crate::{failpoint, on, row};

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
    /// The ring.
    pub(super) purpose: &'static str,
    pub(super) policy: RingPolicy,
    pub(super) now: UnixSeconds,
    pub(super) candidate: Option<Candidate>,
    /// Audit rows that say nothing yet, one for each step that may be taken.
    pub(super) audit: Vec<NewAudit>,
}

/// Who wanted a step, as its audit row says.
#[derive(Debug, Clone, Copy)]
enum Wanted {
    /// The policy: its time had come.
    ByPlan,
    /// Somebody at the command line.
    ByOperator,
}

/// Audit rows that are kept back for the steps that make keys and let them sign: a rotation is never left half done for
/// lack of one.
const MOVES_MAX: usize = 8;

const TAKE_RING: &str = "INSERT INTO key_ring (ring, version) VALUES ($1, 1)
    ON CONFLICT (ring) DO UPDATE SET version = key_ring.version + 1";

const LIST_KEYS: &str = "SELECT kid, ring, state, sealed_jwk, published_at_s, activated_at_s, retired_at_s
    FROM signing_key WHERE purpose = $1 ORDER BY state, kid";

const INSERT_KEY: &str = "INSERT INTO signing_key (kid, ring, state, sealed_jwk, published_at_s, purpose)
    VALUES ($1, $2, 'next', $3, $4, $5)";

const ACTIVATE_KEY: &str = "UPDATE signing_key SET state = 'active', activated_at_s = $2
    WHERE kid = $1 AND state = 'next'";

const RETIRE_KEY: &str = "UPDATE signing_key SET state = 'retired', retired_at_s = $2
    WHERE kid = $1 AND state = 'active'";

const DELETE_KEY: &str = "DELETE FROM signing_key WHERE kid = $1 AND state <> 'active'";

const REVOKE_KEY: &str = "DELETE FROM signing_key WHERE kid = $1 AND purpose = $2";

/// All keys of the ring: the active one, the next, the retired ones.
pub(super) async fn list_keys(tx: &mut Tx, purpose: &str) -> Result<Vec<KeyRow>, Fault> {
    on!(tx, conn => sqlx::query_as(LIST_KEYS).bind(purpose).fetch_all(conn).await)
        .map_err(while_doing("list signing keys"))
}

/// Brings the ring to what the policy wants now and returns its keys. Planners take turns at the ring's row, so
/// what one decides the next one sees. Without a candidate no key is made.
pub(super) async fn follow_plan(tx: &mut Tx, planning: Planning) -> Result<Vec<KeyRow>, Fault> {
    take_ring(tx, planning.purpose).await?;
    settle(tx, planning).await
}

/// Publishes the candidate as the next key, unless one of the wanted algorithm is published already: it takes over
/// as soon as the policy lets it.
pub(super) async fn begin_rotation(tx: &mut Tx, mut planning: Planning) -> Result<Vec<KeyRow>, Fault> {
    take_ring(tx, planning.purpose).await?;
    let rows = list_keys(tx, planning.purpose).await?;
    let wanted = planning.policy.alg.as_str();
    if !rows.iter().any(|row| row.state == KeyState::Next.as_str() && row.ring == wanted) {
        take_step(tx, Step::CreateNext, &mut planning, Wanted::ByOperator).await?;
    }
    settle(tx, planning).await
}

/// Takes the key out at once, whatever its state, and lets another one sign if it was the active one. `None` when
/// there is no such key.
pub(super) async fn revoke_key(
    tx: &mut Tx,
    kid: &str,
    mut planning: Planning,
) -> Result<Option<Vec<KeyRow>>, Fault> {
    take_ring(tx, planning.purpose).await?;
    let revoked = on!(&mut *tx, conn => sqlx::query(REVOKE_KEY)
        .bind(kid)
        .bind(planning.purpose)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("revoke a signing key"))?;
    if revoked == 0 {
        return Ok(None);
    }
    write_audit(tx, &mut planning, ("key.revoked", kid), Wanted::ByOperator).await?;
    settle(tx, planning).await.map(Some)
}

/// Planners of one ring take turns at its row, whatever algorithms its keys have.
async fn take_ring(tx: &mut Tx, purpose: &str) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query(TAKE_RING).bind(purpose).execute(conn).await.map(drop))
        .map_err(while_doing("take the key ring"))
}

/// Takes steps until none is due; the ring's row is held.
async fn settle(tx: &mut Tx, mut planning: Planning) -> Result<Vec<KeyRow>, Fault> {
    loop {
        let rows = list_keys(tx, planning.purpose).await?;
        let mut steps = wanted_steps(&rows, &planning)?;
        if planning.candidate.is_none() {
            steps.retain(|step| *step != Step::CreateNext);
        }
        let mut removals = planning.audit.len().saturating_sub(MOVES_MAX);
        steps.retain(|step| match step {
            Step::Drop(_) if removals == 0 => false,
            Step::Drop(_) => {
                removals -= 1;
                true
            }
            _ => true,
        });
        if steps.is_empty() {
            failpoint::reach("keys.in_write").await;
            return Ok(rows);
        }
        for step in steps {
            take_step(tx, step, &mut planning, Wanted::ByPlan).await?;
        }
    }
}

/// The steps that the policy wants, given these keys.
pub(super) fn wanted_steps(rows: &[KeyRow], planning: &Planning) -> Result<Vec<Step>, Fault> {
    let keys: Vec<RingKey> = rows.iter().map(KeyRow::as_ring_key).collect::<Result<_, _>>()?;
    Ok(plan(&keys, &planning.policy, planning.now))
}

async fn take_step(tx: &mut Tx, step: Step, planning: &mut Planning, wanted: Wanted) -> Result<(), Fault> {
    let now = planning.now.0;
    let (action, kid) = match step {
        Step::CreateNext => {
            let Some(Candidate { kid, sealed_jwk }) = planning.candidate.take() else { return Ok(()) };
            let ring = planning.policy.alg.as_str();
            let written = on!(&mut *tx, conn => sqlx::query(INSERT_KEY)
                .bind(&kid)
                .bind(ring)
                .bind(sealed_jwk)
                .bind(now)
                .bind(planning.purpose)
                .execute(conn)
                .await
                .map(drop));
            written.map(|()| ("key.published", kid))
        }
        Step::Activate(kid) => {
            on!(&mut *tx, conn => sqlx::query(ACTIVATE_KEY).bind(&kid).bind(now).execute(conn).await.map(drop))
                .map(|()| ("key.activated", kid))
        }
        Step::Retire(kid) => {
            on!(&mut *tx, conn => sqlx::query(RETIRE_KEY).bind(&kid).bind(now).execute(conn).await.map(drop))
                .map(|()| ("key.retired", kid))
        }
        Step::Drop(kid) => {
            on!(&mut *tx, conn => sqlx::query(DELETE_KEY).bind(&kid).execute(conn).await.map(drop))
                .map(|()| ("key.removed", kid))
        }
    }
    .map_err(while_doing("take a step of the key plan"))?;
    write_audit(tx, planning, (action, &kid), wanted).await
}

/// Says in the audit what was done to a key, in the transaction that does it.
async fn write_audit(
    tx: &mut Tx,
    planning: &mut Planning,
    (action, kid): (&'static str, &str),
    wanted: Wanted,
) -> Result<(), Fault> {
    let blank = planning.audit.pop();
    let blank = blank.ok_or_else(|| Fault::new("take a step of the key plan: there are too many at once"))?;
    let by = match wanted {
        Wanted::ByPlan => "plan",
        Wanted::ByOperator => "operator",
    };
    let details = json!({ "ring": planning.purpose, "by": by });
    insert_audit(tx, &[NewAudit { action, object_id: kid.to_owned(), details, ..blank }]).await
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
