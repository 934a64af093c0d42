//! Tables `kyc_profile`, `kyc_decision` and `kyc_job`.

use chassis::sqlx;
use chassis::{Fault, Tx, on, row, while_doing};
use keys::UnixSeconds;

use super::rows::word;
use crate::domain::kyc::{KycProfile, KycStatus};

/// A decision about a customer's level.
#[derive(Debug, Clone)]
pub struct NewDecision {
    /// The tenant.
    pub partner_id: String,
    /// `kyd_…`
    pub decision_id: String,
    /// The customer.
    pub customer_id: String,
    /// The level from now on.
    pub level: i64,
    /// The status from now on.
    pub status: KycStatus,
    /// Fields still needed for the next level that rules can give.
    pub missing_fields: Vec<String>,
    /// Why, as codes.
    pub reason_codes: Vec<String>,
    /// `rules`, or who decided.
    pub decided_by: String,
    /// The personal data it is based on; a decision on an older version does not count. `None`: whatever is there.
    pub pii_version: Option<i64>,
    /// The moment.
    pub now: UnixSeconds,
}

struct BeforeRow {
    kyc_level: i64,
    kyc_status: String,
    pii_version: i64,
}

row!(BeforeRow { kyc_level, kyc_status, pii_version });

/// What a decision did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// It counts, and level or status became another.
    Changed,
    /// It counts, and says what held already; no decision row was written.
    AsBefore,
    /// The personal data changed meanwhile, or there is no such customer.
    Stale,
}

const LOCK: &str = "UPDATE customer SET version = version + 1
    WHERE partner_id = $1 AND customer_id = $2 AND ($3 < 0 OR pii_version = $3)
    RETURNING kyc_level, kyc_status, pii_version";

const SET: &str = "UPDATE customer SET kyc_level = $3, kyc_status = $4, updated_at_s = $5
    WHERE partner_id = $1 AND customer_id = $2";

const INSERT_DECISION: &str =
    "INSERT INTO kyc_decision (partner_id, decision_id, customer_id, from_level, to_level,
        outcome, reason_codes, decided_by, pii_version, decided_at_s)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

const UPSERT_PROFILE: &str = "INSERT INTO kyc_profile (partner_id, customer_id, missing_fields, reason_codes,
        pii_version, updated_at_s)
    VALUES ($1, $2, $3, $4, $5, $6)
    ON CONFLICT (partner_id, customer_id) DO UPDATE
    SET missing_fields = excluded.missing_fields, reason_codes = excluded.reason_codes,
        pii_version = excluded.pii_version, updated_at_s = excluded.updated_at_s";

/// Applies a decision: customer, profile and, if level or status change, an append-only decision row.
pub async fn decide(tx: &mut Tx, decision: &NewDecision) -> Result<Decided, Fault> {
    let before: Option<BeforeRow> = on!(tx, conn => sqlx::query_as(LOCK)
        .bind(&decision.partner_id)
        .bind(&decision.customer_id)
        .bind(decision.pii_version.unwrap_or(-1))
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("lock customer for a KYC decision"))?;
    let Some(before) = before else { return Ok(Decided::Stale) };
    upsert_profile(tx, decision, before.pii_version).await?;
    let status: KycStatus = word(&before.kyc_status, "customer.kyc_status")?;
    if before.kyc_level == decision.level && status == decision.status {
        return Ok(Decided::AsBefore);
    }
    on!(tx, conn => sqlx::query(SET)
        .bind(&decision.partner_id)
        .bind(&decision.customer_id)
        .bind(decision.level)
        .bind(decision.status.as_str())
        .bind(decision.now.0)
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("set KYC level"))?;
    on!(tx, conn => sqlx::query(INSERT_DECISION)
        .bind(&decision.partner_id)
        .bind(&decision.decision_id)
        .bind(&decision.customer_id)
        .bind(before.kyc_level)
        .bind(decision.level)
        .bind(decision.status.as_str())
        .bind(json_list(&decision.reason_codes)?)
        .bind(&decision.decided_by)
        .bind(before.pii_version)
        .bind(decision.now.0)
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("insert KYC decision"))?;
    Ok(Decided::Changed)
}

async fn upsert_profile(tx: &mut Tx, decision: &NewDecision, pii_version: i64) -> Result<(), Fault> {
    let missing_fields = json_list(&decision.missing_fields)?;
    let reason_codes = json_list(&decision.reason_codes)?;
    on!(tx, conn => sqlx::query(UPSERT_PROFILE)
        .bind(&decision.partner_id)
        .bind(&decision.customer_id)
        .bind(&missing_fields)
        .bind(&reason_codes)
        .bind(pii_version)
        .bind(decision.now.0)
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("store KYC profile"))
}

fn json_list(list: &[String]) -> Result<String, Fault> {
    serde_json::to_string(list).map_err(while_doing("write a list as JSON"))
}

struct ProfileRow {
    missing_fields: String,
    reason_codes: String,
    pii_version: i64,
    updated_at_s: i64,
}

row!(ProfileRow { missing_fields, reason_codes, pii_version, updated_at_s });

const FIND_PROFILE: &str = "SELECT missing_fields, reason_codes, pii_version, updated_at_s FROM kyc_profile
    WHERE partner_id = $1 AND customer_id = $2";

/// The profile of a customer; `None` before the first assessment or decision.
pub async fn find_profile(
    tx: &mut Tx,
    partner_id: &str,
    customer_id: &str,
) -> Result<Option<KycProfile>, Fault> {
    let row: Option<ProfileRow> =
        on!(tx, conn => sqlx::query_as(FIND_PROFILE).bind(partner_id).bind(customer_id).fetch_optional(conn).await)
            .map_err(while_doing("find KYC profile"))?;
    let list = |text: &str| serde_json::from_str(text).map_err(while_doing("read a list from JSON"));
    row.map(|row| {
        Ok(KycProfile {
            missing_fields: list(&row.missing_fields)?,
            reason_codes: list(&row.reason_codes)?,
            pii_version: row.pii_version,
            updated_at: UnixSeconds(row.updated_at_s),
        })
    })
    .transpose()
}

