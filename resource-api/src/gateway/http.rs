//! The adapter for a gateway with the sandbox's interface, over the one outbound fetcher.
//!
//! Definite are: 200 with `captured`, our reference, and exactly the money asked for; 402 with `declined`,
//! our reference, and a code of [`DEFINITE_DECLINES`]. Everything else (409, 401, 404, 429, 5xx, a timeout, a
//! broken line, an unreadable body, another amount) is unknown.

use std::time::Duration;

use axum::body::Bytes;
use chassis::fetch::{FetchError, FetchReply, FetchRequest, Fetcher};
use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use keys::webhook::WebhookSecret;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::event::{self, Arrived, GatewayEvent, NotGenuine};
use super::{Answer, ChargeAsk, DeclineCategory, Found, GatewayConfig, PaymentGateway, TokeniseRefusal};
use crate::domain::card::{Card, Instrument};

/// Codes after which the gateway will never collect this charge.
const DEFINITE_DECLINES: [(&str, DeclineCategory); 8] = [
    ("card_declined", DeclineCategory::Soft),
    ("insufficient_funds", DeclineCategory::Soft),
    ("processing_error", DeclineCategory::Soft),
    ("expired_card", DeclineCategory::Hard),
    ("incorrect_cvc", DeclineCategory::Hard),
    ("invalid_instrument", DeclineCategory::Hard),
    ("lost_or_stolen", DeclineCategory::Hard),
    ("fraudulent", DeclineCategory::Hard),
];

/// The code, and how final it is, if it is one of [`DEFINITE_DECLINES`].
pub(super) fn definite_decline(code: &str) -> Option<(&'static str, DeclineCategory)> {
    DEFINITE_DECLINES.into_iter().find(|(known, _)| *known == code)
}

/// Codes of refused cards that may be passed on.
const CARD_REFUSALS: [&str; 2] = ["invalid_card", "unknown_test_card"];

/// A gateway behind HTTP.
#[derive(Clone)]
pub struct HttpGateway {
    fetcher: Fetcher,
    config: GatewayConfig,
    event_secrets: Vec<WebhookSecret>,
}

impl HttpGateway {
    /// An adapter that calls `config.base_url` through `fetcher`.
    pub fn new(fetcher: Fetcher, config: GatewayConfig) -> Self {
        Self { fetcher, config, event_secrets: Vec::new() }
    }

    /// The same, taking events that are signed under one of these secrets: the new one, and the old one while a
    /// rotation lasts.
    #[must_use]
    pub fn taking_events(self, secrets: Vec<WebhookSecret>) -> Self {
        Self { event_secrets: secrets, ..self }
    }

