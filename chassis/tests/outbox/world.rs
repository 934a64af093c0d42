//! What the tests stand on: a real database of either kind, a clock that stands still, and outboxes that run.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chassis::fetch::{FetchPolicy, Fetcher};
use chassis::outbox::{
    Delivery, DeliveryPage, Endpoint, NewEndpoint, NewEvent, Outbox, OutboxOptions, Schedule, StoredEvent,
    insert_endpoint, insert_events, list_deliveries, list_endpoint_deliveries, list_events,
};
use chassis::shutdown::Shutdown;
use chassis::testing::TestDatabase;
use chassis::{Db, FixedClock, Platform, SystemEntropy};
use keys::UnixSeconds;
use keys::seal::{MasterKey, MasterKeys};
use serde_json::json;

pub(crate) const PARTNER: &str = "par_acme";
pub(crate) const NOW_S: i64 = 1_800_000_000;

pub(crate) struct World {
    pub(crate) db: Db,
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) platform: Platform,
    pub(crate) master: Arc<MasterKeys>,
    _database: TestDatabase,
}

/// A running outbox. Dropping it is a crash: whatever it was doing stops there.
pub(crate) struct Node {
    pub(crate) outbox: Outbox,
    shutdown: Shutdown,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Node {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Node {
    pub(crate) fn start(outbox: Outbox) -> Self {
        let shutdown = Shutdown::new();
        let task = tokio::spawn(outbox.clone().run(shutdown.clone()));
        Self { outbox, shutdown, task }
    }

    /// Ends it in order.
    pub(crate) async fn end(mut self) {
        self.shutdown.trigger();
        (&mut self.task).await.unwrap();
    }
}

impl World {
    /// One world per database.
    pub(crate) async fn both() -> Vec<Self> {
        let mut worlds = Vec::new();
        for database in TestDatabase::both().await {
            let db = database.migrated(&[("chassis", chassis::MIGRATIONS)]).await;
            let clock = Arc::new(FixedClock::at(NOW_S));
            let platform =
                Platform { clock: clock.clone(), entropy: Arc::new(SystemEntropy), development: true };
            let master = Arc::new(MasterKeys::new(MasterKey::new([9; 32]), Vec::new()));
            worlds.push(Self { db, clock, platform, master, _database: database });
        }
        worlds
    }

    pub(crate) fn outbox(&self, policy: FetchPolicy, schedule: Vec<i64>) -> Outbox {
        self.outbox_with(policy, |options| options.schedule = Schedule::new(schedule))
    }

    /// An outbox with the schedule of production and quick polls, unless changed.
    pub(crate) fn outbox_with(&self, policy: FetchPolicy, change: impl FnOnce(&mut OutboxOptions)) -> Outbox {
        let fetcher = Fetcher::new(policy);
        let mut options = OutboxOptions {
            number_poll: Duration::from_millis(20),
            lease_poll: Duration::from_millis(20),
            dispatch_poll: Duration::from_millis(20),
            drain: Duration::from_secs(2),
            ..OutboxOptions::default()
        };
        change(&mut options);
        Outbox::new(self.db.clone(), self.platform.clone(), Arc::clone(&self.master), fetcher)
            .with_options(options)
    }

    /// A node that may call loopback, with the schedule 0 s, 5 s, 60 s.
    pub(crate) fn start_node(&self) -> Node {
        Node::start(self.outbox(loopback(), vec![0, 5, 60]))
    }

    pub(crate) async fn register(&self, partner_id: &str, url: &str, kinds: &[&str]) -> Endpoint {
        let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        let new = NewEndpoint::draw(&self.platform, &self.master, partner_id, url, kinds).unwrap();
        let row = new.clone();
        self.db
            .write(move |tx| {
                let row = row.clone();
                Box::pin(async move { insert_endpoint(tx, &row).await })
            })
            .await
            .unwrap();
        new.endpoint
    }

    pub(crate) fn event(&self, partner_id: &str, kind: &'static str) -> NewEvent {
        NewEvent {
            event_id: self.platform.new_id("evt"),
            partner_id: partner_id.to_owned(),
            kind,
            occurred_at: UnixSeconds(NOW_S),
            data: json!({"fiat_in_id": "fin_1", "state": "completed", "amount": {"amount": 10_000, "currency": "EUR"}}),
        }
    }

    /// Commits events in one transaction.
    pub(crate) async fn commit(&self, events: Vec<NewEvent>) {
        self.db
            .write(move |tx| {
                let events = events.clone();
                Box::pin(async move { insert_events(tx, &events).await })
            })
            .await
            .unwrap();
    }

    /// The partner's events, in order.
    pub(crate) async fn events(&self) -> Vec<StoredEvent> {
        let listed = self.db.read(|tx| Box::pin(async move { list_events(tx, PARTNER, 0, 1_000).await }));
        listed.await.unwrap()
    }

    /// The deliveries to one endpoint, in the order of the events.
    pub(crate) async fn deliveries_to(
        &self,
        endpoint: &Endpoint,
        state: Option<&'static str>,
    ) -> Vec<Delivery> {
        let endpoint_id = endpoint.endpoint_id.clone();
        let page = DeliveryPage { state, after_seq: 0, limit: 10_000 };
        let listed = self.db.read(move |tx| {
            Box::pin(async move { list_endpoint_deliveries(tx, PARTNER, &endpoint_id, &page).await })
        });
        listed.await.unwrap()
    }

    /// Commits one `fiat_in.completed` of the partner and answers its id.
    pub(crate) async fn tell(&self, node: &Node) -> String {
        let event = self.event(PARTNER, "fiat_in.completed");
        let event_id = event.event_id.clone();
        self.commit(vec![event]).await;
        node.outbox.wake();
        event_id
    }

    pub(crate) async fn deliveries(&self, event_id: &str) -> Vec<Delivery> {
        let event_id = event_id.to_owned();
        self.db
            .read(move |tx| {
                let event_id = event_id.clone();
                Box::pin(async move { list_deliveries(tx, PARTNER, &event_id).await })
            })
            .await
            .unwrap()
    }

    /// Waits until the only delivery of an event is in a state, and answers it.
    pub(crate) async fn delivery_in(&self, event_id: &str, state: &str) -> Delivery {
        eventually(&format!("{event_id} is {state}"), async || {
            let deliveries = self.deliveries(event_id).await;
            assert!(deliveries.len() <= 1);
            deliveries.into_iter().find(|delivery| delivery.state == state)
        })
        .await
    }
}

pub(crate) fn loopback() -> FetchPolicy {
    FetchPolicy { allow_loopback_http: true, ..FetchPolicy::default() }
}

/// Waits until the check answers something, at most half a minute.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, check: impl Fn() -> F) -> T {
    for _ in 0..1_500 {
        if let Some(found) = check().await {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("did not happen: {what}");
}
