//! The outbox: events are written in the transaction of the change they tell of, numbered per partner after the commit,
//! and delivered to the partner's webhook endpoints at least once (Standard Webhooks 1.0).
//!
//! | file | what it does |
//! |---|---|
//! | `events` | writes and reads events |
//! | `numberer` | gives sequence numbers and queues deliveries; one node at a time |
//! | `endpoints` | where a partner wants its events, and the keys that sign them |
//! | `deliveries` | the queue: claim, finish, redeliver |
//! | `replay` | what one endpoint missed, queued again |
//! | `dispatcher`, `attempt` | sends what is due; a queue per endpoint |
//! | `body`, `signature`, `schedule` | what is sent, how it is signed, when it is tried again |
//! | `envelope` | other ways to write a delivery, for endpoints that ask for one |
//! | `stats` | what waits and what was given up |

mod attempt;
mod body;
mod deliveries;
mod dispatcher;
mod endpoints;
mod envelope;
mod events;
mod numberer;
mod replay;
mod schedule;
mod signature;
mod stats;
mod target;

use std::sync::Arc;
use std::time::Duration;

use keys::seal::MasterKeys;
use tokio::sync::Notify;
use url::Url;

use crate::fetch::{FetchError, Fetcher};
use crate::lease::release_lease;
use crate::shutdown::Shutdown;
use crate::sweeper::Sweeper;
use crate::{Db, Fault, Platform};
use attempt::Sender;
use deliveries::Queued;
use dispatcher::Dispatcher;
use numberer::{Numbered, Pass};

pub use body::rfc3339;
pub use deliveries::{
    DELIVERY_STATES, Delivery, DeliveryPage, list_deliveries, list_endpoint_deliveries, redeliver,
};
pub use endpoints::{
    Endpoint, NewEndpoint, NewSecret, STANDARD, disable_endpoint, enable_endpoint, find_endpoint,
    insert_endpoint, list_endpoints, rotate_secret,
};
pub use envelope::{Envelope, Written};
pub use events::{
    EVENT_LIFE_S, EVENT_SCHEMA_VERSION, NewEvent, StoredEvent, find_event, insert_events, insert_events_by,
    insert_events_of, list_events,
};
pub use replay::{REPLAY_MAX, Replay, Replayed, replay};
pub use schedule::Schedule;
pub use signature::{EndpointSecret, signatures};
pub use stats::OutboxStats;

/// How the outbox goes about its work.
#[derive(Debug, Clone)]
pub struct OutboxOptions {
    /// When failed attempts are repeated.
    pub schedule: Schedule,
    /// How often unnumbered events of other nodes are looked for.
    pub number_poll: Duration,
    /// How long a node leaves the numbering to the node that holds the lease before it asks again.
    pub lease_poll: Duration,
    /// How often due deliveries are looked for; new ones are told of at once.
    pub dispatch_poll: Duration,
    /// An endpoint that has not answered in full by then has failed the attempt.
    pub attempt_deadline: Duration,
    /// Attempts under way at one endpoint; one whose last attempt failed gets one at a time.
    pub in_flight_per_endpoint: usize,
    /// Attempts under way in all.
    pub in_flight_max: usize,
    /// How long attempts under way may go on when the service ends.
    pub drain: Duration,
    /// How often the gauges are set.
    pub gauge_poll: Duration,
}

impl Default for OutboxOptions {
    fn default() -> Self {
        Self {
            schedule: Schedule::default(),
            number_poll: Duration::from_millis(200),
            lease_poll: Duration::from_secs(1),
            dispatch_poll: Duration::from_secs(1),
            attempt_deadline: Duration::from_secs(15),
            in_flight_per_endpoint: 8,
            in_flight_max: 256,
            drain: Duration::from_secs(5),
            gauge_poll: Duration::from_secs(15),
        }
    }
}

impl OutboxOptions {
    /// How long a claimed delivery is its dispatcher's, seconds: an attempt, and time to record its end.
    fn lease_s(&self) -> i64 {
        i64::try_from(self.attempt_deadline.as_secs()).unwrap_or(i64::MAX).saturating_add(30)
    }
}

/// Adds the tables of this module that hold rows which expire.
pub fn with_expiring_tables(sweeper: Sweeper) -> Sweeper {
    sweeper.table("event", "expires_at_s", "partner_id, event_id").table(
        "webhook_delivery",
        "expires_at_s",
        "partner_id, event_id, endpoint_id",
    )
}

/// Why an endpoint was not prepared.
#[derive(Debug, thiserror::Error)]
pub enum EndpointRefused {
    /// Not a URL.
    #[error("not a URL")]
    NotAUrl,
    /// An address that is never called: not https, or a private or local one.
    #[error("target not allowed: {0}")]
    TargetNotAllowed(FetchError),
    /// The key pair could not be made.
    #[error(transparent)]
    Internal(#[from] Fault),
}

/// The numberer and the dispatcher of one node. Cheap to clone.
#[derive(Clone)]
pub struct Outbox {
    sender: Arc<Sender>,
    holder: Arc<str>,
    wake_numberer: Arc<Notify>,
    wake_dispatcher: Arc<Notify>,
}

impl Outbox {
    /// An outbox with the default options.
    pub fn new(db: Db, platform: Platform, master: Arc<MasterKeys>, fetcher: Fetcher) -> Self {
        let holder = platform.new_id("node").into();
        let options = OutboxOptions::default();
        let sender = Sender { db, platform, master, fetcher, envelope: None, options };
        Self {
            sender: Arc::new(sender),
            holder,
            wake_numberer: Arc::default(),
            wake_dispatcher: Arc::default(),
        }
    }

