//! `countersign sandbox-gateway`: the scriptable payment gateway of `dev` as a process of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use chassis::shutdown::Shutdown;
use chassis::telemetry;
use resource_api::sandbox::{self, Sandbox, SandboxOptions};
use tokio::net::TcpListener;

/// Where it listens and what it keeps.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Address to listen on; plain HTTP, for use behind a load balancer.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8090")]
    listen: SocketAddr,
    /// File that keeps what it collected over restarts; without one it forgets.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
}

/// Serves it until it is told to end.
pub(super) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let _log = telemetry::init(telemetry::Format::Json, "info")?;
    let shutdown = Shutdown::on_signals()?;
    let options = SandboxOptions { record_file: arguments.record, ..SandboxOptions::default() };
    let sandbox = Sandbox::new(&options).context("the record")?;
    let listener = TcpListener::bind(arguments.listen).await;
    let listener = listener.with_context(|| format!("cannot listen on {}", arguments.listen))?;
    sandbox::serve(sandbox, listener, async move { shutdown.triggered().await }).await?;
    Ok(ExitCode::SUCCESS)
}
