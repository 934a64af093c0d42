//! A refund that a partner asks for: transaction A, and the way to the answer.

use chassis::claim::StoredAnswer;
use chassis::{Fault, Outcome as Ending, Tx, while_doing};

use super::super::Failure;
use super::super::answers::{record_first, wait_for_answer};
use super::super::fiat_ins::lease_ms;
use super::execute::{Take, execute};
use super::open::{NotOpened, Opening, open};
use super::view::answer;
use crate::app::App;
use crate::auth::{Attempt, Begun, Bound, begin};
use crate::domain::fiat_in::FiatIn;
use crate::domain::ledger::{AccountId, PostingRefusal};
use crate::domain::money::Money;
use crate::domain::refund::{Refund, RefundAsk, RefundKind, RefundState};
use crate::domain::refusal::Refusal;
use crate::store::entities;
use crate::store::fiat_ins::find_fiat_in;
use crate::store::refunds::{find_any_refund, find_captured_charge, find_refund_claim, lock_fiat_in};

/// Everything transaction A needs; ids are drawn, because it may run twice.
#[derive(Debug, Clone)]
struct Recording {
    attempt: Attempt,
    fiat_in_id: String,
    ask: RefundAsk,
    refund_id: String,
    hold_id: String,
    event_id: String,
    due_at_ms: i64,
}

/// How transaction A ended.
#[derive(Debug, Clone)]
enum Recorded {
    /// A repeat whose answer is known.
    Answered(StoredAnswer),
    /// A repeat of a request that is still being worked on.
    Running { refund_id: String },
    /// The money is set aside: the gateway can be asked.
    Held { refund_id: String },
}

/// Refunds an order, wholly or in part: 201 when it succeeded or failed, 202 while that is not known. A repeat gets
/// the first answer.
///
/// # Errors
/// 404; 409 `not_refundable`; 422 `amount_exceeds_refundable`, `insufficient_funds`, or what
/// [`Entity::may_refund`](crate::domain::entity::Entity::may_refund) says. A refusal leaves nothing behind, and the key
/// unused; a fault is the store's, and the same request may be sent again.
pub(crate) async fn place(
    app: &App,
    attempt: Attempt,
    fiat_in_id: String,
    ask: RefundAsk,
) -> Result<StoredAnswer, Failure> {
    let claim = attempt.claim();
    let recording = Recording {
        attempt,
        fiat_in_id,
        ask,
        refund_id: app.platform.new_id("rfd"),
        hold_id: app.platform.new_id("hld"),
        event_id: app.platform.new_id("evt"),
        due_at_ms: app.platform.clock.now_ms().saturating_add(lease_ms(app)),
    };
    let recorded = app.db.write_or_undo(move |tx| {
        let recording = recording.clone();
        Box::pin(async move { record(tx, &recording).await })
    });
    let recorded = recorded.await??;
    app.outbox.wake();
    let refund_id = match recorded {
        Recorded::Answered(answer) => return Ok(answer),
        Recorded::Running { refund_id } => refund_id,
        Recorded::Held { refund_id } => {
            if let Some(answer) = execute_to_the_end(app, refund_id.clone()).await? {
                return Ok(answer);
            }
            refund_id
        }
    };
    match wait_for_answer(app, claim).await? {
        Some(answer) => Ok(answer),
        None => Ok(settle_for_now(app, refund_id).await?),
    }
}

/// In a task of its own: a caller that hangs up does not leave its refund half done.
async fn execute_to_the_end(app: &App, refund_id: String) -> Result<Option<StoredAnswer>, Fault> {
    let app = app.clone();
    let executed = tokio::spawn(async move { execute(&app, &refund_id, Take::Held).await });
    executed.await.map_err(while_doing("execute a refund"))?
}

/// Records the refund, or finds out that it was recorded before.
async fn record(tx: &mut Tx, ask: &Recording) -> Result<Ending<Result<Recorded, Refusal>>, Fault> {
    match begin(tx, &ask.attempt, &ask.refund_id, &Bound::default()).await? {
        Begun::Fresh => {}
        Begun::Answered(answer) => return Ok(Ending::Commit(Ok(Recorded::Answered(answer)))),
        Begun::Refused(refusal) => return Ok(Ending::Undo(Err(refusal))),
        Begun::Running { resource_id } => {
            return Ok(Ending::Undo(Ok(Recorded::Running { refund_id: resource_id })));
        }
    }
    Ok(match hold_money(tx, ask).await? {
        Ok(()) => Ending::Commit(Ok(Recorded::Held { refund_id: ask.refund_id.clone() })),
        Err(refusal) => Ending::Undo(Err(refusal)),
    })
}

