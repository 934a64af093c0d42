//! `countersign client`: clients of partners, on the authorization server's database.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use authz::desk::Desk;
use authz::domain::audience::Policy;
use authz::domain::certificate::CertificateName;
use authz::domain::client::{AuthMethod, ClientKey, ClientSettings, GrantType, KeyUse, Profile};
use chassis::Platform;
use chassis::outbox::rfc3339;
use clap::Subcommand;
use keys::token::Scope;
use secrecy::ExposeSecret;

use super::place::Where;

/// What can be done with clients. The authorization server may run meanwhile: it follows within a second.
#[derive(Subcommand)]
pub(super) enum ClientCommand {
    /// Add a client to a partner, and print its id and, once, its secret.
    Add(Box<NewClient>),
    /// Give a client a new secret and print it, once.
    RotateSecret {
        /// `cli_…` or partner/alias.
        client: String,
        /// How long the old secret stays good beside the new one, seconds. 0: it is refused within a second.
        #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(i64).range(0..=2_592_000))]
        keep_old_for: i64,
        #[command(flatten)]
        place: Where,
    },
    /// End the old secret that `rotate-secret --keep-old-for` left good: it is refused within a second.
    EndOldSecret {
        /// `cli_…` or partner/alias.
        client: String,
        #[command(flatten)]
        place: Where,
    },
    /// Disable a client: within a second it gets no token, and its tokens are refused everywhere.
    ///
    /// `status = "active"` in a platform file (`countersign apply`) enables it again.
    Disable {
        /// `cli_…` or partner/alias.
        client: String,
        #[command(flatten)]
        place: Where,
    },
}

/// Settings of a new client; a platform file (`countersign apply`) has some more.
#[derive(clap::Args)]
pub(super) struct NewClient {
    /// The partner's alias.
    #[arg(long)]
    partner: String,
    /// The client's name, unique within the partner: a-z 0-9 - _.
    #[arg(long)]
    alias: String,
    /// The most it may be granted, space-separated.
    #[arg(long)]
    scope: Scope,
    /// How it authenticates: `client_secret_basic`, `client_secret_post`, `private_key_jwt`, `tls_client_auth` or `none`.
    #[arg(long, default_value = "client_secret_basic")]
    method: AuthMethod,
    /// A grant type it may use; repeatable. Default: `client_credentials`, and none for the method `none`.
    #[arg(long = "grant-type", value_name = "GRANT")]
    grant_types: Vec<GrantType>,
    /// How every request must be signed: `none`, `http_sig` or `pti_jws`.
    #[arg(long, default_value = "none")]
    profile: Profile,
    /// File with a public JWK that verifies its assertions (`private_key_jwt`); repeatable.
    #[arg(long = "assertion-key", value_name = "JWK_FILE")]
    assertion_keys: Vec<PathBuf>,
    /// File with a public JWK that verifies its request signatures; repeatable.
    #[arg(long = "signature-key", value_name = "JWK_FILE")]
    signature_keys: Vec<PathBuf>,
    /// The name in its certificate (`tls_client_auth`), as in `tls_client_auth_san_dns=backend.example`; also
    /// `tls_client_auth_subject_dn` and `tls_client_auth_san_uri`.
    #[arg(long, value_name = "MEMBER=NAME", value_parser = certificate_name)]
    certificate: Option<CertificateName>,
    /// Its tokens are bound to the certificate that it shows.
    #[arg(long)]
    certificate_bound: bool,
    #[command(flatten)]
    place: Where,
}

fn certificate_name(text: &str) -> Result<CertificateName, String> {
    let (member, name) = text.split_once('=').ok_or("MEMBER=NAME, please")?;
    let member = member.parse().map_err(|_| format!("{member:?} is not known"))?;
    CertificateName::parse(member, name).map_err(|bad| bad.to_string())
}

/// Runs the command.
pub(super) async fn run(command: ClientCommand) -> anyhow::Result<ExitCode> {
    match command {
        ClientCommand::Add(new) => add(*new).await,
        ClientCommand::RotateSecret { client, keep_old_for, place } => {
            rotate_secret(&client, keep_old_for, &place).await
        }
        ClientCommand::EndOldSecret { client, place } => {
            let desk = open(&place).await?;
            let found = desk.find_client(&client).await?;
            let ended = desk.end_old_secret(&found).await?;
            desk.close().await;
            println!(
                "{}: {}",
                found.id,
                if ended { "its old secret is void" } else { "it has no old secret" }
            );
            Ok(ExitCode::SUCCESS)
        }
        ClientCommand::Disable { client, place } => {
            let desk = open(&place).await?;
            let found = desk.find_client(&client).await?;
            desk.disable(&found).await?;
            desk.close().await;
            println!("{}: disabled. It gets no token and its tokens are refused, within a second.", found.id);
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn open(place: &Where) -> anyhow::Result<Desk> {
    // Where the configuration names no database that is there, none is to be made.
    drop(place.databases()?);
    Ok(Desk::open(&place.authz_config()?, Platform::system(false)).await?)
}

async fn add(new: NewClient) -> anyhow::Result<ExitCode> {
    let mut keys = keys_of(KeyUse::Assertion, &new.assertion_keys)?;
    keys.extend(keys_of(KeyUse::Signature, &new.signature_keys)?);
    let grant_types = if new.grant_types.is_empty() && new.method != AuthMethod::None {
        vec![GrantType::ClientCredentials]
    } else {
        new.grant_types
    };
    let settings = ClientSettings {
        alias: new.alias,
        auth_method: new.method,
        scope: Policy::new(new.scope),
        grant_types,
        profile: new.profile,
        allowed_origins: Vec::new(),
        access_token_ttl_s: None,
        legacy_assertion_audience: false,
        dpop_required: false,
        certificate: new.certificate,
        certificate_bound: new.certificate_bound,
        keys,
    };
    let desk = open(&new.place).await?;
    let (client, secret) = desk.add_client(&new.partner, settings).await?;
    desk.close().await;
    println!("client_id {}", client.id);
    if let Some(secret) = secret {
        println!("client_secret {} (shown once)", secret.expose_secret());
    }
    Ok(ExitCode::SUCCESS)
}

fn keys_of(key_use: KeyUse, files: &[PathBuf]) -> anyhow::Result<Vec<ClientKey>> {
    let read = |file: &PathBuf| {
        let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
        let jwk = serde_json::from_str(&text).with_context(|| file.display().to_string())?;
        ClientKey::from_jwk(key_use, &jwk).with_context(|| file.display().to_string())
    };
    files.iter().map(read).collect()
}

async fn rotate_secret(client: &str, keep_old_for: i64, place: &Where) -> anyhow::Result<ExitCode> {
    let desk = open(place).await?;
    let found = desk.find_client(client).await?;
    let secret = desk.rotate_secret(&found, keep_old_for).await?;
    desk.close().await;
    println!("client_id {}", found.id);
    println!("client_secret {} (shown once)", secret.expose_secret());
    if keep_old_for == 0 {
        println!("The old secret is refused within a second.");
    } else {
        let until = rfc3339(Platform::system(false).now().plus(keep_old_for));
        println!(
            "The old secret is good until {until}, or until `countersign client end-old-secret {}`.",
            found.id
        );
    }
    Ok(ExitCode::SUCCESS)
}
