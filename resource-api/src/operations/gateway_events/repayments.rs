//! Events about money on its way back: refunds and disputes. What one tells is written down in the very transaction
//! that decides the event, so each counts once however often it is tried.

use chassis::{Fault, Outcome as Ending, Tx};
use keys::UnixSeconds;
use keys::token;

use super::super::refunds::{
    DisputeIds, DisputeTold, RefundTold, SettleIds, ToldVerdict, dispute_lost, dispute_opened, dispute_won,
    refund_told,
};
use super::{decide_in, tell_decided};
use crate::app::App;
use crate::domain::charge_event::{EventState, KNOWN};
use crate::domain::money::Money;
use crate::domain::refund::DisputeTurn;
use crate::domain::telling::RefundWord;
use crate::gateway::{RefundAnswer, RefundOrder};
use crate::store::charge_views::find_charge_at;
use crate::store::gateway_events::StoredGatewayEvent;

/// What is to be written down. Ids are drawn: the unit may run twice.
#[derive(Debug, Clone)]
enum Change {
    Refund(RefundTold),
    Dispute(DisputeTold, DisputeTurn),
    /// It cannot even be put into our words, for this reason.
    Unfit(&'static str),
}

/// Where an event goes, and why.
type Decision = (EventState, Option<&'static str>);

/// Writes down what became of a refund.
pub(super) async fn apply_refund(
    app: &App,
    event: &StoredGatewayEvent,
    word: RefundWord,
) -> Result<(), Fault> {
    let said = match (word, event.provider_ref.clone(), event.decline_code.clone()) {
        (RefundWord::Succeeded, Some(provider_ref), _) => RefundAnswer::Succeeded { provider_ref },
        (RefundWord::Failed, provider_ref, Some(code)) => RefundAnswer::Declined { code, provider_ref },
        _ => RefundAnswer::Unknown("an event without a definite word"),
    };
    let (refund_id, charge_id) = names(event)?;
    let money = token::Money {
        amount: event.amount.unwrap_or_default(),
        currency: event.currency.clone().unwrap_or_default(),
    };
    let order = RefundOrder { refund_id, charge_id, money };
    let ids = SettleIds::draw(&app.platform);
    write(app, event, Change::Refund(RefundTold { order, said, ids, now: app.platform.now() })).await
}

/// Writes down what turn a dispute took.
pub(super) async fn apply_dispute(
    app: &App,
    event: &StoredGatewayEvent,
    turn: DisputeTurn,
) -> Result<(), Fault> {
    let (_, charge_id) = names(event)?;
    let dispute_id = event.provider_ref.clone();
    let dispute_id = dispute_id.ok_or_else(|| Fault::new("apply a gateway event: it names no dispute"))?;
    let currency = event.currency.as_deref().and_then(|text| text.parse().ok());
    let change = match (event.amount, currency) {
        (_, None) => Change::Unfit("wrong_currency"),
        (Some(amount @ 1..), Some(currency)) => {
            let (ids, now) = (DisputeIds::draw(&app.platform), app.platform.now());
            let money = Money { amount, currency };
            Change::Dispute(DisputeTold { dispute_id, charge_id, money, ids, now }, turn)
        }
        _ => Change::Unfit("wrong_amount"),
    };
    write(app, event, change).await
}

/// Our own ids that an event names.
fn names(event: &StoredGatewayEvent) -> Result<(String, String), Fault> {
    let both = event.reference.clone().zip(event.charge_id.clone());
    both.ok_or_else(|| Fault::new("apply a gateway event: it names nothing"))
}

async fn write(app: &App, event: &StoredGatewayEvent, change: Change) -> Result<(), Fault> {
    let (waiting, now) = (event.clone(), app.platform.now());
    let decided = app
        .db
        .write_or_undo(move |tx| {
            let (event, change) = (waiting.clone(), change.clone());
            Box::pin(async move { write_in(tx, &event, &change, now).await })
        })
        .await?;
    if let Some((to, reason)) = decided {
        app.outbox.wake();
        tell_decided(event, to, reason);
    }
    Ok(())
}

/// `None`, and nothing written, when somebody else has decided the event.
async fn write_in(
    tx: &mut Tx,
    event: &StoredGatewayEvent,
    change: &Change,
    now: UnixSeconds,
) -> Result<Ending<Option<Decision>>, Fault> {
    let (to, reason) = match told(tx, event, change).await? {
        ToldVerdict::Done => (EventState::Applied, None),
        ToldVerdict::Repeated => (EventState::Ignored, Some(KNOWN)),
        ToldVerdict::Unfit(code) => (EventState::Parked, Some(code)),
    };
    Ok(if decide_in(tx, event, (to, reason), now).await? {
        Ending::Commit(Some((to, reason)))
    } else {
        Ending::Undo(None)
    })
}

async fn told(tx: &mut Tx, event: &StoredGatewayEvent, change: &Change) -> Result<ToldVerdict, Fault> {
    let charge_id = event.charge_id.as_deref().unwrap_or_default();
    if find_charge_at(tx, &event.provider, charge_id).await?.is_none() {
        return Ok(ToldVerdict::Unfit("unknown_reference"));
    }
    match change {
        Change::Refund(told) => refund_told(tx, told).await,
        Change::Dispute(told, DisputeTurn::Opened) => dispute_opened(tx, told).await,
        Change::Dispute(told, DisputeTurn::Won) => dispute_won(tx, told).await,
        Change::Dispute(told, DisputeTurn::Lost) => dispute_lost(tx, told).await,
        Change::Unfit(code) => Ok(ToldVerdict::Unfit(code)),
    }
}
