//! Placing an order, from the checked request to the answer.

use std::sync::Arc;
use std::time::Duration;

use chassis::claim::{ClaimRef, StoredAnswer, find_answer_of};
use chassis::failpoint::{is_planted, reach};
use chassis::{Fault, while_doing};
use keys::token;

use super::super::Failure;
use super::execute::{execute_taken, lease_ms};
use super::record::{Ids, Recorded, Recording, answer, record};
use super::settle;
use crate::app::App;
use crate::auth::{Attempt, Bound};
use crate::crypto::vault::SealedPii;
use crate::domain::card::Instrument;
use crate::domain::fiat_in::{FiatIn, Origin};
use crate::domain::money::Money;
use crate::domain::pii::Pii;
use crate::domain::refusal::Refusal;
use crate::store::customers;
use crate::store::fiat_ins::{find_any_fiat_in, find_claim};

/// How long a repeat waits for the answer of the first request. Below the request deadline,
/// and long enough for a charge whose holder died to be taken up by another process.
const REPEAT_WAIT: Duration = Duration::from_secs(8);

/// First and longest pause between looks for that answer.
const LOOK_FIRST: Duration = Duration::from_millis(10);
const LOOK_LONGEST: Duration = Duration::from_millis(160);

/// What a caller wants paid in. The card, if there was one, is an instrument already.
#[derive(Debug, Clone)]
pub(crate) struct FiatInAsk {
    /// The wallet to credit.
    pub(crate) entity_id: String,
    /// How much.
    pub(crate) money: Money,
    /// What pays.
    pub(crate) instrument: Instrument,
    /// The partner's own id of the order.
    pub(crate) client_reference: String,
    /// Who pays in; needed from a client, for everybody else the credential says it.
    pub(crate) customer: Option<String>,
    /// Personal data to be brought up to date with the order.
    pub(crate) pii: Option<Pii>,
    /// What is known of the device; its instrument members are filled in here.
    pub(crate) device: Origin,
}

/// Places an order: records it, charges it, settles it, and answers. A repeat gets the first answer.
///
/// # Errors
/// A refusal made nothing and left a one-time token unused; a fault is the store's, and the same request
/// may be sent again.
pub(crate) async fn place(app: &App, attempt: Attempt, ask: FiatInAsk) -> Result<StoredAnswer, Failure> {
    let sub = subject(app, &attempt, &ask).await?;
    let sealed = seal(app, &attempt, &sub, &ask)?;
    let claim = attempt.claim();
    let recording = Arc::new(Recording {
        sub,
        sealed,
        bound: bound(&ask),
        ids: Ids::draw(&app.platform),
        limits: Arc::clone(&app.limits),
        provider: app.gateway.provider(),
        holder: app.platform.new_id("lse"),
        due_at_ms: app.platform.clock.now_ms().saturating_add(lease_ms(app)),
        attempt,
        ask,
    });
    if is_planted("read_then_write")
        && let Some(answer) = seen_before(app, &recording.attempt).await?
    {
        return Ok(answer);
    }
    reach("fiat_in.before_a").await;
    let recorded = record_now(app, &recording).await?;
    reach("fiat_in.after_a").await;
    app.outbox.wake();
    let fiat_in_id = match recorded {
        Recorded::Answered(answer) => return Ok(answer),
        Recorded::Running { fiat_in_id } => fiat_in_id,
        Recorded::Charged(order) => {
            let fiat_in_id = order.fiat_in_id.clone();
            if let Some(answer) = execute_to_the_end(app, *order, recording).await? {
                return Ok(answer);
            }
            fiat_in_id
        }
    };
    Ok(wait_for_answer(app, claim, fiat_in_id).await?)
}

/// What a one-time token may be bound to.
pub(super) fn bound(ask: &FiatInAsk) -> Bound {
    let money = token::Money { amount: ask.money.amount, currency: ask.money.currency.code().to_owned() };
    Bound { money: Some(money), entity_id: Some(ask.entity_id.clone()) }
}

