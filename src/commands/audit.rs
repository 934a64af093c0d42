//! `countersign audit verify`, and which databases an operator's command looks at.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use chassis::db::{DatabaseUrl, Db, DbOptions};
use secrecy::ExposeSecret;

use super::serve::{Service, read, service_of};
use crate::dev::databases::Databases;

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

impl Where {
    /// The services by name, each with its database.
    pub(super) fn databases(&self) -> anyhow::Result<Vec<(&'static str, DatabaseUrl)>> {
        if let Some(folder) = &self.data_dir {
            let found = Databases::existing(folder)?;
            return Ok(vec![("authz", found.authz), ("resource-api", found.resource_api)]);
        }
        self.config
            .iter()
            .map(|file| {
                let (service, url) = match service_of(file)? {
                    Service::Authz => ("authz", read::<authz::Config>(file)?.database_url),
                    Service::ResourceApi => {
                        ("resource-api", read::<resource_api::config::Config>(file)?.database_url)
                    }
                };
                Ok((service, url.expose_secret().parse().context("database_url")?))
            })
            .collect()
    }
}

/// Verifies the audit of each service and says what was looked at; status 1 when anything does not hold.
pub(super) async fn verify(place: Where) -> anyhow::Result<ExitCode> {
    let mut sound = true;
    for (service, url) in place.databases()? {
        let db = Db::open(&url, &DbOptions::default()).await?;
        let report = chassis::audit::verify(&db).await?;
        db.close().await;
        println!("{service}\n{report}");
        sound &= report.is_sound();
    }
    Ok(if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
