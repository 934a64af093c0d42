//! `countersign dev --tour`: a real client that starts from `credentials.json` alone, walks the product's main
//! job and prints every request and answer. Each chapter checks what it shows; the first surprise ends the tour.

mod backend;
mod charges;
pub(crate) mod client;
mod fiat_in;
mod print;
mod pti;
mod receiver;
mod verdicts;
mod wallets;

use std::path::Path;

use anyhow::Context;

use crate::dev::credentials::Credentials;
use backend::Backend;

/// Walks every chapter.
///
/// # Errors
/// At the first answer that is not as it should be; the message says which.
pub(crate) async fn run(data_dir: &Path) -> anyhow::Result<()> {
    let credentials = Credentials::published(data_dir)?.context("credentials.json is not there yet")?;
    println!("\nThe tour: one partner, its backend, its customer's app, and the money between them.");
    println!("Every request below is sent to the services that run here; every ✓ was checked.");
    let mut backend = Backend::new(credentials).await?;
    let paid = fiat_in::eleven_steps(&mut backend).await.context("the eleven steps of a fiat-in")?;
    fiat_in::again(&backend, &paid).await.context("the same request again")?;
    verdicts::refused(&mut backend).await.context("a refused payment")?;
    verdicts::reviewed(&mut backend).await.context("a reviewed payment")?;
    charges::proved_and_refunded(&mut backend).await.context("3-D Secure and a refund")?;
    wallets::kyc_and_transfer(&mut backend, &paid).await.context("KYC and a transfer")?;
    pti::as_their_client(&mut backend).await.context("PTI's own client")?;
    println!("\n━━ The tour is over: everything held.\n");
    Ok(())
}
