//! The webhook endpoints of a partner: where events go, which kinds, and the key that signs them.

use keys::UnixSeconds;
use keys::seal::MasterKeys;

use super::signature::{EndpointSecret, seal_seed};
use crate::db::{Tx, while_doing};
use crate::{Entropy, Fault, Platform, entropy, new_id, on, row};

/// The format of an endpoint that asked for no other: Standard Webhooks 1.0.
pub const STANDARD: &str = "standard";

/// An endpoint to be registered: its key pair is drawn and sealed, its row is not written yet.
#[derive(Debug, Clone)]
pub struct NewEndpoint {
    /// What the partner is told, and what the row will say.
    pub endpoint: Endpoint,
    secret_sealed: String,
}

/// A registered endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `whe_…`.
    pub endpoint_id: String,
    /// Whose endpoint it is.
    pub partner_id: String,
    /// Where events are sent.
    pub url: String,
    /// The kinds wanted: none means all, `fiat_in.*` means a family.
    pub event_kinds: Vec<String>,
    /// `whpk_` and the ed25519 public key in base64.
    pub public_key: String,
    /// How deliveries are written: [`STANDARD`], or the name of a dialect.
    pub format: String,
    /// The client to whose key deliveries are encrypted; empty for [`STANDARD`].
    pub recipient: String,
    /// Whether events are sent to it.
    pub enabled: bool,
    /// When it was registered.
    pub created_at: UnixSeconds,
    /// Since when deliveries to it have been given up without one being taken.
    pub failing_since: Option<UnixSeconds>,
}

impl Endpoint {
    /// Whether events of this kind are sent here.
    pub fn wants(&self, kind: &str) -> bool {
        wants(&self.event_kinds, kind)
    }
}

/// Whether a list of kinds covers one kind.
pub(super) fn wants(event_kinds: &[String], kind: &str) -> bool {
    let covers = |wanted: &String| match wanted.strip_suffix('*') {
        Some(family) => kind.starts_with(family),
        None => wanted == kind,
    };
    event_kinds.is_empty() || event_kinds.iter().any(covers)
}

/// A drawn key pair: the sealed seed and the public key.
struct DrawnKey {
    sealed: String,
    public_key: String,
}

fn draw_key(entropy: &dyn Entropy, master: &MasterKeys, owner: (&str, &str)) -> Result<DrawnKey, Fault> {
    let seed: [u8; 32] = entropy::bytes(entropy);
    let sealed = seal_seed(master, entropy::bytes(entropy), owner, &seed)?;
    Ok(DrawnKey { sealed, public_key: EndpointSecret::from_seed(seed)?.public_key()? })
}

impl NewEndpoint {
    /// Draws the id and the key pair of an endpoint; to be done before the transaction begins.
    /// The address is not judged here: see `Outbox::prepare_endpoint`.
    pub fn draw(
        platform: &Platform,
        master: &MasterKeys,
        partner_id: &str,
        url: &str,
        event_kinds: Vec<String>,
    ) -> Result<Self, Fault> {
        let endpoint_id = new_id("whe", &*platform.clock, &*platform.entropy);
        let key = draw_key(&*platform.entropy, master, (partner_id, &endpoint_id))?;
        let endpoint = Endpoint {
            endpoint_id,
            partner_id: partner_id.to_owned(),
            url: url.to_owned(),
            event_kinds,
            public_key: key.public_key,
            format: STANDARD.to_owned(),
            recipient: String::new(),
            enabled: true,
            created_at: platform.clock.now(),
            failing_since: None,
        };
        Ok(Self { endpoint, secret_sealed: key.sealed })
    }

    /// The same endpoint in another format, encrypted to the key of this client (see [`Envelope`](super::Envelope)).
    #[must_use]
    pub fn in_format(mut self, format: &str, recipient: &str) -> Self {
        format.clone_into(&mut self.endpoint.format);
        recipient.clone_into(&mut self.endpoint.recipient);
        self
    }
}

/// A new key pair for an endpoint; to be drawn before the transaction begins.
#[derive(Debug, Clone)]
pub struct NewSecret {
    /// `whpk_` and the new public key in base64.
    pub public_key: String,
    sealed: String,
    partner_id: String,
    endpoint_id: String,
}

impl NewSecret {
    /// Draws a key pair for the partner's endpoint.
    pub fn draw(
        entropy: &dyn Entropy,
        master: &MasterKeys,
        partner_id: &str,
        endpoint_id: &str,
    ) -> Result<Self, Fault> {
        let DrawnKey { sealed, public_key } = draw_key(entropy, master, (partner_id, endpoint_id))?;
        Ok(Self {
            public_key,
            sealed,
            partner_id: partner_id.to_owned(),
            endpoint_id: endpoint_id.to_owned(),
        })
    }
}

