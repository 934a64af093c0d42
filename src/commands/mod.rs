//! The command line.

mod apply;
mod audit;
mod backup;
mod client;
mod explain;
mod gateway_events;
mod keys;
mod ledger;
mod place;
mod ready;
mod sandbox_gateway;
mod serve;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use resource_api::operations::parked_events::Verdict;

use crate::dev::DevArguments;

/// The prefix of environment variables that override a configuration file.
const ENVIRONMENT_PREFIX: &str = "COUNTERSIGN__";

/// An OAuth 2.1 authorization server and a payments API.
#[derive(Parser)]
#[command(name = "countersign", version, about, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Both services in one process on two `SQLite` files, on loopback only, with partners, users and clients to try.
    Dev(DevArguments),
    /// Run the authorization server.
    Authz(ServiceArguments),
    /// Run the payments API.
    ResourceApi(ServiceArguments),
    /// Apply database migrations and exit.
    Migrate {
        /// A service's configuration file; repeat it for the other service.
        #[arg(long, required = true, value_name = "FILE")]
        config: Vec<PathBuf>,
    },
    /// Ask the service of a configuration whether it is ready for traffic; exit status 1 if not. For health checks.
    Ready(ServiceArguments),
    /// Print which service answers which path of the front door, for a load balancer: a regular expression and a
    /// service a line, the first match decides.
    Routes,
    /// Run the sandbox payment gateway: test cards, scripted outcomes, no money.
    SandboxGateway(sandbox_gateway::Arguments),
    /// Bring partners, clients and allowed operations to what a platform file says; prints the difference.
    Apply {
        /// Configuration file of the authorization server.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// The platform file.
        #[arg(short = 'f', long = "file", value_name = "PLATFORM.toml")]
        file: PathBuf,
    },
    /// Say what is known of a request that was refused: when, for whom, why, and what to do about it.
    Explain {
        /// The `error_id` of the answer (`err_…`), or its header `x-request-id`.
        error_id: String,
        #[command(flatten)]
        place: place::Where,
    },
    /// Look after signing keys and the master key.
    Keys {
        #[command(subcommand)]
        command: keys::KeysCommand,
    },
    /// Look after clients.
    Client {
        #[command(subcommand)]
        command: client::ClientCommand,
    },
    /// Copy `SQLite` databases into a new directory, while services run on them.
    Backup(backup::BackupArguments),
    /// Put a backup back into an empty place. What counts once and was issued before is void afterwards.
    Restore(backup::RestoreArguments),
    /// Look after the audit.
    Audit {
        #[command(subcommand)]
        command: AuditCommand,
    },
    /// Look after events of the payment gateway that do not fit the charge they name.
    GatewayEvents {
        #[command(subcommand)]
        command: GatewayEventsCommand,
    },
    /// Look after the ledger.
    Ledger {
        #[command(subcommand)]
        command: LedgerCommand,
    },
}

#[derive(Subcommand)]
enum AuditCommand {
    /// Prove order, completeness and content of every chain; exit status 1 if anything was changed.
    Verify(place::Where),
}

#[derive(Subcommand)]
enum GatewayEventsCommand {
    /// List those that wait for a person, oldest first.
    List(ledger::Where),
    /// Have one tried again, after what it did not fit was put right.
    Again(gateway_events::Decision),
    /// Leave one aside, after it was looked into.
    Dismiss(gateway_events::Decision),
}

#[derive(Subcommand)]
enum LedgerCommand {
    /// Prove that every sum, sequence and floor holds; exit status 1 if not.
    Verify(ledger::Where),
}

/// How a service is told its settings.
#[derive(clap::Args)]
struct ServiceArguments {
    /// Configuration file. Any key can be overridden by an environment variable, `COUNTERSIGN__KEY` or
    /// `COUNTERSIGN__TABLE__KEY`.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
}

impl Cli {
    /// Runs the command.
    ///
    /// # Errors
    /// With a text for the person at the terminal.
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Dev(arguments) => crate::dev::run(arguments).await,
            Command::Authz(arguments) => serve::authz(&arguments.config).await,
            Command::ResourceApi(arguments) => serve::resource_api(&arguments.config).await,
            Command::Migrate { config } => serve::migrate(&config).await,
            Command::Ready(arguments) => ready::run(&arguments.config).await,
            Command::SandboxGateway(arguments) => sandbox_gateway::run(arguments).await,
            Command::Routes => {
                print!("{}", crate::routes::Routes::of_services()?);
                Ok(ExitCode::SUCCESS)
            }
            Command::Apply { config, file } => apply::run(&config, &file).await,
            Command::Explain { error_id, place } => explain::explain(&error_id, place).await,
            Command::Keys { command } => keys::run(command).await,
            Command::Client { command } => client::run(command).await,
            Command::Backup(arguments) => backup::backup(arguments).await,
            Command::Restore(arguments) => backup::restore(arguments).await,
            Command::Audit { command: AuditCommand::Verify(place) } => audit::verify(place).await,
            Command::GatewayEvents { command } => match command {
                GatewayEventsCommand::List(place) => gateway_events::list(place).await,
                GatewayEventsCommand::Again(which) => gateway_events::decide(which, Verdict::Again).await,
                GatewayEventsCommand::Dismiss(which) => {
                    gateway_events::decide(which, Verdict::Dismissed).await
                }
            },
            Command::Ledger { command: LedgerCommand::Verify(place) } => ledger::verify(place).await,
        }
    }
}
