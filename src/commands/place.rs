//! Where an operator's command works: by a service's configuration file, or in the data directory of `dev`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};
use chassis::db::{DatabaseUrl, Db, DbOptions, Migration};
use chassis::keyring::RingKind;
use chassis::master::MasterKeySettings;
use chassis::sealed::{self, SealedColumn};
use keys::seal::MasterKeys;
use secrecy::ExposeSecret;

use super::serve::{Service, read, service_of};

/// Which services: by their configuration files, or both of a data directory.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Where {
    /// A service's configuration file; repeat it for the other service.
    #[arg(long, value_name = "FILE")]
    config: Vec<PathBuf>,
    /// Data directory of `countersign dev`.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

/// The services of a data directory.
const SERVICES: [Service; 2] = [Service::Authz, Service::ResourceApi];

impl Where {
    /// The services by name, each with its database, which must be there.
    pub(super) fn databases(&self) -> anyhow::Result<Vec<(&'static str, DatabaseUrl)>> {
        let existing = self.places()?.into_iter().map(|place| {
            place.ensure_exists()?;
            Ok((place.service.name(), place.url))
        });
        existing.collect()
    }

    /// The services, whether their databases are there or not.
    pub(super) fn places(&self) -> anyhow::Result<Vec<Place>> {
        match &self.data_dir {
            Some(folder) => {
                SERVICES.into_iter().map(|service| Place::in_directory(service, folder)).collect()
            }
            None => self.config.iter().map(|file| Place::of_config(file)).collect(),
        }
    }

    /// The authorization server's configuration.
    pub(super) fn authz_config(&self) -> anyhow::Result<authz::Config> {
        for place in self.places()? {
            if let Settings::Authz(config) = place.settings {
                return Ok(*config);
            }
        }
        bail!("this needs the authorization server's configuration file")
    }

    /// The data directory, if it is one.
    pub(super) fn data_dir(&self) -> Option<&Path> {
        self.data_dir.as_deref()
    }
}

/// One service's database, and what its configuration says about it.
pub(super) struct Place {
    pub(super) service: Service,
    pub(super) url: DatabaseUrl,
    settings: Settings,
}

/// Where the master keys stand.
enum Settings {
    Authz(Box<authz::Config>),
    ResourceApi(Box<resource_api::config::Config>),
    /// Of the payments API in a data directory: its master key and the previous one.
    Files {
        current: PathBuf,
        previous: Vec<PathBuf>,
    },
}

impl Place {
    fn of_config(file: &Path) -> anyhow::Result<Self> {
        let service = service_of(file)?;
        let (url, settings) = match service {
            Service::Authz => {
                let config: authz::Config = read(file)?;
                (config.database_url.clone(), Settings::Authz(Box::new(config)))
            }
            Service::ResourceApi => {
                let config: resource_api::config::Config = read(file)?;
                (config.database_url.clone(), Settings::ResourceApi(Box::new(config)))
            }
        };
        Ok(Self { service, url: url.expose_secret().parse().context("database_url")?, settings })
    }

    fn in_directory(service: Service, folder: &Path) -> anyhow::Result<Self> {
        let name = service.name();
        let databases = crate::dev::databases::Databases::of(folder)?;
        let url = match service {
            Service::Authz => databases.authz,
            Service::ResourceApi => databases.resource_api,
        };
        let current = folder.join(format!("{name}.master"));
        let previous = crate::dev::previous_master(&current).into_iter().collect();
        let settings = match service {
            Service::ResourceApi => Settings::Files { current, previous },
            Service::Authz => {
                // Which origins `dev` derived from its flags does not matter here.
                let [issuer, resource] = ["http://localhost:8080", "http://localhost:8081"].map(str::parse);
                let database = url.expose().into();
                let mut config = authz::Config::new(issuer?, resource?, database, String::new().into());
                config.master_key = None;
                config.master_key_file = Some(current);
                config.readable_master_key_files = previous;
                Settings::Authz(Box::new(config))
            }
        };
        Ok(Self { service, url, settings })
    }

    /// The database must be there: no command but a service and `migrate` makes one.
    fn ensure_exists(&self) -> anyhow::Result<()> {
        if let Some(file) = self.url.sqlite_file() {
            ensure!(file.exists(), "{} does not exist", file.display());
        }
        Ok(())
    }

    /// Opens the database as it is.
    pub(super) async fn open(&self) -> anyhow::Result<Db> {
        self.ensure_exists()?;
        Ok(Db::open(&self.url, &DbOptions::default()).await?)
    }

    /// Opens the database with its tables up to date.
    pub(super) async fn open_migrated(&self) -> anyhow::Result<Db> {
        let db = self.open().await?;
        self.migrate(&db).await?;
        Ok(db)
    }

    /// Brings the tables up to date.
    pub(super) async fn migrate(&self, db: &Db) -> anyhow::Result<()> {
        db.migrate("chassis", chassis::MIGRATIONS).await?;
        let steps: &'static [Migration] = match self.service {
            Service::Authz => authz::MIGRATIONS,
            Service::ResourceApi => resource_api::MIGRATIONS,
        };
        Ok(db.migrate(self.service.name(), steps).await?)
    }

    /// The master keys of the service.
    pub(super) fn master_keys(&self) -> anyhow::Result<MasterKeys> {
        match &self.settings {
            Settings::Authz(config) => Ok(config.master_keys()?),
            Settings::ResourceApi(config) => config.master_keys().map_err(anyhow::Error::msg),
            Settings::Files { current, previous } => {
                let file = Some(current.as_path());
                let settings = MasterKeySettings { key: None, file, readable: &[], readable_files: previous };
                settings.read().map_err(anyhow::Error::msg)
            }
        }
    }

    /// The rings of signing keys that the service has or may have.
    pub(super) fn rings(&self) -> Vec<RingKind> {
        match &self.settings {
            Settings::Authz(config) => vec![RingKind::signing(config.ring_policy())],
            Settings::ResourceApi(_) | Settings::Files { .. } => resource_api::rings().to_vec(),
        }
    }

    /// Every column of the service that is sealed under its master key.
    pub(super) fn sealed_columns(&self) -> Vec<SealedColumn> {
        let own: &[SealedColumn] = match self.service {
            Service::Authz => &[],
            Service::ResourceApi => resource_api::crypto::vault::SEALED,
        };
        [sealed::COLUMNS, own].concat()
    }
}
