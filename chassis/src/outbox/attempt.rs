//! One attempt: read what is to be sent, sign it, send it, record how it ended.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use keys::seal::MasterKeys;
use serde_json::json;
use url::Url;

use super::OutboxOptions;
use super::deliveries::{Claimed, Finish, QueueId, finish_attempt};
use super::endpoints::{STANDARD, note_failing, note_sound};
use super::envelope::{Envelope, Written};
use super::events::{NewEvent, StoredEvent, find_event, insert_events};
use super::signature::signatures;
use super::target::{Target, find_target};
use crate::fetch::{FetchError, FetchReply, FetchRequest, Fetcher};
use crate::{Db, Fault, Platform};

/// Tells that deliveries to an endpoint are given up. Once, until it has taken one again.
const ENDPOINT_PARKED: &str = "webhook_endpoint.parked";

/// The longest failure text that is stored, characters.
const FAILURE_CHARS_MAX: usize = 200;

/// What every attempt needs.
#[derive(Clone)]
pub(super) struct Sender {
    pub(super) db: Db,
    pub(super) platform: Platform,
    pub(super) master: Arc<MasterKeys>,
    pub(super) fetcher: Fetcher,
    pub(super) envelope: Option<Arc<dyn Envelope>>,
    pub(super) options: OutboxOptions,
}

/// How the receiver took it.
enum Answer {
    /// 2xx.
    Taken(StatusCode),
    /// Another status, no answer, or an address that may not be called.
    Failed { status: Option<StatusCode>, failure: String, retry_after_s: Option<i64> },
    /// The endpoint is disabled or gone: nothing was sent.
    Unwanted,
}

impl Sender {
    /// Makes one attempt and records its end. Answers whether the endpoint is in good health.
    ///
    /// # Errors
    /// When the database fails; the delivery is then sent again once its lease has run out.
    pub(super) async fn attempt(&self, queue: QueueId, claimed: Claimed) -> Result<bool, Fault> {
        let (answer, was_failing) = self.send(&queue, &claimed).await?;
        let finish = self.judge(queue, claimed, &answer);
        metrics::counter!("webhook_attempts_total", "state" => finish.state).increment(1);
        if finish.state != "delivered" {
            tracing::info!(
                event_id = finish.event_id,
                endpoint_id = finish.queue.endpoint_id,
                attempt = finish.attempt,
                state = finish.state,
                failure = finish.failure.as_deref().unwrap_or_default(),
                "webhook not delivered"
            );
        }
        self.record(finish, was_failing).await?;
        Ok(!matches!(answer, Answer::Failed { .. }))
    }

    /// Records the end of the attempt, and what it says of the endpoint: of the first delivery that is given up the
    /// partner is told by an event, which it finds in its list and at its other endpoints.
    async fn record(&self, finish: Finish, was_failing: bool) -> Result<(), Fault> {
        let notice = (finish.state == "parked").then(|| self.notice(&finish));
        let endpoint_id = finish.queue.endpoint_id.clone();
        let told = self.db.write(move |tx| {
            let (finish, notice) = (finish.clone(), notice.clone());
            Box::pin(async move {
                let QueueId { partner_id, endpoint_id } = &finish.queue;
                if !finish_attempt(tx, &finish).await? {
                    return Ok(false);
                }
                if finish.state == "delivered" && was_failing {
                    note_sound(tx, partner_id, endpoint_id).await?;
                }
                let Some(notice) = notice else { return Ok(false) };
                let first = note_failing(tx, partner_id, endpoint_id, finish.at).await?;
                if first {
                    insert_events(tx, &[notice]).await?;
                }
                Ok(first)
            })
        });
        if told.await? {
            tracing::warn!(endpoint_id, "webhooks to an endpoint are given up until somebody asks for them");
        }
        Ok(())
    }

    fn notice(&self, finish: &Finish) -> NewEvent {
        NewEvent {
            event_id: self.platform.new_id("evt"),
            partner_id: finish.queue.partner_id.clone(),
            kind: ENDPOINT_PARKED,
            occurred_at: finish.at,
            data: json!({
                "webhook_endpoint_id": finish.queue.endpoint_id,
                "event_id": finish.event_id,
                "response_code": finish.response_code,
            }),
        }
    }

