//! The operator's commands on databases of running services: the real binary, and what the services make of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use chassis::keyring::KeyRing;
use chassis::testing::TestDatabase;
use chassis::{Db, Platform, on, while_doing};
use keys::seal::{MasterKey, MasterKeys};
use serde_json::Value;

use crate::commands::running::{Service, ask, until_it_answers};
use crate::commands::{Files, PLATFORM, refused, succeeded};
use crate::process::{Dev, Ports, countersign, credentials, ledger_verify, run, said};

/// Asks until the running service has followed.
async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    for _ in 0..500 {
        if holds().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("waited in vain: {what}");
}

/// The ids of the published keys.
async fn published(port: u16) -> Vec<String> {
    published_at(port, "/oauth2/jwks", "id.example.com").await
}

async fn published_at(port: u16, path: &str, host: &str) -> Vec<String> {
    let (_, jwks) = ask(port, path, host).await.expect("the JWKS");
    let keys = jwks["keys"].as_array().expect("keys").iter();
    keys.map(|key| key["kid"].as_str().expect("kid").to_owned()).collect()
}

/// What a command shows after this label, once.
fn shown(said: &str, label: &str) -> String {
    let rest = said.split_once(&format!("{label} ")).unwrap_or_else(|| panic!("{label} in {said}")).1;
    rest.split_whitespace().next().expect("a value").to_owned()
}

#[tokio::test]
async fn keys_and_clients_are_changed_beside_the_running_service_which_follows() {
    for database in TestDatabase::both().await {
        let files = Files::on(&database.url().expose(), "sqlite:unused");
        let config = files.authz_file();
        let of = |words: &[&str]| run(&[words, &["--config", &config]].concat());
        let _service = Service::start("authz", &config, &files.folder.path().join("log"));
        let [port, ops] = files.ports;
        until_it_answers(ops, "/readyz", 200).await;
        let first = published(port).await.remove(0);
        let listed = succeeded(&of(&["keys", "list"]));
        assert!(listed.contains(&first) && listed.contains("active"), "{listed}");

        let rotated = succeeded(&of(&["keys", "rotate"]));
        assert!(rotated.contains("is published now. It signs from"), "{rotated}");
        assert!(
            succeeded(&of(&["keys", "rotate"])).contains("was published before"),
            "asking twice makes one"
        );
        until("the next key is published", async || published(port).await.len() == 2).await;
        assert!(succeeded(&of(&["keys", "list"])).contains("signs from"));
        let revoked = succeeded(&of(&["keys", "revoke", &first]));
        assert!(
            revoked.contains("Every token that it signed") && revoked.contains("signs from now on"),
            "{revoked}"
        );
        until("the revoked key is gone", async || !published(port).await.contains(&first)).await;
        assert!(refused(&of(&["keys", "revoke", &first])).contains("no service here has a signing key"));

        let platform = files.private("PLATFORM.toml", PLATFORM).display().to_string();
        succeeded(&run(&["apply", "--config", &config, "-f", &platform]));
        let add = ["client", "add", "--partner", "acme", "--alias", "night", "--scope", "users:read"];
        let added = succeeded(&of(&add));
        let (id, secret) = (shown(&added, "client_id"), shown(&added, "client_secret"));
        assert!(refused(&of(&add)).contains("already"));
        let status = async |secret: &str| token_status(port, &id, secret).await;
        until("the client is known", async || status(&secret).await == 200).await;
        let rotated = succeeded(&of(&["client", "rotate-secret", "acme/night", "--keep-old-for", "3600"]));
        let second = shown(&rotated, "client_secret");
        until("the new secret is known", async || status(&second).await == 200).await;
        assert_eq!(status(&secret).await, 200, "both are good");
        succeeded(&of(&["client", "end-old-secret", &id]));
        until("the old secret is refused", async || status(&secret).await != 200).await;
        succeeded(&of(&["client", "disable", "acme/night"]));
        until("the client is refused", async || status(&second).await != 200).await;
        assert!(refused(&of(&["client", "disable", "acme/nobody"])).contains("acme/nobody"));
        assert!(succeeded(&of(&["audit", "verify"])).contains("authz"));
    }
}

