//! Where `dev` keeps what it stores: two SQLite files of the data directory, or what `databases.toml` beside them names.
//!
//! The tests of crashes write that file, so that the same process with the same files is killed on PostgreSQL too. It is
//! a file and not a flag because every command that takes `--data-dir` has to find the same databases.

use std::path::Path;

use anyhow::{Context, ensure};
use chassis::DatabaseUrl;
use serde::Deserialize;

const FILE_NAME: &str = "databases.toml";

/// The databases of both services.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Databases {
    pub(crate) authz: DatabaseUrl,
    pub(crate) resource_api: DatabaseUrl,
}

impl Databases {
    /// Those of a data directory, whether or not they exist yet.
    ///
    /// # Errors
    /// When `databases.toml` is there and cannot be understood.
    pub(crate) fn of(data_dir: &Path) -> anyhow::Result<Self> {
        let named = data_dir.join(FILE_NAME);
        if named.exists() {
            let text = std::fs::read_to_string(&named).with_context(|| named.display().to_string())?;
            return toml::from_str(&text).with_context(|| named.display().to_string());
        }
        let file = |service: &str| DatabaseUrl::sqlite(&data_dir.join(format!("{service}.sqlite")));
        Ok(Self { authz: file("authz"), resource_api: file("resource-api") })
    }

    /// As [`Databases::of`], for commands that look at what is there.
    ///
    /// # Errors
    /// Also when an SQLite file is absent: opening it would make an empty one.
    pub(crate) fn existing(data_dir: &Path) -> anyhow::Result<Self> {
        let found = Self::of(data_dir)?;
        for url in [&found.authz, &found.resource_api] {
            if url.engine() == chassis::Engine::Sqlite {
                let file = url.path();
                ensure!(file.exists(), "{} does not exist", file.display());
            }
        }
        Ok(found)
    }
}
