//! `countersign backup` and `countersign restore`.

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail, ensure};
use chassis::Platform;
use chassis::backup::{Copied, Restoring, back_up};
use chassis::db::{Db, DbOptions};
use chassis::lease::is_anybody_at_work;
use chassis::outbox::rfc3339;
use keys::{RestoreEpoch, UnixSeconds};
use serde::{Deserialize, Serialize};

use super::place::{Place, Where};
use super::serve::Service;
use crate::dev::write_private;

/// What says that a backup is whole: written last.
const MANIFEST: &str = "backup.json";

/// Flags of `countersign backup`.
#[derive(clap::Args)]
pub(super) struct BackupArguments {
    /// A new directory for the copies. Nothing that exists is overwritten.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    place: Where,
}

/// Flags of `countersign restore`.
#[derive(clap::Args)]
pub(super) struct RestoreArguments {
    /// The directory that `countersign backup` made.
    #[arg(long, value_name = "DIR", required_unless_present = "epoch_only", conflicts_with = "epoch_only")]
    from: Option<PathBuf>,
    /// The database is back already, by its own means (PostgreSQL): only void what counts once and was issued before.
    #[arg(long)]
    epoch_only: bool,
    #[command(flatten)]
    place: Where,
}

/// What a backup holds.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Manifest {
    /// Of which release.
    countersign: String,
    /// When it was begun.
    made_at_s: i64,
    databases: Vec<Listed>,
}

/// One database of a backup.
#[derive(Serialize, Deserialize)]
struct Listed {
    service: String,
    file: String,
    #[serde(flatten)]
    copied: Copied,
}

/// Copies each database into a new directory, while services write to them.
pub(super) async fn backup(arguments: BackupArguments) -> anyhow::Result<ExitCode> {
    let out = arguments.out;
    let mut places = arguments.place.places()?;
    drop(arguments.place.databases()?);
    // The payments API first: a user it knows must not be unknown to the authorization server after a restore.
    places.sort_by_key(|place| place.service == Service::Authz);
    let made_at = Platform::system(false).now();
    fs::DirBuilder::new()
        .mode(0o700)
        .create(&out)
        .with_context(|| format!("{}: --out must be a new directory", out.display()))?;
    let mut databases = Vec::new();
    for place in &places {
        let service = place.service.name().to_owned();
        let file = format!("{service}.sqlite");
        let copied = back_up(&place.url, &out.join(&file)).await?;
        println!("{}: {} bytes, checked", out.join(&file).display(), copied.bytes);
        databases.push(Listed { service, file, copied });
    }
    let countersign = env!("CARGO_PKG_VERSION").to_owned();
    let manifest = Manifest { countersign, made_at_s: made_at.0, databases };
    write_private(&out.join(MANIFEST), &serde_json::to_vec_pretty(&manifest)?)?;
    fs::File::open(&out)?.sync_all()?;
    println!(
        "The master keys are not in it: without them nobody can open what is sealed. Keep them elsewhere."
    );
    Ok(ExitCode::SUCCESS)
}

/// Puts backups back into empty places, or begins the next epoch of databases that are back already.
pub(super) async fn restore(arguments: RestoreArguments) -> anyhow::Result<ExitCode> {
    let places = arguments.place.places()?;
    match arguments.from {
        None => {
            for place in &places {
                let db = place.open().await?;
                let done = begin_epoch_of_idle(place, &db).await;
                db.close().await;
                say(place, done?);
            }
        }
        Some(from) => {
            let manifest = manifest(&from)?;
            if let Some(folder) = arguments.place.data_dir() {
                fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            }
            let found: Vec<&Listed> =
                places.iter().map(|place| listed(&manifest, place)).collect::<Result<_, _>>()?;
            for (place, listed) in places.iter().zip(found) {
                put_back(place, &from, listed).await?;
            }
            let made_at = rfc3339(UnixSeconds(manifest.made_at_s));
            println!(
                "What happened after {made_at} is not in it: docs/operations.md says what to tell partners."
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn manifest(from: &Path) -> anyhow::Result<Manifest> {
    let file = from.join(MANIFEST);
    let text = fs::read(&file).with_context(|| {
        format!("{}: cannot be read; is it a directory that `countersign backup` finished?", file.display())
    })?;
    serde_json::from_slice(&text).with_context(|| file.display().to_string())
}

fn listed<'m>(manifest: &'m Manifest, place: &Place) -> anyhow::Result<&'m Listed> {
    let name = place.service.name();
    let found = manifest.databases.iter().find(|listed| listed.service == name);
    let found = found.with_context(|| format!("the backup has no database of {name}"))?;
    let plain = Path::new(&found.file).components().count() == 1 && found.file.ends_with(".sqlite");
    ensure!(plain, "{MANIFEST}: {} is no file of the backup", found.file);
    Ok(found)
}

async fn put_back(place: &Place, from: &Path, listed: &Listed) -> anyhow::Result<()> {
    let restoring = Restoring::begin(&from.join(&listed.file), &listed.copied, &place.url).await?;
    let db = Db::open(&restoring.url(), &DbOptions::default()).await?;
    let begun = async {
        place.migrate(&db).await?;
        begin_epoch(place, &db).await
    };
    let begun = begun.await;
    db.close().await;
    let epoch = begun?;
    restoring.finish().await?;
    say(place, epoch);
    Ok(())
}

/// Refuses where a service is at work: it would go on without knowing of the epoch.
async fn begin_epoch_of_idle(place: &Place, db: &Db) -> anyhow::Result<RestoreEpoch> {
    place.migrate(db).await?;
    let now_ms = Platform::system(false).clock.now_ms();
    if db.read(move |tx| Box::pin(is_anybody_at_work(tx, now_ms))).await? {
        bail!(
            "{}: a service runs on this database; end it, wait 5 seconds and ask again",
            place.service.name()
        );
    }
    begin_epoch(place, db).await
}

async fn begin_epoch(place: &Place, db: &Db) -> anyhow::Result<RestoreEpoch> {
    let platform = Platform::system(false);
    Ok(match place.service {
        Service::Authz => authz::desk::begin_epoch(db, &platform).await?,
        Service::ResourceApi => resource_api::desk::begin_epoch(db, &platform).await?,
    })
}

fn say(place: &Place, epoch: RestoreEpoch) {
    println!(
        "{}: restore epoch {}. One-time tokens, proofs, nonces and signatures from before {} are void.",
        place.service.name(),
        epoch.number(),
        rfc3339(epoch.void_until())
    );
}
