//! The complete list of paths, and the layers before them: the chassis' gate (limits, request ids,
//! target URI), then CORS, then the guard, then the handler.

mod asker;
mod charges;
mod customers;
mod entities;
mod events;
mod fiat_in_cancel;
mod fiat_ins;
mod gateway_events;
mod page;
mod rates;
mod refunds;
mod reviews;
mod signed_replies;
mod transfers;
mod webhooks;
pub(crate) mod well_known;

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::middleware::from_fn_with_state;
use axum::response::IntoResponse;
use axum::routing::get;
use chassis::http::{HttpOptions, Problem, layered};
use guard::cors::CorsLayer;
use guard::{Dpop, Guard, Requirements, Settings, Setup};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use keys::dpop::Nonces;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ComponentsBuilder, InfoBuilder, OpenApi, OpenApiBuilder, SecurityRequirement};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{Config as DocsConfig, SwaggerUi};

use crate::app::App;
use crate::auth::{NonceMemory, facts, render};

/// Routes outside the document, which anybody may read.
const PUBLIC: [&str; 4] = ["/openapi.json", "/docs", "/docs/", "/docs/{*rest}"];

/// The OpenAPI document says something the guard cannot enforce; one sentence for each operation.
#[derive(Debug, thiserror::Error)]
#[error("the OpenAPI document: {}", .0.join("; "))]
pub struct BadDocument(pub Vec<String>);

/// The service's name in metrics, log lines and the audit.
pub(crate) const SERVICE: &str = "resource-api";

/// Every documented operation. A new family adds its `routes()` here.
fn documented() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(about())
        .merge(well_known::routes())
        .merge(customers::routes())
        .merge(entities::routes())
        .merge(transfers::routes())
        .merge(crate::dialects::pti::routes())
        .merge(fiat_ins::routes())
        .merge(fiat_in_cancel::routes())
        .merge(refunds::routes())
        .merge(gateway_events::routes())
        .merge(charges::routes())
        .merge(reviews::routes())
        .merge(webhooks::routes())
        .merge(events::routes())
}

/// The OpenAPI 3.1 document of the service.
pub fn openapi() -> OpenApi {
    documented().split_for_parts().1
}

/// Everything the public listener answers, behind all its layers.
///
/// # Errors
/// [`BadDocument`] when an operation lacks an extension that the guard needs.
pub fn router(app: &App) -> Result<Router, BadDocument> {
    let (routes, document) = documented().split_for_parts();
    let value = serde_json::to_value(&document).map_err(|error| BadDocument(vec![error.to_string()]))?;
    let mut requirements = Requirements::from_openapi(&value).map_err(BadDocument)?;
    for path in PUBLIC {
        requirements = requirements.with_public(path);
    }
    let rendered = Bytes::from(value.to_string());
    let guard = guard(app, requirements);
    let docs = SwaggerUi::new("/docs").config(DocsConfig::from("/openapi.json").show_extensions(true));
    let routes = routes
        .route("/openapi.json", get(move || std::future::ready(json_document(rendered.clone()))))
        .merge(docs)
        // Set before the layers, so that a preflight reaches them on a path without OPTIONS.
        .method_not_allowed_fallback(wrong_method)
        .with_state(app.clone())
        .layer(from_fn_with_state(app.clone(), rates::of_client))
        .layer(guard.layer())
        .layer(from_fn_with_state(app.clone(), rates::of_network))
        .layer(CorsLayer::new(&guard))
        .layer(from_fn_with_state(app.clone(), signed_replies::sign_if_asked));
    let mut options = HttpOptions::new("resource-api", app.config.origins());
    options.trusted_proxies = app.config.listener.trusted_proxies.clone();
    let routes = routes.layer(axum::middleware::map_response_with_state(app.clone(), asker::note));
    Ok(layered(routes, options.audited(app.audit.clone()), &app.platform))
}

fn guard(app: &App, requirements: Requirements) -> Guard {
    let clock = Arc::clone(&app.platform.clock);
    Guard::new(Setup {
        settings: Settings {
            issuer: app.config.issuer.to_string(),
            audience: app.config.resource.to_string(),
            metadata_url: format!("{}{}", app.config.resource, guard::metadata::PATH),
            epoch: app.epoch,
        },
        requirements,
        keys: Arc::clone(&app.issuer_keys),
        standing: Arc::new(app.directory.clone()),
        replay: Arc::new(NonceMemory::new(app.db.clone())),
        dpop: Dpop::new(Nonces::new(&app.master).in_epoch(app.epoch), app.config.dpop_nonce_required),
        now: Arc::new(move || clock.now()),
        facts,
        render,
    })
}

fn about() -> OpenApi {
    let bearer = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .bearer_format("JWT")
        .description(Some("An access token of the authorization server (RFC 6750, RFC 9068). One that is bound to a key travels as \
             `Authorization: DPoP`, with a proof by that key in the header `DPoP` (RFC 9449); for reads the proof \
             carries the nonce of the last `DPoP-Nonce`."))
        .build();
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Countersign resource API")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(
                    "Customers and KYC, entities, fiat-ins, transfers. Each operation names the scopes it needs \
                     (`x-scopes`), the kinds of token it takes (`x-token-kinds`) and whether it needs an \
                     `Idempotency-Key` or a one-time token (`x-idempotent`).",
                )),
        )
        .components(Some(ComponentsBuilder::new().security_scheme("bearer", SecurityScheme::Http(bearer)).build()))
        .security(Some([SecurityRequirement::new("bearer", Vec::<String>::new())]))
        .build()
}

async fn wrong_method() -> Problem {
    let detail = "The path exists; the header Allow lists the methods it answers to.";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// A JSON document that was rendered before, for five minutes in anybody's cache.
fn json_document(text: Bytes) -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "public, max-age=300")], text)
}
