//! A charge: the collection of an order's money at the payment gateway. States, and what is told of them.

use super::customer::words;

words! {
    /// Where a charge stands at the gateway.
    ChargeState {
        /// Written, not yet sent.
        Ready = "ready",
        /// Being sent by the holder of the lease.
        Submitting = "submitting",
        /// The gateway waits for the payer (3-D Secure).
        RequiresAction = "requires_action",
        /// Reserved at the payer's bank, not yet collected.
        Authorized = "authorized",
        /// Sent; what became of it is not known and being found out.
        Unknown = "unknown",
        /// Not found out within the time given: a person has to look.
        Manual = "manual",
        /// Collected.
        Captured = "captured",
        /// Definitely not collected.
        Declined = "declined",
        /// Given up before anything was collected.
        Voided = "voided",
    }
}

impl ChargeState {
    /// Whether nothing follows: a state like this is written once and never overwritten.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Captured | Self::Declined | Self::Voided)
    }
}

words! {
    /// How something was heard of a charge.
    Channel {
        /// The answer to our call that asks for the money.
        Charge = "charge",
        /// The answer to our call that collects what was authorized.
        Capture = "capture",
        /// The answer to our call that gives the charge up.
        Void = "void",
        /// The answer to our look by our own reference.
        Probe = "probe",
        /// An event that the gateway sent.
        Event = "event",
        /// A person who looked at the gateway's record.
        Person = "person",
    }
}

/// What is told of a charge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChargeView {
    /// `chg_…`, the gateway's idempotency key.
    pub charge_id: String,
    /// Where it stands.
    pub state: ChargeState,
    /// The gateway's reason of a decline.
    pub decline_code: Option<String>,
    /// How final the decline is for the instrument.
    pub decline_category: Option<String>,
    /// Where the payer proves to the bank who they are, while the gateway waits for that.
    pub action_url: Option<String>,
}

impl ChargeView {
    /// A charge in a state, of which nothing else is known.
    pub fn new(charge_id: &str, state: ChargeState) -> Self {
        Self {
            charge_id: charge_id.to_owned(),
            state,
            decline_code: None,
            decline_category: None,
            action_url: None,
        }
    }
}
