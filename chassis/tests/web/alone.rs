//! A server in a process of its own: this test binary, started again in another role.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::world::{World, read_reply};

/// Set in the process that is the server.
const ROLE: &str = "COUNTERSIGN_WEB_TEST_SERVER";
const TEST: &str = "alone::a_server_in_a_process_of_its_own_answers_until_its_input_ends";
const ADDRESS: &str = "ADDRESS ";

/// The server's process; killed when dropped.
pub(crate) struct Alone {
    pub(crate) address: SocketAddr,
    child: Mutex<Child>,
}

impl Drop for Alone {
    fn drop(&mut self) {
        let child = self.child.get_mut().unwrap();
        let _ = child.kill();
        let _ = child.wait();
    }
}

impl Alone {
    /// Starts it with so many file descriptors to be had.
    pub(crate) async fn start(descriptors_max: u32) -> Self {
        tokio::task::spawn_blocking(move || Self::spawn(descriptors_max)).await.unwrap()
    }

    fn spawn(descriptors_max: u32) -> Self {
        let this = std::env::current_exe().unwrap();
        let mut child = Command::new("sh")
            .args(["-c", &format!("ulimit -n {descriptors_max} && exec \"$0\" \"$@\"")])
            .arg(this)
            .args(["--exact", TEST, "--nocapture"])
            .env(ROLE, "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // libtest writes `test NAME ... ` on the same line, without an end.
        let line = lines.map_while(Result::ok).find(|line| line.contains(ADDRESS)).expect("no address");
        let address = line.split(ADDRESS).nth(1).unwrap().trim().parse().unwrap();
        Self { address, child: Mutex::new(child) }
    }

    /// Memory that it holds, KiB.
    pub(crate) fn memory_kib(&self) -> u64 {
        let id = self.child.lock().unwrap().id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn is_running(&self) -> bool {
        self.child.lock().unwrap().try_wait().unwrap().is_none()
    }

    /// What it answers to a plain request on a new connection.
    pub(crate) async fn answer(&self) -> Option<String> {
        let mut stream = TcpStream::connect(self.address).await.ok()?;
        let request = format!("GET /fixed HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address);
        stream.write_all(request.as_bytes()).await.ok()?;
        read_reply(&mut stream).await.map(|reply| reply.text)
    }

    /// Fails the test unless it answers in time.
    pub(crate) async fn answers_within(&self, time: Duration) {
        let answer = timeout(time, self.answer()).await.expect("no answer in time");
        assert_eq!(answer.as_deref(), Some("fixed"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_in_a_process_of_its_own_answers_until_its_input_ends() {
    if std::env::var_os(ROLE).is_none() {
        let server = Alone::start(256).await;
        server.answers_within(Duration::from_secs(5)).await;
        drop(server.child.lock().unwrap().stdin.take());
        for _ in 0..100 {
            if !server.is_running() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("it goes on without us");
    }
    let world = World::start_quiet().await;
    println!("{ADDRESS}{}", world.address);
    let ended = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new()));
    assert_eq!(ended.await.unwrap().unwrap(), 0);
}
