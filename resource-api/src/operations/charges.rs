//! Charges in the hands of people: looking at them, asking the gateway again, and settling by hand what could not be
//! found out.
//!
//! Four eyes: the client that made the order never settles its charge. A charge is settled by hand only once it was
//! left to a person; whoever takes it first, a person or an event of the gateway, settles it, and nobody after.

use chassis::audit::{NewAudit, insert_audit};
use chassis::claim::StoredAnswer;
use chassis::{Fault, Outcome as Ending, Tx};
use serde_json::{Value, json};

use super::Failure;
use super::fiat_ins::{Effect, Verdict, settle_in};
use super::gateway_events::UNSTATED;
use super::testimony::{Stated, Testimony};
use crate::app::App;
use crate::auth::{Attempt, Begun, Bound, begin, finish, still_running};
use crate::domain::charge::Channel;
use crate::domain::refusal::Refusal;
use crate::gateway::{Answer, DeclineCategory};
use crate::store::charge_attempts::list_attempts;
use crate::store::charge_views::{
    ChargeRow, ManualTake, NewResolution, find_charge, insert_resolution, look_now, take_manual_charge,
};
use crate::store::charges;
use crate::store::fiat_ins::find_any_fiat_in;
use crate::store::gateway_events::{StoredGatewayEvent, list_gateway_events_of_charge};

/// Events, and things heard, shown with a charge.
const SHOWN: i64 = 100;

/// How a person settles a charge.
#[derive(Debug, Clone)]
pub(crate) struct Resolve {
    charge_id: String,
    testimony: Testimony,
}

/// The outcome that a person found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    Captured,
    Declined,
}

impl Resolve {
    /// Checks what a person says.
    ///
    /// # Errors
    /// As [`Testimony::checked`].
    pub(crate) fn checked(charge_id: String, settled: Settled, stated: Stated) -> Result<Self, Refusal> {
        let testimony = Testimony::checked(stated, settled == Settled::Declined)?;
        Ok(Self { charge_id, testimony })
    }

    fn outcome(&self) -> &'static str {
        if self.testimony.decline.is_some() { "declined" } else { "captured" }
    }

    /// As the answer of the gateway that it stands for. `known`: the gateway's own id as it was heard before.
    fn answer(&self, known: Option<&str>) -> Answer {
        let Testimony { provider_ref, decline, .. } = self.testimony.clone();
        match decline {
            None => {
                let stated = provider_ref.or_else(|| known.map(str::to_owned));
                Answer::Captured { provider_ref: stated.unwrap_or_else(|| UNSTATED.to_owned()) }
            }
            Some(code) => Answer::Declined { code, category: DeclineCategory::Soft, provider_ref },
        }
    }
}

/// Drawn before the transaction, which may run twice.
#[derive(Debug, Clone)]
struct Drawn {
    attempt: Attempt,
    ask: Resolve,
    /// `None`: there is no such charge.
    verdict: Option<Verdict>,
    /// Name under which the charge is taken.
    holder: String,
    now_ms: i64,
    audit: NewAudit,
}

/// Settles a charge that was left to a person: ledger, order and events as if the gateway had answered.
///
/// # Errors
/// 404; 403 `four_eyes_required`; 409 `invalid_state`, `terminal`; a fault is the store's.
pub(crate) async fn resolve(app: &App, attempt: Attempt, ask: Resolve) -> Result<StoredAnswer, Failure> {
    let caller = attempt.caller();
    let audit = NewAudit::change(
        &app.platform,
        attempt.actor(),
        caller.partner_id.as_str(),
        "charge.resolved",
        ask.charge_id.as_str(),
    );
    let audit = audit.with(json!({ "outcome": ask.outcome(), "evidence": ask.testimony.evidence }));
    let verdict = verdict(app, caller.partner_id.clone(), &ask).await?;
    let (holder, now_ms) = (app.platform.new_id("lse"), app.platform.clock.now_ms());
    let drawn = Drawn { attempt, ask, verdict, holder, now_ms, audit };
    let answer = app
        .db
        .write_or_undo(move |tx| {
            let drawn = drawn.clone();
            Box::pin(async move { resolve_in(tx, drawn).await })
        })
        .await??;
    app.outbox.wake();
    Ok(answer)
}

