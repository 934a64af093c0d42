//! The operator's commands: `migrate`, `apply`, and what a service refuses to start with.

pub(crate) mod running;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use chassis::testing::TestDatabase;
use tempfile::TempDir;

use crate::process::{Ports, countersign, run, said};

/// 32 bytes in base64url.
const MASTER_KEY: &str = "AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA";
/// What a service prints of a value that it refuses: nothing.
const CANARY: &str = "canary-31e7";

/// Configuration files and keys of both services in a folder.
pub(crate) struct Files {
    pub(crate) folder: TempDir,
    authz: String,
    resource_api: String,
    pub(crate) ports: [u16; 2],
}

impl Files {
    /// On these databases; the text of each file can be changed before it is used.
    pub(crate) fn on(authz: &str, resource_api: &str) -> Self {
        let folder = TempDir::with_prefix("countersign-config-").expect("a temporary directory");
        let [listen, ops, ..] = Ports::fixed().numbers();
        let client_key =
            keys::SigningKey::es256_from_seed([9; 32]).expect("a key").to_private_jwk().expect("a JWK");
        let authz = format!(
            "issuer = \"https://id.example.com\"\nresource_api = \"https://api.example.com\"\n\
             listen = [\"127.0.0.1:{listen}\"]\nops_listen = [\"127.0.0.1:{ops}\"]\n\
             database_url = \"{authz}\"\nmaster_key_file = \"{}\"\n",
            folder.path().join("master").display()
        );
        let resource_api = format!(
            "issuer = \"https://id.example.com\"\nresource = \"https://api.example.com\"\n\
             listen = [\"127.0.0.1:{listen}\"]\nops_listen = [\"127.0.0.1:{ops}\"]\n\
             database_url = \"{resource_api}\"\nmaster_key_file = \"{}\"\n\n\
             [client]\nclient_id = \"cli_1\"\nprivate_jwk_file = \"{}\"\n\n\
             [gateway]\nbase_url = \"https://gateway.example.com\"\n",
            folder.path().join("master").display(),
            folder.path().join("client.jwk").display()
        );
        let files = Self { folder, authz, resource_api, ports: [listen, ops] };
        files.private("master", MASTER_KEY);
        files.private("client.jwk", &client_key.to_string());
        files
    }

    fn on_sqlite() -> Self {
        let folder = TempDir::with_prefix("countersign-data-").expect("a temporary directory").keep();
        let url = |name: &str| format!("sqlite:{}", folder.join(name).display());
        Self::on(&url("authz.sqlite"), &url("resource-api.sqlite"))
    }

    pub(crate) fn private(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("mode");
        path
    }

    pub(crate) fn authz_file(&self) -> String {
        self.private("authz.toml", &self.authz).display().to_string()
    }

    /// Another master key takes the place of the present one, which can still be read with.
    pub(crate) fn change_master(&mut self) {
        let next = self.private("master.next", &keys::b64::encode([9; 32])).display().to_string();
        let line = format!("master_key_file = \"{}\"\n", self.folder.path().join("master").display());
        let readable =
            line.replace("master_key_file = ", "readable_master_key_files = [").replace("\"\n", "\"]\n");
        let both = format!("master_key_file = \"{next}\"\n{readable}");
        self.authz = self.authz.replace(&line, &both);
        self.resource_api = self.resource_api.replace(&line, &both);
    }

    pub(crate) fn resource_api_file(&self) -> String {
        self.private("resource-api.toml", &self.resource_api).display().to_string()
    }
}

#[track_caller]
pub(crate) fn succeeded(output: &Output) -> String {
    let said = said(output);
    assert!(output.status.success(), "{said}");
    said
}

