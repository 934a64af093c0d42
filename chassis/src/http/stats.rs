//! What is counted and written down of each request: method, route, status, time. Never a query, a header or a body.

use std::sync::{Arc, OnceLock, RwLock};

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use http::Method;
use metrics::{Counter, Histogram};
use tokio::time::Instant;

use super::error_id::{ErrorId, RequestNotes};
use super::problem::RefusalCode;
use crate::audit::RefusedRequest;

/// The path label of requests that no route takes; their own path may hold anything and is not kept.
const NO_ROUTE: &str = "-";

/// The counters of one route. They are found without hashing or allocating once a (method, status) was seen.
pub(crate) struct RouteStats {
    service: &'static str,
    path: OnceLock<Arc<str>>,
    seen: RwLock<Vec<Seen>>,
}

struct Seen {
    method: &'static str,
    status: u16,
    count: Counter,
    seconds: Histogram,
}

/// A request that began.
pub(crate) struct Measured {
    method: &'static str,
    began: Instant,
}

impl RouteStats {
    pub(crate) fn new(service: &'static str) -> Self {
        Self { service, path: OnceLock::new(), seen: RwLock::new(Vec::new()) }
    }

    pub(crate) fn begin(&self, request: &Request) -> Measured {
        self.path.get_or_init(|| {
            let matched = request.extensions().get::<MatchedPath>();
            matched.map_or(NO_ROUTE, MatchedPath::as_str).into()
        });
        Measured { method: label(request.method()), began: Instant::now() }
    }

    /// Whether a route took the requests counted here.
    pub(crate) fn has_route(&self) -> bool {
        self.path.get().is_some_and(|path| &**path != NO_ROUTE)
    }

    pub(crate) fn end(&self, measured: &Measured, id: ErrorId, response: &Response) {
        let taken = measured.began.elapsed();
        let status = response.status().as_u16();
        let path = self.path.get().map_or(NO_ROUTE, |path| &**path);
        self.count(path, measured.method, status, taken.as_secs_f64());
        let (method, service) = (measured.method, self.service);
        let code = response.extensions().get::<RefusalCode>().map(|refusal| refusal.0);
        let ms = u64::try_from(taken.as_millis()).unwrap_or(u64::MAX);
        if let Some(code) = code {
            tracing::info!(target: "access", error_id = %id, service, method, path, status, ms, code, "refused");
        } else {
            tracing::info!(target: "access", request_id = id.request_id(), service, method, path, status, ms, "answered");
        }
    }

    /// What the audit keeps of a refusal. To be called inside of the request.
    pub(crate) fn refused(&self, measured: &Measured, id: ErrorId, response: &Response) -> RefusedRequest {
        let RequestNotes { client_id, partner_id, sub, reason } = RequestNotes::take();
        RefusedRequest {
            error_id: id.to_string(),
            method: measured.method,
            path: self.path.get().map_or(NO_ROUTE, |path| &**path).to_owned(),
            status: response.status().as_u16(),
            code: response.extensions().get::<RefusalCode>().map_or("refused", |refusal| refusal.0),
            reason,
            partner_id,
            client_id,
            sub,
        }
    }

    fn count(&self, path: &str, method: &'static str, status: u16, seconds: f64) {
        let matches = |seen: &&Seen| seen.status == status && seen.method == method;
        if let Ok(known) = self.seen.read()
            && let Some(seen) = known.iter().find(matches)
        {
            seen.count.increment(1);
            seen.seconds.record(seconds);
            return;
        }
        let labels = [
            ("service", self.service.to_owned()),
            ("method", method.to_owned()),
            ("path", path.to_owned()),
            ("status", status.to_string()),
        ];
        let count = metrics::counter!("http_requests_total", &labels);
        let seconds_of = metrics::histogram!("http_request_seconds", &labels[..3]);
        count.increment(1);
        seconds_of.record(seconds);
        if let Ok(mut known) = self.seen.write() {
            known.push(Seen { method, status, count, seconds: seconds_of });
        }
    }
}

/// The method as a label; what is not registered shares one, so that callers cannot invent labels.
fn label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        Method::TRACE => "TRACE",
        Method::CONNECT => "CONNECT",
        _ => "OTHER",
    }
}