/// What is to be written down, if the partner has the charge. What is read here of order and charge never changes.
async fn verdict(app: &App, partner_id: String, ask: &Resolve) -> Result<Option<Verdict>, Fault> {
    let charge_id = ask.charge_id.clone();
    let found = app
        .db
        .read(move |tx| {
            Box::pin(async move {
                let Some(charge) = charges::find_charge(tx, &charge_id).await? else { return Ok(None) };
                let view = find_charge(tx, &partner_id, &charge_id).await?;
                let order = find_any_fiat_in(tx, &charge.fiat_in_id).await?;
                Ok(view.zip(order).map(|(view, order)| (view.provider_ref, order, charge)))
            })
        })
        .await?;
    Ok(found.map(|(known, order, charge)| {
        let answer = ask.answer(known.as_deref());
        Verdict::heard(app, (order, &charge), answer, Channel::Person, None)
    }))
}

type Ruled = Result<Ending<Result<StoredAnswer, Refusal>>, Fault>;

async fn resolve_in(tx: &mut Tx, drawn: Drawn) -> Ruled {
    let Drawn { attempt, ask, verdict, holder, now_ms, audit } = drawn;
    match begin(tx, &attempt, &ask.charge_id, &Bound::default()).await? {
        Begun::Fresh => {}
        Begun::Answered(answer) => return Ok(Ending::Commit(Ok(answer))),
        Begun::Refused(refusal) => return Ok(Ending::Undo(Err(refusal))),
        Begun::Running { .. } => return Ok(Ending::Undo(Err(still_running()))),
    }
    let caller = attempt.caller();
    let (partner_id, charge_id) = (caller.partner_id.as_str(), ask.charge_id.as_str());
    let take = ManualTake { partner_id, charge_id, client_id: &caller.client_id, holder: &holder, now_ms };
    let taken = take_manual_charge(tx, &take).await?;
    let (Some(charge), Some(verdict)) = (find_charge(tx, partner_id, charge_id).await?, verdict) else {
        return Ok(Ending::Undo(Err(Refusal::not_found("charge"))));
    };
    if !taken {
        return Ok(Ending::Undo(Err(not_to_resolve(&charge, &caller.client_id)?)));
    }
    if !matches!(settle_in(tx, verdict).await?.effect, Effect::Moved(_) | Effect::Late(_)) {
        return Err(Fault::new("resolve a charge: it was taken and yet not settled"));
    }
    let resolution = NewResolution {
        charge_id,
        partner_id,
        outcome: ask.outcome(),
        evidence: &ask.testimony.evidence,
        resolved_by: &caller.client_id,
        now: attempt.now(),
    };
    insert_resolution(tx, &resolution).await?;
    insert_audit(tx, &[audit]).await?;
    let answer = StoredAnswer { status: 200, body: detail(tx, partner_id, charge_id).await? };
    finish(tx, &attempt, &answer).await?;
    Ok(Ending::Commit(Ok(answer)))
}

fn not_to_resolve(charge: &ChargeRow, client_id: &str) -> Result<Refusal, Fault> {
    if let Some(refusal) = terminal(charge)? {
        return Ok(refusal);
    }
    if charge.ordered_by == client_id {
        let detail =
            "The client that made an order does not settle its charge; another client of the partner does.";
        return Ok(Refusal::forbidden("four_eyes_required", detail));
    }
    let detail =
        "The outcome is still being found out; a charge is settled by hand once its state is `manual`.";
    Ok(Refusal::conflict("invalid_state", detail))
}

fn terminal(charge: &ChargeRow) -> Result<Option<Refusal>, Fault> {
    let detail = "The charge has its end, which nothing changes.";
    Ok(charge.state()?.is_final().then(|| Refusal::conflict("terminal", detail)))
}

/// Has the gateway asked now instead of at the next look.
///
/// # Errors
/// 404; 409 `terminal`; a fault is the store's.
pub(crate) async fn probe(app: &App, attempt: Attempt, charge_id: String) -> Result<StoredAnswer, Failure> {
    let partner_id = attempt.caller().partner_id.clone();
    let audit =
        NewAudit::change(&app.platform, attempt.actor(), partner_id, "charge.probed", charge_id.as_str());
    let now_ms = app.platform.clock.now_ms();
    let answer = app
        .db
        .write_or_undo(move |tx| {
            let (attempt, charge_id, audit) = (attempt.clone(), charge_id.clone(), audit.clone());
            Box::pin(async move { probe_in(tx, attempt, &charge_id, (audit, now_ms)).await })
        })
        .await??;
    Ok(answer)
}

