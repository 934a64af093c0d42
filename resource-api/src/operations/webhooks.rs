//! Webhook endpoints, where a partner wants its events, and sending one again.

use chassis::Fault;
use chassis::audit::{NewAudit, insert_audit};
use chassis::claim::StoredAnswer;
use chassis::outbox::{
    Endpoint, EndpointRefused, NewEndpoint, Replay, STANDARD, disable_endpoint, enable_endpoint,
    find_endpoint, insert_endpoint, list_endpoints, redeliver, replay, rotate_secret,
};
use serde_json::{Value, json};

use super::{Failure, once};
use crate::app::App;
use crate::auth::{Attempt, Bound, actor};
use crate::domain::caller::Caller;
use crate::domain::refusal::Refusal;
use crate::domain::webhook_format::{PTI, PTI_FAMILIES};

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

/// Where a partner wants its events.
#[derive(Debug, Clone)]
pub struct EndpointOrder {
    /// `https`, a public address.
    pub url: String,
    /// `family.fact` or `family.*`; none: every event that the format has words for.
    pub event_kinds: Vec<String>,
    /// `standard` where none is given.
    pub format: Option<String>,
}

/// Registers an endpoint and answers 201 with its public key.
///
/// # Errors
/// 422 `target_not_allowed`, `event_kind_unknown`, `format_unknown`, `encryption_key_required`.
pub async fn register(app: &App, attempt: Attempt, order: EndpointOrder) -> Result<StoredAnswer, Failure> {
    let prepared = prepare(app, attempt.caller(), order).await?;
    let partner_id = prepared.endpoint.partner_id.clone();
    let id = prepared.endpoint.endpoint_id.clone();
    let audit =
        NewAudit::change(&app.platform, attempt.actor(), &partner_id, "webhook_endpoint.created", &id);
    let audit = audit.with(details(&prepared.endpoint));
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

fn details(endpoint: &Endpoint) -> Value {
    json!({ "event_kinds": endpoint.event_kinds, "format": endpoint.format })
}

/// Checks an order and draws what its endpoint needs, also the keys that sign in its format.
async fn prepare(app: &App, caller: &Caller, order: EndpointOrder) -> Result<NewEndpoint, Failure> {
    let EndpointOrder { url, mut event_kinds, format } = order;
    let in_vendors_format = match format.as_deref() {
        None | Some(STANDARD) => false,
        Some(PTI) => true,
        Some(_) => {
            let detail = format!("`{STANDARD}` or `{PTI}`");
            return Err(Refusal::unprocessable("format_unknown", "/format", detail).into());
        }
    };
    check_kinds(&event_kinds, if in_vendors_format { &PTI_FAMILIES } else { &EVENT_FAMILIES })?;
    if in_vendors_format {
        may_encrypt(app, caller)?;
        if event_kinds.is_empty() || event_kinds.iter().any(|kind| kind == "*") {
            event_kinds = PTI_FAMILIES.map(|family| format!("{family}.*")).to_vec();
        }
    }
    let prepared =
        app.outbox.prepare_endpoint(&caller.partner_id, &url, event_kinds).await.map_err(not_prepared)?;
    if !in_vendors_format {
        return Ok(prepared);
    }
    app.webhook_keys.made().await?;
    Ok(prepared.in_format(PTI, &caller.client_id))
}

fn not_prepared(refused: EndpointRefused) -> Failure {
    match refused {
        EndpointRefused::Internal(fault) => Failure::Fault(fault),
        EndpointRefused::NotAUrl | EndpointRefused::TargetNotAllowed(_) => {
            Refusal::unprocessable("target_not_allowed", "/url", "an https URL of a public address").into()
        }
    }
}

/// Deliveries are encrypted to a key of the client that registers the endpoint.
fn may_encrypt(app: &App, caller: &Caller) -> Result<(), Refusal> {
    let key = app.directory.snapshot().and_then(|snapshot| snapshot.encryption_key(&caller.client_id));
    if key.is_some() {
        return Ok(());
    }
    let detail = "register an RSA signature key for this client first: deliveries are encrypted to it";
    Err(Refusal::unprocessable("encryption_key_required", "/format", detail))
}

/// The address to which a client's own deliveries in this format go.
///
/// # Errors
/// The store's fault.
pub async fn find_main(app: &App, caller: &Caller, format: &'static str) -> Result<Option<String>, Failure> {
    let caller = caller.clone();
    let all = app
        .db
        .read(move |tx| {
            let partner_id = caller.partner_id.clone();
            Box::pin(async move { Ok((list_endpoints(tx, &partner_id).await?, caller)) })
        })
        .await?;
    let (endpoints, caller) = all;
    Ok(endpoints.into_iter().rev().find(|endpoint| is_main(endpoint, &caller, format)).map(|one| one.url))
}

fn is_main(endpoint: &Endpoint, caller: &Caller, format: &str) -> bool {
    endpoint.enabled && endpoint.format == format && endpoint.recipient == caller.client_id
}

/// Makes `url` the one address to which the client's own deliveries in this format go.
///
/// # Errors
/// As [`register`].
pub async fn set_main(app: &App, caller: &Caller, url: &str, format: &'static str) -> Result<(), Failure> {
    if find_main(app, caller, format).await?.as_deref() == Some(url) {
        return Ok(());
    }
    let order =
        EndpointOrder { url: url.to_owned(), event_kinds: Vec::new(), format: Some(format.to_owned()) };
    let prepared = prepare(app, caller, order).await?;
    let endpoint = &prepared.endpoint;
    let (partner_id, id) = (endpoint.partner_id.clone(), endpoint.endpoint_id.clone());
    let audit = NewAudit::change(&app.platform, actor(caller), &partner_id, "webhook_endpoint.created", &id);
    let audit = audit.with(details(endpoint));
    let caller = caller.clone();
    app.db
        .write(move |tx| {
            let (prepared, audit, caller) = (prepared.clone(), audit.clone(), caller.clone());
            Box::pin(async move {
                for known in list_endpoints(tx, &caller.partner_id).await? {
                    if is_main(&known, &caller, format) {
                        disable_endpoint(tx, &known.partner_id, &known.endpoint_id).await?;
                    }
                }
                insert_endpoint(tx, &prepared).await?;
                insert_audit(tx, &[audit]).await
            })
        })
        .await?;
    Ok(())
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

/// A kind is `family.fact`, `family.*` or `*`, of a family that the format has words for.
fn check_kinds(kinds: &[String], families: &[&str]) -> Result<(), Refusal> {
    let known = |kind: &String| {
        let fact = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
        kind == "*"
            || kind
                .split_once('.')
                .is_some_and(|(family, rest)| families.contains(&family) && (rest == "*" || fact(rest)))
    };
    if kinds.len() > KINDS_MAX {
        return Err(Refusal::unprocessable("too_many_event_kinds", "/event_kinds", "at most 50"));
    }
    match kinds.iter().position(|kind| !known(kind)) {
        Some(index) => {
            let pointer = format!("/event_kinds/{index}");
            let detail = format!("`family.fact`, `family.*` or `*`; families: {}", families.join(", "));
            Err(Refusal::unprocessable("event_kind_unknown", &pointer, detail))
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
        "format": endpoint.format,
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
        let check =
            |kind: &str| check_kinds(&[kind.to_owned()], &EVENT_FAMILIES).map_err(|refusal| refusal.code);
        for kind in ["*", "fiat_in.*", "fiat_in.completed", "user_token.replayed"] {
            assert_eq!(check(kind), Ok(()), "{kind}");
        }
        for kind in ["", "fiat_in", "fiat_in.", "payments.*", "fiat_in.Completed", "fiat_in.a.b", ".*"] {
            assert_eq!(check(kind), Err("event_kind_unknown"), "{kind}");
        }
        assert!(check_kinds(&vec!["*".to_owned(); 51], &EVENT_FAMILIES).is_err());
    }
}
