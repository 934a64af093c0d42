//! Webhook endpoints, where a partner wants its events, and sending one again.

use chassis::Fault;
use chassis::audit::{NewAudit, insert_audit};
use chassis::claim::StoredAnswer;
use chassis::outbox::{
    Endpoint, EndpointRefused, Replay, disable_endpoint, enable_endpoint, find_endpoint, insert_endpoint,
    redeliver, replay, rotate_secret,
};
use serde_json::{Value, json};

use super::{Failure, once};
use crate::app::App;
use crate::auth::{Attempt, Bound, Caller, actor};
use crate::domain::refusal::Refusal;

/// The families of events this service publishes.
pub const EVENT_FAMILIES: [&str; 9] = [
    "charge",
    "customer",
    "entity",
    "fiat_in",
    "kyc",
    "monitoring",
    "transfer",
    "user_token",
    "webhook_endpoint",
];

/// How long the key before a rotation signs too, seconds.
const ROTATION_S: i64 = 86_400;

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

/// Sends an endpoint again what it missed, and answers 202 with how many deliveries that is.
///
/// # Errors
/// 404 for an endpoint or event that is not the partner's; 409 `endpoint_disabled`.
pub async fn send_endpoint_again(
    app: &App,
    attempt: Attempt,
    endpoint_id: String,
    what: Replay,
) -> Result<StoredAnswer, Failure> {
    let (partner_id, now, id) = (attempt.caller().partner_id.clone(), attempt.now(), endpoint_id.clone());
    let action = "webhook_endpoint.redelivered";
    let audit = NewAudit::change(&app.platform, attempt.actor(), &partner_id, action, &id);
    let answer = once(app, attempt, id, Bound::default(), move |tx| {
        let (partner_id, endpoint_id, what, audit) =
            (partner_id.clone(), endpoint_id.clone(), what.clone(), audit.clone());
        Box::pin(async move {
            let Some(endpoint) = find_endpoint(tx, &partner_id, &endpoint_id).await? else {
                return Ok(Err(Refusal::not_found("webhook endpoint")));
            };
            if !endpoint.enabled {
                let detail = "enable the endpoint first: POST /v1/webhook-endpoints/{id}/enable";
                return Ok(Err(Refusal::conflict("endpoint_disabled", detail)));
            }
            let Some(done) = replay(tx, &endpoint, &what, now).await? else {
                return Ok(Err(Refusal::not_found("event")));
            };
            insert_audit(tx, &[audit.with(json!({ "deliveries": done.deliveries }))]).await?;
            let body = json!({
                "endpoint_id": endpoint_id,
                "deliveries": done.deliveries,
                "has_more": done.has_more,
                "next_after_seq": done.last_seq,
            });
            Ok(Ok(StoredAnswer { status: 202, body: body.to_string() }))
        })
    })
    .await?;
    app.outbox.wake_dispatcher();
    Ok(answer)
}

/// Enables an endpoint and answers 200 with it. It gets the events that are numbered from now on; what it missed is
/// asked for.
///
/// # Errors
/// 404 for an endpoint that is not the partner's.
pub async fn enable(app: &App, attempt: Attempt, endpoint_id: String) -> Result<StoredAnswer, Failure> {
    let (partner_id, id) = (attempt.caller().partner_id.clone(), endpoint_id.clone());
    let action = "webhook_endpoint.enabled";
    let audit = NewAudit::change(&app.platform, attempt.actor(), &partner_id, action, &id);
    once(app, attempt, id, Bound::default(), move |tx| {
        let (partner_id, endpoint_id, audit) = (partner_id.clone(), endpoint_id.clone(), audit.clone());
        Box::pin(async move {
            enable_endpoint(tx, &partner_id, &endpoint_id).await?;
            let Some(endpoint) = find_endpoint(tx, &partner_id, &endpoint_id).await? else {
                return Ok(Err(Refusal::not_found("webhook endpoint")));
            };
            insert_audit(tx, &[audit]).await?;
            Ok(Ok(StoredAnswer { status: 200, body: view(&endpoint).to_string() }))
        })
    })
    .await
}

/// Gives an endpoint a new key and answers 200 with it. For a day the key before it signs too.
///
/// # Errors
/// 404 for an endpoint that is not the partner's.
pub async fn rotate(app: &App, attempt: Attempt, endpoint_id: String) -> Result<StoredAnswer, Failure> {
    let (partner_id, id) = (attempt.caller().partner_id.clone(), endpoint_id.clone());
    let secret = app.outbox.prepare_secret(&partner_id, &endpoint_id)?;
    let until = attempt.now().plus(ROTATION_S);
    let action = "webhook_endpoint.secret_rotated";
    let audit = NewAudit::change(&app.platform, attempt.actor(), &partner_id, action, &id);
    once(app, attempt, id, Bound::default(), move |tx| {
        let (partner_id, endpoint_id, secret, audit) =
            (partner_id.clone(), endpoint_id.clone(), secret.clone(), audit.clone());
        Box::pin(async move {
            rotate_secret(tx, &secret, until).await?;
            let Some(endpoint) = find_endpoint(tx, &partner_id, &endpoint_id).await? else {
                return Ok(Err(Refusal::not_found("webhook endpoint")));
            };
            insert_audit(tx, &[audit]).await?;
            let mut body = view(&endpoint);
            body["previous_key_until"] = until.0.into();
            Ok(Ok(StoredAnswer { status: 200, body: body.to_string() }))
        })
    })
    .await
}

/// Stops deliveries to an endpoint; `false` when it is not the partner's.
///
/// # Errors
/// When the store fails.
pub async fn disable(app: &App, caller: &Caller, endpoint_id: String) -> Result<bool, Fault> {
    let partner_id = caller.partner_id.clone();
    let action = "webhook_endpoint.disabled";
    let audit = NewAudit::change(&app.platform, actor(caller), &partner_id, action, &endpoint_id);
    app.db
        .write(move |tx| {
            let (partner_id, endpoint_id, audit) = (partner_id.clone(), endpoint_id.clone(), audit.clone());
            Box::pin(async move {
                let known = disable_endpoint(tx, &partner_id, &endpoint_id).await?;
                if known {
                    insert_audit(tx, &[audit]).await?;
                }
                Ok(known)
            })
        })
        .await
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
        "failing_since": endpoint.failing_since.map(|moment| moment.0),
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
