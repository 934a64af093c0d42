//! The front door of `dev`: one base URL for the vendors' own clients, in one process and with the Host as it came.

use std::convert::Infallible;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use tower::ServiceExt;

use crate::routes::{Owner, Routes};

/// The routers behind the door, and the table by which they are chosen.
#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) routes: Routes,
    pub(crate) authz: Router,
    pub(crate) resource_api: Router,
    /// Answers what nobody owns: 404 as problem details.
    pub(crate) nobody: Router,
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
        let router = match self.routes.owner(request.uri().path()) {
            Owner::Authz => self.authz,
            Owner::ResourceApi => self.resource_api,
            Owner::Nobody => self.nobody,
        };
        router.oneshot(request).await
    }
}
