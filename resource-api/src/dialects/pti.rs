//! The `pti` dialect: clients, users, checks, transaction logs, wallets, fiat-in and webhooks as Provenance's own clients call them.
//!
//! Requests are signed (`x-pti-client-id`, `x-pti-signature`); a fiat-in may carry a one-time token (`x-pti-token`).
//! References are answered as `{id, link}`, refusals as `{code, message}`.

mod asking;
mod clients;
mod envelope;
mod funding;
mod kycs;
mod message;
pub(crate) mod person;
mod refusal;
mod transaction_logs;
mod users;
mod wallets;
mod words;

use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;

use crate::app::App;

pub(crate) use envelope::PtiEnvelope;
pub(crate) use refusal::PtiRefusal;

/// The routes of this dialect.
pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(clients::routes())
        .merge(users::routes())
        .merge(kycs::routes())
        .merge(transaction_logs::routes())
        .merge(wallets::routes())
        .merge(funding::routes())
}

/// Something that was made, and where it is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ObjectReference {
    /// Its id.
    pub(crate) id: String,
    /// Its address.
    pub(crate) link: String,
}
