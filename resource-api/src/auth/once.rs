//! The rule of operations that happen once: one-time tokens (security decision DEC7) and `Idempotency-Key`, over
//! the one mechanism of `chassis::claim`.

mod many;

use chassis::audit::Actor;
use chassis::claim::{ClaimKey, ClaimRef, Claimed, StoredAnswer, claim, find_claim, record_answer};
use chassis::db::{Fault, Tx};
use chassis::http::ErrorId;
use chassis::outbox::{NewEvent, insert_events_by};
use chassis::replay::remember_once;
use futures_util::future::BoxFuture;
use guard::one_time::{AskedOperation, Redeemed, Taken, TokenUse, TokenUses, redeem};
use guard::{Caller, OneTime};
use keys::UnixSeconds;
use keys::digest::sha256_b64;
use keys::token::Money;
use serde_json::json;

use crate::app::App;
use crate::domain::refusal::{Class, Refusal};

pub use many::{Beginning, Ended, begin_plain, end_all};

/// An operation somebody asks for, before its body has been hashed. A handler whose body may carry a
/// card number takes this, replaces the number by the gateway's token, and calls [`Asked::over`].
#[derive(Debug, Clone)]
pub struct Asked {
    pub(super) key: ClaimKey,
    pub(super) caller: Caller,
    pub(super) method: String,
    pub(super) uri: String,
    pub(super) now: UnixSeconds,
    /// Until when the answer can be had again.
    pub(super) expires_at: UnixSeconds,
    pub(super) error_id: ErrorId,
    /// The id of the alert, should there be one to write.
    pub(super) alert_id: String,
}

/// One attempt at an operation, recognisable when it comes again.
#[derive(Debug, Clone)]
pub struct Attempt {
    asked: Asked,
    fingerprint: String,
}

/// What the body asks for, to be compared with what a one-time token is bound to.
#[derive(Debug, Clone, Default)]
pub struct Bound {
    /// The money that moves.
    pub money: Option<Money>,
    /// The entity it moves from or to.
    pub entity_id: Option<String>,
}

/// What [`begin`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// The first time: carry on, and end with [`finish`].
    Fresh,
    /// Answer this and commit: a repeat, or a refusal that is on record.
    Answered(StoredAnswer),
    /// The same request came before, made this resource, and has no stored answer yet. Answer with the
    /// resource's state, or with [`still_running`].
    Running {
        /// What the first request made.
        resource_id: String,
    },
    /// Refuse and undo: nothing is to stay.
    Refused(Refusal),
}

/// 409 for an operation that cannot tell its state before it has ended.
pub fn still_running() -> Refusal {
    Refusal::conflict("idempotency_in_progress", "The same request is still being worked on.")
}

impl Asked {
    /// Fingerprints the attempt: method, target URI and `body`, keyed, so that nothing about the
    /// body can be learnt from it.
    pub fn over(self, app: &App, body: &[u8]) -> Attempt {
        let parts: [&[u8]; 3] = [self.method.as_bytes(), self.uri.as_bytes(), body];
        let fingerprint = app.fingerprint_key.mac_b64(&parts);
        Attempt { asked: self, fingerprint }
    }

    /// Who asks.
    pub fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Who acts, for the audit.
    pub fn actor(&self) -> Actor {
        Actor { error_id: self.error_id.to_string(), ..actor(&self.caller) }
    }
}

/// Who acts, for the audit. To be made in the request's own task.
pub fn actor(caller: &Caller) -> Actor {
    let sub = if caller.sub == caller.client_id { "" } else { caller.sub.as_str() };
    Actor::client(caller.client_id.as_str(), sub)
}

impl Attempt {
    /// Who asks.
    pub fn caller(&self) -> &Caller {
        &self.asked.caller
    }

    /// Who acts, for the audit.
    pub fn actor(&self) -> Actor {
        self.asked.actor()
    }

    /// The moment of the attempt.
    pub fn now(&self) -> UnixSeconds {
        self.asked.now
    }

