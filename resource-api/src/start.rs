//! [`start`]: from a configuration to a running service.

use std::path::Path;
use std::sync::Arc;

use chassis::config::read_secret_file;
use chassis::db::{DatabaseUrl, Db, DbOptions, Fault};
use chassis::epoch::find_epoch;
use chassis::fetch::{FetchPolicy, Fetcher};
use chassis::http::{RateLimiter, ServeOptions, serve};
use chassis::keyring::{KeyRing, RingKind};
use chassis::lease::run_leased;
use chassis::master::with_hash_root;
use chassis::ops::{self, Readiness};
use chassis::outbox::{Outbox, with_expiring_tables};
use chassis::shutdown::Shutdown;
use chassis::sweeper::Sweeper;
use chassis::{Platform, while_doing};
use guard::jwks::{KeyCache, REFRESH_EVERY};
use ipnet::IpNet;
use keys::ring::RingPolicy;
use keys::seal::MasterKeys;
use keys::webhook::WebhookSecret;
use keys::{Algorithm, SigningKey, strict_json};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;

use crate::app::{App, Parts};
use crate::auth::{AuthzClient, AuthzSetup, JwksSource};
use crate::config::Config;
use crate::crypto::vault::Vault;
use crate::crypto::webhook_keys::{WEBHOOK_RING, WebhookKeys};
use crate::dialects::pti::PtiEnvelope;
use crate::directory::{Directory, poller};
use crate::gateway::{GatewayEventsConfig, HttpGateway};
use crate::http::well_known::{JWKS_PATH, render_metadata};
use crate::http::{BadDocument, SERVICE, router};
use crate::migrations::MIGRATIONS;
use crate::operations::fiat_ins::{expiry, orders, recovery, settlements};
use crate::operations::transfers::transfers;
use crate::operations::{gateway_events, refunds};

/// Largest answer of the authorization server: a directory snapshot.
const AUTHZ_BODY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The sockets the service answers on, already bound.
#[derive(Debug, Default)]
pub struct Listeners {
    /// For callers.
    pub public: Vec<TcpListener>,
    /// For probes and metrics.
    pub ops: Vec<TcpListener>,
    /// Further routes of the ops listener; `dev` adds its inbox and sink.
    pub ops_routes: axum::Router,
}

/// A service that runs until its shutdown is triggered.
pub struct Running {
    /// Its state, for tests and for commands in the same process.
    pub app: App,
}

impl Running {
    /// Closes the database. Call it after the shutdown has finished.
    pub async fn close(self) {
        self.app.db.close().await;
    }
}

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A secret or a certificate cannot be used; the text names the key of the configuration.
    #[error("{0}")]
    Config(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] Fault),
    /// The routes and their document do not fit the guard.
    #[error(transparent)]
    Document(#[from] BadDocument),
}

/// Opens the database and brings its tables up to date.
///
/// # Errors
/// When the URL is none, the database cannot be opened, or its tables are newer or changed.
pub async fn open_database(config: &Config) -> Result<Db, StartError> {
    let url: DatabaseUrl = config
        .database_url
        .expose_secret()
        .parse()
        .map_err(|error| StartError::Config(format!("database_url: {error}")))?;
    let db = Db::open(&url, &DbOptions::default()).await?;
    db.migrate("chassis", chassis::MIGRATIONS).await?;
    db.migrate("resource-api", MIGRATIONS).await?;
    Ok(db)
}

/// Starts the service: database, keys, directory, background tasks, listeners. It answers when this
/// returns; `/readyz` turns 200 once there is a directory snapshot.
///
/// # Errors
/// [`StartError`]; nothing is left running.
pub async fn start(
    config: Config,
    listeners: Listeners,
    platform: Platform,
    shutdown: Shutdown,
) -> Result<Running, StartError> {
    let options = config.listener.serve_options();
    let options = options.map_err(|bad| StartError::Config(format!("listener.tls: {bad}")))?;
    let app = open(config, platform).await?;
    let public = router(&app)?;
    spawn_tasks(&app, &shutdown);
    let ops = ops::router(readiness(&app)).merge(listeners.ops_routes);
    shutdown.spawn("resource-api", serve(listeners.public, public, options, shutdown.clone()));
    shutdown.spawn("resource-api ops", serve(listeners.ops, ops, ServeOptions::default(), shutdown.clone()));
    Ok(Running { app })
}

