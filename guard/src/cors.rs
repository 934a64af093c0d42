//! Which browser origins may call, and which may read an answer (Fetch standard, CORS protocol).
//!
//! A preflight carries no token, so it is allowed for an origin that any active client registers.
//! An answer is readable only for an origin that *the token's own* client registers; an answer from
//! before the token was known follows the preflight rule. Never `*`, never credentials.

use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::MatchedPath;
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderValue, Method, Request, StatusCode};
use tower::{Layer, Service};

use crate::caller::TokenClient;
use crate::layer::Guard;
use crate::refusal::Refusal;

const ALLOWED_HEADERS: &str = "authorization, dpop, content-type, idempotency-key, x-pti-token, x-pti-client-id, x-pti-request-id, \
     x-pti-scenario-id, x-pti-session-id";
const EXPOSED_HEADERS: &str = "www-authenticate, dpop-nonce, location, retry-after";
/// How long a browser may remember a preflight, seconds.
const MAX_AGE_S: &str = "600";

/// The CORS layer of a guard. It goes outside the guard's own layer, inside the router.
#[derive(Clone)]
pub struct CorsLayer(Guard);

impl CorsLayer {
    /// Decides by the guard's directory.
    pub fn new(guard: &Guard) -> Self {
        Self(guard.clone())
    }
}

impl<S> Layer<S> for CorsLayer {
    type Service = CorsService<S>;

    fn layer(&self, inner: S) -> CorsService<S> {
        CorsService { guard: self.0.clone(), inner }
    }
}

/// The service a [`CorsLayer`] makes.
#[derive(Clone)]
pub struct CorsService<S> {
    guard: Guard,
    inner: S,
}

impl<S> Service<Request<Body>> for CorsService<S>
where
    S: Service<Request<Body>, Response = Response> + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let guard = self.guard.clone();
        let origin = request.headers().get(ORIGIN).cloned();
        if is_preflight(&request) {
            let methods = allowed_methods(&guard, &request);
            return Box::pin(async move { Ok(preflight(&guard, origin.as_ref(), &methods)) });
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            mark(&guard, origin.as_ref(), &mut response);
            Ok(response)
        })
    }
}

fn is_preflight(request: &Request<Body>) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(ORIGIN)
        && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

fn allowed_methods(guard: &Guard, request: &Request<Body>) -> String {
    let path = request.extensions().get::<MatchedPath>().map_or("", MatchedPath::as_str);
    guard.setup().requirements.methods(path).join(", ")
}

fn preflight(guard: &Guard, origin: Option<&HeaderValue>, methods: &str) -> Response {
    let Some(origin) = origin.filter(|origin| registered(guard, origin, None)) else {
        let mut response = guard.respond(Refusal::new(
            StatusCode::FORBIDDEN,
            "origin_not_registered",
            "No active client registers this origin.",
        ));
        response.headers_mut().append(VARY, HeaderValue::from_static("origin"));
        return response;
    };
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED_HEADERS));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_S));
    headers.append(VARY, HeaderValue::from_static("origin"));
    if let Ok(methods) = HeaderValue::from_str(methods) {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    response
}

fn mark(guard: &Guard, origin: Option<&HeaderValue>, response: &mut Response) {
    let readable = {
        let client = response.extensions().get::<TokenClient>();
        origin.filter(|origin| registered(guard, origin, client))
    };
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("origin"));
    if let Some(origin) = readable {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED_HEADERS));
    }
}

/// Whether the token's client registers the origin; any client's, while no token is known.
fn registered(guard: &Guard, origin: &HeaderValue, client: Option<&TokenClient>) -> bool {
    let Ok(origin) = origin.to_str() else { return false };
    let standing = &guard.setup().standing;
    match client {
        None => standing.knows_origin(origin),
        Some(TokenClient(client_id)) => standing
            .client(client_id)
            .is_some_and(|client| client.allowed_origins.iter().any(|allowed| allowed == origin)),
    }
}