    /// Where the answer is kept, for an operation that ends after this request.
    pub fn claim(&self) -> ClaimRef {
        self.asked.key.reference()
    }

    /// A refusal that stays on record with the token, as a problem document (RFC 9457).
    fn recorded(&self, class: Class, code: &'static str, detail: &str) -> StoredAnswer {
        let status = crate::error::status(class);
        let document = json!({
            "type": format!("urn:countersign:problem:{code}"),
            "title": status.canonical_reason(),
            "status": status.as_u16(),
            "code": code,
            "detail": detail,
            "retryable": false,
            "error_id": self.asked.error_id.to_string(),
            "request_id": self.asked.error_id.request_id(),
        });
        StoredAnswer { status: status.as_u16(), body: document.to_string() }
    }
}

/// The claims table as guard's store of spent tokens.
struct SpentTokens<'t> {
    tx: &'t mut Tx,
    attempt: &'t Attempt,
    resource_id: &'t str,
}

/// What an earlier request with the same token and fingerprint left.
struct Earlier {
    resource_id: String,
    answer: Option<StoredAnswer>,
}

impl TokenUses for SpentTokens<'_> {
    type Answer = Earlier;
    type Fault = Fault;

    fn take<'a>(&'a mut self, wanted: &'a TokenUse) -> BoxFuture<'a, Result<Taken<Earlier>, Fault>> {
        let asked = &self.attempt.asked;
        Box::pin(async move {
            let claimed = claim(
                self.tx,
                &asked.key,
                &wanted.fingerprint,
                self.resource_id,
                asked.now,
                asked.expires_at,
            )
            .await?;
            Ok(match claimed {
                Claimed::Fresh => Taken::Fresh,
                Claimed::Same { resource_id, answer } => Taken::Same(Some(Earlier { resource_id, answer })),
                Claimed::Different => Taken::Different,
            })
        })
    }
}

/// Begins an operation in its own transaction, before anything else is written there. `resource_id`
/// was drawn before the unit; `bound` is what the body asks for.
///
/// # Errors
/// The store's fault; the unit then rolls back.
pub async fn begin(tx: &mut Tx, attempt: &Attempt, resource_id: &str, bound: &Bound) -> Result<Begun, Fault> {
    let asked = &attempt.asked;
    if let Some(token) = &asked.caller.one_time {
        return begin_with_token(tx, attempt, token, (resource_id, bound)).await;
    }
    let claimed =
        claim(tx, &asked.key, &attempt.fingerprint, resource_id, asked.now, asked.expires_at).await?;
    Ok(match claimed {
        Claimed::Fresh => Begun::Fresh,
        Claimed::Same { resource_id, answer } => earlier(Earlier { resource_id, answer }),
        Claimed::Different => Begun::Refused(key_reused()),
    })
}

/// What [`begin`] would find for an `Idempotency-Key`, without claiming anything: for an operation that has to call
/// somebody before its transaction, so that a repeat calls nobody. [`begin`] still decides.
///
/// # Errors
/// The store's fault.
pub async fn look(tx: &mut Tx, attempt: &Attempt) -> Result<Begun, Fault> {
    let asked = &attempt.asked;
    let found = find_claim(tx, &asked.key).await?.filter(|found| asked.now < found.expires_at);
    Ok(match found {
        None => Begun::Fresh,
        Some(found) if found.route == asked.key.route && found.fingerprint == attempt.fingerprint => {
            earlier(Earlier { resource_id: found.resource_id, answer: found.answer })
        }
        Some(_) => Begun::Refused(key_reused()),
    })
}

fn key_reused() -> Refusal {
    let detail = "This Idempotency-Key was used for another request.";
    Refusal::new(Class::Unprocessable, "idempotency_key_reused", detail)
}