/// Transaction A: together with the orders that wait, or alone.
async fn record_now(app: &App, recording: &Arc<Recording>) -> Result<Recorded, Failure> {
    // The planted mistake is in the way an order takes alone.
    if !is_planted("read_then_write")
        && let Some(made) = app.orders.submit(Arc::clone(recording)).await?
    {
        return Ok(made?);
    }
    let recording = Arc::clone(recording);
    let alone = app.db.write_or_undo(move |tx| {
        let recording = Arc::clone(&recording);
        Box::pin(async move { record(tx, &recording).await })
    });
    Ok(alone.await??)
}

/// The read of the planted mistake that consumes a token by reading first: what an earlier request with the same token
/// or key left, as a transaction of its own saw it.
async fn seen_before(app: &App, attempt: &Attempt) -> Result<Option<StoredAnswer>, Failure> {
    let claim = attempt.claim();
    let found = app.db.read(move |tx| Box::pin(async move { find_answer_of(tx, &claim).await })).await?;
    Ok(found)
}

/// In a task of its own: a caller that hangs up does not leave its charge half done.
async fn execute_to_the_end(
    app: &App,
    order: FiatIn,
    recording: Arc<Recording>,
) -> Result<Option<StoredAnswer>, Fault> {
    let app = app.clone();
    let executed = tokio::spawn(async move {
        let charge = recording.charge(&order).first_attempt();
        execute_taken(&app, order, charge, (&recording.holder, recording.due_at_ms)).await
    });
    executed.await.map_err(while_doing("execute a charge"))?
}

/// Whose order it is. A client names a customer of its own partner.
async fn subject(app: &App, attempt: &Attempt, ask: &FiatInAsk) -> Result<String, Failure> {
    let caller = attempt.caller();
    if let Some(sub) = caller.own_sub() {
        return Ok(sub.to_owned());
    }
    let Some(customer_id) = ask.customer.clone() else {
        let detail = "a client says for which customer it orders";
        return Err(Refusal::unprocessable("customer_required", "/customer", detail).into());
    };
    let partner_id = caller.partner_id.clone();
    let found = app
        .db
        .read(move |tx| Box::pin(async move { customers::find(tx, &partner_id, &customer_id).await }))
        .await?;
    found.map(|customer| customer.sub).ok_or_else(|| Refusal::not_found("customer").into())
}

/// Personal data is sealed before the transaction: it draws nonces, and the unit may run twice.
fn seal(app: &App, attempt: &Attempt, sub: &str, ask: &FiatInAsk) -> Result<Option<SealedPii>, Fault> {
    let Some(pii) = &ask.pii else { return Ok(None) };
    app.vault.seal(&attempt.caller().partner_id, sub, pii, &*app.platform.entropy).map(Some)
}

/// The first request's answer. When it does not come, the order is told as it stands, and that is from
/// then on the answer: a caller that repeats never gets two different ones.
async fn wait_for_answer(app: &App, claim: ClaimRef, fiat_in_id: String) -> Result<StoredAnswer, Fault> {
    let look = async {
        let mut pause = LOOK_FIRST;
        loop {
            let claim = claim.clone();
            let found =
                app.db.read(move |tx| Box::pin(async move { find_answer_of(tx, &claim).await })).await?;
            if let Some(answer) = found {
                return Ok(answer);
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LOOK_LONGEST);
        }
    };
    match tokio::time::timeout(REPEAT_WAIT, look).await {
        Ok(found) => found,
        Err(_elapsed) => settle_for_now(app, fiat_in_id).await,
    }
}

/// Records the order as it stands as the answer, unless one came at the last moment.
async fn settle_for_now(app: &App, fiat_in_id: String) -> Result<StoredAnswer, Fault> {
    app.db
        .write(move |tx| {
            let id = fiat_in_id.clone();
            Box::pin(async move {
                let gone = || Fault::new("answer a repeat: its order is gone");
                let claim = find_claim(tx, &id).await?.ok_or_else(gone)?;
                let order: FiatIn = find_any_fiat_in(tx, &id).await?.ok_or_else(gone)?;
                let told = answer(&order)?;
                settle::record(tx, &claim, told).await
            })
        })
        .await
        .map_err(while_doing("answer a repeat"))
}
