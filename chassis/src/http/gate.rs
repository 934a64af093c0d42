//! The gate in front of every route: one layer instead of a tower of them, so that a request costs one clone and
//! one future more than bare axum.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName,
    STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tower::{Service, layer::layer_fn, service_fn};

use super::error_id::ErrorId;
use super::origin::Origin;
use super::problem::{Problem, RefusalCode, bad_request, internal, unavailable};
use super::proxies::{ClientAddress, TrustedProxies};
use super::received::Received;
use super::stats::RouteStats;
use crate::audit::AuditQueue;
use crate::platform::Platform;

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the gate lets through.
#[derive(Debug, Clone)]
pub struct HttpOptions {
    /// The service's name in metrics and access log lines.
    pub service: &'static str,
    /// The origins under which the service is reached; a `Host` outside of them is answered with 421.
    pub public_origins: Vec<Origin>,
    /// Largest request body, bytes.
    pub body_bytes_max: usize,
    /// Largest sum of all header names and values, bytes.
    pub head_bytes_max: usize,
    /// Longest path and query together, bytes.
    pub uri_bytes_max: usize,
    /// How long the whole body may take to arrive.
    pub body_deadline: Duration,
    /// How long a handler may take. Longer than the longest poll that a route offers.
    pub request_deadline: Duration,
    /// How many requests may be worked on at once; more are answered with 503.
    pub in_flight_max: usize,
    /// Load balancers that are believed about the address of a client.
    pub trusted_proxies: TrustedProxies,
    /// Where refusals are noted for the audit.
    pub audit: Option<AuditQueue>,
}

impl HttpOptions {
    /// The defaults: 64 KiB of body, 16 KiB of headers, 8 KiB of URI, 10 s for the body, 15 s for the answer, 1,024
    /// requests at once.
    pub fn new(service: &'static str, public_origins: Vec<Origin>) -> Self {
        Self {
            service,
            public_origins,
            body_bytes_max: 64 * 1024,
            head_bytes_max: 16 * 1024,
            uri_bytes_max: 8 * 1024,
            body_deadline: Duration::from_secs(10),
            request_deadline: Duration::from_secs(15),
            in_flight_max: 1024,
            trusted_proxies: TrustedProxies::default(),
            audit: None,
        }
    }

    /// The same, with refusals noted for the audit.
    #[must_use]
    pub fn audited(self, audit: AuditQueue) -> Self {
        Self { audit: Some(audit), ..self }
    }
}

/// Puts the gate in front of every route of `router`. Refusals without a shape of their own become problem details:
/// 404 for unknown paths, 405 with `Allow` for other methods (RFC 9110 §15.5.6), and what axum's own extractors say.
/// Call it last: routes added afterwards have no gate.
pub fn layered(router: Router, options: HttpOptions, platform: &Platform) -> Router {
    ErrorId::seed(&*platform.entropy);
    crate::ops::install_metrics();
    let https_only = options.public_origins.iter().all(Origin::is_https);
    let gate = Arc::new(Gate { options, https_only, in_flight: AtomicUsize::new(0) });
    router.layer(layer_fn(move |route| {
        let gate = Arc::clone(&gate);
        let stats = Arc::new(RouteStats::new(gate.options.service));
        service_fn(move |request| pass(Arc::clone(&gate), Arc::clone(&stats), Clone::clone(&route), request))
    }))
}

struct Gate {
    options: HttpOptions,
    https_only: bool,
    in_flight: AtomicUsize,
}

/// Names the request, has it answered, dresses the answer, and writes it down.
async fn pass<S>(
    gate: Arc<Gate>,
    stats: Arc<RouteStats>,
    route: S,
    request: Request,
) -> Result<Response, std::convert::Infallible>
where
    S: Service<Request, Response = Response, Error = std::convert::Infallible>,
{
    let id = ErrorId::fresh();
    let measured = stats.begin(&request);
    let answering = async {
        let response = match gate.answer(route, request).await {
            Ok(response) => in_our_shape(response, stats.has_route()),
            Err(problem) => problem.into_response(),
        };
        if let Some(audit) = gate.options.audit.as_ref().filter(|_| is_refused(&response)) {
            audit.refused(stats.refused(&measured, id, &response));
        }
        response
    };
    let mut response = id.scope(answering).await;
    gate.dress(id, response.headers_mut());
    stats.end(&measured, id, &response);
    Ok(response)
}

fn is_refused(response: &Response) -> bool {
    response.status().is_client_error() || response.status().is_server_error()
}

/// Gives a refusal that a library wrote, without a media type or as plain text, our shape and its `error_id`.
fn in_our_shape(response: Response, has_route: bool) -> Response {
    let status = response.status();
    if !is_refused(&response) || response.extensions().get::<RefusalCode>().is_some() {
        return response;
    }
    let kind = response.headers().get(CONTENT_TYPE);
    if kind.map_or(!response.body().is_end_stream(), |kind| !kind.as_bytes().starts_with(b"text/plain")) {
        return response;
    }
    let (code, detail) = match status {
        StatusCode::NOT_FOUND if !has_route => ("unknown_path", "Nothing is served at this path."),
        StatusCode::NOT_FOUND => ("not_found", "There is no such thing."),
        StatusCode::METHOD_NOT_ALLOWED => {
            ("method_not_allowed", "The path exists; the header Allow lists the methods it answers to.")
        }
        _ if status.is_server_error() => ("internal", "Something went wrong on our side."),
        StatusCode::BAD_REQUEST => ("bad_request", "The request cannot be understood."),
        _ => ("refused", "The request is refused."),
    };
    let mut ours = Problem::new(status, code, detail).into_response();
    for (name, value) in response.headers() {
        if name != CONTENT_LENGTH && !ours.headers().contains_key(name) {
            ours.headers_mut().append(name, value.clone());
        }
    }
    ours
}

