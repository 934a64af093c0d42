//! `<data-dir>/credentials.json`: all a client needs to start from. It is also where `dev` keeps the secrets it
//! drew, because the databases hold only hashes.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The file's name inside the data directory.
pub(crate) const FILE_NAME: &str = "credentials.json";

/// What `dev` publishes to the developer. Names are those of the contract.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Credentials {
    pub(crate) issuer: String,
    pub(crate) resource: String,
    pub(crate) front_door: String,
    pub(crate) shop: String,
    pub(crate) ca_file: Option<String>,
    pub(crate) ops: Ops,
    pub(crate) partners: Vec<Partner>,
    pub(crate) clients: Vec<Client>,
    pub(crate) users: Vec<User>,
    pub(crate) inbox: String,
    pub(crate) webhook_sink: String,
}

/// The ops listeners.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Ops {
    pub(crate) authz: String,
    pub(crate) resource_api: String,
}

/// A tenant.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Partner {
    pub(crate) id: String,
    pub(crate) alias: String,
}

/// A client with its secrets. Absent members do not apply to its authentication method.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Client {
    pub(crate) alias: String,
    pub(crate) partner: String,
    pub(crate) client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) client_secret: Option<String>,
    pub(crate) token_endpoint_auth_method: String,
    pub(crate) scope: String,
    pub(crate) grant_types: Vec<String>,
    pub(crate) redirect_uris: Vec<String>,
    /// Signs client assertions (RFC 7523), or every request of a `pti-jws` client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) private_jwk: Option<Value>,
    /// Signs requests (RFC 9421).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) signature_jwk: Option<Value>,
}

/// A user registered under the partner's own id.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct User {
    pub(crate) alias: String,
    pub(crate) external_id: String,
    pub(crate) partner: String,
    pub(crate) sub: String,
}

impl Credentials {
    /// Reads the file of an earlier start; `None` where there is none yet.
    pub(crate) fn read(data_dir: &Path) -> anyhow::Result<Option<Self>> {
        let path = data_dir.join(FILE_NAME);
        match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(|| {
                format!("{} cannot be read; move the data directory away to start afresh", path.display())
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Writes the file with mode 0600, whole or not at all.
    pub(crate) fn write(&self, data_dir: &Path) -> anyhow::Result<()> {
        write_private(&data_dir.join(FILE_NAME), &serde_json::to_vec_pretty(self)?)
    }

    /// The client with this alias.
    pub(crate) fn client(&self, alias: &str) -> anyhow::Result<&Client> {
        self.clients
            .iter()
            .find(|client| client.alias == alias)
            .with_context(|| format!("credentials.json has no client {alias}"))
    }
}

/// Writes a file that only its owner may read, through a neighbour that is renamed into place.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let part = path.with_extension("part");
    let _ = fs::remove_file(&part);
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)
        .with_context(|| part.display().to_string())?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&part, path).with_context(|| path.display().to_string())
}