/// An endpoint as its row has it.
struct EndpointRow {
    endpoint_id: String,
    partner_id: String,
    url: String,
    event_kinds: String,
    public_key: String,
    format: String,
    recipient: String,
    status: String,
    created_at_s: i64,
    failing_since_s: Option<i64>,
}

row!(EndpointRow {
    endpoint_id,
    partner_id,
    url,
    event_kinds,
    public_key,
    format,
    recipient,
    status,
    created_at_s,
    failing_since_s
});

impl TryFrom<EndpointRow> for Endpoint {
    type Error = Fault;

    fn try_from(row: EndpointRow) -> Result<Self, Fault> {
        Ok(Self {
            event_kinds: read_kinds(&row.event_kinds)?,
            endpoint_id: row.endpoint_id,
            partner_id: row.partner_id,
            url: row.url,
            public_key: row.public_key,
            format: row.format,
            recipient: row.recipient,
            enabled: row.status == "enabled",
            created_at: UnixSeconds(row.created_at_s),
            failing_since: row.failing_since_s.map(UnixSeconds),
        })
    }
}

/// The kinds of an endpoint from their column.
pub(super) fn read_kinds(text: &str) -> Result<Vec<String>, Fault> {
    serde_json::from_str(text).map_err(|_| Fault::new("read the event kinds of a webhook endpoint"))
}

const INSERT: &str = "INSERT INTO webhook_endpoint
    (partner_id, endpoint_id, url, event_kinds, secret_sealed, public_key, status, created_at_s, format, recipient)
    VALUES ($1, $2, $3, $4, $5, $6, 'enabled', $7, $8, $9)";

/// Registers an endpoint. It gets the events that are numbered from now on.
pub async fn insert_endpoint(tx: &mut Tx, new: &NewEndpoint) -> Result<(), Fault> {
    let endpoint = &new.endpoint;
    let event_kinds = serde_json::Value::from(endpoint.event_kinds.clone()).to_string();
    on!(tx, conn => sqlx::query(INSERT)
        .bind(&endpoint.partner_id)
        .bind(&endpoint.endpoint_id)
        .bind(&endpoint.url)
        .bind(&event_kinds)
        .bind(&new.secret_sealed)
        .bind(&endpoint.public_key)
        .bind(endpoint.created_at.0)
        .bind(&endpoint.format)
        .bind(&endpoint.recipient)
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("insert webhook endpoint"))?;
    Ok(())
}

const FIND: &str =
    "SELECT endpoint_id, partner_id, url, event_kinds, public_key, format, recipient, status, created_at_s,
        failing_since_s FROM webhook_endpoint WHERE partner_id = $1 AND endpoint_id = $2";

/// The partner's endpoint, or `None` when it is unknown or another partner's.
pub async fn find_endpoint(
    tx: &mut Tx,
    partner_id: &str,
    endpoint_id: &str,
) -> Result<Option<Endpoint>, Fault> {
    let found: Option<EndpointRow> = on!(tx, conn => sqlx::query_as(FIND)
        .bind(partner_id)
        .bind(endpoint_id)
        .fetch_optional(conn)
        .await)
    .map_err(while_doing("find webhook endpoint"))?;
    found.map(Endpoint::try_from).transpose()
}

const LIST: &str =
    "SELECT endpoint_id, partner_id, url, event_kinds, public_key, format, recipient, status, created_at_s,
        failing_since_s FROM webhook_endpoint WHERE partner_id = $1 ORDER BY endpoint_id";

/// All endpoints of a partner, enabled or not, in the order of registration.
pub async fn list_endpoints(tx: &mut Tx, partner_id: &str) -> Result<Vec<Endpoint>, Fault> {
    let rows: Vec<EndpointRow> = on!(tx, conn => sqlx::query_as(LIST).bind(partner_id).fetch_all(conn).await)
        .map_err(while_doing("list webhook endpoints"))?;
    rows.into_iter().map(Endpoint::try_from).collect()
}

const SET_STATUS: &str = "UPDATE webhook_endpoint SET status = $3, failing_since_s = NULL
    WHERE partner_id = $1 AND endpoint_id = $2";

