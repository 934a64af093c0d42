//! Rows of `client` and `client_key`.

use std::collections::HashMap;

use chassis::{
    db::{Fault, Tx, while_doing},
    on, row,
};
use keys::UnixSeconds;

use super::{from_json, known, to_json};
use crate::domain::{
    Status,
    audience::Policy,
    client::{Client, ClientKey, ClientSettings, OldSecret},
};

struct Row {
    client_id: String,
    partner_id: String,
    alias: String,
    status: String,
    auth_method: String,
    secret_mac: Option<String>,
    scope: String,
    grant_types: String,
    profile: String,
    allowed_origins: String,
    access_token_ttl_s: Option<i64>,
    legacy_assertion_audience: bool,
    dpop_required: bool,
    created_at_s: i64,
    old_secret_mac: Option<String>,
    old_secret_expires_at_s: Option<i64>,
}
row!(Row {
    client_id,
    partner_id,
    alias,
    status,
    auth_method,
    secret_mac,
    scope,
    grant_types,
    profile,
    allowed_origins,
    access_token_ttl_s,
    legacy_assertion_audience,
    dpop_required,
    created_at_s,
    old_secret_mac,
    old_secret_expires_at_s
});

macro_rules! columns {
    () => {
        "client_id, partner_id, alias, status, auth_method, secret_mac, scope, grant_types, profile,
        allowed_origins, access_token_ttl_s, legacy_assertion_audience, dpop_required, created_at_s,
        (SELECT old.secret_mac FROM client_old_secret old WHERE old.client_id = client.client_id) AS old_secret_mac,
        (SELECT old.expires_at_s FROM client_old_secret old WHERE old.client_id = client.client_id)
            AS old_secret_expires_at_s"
    };
}

impl Row {
    fn client(self, keys: Vec<ClientKey>) -> Result<Client, Fault> {
        Ok(Client {
            id: self.client_id,
            partner_id: self.partner_id,
            status: known(&self.status, "client.status")?,
            secret_mac: self.secret_mac,
            old_secret: self
                .old_secret_mac
                .zip(self.old_secret_expires_at_s)
                .map(|(mac, at)| OldSecret { mac, expires_at: UnixSeconds(at) }),
            created_at: UnixSeconds(self.created_at_s),
            settings: ClientSettings {
                alias: self.alias,
                auth_method: known(&self.auth_method, "client.auth_method")?,
                scope: Policy::new(known(&self.scope, "client.scope")?),
                grant_types: from_json(&self.grant_types, "client.grant_types")?,
                profile: known(&self.profile, "client.profile")?,
                allowed_origins: from_json(&self.allowed_origins, "client.allowed_origins")?,
                access_token_ttl_s: self.access_token_ttl_s,
                legacy_assertion_audience: self.legacy_assertion_audience,
                dpop_required: self.dpop_required,
                keys,
            },
        })
    }
}

const INSERT: &str =
    "INSERT INTO client (client_id, partner_id, alias, status, auth_method, secret_mac, scope,
    grant_types, profile, allowed_origins, access_token_ttl_s, legacy_assertion_audience, created_at_s,
    dpop_required)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING";