/// Puts the state together, without listeners and background tasks.
///
/// # Errors
/// [`StartError`]
pub async fn open(config: Config, platform: Platform) -> Result<App, StartError> {
    let insecure = config.insecure(platform.development);
    if !insecure.is_empty() {
        return Err(StartError::Config(insecure.join("; ")));
    }
    let master = config.master_keys().map_err(StartError::Config)?;
    let key = client_key(&config)?;
    let authorities = authorities(&config)?;
    let db = open_database(&config).await?;
    let master = Arc::new(with_hash_root(&db, &platform, master).await?);
    let epoch = db.read(|tx| Box::pin(find_epoch(tx))).await?;
    let keyring =
        KeyRing::open(db.clone(), platform.clone(), MasterKeys::clone(&master), ring_policy()).await?;
    let gateway_fetcher =
        fetcher(&platform, &config.gateway.networks, &authorities, FetchPolicy::default().body_bytes_max);
    let gateway = HttpGateway::new(gateway_fetcher, config.gateway.clone());
    let gateway = Arc::new(gateway.taking_events(event_secrets(&config.gateway.events)?));
    let fetcher =
        fetcher(&platform, &config.webhook_networks, &authorities, FetchPolicy::default().body_bytes_max);
    let authz_fetcher = fetcher_to_authz(&platform, &config, &authorities);
    let authz = AuthzClient::new(AuthzSetup {
        issuer: config.issuer.to_string(),
        base: config.authz_base().clone(),
        client_id: config.client.client_id.clone(),
        key,
        fetcher: authz_fetcher.clone(),
        platform: platform.clone(),
    });
    let jwks_url = authz.jwks_url().map_err(|error| StartError::Config(format!("issuer: {error}")))?;
    let directory = Directory::new(db.clone());
    let webhook_keys =
        WebhookKeys::open(db.clone(), platform.clone(), Arc::clone(&master), webhook_ring_policy()).await?;
    let outbox = Outbox::new(db.clone(), platform.clone(), Arc::clone(&master), fetcher.clone())
        .with_envelope(pti_envelope(&config, &platform, &directory, &webhook_keys));
    Ok(App::new(Parts {
        audit: chassis::audit::AuditQueue::new(SERVICE, platform.clone()),
        directory,
        webhook_keys,
        issuer_keys: Arc::new(KeyCache::new(Arc::new(JwksSource::new(authz_fetcher, jwks_url)))),
        metadata: render_metadata(&config),
        authz,
        outbox,
        epoch,
        fingerprint_key: master.mac_key("request fingerprint"),
        vault: Vault::new(MasterKeys::clone(&master)),
        cursor_key: master.mac_key("list cursor"),
        orders: orders(&db),
        transfers: transfers(&db),
        settlements: settlements(&db),
        gateway_event_arrived: tokio::sync::Notify::new(),
        status_token_key: master.mac_key("status token"),
        limits: Arc::new(config.monitoring.clone()),
        rates: RateLimiter::new(config.listener.rate_limits, &platform),
        gateway,
        keyring,
        master,
        fetcher,
        db,
        platform,
        config,
    }))
}

fn spawn_tasks(app: &App, shutdown: &Shutdown) {
    let reporting = ops::report_statements(app.db.clone(), SERVICE, shutdown.clone());
    shutdown.spawn("statement count", reporting);
    shutdown.spawn("key rotation", Arc::clone(&app.keyring).run_rotation(shutdown.clone()));
    shutdown.spawn("webhook keys", Arc::clone(&app.webhook_keys).run(shutdown.clone()));
    let audit =
        chassis::audit::run_audit(app.audit.clone(), app.db.clone(), app.platform.clone(), shutdown.clone());
    shutdown.spawn("audit", audit);
    shutdown.spawn("outbox", app.outbox.clone().run(shutdown.clone()));
    shutdown.spawn("directory follower", app.directory.clone().follow(shutdown.clone()));
    shutdown.spawn("issuer keys", refresh_issuer_keys(app.clone(), shutdown.clone()));
    shutdown.spawn("charge recovery", recovery::run(app.clone(), shutdown.clone()));
    shutdown.spawn("order expiry", expiry::run(app.clone(), shutdown.clone()));
    shutdown.spawn("refund recovery", refunds::recovery::run(app.clone(), shutdown.clone()));
    shutdown.spawn("gateway events", gateway_events::run(app.clone(), shutdown.clone()));
    let sweeper = with_expiring_tables(Sweeper::new(app.db.clone(), app.platform.clone()));
    let sweeper = sweeper.table("gateway_event", "expires_at_s", "provider, event_id");
    shutdown.spawn("sweeper", sweeper.run(shutdown.clone()));
    shutdown.spawn("kyc", crate::kyc::run(app.clone(), shutdown.clone()));
    let (polling, until) = (app.clone(), shutdown.clone());
    let poller =
        run_leased(app.db.clone(), app.platform.clone(), "directory_poller", shutdown.clone(), move |_| {
            let (directory, authz) = (polling.directory.clone(), polling.authz.clone());
            Box::pin(poller::run(directory, authz, polling.platform.clone(), until.clone()))
        });
    shutdown.spawn("directory poller", poller);
}

/// Asks at once, so that the first token need not wait, and then every few seconds.
async fn refresh_issuer_keys(app: App, shutdown: Shutdown) {
    loop {
        if let Err(failure) = app.issuer_keys.refresh().await {
            tracing::warn!(%failure, "the issuer's keys were not refreshed");
        }
        tokio::select! {
            () = shutdown.triggered() => return,
            () = tokio::time::sleep(REFRESH_EVERY) => {}
        }
    }
}

