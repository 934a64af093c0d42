//! The configurations of both services in `dev`, derived from the sockets, and their start.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use chassis::Platform;
use chassis::fetch::{FetchPolicy, Fetcher};
use chassis::http::{HttpOptions, ListenerConfig, Origin, layered, serve};
use chassis::shutdown::Shutdown;
use guard::Standing;
use keys::webhook::WebhookSecret;
use resource_api::config::ClientConfig;
use resource_api::gateway::GatewayConfig;
use resource_api::monitoring::MonitoringConfig;
use resource_api::sandbox::{self, EventTarget, Sandbox, SandboxOptions};
use secrecy::SecretString;
use tokio::net::TcpListener;

use super::Sockets;
use super::authority::Authority;
use super::credentials::{Credentials, write_private};
use super::databases::Databases;
use super::{door, sink};
use crate::routes::Routes;

/// How long the payments API may take to hear of the directory.
const READY_TRIES: u32 = 600;
const READY_PAUSE: Duration = Duration::from_millis(50);

/// The account that the sandbox gateway's events name.
const SANDBOX_MERCHANT: &str = "mrc_countersign_dev";

/// The files of the data directory.
pub(crate) struct Files {
    databases: Databases,
    authz_master: PathBuf,
    resource_master: PathBuf,
    gateway_record: PathBuf,
    tls: Option<Authority>,
}

impl Files {
    /// Names them, and draws the master keys at the first start.
    pub(super) fn in_directory(
        data_dir: &Path,
        tls: Option<Authority>,
        platform: &Platform,
    ) -> anyhow::Result<Self> {
        let files = Self {
            databases: Databases::of(data_dir)?,
            authz_master: data_dir.join("authz.master"),
            resource_master: data_dir.join("resource-api.master"),
            gateway_record: data_dir.join("sandbox-gateway.jsonl"),
            tls,
        };
        for path in [&files.authz_master, &files.resource_master] {
            if !path.exists() {
                write_private(path, keys::b64::encode(platform.random::<32>()).as_bytes())?;
            }
        }
        Ok(files)
    }

    /// What every public listener is made of.
    fn listener(&self) -> ListenerConfig {
        ListenerConfig { tls: self.tls.as_ref().map(|one| one.tls.clone()), ..ListenerConfig::default() }
    }
}

/// The master key before this one, if it lies beside it: `authz.master.previous`.
pub(crate) fn previous_master(current: &Path) -> Option<PathBuf> {
    let mut name = current.as_os_str().to_owned();
    name.push(".previous");
    Some(PathBuf::from(name)).filter(|file| file.exists())
}

/// What runs.
pub(crate) struct Running {
    pub(crate) resource_api: resource_api::Running,
}

/// The authorization server's configuration.
pub(crate) fn authz_config(credentials: &Credentials, files: &Files) -> anyhow::Result<authz::Config> {
    let master = std::fs::read_to_string(&files.authz_master)?;
    let mut config = authz::Config::new(
        origin(&credentials.issuer)?,
        origin(&credentials.resource)?,
        SecretString::from(files.databases.authz.expose()),
        SecretString::from(master),
    );
    config.readable_master_key_files = previous_master(&files.authz_master).into_iter().collect();
    config.public_origins = vec![origin(&credentials.front_door)?];
    config.operation_origins = vec![origin(&credentials.front_door)?];
    config.listener = files.listener();
    Ok(config)
}

fn resource_config(
    credentials: &Credentials,
    files: &Files,
    gateway: GatewayConfig,
) -> anyhow::Result<resource_api::config::Config> {
    let client = credentials.client("resource-api")?;
    let jwk = client.private_jwk.as_ref().context("the private key of resource-api")?;
    Ok(resource_api::config::Config {
        issuer: origin(&credentials.issuer)?,
        authz_url: None,
        authz_networks: Vec::new(),
        resource: origin(&credentials.resource)?,
        public_origins: vec![origin(&credentials.front_door)?],
        authorities_file: files.tls.as_ref().map(|one| one.ca_file.clone()),
        listen: Vec::new(),
        ops_listen: Vec::new(),
        database_url: SecretString::from(files.databases.resource_api.expose()),
        master_key: None,
        master_key_file: Some(files.resource_master.clone()),
        readable_master_keys: Vec::new(),
        readable_master_key_files: previous_master(&files.resource_master).into_iter().collect(),
        client: ClientConfig {
            client_id: client.client_id.clone(),
            private_jwk: Some(SecretString::from(jwk.to_string())),
            private_jwk_file: None,
        },
        listener: files.listener(),
        idempotency_key_ttl_s: resource_api::config::IDEMPOTENCY_KEY_TTL_S_DEFAULT,
        webhook_networks: Vec::new(),
        dpop_nonce_required: false,
        gateway,
        monitoring: MonitoringConfig::default(),
    })
}

