//! Creating, reading and disabling clients, and replacing their secrets.

use chassis::{
    Fault,
    audit::{Actor, insert_audit},
};
use keys::token::Scope;
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
        clients,
        directory::{ObjectKind, insert_change},
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
        id,
        partner_id,
        status: Status::Active,
        created_at: app.platform.now(),
        settings,
    };
    let change = app.change(ObjectKind::Client, &client.id);
    let audit = app.audited(caller.actor(), &client.partner_id, "client.created", &client.id);
    let audit = audit.with(json!({
        "alias": client.settings.alias,
        "auth_method": client.settings.auth_method.as_str(),
        "scope": client.settings.scope.scope().to_string(),
    }));
    let row = client.clone();
    let created = app
        .db
        .write(move |tx| {
            let (row, change, audit) = (row.clone(), change.clone(), audit.clone());
            Box::pin(async move {
                let inserted = clients::insert_client(tx, &row).await?;
                if inserted {
                    insert_change(tx, &change, row.created_at).await?;
                    insert_audit(tx, &[audit]).await?;
                }
                Ok(inserted)
            })
        })
        .await?;
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
    let (partner_id, id, now) = (client.partner_id.clone(), client.id.clone(), app.platform.now());
    let change = app.change(ObjectKind::Client, &client.id);
    let action = if status == Status::Active { "client.enabled" } else { "client.disabled" };
    let audit = app.audited(actor, &client.partner_id, action, &client.id);
    app.db
        .write(move |tx| {
            let (partner_id, id) = (partner_id.clone(), id.clone());
            let (change, audit) = (change.clone(), audit.clone());
            Box::pin(async move {
                if clients::set_client_status(tx, &partner_id, &id, status).await? {
                    insert_change(tx, &change, now).await?;
                    insert_audit(tx, &[audit]).await?;
                }
                Ok(())
            })
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
    let (partner_id, id, now) = (client.partner_id.clone(), client.id.clone(), app.platform.now());
    let change = app.change(ObjectKind::Client, &client.id);
    let audit = app.audited(actor, &client.partner_id, "client.secret_replaced", &client.id);
    let replaced = app
        .db
        .write(move |tx| {
            let (partner_id, id, mac) = (partner_id.clone(), id.clone(), mac.clone());
            let (change, audit) = (change.clone(), audit.clone());
            Box::pin(async move {
                let replaced = clients::set_client_secret(tx, &partner_id, &id, &mac).await?;
                if replaced {
                    insert_change(tx, &change, now).await?;
                    insert_audit(tx, &[audit]).await?;
                }
                Ok(replaced)
            })
        })
        .await?;
    app.published(ObjectKind::Client, &client.id).await;
    Ok(replaced.then_some(secret))
}
