//! Reviews: a person decides on an order that monitoring did not let through by itself.
//!
//! Four eyes: the client that made the order never decides it. An accepted order is judged once more, because
//! funds, limits or the customer may have changed since; what the rules refuse now is refused whatever the
//! reviewer says.

use chassis::claim::StoredAnswer;
use chassis::outbox::insert_events_by;
use chassis::{Fault, Outcome as Ending, Tx, while_doing};
use serde_json::{Value, json};

use super::Failure;
use super::fiat_ins::events::{EventIds, judged as judged_events, moved};
use super::fiat_ins::{Rejudged, Take, charge_reviewed, execute, rejudge};
use crate::app::App;
use crate::auth::{Attempt, Begun, Bound, begin, finish, still_running};
use crate::domain::fiat_in::{FiatIn, FiatInState, ReviewState};
use crate::domain::refusal::Refusal;
use crate::monitoring::Outcome;
use crate::store::fiat_ins::{Move, find_any_fiat_in, move_fiat_in};
use crate::store::reviews::{Review, Verdict, decide_review, find_review};

/// Longest reason a reviewer may give, characters.
pub const REASON_CHARS_MAX: usize = 500;

/// A reviewer's decision, to be made once.
#[derive(Debug, Clone)]
pub(crate) struct Decide {
    /// The review.
    pub(crate) review_id: String,
    /// Accepted or refused.
    pub(crate) verdict: ReviewState,
    /// Why.
    pub(crate) reason: String,
}

impl Decide {
    /// Checks the reason.
    ///
    /// # Errors
    /// 422 `reason_required`, `reason_too_long`.
    pub(crate) fn checked(review_id: String, verdict: ReviewState, reason: &str) -> Result<Self, Refusal> {
        let reason = reason.trim();
        if reason.is_empty() {
            return Err(Refusal::unprocessable("reason_required", "/reason", "a decision has a reason"));
        }
        if reason.chars().count() > REASON_CHARS_MAX {
            return Err(Refusal::unprocessable("reason_too_long", "/reason", "at most 500 characters"));
        }
        Ok(Self { review_id, verdict, reason: reason.to_owned() })
    }
}

/// Drawn before the transaction, which may run twice.
#[derive(Debug, Clone)]
struct Drawn {
    attempt: Attempt,
    ask: Decide,
    charge_id: String,
    decision_id: String,
    events: EventIds,
}

/// The answer, and the order whose charge is now to be sent.
type Decided = (StoredAnswer, Option<FiatIn>);

/// Decides a review. An accepted order is charged before this returns, as far as the gateway answers.
///
/// # Errors
/// 404, 403 `four_eyes_required`, 409 `review_closed`, `review_expired`; a fault is the store's.
pub(crate) async fn decide(app: &App, attempt: Attempt, ask: Decide) -> Result<StoredAnswer, Failure> {
    let drawn = Drawn {
        attempt,
        ask,
        charge_id: app.platform.new_id("chg"),
        decision_id: app.platform.new_id("dec"),
        events: EventIds::draw(&app.platform),
    };
    let held = app.clone();
    let (answer, accepted) = app
        .db
        .write_or_undo(move |tx| {
            let (drawn, app) = (drawn.clone(), held.clone());
            Box::pin(async move { decide_in(tx, &app, &drawn).await })
        })
        .await??;
    app.outbox.wake();
    if let Some(order) = accepted
        && let Err(fault) = execute(app, order, Take::Ready).await
    {
        tracing::warn!(%fault, "an accepted order is left to the recovery worker");
    }
    Ok(answer)
}

async fn decide_in(tx: &mut Tx, app: &App, drawn: &Drawn) -> Result<Ending<Result<Decided, Refusal>>, Fault> {
    match begin(tx, &drawn.attempt, &drawn.ask.review_id, &Bound::default()).await? {
        Begun::Fresh => {}
        Begun::Answered(answer) => return Ok(Ending::Commit(Ok((answer, None)))),
        Begun::Refused(refusal) => return Ok(Ending::Undo(Err(refusal))),
        Begun::Running { .. } => return Ok(Ending::Undo(Err(still_running()))),
    }
    let caller = drawn.attempt.caller();
    let Some(mut review) = find_review(tx, &caller.partner_id, &drawn.ask.review_id).await? else {
        return Ok(Ending::Undo(Err(Refusal::not_found("review"))));
    };
    let verdict = Verdict {
        partner_id: &caller.partner_id,
        review_id: &drawn.ask.review_id,
        state: drawn.ask.verdict,
        decided_by: &caller.client_id,
        note: &drawn.ask.reason,
        now: drawn.attempt.now(),
    };
    if !decide_review(tx, &verdict).await? {
        return Ok(Ending::Undo(Err(not_yours(&review, &caller.client_id))));
    }
    let order = find_any_fiat_in(tx, &review.fiat_in_id).await?;
    let order = order.ok_or_else(|| Fault::new("decide a review: its order is gone"))?;
    let in_time = order.expires_at.is_none_or(|until| drawn.attempt.now() < until);
    if drawn.ask.verdict == ReviewState::Accepted && !in_time {
        let detail = "the time for a decision is over: the order expires, place a new one";
        return Ok(Ending::Undo(Err(Refusal::conflict("review_expired", detail))));
    }
    let source = review.source_token.take().unwrap_or_default();
    let (order, accepted) = match drawn.ask.verdict {
        ReviewState::Accepted => accept(tx, app, drawn, (order, source)).await?,
        _ => (refuse(tx, drawn, order, "review_refused").await?, false),
    };
    drawn.ask.verdict.as_str().clone_into(&mut review.state);
    review.decided_by = Some(caller.client_id.clone());
    review.decision_note = Some(drawn.ask.reason.clone());
    review.decided_at_s = Some(drawn.attempt.now().0);
    let body = body(&review, Some(&order)).map_err(while_doing("write the view of a review"))?;
    let answer = StoredAnswer { status: 200, body: body.to_string() };
    finish(tx, &drawn.attempt, &answer).await?;
    Ok(Ending::Commit(Ok((answer, accepted.then_some(order)))))
}

