//! The master key of a service: from its configuration, and with the root of its keyed hashes from its database.

use std::path::{Path, PathBuf};

use keys::b64;
use keys::seal::{MasterKey, MasterKeys};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use crate::config::read_secret_file;
use crate::db::{Db, Fault, Tx, while_doing};
use crate::sealed::SERVICE_SECRET;
use crate::{Platform, on, row};

/// What a configuration says of master keys. Each is 32 random bytes in base64url.
#[derive(Debug, Clone, Copy)]
pub struct MasterKeySettings<'a> {
    /// `master_key`: what is sealed from now on is sealed under it. This or the file.
    pub key: Option<&'a SecretString>,
    /// `master_key_file`.
    pub file: Option<&'a Path>,
    /// `readable_master_keys`: opened with, never sealed under.
    pub readable: &'a [SecretString],
    /// `readable_master_key_files`: the same in files.
    pub readable_files: &'a [PathBuf],
}

impl MasterKeySettings<'_> {
    /// Reads the keys.
    ///
    /// # Errors
    /// A sentence that begins with the setting it is about, never with a value.
    pub fn read(&self) -> Result<MasterKeys, String> {
        let current = match (self.key, self.file) {
            (Some(text), None) => key_of("master_key", text)?,
            (None, Some(path)) => key_in("master_key_file", path)?,
            _ => return Err("master_key, master_key_file: set exactly one of them".to_owned()),
        };
        let inline = self.readable.iter().map(|text| key_of("readable_master_keys", text));
        let in_files = self.readable_files.iter().map(|path| key_in("readable_master_key_files", path));
        let readable: Vec<MasterKey> = inline.chain(in_files).collect::<Result<_, _>>()?;
        Ok(MasterKeys::new(current, readable))
    }
}

fn key_in(setting: &str, path: &Path) -> Result<MasterKey, String> {
    let text = read_secret_file(path).map_err(|why| format!("{setting}: {why}"))?;
    key_of(setting, &text)
}

fn key_of(setting: &str, text: &SecretString) -> Result<MasterKey, String> {
    let bytes = b64::decode(text.expose_secret()).map(Zeroizing::new).ok();
    let bytes = bytes.and_then(|bytes| <[u8; 32]>::try_from(&bytes[..]).ok());
    // All zeros is a placeholder that somebody forgot.
    let bytes = bytes.filter(|bytes| *bytes != [0; 32]);
    bytes.map(MasterKey::new).ok_or_else(|| format!("{setting}: 32 random bytes in base64url"))
}

/// The name of the hash root among the service's own secrets.
const HASH_ROOT: &str = "hash_root";

struct Sealed {
    sealed: String,
}
row!(Sealed { sealed });

const FIND_SECRET: &str = "SELECT sealed FROM service_secret WHERE name = $1";

const INSERT_SECRET: &str = "INSERT INTO service_secret (name, sealed, created_at_s) VALUES ($1, $2, $3)
    ON CONFLICT (name) DO NOTHING";

/// The master keys with the hash root of this database, which is drawn at the first call: of several nodes that start
/// at once one draws it.
///
/// # Errors
/// When the database fails or the root opens with none of the held keys.
pub async fn with_hash_root(db: &Db, platform: &Platform, master: MasterKeys) -> Result<MasterKeys, Fault> {
    let place = SERVICE_SECRET.place("", HASH_ROOT, "");
    let sealed = if let Some(sealed) = db.read(|tx| Box::pin(find_secret(tx))).await? {
        sealed
    } else {
        let root = Zeroizing::new(platform.random::<32>());
        let drawn =
            master.seal(platform.random(), &place, &root[..]).map_err(while_doing("seal the hash root"))?;
        let now = platform.now().0;
        db.write(move |tx| {
            let drawn = drawn.clone();
            Box::pin(async move {
                insert_secret(tx, &drawn, now).await?;
                find_secret(tx).await?.ok_or_else(|| Fault::new("draw the hash root: it vanished"))
            })
        })
        .await?
    };
    let root = master
        .open(&place, &sealed)
        .map(Zeroizing::new)
        .map_err(while_doing("open the hash root; is this the master key that sealed it?"))?;
    let root = <[u8; 32]>::try_from(&root[..]).map_err(while_doing("read the hash root"))?;
    Ok(master.hashing_with(root))
}

async fn find_secret(tx: &mut Tx) -> Result<Option<String>, Fault> {
    on!(tx, conn => sqlx::query_as::<_, Sealed>(FIND_SECRET).bind(HASH_ROOT).fetch_optional(conn).await)
        .map(|row| row.map(|row| row.sealed))
        .map_err(while_doing("find the hash root"))
}

async fn insert_secret(tx: &mut Tx, sealed: &str, now: i64) -> Result<(), Fault> {
    on!(tx, conn => sqlx::query(INSERT_SECRET)
        .bind(HASH_ROOT)
        .bind(sealed)
        .bind(now)
        .execute(conn)
        .await
        .map(drop))
    .map_err(while_doing("store the hash root"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(byte: u8) -> SecretString {
        b64::encode([byte; 32]).into()
    }

    #[test]
    fn every_key_is_read_and_every_mistake_names_its_setting_and_no_value() {
        let (one, two, bad) = (secret(1), secret(2), SecretString::from("canary-31e7"));
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("key");
        std::fs::write(&file, secret(3).expose_secret()).unwrap();
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        }
        let files = [file];
        let settings =
            MasterKeySettings { key: Some(&one), file: None, readable: &[two], readable_files: &files };
        let keys = settings.read().unwrap();
        assert_eq!(keys.current().id(), MasterKey::new([1; 32]).id());
        for byte in [2, 3] {
            let other = MasterKeys::new(MasterKey::new([byte; 32]), Vec::new());
            let place = SERVICE_SECRET.place("", "x", "");
            let sealed = other.seal([0; 12], &place, b"x").unwrap();
            assert_eq!(keys.open(&place, &sealed).unwrap(), b"x", "{byte}");
        }
        let nowhere = [PathBuf::from("/nowhere/key")];
        let none: [SecretString; 0] = [];
        let zeros = secret(0);
        for (settings, named) in [
            (MasterKeySettings { key: Some(&bad), ..settings }, "master_key: 32 random bytes"),
            (MasterKeySettings { key: Some(&zeros), ..settings }, "master_key: 32 random bytes"),
            (MasterKeySettings { key: None, ..settings }, "master_key, master_key_file"),
            (MasterKeySettings { file: Some(&files[0]), ..settings }, "master_key, master_key_file"),
            (
                MasterKeySettings { readable: std::slice::from_ref(&bad), ..settings },
                "readable_master_keys: 32",
            ),
            (
                MasterKeySettings { readable: &none, readable_files: &nowhere, ..settings },
                "readable_master_key_files: /nowhere/key",
            ),
        ] {
            let said = settings.read().unwrap_err();
            assert!(said.starts_with(named) && !said.contains("canary"), "{named} in {said}");
        }
    }
}
