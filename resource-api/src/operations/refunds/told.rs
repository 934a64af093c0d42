//! What a gateway tells of a refund by itself, and how any such telling ends.

use chassis::{Fault, Tx};
use keys::UnixSeconds;

use super::settle::{SettleIds, Verdict, settle_in};
use crate::domain::telling::RefundWord;
use crate::gateway::{RefundAnswer, RefundOrder};
use crate::store::refunds::{find_any_refund, find_refund_end};

/// What became of a telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToldVerdict {
    /// It is written down.
    Done,
    /// It was told before, or it is not definite: nothing was done.
    Repeated,
    /// It does not fit what we know; nothing was done, and it may fit later or needs a person. A code.
    Unfit(&'static str),
}

/// What a gateway told of a refund.
#[derive(Debug, Clone)]
pub struct RefundTold {
    /// The refund, charge and money as the gateway names them.
    pub order: RefundOrder,
    /// What became of it.
    pub said: RefundAnswer,
    /// Ids for what is written.
    pub ids: SettleIds,
    /// When.
    pub now: UnixSeconds,
}

/// Writes down what the gateway told of a refund without being asked, as the answer to a call of our own would be.
///
/// # Errors
/// The store's fault.
pub async fn refund_told(tx: &mut Tx, told: &RefundTold) -> Result<ToldVerdict, Fault> {
    let Some(refund) = find_any_refund(tx, &told.order.refund_id).await? else {
        return Ok(ToldVerdict::Unfit("unknown_reference"));
    };
    if refund.charge_id != told.order.charge_id {
        return Ok(ToldVerdict::Unfit("other_charge"));
    }
    if refund.money.currency.code() != told.order.money.currency {
        return Ok(ToldVerdict::Unfit("wrong_currency"));
    }
    if refund.money.amount != told.order.money.amount {
        return Ok(ToldVerdict::Unfit("wrong_amount"));
    }
    if matches!(told.said, RefundAnswer::Unknown(_)) {
        return Ok(ToldVerdict::Repeated);
    }
    if !refund.state.is_final() {
        let verdict = Verdict {
            refund_id: refund.refund_id,
            answer: told.said.clone(),
            park: None,
            ids: told.ids.clone(),
            now: told.now,
        };
        if settle_in(tx, &verdict).await?.ended {
            return Ok(ToldVerdict::Done);
        }
    }
    against_end(tx, told).await
}

/// What is to be said of a telling about a refund that has its end. Another end is money that is now in two places or
/// in none, and a second payment under our reference is money twice: a person has to look.
async fn against_end(tx: &mut Tx, told: &RefundTold) -> Result<ToldVerdict, Fault> {
    let end = find_refund_end(tx, &told.order.refund_id).await?;
    let (state, known) = end.ok_or_else(|| Fault::new("write what was told of a refund: its row is gone"))?;
    let (word, provider_ref) = match &told.said {
        RefundAnswer::Succeeded { provider_ref } => (RefundWord::Succeeded, Some(provider_ref)),
        RefundAnswer::Declined { provider_ref, .. } => (RefundWord::Failed, provider_ref.as_ref()),
        RefundAnswer::Unknown(_) => (RefundWord::Pending, None),
    };
    if word.contradicts(state) {
        return Ok(ToldVerdict::Unfit("ended_otherwise"));
    }
    let other = known.zip(provider_ref).is_some_and(|(known, told)| known != *told);
    Ok(if other { ToldVerdict::Unfit("other_refund_at_gateway") } else { ToldVerdict::Repeated })
}
