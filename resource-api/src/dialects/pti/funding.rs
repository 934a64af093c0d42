//! `POST /users/{userId}/wallets/fiat/{walletId}/funding` of the `pti` dialect: the vendor's fiat-in.
//!
//! The end user's browser sends it with `x-pti-token`, or the partner's backend with its signature; then the
//! body's `id` (or `x-pti-request-id`) stands for the `Idempotency-Key`. Amounts are decimal numbers in the vendor's world: they are read
//! from their text, digit by digit.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use chassis::claim::StoredAnswer;
use chassis::http::{BadInput, StrictJson, TargetUri};
use http::StatusCode;
use keys::UnixSeconds;
use keys::token::TokenKind;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::asking::Asking;
use super::person::PtiUser;
use super::{PtiRefusal, words};
use crate::app::App;
use crate::domain::card::{Card, Instrument};
use crate::domain::decimal::{BadDecimal, to_minor_units};
use crate::domain::fiat_in::Origin;
use crate::domain::money::{BadCurrency, Currency, Money};
use crate::domain::pii::Pii;
use crate::domain::refusal::Refusal;
use crate::operations::customers;
use crate::operations::fiat_ins::payment::{Paid, by_card, by_token, reference};
use crate::operations::fiat_ins::{FiatInAsk, place, status_token};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(fund))
}

/// A fiat-in as the vendor writes it. Members this platform has no use for are read over.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct FundingBody {
    /// The partner's own id of the transaction; or it stands in `x-pti-request-id`.
    #[serde(default)]
    id: Option<String>,
    /// A decimal number in the currency of `sourceMethod`.
    #[schema(value_type = f64)]
    amount: Box<RawValue>,
    /// Who pays in, with personal data to be brought up to date.
    #[serde(default)]
    initiator: Option<PtiUser>,
    /// What pays.
    source_method: SourceMethod,
}

/// Currency and instrument.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct SourceMethod {
    /// ISO 4217.
    currency: String,
    /// A card, or a token of the payment gateway.
    payment_information: PaymentInformation,
}

/// A card (`number`, `cvv`, `expirationMonth`, `expirationYear`) or a gateway token (`token`).
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PaymentInformation {
    #[serde(default)]
    number: Option<String>,
    #[serde(default)]
    cvv: Option<String>,
    #[serde(default)]
    #[schema(value_type = Option<u16>)]
    expiration_month: Option<Value>,
    #[serde(default)]
    #[schema(value_type = Option<u16>)]
    expiration_year: Option<Value>,
    #[serde(default)]
    token: Option<String>,
}

/// Pays into a wallet of a user. Repeating the same request is safe: it gets the first answer.
#[utoipa::path(
    post, path = "/users/{userId}/wallets/fiat/{walletId}/funding", tag = "pti", request_body = FundingBody,
    params(("userId" = String, Path), ("walletId" = String, Path)),
    responses(
        (status = 201, description = "Acknowledged: `id`, `link`, `status` `SETTLED`."),
        (status = 202, description = "`PENDING` or `MANUAL_REVIEW`."),
        (status = 400, description = "A field is missing or refused; a token stays unused."),
        (status = 402, description = "`REFUSED`: the payment was declined."),
        (status = 403, description = "`REFUSED` by monitoring, or the token is for another operation."),
        (status = 404, description = "No such user or wallet; a token stays unused."),
        (status = 409, description = "Another transaction has this id."),
    ),
    extensions(
        ("x-scopes" = json!(["fiat_ins:execute"])),
        ("x-token-kinds" = json!(["one_time", "client"])),
        ("x-idempotent" = json!(true)),
        ("x-moves-money" = json!(true)),
        ("x-dialect" = json!("pti")),
    ),
)]
async fn fund(
    State(app): State<App>,
    asking: Asking,
    Path((user_id, wallet_id)): Path<(String, String)>,
    StrictJson { raw, .. }: StrictJson<Value, PtiRefusal>,
) -> Result<Response, PtiRefusal> {
    let body = read(&raw)?;
    let money = money(body.amount.get(), &body.source_method.currency, "/sourceMethod/currency")?;
    let client_reference = reference(&asking.id(body.id)?, "/id")?;
    let Asking { unnamed, target, .. } = asking;
    let now = app.platform.now();
    let pii = body.initiator.map(|user| Pii::checked(&user.into_pii(), "/initiator", now)).transpose()?;
    let user = customers::find_by_external_id(&app, unnamed.caller(), &user_id).await?;
    let by_client = unnamed.caller().kind == TokenKind::Client;
    let Paid { instrument, hashed } = paid(&app, body.source_method.payment_information, &raw).await?;
    let ask = FiatInAsk {
        entity_id: wallet_id,
        money,
        instrument,
        client_reference: client_reference.clone(),
        customer: by_client.then_some(user.customer_id),
        pii,
        device: Origin::default(),
    };
    let attempt = unnamed.named(&client_reference).over(&app, &hashed);
    let answer = place(&app, attempt, ask).await?;
    Ok(told(&app, &target, &answer)?)
}

/// Reads a body that has one reading only (the extractor saw to that), so that the amount keeps its digits.
fn read(raw: &[u8]) -> Result<FundingBody, PtiRefusal> {
    let bad = BadInput::new("malformed_request", "The body is not a funding request.");
    serde_json::from_slice(raw).map_err(|_| bad.into())
}

