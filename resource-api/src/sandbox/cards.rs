//! The cards the sandbox knows. Any other number is refused: a real one has no business here.

use std::collections::HashMap;

/// What tokenisation tells of a card.
#[derive(Debug, Clone, Copy)]
pub(super) struct KnownCard {
    number: &'static str,
    /// Token given for it; always the same, which is also what makes it recognisable.
    pub(super) token: &'static str,
    pub(super) brand: &'static str,
    pub(super) country: &'static str,
}

const CARDS: [KnownCard; 6] = [
    KnownCard { number: "4242424242424242", token: "tok_card_visa", brand: "visa", country: "US" },
    KnownCard {
        number: "5555555555554444",
        token: "tok_card_mastercard",
        brand: "mastercard",
        country: "US",
    },
    KnownCard { number: "4000000000000002", token: "tok_card_decline", brand: "visa", country: "US" },
    KnownCard {
        number: "4000000000009995",
        token: "tok_card_insufficient_funds",
        brand: "visa",
        country: "US",
    },
    KnownCard { number: "4000000000003220", token: "tok_card_requires_action", brand: "visa", country: "US" },
    KnownCard { number: "4000003640000002", token: "tok_card_blocked_country", brand: "visa", country: "IR" },
];

/// Finds a card by its number.
pub(super) fn find(number: &str) -> Option<KnownCard> {
    let by_number: HashMap<_, _> = CARDS.iter().map(|card| (card.number, *card)).collect();
    by_number.get(number).copied()
}

impl KnownCard {
    /// The last four digits.
    pub(super) fn last4(&self) -> &'static str {
        &self.number[self.number.len() - 4..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_card_tells_its_last_four_digits_and_an_unknown_one_nothing() {
        assert_eq!(find("4000000000009995").map(|card| card.last4()), Some("9995"));
        assert!(find("4111111111111111").is_none());
    }

    #[test]
    fn every_card_has_a_right_check_digit() {
        for card in CARDS {
            assert!(crate::domain::card::is_card_number(card.number), "{}", card.token);
        }
    }
}
