//! `countersign`: an OAuth 2.1 authorization server and a payments API in one binary.
//!
//! This crate holds the commands and `dev`; every rule lives in `authz` and `resource-api`.

mod commands;
mod dev;
mod listen;
mod routes;
mod tour;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    let command = commands::Cli::parse();
    // One crypto provider for every TLS connection of the process.
    if rustls::crypto::aws_lc_rs::default_provider().install_default().is_err() {
        eprintln!("countersign: another TLS provider was installed first");
        return ExitCode::FAILURE;
    }
    match command.run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("countersign: {error:#}");
            ExitCode::FAILURE
        }
    }
}