async fn probe_in(tx: &mut Tx, attempt: Attempt, charge_id: &str, (audit, now_ms): (NewAudit, i64)) -> Ruled {
    match begin(tx, &attempt, charge_id, &Bound::default()).await? {
        Begun::Fresh => {}
        Begun::Answered(answer) => return Ok(Ending::Commit(Ok(answer))),
        Begun::Refused(refusal) => return Ok(Ending::Undo(Err(refusal))),
        Begun::Running { .. } => return Ok(Ending::Undo(Err(still_running()))),
    }
    let partner_id = attempt.caller().partner_id.as_str();
    let Some(charge) = find_charge(tx, partner_id, charge_id).await? else {
        return Ok(Ending::Undo(Err(Refusal::not_found("charge"))));
    };
    if let Some(refusal) = terminal(&charge)? {
        return Ok(Ending::Undo(Err(refusal)));
    }
    // One that is being sent at this moment needs no second asker.
    if look_now(tx, charge_id, now_ms).await? {
        insert_audit(tx, &[audit]).await?;
    }
    let answer = StoredAnswer { status: 202, body: detail(tx, partner_id, charge_id).await? };
    finish(tx, &attempt, &answer).await?;
    Ok(Ending::Commit(Ok(answer)))
}

/// A charge with everything that was heard of it, as text. Empty when it is gone.
async fn detail(tx: &mut Tx, partner_id: &str, charge_id: &str) -> Result<String, Fault> {
    let found = read(tx, partner_id, charge_id).await?;
    Ok(found.map(|view| view.to_string()).unwrap_or_default())
}

/// A partner's charge with everything that was heard of it.
///
/// # Errors
/// The store's fault.
pub(crate) async fn read(tx: &mut Tx, partner_id: &str, charge_id: &str) -> Result<Option<Value>, Fault> {
    let Some(charge) = find_charge(tx, partner_id, charge_id).await? else { return Ok(None) };
    let events = list_gateway_events_of_charge(tx, &charge.provider, charge_id, SHOWN).await?;
    let mut view = summary(&charge);
    view["attempts"] = list_attempts(tx, charge_id, SHOWN)
        .await?
        .iter()
        .map(|heard| {
            json!({
                "channel": heard.channel, "heard": heard.heard, "reason": heard.reason, "at": heard.heard_at_s,
            })
        })
        .collect();
    view["events"] = events.iter().map(event_view).collect();
    Ok(Some(view))
}

/// The public view of a charge in a list. It shows neither the instrument nor who holds the lease.
pub(crate) fn summary(charge: &ChargeRow) -> Value {
    let open = charge.settled_at_s.is_none() && charge.state != "manual";
    json!({
        "id": charge.charge_id,
        "fiat_in_id": charge.fiat_in_id,
        "provider": charge.provider,
        "state": charge.state,
        "money": { "amount": charge.amount, "currency": charge.currency },
        "provider_ref": charge.provider_ref.as_deref().filter(|known| *known != UNSTATED),
        "decline_code": charge.decline_code,
        "decline_category": charge.decline_category,
        "calls": charge.attempt,
        "next_look_at": open.then(|| charge.due_at_ms.div_euclid(1_000)),
        "created_at": charge.created_at_s,
        "settled_at": charge.settled_at_s,
        "resolution": charge.resolved_as.as_ref().map(|outcome| json!({
            "outcome": outcome,
            "evidence": charge.evidence,
            "resolved_by": charge.resolved_by,
            "resolved_at": charge.resolved_at_s,
        })),
    })
}

fn event_view(event: &StoredGatewayEvent) -> Value {
    json!({
        "id": event.event_id,
        "type": event.kind,
        "about": event.about,
        "told": event.told,
        "money": { "amount": event.amount, "currency": event.currency },
        "decline_code": event.decline_code,
        "state": event.state,
        "reason": event.reason,
        "occurred_at": event.occurred_at_s,
        "received_at": event.received_at_s,
    })
}
