//! Webhook endpoints, where a partner wants its events, and sending one again.

use chassis::audit::{NewAudit, insert_audit};
use chassis::claim::StoredAnswer;
use chassis::outbox::{Endpoint, EndpointRefused, insert_endpoint, redeliver};
use serde_json::{Value, json};

use super::{Failure, once};
use crate::app::App;
use crate::auth::{Attempt, Bound};
use crate::domain::refusal::Refusal;

/// The families of events this service publishes.
pub const EVENT_FAMILIES: [&str; 8] =
    ["charge", "customer", "entity", "fiat_in", "kyc", "monitoring", "transfer", "user_token"];

/// Most kinds an endpoint may list.
const KINDS_MAX: usize = 50;

/// Registers an endpoint and answers 201 with its public key.
///
/// # Errors
/// 422 `target_not_allowed`, `event_kind_unknown`.
pub async fn register(
    app: &App,
    attempt: Attempt,
    url: &str,
    kinds: Vec<String>,
) -> Result<StoredAnswer, Failure> {
    check_kinds(&kinds)?;
    let partner_id = attempt.caller().partner_id.clone();
    let prepared =
        app.outbox.prepare_endpoint(&partner_id, url, kinds).await.map_err(|refused| match refused {
            EndpointRefused::Internal(fault) => Failure::Fault(fault),
            EndpointRefused::NotAUrl | EndpointRefused::TargetNotAllowed(_) => {
                Refusal::unprocessable("target_not_allowed", "/url", "an https URL of a public address")
                    .into()
            }
        })?;
    let id = prepared.endpoint.endpoint_id.clone();
    let audit =
        NewAudit::change(&app.platform, attempt.actor(), &partner_id, "webhook_endpoint.created", &id);
    let audit = audit.with(json!({ "event_kinds": prepared.endpoint.event_kinds }));
    once(app, attempt, id, Bound::default(), move |tx| {
        let (prepared, audit) = (prepared.clone(), audit.clone());
        Box::pin(async move {
            insert_endpoint(tx, &prepared).await?;
            insert_audit(tx, &[audit]).await?;
            Ok(Ok(StoredAnswer { status: 201, body: view(&prepared.endpoint).to_string() }))
        })
    })
    .await
}

/// Sends an event again to every endpoint that wants its kind, and answers 202 with how many.
///
/// # Errors
/// 404 for an event that is not the partner's.
pub async fn send_event_again(
    app: &App,
    attempt: Attempt,
    event_id: String,
) -> Result<StoredAnswer, Failure> {
    let (partner_id, now, id) = (attempt.caller().partner_id.clone(), attempt.now(), event_id.clone());
    let audit = NewAudit::change(&app.platform, attempt.actor(), &partner_id, "event.redelivered", &id);
    let answer = once(app, attempt, id, Bound::default(), move |tx| {
        let (partner_id, event_id, audit) = (partner_id.clone(), event_id.clone(), audit.clone());
        Box::pin(async move {
            let Some(count) = redeliver(tx, &partner_id, &event_id, now).await? else {
                return Ok(Err(Refusal::not_found("event")));
            };
            insert_audit(tx, &[audit.with(json!({ "deliveries": count }))]).await?;
            let body = json!({ "event_id": event_id, "deliveries": count }).to_string();
            Ok(Ok(StoredAnswer { status: 202, body }))
        })
    })
    .await?;
    app.outbox.wake_dispatcher();
    Ok(answer)
}

/// A kind is `family.fact`, `family.*` or `*`.
fn check_kinds(kinds: &[String]) -> Result<(), Refusal> {
    let known = |kind: &String| {
        let fact = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        kind == "*"
            || kind
                .split_once('.')
                .is_some_and(|(family, rest)| EVENT_FAMILIES.contains(&family) && (rest == "*" || fact(rest)))
    };
    if kinds.len() > KINDS_MAX {
        return Err(Refusal::unprocessable("too_many_event_kinds", "/event_kinds", "at most 50"));
    }
    match kinds.iter().position(|kind| !known(kind)) {
        Some(index) => {
            let pointer = format!("/event_kinds/{index}");
            Err(Refusal::unprocessable("event_kind_unknown", &pointer, "`family.fact`, `family.*` or `*`"))
        }
        None => Ok(()),
    }
}

/// The public view of an endpoint.
pub fn view(endpoint: &Endpoint) -> Value {
    json!({
        "id": endpoint.endpoint_id,
        "url": endpoint.url,
        "event_kinds": endpoint.event_kinds,
        "public_key": endpoint.public_key,
        "status": if endpoint.enabled { "enabled" } else { "disabled" },
        "created_at": endpoint.created_at.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_facts_or_families_that_exist() {
        let check = |kind: &str| check_kinds(&[kind.to_owned()]).map_err(|refusal| refusal.code);
        for kind in ["*", "fiat_in.*", "fiat_in.completed", "user_token.replayed"] {
            assert_eq!(check(kind), Ok(()), "{kind}");
        }
        for kind in ["", "fiat_in", "fiat_in.", "payments.*", "fiat_in.Completed", "fiat_in.a.b", ".*"] {
            assert_eq!(check(kind), Err("event_kind_unknown"), "{kind}");
        }
        assert!(check_kinds(&vec!["*".to_owned(); 51]).is_err());
    }
}
