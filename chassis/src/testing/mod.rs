//! Databases and platforms for tests (feature `testing`): the real SQLite and the real `PostgreSQL`, never a
//! stand-in.
//!
//! `PostgreSQL` is the server that `COUNTERSIGN_TEST_POSTGRES_URL` names (a role that may create databases), or
//! else a cluster of our own, started once per process from the installed binaries and gone with the process.
//! Each test gets a fresh database on it.

#![allow(
    clippy::expect_used,
    clippy::missing_panics_doc,
    reason = "a test that cannot start must stop loudly"
)]

mod cluster;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use tempfile::TempDir;

use crate::clock::FixedClock;
use crate::db::{DatabaseUrl, Db, DbOptions, Engine, Migration};
use crate::entropy::{SeededEntropy, SystemEntropy, bytes};
use crate::platform::Platform;

/// Free memory that makes it the place of databases, KiB: a whole test run leaves some hundred databases behind.
const MEMORY_KIB_MIN: u64 = 6 * 1024 * 1024;

/// An empty database of its own for one test.
#[derive(Debug)]
pub struct TestDatabase {
    url: DatabaseUrl,
    place: Place,
}

/// What keeps the database alive, and what is to be removed with it.
#[derive(Debug)]
enum Place {
    Directory {
        _kept: TempDir,
    },
    /// On our own cluster, which is removed as a whole.
    Cluster,
    /// On a server that outlives us.
    Server {
        admin: DatabaseUrl,
        name: String,
    },
}

impl TestDatabase {
    /// An SQLite file in a directory that is removed in the end.
    pub fn sqlite() -> Self {
        let directory = TempDir::with_prefix_in("countersign-test-", quick_directory());
        let directory = directory.expect("a temporary directory");
        let url = DatabaseUrl::sqlite(&directory.path().join("test.db"));
        Self { url, place: Place::Directory { _kept: directory } }
    }

    /// A database on `PostgreSQL`.
    pub async fn postgres() -> Self {
        let name = database_name();
        if let Ok(text) = std::env::var("COUNTERSIGN_TEST_POSTGRES_URL") {
            let admin: DatabaseUrl = text.parse().expect("COUNTERSIGN_TEST_POSTGRES_URL");
            create_database(&admin, &name).await;
            let mut url = url::Url::parse(&text).expect("COUNTERSIGN_TEST_POSTGRES_URL");
            url.set_path(&name);
            let url = url.as_str().parse().expect("a database URL");
            return Self { url, place: Place::Server { admin, name } };
        }
        let cluster = cluster::running();
        create_database(&cluster.url("postgres"), &name).await;
        Self { url: cluster.url(&name), place: Place::Cluster }
    }

    /// A copy of it as it is now. Nobody may be connected to it.
    ///
    /// # Panics
    /// When it cannot be copied.
    pub async fn copied(&self) -> Self {
        match &self.place {
            Place::Directory { .. } => {
                let copy = Self::sqlite();
                let file = copy.url.path();
                crate::backup::back_up(&self.url, &file).await.expect("copy the test database");
                copy
            }
            Place::Cluster => {
                let (name, cluster) = (database_name(), cluster::running());
                copy_database(&cluster.url("postgres"), &self.url, &name).await;
                Self { url: cluster.url(&name), place: Place::Cluster }
            }
            Place::Server { admin, .. } => {
                let name = database_name();
                copy_database(admin, &self.url, &name).await;
                let mut url = url::Url::parse(&admin.expose()).expect("a database URL");
                url.set_path(&name);
                let url = url.as_str().parse().expect("a database URL");
                Self { url, place: Place::Server { admin: admin.clone(), name } }
            }
        }
    }

    /// One of each engine: `for database in TestDatabase::both().await { .. }`.
    pub async fn both() -> [Self; 2] {
        [Self::sqlite(), Self::postgres().await]
    }

    /// Where it is, for a service's configuration or another process.
    pub fn url(&self) -> &DatabaseUrl {
        &self.url
    }

    /// Which database program it is.
    pub fn engine(&self) -> Engine {
        self.url.engine()
    }

    /// Opens it; every call opens it anew, as another process would.
    pub async fn open(&self) -> Db {
        Db::open(&self.url, &DbOptions::default()).await.expect("open the test database")
    }

    /// Opens it with the chassis' tables and those of `sets`.
    pub async fn migrated(&self, sets: &[(&'static str, &'static [Migration])]) -> Db {
        let db = self.open().await;
        db.migrate("chassis", crate::MIGRATIONS).await.expect("migrate the chassis");
        for (set, steps) in sets {
            db.migrate(set, steps).await.expect("migrate");
        }
        db
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        match &self.place {
            // A directory removes itself; our cluster goes with the process.
            Place::Directory { .. } | Place::Cluster => {}
            Place::Server { admin, name } => {
                let (admin, name) = (admin.clone(), name.clone());
                // Drop cannot wait, and this thread may already run a runtime.
                let dropped = std::thread::spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
                    runtime.expect("a runtime").block_on(drop_database(&admin, &name));
                });
                drop(dropped.join());
            }
        }
    }
}

/// A platform for tests: a clock that stands at `2026-01-01T00:00:00Z` until it is moved, and repeatable
/// random bytes. Development rules apply.
pub fn platform() -> (Platform, Arc<FixedClock>) {
    let clock = Arc::new(FixedClock::at(1_767_225_600));
    let entropy = Arc::new(SeededEntropy::new(1));
    (Platform { clock: clock.clone(), entropy, development: true }, clock)
}

/// Where databases of tests live: in memory where there is plenty of it, because creating a database means creating
/// hundreds of files; else where temporary files do.
fn quick_directory() -> &'static Path {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    DIRECTORY.get_or_init(|| {
        let memory = PathBuf::from("/dev/shm");
        if free_kib(&memory).is_some_and(|free| free >= MEMORY_KIB_MIN) {
            memory
        } else {
            std::env::temp_dir()
        }
    })
}

/// Free space of the file system that a directory is on.
fn free_kib(directory: &Path) -> Option<u64> {
    let output = Command::new("df").args(["-k", "--output=avail"]).arg(directory).output().ok()?;
    String::from_utf8(output.stdout).ok()?.lines().last()?.trim().parse().ok()
}

fn database_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let unlike_others = u32::from_le_bytes(bytes(&SystemEntropy));
    format!("countersign_test_{}_{next}_{unlike_others:08x}", std::process::id())
}

async fn create_database(admin: &DatabaseUrl, name: &str) {
    execute(admin, format!("CREATE DATABASE {name}")).await.expect("create a test database");
}

/// The last connections of whoever used the original may take a moment to be gone.
async fn copy_database(admin: &DatabaseUrl, original: &DatabaseUrl, name: &str) {
    let url = url::Url::parse(&original.expose()).expect("a database URL");
    let template = url.path().trim_start_matches('/').to_owned();
    for _ in 0..50 {
        if execute(admin, format!("CREATE DATABASE {name} TEMPLATE {template}")).await.is_ok() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    panic!("the test database cannot be copied");
}

/// It may have vanished with its server; then there is nothing to drop.
async fn drop_database(admin: &DatabaseUrl, name: &str) {
    drop(execute(admin, format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await);
}

async fn execute(admin: &DatabaseUrl, sql: String) -> Result<(), sqlx::Error> {
    let options: sqlx::postgres::PgConnectOptions = admin.expose().parse()?;
    let mut connection = options.disable_statement_logging().connect().await?;
    connection.execute(sqlx::raw_sql(AssertSqlSafe(sql))).await?;
    connection.close().await
}
