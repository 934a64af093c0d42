//! Liveness, readiness and metrics for operators, on a listener of their own, never on the public one.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::future::{BoxFuture, join_all};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use serde::Serialize;

use crate::db::Db;
use crate::shutdown::Shutdown;

static METRICS: OnceLock<Option<PrometheusHandle>> = OnceLock::new();

/// The bounds of the time histograms, seconds.
const SECONDS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0];

/// How long one readiness check may take.
const CHECK_DEADLINE: Duration = Duration::from_secs(1);

/// How often the count of statements is published.
const STATEMENTS_REPORTED: Duration = Duration::from_secs(1);

/// How often samples are folded into their buckets when nobody reads them.
const UPKEEP: Duration = Duration::from_secs(5);

/// Installs the process's one metrics recorder; later calls find it installed. `None` when another recorder was
/// there before.
pub fn install_metrics() -> Option<&'static PrometheusHandle> {
    let installed = METRICS.get_or_init(|| {
        let handle = PrometheusBuilder::new().set_buckets(&SECONDS).ok()?.install_recorder().ok()?;
        let folding = handle.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                loop {
                    tokio::time::sleep(UPKEEP).await;
                    folding.run_upkeep();
                }
            });
        }
        Some(handle)
    });
    installed.as_ref()
}

/// Publishes `db_statements_total{service}`, how many SQL statements the service has sent, each second until the end.
pub async fn report_statements(db: Db, service: &'static str, shutdown: Shutdown) {
    while !shutdown.is_triggered() {
        metrics::counter!("db_statements_total", "service" => service).absolute(db.statements());
        tokio::select! {
            () = shutdown.triggered() => return,
            () = tokio::time::sleep(STATEMENTS_REPORTED) => {}
        }
    }
}

#[derive(Clone)]
struct Check {
    name: &'static str,
    run: Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>,
}

/// What must hold before traffic is welcome. All clones are one list.
#[derive(Clone, Default)]
pub struct Readiness(Arc<RwLock<Vec<Check>>>);

/// A check that somebody sets by hand.
#[derive(Debug, Clone)]
pub struct ReadyFlag(Arc<AtomicBool>);

/// One line of `/readyz`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    /// What was checked.
    pub name: &'static str,
    /// Whether it holds.
    pub ready: bool,
    /// Why it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Readiness {
    /// An empty list: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check that is run at each question, for at most one second.
    pub fn add<F>(&self, name: &'static str, check: F)
    where
        F: Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static,
    {
        if let Ok(mut checks) = self.0.write() {
            checks.push(Check { name, run: Arc::new(check) });
        }
    }

    /// Adds a check that holds once, and as long as, the flag is set.
    pub fn flag(&self, name: &'static str) -> ReadyFlag {
        let flag = ReadyFlag(Arc::new(AtomicBool::new(false)));
        let asked = flag.clone();
        self.add(name, move || {
            let ready = if asked.is_set() { Ok(()) } else { Err("not yet".to_owned()) };
            Box::pin(std::future::ready(ready))
        });
        flag
    }

    /// Runs all checks at the same time.
    pub async fn check(&self) -> Vec<CheckResult> {
        let checks = self.0.read().map(|checks| checks.clone()).unwrap_or_default();
        join_all(checks.into_iter().map(|Check { name, run }| async move {
            let held = tokio::time::timeout(CHECK_DEADLINE, run()).await;
            let reason = held.unwrap_or_else(|_| Err("no answer within a second".to_owned())).err();
            CheckResult { name, ready: reason.is_none(), reason }
        }))
        .await
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = self.0.read().map(|checks| checks.iter().map(|check| check.name).collect::<Vec<_>>());
        let names = names.unwrap_or_default();
        out.debug_tuple("Readiness").field(&names).finish()
    }
}

impl ReadyFlag {
    /// Sets or clears it.
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// `GET /livez` (the process answers), `GET /readyz` (200 or 503, with each check) and `GET /metrics` (Prometheus
/// text).
pub fn router(readiness: Readiness) -> Router {
    install_metrics();
    Router::new()
        .route("/livez", get(async || "live\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics_text))
        .with_state(readiness)
}

async fn readyz(State(readiness): State<Readiness>) -> Response {
    #[derive(Serialize)]
    struct Answer {
        ready: bool,
        checks: Vec<CheckResult>,
    }
    let checks = readiness.check().await;
    let ready = checks.iter().all(|check| check.ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(CACHE_CONTROL, "no-store")], axum::Json(Answer { ready, checks })).into_response()
}

async fn metrics_text() -> Response {
    let text = install_metrics().map(PrometheusHandle::render).unwrap_or_default();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8"), (CACHE_CONTROL, "no-store")], text)
        .into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn each_check_is_listed_with_its_reason() {
        let readiness = Readiness::new();
        let flag = readiness.flag("directory");
        readiness.add("database", || Box::pin(async { Err("refused".to_owned()) }));
        let lines = readiness.check().await;
        assert_eq!(
            lines[0],
            CheckResult { name: "directory", ready: false, reason: Some("not yet".to_owned()) }
        );
        assert_eq!(lines[1].reason.as_deref(), Some("refused"));
        flag.set(true);
        assert!(readiness.check().await[0].ready);
    }

    #[tokio::test(start_paused = true)]
    async fn a_check_that_hangs_counts_as_failed() {
        let readiness = Readiness::new();
        readiness.add("database", || Box::pin(std::future::pending()));
        let lines = readiness.check().await;
        assert_eq!(lines[0].reason.as_deref(), Some("no answer within a second"));
    }
}
