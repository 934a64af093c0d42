//! The source test: reads the tree and holds the rules no compiler checks. `make lint` runs it alone.
//!
//! File length, the direction of dependencies, marks of unfinished work, column types and numbering of
//! migrations, and the crates that must not come in.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const FILE_LINES_MAX: usize = 400;

/// Files that may be longer. This list may only shrink.
const LONGER_FILES: &[&str] = &[];

/// Crates that stay out: other crypto providers, OpenSSL, and what would build the C libraries twice.
const BANNED_CRATES: &[&str] = &["ring", "openssl", "openssl-sys", "native-tls", "sqlx-macros"];

/// Which workspace crates each crate may name (architecture.md, the folder table).
const MAY_DEPEND_ON: &[(&str, &[&str])] = &[
    ("keys", &[]),
    ("chassis", &["keys"]),
    ("guard", &["keys"]),
    ("authz", &["keys", "chassis"]),
    ("resource-api", &["keys", "chassis", "guard"]),
    ("countersign", &["keys", "chassis", "guard", "authz", "resource-api"]),
    ("bench", &["keys", "chassis", "guard", "authz", "resource-api"]),
];

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every file git tracks or would track below the root, so that build output never counts.
fn files(extension: &str) -> Vec<PathBuf> {
    let listing = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .expect("git lists the tree");
    assert!(listing.status.success(), "git ls-files failed");
    String::from_utf8(listing.stdout)
        .expect("paths are UTF-8")
        .lines()
        .map(|line| root().join(line))
        .filter(|path| path.exists() && path.extension().is_some_and(|found| found == extension))
        .collect()
}

fn relative(path: &Path) -> String {
    path.strip_prefix(root()).expect("inside the root").display().to_string()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn assert_none(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}:\n{}", found.join("\n"));
}

fn metadata() -> serde_json::Value {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo metadata answers JSON")
}

#[test]
fn no_source_file_is_longer_than_its_limit() {
    let long: Vec<String> = files("rs")
        .iter()
        .filter(|path| !LONGER_FILES.contains(&relative(path).as_str()))
        .filter_map(|path| {
            let lines = read(path).lines().count();
            (lines > FILE_LINES_MAX).then(|| format!("{}: {lines} lines", relative(path)))
        })
        .collect();
    assert_none("files over 400 lines", &long);
}

#[test]
fn no_mark_of_unfinished_work_is_left() {
    let marks = [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["#[ig", "nore"].concat()];
    let found: Vec<String> = files("rs")
        .iter()
        .chain(&files("sql"))
        .flat_map(|path| {
            let marks = marks.clone();
            let name = relative(path);
            read(path)
                .lines()
                .enumerate()
                .filter(move |(_, line)| marks.iter().any(|mark| line.contains(mark.as_str())))
                .map(move |(number, _)| format!("{name}:{}", number + 1))
                .collect::<Vec<_>>()
        })
        .collect();
    assert_none("unfinished marks", &found);
}

#[test]
fn crates_depend_only_downwards() {
    let metadata = metadata();
    let packages = metadata["packages"].as_array().expect("packages");
    let members: BTreeSet<&str> = MAY_DEPEND_ON.iter().map(|(name, _)| *name).collect();
    let mut wrong = Vec::new();
    for (name, allowed) in MAY_DEPEND_ON {
        let package = packages
            .iter()
            .find(|package| package["name"] == *name && package["source"].is_null())
            .unwrap_or_else(|| panic!("{name} is a member"));
        for dependency in package["dependencies"].as_array().expect("dependencies") {
            let wanted = dependency["name"].as_str().expect("a name");
            if members.contains(wanted) && wanted != *name && !allowed.contains(&wanted) {
                wrong.push(format!("{name} -> {wanted}"));
            }
        }
    }
    assert_none("dependencies that architecture.md does not allow", &wrong);
}

