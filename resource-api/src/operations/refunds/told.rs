//! What a gateway tells of a refund by itself, and how any such telling ends.

use chassis::{Fault, Tx};
use keys::UnixSeconds;

use super::settle::{SettleIds, Verdict, settle_in};
use crate::gateway::{RefundAnswer, RefundOrder};
use crate::store::refunds::find_any_refund;

/// What became of a telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToldVerdict {
    /// It is written down.
    Done,
    /// It was told before, it came after the end, or it is not definite: nothing was done.
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
    if refund.state.is_final() || matches!(told.said, RefundAnswer::Unknown(_)) {
        return Ok(ToldVerdict::Repeated);
    }
    let verdict = Verdict {
        refund_id: refund.refund_id,
        answer: told.said.clone(),
        park: None,
        ids: told.ids.clone(),
        now: told.now,
    };
    settle_in(tx, &verdict).await?;
    Ok(ToldVerdict::Done)
}