/// A decision that was taken about a customer's level.
#[derive(Debug, Clone)]
pub struct PastDecision {
    /// `kyd_…`
    pub decision_id: String,
    /// The level from then on.
    pub level: i64,
    /// The status from then on.
    pub status: KycStatus,
    /// Why, as codes.
    pub reason_codes: Vec<String>,
    /// Whether the rules decided, and not a person.
    pub by_rules: bool,
    /// When.
    pub decided_at: UnixSeconds,
}

struct PastRow {
    decision_id: String,
    to_level: i64,
    outcome: String,
    reason_codes: String,
    decided_by: String,
    decided_at_s: i64,
}

row!(PastRow { decision_id, to_level, outcome, reason_codes, decided_by, decided_at_s });

/// A decision with this id, or with an empty one all of them, oldest first.
const LIST_DECISIONS: &str = "SELECT decision_id, to_level, outcome, reason_codes, decided_by, decided_at_s
    FROM kyc_decision WHERE partner_id = $1 AND customer_id = $2 AND ($3 = '' OR decision_id = $3)
    ORDER BY decided_at_s, decision_id LIMIT 1000";

/// The decisions about a customer, oldest first, at most 1,000; only the one with this id, unless it is empty.
pub async fn list_decisions(
    tx: &mut Tx,
    (partner_id, customer_id): (&str, &str),
    decision_id: &str,
) -> Result<Vec<PastDecision>, Fault> {
    let rows: Vec<PastRow> = on!(tx, conn => sqlx::query_as(LIST_DECISIONS)
        .bind(partner_id)
        .bind(customer_id)
        .bind(decision_id)
        .fetch_all(conn)
        .await)
    .map_err(while_doing("list KYC decisions"))?;
    rows.into_iter()
        .map(|row| {
            Ok(PastDecision {
                status: word(&row.outcome, "kyc_decision.outcome")?,
                reason_codes: serde_json::from_str(&row.reason_codes)
                    .map_err(while_doing("read a list from JSON"))?,
                by_rules: row.decided_by == "rules",
                decision_id: row.decision_id,
                level: row.to_level,
                decided_at: UnixSeconds(row.decided_at_s),
            })
        })
        .collect()
}

const ENQUEUE: &str =
    "INSERT INTO kyc_job (partner_id, customer_id, pii_version, identity_changed, due_at_s, attempt)
    SELECT partner_id, customer_id, pii_version, $3, $4, 0 FROM customer WHERE partner_id = $1 AND customer_id = $2
    ON CONFLICT (partner_id, customer_id) DO UPDATE SET due_at_s = excluded.due_at_s, attempt = 0";

/// Queues a look at a customer whose data did not change.
pub async fn enqueue(
    tx: &mut Tx,
    (partner_id, customer_id): (&str, &str),
    now: UnixSeconds,
) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query(ENQUEUE)
        .bind(partner_id)
        .bind(customer_id)
        .bind(false)
        .bind(now.0)
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("queue a KYC look"))
}

/// Work to be done: a customer whose personal data changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KycJob {
    /// The tenant.
    pub partner_id: String,
    /// The customer.
    pub customer_id: String,
    /// The version to look at.
    pub pii_version: i64,
    /// A known name or birth date became another.
    pub identity_changed: bool,
    /// How often it was tried before.
    pub attempt: i64,
}

row!(KycJob { partner_id, customer_id, pii_version, identity_changed, attempt });

const HAS_DUE: &str = "SELECT customer_id FROM kyc_job WHERE due_at_s <= $1 LIMIT 1";

/// Whether a job is due: asked often, so it takes no write.
pub async fn has_due_job(tx: &mut Tx, now: UnixSeconds) -> Result<bool, Fault> {
    let found: Option<(String,)> =
        on!(tx, conn => sqlx::query_as(HAS_DUE).bind(now.0).fetch_optional(conn).await)
            .map_err(while_doing("look for KYC jobs"))?;
    Ok(found.is_some())
}

const TAKE_DUE: &str = "UPDATE kyc_job SET due_at_s = $2, attempt = attempt + 1
    WHERE (partner_id, customer_id) IN
        (SELECT partner_id, customer_id FROM kyc_job WHERE due_at_s <= $1 ORDER BY due_at_s LIMIT $3)
      AND due_at_s <= $1
    RETURNING partner_id, customer_id, pii_version, identity_changed, attempt";

/// Takes up to `limit` due jobs and pushes them on to `retry_at`, when another worker may try a job that this one
/// did not finish. Of two workers one gets a job.
pub async fn take_due_jobs(
    tx: &mut Tx,
    now: UnixSeconds,
    retry_at: UnixSeconds,
    limit: i64,
) -> Result<Vec<KycJob>, Fault> {
    on!(tx, conn => sqlx::query_as(TAKE_DUE).bind(now.0).bind(retry_at.0).bind(limit).fetch_all(conn).await)
        .map_err(while_doing("take KYC jobs"))
}

const FINISH: &str = "DELETE FROM kyc_job WHERE partner_id = $1 AND customer_id = $2 AND pii_version = $3";

/// Ends a job. It stays when the personal data changed meanwhile.
pub async fn finish_job(tx: &mut Tx, job: &KycJob) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query(FINISH)
        .bind(&job.partner_id)
        .bind(&job.customer_id)
        .bind(job.pii_version)
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("end a KYC job"))
}
