//! The platform as a file: partners, clients, keys and allow-lists, applied as often as one likes.
//!
//! Objects are known by their aliases. What the file does not name is left alone; nothing is ever deleted. Applying
//! is one transaction, and a running service takes the changes in within a second.

mod audited;
mod file;
mod plan;

use std::fmt;

use chassis::{Db, Fault, Platform, audit::insert_audit, master::with_hash_root};
use secrecy::SecretString;

pub use self::file::{ClientFile, PartnerFile, PlatformFile};
use self::plan::{Draws, Wanted};
use crate::{StartError, config::Config, crypto::secret::SecretMacs};

/// What applying a file did.
#[derive(Debug, Clone, Default)]
pub struct Applied {
    /// One line for each difference, in the file's order. Empty: nothing was to do.
    pub changes: Vec<Change>,
    /// Every partner in the file, with its id.
    pub partners: Vec<AppliedPartner>,
}

/// One difference between the file and the database, which applying has removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// `partner acme`, or `client acme/backend`.
    pub object: String,
    /// Whether it was created; otherwise it was changed.
    pub created: bool,
    /// Which members differed, with old and new value where they are not secret.
    pub members: Vec<String>,
}

/// A partner that the file names.
#[derive(Debug, Clone)]
pub struct AppliedPartner {
    /// Its alias.
    pub alias: String,
    /// Its id.
    pub id: String,
    /// Its clients in the file.
    pub clients: Vec<AppliedClient>,
}

/// A client that the file names.
#[derive(Debug, Clone)]
pub struct AppliedClient {
    /// Its alias.
    pub alias: String,
    /// Its id.
    pub id: String,
    /// The secret that was drawn for it, if this run created the client and the file held none. Shown once.
    pub secret: Option<SecretString>,
}

/// Why a file was not applied. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The file is not acceptable: every problem, with its place.
    #[error("the platform file has problems: {}", .0.join("; "))]
    File(Vec<String>),
    /// The configuration or database is not usable.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The store failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Applied {
    /// The client of this partner, by aliases.
    pub fn client(&self, partner: &str, client: &str) -> Option<&AppliedClient> {
        let partner = self.partners.iter().find(|known| known.alias == partner)?;
        partner.clients.iter().find(|known| known.alias == client)
    }
}

/// The printed difference: `+` for what was created, `~` for what was changed.
impl fmt::Display for Applied {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.changes.is_empty() {
            return writeln!(out, "nothing to do");
        }
        for change in &self.changes {
            writeln!(out, "{} {}", if change.created { '+' } else { '~' }, change.object)?;
            for member in &change.members {
                writeln!(out, "    {member}")?;
            }
        }
        Ok(())
    }
}

/// Applies the file to the database that the configuration names, which may be empty. A service that runs on the same
/// database takes the changes in within a second.
///
/// # Errors
/// [`ApplyError`].
pub async fn apply(config: &Config, platform: &Platform, file: &PlatformFile) -> Result<Applied, ApplyError> {
    let master = config.master_keys()?;
    let db = config.open_database().await?;
    let secrets = SecretMacs::new(&with_hash_root(&db, platform, master).await?);
    let applied = apply_to(&db, &secrets, platform, file).await;
    db.close().await;
    applied
}

/// Applies the file to an open, migrated database.
///
/// # Errors
/// [`ApplyError`].
pub async fn apply_to(
    db: &Db,
    secrets: &SecretMacs,
    platform: &Platform,
    file: &PlatformFile,
) -> Result<Applied, ApplyError> {
    let wanted = Wanted::from_file(file).map_err(ApplyError::File)?;
    let (draws, audit_ids) = (Draws::new(platform, &wanted), audited::draw(platform, file));
    let (secrets, now) = (secrets.clone(), platform.now());
    let applied = db.write(move |tx| {
        let (wanted, secrets, draws) = (wanted.clone(), secrets.clone(), draws.clone());
        let audit_ids = audit_ids.clone();
        Box::pin(async move {
            let applied = plan::reach(tx, &wanted, &draws, &secrets, now).await?;
            insert_audit(tx, &audited::rows(&applied, &audit_ids, now)).await?;
            Ok(applied)
        })
    });
    Ok(applied.await?)
}
