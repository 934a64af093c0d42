//! What an operator does from the command line, on the database and beside the running service, which takes every
//! change in within a second: clients, and what follows a restore.

use chassis::{
    Db, Fault, Platform,
    audit::{Actor, NewAudit, insert_audit},
    epoch::advance_epoch,
    master::with_hash_root,
};
use keys::RestoreEpoch;
use secrecy::SecretString;
use serde_json::json;

use crate::{
    StartError,
    config::Config,
    crypto::secret::{SecretMacs, new_secret},
    domain::{
        Status,
        client::{Client, ClientSettings, SettingsProblem},
    },
    operations::clients::{self as rules, Record, needs_secret},
    store::{
        clients,
        directory::{NewChange, ObjectKind, skip_numbers},
        partners,
    },
};

/// An open database with what is needed to change clients in it.
pub struct Desk {
    db: Db,
    secrets: SecretMacs,
    platform: Platform,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// The configuration or the database is not usable.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The store failed.
    #[error(transparent)]
    Fault(#[from] Fault),
    /// The settings of a new client are not acceptable: every problem.
    #[error("{}", .0.iter().map(|bad| format!("{}: {}", bad.member, bad.code)).collect::<Vec<_>>().join("; "))]
    Settings(Vec<SettingsProblem>),
    /// There is no partner of this alias.
    #[error("there is no partner {0}; `countersign apply` creates one")]
    NoPartner(String),
    /// There is no such client.
    #[error("there is no client {0}: give its id (cli_…) or partner/alias")]
    NoClient(String),
    /// The partner has a client of this alias.
    #[error("the partner has a client of this alias already")]
    AliasTaken,
    /// The client authenticates without a secret.
    #[error("this client authenticates without a secret")]
    NoSecret,
}

impl Desk {
    /// Opens the database that the configuration names.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn open(config: &Config, platform: Platform) -> Result<Self, DeskError> {
        let master = config.master_keys()?;
        let db = config.open_database().await?;
        let secrets = SecretMacs::new(&with_hash_root(&db, &platform, master).await?);
        Ok(Self { db, secrets, platform })
    }

    /// Closes the database.
    pub async fn close(self) {
        self.db.close().await;
    }

    /// Adds a client to the partner of this alias; the secret of a method that has one is returned here and never again.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn add_client(
        &self,
        partner: &str,
        settings: ClientSettings,
    ) -> Result<(Client, Option<SecretString>), DeskError> {
        let problems = settings.problems();
        if !problems.is_empty() {
            return Err(DeskError::Settings(problems));
        }
        let alias = partner.to_owned();
        let found = self
            .db
            .read(move |tx| Box::pin(async move { partners::find_partner_by_alias(tx, &alias).await }));
        let partner = found.await?.ok_or_else(|| DeskError::NoPartner(partner.to_owned()))?;
        let id = self.platform.new_id("cli");
        let secret = needs_secret(settings.auth_method).then(|| new_secret(&*self.platform.entropy));
        let client = Client {
            secret_mac: secret.as_ref().map(|secret| self.secrets.mac(&id, secret)),
            old_secret: None,
            id,
            partner_id: partner.id,
            status: Status::Active,
            created_at: self.platform.now(),
            settings,
        };
        let record = self.record(&client, "client.created", rules::created_details(&client));
        let row = client.clone();
        let created = self.db.write(move |tx| {
            let (row, record) = (row.clone(), record.clone());
            Box::pin(async move { rules::insert(tx, &row, &record).await })
        });
        if created.await? { Ok((client, secret)) } else { Err(DeskError::AliasTaken) }
    }

    /// The client of this id, or of `partner/alias`.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn find_client(&self, name: &str) -> Result<Client, DeskError> {
        let wanted = name.to_owned();
        let found = self.db.read(move |tx| {
            Box::pin(async move {
                let Some((partner, alias)) = wanted.split_once('/') else {
                    return clients::find_client(tx, &wanted).await;
                };
                match partners::find_partner_by_alias(tx, partner).await? {
                    Some(partner) => clients::find_client_by_alias(tx, &partner.id, alias).await,
                    None => Ok(None),
                }
            })
        });
        found.await?.ok_or_else(|| DeskError::NoClient(name.to_owned()))
    }

    /// Replaces the client's secret. The old one stays good for so many seconds; with 0 it is void at once.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn rotate_secret(&self, client: &Client, old_for_s: i64) -> Result<SecretString, DeskError> {
        let secret = new_secret(&*self.platform.entropy);
        let mac = self.secrets.mac(&client.id, &secret);
        let old_until = (old_for_s > 0).then(|| self.platform.now().plus(old_for_s));
        let details = json!({ "old_secret_until_s": old_until });
        let record = self.record(client, "client.secret_replaced", details);
        let (partner_id, id) = (client.partner_id.clone(), client.id.clone());
        let replaced = self.db.write(move |tx| {
            let (partner_id, id) = (partner_id.clone(), id.clone());
            let (mac, record) = (mac.clone(), record.clone());
            Box::pin(
                async move { rules::write_secret(tx, (&partner_id, &id), (&mac, old_until), &record).await },
            )
        });
        if replaced.await? { Ok(secret) } else { Err(DeskError::NoSecret) }
    }

    /// Ends the old secret that a rotation left good; `false` when there is none.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn end_old_secret(&self, client: &Client) -> Result<bool, DeskError> {
        let record = self.record(client, "client.old_secret_ended", json!({}));
        let id = client.id.clone();
        let ended = self.db.write(move |tx| {
            let (id, record) = (id.clone(), record.clone());
            Box::pin(async move { rules::end_old_secret(tx, &id, &record).await })
        });
        Ok(ended.await?)
    }

    /// Disables the client: within a second it gets no token, and its tokens are refused.
    ///
    /// # Errors
    /// [`DeskError`].
    pub async fn disable(&self, client: &Client) -> Result<(), DeskError> {
        let record = self.record(client, rules::status_action(Status::Disabled), json!({}));
        let (partner_id, id) = (client.partner_id.clone(), client.id.clone());
        let disabled = self.db.write(move |tx| {
            let (partner_id, id, record) = (partner_id.clone(), id.clone(), record.clone());
            Box::pin(
                async move { rules::write_status(tx, (&partner_id, &id), Status::Disabled, &record).await },
            )
        });
        Ok(disabled.await?)
    }

    fn record(&self, client: &Client, action: &'static str, details: serde_json::Value) -> Record {
        let change = NewChange {
            event_id: self.platform.new_id("dir"),
            kind: ObjectKind::Client,
            object_id: client.id.clone(),
        };
        let audit = NewAudit::change(&self.platform, Actor::node(), &client.partner_id, action, &client.id);
        Record { change, audit: audit.with(details) }
    }
}

/// Begins the next restore epoch of a database that was put back from a backup, before a service runs on it: what
/// counts once and was issued before is void, and whoever follows the directory reads it as a whole, because the
/// numbers it knows may have meant something else.
///
/// # Errors
/// When the store fails; then nothing has changed.
pub async fn begin_epoch(db: &Db, platform: &Platform) -> Result<RestoreEpoch, Fault> {
    let audit = NewAudit::change(platform, Actor::node(), "", "database.restored", "authz");
    db.write(move |tx| {
        let audit = audit.clone();
        Box::pin(async move {
            let epoch = advance_epoch(tx, audit.occurred_at).await?;
            skip_numbers(tx).await?;
            insert_audit(tx, &[audit]).await?;
            Ok(epoch)
        })
    })
    .await
}
