//! Table `entity`.

use chassis::sqlx;
use chassis::{Fault, Tx, on, row, while_doing};
use keys::UnixSeconds;

use super::rows::{Listing, many, placeholders, word};
use crate::domain::entity::{Entity, EntityKind};

/// An entity to make; it is activated at once.
#[derive(Debug, Clone)]
pub struct NewEntity {
    /// The tenant.
    pub partner_id: String,
    /// `ent_…`
    pub entity_id: String,
    /// What it is for.
    pub kind: EntityKind,
    /// The customer's id for a wallet, else the partner's.
    pub owner_id: String,
    /// The owner's name for it.
    pub label: Option<String>,
    /// ISO 4217.
    pub currency: String,
    /// The moment.
    pub now: UnixSeconds,
}

struct EntityRow {
    partner_id: String,
    entity_id: String,
    kind: String,
    owner_id: String,
    label: Option<String>,
    currency: String,
    status: String,
    version: i64,
    created_at_s: i64,
    updated_at_s: i64,
    owner_sub: Option<String>,
    owner_status: Option<String>,
}

row!(EntityRow {
    partner_id,
    entity_id,
    kind,
    owner_id,
    label,
    currency,
    status,
    version,
    created_at_s,
    updated_at_s,
    owner_sub,
    owner_status,
});

impl TryFrom<EntityRow> for Entity {
    type Error = Fault;

    fn try_from(row: EntityRow) -> Result<Self, Fault> {
        Ok(Self {
            kind: word(&row.kind, "entity.kind")?,
            status: word(&row.status, "entity.status")?,
            owner_status: row.owner_status.map(|text| word(&text, "customer.status")).transpose()?,
            partner_id: row.partner_id,
            entity_id: row.entity_id,
            owner_id: row.owner_id,
            label: row.label,
            currency: row.currency,
            version: row.version,
            created_at: UnixSeconds(row.created_at_s),
            updated_at: UnixSeconds(row.updated_at_s),
            owner_sub: row.owner_sub,
        })
    }
}

const INSERT: &str =
    "INSERT INTO entity (partner_id, entity_id, kind, owner_id, label, currency, status, version,
        created_at_s, updated_at_s)
    VALUES ($1, $2, $3, $4, $5, $6, 'activated', 1, $7, $7)
    ON CONFLICT DO NOTHING";

/// Makes an entity. False when its owner has one of this label already.
pub async fn insert(tx: &mut Tx, new: &NewEntity) -> Result<bool, Fault> {
    let inserted = on!(tx, conn => sqlx::query(INSERT)
        .bind(&new.partner_id)
        .bind(&new.entity_id)
        .bind(new.kind.as_str())
        .bind(&new.owner_id)
        .bind(&new.label)
        .bind(&new.currency)
        .bind(new.now.0)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("insert entity"))?;
    Ok(inserted == 1)
}

/// An entity with the two facts about its owner that rules ask for.
const SELECT: &str = "SELECT entity.*, customer.sub AS owner_sub, customer.status AS owner_status
    FROM entity
    LEFT JOIN customer ON customer.partner_id = entity.partner_id AND customer.customer_id = entity.owner_id";

/// An entity by its id.
pub async fn find(tx: &mut Tx, partner_id: &str, entity_id: &str) -> Result<Option<Entity>, Fault> {
    Ok(find_many(tx, &[(partner_id, entity_id)]).await?.pop())
}

const WANTED: &str = "WITH wanted (partner_id, entity_id) AS (VALUES";

/// A join and not `IN`: SQLite would read the whole table for a list of pairs.
const FIND_WANTED: &str = ")
    SELECT entity.*, customer.sub AS owner_sub, customer.status AS owner_status
    FROM wanted
    JOIN entity ON entity.partner_id = wanted.partner_id AND entity.entity_id = wanted.entity_id
    LEFT JOIN customer ON customer.partner_id = entity.partner_id AND customer.customer_id = entity.owner_id";

/// Entities by (partner, entity), in no particular order; those that do not exist are left out.
pub async fn find_many(tx: &mut Tx, wanted: &[(&str, &str)]) -> Result<Vec<Entity>, Fault> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let values = placeholders(1, wanted.len(), 2);
    let rows: Vec<EntityRow> = on!(tx, conn => {
        let mut query = sqlx::query_as(many(WANTED, &values, FIND_WANTED));
        for (partner_id, entity_id) in wanted {
            query = query.bind(*partner_id).bind(*entity_id);
        }
        query.fetch_all(conn).await
    })
    .map_err(while_doing("find entities"))?;
    rows.into_iter().map(Entity::try_from).collect()
}

/// Entities of a partner, newest first, at most `limit`, after the id `after` (empty: from the newest); only those of
/// one owner, if that is given.
pub async fn list(
    tx: &mut Tx,
    partner_id: &str,
    owner_id: Option<&str>,
    after: &str,
    limit: i64,
) -> Result<Vec<Entity>, Fault> {
    let (sql, texts) = Listing::new(SELECT, "entity.partner_id =", partner_id)
        .and("entity.owner_id =", owner_id)
        .newest_first("entity.entity_id", "entity.entity_id <", after);
    let rows: Vec<EntityRow> = on!(tx, conn => {
        let mut query = sqlx::query_as(sql);
        for text in &texts {
            query = query.bind(text);
        }
        query.bind(limit).fetch_all(conn).await
    })
    .map_err(while_doing("list entities"))?;
    rows.into_iter().map(Entity::try_from).collect()
}