    async fn call(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        body: Bytes,
    ) -> Result<FetchReply, CallFailed> {
        let base = self.config.base_url.as_str().trim_end_matches('/');
        let url = Url::parse(&format!("{base}{path}"))
            .map_err(|_| CallFailed("the gateway's URL cannot be built"))?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = key {
            let key =
                HeaderValue::from_str(key).map_err(|_| CallFailed("the charge id is no header value"))?;
            headers.insert("idempotency-key", key);
        }
        if let Some(secret) = &self.config.api_key {
            let value = HeaderValue::from_str(&format!("Bearer {}", secret.expose_secret()));
            let mut value = value.map_err(|_| CallFailed("the gateway's key is no header value"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let deadline = Some(Duration::from_millis(self.config.deadline_ms));
        let request = FetchRequest { method, url, headers, body, deadline };
        self.fetcher.fetch(request).await.map_err(|error| match error {
            FetchError::NotAllowed(_) => CallFailed("the gateway's address is not allowed"),
            FetchError::Unresolved | FetchError::NotConnected(_) => {
                CallFailed("the gateway cannot be reached")
            }
            FetchError::TimedOut => CallFailed("the gateway did not answer in time"),
            FetchError::BrokenOff(_) => CallFailed("the gateway's answer broke off"),
            FetchError::Redirected(_) | FetchError::TooLarge(_) => {
                CallFailed("the gateway's answer is not readable")
            }
        })
    }
}

/// No answer; the text holds nothing of what was sent or received.
struct CallFailed(&'static str);

#[derive(Deserialize)]
struct TokenBody {
    token: String,
    brand: Option<String>,
    last4: Option<String>,
    fingerprint: Option<String>,
    country: Option<String>,
}

#[derive(Deserialize)]
struct ChargeBody {
    id: String,
    reference: String,
    amount: i64,
    currency: String,
    status: String,
    #[serde(default)]
    decline_code: Option<String>,
}

/// Reads what a gateway said of a charge.
fn judge(reply: &FetchReply, ask: &ChargeAsk) -> Answer {
    let Ok(body) = serde_json::from_slice::<ChargeBody>(&reply.body) else {
        return Answer::Unknown(unreadable(reply.status));
    };
    if body.reference != ask.charge_id {
        return Answer::Unknown("the answer is about another charge");
    }
    if body.amount != ask.money.amount || body.currency != ask.money.currency {
        return Answer::Unknown("the gateway speaks of another amount");
    }
    match (reply.status, body.status.as_str(), body.decline_code) {
        (StatusCode::OK, "captured", None) => Answer::Captured { provider_ref: body.id },
        (StatusCode::PAYMENT_REQUIRED, "declined", Some(code)) => definite_decline(&code).map_or(
            Answer::Unknown("a decline that is not known to be definite"),
            |(code, category)| Answer::Declined {
                code: code.to_owned(),
                category,
                provider_ref: Some(body.id),
            },
        ),
        _ => Answer::Unknown("neither captured nor declined"),
    }
}

fn unreadable(status: StatusCode) -> &'static str {
    match status.as_u16() {
        200..=299 => "a success that is no charge",
        429 => "the gateway is busy",
        400..=499 => "the gateway did not take the request",
        _ => "the gateway failed",
    }
}

fn judge_token(reply: &FetchReply) -> Result<Instrument, TokeniseRefusal> {
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

impl PaymentGateway for HttpGateway {
    fn provider(&self) -> &'static str {
        "sandbox"
    }

    fn tokenise<'a>(&'a self, card: &'a Card) -> BoxFuture<'a, Result<Instrument, TokeniseRefusal>> {
        let body = json!({
            "number": card.number(), "cvc": card.cvc(), "exp_month": card.exp_month, "exp_year": card.exp_year,
        });
        Box::pin(async move {
            let reply = self.call(Method::POST, "/v1/tokens", None, body.to_string().into()).await;
            reply
                .map_err(|failed| TokeniseRefusal::Unavailable(failed.0))
                .and_then(|reply| judge_token(&reply))
        })
    }

    fn charge<'a>(&'a self, ask: &'a ChargeAsk) -> BoxFuture<'a, Answer> {
        let body = json!({
            "amount": ask.money.amount, "currency": ask.money.currency, "source": ask.source,
            "reference": ask.charge_id,
        });
        Box::pin(async move {
            match self.call(Method::POST, "/v1/charges", Some(&ask.charge_id), body.to_string().into()).await
            {
                Ok(reply) => judge(&reply, ask),
                Err(failed) => Answer::Unknown(failed.0),
            }
        })
    }

    fn find<'a>(&'a self, ask: &'a ChargeAsk) -> BoxFuture<'a, Found> {
        Box::pin(async move {
            let path = format!("/v1/charges/{}", ask.charge_id);
            match self.call(Method::GET, &path, None, Bytes::new()).await {
                Ok(reply) if reply.status == StatusCode::NOT_FOUND => Found::Nothing,
                Ok(reply) => Found::Charge(judge(&reply, ask)),
                Err(failed) => Found::Charge(Answer::Unknown(failed.0)),
            }
        })
    }

    fn parse_event(&self, arrived: &Arrived<'_>) -> Result<GatewayEvent, NotGenuine> {
        event::parse(&self.event_secrets, arrived)
    }
}

#[cfg(test)]
mod tests {
    use keys::token::Money;

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
        let captured = judge(&reply(200, &charge(&json!({}))), &ask());
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
            let judged = judge(&reply(status, &body), &ask());
            assert!(matches!(judged, Answer::Unknown(_)), "{status} {body}: {judged:?}");
        }
    }

    #[test]
    fn a_decline_is_definite_only_with_402_and_a_code_of_the_list() {
        let declined = |status, code: &str| {
            judge(&reply(status, &charge(&json!({"status": "declined", "decline_code": code}))), &ask())
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
