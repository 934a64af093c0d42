//! What the sandbox's events are about, and how they are written down.

use serde_json::{Value, json};

use super::disputes::Contested;
use super::events::{EventStep, EventTarget, Lie};
use super::record::{Collected, Outcome};
use super::refunds::{RefundOutcome, Returned};

/// What an event is about.
#[derive(Debug, Clone)]
pub(super) enum Subject {
    /// A charge as it is recorded.
    Charge(Collected),
    /// A refund as it is recorded.
    Refund(Returned),
    /// A turn of a dispute.
    Dispute(Contested),
}

impl Subject {
    /// What events about it are numbered by.
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Charge(charge) => &charge.reference,
            Self::Refund(refund) => &refund.reference,
            Self::Dispute(dispute) => &dispute.id,
        }
    }

    /// What is told of it, unless the step says otherwise.
    pub(super) fn status(&self) -> &'static str {
        match self {
            Self::Charge(charge) => match charge.outcome {
                Outcome::Captured => "captured",
                Outcome::Authorized => "authorized",
                Outcome::RequiresAction { .. } => "requires_action",
                Outcome::Voided => "voided",
                Outcome::Declined { .. } => "declined",
            },
            Self::Refund(refund) => match refund.outcome {
                RefundOutcome::Succeeded => "succeeded",
                RefundOutcome::Declined { .. } => "failed",
            },
            Self::Dispute(dispute) => dispute.turn.as_str(),
        }
    }

    fn decline_code(&self) -> Option<&str> {
        match self {
            Self::Charge(Collected { outcome: Outcome::Declined { decline_code }, .. })
            | Self::Refund(Returned { outcome: RefundOutcome::Declined { decline_code }, .. }) => {
                Some(decline_code)
            }
            _ => None,
        }
    }

    /// The body of an event about it.
    pub(super) fn body(&self, target: &EventTarget, step: &EventStep) -> Value {
        let status = step.status.as_deref().unwrap_or(self.status());
        let lies = |lie| step.lie == Some(lie);
        let other = |text: &str, lie| if lies(lie) { format!("{text}x") } else { text.to_owned() };
        let (about, id, amount, currency) = match self {
            Self::Charge(charge) => ("charge", &charge.id, charge.amount, &charge.currency),
            Self::Refund(refund) => ("refund", &refund.id, refund.amount, &refund.currency),
            Self::Dispute(dispute) => ("dispute", &dispute.id, dispute.amount, &dispute.currency),
        };
        let mut data = json!({
            "id": other(id, Lie::ProviderRef),
            "amount": amount - i64::from(lies(Lie::Amount)),
            "currency": if lies(Lie::Currency) { "XAF" } else { currency.as_str() },
        });
        match self {
            Self::Charge(charge) => data["reference"] = other(&charge.reference, Lie::Reference).into(),
            Self::Refund(refund) => {
                data["reference"] = other(&refund.reference, Lie::Reference).into();
                data["charge"] = other(&refund.charge, Lie::Charge).into();
            }
            Self::Dispute(dispute) => data["charge"] = other(&dispute.charge, Lie::Charge).into(),
        }
        if about != "dispute" {
            data["status"] = status.into();
            data["decline_code"] = self.decline_code().into();
        }
        json!({
            "type": format!("{about}.{status}"),
            "merchant": other(&target.merchant, Lie::Merchant),
            "created_at": target.clock.now().0,
            "data": data,
        })
    }
}
