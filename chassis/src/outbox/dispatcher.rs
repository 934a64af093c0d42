//! The dispatcher: a queue per endpoint, each with its own slots, so that a slow endpoint delays no other.
//!
//! Any number of nodes may dispatch at once. A delivery is claimed under a lease longer than an attempt can last; when
//! a dispatcher dies, the lease runs out and another sends the delivery again with the same `webhook-id`.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt as _;
use tokio::sync::Notify;
use tokio::task::{JoinError, JoinSet};

use super::attempt::Sender;
use super::deliveries::{Claim, Claimed, QueueId, claim_due, find_due_queues};
use crate::Fault;
use crate::shutdown::Shutdown;

/// The slots of one endpoint.
#[derive(Debug, Clone, Copy, Default)]
struct Slots {
    in_flight: usize,
    /// The last attempt failed: until one succeeds, one attempt at a time.
    failing: bool,
}

/// What an attempt's task ends with.
struct Ended {
    queue: QueueId,
    healthy: bool,
}

/// The state of one dispatcher. Dropping it stops its attempts where they are.
pub(super) struct Dispatcher {
    sender: Arc<Sender>,
    wake: Arc<Notify>,
    running: JoinSet<Ended>,
    slots: HashMap<QueueId, Slots>,
    turn: usize,
}

impl Dispatcher {
    pub(super) fn new(sender: Arc<Sender>, wake: Arc<Notify>) -> Self {
        Self { sender, wake, running: JoinSet::new(), slots: HashMap::new(), turn: 0 }
    }

    /// Sends what is due until the service ends; then waits a little for attempts under way.
    pub(super) async fn run(mut self, shutdown: Shutdown) {
        let wake = Arc::clone(&self.wake);
        while !shutdown.is_triggered() {
            if let Err(fault) = self.fill().await {
                tracing::warn!(%fault, "webhooks wait: cannot claim");
            }
            tokio::select! {
                () = shutdown.triggered() => break,
                () = wake.notified() => {}
                () = tokio::time::sleep(self.sender.options.dispatch_poll) => {}
                Some(ended) = self.running.join_next() => self.settle(ended),
            }
            while let Some(ended) = self.running.try_join_next() {
                self.settle(ended);
            }
        }
        let drained = async { while self.running.join_next().await.is_some() {} };
        if tokio::time::timeout(self.sender.options.drain, drained).await.is_err() {
            tracing::info!("webhook attempts cut off; they are sent again when their leases end");
        }
    }

    /// Claims as many due deliveries as there are slots and starts their attempts.
    async fn fill(&mut self) -> Result<(), Fault> {
        if self.running.len() >= self.sender.options.in_flight_max {
            return Ok(());
        }
        let now = self.sender.platform.clock.now();
        let due =
            self.sender.db.read(move |tx| Box::pin(async move { find_due_queues(tx, now).await })).await?;
        let claims = self.claims(due);
        if claims.is_empty() {
            return Ok(());
        }
        let taken = self.sender.db.write(move |tx| {
            let claims = claims.clone();
            Box::pin(async move {
                let mut taken = Vec::with_capacity(claims.len());
                for claim in claims {
                    let deliveries = claim_due(tx, &claim).await?;
                    taken.push((claim.queue, deliveries));
                }
                Ok(taken)
            })
        });
        for (queue, deliveries) in taken.await? {
            for delivery in deliveries {
                self.start(queue.clone(), delivery);
            }
        }
        Ok(())
    }

    /// Shares the free slots among the due queues. The first in line changes each time, so that none starves when there
    /// are more queues than slots; queues are claimed in id order, so that dispatchers lock rows in one order.
    fn claims(&mut self, mut due: Vec<QueueId>) -> Vec<Claim> {
        let options = &self.sender.options;
        let now = self.sender.platform.clock.now();
        let mut free = options.in_flight_max.saturating_sub(self.running.len());
        if !due.is_empty() {
            self.turn = (self.turn + 1) % due.len();
            due.rotate_left(self.turn);
        }
        let mut claims = Vec::new();
        for queue in due {
            let slots = self.slots.get(&queue).copied().unwrap_or_default();
            let most = if slots.failing { 1 } else { options.in_flight_per_endpoint };
            let limit = most.saturating_sub(slots.in_flight).min(free);
            if limit == 0 {
                continue;
            }
            free -= limit;
            let limit = i64::try_from(limit).unwrap_or(1);
            claims.push(Claim { queue, limit, now, lease_until: now.plus(options.lease_s()) });
        }
        claims.sort_by(|one, other| one.queue.cmp(&other.queue));
        claims
    }

    fn start(&mut self, queue: QueueId, delivery: Claimed) {
        self.slots.entry(queue.clone()).or_default().in_flight += 1;
        let sender = Arc::clone(&self.sender);
        self.running.spawn(async move {
            let attempt = AssertUnwindSafe(sender.attempt(queue.clone(), delivery)).catch_unwind();
            let healthy = match attempt.await {
                Ok(Ok(healthy)) => healthy,
                Ok(Err(fault)) => {
                    tracing::warn!(%fault, "webhook attempt left to its lease");
                    true
                }
                Err(_panic) => {
                    tracing::error!("webhook attempt panicked; it is left to its lease");
                    false
                }
            };
            Ended { queue, healthy }
        });
    }

    /// Frees the slot of an attempt that ended.
    fn settle(&mut self, ended: Result<Ended, JoinError>) {
        let Ok(ended) = ended else {
            return; // Cannot be: attempts are neither aborted while we run nor do they panic past their task.
        };
        let Some(slots) = self.slots.get_mut(&ended.queue) else {
            return;
        };
        slots.in_flight = slots.in_flight.saturating_sub(1);
        slots.failing = !ended.healthy;
        if slots.in_flight == 0 && ended.healthy {
            self.slots.remove(&ended.queue);
        }
    }
}
