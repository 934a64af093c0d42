//! Disputes at the sandbox: `POST /v1/disputes {charge, amount?, turn, id?}` has the payer's bank contest a charge, or
//! give in, or take the money back, and sends the event of it. Any turn may come at any time, also the end first.

use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::events::EventStep;
use super::faults::refused;
use super::record::Outcome;
use super::server::Sandbox;
use super::told::Subject;
use crate::domain::refund::DisputeTurn;

/// A turn of a dispute that is told.
#[derive(Debug, Clone)]
pub(super) struct Contested {
    /// The sandbox's own id.
    pub(super) id: String,
    /// The caller's id of the charge.
    pub(super) charge: String,
    /// Minor units.
    pub(super) amount: i64,
    /// ISO 4217.
    pub(super) currency: String,
    pub(super) turn: DisputeTurn,
}

/// What a bank does about a charge.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DisputeAsk {
    /// The caller's id of the charge.
    pub charge: String,
    /// Minor units; left out: all that was collected.
    #[serde(default)]
    pub amount: Option<i64>,
    /// `opened`, `won` or `lost`.
    pub turn: String,
    /// Tells several disputes of a charge apart.
    #[serde(default)]
    pub id: Option<String>,
    /// How often the very same event is sent; 0 counts as once.
    #[serde(default)]
    pub times: usize,
}

impl Sandbox {
    /// Has a dispute take a turn; its id, once the event was sent. `None`: no such charge was collected, or it is no
    /// turn.
    pub async fn dispute(&self, ask: &DisputeAsk) -> Option<String> {
        self.take_turn(ask).await.map(|told| told.id)
    }

    async fn take_turn(&self, ask: &DisputeAsk) -> Option<Contested> {
        let contested = self.contested(ask)?;
        let step = EventStep { times: ask.times, ..EventStep::default() };
        self.events.tell_at_once(&Subject::Dispute(contested.clone()), &step).await;
        Some(contested)
    }

    fn contested(&self, ask: &DisputeAsk) -> Option<Contested> {
        let collected = |outcome: &Outcome| *outcome == Outcome::Captured;
        let charge = self
            .charges()
            .into_iter()
            .find(|charge| charge.reference == ask.charge && collected(&charge.outcome))?;
        Some(Contested {
            id: ask.id.clone().unwrap_or_else(|| format!("gdp_{}", ask.charge)),
            amount: ask.amount.unwrap_or(charge.amount),
            charge: charge.reference,
            currency: charge.currency,
            turn: ask.turn.parse().ok()?,
        })
    }
}

/// `POST /v1/disputes`: answered once the event was sent.
pub(super) async fn dispute(State(sandbox): State<Sandbox>, body: Bytes) -> Response {
    let Ok(ask) = serde_json::from_slice::<DisputeAsk>(&body) else {
        return refused(StatusCode::BAD_REQUEST, "malformed");
    };
    let Some(told) = sandbox.take_turn(&ask).await else {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, "not_collected_or_no_turn");
    };
    Json(json!({
        "id": told.id, "charge": told.charge, "amount": told.amount, "currency": told.currency,
        "turn": told.turn.as_str(),
    }))
    .into_response()
}