async fn begin_with_token(
    tx: &mut Tx,
    attempt: &Attempt,
    token: &OneTime,
    (resource_id, bound): (&str, &Bound),
) -> Result<Begun, Fault> {
    let asked = &attempt.asked;
    let operation = asked_operation(asked, bound);
    let mut spent = SpentTokens { tx: &mut *tx, attempt, resource_id };
    Ok(match redeem(&mut spent, token, &operation, &attempt.fingerprint).await? {
        Redeemed::Fresh => Begun::Fresh,
        Redeemed::Repeat(found) => earlier(found),
        Redeemed::Running => Begun::Refused(still_running()),
        Redeemed::Expired => Begun::Refused(Refusal::new(
            Class::Unauthorized,
            "invalid_token",
            "The token has expired or was voided.",
        )),
        Redeemed::Mismatch(part) => {
            let detail = format!("The token is for another operation: {part} differs. It is spent now.");
            let answer = attempt.recorded(Class::Forbidden, "operation_mismatch", &detail);
            record_answer(tx, &asked.key, &answer).await?;
            alert(tx, attempt, token, MISMATCHED).await?;
            Begun::Answered(answer)
        }
        Redeemed::AlreadyUsed => {
            alert(tx, attempt, token, REPLAYED).await?;
            Begun::Answered(attempt.recorded(
                Class::Unauthorized,
                "token_already_used",
                "The token was used for another request.",
            ))
        }
    })
}

/// What the request asks for, to be compared with what its token is for.
fn asked_operation<'a>(asked: &'a Asked, bound: &'a Bound) -> AskedOperation<'a> {
    AskedOperation {
        method: &asked.method,
        uri: &asked.uri,
        money: bound.money.as_ref(),
        entity_id: bound.entity_id.as_deref(),
    }
}

fn earlier(found: Earlier) -> Begun {
    match found.answer {
        Some(answer) => Begun::Answered(answer),
        None => Begun::Running { resource_id: found.resource_id },
    }
}

/// What a partner is told of a token that was tried for something else: kind of event and reason code.
type Alert = (&'static str, &'static str);

const MISMATCHED: Alert = ("user_token.mismatched", "operation_mismatch");
const REPLAYED: Alert = ("user_token.replayed", "token_already_used");

/// Tells the partner, once for each token and kind of misuse, that somebody tried it for another operation.
async fn alert(tx: &mut Tx, attempt: &Attempt, token: &OneTime, (kind, reason): Alert) -> Result<(), Fault> {
    let asked = &attempt.asked;
    if !remember_once(tx, kind, &token.issuer, &token.jti, asked.expires_at).await? {
        return Ok(());
    }
    let event = NewEvent {
        event_id: asked.alert_id.clone(),
        partner_id: asked.caller.partner_id.clone(),
        kind,
        occurred_at: asked.now,
        data: json!({
            "client_id": asked.caller.client_id,
            "sub": asked.caller.sub,
            "token_hash": sha256_b64(token.jti.as_bytes()),
            "reason_code": reason,
        }),
    };
    insert_events_by(tx, &attempt.actor(), &[event]).await
}

/// Ends an operation: stores the answer that every repeat of the request gets.
///
/// # Errors
/// The store's fault; the unit then rolls back.
pub async fn finish(tx: &mut Tx, attempt: &Attempt, answer: &StoredAnswer) -> Result<(), Fault> {
    record_answer(tx, &attempt.asked.key, answer).await.map(drop)
}

#[cfg(test)]
impl Attempt {
    /// An attempt of a caller under a key, or with the one-time token that the caller presents.
    pub(crate) fn stub(caller: Caller, key: &str, now: UnixSeconds) -> Self {
        let kind = if caller.one_time.is_some() { "one_time" } else { "idempotency" };
        let key =
            ClaimKey { kind, owner: caller.partner_id.clone(), key: key.to_owned(), route: String::new() };
        let asked = Asked {
            key,
            caller,
            method: "POST".to_owned(),
            uri: "https://rs.example/v1/things".to_owned(),
            now,
            expires_at: now.plus(3_600),
            error_id: ErrorId::current(),
            alert_id: "evt_alert".to_owned(),
        };
        Self { asked, fingerprint: "fingerprint".to_owned() }
    }
}
