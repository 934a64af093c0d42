//! Starting the service: database, keys, cache, background tasks, listeners.

use std::sync::Arc;

use chassis::{
    Db, DbOptions, Fault, Platform,
    config::Checked,
    epoch::find_epoch,
    http::{RateLimiter, ServeOptions, serve},
    keyring::KeyRing,
    master::{MasterKeySettings, with_hash_root},
    ops::{self, Readiness},
    shutdown::Shutdown,
    sweeper::Sweeper,
};
use keys::{
    dpop::Nonces,
    ring::RingPolicy,
    seal::MasterKeys,
    token::{ONE_TIME_REPEAT_S, SKEW_S},
};
use secrecy::ExposeSecret;
use tokio::net::TcpListener;

use crate::{
    app::{App, State},
    config::{ACCESS_TOKEN_TTL_S_MAX, Config, USER_TOKEN_TTL_S_MAX},
    crypto::secret::SecretMacs,
    directory::{self, DirectoryHead},
    domain::audience::Audiences,
    http::{self, discovery::Documents, throttle::Throttle},
    migrations::migrate,
    registry::Registry,
};

/// Bound sockets, so that the caller chooses ports and knows them before the service answers.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For everybody.
    pub public: Vec<TcpListener>,
    /// For probes and metrics.
    pub ops: Vec<TcpListener>,
    /// Further routes of the ops listener; `dev` adds its inbox and sink.
    pub ops_routes: axum::Router,
}

/// A service that answers. It ends with the [`Shutdown`] that it was started with.
#[derive(Clone)]
pub struct Running {
    app: App,
    readiness: Readiness,
}

impl Running {
    /// Whether every readiness check holds now.
    pub async fn is_ready(&self) -> bool {
        self.readiness.check().await.iter().all(|check| check.ready)
    }

    /// The service's database, for counters of a benchmark.
    pub fn db(&self) -> &Db {
        &self.app.db
    }

    /// The shared state, for [`crate::apply::apply_to`] on the running service.
    pub fn app(&self) -> &App {
        &self.app
    }
}

/// Why the service does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is not acceptable: every problem.
    #[error("the configuration has problems: {}", .0.join("; "))]
    Config(Vec<String>),
    /// The database or a key failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Config {
    /// The master keys that the configuration names.
    ///
    /// # Errors
    /// [`StartError::Config`] when a file cannot be read or a text is not 32 bytes in base64url.
    pub fn master_keys(&self) -> Result<MasterKeys, StartError> {
        let settings = MasterKeySettings {
            key: self.master_key.as_ref(),
            file: self.master_key_file.as_deref(),
            readable: &self.readable_master_keys,
            readable_files: &self.readable_master_key_files,
        };
        settings.read().map_err(|problem| StartError::Config(vec![problem]))
    }

    /// Opens the database that the configuration names, with its tables up to date.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn open_database(&self) -> Result<Db, StartError> {
        let url = self.database_url.expose_secret().parse();
        let url = url.map_err(|bad| StartError::Config(vec![format!("database_url: {bad}")]))?;
        let db = Db::open(&url, &DbOptions::default()).await?;
        migrate(&db).await?;
        Ok(db)
    }

    /// Which signing keys are wanted, and how long things take.
    pub fn ring_policy(&self) -> RingPolicy {
        RingPolicy {
            alg: self.signing_algorithm,
            jwks_max_age_s: self.jwks_max_age_s,
            rotation_s: self.key_rotation_s,
            // A one-time token repeats its answer for a day after its end, and must verify until then.
            token_ttl_max_s: ACCESS_TOKEN_TTL_S_MAX.max(USER_TOKEN_TTL_S_MAX + ONE_TIME_REPEAT_S),
            skew_s: SKEW_S,
        }
    }
}

