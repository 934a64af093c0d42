//! The complete list of paths, and what stands in front of them.

mod audit_events;
pub(crate) mod bearer;
mod certificate;
pub(crate) mod client_auth;
mod clients;
mod directory;
pub(crate) mod discovery;
pub(crate) mod dpop;
mod jwks;
mod openapi;
mod partners;
mod signed;
pub(crate) mod throttle;
mod token;
mod user_tokens;
mod users;

use axum::{Router, middleware, response::Redirect, routing::get};
use chassis::http::{HttpOptions, layered};
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};
use utoipa_swagger_ui::SwaggerUi;

use crate::{
    app::App,
    dialects::pti,
    http::bearer::{Gatekeeper, Requirements},
};

/// The service's name in metrics and log lines.
pub(crate) const SERVICE: &str = "authz";

/// Every path of the public listener, behind the gate.
///
/// What a management path demands of its caller stands in its OpenAPI extensions (`x-scopes`, `x-token-kinds`,
/// `x-signed`) and is enforced from there, so the document cannot differ from the service.
pub fn router(app: &App) -> Router {
    let (routes, mut document) = documented().split_for_parts();
    openapi::name_security(&mut document);
    let gatekeeper = Gatekeeper::new(app.clone(), Requirements::from_document(&document));
    let guarded = routes.route_layer(middleware::from_fn_with_state(gatekeeper, bearer::admit));
    let docs = utoipa_swagger_ui::Config::from("/openapi.json").show_extensions(true);
    let open = Router::new()
        .merge(SwaggerUi::new("/docs").url("/openapi.json", document).config(docs))
        .route("/", get(|| async { Redirect::to("/docs/") }));
    let mut options = HttpOptions::new(SERVICE, app.config.origins());
    options.trusted_proxies = app.config.listener.trusted_proxies.clone();
    layered(guarded.with_state(app.clone()).merge(open), options.audited(app.audit.clone()), &app.platform)
}

/// The OpenAPI 3.1 document of the service.
pub fn openapi() -> utoipa::openapi::OpenApi {
    let mut document = documented().split_for_parts().1;
    openapi::name_security(&mut document);
    document
}

fn documented() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(openapi::Document::openapi())
        .routes(routes!(discovery::openid_configuration))
        .routes(routes!(discovery::oauth_authorization_server))
        .routes(routes!(jwks::jwks))
        .routes(routes!(token::token))
        .routes(routes!(users::register))
        .routes(routes!(users::find))
        .routes(routes!(users::disable))
        .routes(routes!(users::enable))
        .routes(routes!(user_tokens::issue))
        .routes(routes!(partners::create, partners::list))
        .routes(routes!(partners::find))
        .routes(routes!(partners::disable))
        .routes(routes!(partners::enable))
        .routes(routes!(clients::create, clients::list))
        .routes(routes!(clients::find))
        .routes(routes!(clients::disable))
        .routes(routes!(clients::enable))
        .routes(routes!(clients::rotate_secret))
        .routes(routes!(directory::read))
        .routes(routes!(audit_events::list))
        .routes(routes!(pti::user_token))
        .routes(routes!(pti::jwt))
}
