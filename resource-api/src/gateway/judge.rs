//! What an answer of the gateway means. Definite is only what is documented, readable and about this very charge:
//!
//! | status | `status` of the body | is |
//! |---|---|---|
//! | 200 | `captured` | the money, exactly as much as was asked for |
//! | 200 | `authorized` | the same money, reserved |
//! | 200 | `requires_action` with a usable `redirect_url` | waiting for the payer |
//! | 200 | `voided` | given up |
//! | 402 | `declined` with a code of [`DEFINITE_DECLINES`] | declined for good |
//!
//! Everything else (409, 401, 404, 429, 5xx, a timeout, a broken line, an unreadable body, another amount) is unknown.

use chassis::fetch::FetchReply;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{Answer, ChargeAsk, DeclineCategory, TokeniseRefusal};
use crate::domain::card::Instrument;

/// Codes after which the gateway will never collect this charge.
const DEFINITE_DECLINES: [(&str, DeclineCategory); 10] = [
    ("card_declined", DeclineCategory::Soft),
    ("insufficient_funds", DeclineCategory::Soft),
    ("processing_error", DeclineCategory::Soft),
    ("authentication_failed", DeclineCategory::Soft),
    ("authorization_expired", DeclineCategory::Soft),
    ("expired_card", DeclineCategory::Hard),
    ("incorrect_cvc", DeclineCategory::Hard),
    ("invalid_instrument", DeclineCategory::Hard),
    ("lost_or_stolen", DeclineCategory::Hard),
    ("fraudulent", DeclineCategory::Hard),
];

/// Codes of refused cards that may be passed on.
const CARD_REFUSALS: [&str; 2] = ["invalid_card", "unknown_test_card"];

/// Longest address that a payer is sent to.
const REDIRECT_URL_CHARS_MAX: usize = 2_048;

#[derive(Deserialize)]
struct ChargeBody {
    id: String,
    reference: String,
    amount: i64,
    currency: String,
    status: String,
    #[serde(default)]
    decline_code: Option<String>,
    #[serde(default)]
    redirect_url: Option<String>,
}

/// Reads what a gateway said of a charge. `plain`: the payer may be sent to an address without TLS.
pub(super) fn judge(reply: &FetchReply, ask: &ChargeAsk, plain: bool) -> Answer {
    let Ok(body) = serde_json::from_slice::<ChargeBody>(&reply.body) else {
        return Answer::Unknown(unreadable(reply.status));
    };
    if body.reference != ask.charge_id {
        return Answer::Unknown("the answer is about another charge");
    }
    if body.amount != ask.money.amount || body.currency != ask.money.currency {
        return Answer::Unknown("the gateway speaks of another amount");
    }
    let provider_ref = body.id;
    match (reply.status, body.status.as_str(), body.decline_code) {
        (StatusCode::OK, "captured", None) => Answer::Captured { provider_ref },
        (StatusCode::OK, "authorized", None) => Answer::Authorized { provider_ref },
        (StatusCode::OK, "voided", None) => Answer::Voided { provider_ref: Some(provider_ref) },
        (StatusCode::OK, "requires_action", None) => {
            let usable = body.redirect_url.filter(|text| is_usable(text, plain));
            usable
                .map_or(Answer::Unknown("the payer cannot be sent where the gateway says"), |redirect_url| {
                    Answer::ActionRequired { provider_ref, redirect_url }
                })
        }
        (StatusCode::PAYMENT_REQUIRED, "declined", Some(code)) => definite_decline(&code)
            .map_or(Answer::Unknown("a decline that is not known to be definite"), |category| {
                Answer::Declined { code, category, provider_ref: Some(provider_ref) }
            }),
        _ => Answer::Unknown("the gateway says nothing definite"),
    }
}

/// How final a decline with this code is; `None`: it is not known to be definite.
pub(super) fn definite_decline(code: &str) -> Option<DeclineCategory> {
    DEFINITE_DECLINES.into_iter().find(|(known, _)| *known == code).map(|(_, category)| category)
}

fn is_usable(text: &str, plain: bool) -> bool {
    let scheme = |url: &Url| url.scheme() == "https" || (plain && url.scheme() == "http");
    text.len() <= REDIRECT_URL_CHARS_MAX
        && Url::parse(text).is_ok_and(|url| scheme(&url) && url.has_host() && url.username().is_empty())
}

fn unreadable(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200..=299 => "a success that is no charge",
        429 => "the gateway is busy",
        400..=499 => "the gateway did not take the request",
        _ => "the gateway failed",
    }
}

#[derive(Deserialize)]
struct TokenBody {
    token: String,
    brand: Option<String>,
    last4: Option<String>,
    fingerprint: Option<String>,
    country: Option<String>,
}