fn not_yours(review: &Review, client_id: &str) -> Refusal {
    if review.state == ReviewState::Open.as_str() && review.ordered_by == client_id {
        let detail = "the client that made an order does not decide its review";
        return Refusal::forbidden("four_eyes_required", detail);
    }
    Refusal::conflict("review_closed", "the review was decided before, or its order has ended")
}

/// Looks again, then lets the order go on; `false`: the rules refuse it now.
async fn accept(
    tx: &mut Tx,
    app: &App,
    drawn: &Drawn,
    (order, source): (FiatIn, String),
) -> Result<(FiatIn, bool), Fault> {
    let Rejudged { outcome, reason } =
        rejudge(tx, &app.limits, &order, (&drawn.decision_id, drawn.attempt.now())).await?;
    if outcome == Outcome::Refuse {
        return Ok((refuse(tx, drawn, order, reason.unwrap_or("monitoring_refused")).await?, false));
    }
    let order = step(tx, drawn, order, (FiatInState::Processing, None)).await?;
    let order = charge_reviewed(tx, app, order, (&drawn.charge_id, &source)).await?;
    insert_events_by(tx, &drawn.attempt.actor(), &judged_events(&order, &drawn.events)).await?;
    Ok((order, true))
}

async fn refuse(tx: &mut Tx, drawn: &Drawn, order: FiatIn, reason: &str) -> Result<FiatIn, Fault> {
    let order = step(tx, drawn, order, (FiatInState::Refused, Some(reason))).await?;
    insert_events_by(tx, &drawn.attempt.actor(), &moved(&order, &drawn.events)).await?;
    Ok(order)
}

async fn step(
    tx: &mut Tx,
    drawn: &Drawn,
    mut order: FiatIn,
    (to, reason): (FiatInState, Option<&str>),
) -> Result<FiatIn, Fault> {
    let now = drawn.attempt.now();
    let decision = if to == FiatInState::Refused { Outcome::Refuse } else { Outcome::Accept };
    let wanted =
        Move { fiat_in_id: &order.fiat_in_id, from: FiatInState::InReview, to, reason, decision, now };
    move_fiat_in(tx, &wanted)
        .await?
        .ok_or_else(|| Fault::new("decide a review: its order was not waiting"))?;
    order.state = to;
    order.state_reason = reason.map(str::to_owned);
    order.decision = decision;
    order.expires_at = None;
    order.version += 1;
    order.updated_at = now;
    Ok(order)
}

/// The public view of a review; with its order where it was just decided.
///
/// # Errors
/// A stored list that is none.
pub(crate) fn body(review: &Review, order: Option<&FiatIn>) -> serde_json::Result<Value> {
    let reason_codes: Value = serde_json::from_str(&review.reason_codes)?;
    let mut body = json!({
        "id": review.review_id,
        "state": review.state,
        "fiat_in_id": review.fiat_in_id,
        "reason_codes": reason_codes,
        "decided_by": review.decided_by,
        "decision_reason": review.decision_note,
        "created_at": review.created_at_s,
        "decided_at": review.decided_at_s,
    });
    if let Some(order) = order {
        body["fiat_in"] = order.value()?;
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_needs_a_reason_of_reasonable_length() {
        let checked = |reason: &str| Decide::checked("rev_1".to_owned(), ReviewState::Accepted, reason);
        assert_eq!(checked("  ").unwrap_err().code, "reason_required");
        assert_eq!(checked(&"x".repeat(501)).unwrap_err().code, "reason_too_long");
        assert_eq!(checked(" called the customer ").unwrap().reason, "called the customer");
    }
}
