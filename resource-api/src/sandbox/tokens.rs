//! `POST /v1/tokens`: a card becomes a token; the number is compared with a table and forgotten.

use axum::Json;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde::Deserialize;
use serde_json::json;

use super::cards;
use super::faults::refused;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CardBody {
    number: String,
    exp_month: u8,
    exp_year: u16,
    #[serde(default)]
    cvc: Option<String>,
}

pub(super) async fn tokenise(body: Bytes) -> Response {
    let Ok(card) = serde_json::from_slice::<CardBody>(&body) else {
        return refused(StatusCode::BAD_REQUEST, "malformed");
    };
    if !(1..=12).contains(&card.exp_month)
        || card.exp_year < 2000
        || card.cvc.is_some_and(|cvc| cvc.len() > 4)
    {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, "invalid_card");
    }
    let Some(known) = cards::find(&card.number) else {
        return refused(StatusCode::UNPROCESSABLE_ENTITY, "unknown_test_card");
    };
    let answer = json!({
        "token": known.token, "brand": known.brand, "last4": known.last4(),
        "fingerprint": format!("fp_{}", known.token), "country": known.country,
    });
    (StatusCode::CREATED, Json(answer)).into_response()
}
