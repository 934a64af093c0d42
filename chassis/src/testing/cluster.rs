//! A `PostgreSQL` cluster of our own, once per process: in a temporary directory, on a Unix socket only,
//! without durability. A small shell waits at the end of a pipe for this process to end, in whatever way, and
//! then stops the server and removes the directory.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use crate::db::DatabaseUrl;

/// `$1` is the directory of the binaries, `$2` that of the cluster's own directory. Prints the socket's directory once the server answers, then waits
/// for the end of its standard input.
const WATCHER: &str = r#"
set -u
trap '' HUP INT TERM
dir=$(mktemp -d "$2/countersign-pg.XXXXXX") || exit 1
cd "$dir"
"$1/initdb" -D "$dir/data" -U countersign -A trust -E UTF8 --locale=C -N >"$dir/log" 2>&1 || {
    cat "$dir/log" >&2; rm -rf "$dir"; exit 1; }
"$1/postgres" -D "$dir/data" -k "$dir" -c listen_addresses= -c fsync=off -c full_page_writes=off \
    -c max_connections=300 -c shared_buffers=32MB >>"$dir/log" 2>&1 </dev/null &
server=$!
until "$1/pg_isready" -q -h "$dir"; do
    kill -0 "$server" 2>/dev/null || { cat "$dir/log" >&2; rm -rf "$dir"; exit 1; }
    sleep 0.05
done
echo "$dir"
cat >/dev/null
kill -QUIT "$server"
wait "$server"
rm -rf "$dir"
"#;

/// A running cluster.
#[derive(Debug)]
pub(crate) struct Cluster {
    socket: PathBuf,
    /// Its standard input is the pipe whose end the watcher waits for.
    _watcher: Child,
}

/// The cluster of this process, started at the first call.
pub(crate) fn running() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(start)
}

impl Cluster {
    /// The URL of a database on it.
    pub(crate) fn url(&self, database: &str) -> DatabaseUrl {
        let socket = self.socket.display();
        let url = format!("postgres://countersign@localhost/{database}?host={socket}");
        url.parse().expect("a database URL")
    }
}

fn start() -> Cluster {
    let mut watcher = as_unprivileged_user("sh")
        .args(["-c", WATCHER, "countersign-pg-watcher"])
        .arg(binaries())
        .arg(super::quick_directory())
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0) // Ctrl-C is for the tests; the watcher ends after them
        .spawn()
        .expect("start PostgreSQL");
    let mut socket = String::new();
    let mut output = BufReader::new(watcher.stdout.take().expect("the watcher's output"));
    output.read_line(&mut socket).expect("read where PostgreSQL listens");
    if socket.is_empty() {
        let mut trouble = String::new();
        let errors = watcher.stderr.take().map(|mut errors| errors.read_to_string(&mut trouble));
        panic!("PostgreSQL did not start ({errors:?}): {trouble}");
    }
    Cluster { socket: PathBuf::from(socket.trim_end()), _watcher: watcher }
}

/// The newest installed version's directory.
fn binaries() -> PathBuf {
    let version = |path: &Path| path.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let newest = installed.map(|entry| entry.path().join("bin")).max_by_key(|path| version(path));
    if let Some(found) = newest.filter(|path| path.join("postgres").exists()) {
        return found;
    }
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&on_path)
        .find(|directory| directory.join("initdb").exists())
        .expect("PostgreSQL's binaries, or COUNTERSIGN_TEST_POSTGRES_URL")
}

/// The server refuses to run as root: then it runs as `postgres`, or as `nobody` where there is no such user.
fn as_unprivileged_user(program: &str) -> Command {
    let id = |arguments: &[&str]| {
        let output = Command::new("id").args(arguments).stderr(Stdio::null()).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    if id(&["-u"]).as_deref() != Some("0") {
        return Command::new(program);
    }
    let user = ["postgres", "nobody"].into_iter().find(|user| id(&["-u", user]).is_some());
    let user = user.expect("a user other than root to run PostgreSQL");
    let group = id(&["-g", user]).expect("the group of that user");
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={user}"), format!("--regid={group}"), "--clear-groups".to_owned()]);
    command.arg(program);
    command
}