/// Starts the service on sockets that are bound already, and returns once it answers. Background tasks belong to
/// `shutdown`.
///
/// # Errors
/// [`StartError`]: a configuration with problems, a database that does not answer or is newer than this program, a
/// key that cannot be opened.
pub async fn start(
    config: Config,
    listeners: Listeners,
    platform: Platform,
    shutdown: Shutdown,
) -> Result<Running, StartError> {
    let mut problems = config.problems();
    problems.extend(insecure(&config, &platform));
    if !problems.is_empty() {
        return Err(StartError::Config(problems));
    }
    let options = config.listener.serve_options();
    let options = options.map_err(|bad| StartError::Config(vec![format!("listener.tls: {bad}")]))?;
    let app = open(config, platform, shutdown.clone()).await?;
    let readiness = readiness(&app);
    directory::spawn(&app, &shutdown);
    let (keys, ending) = (Arc::clone(&app.keys), shutdown.clone());
    shutdown.spawn("key rotation", async move { keys.run_rotation(ending).await });
    let sweeper = Sweeper::new(app.db.clone(), app.platform.clone());
    let sweeper = sweeper.table("directory_event", "expires_at_s", "event_id").table(
        "client_old_secret",
        "expires_at_s",
        "client_id",
    );
    let ending = shutdown.clone();
    shutdown.spawn("sweeper", async move { sweeper.run(ending).await });
    let audit =
        chassis::audit::run_audit(app.audit.clone(), app.db.clone(), app.platform.clone(), shutdown.clone());
    shutdown.spawn("audit", audit);
    let reporting = ops::report_statements(app.db.clone(), http::SERVICE, shutdown.clone());
    shutdown.spawn("statement count", reporting);
    let (public, probes) = (http::router(&app), ops::router(readiness.clone()).merge(listeners.ops_routes));
    let ending = shutdown.clone();
    shutdown.spawn("public listener", async move {
        serve(listeners.public, public, options, ending).await;
    });
    let ending = shutdown.clone();
    shutdown.spawn("ops listener", async move {
        serve(listeners.ops, probes, ServeOptions::default(), ending).await;
    });
    Ok(Running { app, readiness })
}

/// The shared state on an open, migrated database.
async fn open(config: Config, platform: Platform, shutdown: Shutdown) -> Result<App, StartError> {
    let master = config.master_keys()?;
    let db = config.open_database().await?;
    let master = with_hash_root(&db, &platform, master).await?;
    let epoch = db.read(|tx| Box::pin(find_epoch(tx))).await?;
    let keys = KeyRing::open(db.clone(), platform.clone(), master.clone(), config.ring_policy()).await?;
    let (registry, head) = Registry::load(&db).await?;
    Ok(App::new(State {
        audit: chassis::audit::AuditQueue::new(http::SERVICE, platform.clone()),
        secrets: SecretMacs::new(&master),
        dpop_nonces: Nonces::new(&master).in_epoch(epoch),
        epoch,
        audiences: Audiences::new(config.issuer.as_str(), config.resource_api.as_str()),
        token_endpoint: format!("{}/oauth2/token", config.issuer),
        operation_origins: config.operation_origins(),
        documents: Documents::new(&config),
        directory: DirectoryHead::at(head, shutdown),
        throttle: Throttle::default(),
        rates: RateLimiter::new(config.listener.rate_limits, &platform),
        config,
        db,
        platform,
        keys,
        registry,
    }))
}

/// Origins without TLS are for a developer's own machine.
fn insecure(config: &Config, platform: &Platform) -> Vec<String> {
    let allowed =
        |origin: &chassis::http::Origin| origin.is_https() || (platform.development && origin.is_loopback());
    let named = [("issuer", &config.issuer), ("resource_api", &config.resource_api)].into_iter();
    let public = config.public_origins.iter().map(|origin| ("public_origins", origin));
    let operations = config.operation_origins.iter().map(|origin| ("operation_origins", origin));
    named
        .chain(public)
        .chain(operations)
        .filter(|(_, origin)| !allowed(origin))
        .map(|(key, origin)| format!("{key}: {origin} must be https"))
        .collect()
}

/// Ready means: migrated, database reachable, signing key loaded.
fn readiness(app: &App) -> Readiness {
    let readiness = Readiness::new();
    readiness.flag("migrated").set(true);
    let db = app.db.clone();
    readiness.add("database", move || {
        let db = db.clone();
        Box::pin(async move {
            let read = db.read(|tx| Box::pin(crate::store::directory::head(tx))).await;
            read.map(drop).map_err(|_| "does not answer".to_owned())
        })
    });
    let keys = Arc::clone(&app.keys);
    readiness.add("signing_key", move || {
        let active = keys.active();
        let held = keys.verifying(active.kid()).map(drop).ok_or_else(|| "none is active".to_owned());
        Box::pin(std::future::ready(held))
    });
    readiness
}
