//! The adapter for a gateway with the sandbox's interface, over the one outbound fetcher.
//!
//! What an answer means is decided in `judge`.

use std::time::Duration;

use axum::body::Bytes;
use chassis::fetch::{FetchError, FetchReply, FetchRequest, Fetcher};
use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use keys::webhook::WebhookSecret;
use secrecy::ExposeSecret;
use serde_json::json;
use url::Url;

use super::event::{self, Arrived, GatewayEvent, NotGenuine};
use super::judge::{judge, judge_token};
use super::{Answer, ChargeAsk, Found, GatewayConfig, PaymentGateway, TokeniseRefusal};
use crate::domain::card::{Card, Instrument};

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

    /// One call; `key` is sent as the idempotency key.
    pub(super) async fn call(
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
            let key = HeaderValue::from_str(key).map_err(|_| CallFailed("our id is no header value"))?;
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

impl HttpGateway {
    /// A later call about a charge, under a key of its own that follows from the charge's.
    async fn follow_up(&self, ask: &ChargeAsk, what: &str) -> Answer {
        let path = format!("/v1/charges/{}/{what}", ask.charge_id);
        let key = format!("{}:{what}", ask.charge_id);
        let body = json!({ "amount": ask.money.amount, "currency": ask.money.currency });
        match self.call(Method::POST, &path, Some(&key), body.to_string().into()).await {
            Ok(reply) => judge(&reply, ask, self.may_be_plain()),
            Err(failed) => Answer::Unknown(failed.0),
        }
    }

    /// Whether the payer may be sent to an address without TLS: only beside a gateway on this machine.
    fn may_be_plain(&self) -> bool {
        self.config.base_url.scheme() == "http"
    }
}

/// No answer; the text holds nothing of what was sent or received.
pub(super) struct CallFailed(pub(super) &'static str);

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
                Ok(reply) => judge(&reply, ask, self.may_be_plain()),
                Err(failed) => Answer::Unknown(failed.0),
            }
        })
    }

    fn capture<'a>(&'a self, ask: &'a ChargeAsk) -> BoxFuture<'a, Answer> {
        Box::pin(self.follow_up(ask, "capture"))
    }

    fn void<'a>(&'a self, ask: &'a ChargeAsk) -> BoxFuture<'a, Answer> {
        Box::pin(self.follow_up(ask, "void"))
    }

    fn find<'a>(&'a self, ask: &'a ChargeAsk) -> BoxFuture<'a, Found> {
        Box::pin(async move {
            let path = format!("/v1/charges/{}", ask.charge_id);
            match self.call(Method::GET, &path, None, Bytes::new()).await {
                Ok(reply) if reply.status == StatusCode::NOT_FOUND => Found::Nothing,
                Ok(reply) => Found::Charge(judge(&reply, ask, self.may_be_plain())),
                Err(failed) => Found::Charge(Answer::Unknown(failed.0)),
            }
        })
    }

    fn parse_event(&self, arrived: &Arrived<'_>) -> Result<GatewayEvent, NotGenuine> {
        event::parse(&self.event_secrets, arrived)
    }
}
