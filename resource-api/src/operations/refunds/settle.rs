//! Transaction C: what the gateway said of a refund becomes refund, ledger, order, answer and events in one commit.
//! Whoever brings a definite answer first writes it; everybody later finds it written.

use chassis::claim::StoredAnswer;
use chassis::outbox::{NewEvent, insert_events};
use chassis::{Fault, Platform, Tx, while_doing};
use keys::UnixSeconds;

use super::super::answers::record_first;
use super::super::fiat_ins::events::{EventIds, moved};
use super::super::gateway_events::UNSTATED;
use super::events;
use super::view::answer;
use crate::app::App;
use crate::domain::fiat_in::{FiatIn, FiatInState};
use crate::domain::ledger::{AccountId, Leg, NewPosting, SystemAccount};
use crate::domain::refund::{Refund, RefundState, with_ended};
use crate::gateway::RefundAnswer;
use crate::ledger;
use crate::store::fiat_ins::find_any_fiat_in;
use crate::store::refunds::{
    RefundEnd, change_fiat_in, end_refund, find_any_refund, find_refund_claim, lock_fiat_in, park_refund,
};

/// Ids that the transaction, which may run twice, needs.
#[derive(Debug, Clone)]
pub struct SettleIds {
    txn: String,
    event: String,
    order_events: EventIds,
}

impl SettleIds {
    /// Draws them.
    pub fn draw(platform: &Platform) -> Self {
        Self {
            txn: platform.new_id("txn"),
            event: platform.new_id("evt"),
            order_events: EventIds::draw(platform),
        }
    }
}

/// What the gateway said of a refund, and everything needed to write it down.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) refund_id: String,
    pub(super) answer: RefundAnswer,
    /// Holder of the lease, and where the refund goes when nothing definite is known: `unknown` or `manual`, and when
    /// it is due. `None`: the gateway told it unasked.
    pub(super) park: Option<(String, (RefundState, i64))>,
    pub(super) ids: SettleIds,
    pub(super) now: UnixSeconds,
}

/// How the writing of a verdict ended.
#[derive(Debug, Clone)]
pub(super) struct Settled {
    /// Whether this verdict is the refund's end, and not one that came before it.
    pub(super) ended: bool,
    /// The answer to the refund's request, now or before.
    pub(super) answer: StoredAnswer,
}

/// Writes a verdict down and returns the answer to the refund's request, now or before.
pub(super) async fn settle(app: &App, verdict: Verdict) -> Result<StoredAnswer, Fault> {
    let written = app.db.write(move |tx| {
        let verdict = verdict.clone();
        Box::pin(async move { settle_in(tx, &verdict).await })
    });
    let settled = written.await?;
    app.outbox.wake();
    Ok(settled.answer)
}

/// The same on a transaction that does more.
pub(super) async fn settle_in(tx: &mut Tx, verdict: &Verdict) -> Result<Settled, Fault> {
    let (provider_ref, decline) = match &verdict.answer {
        RefundAnswer::Unknown(_) => return Ok(Settled { ended: false, answer: park(tx, verdict).await? }),
        RefundAnswer::Succeeded { provider_ref } => (Some(provider_ref.as_str()), None),
        RefundAnswer::Declined { code, provider_ref } => (provider_ref.as_deref(), Some(code.as_str())),
    };
    let provider_ref = provider_ref.filter(|stated| *stated != UNSTATED);
    let end = RefundEnd { refund_id: &verdict.refund_id, provider_ref, decline, now: verdict.now };
    if let Some(refund) = end_refund(tx, end).await? {
        write_end(tx, verdict, &refund).await?;
        return Ok(Settled { ended: true, answer: told(tx, &refund).await? });
    }
    let refund = find_any_refund(tx, &verdict.refund_id).await?;
    Ok(Settled { ended: false, answer: told(tx, &refund.ok_or_else(gone)?).await? })
}

/// Books the end of a refund and tells of it.
async fn write_end(tx: &mut Tx, verdict: &Verdict, refund: &Refund) -> Result<(), Fault> {
    let now = verdict.now;
    lock_fiat_in(tx, &refund.fiat_in_id).await?;
    let before = find_any_fiat_in(tx, &refund.fiat_in_id).await?.ok_or_else(gone)?;
    let succeeded = refund.state == RefundState::Succeeded;
    let order = with_ended(&before, refund.money.amount, succeeded, now)
        .ok_or_else(|| Fault::new("settle a refund: its order did not count it"))?;
    change_fiat_in(tx, &order).await?;
    if succeeded {
        let booked = ledger::post(tx, &[posting(refund, &verdict.ids.txn)], now).await?.pop();
        booked.unwrap_or(Ok(())).map_err(while_doing("book a refund"))?;
    } else {
        let released = ledger::release(tx, &refund.partner_id, &refund.hold_id, now).await?;
        released.map_err(while_doing("release the money of a refund"))?;
    }
    insert_events(tx, &told_of(refund, (&before, &order), verdict)).await
}

/// The money that was set aside leaves; the gateway owes us so much less.
fn posting(refund: &Refund, txn_id: &str) -> NewPosting {
    let (currency, amount) = (refund.money.currency.code(), refund.money.amount);
    let clearing = AccountId::system(SystemAccount::GatewayClearing(&refund.provider), currency);
    NewPosting {
        partner_id: refund.partner_id.clone(),
        txn_id: txn_id.to_owned(),
        reference: format!("refund:{}", refund.refund_id),
        kind: "refund",
        currency: currency.to_owned(),
        legs: vec![
            Leg::debit(AccountId::stored(refund.account_id.clone()), amount),
            Leg::credit(clearing, amount),
        ],
        takes_hold: Some(refund.hold_id.clone()),
        reverses: None,
    }
}

/// The refund's end, and where its order stands if that is new: part of it going back twice is told twice.
fn told_of(refund: &Refund, (before, order): (&FiatIn, &FiatIn), verdict: &Verdict) -> Vec<NewEvent> {
    let mut all = vec![events::told(refund, order, (&verdict.ids.event, verdict.now))];
    let went_back = order.refunds.refunded > before.refunds.refunded;
    if went_back && matches!(order.state, FiatInState::PartiallyRefunded | FiatInState::Refunded) {
        all.extend(moved(order, &verdict.ids.order_events));
    }
    all
}

/// Nothing definite: the refund waits for its next probe and the caller is told that it goes on.
async fn park(tx: &mut Tx, verdict: &Verdict) -> Result<StoredAnswer, Fault> {
    if let Some((holder, next)) = &verdict.park
        && park_refund(tx, &verdict.refund_id, holder, *next).await?
        && next.0 == RefundState::Manual
    {
        let refund = find_any_refund(tx, &verdict.refund_id).await?.ok_or_else(gone)?;
        let order = find_any_fiat_in(tx, &refund.fiat_in_id).await?.ok_or_else(gone)?;
        insert_events(tx, &[events::told(&refund, &order, (&verdict.ids.event, verdict.now))]).await?;
    }
    let refund = find_any_refund(tx, &verdict.refund_id).await?;
    told(tx, &refund.ok_or_else(gone)?).await
}

/// The answer to the refund's request: the one that was given before, or this one.
async fn told(tx: &mut Tx, refund: &Refund) -> Result<StoredAnswer, Fault> {
    let claim = find_refund_claim(tx, &refund.refund_id).await?;
    record_first(tx, claim.as_deref(), answer(refund)?).await
}

fn gone() -> Fault {
    Fault::new("settle a refund: its row is gone")
}
