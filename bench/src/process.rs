//! Servers as child processes, and what the system says they used.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};

/// Clock ticks a second in `/proc/PID/stat`; 100 on every Linux this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A server that is killed when dropped.
pub(crate) struct Server {
    child: Child,
}

impl Server {
    /// Starts a command with its output thrown away.
    pub(crate) fn start(program: &Path, arguments: &[String]) -> anyhow::Result<Self> {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("start {}", program.display()))?;
        Ok(Self { child })
    }

    /// User and system CPU seconds used so far.
    pub(crate) fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let after_name = text.rsplit_once(')').context("no name in stat")?.1;
        let fields: Vec<&str> = after_name.split_whitespace().collect();
        // Fields 14 and 15 of proc(5), counted from 1; the two before the state are gone.
        let user: f64 = fields.get(11).context("utime")?.parse()?;
        let system: f64 = fields.get(12).context("stime")?.parse()?;
        Ok((user + system) / TICKS_PER_SECOND)
    }

    /// Resident memory now, in MiB.
    pub(crate) fn resident_mib(&self) -> anyhow::Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let kib: f64 = text
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next())
            .context("VmRSS")?
            .parse()?;
        Ok(kib / 1024.0)
    }

    /// Waits until the file exists, which a server writes when it answers.
    pub(crate) async fn wait_for_file(&mut self, path: &Path) -> anyhow::Result<()> {
        for _ in 0..600 {
            if path.exists() {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server stopped at start: {status}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        bail!("{} did not appear within 6 s", path.display())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
