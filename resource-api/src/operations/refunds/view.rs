//! How a refund looks on the wire.

use chassis::claim::StoredAnswer;
use chassis::{Fault, while_doing};
use serde::Serialize;
use utoipa::ToSchema;

use super::super::views::MoneyView;
use crate::domain::refund::Refund;
use crate::store::refund_resolutions::RefundResolution;

/// A refund.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct RefundView {
    /// `rfd_…`
    pub id: String,
    /// The order that is given back.
    pub fiat_in_id: String,
    /// The charge that collected it.
    pub charge_id: String,
    /// `held`, `submitting`, `unknown`, `manual`, `succeeded` or `failed`.
    pub state: &'static str,
    /// `requested`, or `automatic` for money that came after its order had ended.
    pub kind: &'static str,
    /// How much.
    pub money: MoneyView,
    /// Why it was asked for.
    pub reason: String,
    /// Why the gateway declined it.
    pub decline_code: Option<String>,
    /// The client that asked.
    pub requested_by: Option<String>,
    /// Unix seconds.
    pub created_at: i64,
    /// Unix seconds; `null` while it is open.
    pub settled_at: Option<i64>,
    /// How a person settled it; only where one refund is read, and only if a person did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolution: Option<ResolutionView>,
}

/// How a person settled a refund that could not be found out.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ResolutionView {
    /// `succeeded` or `failed`.
    pub outcome: String,
    /// What it rests on.
    pub evidence: String,
    /// The client that settled it.
    pub resolved_by: String,
    /// Unix seconds.
    pub resolved_at: i64,
}

impl RefundView {
    /// The same, with how a person settled it.
    pub(crate) fn resolved(self, resolution: Option<RefundResolution>) -> Self {
        let resolution = resolution.map(|kept| ResolutionView {
            outcome: kept.outcome,
            evidence: kept.evidence,
            resolved_by: kept.resolved_by,
            resolved_at: kept.resolved_at_s,
        });
        Self { resolution, ..self }
    }
}

impl From<&Refund> for RefundView {
    fn from(refund: &Refund) -> Self {
        Self {
            id: refund.refund_id.clone(),
            fiat_in_id: refund.fiat_in_id.clone(),
            charge_id: refund.charge_id.clone(),
            state: refund.state.as_str(),
            kind: refund.kind.as_str(),
            money: MoneyView {
                amount: refund.money.amount,
                currency: refund.money.currency.code().to_owned(),
            },
            reason: refund.reason.clone(),
            decline_code: refund.decline_code.clone(),
            requested_by: refund.requested_by.clone(),
            created_at: refund.created_at.0,
            settled_at: refund.settled_at.map(|moment| moment.0),
            resolution: None,
        }
    }
}

/// The answer that tells a refund as it stands: 201 when it has ended, 202 while it is open.
///
/// # Errors
/// A fault when the view cannot be written as JSON.
pub(super) fn answer(refund: &Refund) -> Result<StoredAnswer, Fault> {
    let body = serde_json::to_string(&RefundView::from(refund));
    let body = body.map_err(while_doing("write the view of a refund"))?;
    Ok(StoredAnswer { status: if refund.state.is_final() { 201 } else { 202 }, body })
}