#[test]
fn banned_crates_stay_out() {
    // `cargo metadata` also lists crates that only a feature nobody switches on would bring; the tree does not.
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--workspace", "--edges", "normal,build,dev", "--prefix", "none", "--format", "{p}"])
        .args(["--locked", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo tree: {}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).expect("UTF-8");
    let crates: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(crates.contains("aws-lc-rs"), "the tree was not read");
    let inside: Vec<String> =
        BANNED_CRATES.iter().filter(|name| crates.contains(**name)).map(|name| (*name).to_owned()).collect();
    assert_none("banned crates in the tree", &inside);
}

/// Rules and storage know nothing of HTTP; the domain knows neither SQL nor async (style.md "Direction").
#[test]
fn layers_point_downwards() {
    let mut wrong = Vec::new();
    for path in files("rs") {
        let name = relative(&path);
        let Some((service, inside)) = name.split_once("/src/") else { continue };
        if !["authz", "resource-api"].contains(&service) {
            continue;
        }
        let banned: &[&str] = match inside.split('/').next().unwrap_or_default() {
            "domain" => &["axum::", "sqlx::", "tokio::", ".await", "chassis::db"],
            "store" | "ledger" => &["axum::"],
            "grants" | "operations" | "monitoring" | "kyc" => &["axum::", "sqlx::"],
            "http" | "dialects" => &["sqlx::"],
            _ => continue,
        };
        for (number, line) in read(&path).lines().enumerate() {
            let code = line.trim_start();
            if code.starts_with("//") {
                continue;
            }
            for word in banned {
                if code.contains(word) {
                    wrong.push(format!("{name}:{}: {word}", number + 1));
                }
            }
        }
    }
    assert_none("a layer names one above it", &wrong);
}

#[test]
fn migrations_use_portable_types_and_are_numbered_without_gaps() {
    let mut wrong = Vec::new();
    for set in ["chassis", "authz", "resource-api"] {
        let folder = root().join("migrations").join(set);
        let mut names: Vec<String> = fs::read_dir(&folder)
            .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
            .map(|entry| entry.expect("an entry").file_name().into_string().expect("UTF-8"))
            .collect();
        names.sort();
        for (index, name) in names.iter().enumerate() {
            if !name.starts_with(&format!("{:04}_", index + 1)) {
                wrong.push(format!("{set}/{name}: expected number {:04}", index + 1));
            }
            wrong.extend(foreign_types(&read(&folder.join(name)), &format!("{set}/{name}")));
        }
    }
    assert_none("migrations", &wrong);
}

/// Column types other than TEXT, BIGINT and BOOLEAN in one migration.
fn foreign_types(sql: &str, name: &str) -> Vec<String> {
    const FOREIGN: &[&str] = &[
        "INTEGER",
        "INT",
        "SERIAL",
        "BIGSERIAL",
        "VARCHAR",
        "CHAR",
        "TIMESTAMP",
        "TIMESTAMPTZ",
        "DATE",
        "JSON",
        "JSONB",
        "REAL",
        "NUMERIC",
        "DECIMAL",
        "DOUBLE",
        "BLOB",
        "BYTEA",
        "UUID",
        "AUTOINCREMENT",
    ];
    sql.lines()
        .map(|line| line.split("--").next().unwrap_or_default())
        .flat_map(|line| line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_'))
        .filter(|word| FOREIGN.contains(word))
        .map(|word| format!("{name}: {word}"))
        .collect()
}

/// Each row of the checklist says which tests prove it: a path in backticks, then the names of tests in that file.
#[test]
fn every_test_that_the_security_checklist_names_exists() {
    let mut wrong = Vec::new();
    let mut named = 0;
    for line in read(&root().join("docs/security-checklist.md")).lines().filter(|line| line.starts_with("| "))
    {
        let mut source = String::new();
        for word in line.split('`').skip(1).step_by(2) {
            if word.ends_with(".rs") {
                source = read(&root().join(word));
            } else if word.contains('_') && !source.is_empty() {
                named += 1;
                if !source.contains(&format!("fn {word}(")) {
                    wrong.push(format!("{word}: no such test"));
                }
            }
        }
    }
    assert!(named > 50, "the table was not understood");
    assert_none("docs/security-checklist.md", &wrong);
}
