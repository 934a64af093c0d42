//! Signed requests: of a client that must sign, every request is refused whose signature does not
//! hold or was seen before.

use http::{HeaderMap, request::Parts};
use keys::http_signature::{self, Message, TAG_REQUEST};
use keys::pti_jws;
use keys::{RestoreEpoch, UnixSeconds};

use crate::carrier;
use crate::layer::Facts;
use crate::refusal::Refusal;
use crate::standing::{ClientStanding, Profile, ReplayMemory};

/// A signature that holds: what must be remembered of it.
pub(crate) struct Seen {
    kind: &'static str,
    value: String,
    signed_at: UnixSeconds,
    until: UnixSeconds,
}

/// Verifies the request's signature as the client's profile asks. `None`: it asks for none.
///
/// # Errors
/// 401 with `signature_required`, `insufficient_coverage`, `invalid_signature` and the like.
pub(crate) fn verify(
    client: &ClientStanding,
    parts: &Parts,
    facts: &Facts,
    now: UnixSeconds,
) -> Result<Option<Seen>, Refusal> {
    match client.profile {
        Profile::None => Ok(None),
        Profile::HttpSignature => http_signature(client, parts, facts, now).map(Some),
        Profile::PtiJws => pti(client, parts, facts, now).map(Some),
    }
}

/// Takes the signature: of racing requests with one signature exactly one passes.
///
/// # Errors
/// 401 when it was used before, or may have been used before a restore; 503 when the replay memory is away.
pub(crate) async fn take(
    replay: &dyn ReplayMemory,
    client_id: &str,
    seen: Option<Seen>,
    epoch: RestoreEpoch,
) -> Result<(), Refusal> {
    let Some(Seen { kind, value, signed_at, until }) = seen else { return Ok(()) };
    if epoch.voids(signed_at) {
        return Err(Refusal::bad_signature(
            "signature_void",
            "The service was restored from a backup. Send the request again, signed anew.",
        ));
    }
    match replay.remember(kind, client_id.to_owned(), value, until).await {
        Ok(true) => Ok(()),
        Ok(false) => Err(Refusal::bad_signature("signature_replayed", "This signature was used before.")),
        Err(_) => Err(Refusal::unavailable(
            "unavailable",
            "The service is busy. Send the request again, signed anew.",
        )),
    }
}

fn http_signature(
    client: &ClientStanding,
    parts: &Parts,
    facts: &Facts,
    now: UnixSeconds,
) -> Result<Seen, Refusal> {
    let message = Message {
        method: parts.method.as_str(),
        authority: &facts.authority,
        path: &facts.path,
        query: facts.query.as_deref(),
        headers: &parts.headers,
        body: &facts.body,
    };
    let key_for = |keyid: &str| client.signature_keys.get(keyid).cloned();
    let verified = http_signature::verify(&message, TAG_REQUEST, now, &key_for).map_err(|refusal| {
        tracing::info!(client_id = client.client_id, %refusal, "a request's signature is refused");
        Refusal::bad_signature(refusal.code(), "The request's signature does not hold.")
    })?;
    let until = verified.remember_until();
    let value = format!("{} {}", verified.keyid, verified.nonce);
    Ok(Seen { kind: "http_signature", value, signed_at: verified.created, until })
}

fn pti(client: &ClientStanding, parts: &Parts, facts: &Facts, now: UnixSeconds) -> Result<Seen, Refusal> {
    let missing = || Refusal::bad_signature("signature_required", "The request is not signed.");
    let invalid = || Refusal::bad_signature("invalid_signature", "The request's signature does not hold.");
    let signature = carrier::single(&parts.headers, carrier::PTI_SIGNATURE)?.ok_or_else(missing)?;
    let client_id = carrier::single(&parts.headers, carrier::PTI_CLIENT_ID)?.ok_or_else(missing)?;
    if client_id != client.client_id {
        return Err(invalid());
    }
    let other_fields = other_fields(&parts.headers)?;
    let signed = pti_jws::Parts {
        method: parts.method.as_str(),
        path: &facts.path,
        query: facts.query.as_deref(),
        body: &facts.body,
        content_type: carrier::single(&parts.headers, "content-type")?,
        date: carrier::single(&parts.headers, "date")?,
        other_fields: &other_fields,
    };
    let key_for = |kid: &str| client.signature_keys.get(kid).cloned();
    let verified = pti_jws::verify(signature, client_id, &signed, now, &key_for).map_err(|refusal| {
        tracing::info!(client_id, %refusal, "a request's signature is refused");
        invalid()
    })?;
    let until = verified.remember_until();
    Ok(Seen { kind: "pti_jws", value: verified.signature_hash, signed_at: verified.date, until })
}

fn other_fields(headers: &HeaderMap) -> Result<Vec<(&str, &str)>, Refusal> {
    let mut fields = Vec::new();
    for name in headers.keys().map(http::HeaderName::as_str).filter(|name| name.starts_with("x-pti-")) {
        if name == carrier::PTI_SIGNATURE || name == carrier::PTI_CLIENT_ID {
            continue;
        }
        fields.extend(carrier::single(headers, name)?.map(|value| (name, value)));
    }
    Ok(fields)
}
