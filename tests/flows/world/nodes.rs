//! The processes of a world, each a set of tasks that can be stopped and started again.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use chassis::Platform;
use chassis::fetch::{FetchPolicy, Fetcher};
use chassis::http::{HttpOptions, ListenerConfig, ServeOptions, layered, serve};
use chassis::shutdown::Shutdown;
use chassis::testing::TestDatabase;
use guard::Standing;
use keys::webhook::WebhookSecret;
use resource_api::config::{ClientConfig, Config, IDEMPOTENCY_KEY_TTL_S_DEFAULT};
use resource_api::gateway::GatewayConfig;
use resource_api::sandbox::{self, EventTarget, Sandbox};
use secrecy::SecretString;
use tokio::net::TcpListener;

use super::clients::API_MASTER;
use super::{Client, Options, World, eventually};

#[path = "../../../src/dev/door.rs"]
mod front_door;

/// How long a node may take to end.
const DRAIN: Duration = Duration::from_secs(10);

/// The secret of the gateway's events, the one before it, and our account at the gateway.
pub(crate) const EVENT_SECRET: [u8; 32] = [21; 32];
pub(crate) const EVENT_SECRET_BEFORE: [u8; 32] = [22; 32];
pub(crate) const MERCHANT: &str = "mrc_tests";

/// A bound port that outlives the nodes listening on it: whoever calls while none does waits in its queue.
pub(crate) struct Socket(std::net::TcpListener);

impl Socket {
    pub(crate) fn bind() -> Self {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        listener.set_nonblocking(true).expect("a non-blocking socket");
        Self(listener)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.local_addr().expect("a bound address")
    }

    pub(crate) fn origin(&self) -> String {
        format!("http://localhost:{}", self.address().port())
    }

    /// A second handle on it.
    pub(super) fn again(&self) -> Self {
        Self(self.0.try_clone().expect("a second handle"))
    }

    fn listener(&self) -> TcpListener {
        TcpListener::from_std(self.again().0).expect("a listener")
    }
}

/// Tasks that end together.
pub(crate) struct Task(Shutdown);

impl Task {
    /// Ends them; every one must end in time.
    pub(crate) async fn stop(&self) {
        self.0.trigger();
        assert!(self.0.finished(DRAIN).await, "a task did not end");
    }
}

/// A running authorization server.
pub(crate) struct Authz {
    pub(super) running: authz::Running,
    pub(crate) ops: SocketAddr,
    pub(super) task: Task,
    /// Dropped when it is to be unreachable.
    socket: Option<Socket>,
}

impl Authz {
    pub(super) async fn start(config: authz::Config, socket: Socket, platform: &Platform) -> Self {
        let (shutdown, ops) = (Shutdown::new(), Socket::bind());
        let listeners = authz::Listeners {
            public: vec![socket.listener()],
            ops: vec![ops.listener()],
            ops_routes: Router::new(),
        };
        let running = authz::start(config, listeners, platform.clone(), shutdown.clone()).await;
        let running = running.expect("the authorization server starts");
        Self { running, ops: ops.address(), task: Task(shutdown), socket: Some(socket) }
    }
}

/// A running payments API.
pub(crate) struct ApiNode {
    pub(crate) app: resource_api::app::App,
    pub(crate) config: Config,
    pub(crate) address: SocketAddr,
    pub(crate) ops: SocketAddr,
    pub(super) task: Task,
    pub(super) socket: Socket,
}

impl ApiNode {
    pub(crate) async fn start(config: Config, socket: Socket, platform: &Platform) -> Self {
        let (shutdown, ops) = (Shutdown::new(), Socket::bind());
        let listeners = resource_api::Listeners {
            public: vec![socket.listener()],
            ops: vec![ops.listener()],
            ops_routes: Router::new(),
        };
        let running =
            resource_api::start(config.clone(), listeners, platform.clone(), shutdown.clone()).await;
        let app = running.expect("the payments API starts").app;
        Self { app, config, address: socket.address(), ops: ops.address(), task: Task(shutdown), socket }
    }

    /// Waits until it may move money.
    pub(crate) async fn ready(&self) {
        let fresh =
            || async { (self.app.directory.is_loaded() && self.app.directory.is_fresh()).then_some(()) };
        eventually("a fresh directory", fresh).await;
    }

    /// Ends all its tasks.
    pub(crate) async fn stop(&self) {
        self.task.stop().await;
    }
}

/// Where everything is, for the payments API's configuration.
pub(super) struct Place<'a> {
    pub(super) issuer: &'a str,
    pub(super) resource: &'a str,
    pub(super) door: &'a str,
    pub(super) gateway: &'a str,
    pub(super) database: &'a TestDatabase,
}

