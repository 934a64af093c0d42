//! Rows of `subject`.

use chassis::{
    db::{Fault, Tx, while_doing},
    on, row,
};
use keys::UnixSeconds;

use super::known;
use crate::domain::{
    Status,
    subject::{Subject, SubjectKind},
};

struct Row {
    sub: String,
    partner_id: String,
    external_id: String,
    status: String,
}
row!(Row { sub, partner_id, external_id, status });

impl Row {
    fn subject(self) -> Result<Subject, Fault> {
        Ok(Subject {
            status: known(&self.status, "subject.status")?,
            sub: self.sub,
            partner_id: self.partner_id,
            external_id: self.external_id,
        })
    }
}

const INSERT: &str = "INSERT INTO subject (sub, partner_id, kind, external_id, status, created_at_s)
    VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING";

/// Inserts a registered subject; `false` when the partner already has the external id.
pub async fn insert_subject(tx: &mut Tx, subject: &Subject, now: UnixSeconds) -> Result<bool, Fault> {
    on!(tx, conn => sqlx::query(INSERT)
        .bind(subject.sub.as_str())
        .bind(subject.partner_id.as_str())
        .bind(SubjectKind::Registered.as_str())
        .bind(subject.external_id.as_str())
        .bind(subject.status.as_str())
        .bind(now.0)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
    .map_err(while_doing("insert subject"))
}

const FIND: &str = "SELECT sub, partner_id, external_id, status FROM subject
    WHERE sub = $1 AND ($2 = '' OR partner_id = $2)";

/// The subject `sub` of the partner, or of any partner when `partner_id` is empty.
pub async fn find_subject(tx: &mut Tx, partner_id: &str, sub: &str) -> Result<Option<Subject>, Fault> {
    on!(tx, conn => sqlx::query_as::<_, Row>(FIND).bind(sub).bind(partner_id).fetch_optional(conn).await)
        .map_err(while_doing("find subject"))?
        .map(Row::subject)
        .transpose()
}

const FIND_EXTERNAL: &str = "SELECT sub, partner_id, external_id, status FROM subject
    WHERE partner_id = $1 AND kind = $2 AND external_id = $3";

/// The partner's registered subject with this external id.
pub async fn find_registered(
    tx: &mut Tx,
    partner_id: &str,
    external_id: &str,
) -> Result<Option<Subject>, Fault> {
    on!(tx, conn => sqlx::query_as::<_, Row>(FIND_EXTERNAL)
        .bind(partner_id)
        .bind(SubjectKind::Registered.as_str())
        .bind(external_id)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("find registered subject"))?
    .map(Row::subject)
    .transpose()
}

const SET_STATUS: &str = "UPDATE subject SET status = $3 WHERE sub = $1 AND ($2 = '' OR partner_id = $2)
    RETURNING sub, partner_id, external_id, status";

/// Sets the status and returns the subject, or `None` when the partner (empty: any) has none.
pub async fn set_subject_status(
    tx: &mut Tx,
    partner_id: &str,
    sub: &str,
    status: Status,
) -> Result<Option<Subject>, Fault> {
    on!(tx, conn => sqlx::query_as::<_, Row>(SET_STATUS)
        .bind(sub)
        .bind(partner_id)
        .bind(status.as_str())
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("set subject status"))?
    .map(Row::subject)
    .transpose()
}

const NOT_ACTIVE: &str = "SELECT sub, partner_id, external_id, status FROM subject
    WHERE status <> 'active' ORDER BY partner_id, sub";

/// Every subject that is not active, of all partners.
pub async fn list_not_active(tx: &mut Tx) -> Result<Vec<Subject>, Fault> {
    on!(tx, conn => sqlx::query_as::<_, Row>(NOT_ACTIVE).fetch_all(conn).await)
        .map_err(while_doing("list subjects that are not active"))?
        .into_iter()
        .map(Row::subject)
        .collect()
}
