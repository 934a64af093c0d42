//! The world of a flow: both services in process on real sockets with their own databases, a sandbox gateway, the
//! front door, partners with clients of every sort, a clock that moves when told — and the verbs of the tests.
//!
//! A flow is written once and run on each database:
//!
//! ```text
//! flows! {
//!     async fn a_customer_pays(world: &mut World) { .. }
//! }
//! ```
//!
//! Every flow ends with [`World::end`]: the books are verified and compared with the gateway's record, and every task
//! of both services must end.

pub(crate) mod call;
mod clients;
mod dump;
mod gateway;
pub(crate) mod log;
mod money;
mod mortal;
mod nodes;
mod people;
mod receiver;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use chassis::db::Engine;
use chassis::testing::TestDatabase;
use chassis::{FixedClock, Platform, SeededEntropy};
use keys::{SigningKey, UnixSeconds};
use resource_api::sandbox::{Sandbox, SandboxOptions};
use tokio::sync::OnceCell;

pub(crate) use self::call::{Call, Reply};
pub(crate) use self::clients::Client;
pub(crate) use self::gateway::{charge_of, dispute_event, gateway_event, refund_event};
pub(crate) use self::money::{PII_CANARIES, personal_data};
pub(crate) use self::nodes::{ApiNode, Authz, EVENT_SECRET, EVENT_SECRET_BEFORE, MERCHANT, Socket};
pub(crate) use self::people::Customer;
pub(crate) use self::receiver::{Event, Receiver};

/// The moment at which the clock of every world starts: 2026-01-01T00:00:00Z.
pub(crate) const START: i64 = 1_767_225_600;

/// How long a flow waits for work in the background before it fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// Pause between two looks at such work.
pub(crate) const PAUSE: Duration = Duration::from_millis(15);

/// Expands flows into one test for each database. A flow takes the running world; one that needs other settings takes
/// `databases: Databases`, starts its world itself and calls [`World::end`].
macro_rules! flows {
    ($($(#[$meta:meta])* async fn $name:ident($world:ident: &mut World) $body:block)+) => { $(
        mod $name {
            use super::*;

            async fn flow($world: &mut World) $body

            async fn run(engine: chassis::db::Engine) {
                let mut world = World::on(engine).await;
                flow(&mut world).await;
                world.end().await;
            }

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                run(chassis::db::Engine::Sqlite).await;
            }

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                run(chassis::db::Engine::Postgres).await;
            }
        }
    )+ };
    ($($(#[$meta:meta])* async fn $name:ident($databases:ident: Databases) $body:block)+) => { $(
        mod $name {
            use super::*;

            async fn flow($databases: Databases) $body

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                flow(Databases::on(chassis::db::Engine::Sqlite).await).await;
            }

            $(#[$meta])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgres() {
                flow(Databases::on(chassis::db::Engine::Postgres).await).await;
            }
        }
    )+ };
}

/// The two services' databases.
pub(crate) struct Databases {
    pub(crate) authz: TestDatabase,
    pub(crate) resource_api: TestDatabase,
}

impl Databases {
    /// Two fresh ones on this engine.
    pub(crate) async fn on(engine: Engine) -> Self {
        match engine {
            Engine::Sqlite => Self { authz: TestDatabase::sqlite(), resource_api: TestDatabase::sqlite() },
            Engine::Postgres => {
                Self { authz: TestDatabase::postgres().await, resource_api: TestDatabase::postgres().await }
            }
        }
    }
}

/// What a world may be started with instead of the defaults.
pub(crate) struct Options {
    /// Life of a test's gateway silence and the adapter's patience with it, milliseconds.
    pub(crate) gateway_deadline_ms: u64,
    /// The limits of monitoring.
    pub(crate) monitoring: resource_api::monitoring::MonitoringConfig,
}

impl Default for Options {
    fn default() -> Self {
        Self { gateway_deadline_ms: 3_000, monitoring: resource_api::monitoring::MonitoringConfig::default() }
    }
}