/// Starts the sandbox gateway, both services and the front door, and waits until they are ready.
pub(crate) async fn start(
    credentials: &Credentials,
    files: &Files,
    authz_config: authz::Config,
    sockets: Sockets,
    on: (&Platform, &Shutdown),
) -> anyhow::Result<Running> {
    let (platform, shutdown) = on;
    let authz = authz::start(
        authz_config,
        authz::Listeners {
            public: sockets.authz.sockets,
            ops: sockets.authz_ops.sockets,
            ops_routes: sink::inbox(),
        },
        platform.clone(),
        shutdown.clone(),
    )
    .await
    .context("start the authorization server")?;
    let gateway = sandbox_gateway(credentials, files, (platform, shutdown)).await?;
    let resource_api = resource_api::start(
        resource_config(credentials, files, gateway)?,
        resource_api::Listeners {
            public: sockets.resource.sockets,
            ops: sockets.resource_ops.sockets,
            ops_routes: sink::webhooks(),
        },
        platform.clone(),
        shutdown.clone(),
    )
    .await
    .context("start the payments API")?;
    let front = door::Door {
        routes: Routes::of_services()?,
        authz: authz::http::router(authz.app()),
        resource_api: resource_api::http::router(&resource_api.app)?,
        nobody: layered(
            Router::new(),
            HttpOptions::new("front-door", vec![origin(&credentials.front_door)?]),
            platform,
        ),
    };
    let options = files.listener().serve_options()?;
    let front = serve(sockets.door.sockets, front.into_router(), options.clone(), shutdown.clone());
    shutdown.spawn("front door", front);
    let shop = layered(Router::new(), HttpOptions::new("shop", vec![origin(&credentials.shop)?]), platform);
    shutdown.spawn("shop", serve(sockets.shop.sockets, shop, options, shutdown.clone()));
    wait_until_ready(&resource_api).await?;
    Ok(Running { resource_api })
}

/// Starts the sandbox gateway. It sends its events to the payments API, signed with a secret drawn at each start.
async fn sandbox_gateway(
    credentials: &Credentials,
    files: &Files,
    (platform, shutdown): (&Platform, &Shutdown),
) -> anyhow::Result<GatewayConfig> {
    let options =
        SandboxOptions { record_file: Some(files.gateway_record.clone()), ..SandboxOptions::default() };
    let sandbox = Sandbox::new(&options).context("the sandbox gateway's record")?;
    let secret = WebhookSecret::text(&platform.random());
    sandbox.send_events_to(EventTarget {
        url: format!("{}/v1/gateway-events/sandbox", credentials.resource).parse()?,
        secret: WebhookSecret::parse(&secret)?,
        merchant: SANDBOX_MERCHANT.to_owned(),
        fetcher: loopback_fetcher(files)?,
        clock: Arc::clone(&platform.clock),
        by_default: true,
    });
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let url = format!("http://127.0.0.1:{}", listener.local_addr()?.port());
    let ending = shutdown.clone();
    shutdown.spawn("sandbox gateway", async move {
        let stop = async move { ending.triggered().await };
        if let Err(error) = sandbox::serve(sandbox, listener, stop).await {
            tracing::error!(%error, "the sandbox gateway ended");
        }
    });
    let mut config = GatewayConfig::at(url.parse()?);
    config.events.secret = Some(SecretString::from(secret));
    config.events.merchant = Some(SANDBOX_MERCHANT.to_owned());
    Ok(config)
}

/// Reaches this machine's own listeners, also those whose certificate the authority of `dev` signed.
fn loopback_fetcher(files: &Files) -> anyhow::Result<Fetcher> {
    let authority = files.tls.as_ref().map(|one| std::fs::read(&one.ca_file)).transpose()?;
    Ok(Fetcher::new(FetchPolicy {
        allow_loopback_http: true,
        extra_authorities_pem: authority.unwrap_or_default(),
        ..FetchPolicy::default()
    }))
}

/// Ready to move money too: after a crash the directory is there at once, but its poller first waits for the dead
/// process's lease to end.
async fn wait_until_ready(resource_api: &resource_api::Running) -> anyhow::Result<()> {
    for _ in 0..READY_TRIES {
        if resource_api.app.directory.is_loaded() && resource_api.app.directory.is_fresh() {
            return Ok(());
        }
        tokio::time::sleep(READY_PAUSE).await;
    }
    bail!("the payments API did not get the directory from the authorization server")
}

fn origin(text: &str) -> anyhow::Result<Origin> {
    text.parse().with_context(|| format!("{text} is no origin"))
}