#[tokio::test]
async fn the_ring_of_webhook_keys_is_listed_rotated_and_revoked_as_the_other_one() {
    for database in TestDatabase::both().await {
        let files = Files::on("sqlite:unused", &database.url().expose());
        let config = files.resource_api_file();
        let of = |words: &[&str]| run(&[words, &["--config", &config]].concat());
        let _service = Service::start("resource-api", &config, &files.folder.path().join("log"));
        let [port, ops] = files.ports;
        until_it_answers(ops, "/livez", 200).await;
        let jwks = async || published_at(port, "/.well-known/jwks.json", "api.example.com").await;
        let signing = jwks().await.remove(0);
        let listed = succeeded(&of(&["keys", "list"]));
        assert!(listed.contains("resource-api, webhook\n  no key yet"), "{listed}");
        let rotate = ["keys", "rotate", "--purpose", "webhook"];
        assert!(refused(&of(&rotate)).contains("no key yet"), "it is the service that makes the first one");

        // As the service does when the first endpoint asks for a vendor's envelope.
        let db = database.open().await;
        let [_, kind] = resource_api::rings();
        let master = MasterKeys::new(masters()[0].clone(), Vec::new());
        let ring = KeyRing::open_for(kind.purpose, db.clone(), Platform::system(true), master, kind.policy);
        let first = ring.await.expect("opened").active().kid().to_owned();
        db.close().await;
        until("its key is published", async || jwks().await.contains(&first)).await;
        let listed = succeeded(&of(&["keys", "list"]));
        let (own, webhook) = listed.split_once("resource-api, webhook\n").expect("both rings");
        assert!(own.starts_with("resource-api, signing\n") && own.contains(&signing), "{listed}");
        assert!(webhook.contains(&format!("{first}  RS512  active")), "{listed}");

        let rotated = succeeded(&of(&rotate));
        assert!(rotated.contains(&format!("until then {first} signs")), "{rotated}");
        assert!(succeeded(&of(&rotate)).contains("was published before"), "asking twice makes one");
        until("the next key is published", async || jwks().await.len() == 3).await;
        let revoked = succeeded(&of(&["keys", "revoke", &first]));
        assert!(revoked.contains("Every webhook that it signed"), "{revoked}");
        until("the revoked key is gone", async || !jwks().await.contains(&first)).await;
        let revoked = succeeded(&of(&["keys", "revoke", &signing]));
        assert!(revoked.contains("Everything that it signed"), "{revoked}");
        until("the other ring's too", async || !jwks().await.contains(&signing)).await;
        assert_eq!(jwks().await.len(), 2, "one key signs in each ring");

        let elsewhere = files.authz_file();
        let none = refused(&run(&[&rotate[..], &["--config", &elsewhere]].concat()));
        assert!(none.contains("only the payments API has a ring"), "{none}");
    }
}

