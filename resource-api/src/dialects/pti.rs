//! The `pti` dialect: users, wallets and fiat-in as Provenance's own clients call them.
//!
//! Requests are signed (`x-pti-client-id`, `x-pti-signature`); a fiat-in may carry a one-time token (`x-pti-token`).
//! References are answered as `{id, link}`, refusals as `{code, message}`.

mod funding;
pub(crate) mod person;
mod refusal;
mod users;
mod wallets;

use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

pub(crate) use refusal::PtiRefusal;

/// The routes of this dialect.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().merge(users::routes()).merge(wallets::routes()).merge(funding::routes())
}

/// Something that was made, and where it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ObjectReference {
    /// Its id.
    pub(crate) id: String,
    /// Its address.
    pub(crate) link: String,
}