    /// The same outbox with other options.
    #[must_use]
    pub fn with_options(self, options: OutboxOptions) -> Self {
        Self { sender: Arc::new(Sender { options, ..Sender::clone(&self.sender) }), ..self }
    }

    /// The same outbox with an envelope for formats other than Standard Webhooks. Without one their deliveries wait.
    #[must_use]
    pub fn with_envelope(self, envelope: Arc<dyn Envelope>) -> Self {
        Self { sender: Arc::new(Sender { envelope: Some(envelope), ..Sender::clone(&self.sender) }), ..self }
    }

    /// Says that an event was committed; to be called after the write that inserted it. Without it the event is found
    /// at the next poll.
    pub fn wake(&self) {
        self.wake_numberer.notify_one();
    }

    /// Says that deliveries were queued by `redeliver`; to be called after its write.
    pub fn wake_dispatcher(&self) {
        self.wake_dispatcher.notify_one();
    }

    /// Judges the address of an endpoint to be, and draws its id and its key pair. The address is judged again, after
    /// resolving it, each time it is called.
    pub async fn prepare_endpoint(
        &self,
        partner_id: &str,
        url: &str,
        event_kinds: Vec<String>,
    ) -> Result<NewEndpoint, EndpointRefused> {
        let parsed = Url::parse(url).map_err(|_| EndpointRefused::NotAUrl)?;
        self.sender.fetcher.check_url(&parsed).await.map_err(EndpointRefused::TargetNotAllowed)?;
        let Sender { platform, master, .. } = &*self.sender;
        Ok(NewEndpoint::draw(platform, master, partner_id, parsed.as_str(), event_kinds)?)
    }

    /// Draws a new key pair for an endpoint, for `rotate_secret`.
    pub fn prepare_secret(&self, partner_id: &str, endpoint_id: &str) -> Result<NewSecret, Fault> {
        NewSecret::draw(&*self.sender.platform.entropy, &self.sender.master, partner_id, endpoint_id)
    }

    /// What waits and what was given up.
    pub async fn stats(&self) -> Result<OutboxStats, Fault> {
        let now = self.sender.platform.clock.now();
        self.sender.db.read(move |tx| Box::pin(async move { stats::count_outbox(tx, now).await })).await
    }

    /// Numbers and delivers until the service ends. Every node runs it.
    pub async fn run(self, shutdown: Shutdown) {
        let dispatcher = Dispatcher::new(Arc::clone(&self.sender), Arc::clone(&self.wake_dispatcher));
        tokio::join!(
            self.number_events(shutdown.clone()),
            dispatcher.run(shutdown.clone()),
            self.set_gauges(shutdown)
        );
    }

    async fn number_events(&self, shutdown: Shutdown) {
        let options = &self.sender.options;
        while !shutdown.is_triggered() {
            let ours = self.number_all().await.unwrap_or_else(|fault| {
                tracing::warn!(%fault, "events wait: cannot number");
                false
            });
            // Where another node numbers, being woken changes nothing.
            let (pause, deaf) = if ours { (options.number_poll, false) } else { (options.lease_poll, true) };
            tokio::select! {
                () = shutdown.triggered() => {}
                () = self.wake_numberer.notified(), if !deaf => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
        if let Err(fault) = self.let_others_number().await {
            tracing::debug!(%fault, "the numbering was not handed over: its lease will expire");
        }
    }

    async fn let_others_number(&self) -> Result<(), Fault> {
        let holder = Arc::clone(&self.holder);
        self.sender
            .db
            .write(move |tx| {
                let holder = Arc::clone(&holder);
                Box::pin(async move { release_lease(tx, numberer::LEASE, &holder).await })
            })
            .await
    }

    /// Numbers what waits; `false` when that is another node's work now.
    async fn number_all(&self) -> Result<bool, Fault> {
        let Sender { db, platform, options, .. } = &*self.sender;
        loop {
            if !db.read(|tx| Box::pin(async move { numberer::is_any_waiting(tx).await })).await? {
                return Ok(true);
            }
            let (now, now_ms) = (platform.clock.now(), platform.clock.now_ms());
            let queued = Queued { now, due: now.plus(options.schedule.first_s()) };
            let pass = Pass { holder: Arc::clone(&self.holder), now_ms, queued };
            let numbered = db.write(move |tx| {
                let pass = pass.clone();
                Box::pin(async move { numberer::number_waiting(tx, &pass).await })
            });
            match numbered.await? {
                Numbered::NotOurs => return Ok(false),
                Numbered::All => {
                    self.wake_dispatcher.notify_one();
                    return Ok(true);
                }
                Numbered::Some => self.wake_dispatcher.notify_one(),
            }
        }
    }

    async fn set_gauges(&self, shutdown: Shutdown) {
        while !shutdown.is_triggered() {
            match self.stats().await {
                Ok(stats) => stats.publish(),
                Err(fault) => tracing::warn!(%fault, "cannot count the outbox"),
            }
            tokio::select! {
                () = shutdown.triggered() => {}
                () = tokio::time::sleep(self.sender.options.gauge_poll) => {}
            }
        }
    }
}