const SKIP_WAITING: &str = "UPDATE webhook_delivery SET state = 'skipped', next_attempt_at_s = NULL
    WHERE partner_id = $1 AND endpoint_id = $2 AND next_attempt_at_s IS NOT NULL
        AND state IN ('pending', 'retrying')";

/// Stops deliveries to an endpoint; those that wait are skipped, one under way is not called back.
/// `false` when the partner has no such endpoint.
pub async fn disable_endpoint(tx: &mut Tx, partner_id: &str, endpoint_id: &str) -> Result<bool, Fault> {
    if !set_status(tx, (partner_id, endpoint_id), "disabled").await? {
        return Ok(false);
    }
    on!(tx, conn => sqlx::query(SKIP_WAITING).bind(partner_id).bind(endpoint_id).execute(conn).await.map(drop))
        .map_err(while_doing("skip the deliveries of a disabled webhook endpoint"))?;
    Ok(true)
}

/// Sends events to an endpoint again, from the next one on; what it missed is asked for by `redeliver` or read from
/// the list of events. `false` when the partner has no such endpoint.
pub async fn enable_endpoint(tx: &mut Tx, partner_id: &str, endpoint_id: &str) -> Result<bool, Fault> {
    set_status(tx, (partner_id, endpoint_id), "enabled").await
}

const SET_FAILING: &str = "UPDATE webhook_endpoint SET failing_since_s = $3
    WHERE partner_id = $1 AND endpoint_id = $2 AND failing_since_s IS NULL";

/// Notes that deliveries to an endpoint are being given up. `true` for the first who notes it: the one to tell of it.
pub(super) async fn note_failing(
    tx: &mut Tx,
    partner_id: &str,
    endpoint_id: &str,
    now: UnixSeconds,
) -> Result<bool, Fault> {
    let changed = on!(tx, conn => sqlx::query(SET_FAILING)
        .bind(partner_id)
        .bind(endpoint_id)
        .bind(now.0)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("note a failing webhook endpoint"))?;
    Ok(changed == 1)
}

const SET_SOUND: &str =
    "UPDATE webhook_endpoint SET failing_since_s = NULL WHERE partner_id = $1 AND endpoint_id = $2";

/// Notes that an endpoint takes deliveries again.
pub(super) async fn note_sound(tx: &mut Tx, partner_id: &str, endpoint_id: &str) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query(SET_SOUND).bind(partner_id).bind(endpoint_id).execute(conn).await.map(drop))
        .map_err(while_doing("note a sound webhook endpoint"))
}

async fn set_status(tx: &mut Tx, owner: (&str, &str), status: &'static str) -> Result<bool, Fault> {
    let changed = on!(tx, conn => sqlx::query(SET_STATUS)
        .bind(owner.0)
        .bind(owner.1)
        .bind(status)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("set the status of a webhook endpoint"))?;
    Ok(changed == 1)
}

const ROTATE: &str = "UPDATE webhook_endpoint
    SET previous_sealed = secret_sealed, previous_until_s = $5, secret_sealed = $3, public_key = $4
    WHERE partner_id = $1 AND endpoint_id = $2";

/// Signs with a new key from now on, and with the one before it too until `previous_until`.
/// `false` when the partner has no such endpoint.
pub async fn rotate_secret(tx: &mut Tx, new: &NewSecret, previous_until: UnixSeconds) -> Result<bool, Fault> {
    let changed = on!(tx, conn => sqlx::query(ROTATE)
        .bind(&new.partner_id)
        .bind(&new.endpoint_id)
        .bind(&new.sealed)
        .bind(&new.public_key)
        .bind(previous_until.0)
        .execute(conn)
        .await
        .map(|done| done.rows_affected()))
    .map_err(while_doing("rotate the secret of a webhook endpoint"))?;
    Ok(changed == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_wants_all_kinds_a_family_or_one_kind() {
        let cases: [(&[&str], &str, bool); 7] = [
            (&[], "fiat_in.completed", true),
            (&["*"], "fiat_in.completed", true),
            (&["fiat_in.*"], "fiat_in.completed", true),
            (&["fiat_in.*"], "fiat_into.completed", false),
            (&["kyc.refused", "fiat_in.completed"], "fiat_in.completed", true),
            (&["fiat_in"], "fiat_in.completed", false),
            (&["fiat_in.completed"], "fiat_in.completed.late", false),
        ];
        for (kinds, kind, expected) in cases {
            let kinds: Vec<String> = kinds.iter().map(|kind| (*kind).to_owned()).collect();
            assert_eq!(wants(&kinds, kind), expected, "{kinds:?} {kind}");
        }
    }
}