/// Inserts the client with its keys; `false` when its id, or its alias within the partner, is taken.
pub async fn insert_client(tx: &mut Tx, client: &Client) -> Result<bool, Fault> {
    let settings = &client.settings;
    let grant_types = to_json(&settings.grant_types, "client.grant_types")?;
    let allowed_origins = to_json(&settings.allowed_origins, "client.allowed_origins")?;
    let scope = settings.scope.scope().to_string();
    let inserted = on!(tx, conn => sqlx::query(INSERT)
        .bind(client.id.as_str())
        .bind(client.partner_id.as_str())
        .bind(settings.alias.as_str())
        .bind(client.status.as_str())
        .bind(settings.auth_method.as_str())
        .bind(client.secret_mac.as_deref())
        .bind(scope.as_str())
        .bind(grant_types.as_str())
        .bind(settings.profile.as_str())
        .bind(allowed_origins.as_str())
        .bind(settings.access_token_ttl_s)
        .bind(settings.legacy_assertion_audience)
        .bind(client.created_at.0)
        .bind(settings.dpop_required)
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
    .map_err(while_doing("insert client"))?;
    if inserted {
        insert_keys(tx, &client.id, &settings.keys).await?;
    }
    Ok(inserted)
}

const UPDATE: &str = "UPDATE client SET status = $2, auth_method = $3, secret_mac = $4, scope = $5,
    grant_types = $6, profile = $7, allowed_origins = $8, access_token_ttl_s = $9, legacy_assertion_audience = $10,
    dpop_required = $11 WHERE client_id = $1";

/// Overwrites everything but id, partner and alias, keys included.
pub async fn update_client(tx: &mut Tx, client: &Client) -> Result<(), Fault> {
    let settings = &client.settings;
    let grant_types = to_json(&settings.grant_types, "client.grant_types")?;
    let allowed_origins = to_json(&settings.allowed_origins, "client.allowed_origins")?;
    let scope = settings.scope.scope().to_string();
    on!(tx, conn => sqlx::query(UPDATE)
        .bind(client.id.as_str())
        .bind(client.status.as_str())
        .bind(settings.auth_method.as_str())
        .bind(client.secret_mac.as_deref())
        .bind(scope.as_str())
        .bind(grant_types.as_str())
        .bind(settings.profile.as_str())
        .bind(allowed_origins.as_str())
        .bind(settings.access_token_ttl_s)
        .bind(settings.legacy_assertion_audience)
        .bind(settings.dpop_required)
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("update client"))?;
    on!(tx, conn => sqlx::query("DELETE FROM client_key WHERE client_id = $1")
        .bind(client.id.as_str())
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("delete client keys"))?;
    insert_keys(tx, &client.id, &settings.keys).await
}

const INSERT_KEY: &str = "INSERT INTO client_key (client_id, kid, key_use, jwk) VALUES ($1, $2, $3, $4)";

async fn insert_keys(tx: &mut Tx, client_id: &str, keys: &[ClientKey]) -> Result<(), Fault> {
    for key in keys {
        let jwk = key.jwk.to_value().to_string();
        on!(tx, conn => sqlx::query(INSERT_KEY)
            .bind(client_id)
            .bind(key.kid.as_str())
            .bind(key.key_use.as_str())
            .bind(jwk.as_str())
            .execute(conn)
            .await
            .map(drop))
        .map_err(while_doing("insert client key"))?;
    }
    Ok(())
}

const SET_STATUS: &str = "UPDATE client SET status = $3 WHERE partner_id = $1 AND client_id = $2";

/// Sets the status; `false` when the partner has no such client.
pub async fn set_client_status(
    tx: &mut Tx,
    partner_id: &str,
    client_id: &str,
    status: Status,
) -> Result<bool, Fault> {
    on!(tx, conn => sqlx::query(SET_STATUS)
        .bind(partner_id)
        .bind(client_id)
        .bind(status.as_str())
        .execute(conn)
        .await
        .map(|done| done.rows_affected() == 1))
    .map_err(while_doing("set client status"))
}

const FIND: &str = concat!("SELECT ", columns!(), " FROM client WHERE client_id = $1");
const FIND_BY_ALIAS: &str =
    concat!("SELECT ", columns!(), " FROM client WHERE partner_id = $1 AND alias = $2");

/// The client with this id, of any partner.
pub async fn find_client(tx: &mut Tx, client_id: &str) -> Result<Option<Client>, Fault> {
    let found = on!(tx, conn => sqlx::query_as::<_, Row>(FIND).bind(client_id).fetch_optional(conn).await)
        .map_err(while_doing("find client"))?;
    with_keys(tx, found).await
}

/// The partner's client with this alias.
pub async fn find_client_by_alias(
    tx: &mut Tx,
    partner_id: &str,
    alias: &str,
) -> Result<Option<Client>, Fault> {
    let found = on!(tx, conn => sqlx::query_as::<_, Row>(FIND_BY_ALIAS)
        .bind(partner_id)
        .bind(alias)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("find client by alias"))?;
    with_keys(tx, found).await
}

async fn with_keys(tx: &mut Tx, found: Option<Row>) -> Result<Option<Client>, Fault> {
    let Some(row) = found else { return Ok(None) };
    let keys =
        keys_between(tx, &row.client_id, &row.client_id).await?.remove(&row.client_id).unwrap_or_default();
    row.client(keys).map(Some)
}

const LIST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM client WHERE client_id > $1 AND ($2 = '' OR partner_id = $2) ORDER BY client_id LIMIT $3"
);

/// Up to `limit` clients after the id `after`, in id order; of one partner, or of all when `partner_id` is empty.
pub async fn list_clients(
    tx: &mut Tx,
    partner_id: &str,
    after: &str,
    limit: i64,
) -> Result<Vec<Client>, Fault> {
    let rows = on!(tx, conn => sqlx::query_as::<_, Row>(LIST)
        .bind(after)
        .bind(partner_id)
        .bind(limit)
        .fetch_all(conn)
        .await)
    .map_err(while_doing("list clients"))?;
    let (Some(first), Some(last)) = (rows.first(), rows.last()) else { return Ok(Vec::new()) };
    let mut keys = keys_between(tx, &first.client_id, &last.client_id).await?;
    rows.into_iter()
        .map(|row| {
            let own = keys.remove(&row.client_id).unwrap_or_default();
            row.client(own)
        })
        .collect()
}

struct KeyRow {
    client_id: String,
    key_use: String,
    jwk: String,
}
row!(KeyRow { client_id, key_use, jwk });

const KEYS: &str = "SELECT client_id, key_use, jwk FROM client_key
    WHERE client_id >= $1 AND client_id <= $2 ORDER BY client_id, kid";

async fn keys_between(
    tx: &mut Tx,
    first: &str,
    last: &str,
) -> Result<HashMap<String, Vec<ClientKey>>, Fault> {
    let rows =
        on!(tx, conn => sqlx::query_as::<_, KeyRow>(KEYS).bind(first).bind(last).fetch_all(conn).await)
            .map_err(while_doing("list client keys"))?;
    let mut found: HashMap<String, Vec<ClientKey>> = HashMap::new();
    for row in rows {
        let key_use = known(&row.key_use, "client_key.key_use")?;
        let jwk = from_json::<serde_json::Value>(&row.jwk, "client_key.jwk")?;
        let key = ClientKey::from_jwk(key_use, &jwk)
            .map_err(|_| Fault::new("column client_key.jwk holds no key"))?;
        found.entry(row.client_id).or_default().push(key);
    }
    Ok(found)
}
