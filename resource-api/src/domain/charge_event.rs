//! What a gateway tells of a charge by itself, and what that means for a charge as it stands.
//!
//! An event may come before the answer to our own call, many times, late, or in another order than it happened. So
//! nothing is taken back for it: each word has a rank, and a charge only climbs.

use super::customer::words;
use super::fiat_in::ChargeState;

words! {
    /// Where a charge stands, in the words of an event.
    Told {
        /// Under way; nothing definite.
        Pending = "pending",
        /// The payer has to do something.
        RequiresAction = "requires_action",
        /// Reserved, not collected.
        Authorized = "authorized",
        /// Collected.
        Captured = "captured",
        /// Definitely not collected, with a code that the adapter knows as definite.
        Declined = "declined",
        /// Given up before anything was collected.
        Voided = "voided",
    }
}

words! {
    /// Where an event stands.
    EventState {
        /// Stored, to be applied.
        Received = "received",
        /// It changed something.
        Applied = "applied",
        /// It told nothing new.
        Ignored = "ignored",
        /// It does not fit what we know: a person has to look.
        Parked = "parked",
    }
}

/// What is to be done about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// Write it down as the charge's end, as an answer to a call of our own would be.
    Settle,
    /// Nothing definite: ask the gateway now instead of later.
    Look,
    /// Leave it, for this reason.
    Ignore(&'static str),
    /// Leave it to a person, for this reason.
    Park(&'static str),
}

/// The charge has the very end that the event tells.
pub const KNOWN: &str = "known";
/// The charge is further than the event.
pub const STALE: &str = "stale";

/// What an event means for a charge in this state.
pub fn effect(state: ChargeState, told: Told) -> Effect {
    use ChargeState as S;
    match (state, told) {
        // It never left this house.
        (S::Ready, _) => Effect::Park("not_sent"),
        (S::Captured, Told::Captured) | (S::Declined, Told::Declined) | (S::Voided, Told::Voided) => {
            Effect::Ignore(KNOWN)
        }
        // Money after a definite no: somebody was told wrong.
        (S::Declined | S::Voided, Told::Captured) => Effect::Park("contradicts_end"),
        (S::Captured | S::Declined | S::Voided, _) => Effect::Ignore(STALE),
        (_, Told::Captured | Told::Declined | Told::Voided) => Effect::Settle,
        // Our own call is under way, or its lease ends soon.
        (S::Submitting, _) => Effect::Ignore("under_way"),
        (S::Authorized, Told::Pending | Told::RequiresAction) | (S::RequiresAction, Told::Pending) => {
            Effect::Ignore(STALE)
        }
        (S::Authorized, Told::Authorized) | (S::RequiresAction, Told::RequiresAction) => {
            Effect::Ignore(KNOWN)
        }
        (S::Unknown | S::Manual | S::RequiresAction, _) => Effect::Look,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_never_taken_back() {
        for end in [ChargeState::Captured, ChargeState::Declined, ChargeState::Voided] {
            for told in Told::ALL {
                assert!(!matches!(effect(end, told), Effect::Settle | Effect::Look), "{end:?} {told:?}");
            }
        }
    }

    #[test]
    fn money_after_a_definite_no_is_left_to_a_person() {
        for end in [ChargeState::Declined, ChargeState::Voided] {
            assert_eq!(effect(end, Told::Captured), Effect::Park("contradicts_end"));
        }
        assert_eq!(effect(ChargeState::Captured, Told::Declined), Effect::Ignore(STALE));
    }

    #[test]
    fn a_definite_word_settles_whatever_is_open_and_was_sent() {
        use ChargeState as S;
        for open in [S::Submitting, S::Unknown, S::Manual, S::RequiresAction, S::Authorized] {
            for told in [Told::Captured, Told::Declined, Told::Voided] {
                assert_eq!(effect(open, told), Effect::Settle, "{open:?} {told:?}");
            }
        }
        assert_eq!(effect(S::Ready, Told::Captured), Effect::Park("not_sent"));
    }

    #[test]
    fn an_indefinite_word_only_brings_the_next_look_forward_and_never_goes_back() {
        use ChargeState as S;
        assert_eq!(effect(S::Unknown, Told::Pending), Effect::Look);
        assert_eq!(effect(S::Manual, Told::Authorized), Effect::Look);
        assert_eq!(effect(S::RequiresAction, Told::Authorized), Effect::Look);
        assert_eq!(effect(S::RequiresAction, Told::Pending), Effect::Ignore(STALE));
        assert_eq!(effect(S::Authorized, Told::RequiresAction), Effect::Ignore(STALE));
        assert_eq!(effect(S::Submitting, Told::Authorized), Effect::Ignore("under_way"));
    }
}
