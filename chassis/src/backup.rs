//! Copies of an SQLite file while services write to it, and putting one back.
//!
//! A copy is what `VACUUM INTO` makes of one moment: whole, checked, without the write-ahead log. A copy is put back
//! beside the place where it belongs, brought up to date there, and moved in with one link, so that nothing ever runs
//! on a half-restored file. `PostgreSQL` brings its own means (`docs/operations.md`).

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use keys::b64;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::time::sleep;

use crate::db::{DatabaseUrl, Engine, Fault, while_doing};

/// How long closed connections may take to let go of a file.
const CLOSING_TRIES: u32 = 100;
const CLOSING_PAUSE: Duration = Duration::from_millis(50);

/// Bytes read at once.
const CHUNK: usize = 1 << 20;

/// A copy of a database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copied {
    /// Size in bytes.
    pub bytes: u64,
    /// base64url(SHA-256).
    pub sha256: String,
}

/// Copies the database as it is at one moment into a new file that only its owner may read. Whoever writes to the
/// database meanwhile is not held up.
///
/// # Errors
/// When it is no SQLite database or not there, the file exists already, the disk is full, or the copy does not pass
/// SQLite's own check.
pub async fn back_up(from: &DatabaseUrl, to: &Path) -> Result<Copied, Fault> {
    let source = file_of(from)?;
    let shown = to.display().to_string();
    let created = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    created.map_err(while_doing_at("create", to))?;
    let options = SqliteConnectOptions::new().filename(&source).create_if_missing(false);
    let mut connection = connect(options, "open the database to copy it").await?;
    let copied = sqlx::query("VACUUM INTO $1").bind(shown).execute(&mut connection).await;
    copied.map_err(while_doing("copy the database"))?;
    connection.close().await.map_err(while_doing("close the database"))?;
    check(to).await?;
    sync(to)?;
    measure(to.to_path_buf()).await
}

/// A backup on its way into the place of a database.
#[derive(Debug)]
pub struct Restoring {
    place: PathBuf,
    beside: PathBuf,
}

impl Restoring {
    /// Copies the backup beside the place and checks it. What an interrupted attempt left there is replaced.
    ///
    /// # Errors
    /// When there is a database at the place, the backup is not the one that was measured, or it is damaged.
    pub async fn begin(backup: &Path, measured: &Copied, to: &DatabaseUrl) -> Result<Self, Fault> {
        let place = file_of(to)?;
        if [place.clone(), with(&place, "-wal")].iter().any(|file| file.exists()) {
            return Err(Fault::new(format!(
                "restore: {} exists; move it away, or restore into an empty place",
                place.display()
            )));
        }
        let beside = with(&place, ".restoring");
        for ending in ["", "-wal", "-shm", "-journal"] {
            // Left by an attempt that was cut off; mostly there is none.
            drop(std::fs::remove_file(with(&beside, ending)));
        }
        if measure(backup.to_path_buf()).await? != *measured {
            return Err(Fault::new(format!(
                "restore: {} is not the file that was backed up: its size or SHA-256 differs",
                backup.display()
            )));
        }
        let (source, target) = (backup.to_path_buf(), beside.clone());
        let copying = tokio::task::spawn_blocking(move || copy(&source, &target));
        copying.await.map_err(while_doing("copy the backup"))??;
        check(&beside).await?;
        Ok(Self { place, beside })
    }

    /// The database beside the place, to be brought up to date before it is moved in. Close it afterwards.
    pub fn url(&self) -> DatabaseUrl {
        DatabaseUrl::sqlite(&self.beside)
    }

    /// Moves the database into its place.
    ///
    /// # Errors
    /// When there is one by now, or the disk fails; then the place is as it was.
    pub async fn finish(self) -> Result<(), Fault> {
        // Everything into the one file, without a log beside it.
        let options =
            SqliteConnectOptions::new().filename(&self.beside).journal_mode(SqliteJournalMode::Delete);
        // Connections that were closed a moment ago may hold the file still.
        let mut opened = connect(options.clone(), "open the restored database").await;
        for _ in 0..CLOSING_TRIES {
            if !opened.as_ref().is_err_and(Fault::is_retryable) {
                break;
            }
            sleep(CLOSING_PAUSE).await;
            opened = connect(options.clone(), "open the restored database").await;
        }
        let connection = opened?;
        connection.close().await.map_err(while_doing("close the restored database"))?;
        sync(&self.beside)?;
        // A link, unlike a renaming, never replaces what is there.
        std::fs::hard_link(&self.beside, &self.place).map_err(while_doing_at("move in", &self.place))?;
        std::fs::remove_file(&self.beside).map_err(while_doing_at("remove", &self.beside))?;
        let folder = self.place.parent().filter(|folder| !folder.as_os_str().is_empty());
        sync(folder.unwrap_or(Path::new(".")))
    }
}

fn file_of(url: &DatabaseUrl) -> Result<PathBuf, Fault> {
    match url.engine() {
        Engine::Sqlite => Ok(url.path()),
        Engine::Postgres => Err(Fault::new(
            "this database is PostgreSQL's: use its own means (pg_basebackup and WAL archiving, or pg_dump), then \
             `countersign restore --epoch-only`; docs/operations.md, Backup and restore",
        )),
    }
}

fn with(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn while_doing_at(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Fault {
    let shown = path.display().to_string();
    move |error| Fault::new(format!("{doing} {shown}: {error}"))
}

async fn connect(options: SqliteConnectOptions, doing: &'static str) -> Result<SqliteConnection, Fault> {
    SqliteConnection::connect_with(&options.disable_statement_logging()).await.map_err(while_doing(doing))
}

/// SQLite's own check of every page and index.
async fn check(file: &Path) -> Result<(), Fault> {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(false).read_only(true);
    let mut connection = connect(options, "open the copy").await?;
    let found: Vec<(String,)> = sqlx::query_as("PRAGMA integrity_check(3)")
        .fetch_all(&mut connection)
        .await
        .map_err(while_doing("check the copy"))?;
    connection.close().await.map_err(while_doing("close the copy"))?;
    if found.iter().any(|(line,)| line != "ok") {
        return Err(Fault::new(format!("check {}: it is damaged", file.display())));
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<(), Fault> {
    let mut source = File::open(from).map_err(while_doing_at("open", from))?;
    let target = OpenOptions::new().write(true).create_new(true).mode(0o600).open(to);
    let mut target = target.map_err(while_doing_at("create", to))?;
    std::io::copy(&mut source, &mut target).map_err(while_doing_at("write", to))?;
    target.sync_all().map_err(while_doing_at("write", to))
}

fn sync(path: &Path) -> Result<(), Fault> {
    File::open(path).and_then(|file| file.sync_all()).map_err(while_doing_at("write", path))
}

async fn measure(path: PathBuf) -> Result<Copied, Fault> {
    let measuring = tokio::task::spawn_blocking(move || {
        let mut file = File::open(&path).map_err(while_doing_at("open", &path))?;
        let (mut context, mut bytes, mut chunk) = (Context::new(&SHA256), 0_u64, vec![0; CHUNK]);
        loop {
            let read = file.read(&mut chunk).map_err(while_doing_at("read", &path))?;
            if read == 0 {
                return Ok(Copied { bytes, sha256: b64::encode(context.finish()) });
            }
            bytes += read as u64;
            context.update(&chunk[..read]);
        }
    });
    measuring.await.map_err(while_doing("measure a file"))?
}