#[track_caller]
pub(crate) fn refused(output: &Output) -> String {
    let said = said(output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(!said.contains(CANARY), "a refused value is not shown: {said}");
    said
}

#[tokio::test]
async fn migrate_prepares_both_databases_as_often_as_one_likes() {
    for [authz, resource_api] in [
        [TestDatabase::sqlite(), TestDatabase::sqlite()],
        [TestDatabase::postgres().await, TestDatabase::postgres().await],
    ] {
        let files = Files::on(&authz.url().expose(), &resource_api.url().expose());
        for _ in 0..2 {
            let output =
                run(&["migrate", "--config", &files.authz_file(), "--config", &files.resource_api_file()]);
            let said = succeeded(&output);
            assert_eq!(said.matches("up to date").count(), 2, "{said}");
        }
        let output = run(&["ledger", "verify", "--config", &files.resource_api_file()]);
        assert!(!succeeded(&output).is_empty());
    }
}

#[test]
fn migrate_refuses_a_file_of_neither_service() {
    let files = Files::on_sqlite();
    let neither =
        files.private("neither.toml", "issuer = \"https://id.example.com\"\n").display().to_string();
    let said = refused(&run(&["migrate", "--config", &neither]));
    assert!(said.contains("neither.toml"), "{said}");
    assert_ne!(run(&["migrate"]).status.code(), Some(0), "a file is needed");
    let said = refused(&run(&["migrate", "--config", "/nowhere/authz.toml"]));
    assert!(said.contains("/nowhere/authz.toml"), "{said}");
}

pub(crate) const PLATFORM: &str = "[[partner]]\nalias = \"acme\"\n\n[[partner.client]]\nalias = \"backend\"\n\
    token_endpoint_auth_method = \"client_secret_basic\"\nscope = \"users:read users:write\"\n\
    grant_types = [\"client_credentials\"]\n";

#[tokio::test]
async fn apply_prints_what_it_changes_and_the_second_time_that_there_is_nothing_to_do() {
    for [authz, resource_api] in [
        [TestDatabase::sqlite(), TestDatabase::sqlite()],
        [TestDatabase::postgres().await, TestDatabase::postgres().await],
    ] {
        let files = Files::on(&authz.url().expose(), &resource_api.url().expose());
        let config = files.authz_file();
        let platform = files.private("PLATFORM.toml", PLATFORM).display().to_string();
        let first = succeeded(&run(&["apply", "--config", &config, "-f", &platform]));
        for line in ["+ partner acme", "+ client acme/backend", "acme/backend: client_id ", "(shown once)"] {
            assert!(first.contains(line), "{line} in {first}");
        }
        let second = succeeded(&run(&["apply", "--config", &config, "-f", &platform]));
        assert!(second.starts_with("nothing to do"), "{second}");
        assert!(!second.contains("client_secret"), "{second}");
        files.private("PLATFORM.toml", &PLATFORM.replace("users:read ", ""));
        let third = succeeded(&run(&["apply", "--config", &config, "-f", &platform]));
        assert!(third.contains("~ client acme/backend") && third.contains("scope"), "{third}");
        assert!(!third.contains("+ "), "{third}");
    }
}

#[test]
fn a_platform_file_with_mistakes_changes_nothing_and_names_each() {
    let files = Files::on_sqlite();
    let config = files.authz_file();
    for (change, with, named) in [
        ("alias = \"acme\"", "alias = \"acme\"\nalais = 1", "line 3"),
        ("users:read", "users:raed", "scope: unknown_scope"),
        ("client_secret_basic", "client_secret_jwt", "line 6"),
        ("alias = \"backend\"", "alias = \"backend\"\nsecret = \"canary-31e7\"", "secret"),
        ("alias = \"backend\"", "alias = \"backend\"\nsecret = \"\"", "secret"),
    ] {
        let platform = files.private("PLATFORM.toml", &PLATFORM.replace(change, with)).display().to_string();
        let said = refused(&run(&["apply", "--config", &config, "-f", &platform]));
        assert!(said.contains(named), "{named} in {said}");
    }
    let platform = files.private("PLATFORM.toml", PLATFORM).display().to_string();
    let said = succeeded(&run(&["apply", "--config", &config, "-f", &platform]));
    assert!(said.contains("+ partner acme"), "nothing was there before: {said}");
}

#[test]
fn unknown_keys_wrong_types_and_missing_keys_are_named_at_once_with_their_lines() {
    let mut files = Files::on_sqlite();
    files.authz = format!("isuer = \"{CANARY}\"\n{}client_token_ttl_s = \"{CANARY}\"\n", files.authz)
        .replace("resource_api = ", "resource_ipa = ");
    let file = files.authz_file();
    let said = refused(&run(&["authz", "--config", &file]));
    for problem in [
        "authz.toml:1: isuer: unknown key",
        "authz.toml:3: resource_ipa: unknown key",
        "resource_api: missing",
    ] {
        assert!(said.contains(problem), "{problem} in {said}");
    }
    assert!(said.contains("authz.toml:8: client_token_ttl_s"), "{said}");

    files.resource_api =
        files.resource_api.replace("[client]\n", &format!("[client]\nsecret = \"{CANARY}\"\n"));
    files.resource_api.push_str("retries = 3\n");
    let file = files.resource_api_file();
    let said = refused(&run(&["resource-api", "--config", &file]));
    for problem in [":9: client.secret: unknown key", ":15: gateway.retries: unknown key"] {
        assert!(said.contains(problem), "{problem} in {said}");
    }
}

#[test]
fn an_unknown_variable_of_ours_is_refused_like_an_unknown_key() {
    let files = Files::on_sqlite();
    let mut command = countersign();
    command.args(["authz", "--config", &files.authz_file()]).env("COUNTERSIGN__ISUER", CANARY);
    let said = refused(&command.output().expect("it starts"));
    assert!(said.contains("COUNTERSIGN__ISUER"), "{said}");
}

/// Both services' files with one change each.
fn both_refuse(change: &dyn Fn(&str) -> String, prepare: &dyn Fn(&Files), named: &str) {
    for service in ["authz", "resource-api"] {
        let mut files = Files::on_sqlite();
        prepare(&files);
        files.authz = change(&files.authz);
        files.resource_api = change(&files.resource_api);
        let file = if service == "authz" { files.authz_file() } else { files.resource_api_file() };
        let output = within(&[service, "--config", &file]);
        let said = refused(&output);
        assert!(said.contains(named), "{service}: {named} in {said}");
    }
}

/// Runs a command that should end by itself; one that stays up is ended and fails the test.
fn within(arguments: &[&str]) -> Output {
    let mut command = countersign();
    let child = command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("it starts");
    let began = tokio::time::Instant::now();
    while child.try_wait().expect("its state").is_none() {
        if began.elapsed() > Duration::from_secs(20) {
            child.kill().expect("killed");
            let output = child.wait_with_output().expect("its output");
            panic!("{arguments:?} started: {}", said(&output));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    child.wait_with_output().expect("its output")
}

#[test]
fn no_service_starts_with_a_missing_empty_short_guessable_or_doubled_master_key() {
    let same = |text: &str| text.to_owned();
    let inline = |key: &'static str| {
        move |text: &str| {
            let lines = text.lines().map(|line| match line.split_once(" = ") {
                Some(("master_key_file", _)) => format!("master_key = \"{key}\"\n"),
                _ => format!("{line}\n"),
            });
            lines.collect::<String>()
        }
    };
    both_refuse(&same, &|files| drop(files.private("master", "")), "master_key_file");
    both_refuse(&same, &|files| drop(files.private("master", "dG9vLXNob3J0")), "master_key");
    both_refuse(&same, &|files| drop(files.private("master", "changeme")), "master_key");
    both_refuse(&inline(""), &|_| (), "master_key");
    both_refuse(&inline("canary-31e7"), &|_| (), "master_key");
    // 32 bytes, all the same: somebody filled in a placeholder.
    both_refuse(&inline("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), &|_| (), "master_key");
    let doubled = |text: &str| {
        text.replace("master_key_file", &format!("master_key = \"{MASTER_KEY}\"\nmaster_key_file"))
    };
    both_refuse(&doubled, &|_| (), "master_key");
    let none = |text: &str| {
        text.lines().filter(|line| !line.starts_with("master_key")).collect::<Vec<_>>().join("\n")
    };
    both_refuse(&none, &|_| (), "master_key");
}

#[test]
fn no_service_starts_with_a_key_file_that_everybody_may_read() {
    let open = |files: &Files| {
        let file = files.folder.path().join("master");
        fs::set_permissions(file, fs::Permissions::from_mode(0o644)).expect("mode");
    };
    both_refuse(&str::to_owned, &open, "chmod 600");
}

#[test]
fn no_service_starts_with_an_origin_without_tls() {
    for host in ["id.example.com", "localhost:8080"] {
        let http = |text: &str| text.replace("https://id.example.com", &format!("http://{host}"));
        both_refuse(&http, &|_| (), "issuer");
    }
    let http = |text: &str| text.replace("https://api.example.com", "http://api.example.com");
    both_refuse(&http, &|_| (), "resource");
}
