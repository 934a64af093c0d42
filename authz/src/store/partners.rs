//! Rows of `partner`.

use chassis::{
    db::{Fault, Tx, while_doing},
    on, row,
};
use keys::UnixSeconds;

use super::{from_json, known, to_json};
use crate::domain::{Status, partner::Partner};

struct Row {
    partner_id: String,
    alias: String,
    name: String,
    status: String,
    is_platform: bool,
    dialects: String,
}
row!(Row { partner_id, alias, name, status, is_platform, dialects });

impl Row {
    fn partner(self) -> Result<Partner, Fault> {
        Ok(Partner {
            status: known(&self.status, "partner.status")?,
            dialects: from_json(&self.dialects, "partner.dialects")?,
            id: self.partner_id,
            alias: self.alias,
            name: self.name,
            is_platform: self.is_platform,
        })
    }
}

macro_rules! columns {
    () => {
        "partner_id, alias, name, status, is_platform, dialects"
    };
}

const INSERT: &str =
    "INSERT INTO partner (partner_id, alias, name, status, is_platform, dialects, created_at_s)
    VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING";

/// Inserts the partner; `false` when its id or alias is taken.
pub async fn insert_partner(tx: &mut Tx, partner: &Partner, now: UnixSeconds) -> Result<bool, Fault> {
    let dialects = to_json(&partner.dialects, "partner.dialects")?;
    on!(tx, conn => sqlx::query(INSERT)
        .bind(partner.id.as_str())
        .bind(partner.alias.as_str())
        .bind(partner.name.as_str())
        .bind(partner.status.as_str())
        .bind(partner.is_platform)
        .bind(dialects.as_str())
        .bind(now.0)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
    .map_err(while_doing("insert partner"))
}

const UPDATE: &str = "UPDATE partner SET name = $2, status = $3, is_platform = $4, dialects = $5
    WHERE partner_id = $1";

/// Overwrites everything but id and alias.
pub async fn update_partner(tx: &mut Tx, partner: &Partner) -> Result<(), Fault> {
    let dialects = to_json(&partner.dialects, "partner.dialects")?;
    on!(tx, conn => sqlx::query(UPDATE)
        .bind(partner.id.as_str())
        .bind(partner.name.as_str())
        .bind(partner.status.as_str())
        .bind(partner.is_platform)
        .bind(dialects.as_str())
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("update partner"))
}

const SET_STATUS: &str =
    concat!("UPDATE partner SET status = $2 WHERE partner_id = $1 RETURNING ", columns!());

/// Sets the status and returns the partner, or `None` when there is none.
pub async fn set_partner_status(tx: &mut Tx, id: &str, status: Status) -> Result<Option<Partner>, Fault> {
    on!(tx, conn => sqlx::query_as::<_, Row>(SET_STATUS)
        .bind(id)
        .bind(status.as_str())
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("set partner status"))?
    .map(Row::partner)
    .transpose()
}

const FIND: &str = concat!("SELECT ", columns!(), " FROM partner WHERE partner_id = $1");
const FIND_BY_ALIAS: &str = concat!("SELECT ", columns!(), " FROM partner WHERE alias = $1");

/// The partner with this id.
pub async fn find_partner(tx: &mut Tx, id: &str) -> Result<Option<Partner>, Fault> {
    find(tx, FIND, id).await
}

/// The partner with this alias.
pub async fn find_partner_by_alias(tx: &mut Tx, alias: &str) -> Result<Option<Partner>, Fault> {
    find(tx, FIND_BY_ALIAS, alias).await
}

async fn find(tx: &mut Tx, sql: &'static str, key: &str) -> Result<Option<Partner>, Fault> {
    on!(tx, conn => sqlx::query_as::<_, Row>(sql).bind(key).fetch_optional(conn).await)
        .map_err(while_doing("find partner"))?
        .map(Row::partner)
        .transpose()
}

const LIST: &str =
    concat!("SELECT ", columns!(), " FROM partner WHERE partner_id > $1 ORDER BY partner_id LIMIT $2");

/// Up to `limit` partners after the id `after` (empty: from the first), in id order.
pub async fn list_partners(tx: &mut Tx, after: &str, limit: i64) -> Result<Vec<Partner>, Fault> {
    on!(tx, conn => sqlx::query_as::<_, Row>(LIST).bind(after).bind(limit).fetch_all(conn).await)
        .map_err(while_doing("list partners"))?
        .into_iter()
        .map(Row::partner)
        .collect()
}