/// Pauses after a failure, so that the throttle of guesses stays out of the way.
async fn token_status(port: u16, id: &str, secret: &str) -> u16 {
    let form = [("grant_type", "client_credentials"), ("scope", "users:read")];
    let request = reqwest::Client::new().post(format!("http://127.0.0.1:{port}/oauth2/token"));
    let request = request.header("host", "id.example.com").basic_auth(id, Some(secret)).form(&form);
    let status = request.send().await.expect("an answer").status().as_u16();
    if status != 200 {
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    status
}

/// How many texts of personal data there are before the key is changed.
const FIELDS: usize = 3_000;

/// The master key of [`Files`], and the one that follows.
fn masters() -> [MasterKey; 2] {
    [std::array::from_fn(|index| u8::try_from(index + 1).expect("small")), [9; 32]].map(MasterKey::new)
}

/// Fills the payments API's database with personal data under the first master key.
async fn fill(db: &Db) {
    let [old, _] = masters();
    let (old, platform) = (MasterKeys::new(old, Vec::new()), Platform::system(true));
    let column = resource_api::crypto::vault::SEALED[0];
    let rows: Vec<(String, String)> = (0..FIELDS)
        .map(|index| {
            let sub = format!("usr_{index:05}");
            let place = column.place("par_1", &sub, "given_name");
            let sealed = old.seal(platform.random(), &place, b"Quirina").expect("sealed");
            (sub, sealed)
        })
        .collect();
    for piece in rows.chunks(200) {
        let piece = piece.to_vec();
        db.write(move |tx| {
            let piece = piece.clone();
            Box::pin(async move {
                on!(tx, conn => {
                    let mut insert = sqlx::QueryBuilder::new("INSERT INTO customer_pii
                        (partner_id, sub, field, sealed, value_mac, revision, updated_at_s) ");
                    insert.push_values(piece, |mut values, (sub, sealed)| {
                        values.push("'par_1'").push_bind(sub).push("'given_name'").push_bind(sealed);
                        values.push("'mac'").push("1").push("0");
                    });
                    insert.build().execute(conn).await.map(drop)
                })
                .map_err(while_doing("insert"))
            })
        })
        .await
        .expect("filled");
    }
}

/// How many texts open with the new key alone; every text must open with both.
async fn moved(db: &Db) -> usize {
    let [old, new] = masters();
    let (both, alone) = (MasterKeys::new(new.clone(), vec![old]), MasterKeys::new(new, Vec::new()));
    let rows: Vec<(String, String)> = db
        .read(|tx| {
            Box::pin(async move {
                on!(tx, conn => sqlx::query_as("SELECT sub, sealed FROM customer_pii").fetch_all(conn).await)
                    .map_err(while_doing("list"))
            })
        })
        .await
        .expect("read");
    assert_eq!(rows.len(), FIELDS);
    let column = resource_api::crypto::vault::SEALED[0];
    let opened = rows.iter().filter(|(sub, sealed)| {
        let place = column.place("par_1", sub, "given_name");
        assert_eq!(both.open(&place, sealed).expect("it opens"), b"Quirina");
        alone.open(&place, sealed).is_ok()
    });
    opened.count()
}

#[tokio::test]
async fn r13_a_change_of_master_key_that_is_killed_is_finished_by_the_next_run() {
    for database in TestDatabase::both().await {
        let mut files = Files::on("sqlite:unused", &database.url().expose());
        succeeded(&run(&["migrate", "--config", &files.resource_api_file()]));
        let db = database.open().await;
        fill(&db).await;
        files.change_master();
        let config = files.resource_api_file();
        let arguments = ["keys", "rekey", "--config", &config];
        let mut child = countersign()
            .args(arguments)
            .stderr(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .expect("it starts");
        let lines = BufReader::new(child.stderr.take().expect("stderr")).lines();
        let begun = lines.map_while(Result::ok).find(|line| line.contains("customer_pii.sealed"));
        assert!(begun.is_some(), "it says how far it is");
        child.kill().expect("killed");
        child.wait().expect("the end");
        let half = moved(&db).await;
        assert!(half > 0 && half < FIELDS, "{half} of {FIELDS} were moved");
        let finished = succeeded(&run(&arguments));
        assert!(finished.contains("nothing is sealed under any other key any more"), "{finished}");
        assert_eq!(moved(&db).await, FIELDS);
        let again = succeeded(&run(&arguments));
        assert!(again.contains(" 0 texts were sealed anew"), "{again}");
        db.close().await;
    }
}

/// What a client of `dev` may do here.
const SCOPE: &str =
    "customers:read customers:write entities:read entities:write fiat_ins:read fiat_ins:execute";

#[tokio::test]
async fn r21_a_backup_under_load_is_restored_elsewhere_and_everything_verifies() {
    let folder = tempfile::TempDir::with_prefix("countersign-backup-").expect("a directory");
    let at = |name: &str| folder.path().join(name);
    let (data, copy, restored) = (at("data"), at("copy"), at("restored"));
    let text = |path: &Path| path.display().to_string();
    let dev = Dev::start(&data, Ports::ANY).await;
    let token = dev.token("acme-backend", SCOPE).await;
    let wallet = dev.wallet(&token, "loaded").await;
    let pay = async |number: usize| {
        let order = wallet.order(&format!("order-{number}"), 100, "tok_success");
        let answer =
            dev.post(&token, "/v1/fiat-ins", &format!("order-{number}"), &order).await.expect("an answer");
        // On a busy machine the gateway's answer may come after ours.
        assert!(matches!(answer.status, 201 | 202), "{}", answer.body);
    };
    pay(0).await;
    let backing_up = tokio::task::spawn_blocking({
        let (data, copy) = (text(&data), text(&copy));
        move || run(&["backup", "--data-dir", &data, "--out", &copy])
    });
    let mut paid = 1;
    while !backing_up.is_finished() {
        pay(paid).await;
        paid += 1;
    }
    let said = succeeded(&backing_up.await.expect("it ran"));
    assert!(said.contains("authz.sqlite") && said.contains("resource-api.sqlite"), "{said}");
    pay(paid).await;
    refused(&run(&["backup", "--data-dir", &text(&data), "--out", &text(&copy)]));
    let running = refused(&run(&["restore", "--epoch-only", "--data-dir", &text(&data)]));
    assert!(running.contains("a service runs"), "{running}");
    dev.kill();

    let over = refused(&run(&["restore", "--from", &text(&copy), "--data-dir", &text(&data)]));
    assert!(over.contains("exists"), "{over}");
    let said = succeeded(&run(&["restore", "--from", &text(&copy), "--data-dir", &text(&restored)]));
    assert_eq!(said.matches("restore epoch 1").count(), 2, "{said}");
    let (sound, report) = ledger_verify(&restored);
    assert!(sound, "{report}");
    succeeded(&run(&["audit", "verify", "--data-dir", &text(&restored)]));

    // With the keys, which were kept elsewhere, it runs again.
    for name in ["authz.master", "resource-api.master", "credentials.kept.json"] {
        fs::copy(data.join(name), restored.join(name)).expect("copied");
    }
    let before = credentials(&data);
    let dev = Dev::start(&restored, Ports::ANY).await;
    assert_eq!(before.map(|file| file["clients"].clone()), Some(dev.credentials["clients"].clone()));
    let held = dev.get(&dev.token("acme-backend", SCOPE).await, "/v1/fiat-ins?limit=100").await;
    let held = held.body["data"].as_array().map_or(0, Vec::len);
    assert!((1..=paid).contains(&held), "{held} of {paid} orders are in the backup");
    dev.kill();
    let (sound, report) = ledger_verify(&restored);
    assert!(sound, "{report}");
}

#[test]
fn a_directory_that_no_backup_finished_is_not_restored() {
    let folder = tempfile::TempDir::new().expect("a directory");
    let text = folder.path().display().to_string();
    let target = folder.path().join("new").display().to_string();
    let refusal = refused(&run(&["restore", "--from", &text, "--data-dir", &target]));
    assert!(refusal.contains("backup.json"), "{refusal}");
    let mut command = countersign();
    let output = command.args(["restore", "--data-dir", &target]).output().expect("it starts");
    assert!(!output.status.success() && said(&output).contains("--from"), "{}", said(&output));
    let none: Option<Value> = credentials(folder.path());
    assert!(none.is_none());
}