pub(super) fn judge_token(reply: &FetchReply) -> Result<Instrument, TokeniseRefusal> {
    match reply.status {
        StatusCode::CREATED => {
            let body: TokenBody = serde_json::from_slice(&reply.body)
                .map_err(|_| TokeniseRefusal::Unavailable("a success that is no token"))?;
            let TokenBody { token, brand, last4, fingerprint, country } = body;
            Ok(Instrument {
                token,
                brand,
                last4: last4.filter(|last4| last4.len() == 4),
                fingerprint,
                country,
            })
        }
        StatusCode::UNPROCESSABLE_ENTITY => {
            let body: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            let code = CARD_REFUSALS.into_iter().find(|code| body["error"] == *code);
            Err(TokeniseRefusal::Refused(code.unwrap_or("card_refused")))
        }
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Err(TokeniseRefusal::NotOffered),
        _ => Err(TokeniseRefusal::Unavailable("neither a token nor a refusal")),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use keys::token::Money;
    use serde_json::json;

    use super::*;

    fn ask() -> ChargeAsk {
        ChargeAsk {
            charge_id: "chg_1".to_owned(),
            money: Money { amount: 500, currency: "EUR".to_owned() },
            source: "tok_success".to_owned(),
        }
    }

    fn reply(status: u16, body: &Value) -> FetchReply {
        FetchReply {
            status: StatusCode::from_u16(status).unwrap(),
            headers: HeaderMap::new(),
            body: body.to_string().into(),
        }
    }

    fn charge(change: &Value) -> Value {
        let mut body = json!({"id": "gch_1", "reference": "chg_1", "amount": 500, "currency": "EUR", "status": "captured"});
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    }

    #[test]
    fn only_a_capture_of_exactly_this_charge_counts() {
        let captured = judge(&reply(200, &charge(&json!({}))), &ask(), false);
        assert_eq!(captured, Answer::Captured { provider_ref: "gch_1".to_owned() });
        let others = [
            (200, charge(&json!({"amount": 499}))),
            (200, charge(&json!({"currency": "USD"}))),
            (200, charge(&json!({"reference": "chg_2"}))),
            (200, charge(&json!({"status": "pending"}))),
            (200, charge(&json!({"decline_code": "card_declined"}))),
            (500, charge(&json!({}))),
            (402, charge(&json!({}))),
            (200, json!("captured")),
            (200, json!({})),
        ];
        for (status, body) in others {
            let judged = judge(&reply(status, &body), &ask(), false);
            assert!(matches!(judged, Answer::Unknown(_)), "{status} {body}: {judged:?}");
        }
    }

    #[test]
    fn a_decline_is_definite_only_with_402_and_a_code_of_the_list() {
        let declined = |status, code: &str| {
            judge(
                &reply(status, &charge(&json!({"status": "declined", "decline_code": code}))),
                &ask(),
                false,
            )
        };
        for (code, category) in DEFINITE_DECLINES {
            let expected =
                Answer::Declined { code: code.to_owned(), category, provider_ref: Some("gch_1".to_owned()) };
            assert_eq!(declined(402, code), expected);
        }
        for (status, code) in
            [(402, "try_again_later"), (200, "card_declined"), (409, "card_declined"), (429, "x")]
        {
            assert!(matches!(declined(status, code), Answer::Unknown(_)), "{status} {code}");
        }
    }

    #[test]
    fn an_authorization_a_void_and_a_wait_for_the_payer_are_definite_too() {
        let told = |change: Value, plain| judge(&reply(200, &charge(&change)), &ask(), plain);
        assert_eq!(told(json!({"status": "authorized"}), false).word(), "authorized");
        assert_eq!(told(json!({"status": "voided"}), false).word(), "voided");
        assert_eq!(told(json!({"status": "authorized", "amount": 1}), false).word(), "unknown");
        let wait =
            |url: &str, plain| told(json!({"status": "requires_action", "redirect_url": url}), plain).word();
        assert_eq!(wait("https://bank.example/prove?x=1", false), "requires_action");
        assert_eq!(wait("http://127.0.0.1:1/prove", true), "requires_action");
        for url in
            ["http://bank.example/", "javascript:alert(1)", "//bank.example", "https://u:p@bank.example", ""]
        {
            assert_eq!(wait(url, false), "unknown", "{url}");
        }
        assert_eq!(told(json!({"status": "requires_action"}), false).word(), "unknown");
    }

    #[test]
    fn a_refused_card_is_told_only_by_codes_we_know() {
        let refused = |status, body: Value| judge_token(&reply(status, &body)).unwrap_err();
        assert_eq!(
            refused(422, json!({"error": "unknown_test_card"})),
            TokeniseRefusal::Refused("unknown_test_card")
        );
        assert_eq!(
            refused(422, json!({"error": "4242424242424242"})),
            TokeniseRefusal::Refused("card_refused")
        );
        assert_eq!(refused(404, json!({})), TokeniseRefusal::NotOffered);
        assert!(matches!(refused(500, json!({})), TokeniseRefusal::Unavailable(_)));
        assert!(matches!(refused(201, json!({})), TokeniseRefusal::Unavailable(_)));
    }
}