impl Gate {
    async fn answer<S>(&self, route: S, request: Request) -> Result<Response, Problem>
    where
        S: Service<Request, Response = Response, Error = std::convert::Infallible>,
    {
        let _place = Place::take(&self.in_flight, self.options.in_flight_max)?;
        let origin = self.judge_head(&request)?.clone();
        let request = self.receive(origin, request).await?;
        self.run(route, request).await
    }

    /// What can be refused before the body is read.
    fn judge_head(&self, request: &Request) -> Result<&Origin, Problem> {
        let (options, headers, uri) = (&self.options, request.headers(), request.uri());
        let path_and_query = uri.path_and_query().map_or("", |both| both.as_str());
        if path_and_query.len() > options.uri_bytes_max {
            let detail = format!("Path and query may have {} bytes together.", options.uri_bytes_max);
            return Err(Problem::new(StatusCode::URI_TOO_LONG, "uri_too_long", detail));
        }
        let head_bytes: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        if head_bytes > options.head_bytes_max {
            let detail = format!("Headers may have {} bytes together.", options.head_bytes_max);
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Err(Problem::new(status, "headers_too_large", detail));
        }
        let origin = self.named_origin(request)?;
        if headers.get_all(CONTENT_ENCODING).iter().any(|coding| coding != "identity") {
            let detail = "Bodies are taken as they are, without a content coding.";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Problem::new(status, "unsupported_content_encoding", detail));
        }
        let declared =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if declared.is_some_and(|length| length > options.body_bytes_max as u64) {
            return Err(self.body_too_large());
        }
        Ok(origin)
    }

    /// The public origin that the request names in `Host` or `:authority` (RFC 9110 §7.2).
    fn named_origin(&self, request: &Request) -> Result<&Origin, Problem> {
        let mut hosts = request.headers().get_all(HOST).iter();
        let host = hosts.next().map(HeaderValue::as_bytes);
        let authority = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        let agree = match (host, authority) {
            (Some(host), Some(authority)) => host.eq_ignore_ascii_case(authority),
            _ => true,
        };
        if hosts.next().is_some() || !agree {
            return Err(bad_request("ambiguous_host", "The request names more than one host."));
        }
        let named = authority.or(host).and_then(|named| std::str::from_utf8(named).ok()).unwrap_or("");
        let known = self.options.public_origins.iter().find(|origin| origin.answers_to(named));
        known.ok_or_else(|| {
            let detail = "This service does not answer for the host that the request names.";
            Problem::new(StatusCode::MISDIRECTED_REQUEST, "misdirected_request", detail)
        })
    }

    fn body_too_large(&self) -> Problem {
        let detail = format!("A body may have {} bytes.", self.options.body_bytes_max);
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large", detail)
    }

    /// Reads the whole body and leaves it, with the target, in the extensions.
    async fn receive(&self, origin: Origin, request: Request) -> Result<Request, Problem> {
        let uri = request.uri().clone();
        let (mut parts, body) = request.into_parts();
        ClientAddress::note(&mut parts.extensions, &parts.headers, &self.options.trusted_proxies);
        if body.is_end_stream() {
            parts.extensions.insert(Received { origin, uri, body: Bytes::new() });
            return Ok(Request::from_parts(parts, body));
        }
        let collected = Limited::new(body, self.options.body_bytes_max).collect();
        let body = match tokio::time::timeout(self.options.body_deadline, collected).await {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(failed)) if failed.is::<LengthLimitError>() => return Err(self.body_too_large()),
            Ok(Err(_)) => return Err(bad_request("body_broken_off", "The body did not arrive whole.")),
            Err(_) => {
                let detail = "The body took too long to arrive.";
                return Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "body_timeout", detail));
            }
        };
        parts.extensions.insert(Received { origin, uri, body: body.clone() });
        Ok(Request::from_parts(parts, Body::from(body)))
    }

    /// Runs the handler within its deadline; a panic in it ends with it.
    async fn run<S>(&self, mut route: S, request: Request) -> Result<Response, Problem>
    where
        S: Service<Request, Response = Response, Error = std::convert::Infallible>,
    {
        let handled = AssertUnwindSafe(async move { route.call(request).await }).catch_unwind();
        match tokio::time::timeout(self.options.request_deadline, handled).await {
            Ok(Ok(Ok(response))) => Ok(response),
            Ok(Ok(Err(never))) => match never {},
            Ok(Err(panic)) => {
                // A formatted message may quote data; a literal cannot.
                let said =
                    panic.downcast_ref::<&'static str>().copied().unwrap_or("see the panic's own line");
                Err(internal(format_args!("the handler panicked: {said}")))
            }
            Err(_) => {
                Err(unavailable("The answer took too long; whether the request took effect is open.", 1)
                    .because("request deadline"))
            }
        }
    }

    /// The headers that every answer carries.
    fn dress(&self, id: ErrorId, headers: &mut HeaderMap) {
        if let Ok(value) = HeaderValue::from_bytes(&id.digits()) {
            headers.insert(X_REQUEST_ID, value);
        }
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        if self.https_only {
            let year = HeaderValue::from_static("max-age=31536000");
            headers.entry(STRICT_TRANSPORT_SECURITY).or_insert(year);
        }
    }
}

/// One place among the requests being worked on; given back when dropped.
struct Place<'g>(&'g AtomicUsize);

impl<'g> Place<'g> {
    fn take(in_flight: &'g AtomicUsize, at_most: usize) -> Result<Self, Problem> {
        let place = Self(in_flight);
        if in_flight.fetch_add(1, Ordering::Relaxed) >= at_most {
            return Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "overloaded",
                "Too many requests at once.",
            )
            .retry_after(1));
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
