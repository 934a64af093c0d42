//! What an event of a gateway tells, by what it is about: a charge, a refund or a dispute.

use super::charge_event::Told;
use super::customer::{UnknownWord, words};
use super::refund::{DisputeTurn, RefundState};

words! {
    /// What an event is about.
    About {
        /// A charge of ours.
        Charge = "charge",
        /// A refund of ours.
        Refund = "refund",
        /// A dispute, which the payer's bank began.
        Dispute = "dispute",
    }
}

words! {
    /// Where a refund stands, in the words of an event.
    RefundWord {
        /// The payer has the money.
        Succeeded = "succeeded",
        /// Definitely not returned, with a code that the adapter knows as definite.
        Failed = "failed",
        /// Under way; nothing definite.
        Pending = "pending",
    }
}

impl RefundWord {
    /// Whether it tells another end than the one that a refund in this state has.
    pub fn contradicts(self, state: RefundState) -> bool {
        matches!(
            (state, self),
            (RefundState::Succeeded, Self::Failed) | (RefundState::Failed, Self::Succeeded)
        )
    }
}

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// Where a charge stands.
    Charge(Told),
    /// Where a refund stands.
    Refund(RefundWord),
    /// What turn a dispute took.
    Dispute(DisputeTurn),
}

impl Telling {
    /// Reads what was stored.
    ///
    /// # Errors
    /// A word that this version does not know.
    pub fn stored(about: &str, told: &str) -> Result<Self, UnknownWord> {
        Ok(match about.parse()? {
            About::Charge => Self::Charge(told.parse()?),
            About::Refund => Self::Refund(told.parse()?),
            About::Dispute => Self::Dispute(told.parse()?),
        })
    }

    /// What it is about.
    pub fn about(self) -> About {
        match self {
            Self::Charge(_) => About::Charge,
            Self::Refund(_) => About::Refund,
            Self::Dispute(_) => About::Dispute,
        }
    }

    /// The word that is stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Charge(told) => told.as_str(),
            Self::Refund(word) => word.as_str(),
            Self::Dispute(turn) => turn.as_str(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_telling_is_read_back_as_it_was_stored() {
        let charges = Told::ALL.iter().copied().map(Telling::Charge);
        let refunds = RefundWord::ALL.iter().copied().map(Telling::Refund);
        let disputes = DisputeTurn::ALL.iter().copied().map(Telling::Dispute);
        for telling in charges.chain(refunds).chain(disputes) {
            assert_eq!(Telling::stored(telling.about().as_str(), telling.as_str()), Ok(telling));
        }
        assert!(Telling::stored("dispute", "captured").is_err());
        assert!(Telling::stored("payout", "pending").is_err());
    }

    #[test]
    fn only_the_other_end_contradicts_an_end() {
        assert!(RefundWord::Failed.contradicts(RefundState::Succeeded));
        assert!(RefundWord::Succeeded.contradicts(RefundState::Failed));
        for state in [RefundState::Held, RefundState::Submitting, RefundState::Unknown, RefundState::Manual] {
            assert!(RefundWord::ALL.iter().all(|word| !word.contradicts(state)), "{state:?}");
        }
        assert!(!RefundWord::Pending.contradicts(RefundState::Succeeded));
        assert!(!RefundWord::Succeeded.contradicts(RefundState::Succeeded));
    }
}
