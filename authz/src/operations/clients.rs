//! Creating, reading and disabling clients, and replacing their secrets.

use chassis::{
    Fault, Tx,
    audit::{Actor, NewAudit, insert_audit},
};
use keys::{UnixSeconds, token::Scope};
use secrecy::SecretString;
use serde_json::json;

use crate::{
    app::{App, Caller},
    crypto::secret::new_secret,
    domain::{
        Status,
        client::{AuthMethod, Client, ClientSettings, SettingsProblem},
    },
    store::{
        client_secrets, clients,
        directory::{NewChange, ObjectKind, insert_change},
    },
};

/// Why no client was created.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The settings are not acceptable.
    #[error("the settings are refused")]
    Settings(Vec<SettingsProblem>),
    /// The caller does not hold what it would give away.
    #[error("a scope that the caller does not hold cannot be granted")]
    ScopeNotGrantable,
    /// The partner has a client of this alias.
    #[error("the alias is taken")]
    AliasTaken,
    /// The store failed.
    #[error(transparent)]
    Internal(#[from] Fault),
}

/// Whether a method of authentication uses a secret.
pub fn needs_secret(method: AuthMethod) -> bool {
    matches!(method, AuthMethod::ClientSecretBasic | AuthMethod::ClientSecretPost)
}

/// Creates a client. The secret, for methods that have one, is returned here and never again.
///
/// A caller grants only what its own policy holds, unless it administers the platform.
///
/// # Errors
/// [`Refusal`].
pub async fn create(
    app: &App,
    caller: &Caller,
    partner_id: String,
    settings: ClientSettings,
) -> Result<(Client, Option<SecretString>), Refusal> {
    let problems = settings.problems();
    if !problems.is_empty() {
        return Err(Refusal::Settings(problems));
    }
    let holds: &Scope = caller.who.client.settings.scope.scope();
    if !caller.scope.contains("platform:admin") && !settings.scope.scope().is_within(holds) {
        return Err(Refusal::ScopeNotGrantable);
    }
    let id = app.platform.new_id("cli");
    let secret = needs_secret(settings.auth_method).then(|| new_secret(&*app.platform.entropy));
    let client = Client {
        secret_mac: secret.as_ref().map(|secret| app.secrets.mac(&id, secret)),
        old_secret: None,
        id,
        partner_id,
        status: Status::Active,
        created_at: app.platform.now(),
        settings,
    };
    let audit = app.audited(caller.actor(), &client.partner_id, "client.created", &client.id);
    let record = Record::new(app, &client.id, audit.with(created_details(&client)));
    let row = client.clone();
    let created = app.db.write(move |tx| {
        let (row, record) = (row.clone(), record.clone());
        Box::pin(async move { insert(tx, &row, &record).await })
    });
    let created = created.await?;
    if !created {
        return Err(Refusal::AliasTaken);
    }
    app.published(ObjectKind::Client, &client.id).await;
    Ok((client, secret))
}

/// The partner's client.
///
/// # Errors
/// When the store fails.
pub async fn find(app: &App, reach: String, id: String) -> Result<Option<Client>, Fault> {
    let found = app.db.read(move |tx| Box::pin(async move { clients::find_client(tx, &id).await })).await?;
    Ok(found.filter(|client| reach.is_empty() || client.partner_id == reach))
}

/// Up to `limit` clients after `after`, of one partner or (empty) of all.
///
/// # Errors
/// When the store fails.
pub async fn list(app: &App, partner_id: String, after: String, limit: i64) -> Result<Vec<Client>, Fault> {
    app.db
        .read(move |tx| Box::pin(async move { clients::list_clients(tx, &partner_id, &after, limit).await }))
        .await
}

/// Sets the client's state and publishes it.
///
/// # Errors
/// When the store fails.
pub async fn set_status(app: &App, actor: Actor, client: &Client, status: Status) -> Result<(), Fault> {
    let (partner_id, id) = (client.partner_id.clone(), client.id.clone());
    let audit = app.audited(actor, &client.partner_id, status_action(status), &client.id);
    let record = Record::new(app, &client.id, audit);
    app.db
        .write(move |tx| {
            let (partner_id, id, record) = (partner_id.clone(), id.clone(), record.clone());
            Box::pin(async move { write_status(tx, (&partner_id, &id), status, &record).await })
        })
        .await?;
    app.published(ObjectKind::Client, &client.id).await;
    Ok(())
}

