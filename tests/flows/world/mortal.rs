//! A node of the payments API that can be cut off in the middle of whatever it does.

use tokio::runtime::{Builder, Runtime};

use super::{ApiNode, World};

/// Longer than any lease that a dead node may hold, seconds.
const LEASES_END_S: i64 = 10;

/// A node on a runtime of its own. Its tasks vanish at their next step when it is killed: nothing is drained, released
/// or answered.
pub(crate) struct Mortal(Runtime);

impl World {
    /// Puts a mortal node in the place of the payments API.
    pub(crate) async fn mortal_api(&self) -> Mortal {
        self.api.stop().await;
        let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        let (config, platform, socket) =
            (self.api.config.clone(), self.platform.clone(), self.api.socket.again());
        let started = runtime.spawn(async move { ApiNode::start(config, socket, &platform).await });
        let node = started.await.expect("the payments API starts");
        node.ready().await;
        Mortal(runtime)
    }

    /// Kills the node, lets its leases end and starts the payments API anew.
    pub(crate) async fn kill_and_restart(&mut self, node: Mortal) {
        node.0.shutdown_background();
        self.clock.advance(LEASES_END_S);
        self.restart_api().await;
    }
}
