//! `countersign authz`, `countersign resource-api` and `countersign migrate`: production settings from a file.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use chassis::Platform;
use chassis::config::{Checked, load};
use chassis::shutdown::Shutdown;
use chassis::telemetry;
use serde::de::DeserializeOwned;
use tokio::net::TcpListener;

use super::ENVIRONMENT_PREFIX;

/// How long running requests may take to end after SIGTERM.
const DRAIN: Duration = Duration::from_secs(30);
/// What is logged unless `RUST_LOG` says otherwise.
const LOG_FILTER: &str = "info";

/// Runs the authorization server until it is told to end.
pub(super) async fn authz(file: &Path) -> anyhow::Result<ExitCode> {
    let config: authz::Config = read(file)?;
    let _log = telemetry::init(telemetry::Format::Json, LOG_FILTER)?;
    let shutdown = Shutdown::on_signals()?;
    let listeners = authz::Listeners {
        public: bind(&config.listen, "listen").await?,
        ops: bind(&config.ops_listen, "ops_listen").await?,
        ops_routes: axum::Router::new(),
    };
    authz::start(config, listeners, Platform::system(false), shutdown.clone()).await?;
    until_the_end(&shutdown).await
}

/// Runs the payments API until it is told to end.
pub(super) async fn resource_api(file: &Path) -> anyhow::Result<ExitCode> {
    let config: resource_api::config::Config = read(file)?;
    let _log = telemetry::init(telemetry::Format::Json, LOG_FILTER)?;
    let shutdown = Shutdown::on_signals()?;
    let listeners = resource_api::Listeners {
        public: bind(&config.listen, "listen").await?,
        ops: bind(&config.ops_listen, "ops_listen").await?,
        ops_routes: axum::Router::new(),
    };
    let running = resource_api::start(config, listeners, Platform::system(false), shutdown.clone()).await?;
    let code = until_the_end(&shutdown).await;
    running.close().await;
    code
}

/// Applies the migrations of each service whose file is given.
pub(super) async fn migrate(files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    for file in files {
        let db = match service_of(file)? {
            Service::Authz => read::<authz::Config>(file)?.open_database().await?,
            Service::ResourceApi => resource_api::open_database(&read(file)?).await?,
        };
        db.close().await;
        println!("{}: the database is up to date", file.display());
    }
    Ok(ExitCode::SUCCESS)
}

/// Reads a service's configuration: the file, then the environment.
pub(super) fn read<T: DeserializeOwned + Checked>(file: &Path) -> anyhow::Result<T> {
    Ok(load(Some(file), std::env::vars(), ENVIRONMENT_PREFIX)?)
}

/// Which service a configuration file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Service {
    Authz,
    ResourceApi,
}

impl Service {
    /// The name of the service, of its migrations, and of its files in a data directory.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Authz => "authz",
            Self::ResourceApi => "resource-api",
        }
    }
}

/// Told by the key that only one of them has and needs: `resource_api` or `resource`.
pub(super) fn service_of(file: &Path) -> anyhow::Result<Service> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let table: toml::Table = text.parse().with_context(|| file.display().to_string())?;
    match (table.contains_key("resource_api"), table.contains_key("resource")) {
        (true, false) => Ok(Service::Authz),
        (false, true) => Ok(Service::ResourceApi),
        _ => bail!(
            "{}: neither the authorization server's configuration (it has resource_api) nor the payments API's (it \
             has resource)",
            file.display()
        ),
    }
}

async fn bind(addresses: &[SocketAddr], key: &str) -> anyhow::Result<Vec<TcpListener>> {
    if addresses.is_empty() {
        bail!("{key}: at least one address to listen on, such as {key} = [\"127.0.0.1:8080\"]");
    }
    let mut sockets = Vec::new();
    for address in addresses {
        sockets.push(
            TcpListener::bind(address).await.with_context(|| format!("{key}: cannot listen on {address}"))?,
        );
    }
    Ok(sockets)
}

async fn until_the_end(shutdown: &Shutdown) -> anyhow::Result<ExitCode> {
    shutdown.triggered().await;
    if !shutdown.finished(DRAIN).await {
        bail!("some requests did not end within {} s", DRAIN.as_secs());
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_the_key_only_its_service_has() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("service.toml");
        std::fs::write(&file, "issuer = \"x\"\nresource_api = \"y\"\n").expect("written");
        assert_eq!(service_of(&file).expect("known"), Service::Authz);
        std::fs::write(&file, "issuer = \"x\"\nresource = \"y\"\n").expect("written");
        assert_eq!(service_of(&file).expect("known"), Service::ResourceApi);
        std::fs::write(&file, "issuer = \"x\"\n").expect("written");
        assert!(service_of(&file).is_err());
    }
}