fn readiness(app: &App) -> Readiness {
    let readiness = Readiness::new();
    let db = app.db.clone();
    readiness.add("database", move || {
        let db = db.clone();
        Box::pin(async move {
            let read = db.read(|tx| Box::pin(crate::directory::store::find_state(tx))).await;
            read.map(drop).map_err(|fault| fault.to_string())
        })
    });
    readiness.flag("migrated").set(true);
    let keyring = Arc::clone(&app.keyring);
    readiness.add("signing_key", move || {
        let held = keyring.verifying(keyring.active().kid()).is_some();
        Box::pin(std::future::ready(if held { Ok(()) } else { Err("none is active".to_owned()) }))
    });
    let directory = app.directory.clone();
    readiness.add("directory", move || {
        let loaded = directory.snapshot().is_some();
        Box::pin(std::future::ready(if loaded { Ok(()) } else { Err("no snapshot yet".to_owned()) }))
    });
    readiness
}

/// The rings of the service: the one of its own signatures, and the one of webhooks in a vendor's envelope, which is made
/// when the first endpoint asks for that.
pub fn rings() -> [RingKind; 2] {
    let webhook = RingKind { purpose: WEBHOOK_RING, policy: webhook_ring_policy() };
    [RingKind::signing(ring_policy()), webhook]
}

/// Which signing keys of its own the service wants, and how long things take.
fn ring_policy() -> RingPolicy {
    RingPolicy {
        alg: Algorithm::Es256,
        jwks_max_age_s: 300,
        rotation_s: 90 * 86_400,
        token_ttl_max_s: 86_400,
        skew_s: 10,
    }
}

/// As the other ring, for the algorithm that the vendor's receivers pin. A webhook is verified when it arrives, but one
/// that waits in a receiver's own queue is too, for as long as we would have repeated it.
fn webhook_ring_policy() -> RingPolicy {
    RingPolicy { alg: Algorithm::Rs512, token_ttl_max_s: 4 * 86_400, ..ring_policy() }
}

fn pti_envelope(
    config: &Config,
    platform: &Platform,
    directory: &Directory,
    keys: &Arc<WebhookKeys>,
) -> Arc<PtiEnvelope> {
    let jwks_url = format!("{}{JWKS_PATH}", config.resource);
    Arc::new(PtiEnvelope::new(directory.clone(), Arc::clone(keys), platform.clone(), jwks_url))
}

fn fetcher(
    platform: &Platform,
    networks: &[IpNet],
    authorities_pem: &[u8],
    body_bytes_max: usize,
) -> Fetcher {
    Fetcher::new(FetchPolicy {
        allow_loopback_http: platform.development,
        allow_networks: networks.to_vec(),
        extra_authorities_pem: authorities_pem.to_vec(),
        body_bytes_max,
        ..FetchPolicy::default()
    })
}

fn fetcher_to_authz(platform: &Platform, config: &Config, authorities_pem: &[u8]) -> Fetcher {
    fetcher(platform, &config.authz_networks, authorities_pem, AUTHZ_BODY_BYTES_MAX)
}

/// A secret that stands in the configuration or in a file beside it.
fn secret(
    inline: Option<&SecretString>,
    file: Option<&Path>,
    name: &str,
) -> Result<SecretString, StartError> {
    match (inline, file) {
        (Some(secret), None) => Ok(secret.clone()),
        (None, Some(path)) => {
            read_secret_file(path).map_err(|problem| StartError::Config(format!("{name}_file: {problem}")))
        }
        _ => Err(StartError::Config(format!("{name}: set it or {name}_file, and not both"))),
    }
}

/// The secrets of the gateway's events, the current one first; none: no event is taken.
fn event_secrets(config: &GatewayEventsConfig) -> Result<Vec<WebhookSecret>, StartError> {
    let mut secrets = Vec::new();
    for (inline, file, name) in [
        (&config.secret, &config.secret_file, "gateway.events.secret"),
        (&config.previous_secret, &config.previous_secret_file, "gateway.events.previous_secret"),
    ] {
        if inline.is_none() && file.is_none() {
            continue;
        }
        let text = secret(inline.as_ref(), file.as_deref(), name)?;
        let read = WebhookSecret::parse(text.expose_secret().trim());
        secrets.push(read.map_err(|bad| StartError::Config(format!("{name}: {bad}")))?);
    }
    Ok(secrets)
}

fn client_key(config: &Config) -> Result<SigningKey, StartError> {
    let client = &config.client;
    let text = secret(client.private_jwk.as_ref(), client.private_jwk_file.as_deref(), "client.private_jwk")?;
    let jwk = strict_json::parse(text.expose_secret().as_bytes()).ok();
    jwk.and_then(|jwk| SigningKey::from_private_jwk(&jwk).ok())
        .ok_or_else(|| StartError::Config("client.private_jwk: a private JWK".to_owned()))
}

fn authorities(config: &Config) -> Result<Vec<u8>, StartError> {
    let Some(path) = &config.authorities_file else { return Ok(Vec::new()) };
    let read = std::fs::read(path).map_err(while_doing("read authorities_file"));
    read.map_err(|fault| StartError::Config(fault.to_string()))
}
