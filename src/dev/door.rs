//! The front door: one base URL for the vendors' own clients.
//!
//! It routes the dialect paths of both services and the payments API's `/v1/*` to the service that owns them, in
//! process and with the Host as it came. The table is read from the services' own OpenAPI documents; in
//! production a load balancer has the same one.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use serde_json::Value;
use tower::ServiceExt;

/// First path segments under `/v1` that belong to the authorization server (contract: its paths).
const AUTHZ_RESOURCES: &[&str] = &[
    "partners",
    "clients",
    "users",
    "processes",
    "user-tokens",
    "login-requests",
    "directory",
    "audit-events",
];

/// The routers behind the door and which dialect paths each owns.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) authz: Router,
    pub(crate) authz_paths: Vec<PathTemplate>,
    pub(crate) resource_api: Router,
    pub(crate) resource_api_paths: Vec<PathTemplate>,
    /// Answers what nobody owns: 404 as problem details.
    pub(crate) nobody: Router,
}

/// A path of an OpenAPI document, `/users/{userId}`.
#[derive(Debug, Clone)]
pub(crate) struct PathTemplate(Vec<Option<String>>);

impl PathTemplate {
    fn parse(template: &str) -> Self {
        let segment = |text: &str| (!text.starts_with('{')).then(|| text.to_owned());
        Self(template.split('/').map(segment).collect())
    }

    fn matches(&self, path: &str) -> bool {
        let mut asked = path.split('/');
        self.0.iter().all(|wanted| match (wanted, asked.next()) {
            (Some(text), Some(segment)) => text == segment,
            (None, Some(segment)) => !segment.is_empty(),
            (_, None) => false,
        }) && asked.next().is_none()
    }
}

/// The dialect paths of a service: those whose operations carry `x-dialect`.
pub(crate) fn dialect_paths(openapi: &Value) -> Vec<PathTemplate> {
    let in_dialect = |item: &Value| {
        item.as_object()
            .is_some_and(|methods| methods.values().any(|operation| operation.get("x-dialect").is_some()))
    };
    openapi["paths"].as_object().map_or_else(Vec::new, |paths| {
        paths.iter().filter(|(_, item)| in_dialect(item)).map(|(path, _)| PathTemplate::parse(path)).collect()
    })
}

impl Door {
    /// The door as a router.
    pub(crate) fn into_router(self) -> Router {
        let service = tower::service_fn(move |request| {
            let door = self.clone();
            async move { door.pass(request).await }
        });
        Router::new().fallback_service(service)
    }

    async fn pass(self, request: Request<Body>) -> Result<Response<Body>, Infallible> {
        self.owner(request.uri().path()).oneshot(request).await
    }

    fn owner(self, path: &str) -> Router {
        if self.authz_paths.iter().any(|template| template.matches(path)) {
            return self.authz;
        }
        if self.resource_api_paths.iter().any(|template| template.matches(path)) {
            return self.resource_api;
        }
        match path.strip_prefix("/v1/").and_then(|rest| rest.split('/').next()) {
            Some(resource) if !AUTHZ_RESOURCES.contains(&resource) => self.resource_api,
            _ => self.nobody,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_operations_in_a_dialect_are_routed() {
        let document = json!({ "paths": {
            "/users/{userId}": { "get": { "x-dialect": "pti" } },
            "/v1/customers": { "get": {} },
        } });
        let paths = dialect_paths(&document);
        assert_eq!(paths.len(), 1);
        assert!(paths[0].matches("/users/u-1"));
    }

    #[test]
    fn a_template_matches_whole_paths_only() {
        let template = PathTemplate::parse("/users/{userId}/wallets");
        assert!(template.matches("/users/u-1/wallets"));
        for other in
            ["/users/u-1", "/users//wallets", "/users/u-1/wallets/", "/users/u-1/wallets/w", "/x/u-1/wallets"]
        {
            assert!(!template.matches(other), "{other}");
        }
    }
}
