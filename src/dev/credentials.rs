//! `<data-dir>/credentials.json`: all a client needs to start from. A second file beside it keeps the secrets that
//! `dev` drew, because the databases hold only hashes.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The published file's name inside the data directory. It is there while everything answers.
pub(crate) const FILE_NAME: &str = "credentials.json";
/// The same content, written before anything is started with it, so that no crash loses a secret.
const KEPT_NAME: &str = "credentials.kept.json";

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

#[allow(clippy::struct_field_names, reason = "the contract's own member names")]
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
    /// The certificate of a `tls_client_auth` client (RFC 8705), and the key that goes with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) certificate_file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_file: Option<String>,
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
    /// Reads what an earlier start kept; `None` where there was none yet.
    pub(crate) fn kept(data_dir: &Path) -> anyhow::Result<Option<Self>> {
        Self::read(&data_dir.join(KEPT_NAME))
    }

    /// Reads the published file; `None` while not everything answers.
    pub(crate) fn published(data_dir: &Path) -> anyhow::Result<Option<Self>> {
        Self::read(&data_dir.join(FILE_NAME))
    }

    fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        match fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).with_context(|| {
                format!("{} cannot be read; move the data directory away to start afresh", path.display())
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| path.display().to_string()),
        }
    }

    /// Keeps the secrets for the next start.
    pub(crate) fn keep(&self, data_dir: &Path) -> anyhow::Result<()> {
        write_private(&data_dir.join(KEPT_NAME), &serde_json::to_vec_pretty(self)?)
    }

    /// Publishes the file, mode 0600, whole or not at all: the sign that everything answers.
    pub(crate) fn publish(&self, data_dir: &Path) -> anyhow::Result<()> {
        write_private(&data_dir.join(FILE_NAME), &serde_json::to_vec_pretty(self)?)
    }

    /// Takes an earlier start's file away: its addresses may be wrong now.
    pub(crate) fn withdraw(data_dir: &Path) -> anyhow::Result<()> {
        match fs::remove_file(data_dir.join(FILE_NAME)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
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
