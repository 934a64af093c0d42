//! `countersign dev`: both services, a sandbox gateway and the front door in one process, on loopback, with partners
//! and users to try. The data directory keeps everything; started again on it, only URLs are derived anew.

mod authority;
pub(crate) mod credentials;
pub(crate) mod databases;
mod door;
mod seed;
mod services;
mod sink;
mod users;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use chassis::Platform;
use chassis::shutdown::Shutdown;
use chassis::telemetry;

use crate::listen::{Loopback, LoopbackPort};
use authority::Authority;
pub(crate) use credentials::write_private;
use credentials::{Credentials, Ops};
pub(crate) use services::previous_master;

/// How long running requests may take to end after Ctrl-C.
const DRAIN: Duration = Duration::from_secs(10);

/// Flags of `countersign dev`.
#[derive(clap::Args)]
pub(crate) struct DevArguments {
    /// Where databases, keys and credentials.json are kept.
    #[arg(long, value_name = "DIR", default_value = ".countersign")]
    data_dir: PathBuf,
    /// Port of the authorization server (0: any free one).
    #[arg(long, value_name = "PORT", default_value = "8080")]
    authz_listen: LoopbackPort,
    /// Port of the payments API.
    #[arg(long, value_name = "PORT", default_value = "8081")]
    resource_listen: LoopbackPort,
    /// Port of the front door, the one base URL of the vendors' clients.
    #[arg(long, value_name = "PORT", default_value = "8083")]
    door_listen: LoopbackPort,
    /// Port of the demo shop; browsers on its origin may call the payments API.
    #[arg(long, value_name = "PORT", default_value = "8082")]
    shop_listen: LoopbackPort,
    /// Port of the authorization server's probes, metrics and inbox.
    #[arg(long, value_name = "PORT", default_value = "9080")]
    authz_ops_listen: LoopbackPort,
    /// Port of the payments API's probes, metrics and webhook sink.
    #[arg(long, value_name = "PORT", default_value = "9081")]
    resource_ops_listen: LoopbackPort,
    /// Speak https, with a certificate of an authority that is made in the data directory.
    #[arg(long)]
    tls: bool,
    /// Walk the product's flows as a real client, printing requests and answers.
    #[arg(long)]
    tour: bool,
    /// With --tour: stop after it, with status 0 if everything held and 1 if not.
    #[arg(long, requires = "tour")]
    exit: bool,
}

/// Every socket of `dev`, bound before anything starts, so that URLs are known.
pub(crate) struct Sockets {
    authz: Loopback,
    resource: Loopback,
    door: Loopback,
    shop: Loopback,
    authz_ops: Loopback,
    resource_ops: Loopback,
}

impl Sockets {
    async fn bind(arguments: &DevArguments) -> anyhow::Result<Self> {
        Ok(Self {
            authz: Loopback::bind(arguments.authz_listen, "--authz-listen").await?,
            resource: Loopback::bind(arguments.resource_listen, "--resource-listen").await?,
            door: Loopback::bind(arguments.door_listen, "--door-listen").await?,
            shop: Loopback::bind(arguments.shop_listen, "--shop-listen").await?,
            authz_ops: Loopback::bind(arguments.authz_ops_listen, "--authz-ops-listen").await?,
            resource_ops: Loopback::bind(arguments.resource_ops_listen, "--resource-ops-listen").await?,
        })
    }
}

/// Starts everything, walks the tour if asked, and stays up until Ctrl-C.
///
/// # Errors
/// When a port is taken, the data directory cannot be used, or a service does not start.
pub(crate) async fn run(arguments: DevArguments) -> anyhow::Result<ExitCode> {
    let _log = telemetry::init(telemetry::Format::Text, "warn")?;
    prepare(&arguments.data_dir)?;
    let sockets = Sockets::bind(&arguments).await?;
    let shutdown = Shutdown::on_signals()?;
    let credentials = start(&arguments, sockets, &shutdown).await?;
    announce(&credentials, &arguments.data_dir);
    let mut code = ExitCode::SUCCESS;
    if arguments.tour {
        if let Err(error) = crate::tour::run(&arguments.data_dir).await {
            eprintln!("\ncountersign: the tour stopped: {error:#}");
            code = ExitCode::FAILURE;
        }
        if arguments.exit {
            shutdown.trigger();
        } else {
            println!("Still running; Ctrl-C ends it.");
        }
    }
    shutdown.triggered().await;
    if !shutdown.finished(DRAIN).await {
        eprintln!("countersign: some requests did not end within {} s", DRAIN.as_secs());
    }
    Ok(code)
}

/// Makes the data directory, readable by its owner only.
fn prepare(data_dir: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .with_context(|| format!("the data directory {}", data_dir.display()))
}

/// Starts the services on bound sockets, seeds them and writes `credentials.json`.
async fn start(
    arguments: &DevArguments,
    sockets: Sockets,
    shutdown: &Shutdown,
) -> anyhow::Result<Credentials> {
    let (data_dir, platform) = (arguments.data_dir.as_path(), Platform::system(true));
    let tls = arguments.tls.then(|| Authority::in_directory(data_dir, &platform)).transpose()?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    let ops = |ops: &Loopback| ops.origin("http");
    Credentials::withdraw(data_dir)?;
    let earlier = Credentials::kept(data_dir)?;
    let mut clients = seed::clients(earlier.as_ref(), tls.as_ref(), &platform)?;
    let mut credentials = Credentials {
        issuer: sockets.authz.origin(scheme),
        resource: sockets.resource.origin(scheme),
        front_door: sockets.door.origin(scheme),
        shop: sockets.shop.origin(scheme),
        ca_file: tls.as_ref().map(|tls| tls.ca_file.display().to_string()),
        ops: Ops { authz: ops(&sockets.authz_ops), resource_api: ops(&sockets.resource_ops) },
        partners: Vec::new(),
        inbox: format!("{}/dev/inbox", ops(&sockets.authz_ops)),
        webhook_sink: format!("{}/dev/webhooks", ops(&sockets.resource_ops)),
        users: earlier.map_or_else(Vec::new, |file| file.users),
        clients: Vec::new(),
    };
    let files = services::Files::in_directory(data_dir, tls, &platform)?;
    let authz_config = services::authz_config(&credentials, &files)?;
    let file = seed::platform_file(&clients, &credentials.shop)?;
    let applied =
        authz::apply::apply(&authz_config, &platform, &file).await.context("seed partners and clients")?;
    credentials.partners = seed::with_ids(&mut clients, &applied)?;
    credentials.clients = clients;
    let running = services::start(&credentials, &files, authz_config, sockets, (&platform, shutdown)).await?;
    users::register(&mut credentials, &running).await.context("register the users")?;
    credentials.keep(data_dir)?;
    credentials.publish(data_dir)?;
    Ok(credentials)
}

fn announce(credentials: &Credentials, data_dir: &Path) {
    println!("Countersign is up (loopback only, SQLite in {}):", data_dir.display());
    println!("  authorization server  {}   documentation at /docs", credentials.issuer);
    println!("  payments API          {}   documentation at /docs", credentials.resource);
    println!("  front door            {}   the vendors' own paths", credentials.front_door);
    println!("  webhooks received     {}", credentials.webhook_sink);
    println!("  credentials           {}", data_dir.join(credentials::FILE_NAME).display());
}
