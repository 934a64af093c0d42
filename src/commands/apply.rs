//! `countersign apply`: partners, clients and allowed operations as one file says.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use authz::apply::PlatformFile;
use chassis::Platform;
use secrecy::ExposeSecret;

use super::serve::read;

/// Applies the file and prints the difference, and the secrets that were drawn: this is the only time they are seen.
pub(super) async fn run(config: &Path, file: &Path) -> anyhow::Result<ExitCode> {
    let config: authz::Config = read(config)?;
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let platform_file =
        PlatformFile::parse(&text).map_err(|why| anyhow::anyhow!("{}: {why}", file.display()))?;
    let applied = authz::apply::apply(&config, &Platform::system(false), &platform_file).await?;
    print!("{applied}");
    for partner in &applied.partners {
        for client in &partner.clients {
            println!("{}/{}: client_id {}", partner.alias, client.alias, client.id);
            if let Some(secret) = &client.secret {
                println!(
                    "{}/{}: client_secret {} (shown once)",
                    partner.alias,
                    client.alias,
                    secret.expose_secret()
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