/// Replaces the client's secret; the old one is void within a second everywhere. `None` for a client without one.
///
/// # Errors
/// When the store fails.
pub async fn rotate_secret(app: &App, actor: Actor, client: &Client) -> Result<Option<SecretString>, Fault> {
    let secret = new_secret(&*app.platform.entropy);
    let mac = app.secrets.mac(&client.id, &secret);
    let (partner_id, id) = (client.partner_id.clone(), client.id.clone());
    let audit = app.audited(actor, &client.partner_id, "client.secret_replaced", &client.id);
    let record = Record::new(app, &client.id, audit);
    let replaced = app
        .db
        .write(move |tx| {
            let (partner_id, id) = (partner_id.clone(), id.clone());
            let (mac, record) = (mac.clone(), record.clone());
            Box::pin(async move { write_secret(tx, (&partner_id, &id), (&mac, None), &record).await })
        })
        .await?;
    app.published(ObjectKind::Client, &client.id).await;
    Ok(replaced.then_some(secret))
}

/// What is written beside a change of a client, drawn before the unit that makes it.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) change: NewChange,
    pub(crate) audit: NewAudit,
}

impl Record {
    fn new(app: &App, client_id: &str, audit: NewAudit) -> Self {
        Self { change: app.change(ObjectKind::Client, client_id), audit }
    }

    async fn write(&self, tx: &mut Tx) -> Result<(), Fault> {
        insert_change(tx, &self.change, self.audit.occurred_at).await?;
        insert_audit(tx, std::slice::from_ref(&self.audit)).await
    }
}

/// What the audit says of a new client.
pub(crate) fn created_details(client: &Client) -> serde_json::Value {
    json!({
        "alias": client.settings.alias,
        "auth_method": client.settings.auth_method.as_str(),
        "scope": client.settings.scope.scope().to_string(),
    })
}

/// What the audit calls a change of state.
pub(crate) fn status_action(status: Status) -> &'static str {
    if status == Status::Active { "client.enabled" } else { "client.disabled" }
}

/// Inserts a client; `false` when its alias is taken.
pub(crate) async fn insert(tx: &mut Tx, client: &Client, record: &Record) -> Result<bool, Fault> {
    let inserted = clients::insert_client(tx, client).await?;
    if inserted {
        record.write(tx).await?;
    }
    Ok(inserted)
}

/// Sets a client's state, by partner and id.
pub(crate) async fn write_status(
    tx: &mut Tx,
    (partner_id, id): (&str, &str),
    status: Status,
    record: &Record,
) -> Result<(), Fault> {
    if clients::set_client_status(tx, partner_id, id, status).await? {
        record.write(tx).await?;
    }
    Ok(())
}

/// Replaces a client's secret; the old one stays good until the given moment, or is void with this transaction. `false`
/// for a client without a secret.
pub(crate) async fn write_secret(
    tx: &mut Tx,
    (partner_id, id): (&str, &str),
    (mac, old_until): (&str, Option<UnixSeconds>),
    record: &Record,
) -> Result<bool, Fault> {
    match old_until {
        Some(until) => client_secrets::keep_old_secret(tx, partner_id, id, until).await?,
        None => drop(client_secrets::delete_old_secret(tx, id).await?),
    }
    let replaced = client_secrets::set_client_secret(tx, partner_id, id, mac).await?;
    if replaced {
        record.write(tx).await?;
    }
    Ok(replaced)
}

/// Ends a client's old secret before its time; `false` when there was none.
pub(crate) async fn end_old_secret(tx: &mut Tx, id: &str, record: &Record) -> Result<bool, Fault> {
    let ended = client_secrets::delete_old_secret(tx, id).await?;
    if ended {
        record.write(tx).await?;
    }
    Ok(ended)
}