/// An amount from its digits; `pointer` is where the request named the currency.
pub(super) fn money(text: &str, currency: &str, pointer: &str) -> Result<Money, Refusal> {
    let code = currency.to_ascii_uppercase();
    let known: Currency = code
        .parse()
        .map_err(|BadCurrency| Refusal::unprocessable("unknown_currency", pointer, "not an ISO 4217 code"))?;
    let amount = to_minor_units(text, known.exponent()).map_err(|bad| {
        let code = match bad {
            BadDecimal::Malformed => "amount_malformed",
            BadDecimal::TooPrecise => "amount_too_precise",
            BadDecimal::TooLarge => "amount_too_large",
        };
        Refusal::unprocessable(code, "/amount", bad.to_string())
    })?;
    Money::checked(amount, &code, "")
}

async fn paid(app: &App, method: PaymentInformation, raw: &[u8]) -> Result<Paid, PtiRefusal> {
    const POINTER: &str = "/sourceMethod/paymentInformation";
    let invalid = |code| Refusal::unprocessable(code, POINTER, "a card or a token of the payment gateway");
    match (method.token, method.number) {
        (Some(token), None) => {
            let instrument: Instrument = by_token(&token, POINTER)?;
            Ok(Paid { instrument, hashed: raw.to_vec() })
        }
        (None, Some(number)) => {
            let month = whole(method.expiration_month.as_ref()).and_then(|month| u8::try_from(month).ok());
            let year = whole(method.expiration_year.as_ref());
            let (Some(month), Some(year)) = (month, year) else { return Err(invalid("invalid_card").into()) };
            let year = if year < 100 { year + 2_000 } else { year };
            let card = Card::new(number, method.cvv, month, year).map_err(|_| invalid("invalid_card"))?;
            Ok(by_card(app, &card, raw, POINTER).await?)
        }
        _ => Err(invalid("payment_method_not_supported").into()),
    }
}

/// Month and year stand as numbers or as digits in a string.
fn whole(value: Option<&Value>) -> Option<u16> {
    match value? {
        Value::Number(number) => number.as_u64().and_then(|number| u16::try_from(number).ok()),
        Value::String(text) if (1..=4).contains(&text.len()) => text.parse().ok(),
        _ => None,
    }
}

/// What is read of a stored answer: an order, or a refusal that is on record.
#[derive(Deserialize)]
struct Told {
    #[serde(default)]
    id: String,
    #[serde(default)]
    client_reference: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    state_reason: Option<String>,
    #[serde(default)]
    created_at: i64,
    #[serde(default)]
    code: String,
    #[serde(default)]
    detail: String,
    #[serde(default)]
    error_id: String,
}

/// A stored answer in the vendor's shape; equal answers give equal bytes.
fn told(app: &App, target: &TargetUri, answer: &StoredAnswer) -> Result<Response, chassis::Fault> {
    let told: Told =
        serde_json::from_str(&answer.body).map_err(chassis::while_doing("read a stored answer"))?;
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if status.is_client_error() {
        let body = json!({
            "type": told.code.to_ascii_uppercase(), "code": answer.status, "message": told.detail,
            "error_id": told.error_id,
        });
        return Ok((status, Json(body)).into_response());
    }
    let (status, word) = match told.state.as_str() {
        "in_review" => (StatusCode::ACCEPTED, "MANUAL_REVIEW"),
        "refused" => (StatusCode::FORBIDDEN, words::payment("refused")),
        state @ ("failed" | "cancelled" | "expired") => (StatusCode::PAYMENT_REQUIRED, words::payment(state)),
        "processing" | "requires_action" => (StatusCode::ACCEPTED, words::payment("processing")),
        state => (StatusCode::CREATED, words::payment(state)),
    };
    let token = status_token::issue(&app.status_token_key, &told.id, UnixSeconds(told.created_at));
    let mut body = json!({
        "id": told.client_reference,
        "link": format!("{}/v1/fiat-ins/{}", target.origin, told.id),
        "status": word,
        "statusToken": token,
    });
    if let Some(reason) = told.state_reason {
        body["reason"] = Value::from(reason.to_ascii_uppercase());
    }
    if status.is_client_error() {
        body["code"] = Value::from(status.as_u16());
        body["message"] = Value::from("the transaction was refused");
    }
    Ok((status, Json(body)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_amount_keeps_its_digits() {
        for (amount, minor) in
            [("10", 1_000), ("10.0", 1_000), ("0.01", 1), ("90071992547409.91", (1 << 53) - 1)]
        {
            let text = format!(
                r#"{{"id":"t-1","amount":{amount},"sourceMethod":{{"currency":"usd","paymentInformation":{{}}}}}}"#
            );
            let Ok(body) = read(text.as_bytes()) else { panic!("{text}") };
            assert_eq!(
                money(body.amount.get(), &body.source_method.currency, "/c").unwrap().amount,
                minor,
                "{amount}"
            );
        }
    }

    #[test]
    fn odd_amounts_are_refused_by_their_own_code() {
        let code = |text: &str, currency: &str| money(text, currency, "/c").unwrap_err().code;
        assert_eq!(code("1e1", "EUR"), "amount_malformed");
        assert_eq!(code("\"10\"", "EUR"), "amount_malformed");
        assert_eq!(code("-1", "EUR"), "amount_malformed");
        assert_eq!(code("10.005", "EUR"), "amount_too_precise");
        assert_eq!(code("1.5", "JPY"), "amount_too_precise");
        assert_eq!(code("90071992547409.92", "EUR"), "amount_too_large");
        assert_eq!(code("0", "EUR"), "amount_not_positive");
        assert_eq!(code("1", "ZZZ"), "unknown_currency");
    }

    #[test]
    fn months_and_years_are_numbers_or_digits() {
        assert_eq!(whole(Some(&json!(12))), Some(12));
        assert_eq!(whole(Some(&json!("2030"))), Some(2030));
        for bad in [json!("x"), json!(1.5), json!(-1), json!(null), json!("20300")] {
            assert_eq!(whole(Some(&bad)), None, "{bad}");
        }
    }
}