pub(super) fn api_config(place: &Place<'_>, clients: &[Client], options: &Options) -> Config {
    let origin = |text: &str| text.parse().expect("an origin");
    let client =
        clients.iter().find(|client| client.name == "platform/resource-api").expect("the API's own client");
    let jwk = client.assertion_key.as_ref().expect("its key").to_private_jwk().expect("a JWK");
    let mut gateway = GatewayConfig::at(place.gateway.parse().expect("a URL"));
    gateway.deadline_ms = options.gateway_deadline_ms;
    gateway.events.secret = Some(SecretString::from(WebhookSecret::text(&EVENT_SECRET)));
    gateway.events.previous_secret = Some(SecretString::from(WebhookSecret::text(&EVENT_SECRET_BEFORE)));
    gateway.events.merchant = Some(MERCHANT.to_owned());
    Config {
        issuer: origin(place.issuer),
        authz_url: None,
        authz_networks: Vec::new(),
        resource: origin(place.resource),
        public_origins: vec![origin(place.door)],
        authorities_file: None,
        listen: Vec::new(),
        ops_listen: Vec::new(),
        database_url: SecretString::from(place.database.url().expose().to_owned()),
        master_key: Some(SecretString::from(keys::b64::encode(API_MASTER))),
        master_key_file: None,
        readable_master_keys: Vec::new(),
        readable_master_key_files: Vec::new(),
        client: ClientConfig {
            client_id: client.client_id.clone(),
            private_jwk: Some(SecretString::from(jwk.to_string())),
            private_jwk_file: None,
        },
        listener: ListenerConfig::default(),
        idempotency_key_ttl_s: IDEMPOTENCY_KEY_TTL_S_DEFAULT,
        webhook_networks: Vec::new(),
        dpop_nonce_required: false,
        gateway,
        monitoring: options.monitoring.clone(),
    }
}

/// Where the sandbox sends its events: to the payments API, by its own clock.
pub(super) fn event_target(resource: &str, platform: &Platform) -> EventTarget {
    EventTarget {
        url: format!("{resource}/v1/gateway-events/sandbox").parse().expect("a URL"),
        secret: WebhookSecret::parse(&WebhookSecret::text(&EVENT_SECRET)).expect("a secret"),
        merchant: MERCHANT.to_owned(),
        fetcher: Fetcher::new(FetchPolicy { allow_loopback_http: true, ..FetchPolicy::default() }),
        clock: platform.clock.clone(),
        by_default: false,
    }
}

/// Serves the sandbox gateway; its base URL.
pub(super) async fn gateway(sandbox: &Sandbox) -> (String, Task) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound address"));
    let (shutdown, sandbox) = (Shutdown::new(), sandbox.clone());
    let ending = shutdown.clone();
    shutdown.spawn("sandbox gateway", async move {
        // Not gracefully: a silent answer would be waited for.
        let served = sandbox::serve(sandbox, listener, std::future::pending());
        tokio::select! {
            () = ending.triggered() => {}
            ended = served => ended.expect("the sandbox gateway serves"),
        }
    });
    (url, Task(shutdown))
}

/// Serves the front door, the very one of `countersign dev`.
pub(super) fn door(
    authz: &Authz,
    api: &ApiNode,
    origin: &str,
    (socket, platform): (Socket, &Platform),
) -> Task {
    let shutdown = Shutdown::new();
    let options = HttpOptions::new("front-door", vec![origin.parse().expect("an origin")]);
    let door = front_door::Door {
        routes: crate::routes::Routes::of_services().expect("the table"),
        authz: authz::http::router(authz.running.app()),
        resource_api: resource_api::http::router(&api.app).expect("the API's routes"),
        nobody: layered(Router::new(), options, platform),
    };
    let listener = socket.listener();
    let served = serve(vec![listener], door.into_router(), ServeOptions::default(), shutdown.clone());
    shutdown.spawn("front door", served);
    Task(shutdown)
}

impl World {
    /// A copy of the payments API's database as it is now, in a database of its own.
    pub(crate) async fn copy_of_api(&mut self) -> TestDatabase {
        self.api.task.stop().await;
        self.api.app.db.close().await;
        let copy = self.databases.resource_api.copied().await;
        self.restart_api().await;
        copy
    }

    /// Puts the copy in the place of the payments API's database, as a restore does.
    pub(crate) async fn restore_api(&mut self, copy: TestDatabase) {
        self.api.task.stop().await;
        self.api.app.db.close().await;
        let db = copy.open().await;
        resource_api::desk::begin_epoch(&db, &self.platform).await.expect("the next epoch");
        db.close().await;
        self.api.config.database_url = SecretString::from(copy.url().expose());
        self.databases.resource_api = copy;
        self.restart_api().await;
    }

    /// Stops the payments API and starts it anew on the same database and port.
    pub(crate) async fn restart_api(&mut self) {
        self.api.task.stop().await;
        let socket = self.api.socket.again();
        self.api = ApiNode::start(self.api.config.clone(), socket, &self.platform).await;
        self.api.ready().await;
    }

    /// One more node of the payments API on the same database, behind the same name: reach it with [`super::Call::via`].
    pub(crate) async fn another_api(&self) -> ApiNode {
        let node = ApiNode::start(self.api.config.clone(), Socket::bind(), &self.platform).await;
        node.ready().await;
        node
    }

    /// Stops the authorization server and closes its port: whoever calls is refused.
    pub(crate) async fn stop_authz(&mut self) {
        self.authz.socket = None;
        self.authz.task.stop().await;
    }
}