    /// Sends it. Beside the answer: whether the endpoint was known to be failing.
    async fn send(&self, queue: &QueueId, claimed: &Claimed) -> Result<(Answer, bool), Fault> {
        let Some((event, target)) = self.load(queue, &claimed.event_id).await? else {
            return Ok((Answer::Unwanted, false));
        };
        let was_failing = target.is_failing();
        let Ok(url) = Url::parse(&target.url) else {
            return Ok((Answer::failed("the address is not a URL"), was_failing));
        };
        let written = if target.format == STANDARD {
            Written::Body { content_type: "application/json", text: event.body() }
        } else {
            self.write(&target, &event).await?
        };
        let (content_type, body) = match written {
            Written::Body { content_type, text } => (content_type, text),
            Written::Nothing => return Ok((Answer::Unwanted, was_failing)),
            Written::NotNow(why) => return Ok((Answer::failed(why), was_failing)),
        };
        let headers = self.headers(&event, &target, (content_type, &body))?;
        let request = FetchRequest {
            method: Method::POST,
            url,
            headers,
            body: body.into(),
            deadline: Some(self.options.attempt_deadline),
        };
        let answer = match self.fetcher.fetch(request).await {
            Ok(reply) => Answer::of(&reply),
            Err(error) => Answer::none(&error),
        };
        Ok((answer, was_failing))
    }

    /// The event and where it goes, or `None` when it is no longer to be sent.
    async fn load(&self, queue: &QueueId, event_id: &str) -> Result<Option<(StoredEvent, Target)>, Fault> {
        let (queue, event_id) = (queue.clone(), event_id.to_owned());
        self.db
            .read(move |tx| {
                let (queue, event_id) = (queue.clone(), event_id.clone());
                Box::pin(async move {
                    let target = find_target(tx, &queue.partner_id, &queue.endpoint_id).await?;
                    let Some(target) = target.filter(|target| target.status == "enabled") else {
                        return Ok(None);
                    };
                    let event = find_event(tx, &queue.partner_id, &event_id).await?;
                    Ok(event.map(|event| (event, target)))
                })
            })
            .await
    }

    /// The body in another format than the standard one.
    async fn write(&self, target: &Target, event: &StoredEvent) -> Result<Written, Fault> {
        match &self.envelope {
            Some(envelope) => envelope.write(&target.format, &target.recipient, event).await,
            None => Ok(Written::NotNow("this service does not write the endpoint's format")),
        }
    }

    /// The headers, the same in every format. The id is that of the event, so it is the same on every attempt; the
    /// time is that of the attempt, so that a receiver can refuse what is older than five minutes.
    fn headers(
        &self,
        event: &StoredEvent,
        target: &Target,
        (content_type, body): (&'static str, &str),
    ) -> Result<HeaderMap, Fault> {
        let now = self.platform.clock.now();
        let signature = signatures(&target.secrets(&self.master, now)?, &event.event_id, now, body)?;
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        let values = [
            ("webhook-id", event.event_id.as_str()),
            ("webhook-timestamp", &now.0.to_string()),
            ("webhook-signature", &signature),
        ];
        for (name, value) in values {
            let value = HeaderValue::from_str(value).map_err(|_| Fault::new("write a webhook header"))?;
            headers.insert(name, value);
        }
        Ok(headers)
    }

    /// The delivery's next state.
    fn judge(&self, queue: QueueId, claimed: Claimed, answer: &Answer) -> Finish {
        let now = self.platform.clock.now();
        let mut finish = Finish {
            queue,
            event_id: claimed.event_id,
            attempt: claimed.attempt,
            state: "skipped",
            next_attempt_at: None,
            response_code: None,
            failure: None,
            at: now,
        };
        match answer {
            Answer::Unwanted => {}
            Answer::Taken(status) => {
                finish.state = "delivered";
                finish.response_code = Some(i64::from(status.as_u16()));
            }
            Answer::Failed { status, failure, retry_after_s } => {
                let random = u64::from_le_bytes(self.platform.random());
                let wait_s = self.options.schedule.wait_s(finish.attempt, random, *retry_after_s);
                finish.state = if wait_s.is_some() { "retrying" } else { "parked" };
                finish.next_attempt_at = wait_s.map(|wait_s| now.plus(wait_s));
                finish.response_code = status.map(|status| i64::from(status.as_u16()));
                finish.failure = Some(failure.chars().take(FAILURE_CHARS_MAX).collect());
            }
        }
        finish
    }
}

impl Answer {
    fn failed(failure: &str) -> Self {
        Self::Failed { status: None, failure: failure.to_owned(), retry_after_s: None }
    }

    /// No answer that counts. A redirect is a no, it is not followed.
    fn none(error: &FetchError) -> Self {
        let status = if let FetchError::Redirected(status) = error { Some(*status) } else { None };
        Self::Failed { status, failure: error.to_string(), retry_after_s: None }
    }

    /// Any 2xx is a yes.
    fn of(reply: &FetchReply) -> Self {
        if reply.status.is_success() {
            return Self::Taken(reply.status);
        }
        let retry_after = reply.headers.get(header::RETRY_AFTER);
        Self::Failed {
            status: Some(reply.status),
            failure: format!("answered {}", reply.status.as_u16()),
            retry_after_s: retry_after.and_then(|value| value.to_str().ok()?.parse().ok()),
        }
    }
}
