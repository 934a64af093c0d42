//! `make bench`: what an operation costs, as a ratio to the least it could cost on this machine in this run.
//!
//! Servers run as processes of their own; their CPU time is read from the system before and after each load. Quote
//! ratios: absolute figures of a shared machine swing by half.

mod floods;
mod floor;
mod guarded;
mod load;
mod process;
mod product;
mod rows;
mod table;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use mimalloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// Length of one load.
const LOAD: Duration = Duration::from_secs(3);

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    rustls::crypto::aws_lc_rs::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("a TLS provider was installed already"))?;
    match mode.as_deref() {
        Some("floor") => runtime.block_on(floor::serve(&folder(arguments.next())?)),
        Some("guarded") => runtime.block_on(guarded::serve(&folder(arguments.next())?)),
        None => runtime.block_on(async {
            rows::measure_all(LOAD).await?;
            println!();
            floods::measure(LOAD).await
        }),
        Some("floods") => runtime.block_on(floods::measure(LOAD)),
        Some("--help" | "-h") => {
            println!("bench: measures every row and prints the table, then token issue beside floods (about four minutes).
bench floods: only the latter.");
            Ok(())
        }
        Some(other) => anyhow::bail!("{other:?} is not known; `bench --help`"),
    }
}

fn folder(argument: Option<String>) -> anyhow::Result<PathBuf> {
    argument.map(PathBuf::from).context("a folder is missing")
}
