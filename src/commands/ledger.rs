//! `countersign ledger verify`.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use chassis::db::{DatabaseUrl, Db, DbOptions};
use secrecy::ExposeSecret;

use super::serve::read;
use crate::dev::databases::Databases;

/// Which payments API: one of the two.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Where {
    /// Configuration file of the payments API.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory of `countersign dev`.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl Where {
    /// Its database.
    pub(super) fn database_url(&self) -> anyhow::Result<DatabaseUrl> {
        match (&self.config, &self.data_dir) {
            (Some(file), _) => {
                let config: resource_api::config::Config = read(file)?;
                config.database_url.expose_secret().parse().context("database_url")
            }
            (None, Some(folder)) => Ok(Databases::existing(folder)?.resource_api),
            (None, None) => anyhow::bail!("--config FILE or --data-dir DIR"),
        }
    }
}

/// Verifies the ledger and says what was looked at; status 1 when anything does not hold.
pub(super) async fn verify(place: Where) -> anyhow::Result<ExitCode> {
    let db = Db::open(&place.database_url()?, &DbOptions::default()).await?;
    let report = resource_api::ledger::verify(&db).await?;
    db.close().await;
    println!("{report}");
    Ok(if report.is_sound() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
