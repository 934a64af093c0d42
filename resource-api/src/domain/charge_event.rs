//! What a gateway tells of a charge by itself, and what that means for a charge as it stands.
//!
//! An event may come before the answer to our own call, many times, late, or in another order than it happened. So
//! nothing is taken back for it: each word has a rank, and a charge only climbs.

use super::charge::ChargeState;
use super::customer::words;

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
pub enum Meaning {
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
pub fn meaning(state: ChargeState, told: Told) -> Meaning {
    use ChargeState as S;
    match (state, told) {
        // It never left this house.
        (S::Ready, _) => Meaning::Park("not_sent"),
        _ if state.as_str() == told.as_str() => Meaning::Ignore(KNOWN),
        // Also money after a definite no: it is booked, but not for the order, which has ended.
        (S::Declined | S::Voided, Told::Captured) => Meaning::Settle,
        _ if state.is_final() => Meaning::Ignore(STALE),
        (_, Told::Authorized | Told::Captured | Told::Declined | Told::Voided) => Meaning::Settle,
        // Our own call is under way, or its lease ends soon.
        (S::Submitting, _) => Meaning::Ignore("under_way"),
        (S::Authorized | S::RequiresAction, _) => Meaning::Ignore(STALE),
        _ => Meaning::Look,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_never_taken_back() {
        for end in [ChargeState::Captured, ChargeState::Declined, ChargeState::Voided] {
            for told in Told::ALL.iter().copied() {
                let late = end != ChargeState::Captured && told == Told::Captured;
                assert_eq!(meaning(end, told) == Meaning::Settle, late, "{end:?} {told:?}");
                assert_ne!(meaning(end, told), Meaning::Look, "{end:?} {told:?}");
            }
        }
    }

    #[test]
    fn a_no_after_the_money_is_stale() {
        assert_eq!(meaning(ChargeState::Captured, Told::Declined), Meaning::Ignore(STALE));
    }

    #[test]
    fn a_definite_word_settles_whatever_is_open_and_was_sent() {
        use ChargeState as S;
        for open in [S::Submitting, S::Unknown, S::Manual, S::RequiresAction, S::Authorized] {
            for told in [Told::Captured, Told::Declined, Told::Voided] {
                assert_eq!(meaning(open, told), Meaning::Settle, "{open:?} {told:?}");
            }
        }
        assert_eq!(meaning(S::Ready, Told::Captured), Meaning::Park("not_sent"));
    }

    #[test]
    fn an_indefinite_word_only_brings_the_next_look_forward_and_never_goes_back() {
        use ChargeState as S;
        assert_eq!(meaning(S::Unknown, Told::Pending), Meaning::Look);
        assert_eq!(meaning(S::Manual, Told::RequiresAction), Meaning::Look);
        assert_eq!(meaning(S::RequiresAction, Told::Pending), Meaning::Ignore(STALE));
        assert_eq!(meaning(S::Authorized, Told::RequiresAction), Meaning::Ignore(STALE));
        assert_eq!(meaning(S::Submitting, Told::Pending), Meaning::Ignore("under_way"));
        assert_eq!(meaning(S::Unknown, Told::Authorized), Meaning::Settle);
    }
}