async fn hold_money(tx: &mut Tx, ask: &Recording) -> Result<Result<(), Refusal>, Fault> {
    let partner_id = &ask.attempt.caller().partner_id;
    let order = match refundable_order(tx, ask).await? {
        Ok((order, _)) => order,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let wallet = entities::find(tx, partner_id, &order.entity_id).await?;
    let wallet = wallet.ok_or_else(|| Fault::new("refund an order: its wallet is gone"))?;
    if let Err(refusal) = wallet.may_refund("/amount") {
        return Ok(Err(refusal));
    }
    let charge = find_captured_charge(tx, &order.fiat_in_id).await?;
    let charge = charge.ok_or_else(|| Fault::new("refund an order: nothing was collected for it"))?;
    // What can be said without the lock was said: refunds that wait for one another hold it for little.
    lock_fiat_in(tx, &order.fiat_in_id).await?;
    let (order, amount) = match refundable_order(tx, ask).await? {
        Ok(found) => found,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let claim =
        serde_json::to_string(&ask.attempt.claim()).map_err(while_doing("write where an answer is kept"))?;
    let opening = Opening {
        refund: &refund(ask, &order, (charge, amount)),
        order: &order,
        claim: Some(&claim),
        due_at_ms: ask.due_at_ms,
        event_id: &ask.event_id,
        actor: &ask.attempt.actor(),
    };
    match open(tx, &opening).await? {
        Ok(()) => Ok(Ok(())),
        Err(NotOpened::Unpaid(PostingRefusal::InsufficientFunds(_))) => Ok(Err(Refusal::unprocessable(
            "insufficient_funds",
            "/amount",
            "the wallet does not hold enough that is available: wait for its holds to end, pay in, or refund less",
        ))),
        Err(other) => Err(Fault::new(format!("open a refund: {other:?}"))),
    }
}

/// The order as it is now, and how much of it is to go back.
async fn refundable_order(tx: &mut Tx, ask: &Recording) -> Result<Result<(FiatIn, i64), Refusal>, Fault> {
    let found = find_fiat_in(tx, &ask.attempt.caller().partner_id, &ask.fiat_in_id).await?;
    let Some(order) = found else { return Ok(Err(Refusal::not_found("fiat-in"))) };
    Ok(ask.ask.amount_of(&order).map(|amount| (order, amount)))
}

fn refund(ask: &Recording, order: &FiatIn, (charge, amount): ((String, String), i64)) -> Refund {
    let caller = ask.attempt.caller();
    let (charge_id, provider) = charge;
    Refund {
        refund_id: ask.refund_id.clone(),
        partner_id: order.partner_id.clone(),
        fiat_in_id: order.fiat_in_id.clone(),
        charge_id,
        provider,
        kind: RefundKind::Requested,
        money: Money { amount, currency: order.money.currency },
        reason: ask.ask.reason.clone(),
        requested_by: Some(caller.client_id.clone()),
        account_id: AccountId::entity(&order.entity_id).as_str().to_owned(),
        hold_id: ask.hold_id.clone(),
        state: RefundState::Held,
        attempt: 0,
        decline_code: None,
        created_at: ask.attempt.now(),
        settled_at: None,
    }
}

/// Records the refund as it stands as the answer, unless one came at the last moment: a caller that repeats never
/// gets two different ones.
async fn settle_for_now(app: &App, refund_id: String) -> Result<StoredAnswer, Fault> {
    let written = app.db.write(move |tx| {
        let id = refund_id.clone();
        Box::pin(async move {
            let refund = find_any_refund(tx, &id).await?;
            let refund = refund.ok_or_else(|| Fault::new("answer a repeat: its refund is gone"))?;
            let claim = find_refund_claim(tx, &id).await?;
            record_first(tx, claim.as_deref(), answer(&refund)?).await
        })
    });
    written.await
}