/// Everything that runs for one flow.
pub(crate) struct World {
    pub(crate) clock: Arc<FixedClock>,
    pub(crate) platform: Platform,
    pub(crate) databases: Databases,
    /// `iss`, and where the authorization server listens.
    pub(crate) issuer: String,
    /// The payments API's base URL.
    pub(crate) resource: String,
    /// The front door's.
    pub(crate) door: String,
    pub(crate) authz: Authz,
    pub(crate) api: ApiNode,
    door_node: nodes::Task,
    pub(crate) sandbox: Sandbox,
    gateway_node: nodes::Task,
    pub(crate) clients: Vec<Client>,
    http: reqwest::Client,
    signing_key: OnceCell<SigningKey>,
    tokens: tokens::Tokens,
}

impl World {
    /// A world on fresh databases of this engine.
    pub(crate) async fn on(engine: Engine) -> Self {
        Self::start(Databases::on(engine).await).await
    }

    /// A world on these databases with the default settings.
    pub(crate) async fn start(databases: Databases) -> Self {
        Self::start_with(databases, Options::default()).await
    }

    /// A world on these databases: applies the platform file, starts both services, the gateway and the door, and
    /// returns once the payments API has a fresh directory.
    pub(crate) async fn start_with(databases: Databases, options: Options) -> Self {
        drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
        log::capture();
        let clock = Arc::new(FixedClock::at(START));
        let platform =
            Platform { clock: clock.clone(), entropy: Arc::new(SeededEntropy::new(1)), development: true };
        let sockets = [Socket::bind(), Socket::bind(), Socket::bind()];
        let [issuer, resource, door] = [0, 1, 2].map(|index: usize| sockets[index].origin());
        let [authz_socket, api_socket, door_socket] = sockets;
        let (authz_config, clients) =
            clients::apply(&databases, &platform, [&issuer, &resource, &door]).await;
        let sandbox = Sandbox::new(&SandboxOptions {
            silence_ms: options.gateway_deadline_ms + 200,
            record_file: None,
        })
        .expect("a sandbox in memory");
        sandbox.send_events_to(nodes::event_target(&resource, &platform));
        let (gateway_url, gateway_node) = nodes::gateway(&sandbox).await;
        let authz = Authz::start(authz_config, authz_socket, &platform).await;
        let place = nodes::Place {
            issuer: &issuer,
            resource: &resource,
            door: &door,
            gateway: &gateway_url,
            database: &databases.resource_api,
        };
        let config = nodes::api_config(&place, &clients, &options);
        let api = ApiNode::start(config, api_socket, &platform).await;
        let door_node = nodes::door(&authz, &api, &door, (door_socket, &platform));
        let http = call::client();
        let world = Self {
            clock,
            platform,
            databases,
            issuer,
            resource,
            door,
            authz,
            api,
            door_node,
            sandbox,
            gateway_node,
            clients,
            http,
            signing_key: OnceCell::new(),
            tokens: tokens::Tokens::default(),
        };
        world.api.ready().await;
        world
    }

    /// The present moment of this world.
    pub(crate) fn now(&self) -> UnixSeconds {
        self.platform.now()
    }

    /// Text that no other call gives.
    pub(crate) fn unique(&self, prefix: &str) -> String {
        self.platform.new_id(prefix)
    }

    /// Verifies the books, ends every task, and verifies the audit of both services (INV7).
    pub(crate) async fn end(self) {
        self.assert_books().await;
        self.end_services().await;
        for (service, db) in [("authz", self.authz.running.db()), ("resource-api", &self.api.app.db)] {
            let report = chassis::audit::verify(db).await.expect("the audit is read");
            assert!(report.is_sound(), "{service}: {report}");
        }
    }

    /// Ends every task.
    pub(crate) async fn end_services(&self) {
        for node in [&self.door_node, &self.gateway_node, &self.api.task, &self.authz.task] {
            node.stop().await;
        }
    }
}

/// Asks again and again, with short pauses, until `look` finds something.
pub(crate) async fn eventually<T, F: Future<Output = Option<T>>>(
    what: &str,
    mut look: impl FnMut() -> F,
) -> T {
    let patience = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    match patience.await {
        Ok(found) => found,
        Err(_) => panic!("waited in vain: {what}"),
    }
}
