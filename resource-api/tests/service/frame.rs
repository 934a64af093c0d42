//! The running service: what anybody may read, what nobody may, and when it is ready.

use std::sync::atomic::Ordering;
use std::time::Duration;

use chassis::config::Checked;
use chassis::fetch::{FetchPolicy, FetchReply, FetchRequest, Fetcher};
use chassis::shutdown::Shutdown;
use chassis::testing::{TestDatabase, platform};
use guard::Requirements;
use guard::requirement::Entry;
use http::Method;
use keys::token::scopes;
use resource_api::{Listeners, Running, start};
use serde_json::Value;
use tokio::net::TcpListener;

use crate::world::{Issuer, config, snapshot};

struct Service {
    running: Running,
    shutdown: Shutdown,
    public: String,
    ops: String,
    fetcher: Fetcher,
}

impl Service {
    async fn start(database: &TestDatabase, issuer: &Issuer) -> Self {
        let bind = async || TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (public, ops) = (bind().await, bind().await);
        let url = |listener: &TcpListener| format!("http://{}", listener.local_addr().unwrap());
        let (public_url, ops_url) = (url(&public), url(&ops));
        let mut config = config(database, &issuer.url);
        config.public_origins.push(public_url.parse().unwrap());
        assert_eq!(config.problems(), Vec::<String>::new());
        let shutdown = Shutdown::new();
        let listeners = Listeners { public: vec![public], ops: vec![ops], ..Listeners::default() };
        let running = start(config, listeners, platform().0, shutdown.clone()).await.unwrap();
        let fetcher = Fetcher::new(FetchPolicy { allow_loopback_http: true, ..FetchPolicy::default() });
        Self { running, shutdown, public: public_url, ops: ops_url, fetcher }
    }

    async fn get(&self, url: String) -> FetchReply {
        self.fetcher.fetch(FetchRequest::get(url.parse().unwrap())).await.unwrap()
    }

    async fn becomes_ready(&self) {
        for _ in 0..100 {
            if self.get(format!("{}/readyz", self.ops)).await.status == 200 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the service did not become ready");
    }

    async fn end(self) {
        self.shutdown.trigger();
        assert!(self.shutdown.finished(Duration::from_secs(10)).await);
        self.running.close().await;
    }
}

fn json(reply: &FetchReply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

#[tokio::test]
async fn it_is_ready_once_it_has_a_directory_and_ends_in_good_order() {
    for database in TestDatabase::both().await {
        let issuer = Issuer::start().await;
        issuer.shared.down.store(true, Ordering::SeqCst);
        let service = Service::start(&database, &issuer).await;
        assert_eq!(service.get(format!("{}/readyz", service.ops)).await.status, 503);
        issuer.will_feed(snapshot(7));
        issuer.shared.down.store(false, Ordering::SeqCst);
        service.becomes_ready().await;
        service.end().await;
    }
}

#[tokio::test]
async fn the_documents_are_public_and_everything_else_asks_who_you_are() {
    let (database, issuer) = (TestDatabase::sqlite(), Issuer::start().await);
    issuer.will_feed(snapshot(7));
    let service = Service::start(&database, &issuer).await;
    service.becomes_ready().await;
    let document = json(&service.get(format!("{}/openapi.json", service.public)).await);
    assert_eq!(document["openapi"], "3.1.0");
    let metadata =
        json(&service.get(format!("{}/.well-known/oauth-protected-resource", service.public)).await);
    assert_eq!(metadata["resource"], "http://localhost:8081");
    assert_eq!(metadata["authorization_servers"][0], issuer.url.as_str());
    let keys = json(&service.get(format!("{}/.well-known/jwks.json", service.public)).await);
    assert!(
        keys["keys"].as_array().unwrap().iter().all(|key| key.get("d").is_none() && key.get("kid").is_some())
    );
    assert_eq!(service.get(format!("{}/docs/", service.public)).await.status, 200);
    for (path, method, requirement) in Requirements::from_openapi(&document).unwrap().iter() {
        if requirement.is_public() {
            continue;
        }
        let url = format!("{}{}", service.public, path.replace(['{', '}'], ""));
        let request =
            FetchRequest { method: method.parse().unwrap(), ..FetchRequest::get(url.parse().unwrap()) };
        let reply = service.fetcher.fetch(request).await.unwrap();
        assert_eq!(reply.status, 401, "{method} {path}");
        assert!(
            reply.headers["www-authenticate"].to_str().unwrap().contains("resource_metadata="),
            "{method} {path}"
        );
        assert!(json(&reply)["error_id"].as_str().unwrap().starts_with("err_"), "{method} {path}");
    }
    service.end().await;
}

#[test]
fn every_operation_says_what_it_needs_in_scopes_that_exist() {
    let document = serde_json::to_value(resource_api::http::openapi()).unwrap();
    let table = Requirements::from_openapi(&document).unwrap();
    for (path, method, requirement) in table.iter() {
        for scope in &requirement.scopes {
            assert!(scopes::RESOURCE_API.iter().any(|known| known.name == scope), "{method} {path}: {scope}");
        }
        let moves = requirement.scopes.iter().any(|scope| scope.ends_with(":execute"));
        assert!(!moves || method == "GET" || requirement.moves_money, "{method} {path} moves money");
    }
    assert_eq!(table.find("/openapi.json", &Method::GET), Entry::Unlisted);
}
