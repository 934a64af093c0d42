//! Where the database is, and how it is opened.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, de};

/// Which database program answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// The embedded one, one file.
    Sqlite,
    /// `PostgreSQL` 15 or later.
    Postgres,
}

/// `sqlite:PATH` or `postgres://...`. It may hold a password, so `Debug` and `Display` show the engine only.
#[derive(Clone)]
pub struct DatabaseUrl {
    engine: Engine,
    rest: SecretString,
}

/// Why a text is no [`DatabaseUrl`].
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a database URL is sqlite:PATH (a file) or postgres://...")]
pub struct BadDatabaseUrl;

impl FromStr for DatabaseUrl {
    type Err = BadDatabaseUrl;

    fn from_str(text: &str) -> Result<Self, BadDatabaseUrl> {
        if let Some(rest) = text.strip_prefix("sqlite:") {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            let is_file = !path.is_empty() && !path.contains(":memory:") && !path.contains('?');
            return if is_file { Ok(Self::sqlite(Path::new(path))) } else { Err(BadDatabaseUrl) };
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self { engine: Engine::Postgres, rest: SecretString::from(text.to_owned()) });
        }
        Err(BadDatabaseUrl)
    }
}

impl DatabaseUrl {
    /// The SQLite file at this path.
    pub fn sqlite(path: &Path) -> Self {
        Self { engine: Engine::Sqlite, rest: SecretString::from(path.to_string_lossy().into_owned()) }
    }

    /// Which database program it names.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// The URL itself, password included: for handing it to another process, never for a log.
    pub fn expose(&self) -> String {
        match self.engine {
            Engine::Sqlite => format!("sqlite:{}", self.rest.expose_secret()),
            Engine::Postgres => self.rest.expose_secret().to_owned(),
        }
    }

    /// The file of an SQLite database; `None` for any other.
    pub fn sqlite_file(&self) -> Option<PathBuf> {
        (self.engine == Engine::Sqlite).then(|| self.path())
    }

    /// The file of an SQLite database.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(self.rest.expose_secret())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({:?})", self.engine)
    }
}

impl<'de> Deserialize<'de> for DatabaseUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// Limits of one open database. The defaults are right for a service.
#[derive(Debug, Clone)]
pub struct DbOptions {
    /// Connections that read an SQLite file at once.
    pub readers: u32,
    /// Connections to `PostgreSQL`.
    pub connections: u32,
    /// Units that may wait; more are refused with a retryable [`Fault`](crate::db::Fault).
    pub queue_max: usize,
    /// How long one unit may take.
    pub unit_limit: Duration,
    /// How long one read may take.
    pub read_limit: Duration,
    /// How long to wait for a free connection, or for another process to release an SQLite file.
    pub wait_limit: Duration,
    /// Units that share one commit on SQLite.
    pub group_units_max: usize,
    /// Work after which a group is committed on SQLite.
    pub group_time: Duration,
}

impl Default for DbOptions {
    fn default() -> Self {
        Self {
            readers: 4,
            connections: 16,
            queue_max: 4096,
            unit_limit: Duration::from_secs(1),
            read_limit: Duration::from_secs(3),
            wait_limit: Duration::from_secs(2),
            group_units_max: 256,
            group_time: Duration::from_millis(50),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_an_sqlite_url_name_a_file() {
        for text in ["sqlite:/var/lib/authz.db", "sqlite:///var/lib/authz.db"] {
            let url: DatabaseUrl = text.parse().unwrap();
            assert_eq!(url.path(), Path::new("/var/lib/authz.db"), "{text}");
            assert_eq!(url.engine(), Engine::Sqlite);
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "sqlite:", "sqlite::memory:", "sqlite:a.db?mode=ro", "mysql://host/db", "authz.db"] {
            assert_eq!(text.parse::<DatabaseUrl>().unwrap_err(), BadDatabaseUrl, "{text}");
        }
    }

    #[test]
    fn a_password_does_not_show() {
        let url: DatabaseUrl = "postgres://app:hunter2@db/authz".parse().unwrap();
        assert_eq!(format!("{url:?}"), "DatabaseUrl(Postgres)");
        assert!(url.expose().contains("hunter2"));
    }
}
