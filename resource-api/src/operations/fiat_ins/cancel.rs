//! A caller withdraws its order.

use std::sync::Arc;

use chassis::claim::StoredAnswer;
use chassis::outbox::insert_events_by;
use chassis::{Tx, while_doing};

use super::super::Failure;
use super::super::once::{Ruled, once};
use super::early_end::{EarlyEnd, Ended, end_early};
use super::events::{EventIds, moved};
use super::record::answer;
use super::settle;
use crate::app::App;
use crate::auth::{Attempt, Bound};
use crate::domain::fiat_in::{FiatIn, FiatInState, ReviewState};
use crate::domain::refusal::Refusal;
use crate::store::fiat_ins::find_fiat_in;

/// Drawn before the transaction, which may run twice.
struct Drawn {
    attempt: Attempt,
    fiat_in_id: String,
    events: EventIds,
    now_ms: i64,
}

/// Cancels an order whose charge was not submitted yet, or whose payer is still awaited.
///
/// # Errors
/// 404, 409 `already_submitted`, `order_ended`; a fault is the store's.
pub(crate) async fn cancel(app: &App, attempt: Attempt, fiat_in_id: String) -> Result<StoredAnswer, Failure> {
    let drawn = Arc::new(Drawn {
        attempt: attempt.clone(),
        fiat_in_id: fiat_in_id.clone(),
        events: EventIds::draw(&app.platform),
        now_ms: app.platform.clock.now_ms(),
    });
    once(app, attempt, fiat_in_id, Bound::default(), move |tx| {
        let drawn = Arc::clone(&drawn);
        Box::pin(async move { cancel_in(tx, &drawn).await })
    })
    .await
}

async fn cancel_in(tx: &mut Tx, drawn: &Drawn) -> Ruled {
    let Some(order) = find_own(tx, drawn).await? else { return Ok(Err(Refusal::not_found("fiat-in"))) };
    let end = EarlyEnd {
        state: FiatInState::Cancelled,
        review: ReviewState::Withdrawn,
        reason: "cancelled_by_caller",
        now: drawn.attempt.now(),
        now_ms: drawn.now_ms,
    };
    let sent = order.state == FiatInState::Processing;
    let Some(Ended { order, claim }) = end_early(tx, order, end).await? else {
        let now = find_own(tx, drawn).await?;
        return Ok(Err(too_late(now.as_ref())));
    };
    insert_events_by(tx, &drawn.attempt.actor(), &moved(&order, &drawn.events)).await?;
    if sent {
        // The request that made the order has no answer yet, and nobody else will give it one.
        settle::record(tx, &claim, answer(&order)?).await?;
    }
    let body = order.body().map_err(while_doing("write the view of a fiat-in"))?;
    Ok(Ok(StoredAnswer { status: 200, body }))
}

async fn find_own(tx: &mut Tx, drawn: &Drawn) -> Result<Option<FiatIn>, chassis::Fault> {
    let caller = drawn.attempt.caller();
    let found = find_fiat_in(tx, &caller.partner_id, &drawn.fiat_in_id).await?;
    Ok(found.filter(|order| caller.may_see(&order.sub)))
}

fn too_late(order: Option<&FiatIn>) -> Refusal {
    let open = order.is_some_and(|order| order.answer_status() == 202);
    if open {
        let detail = "the charge is at the gateway: wait until the order is completed or failed, \
                      and refund it if it is completed";
        return Refusal::conflict("already_submitted", detail);
    }
    let detail = "the order has ended: read it, and refund it if it is completed";
    Refusal::conflict("order_ended", detail)
}
