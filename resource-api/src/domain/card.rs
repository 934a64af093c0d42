//! Card numbers in memory: read, checked, handed to the gateway port, wiped. Nothing here is ever
//! hashed, logged or stored; what stays of a card is [`Instrument`].

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// A card as a partner's form sends it. `Debug` shows none of it; memory is wiped on drop.
#[derive(Clone)]
pub struct Card {
    number: SecretString,
    cvc: Option<SecretString>,
    /// Month of expiry, 1 to 12.
    pub exp_month: u8,
    /// Year of expiry, four digits.
    pub exp_year: u16,
}

impl fmt::Debug for Card {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Card(..)")
    }
}

/// What is wrong with a card; the texts are machine codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCard {
    /// Not 12 to 19 digits, or the check digit is wrong (ISO/IEC 7812-1).
    #[error("invalid_number")]
    Number,
    /// Not three or four digits.
    #[error("invalid_cvc")]
    Cvc,
    /// Not a month of a four-digit year.
    #[error("invalid_expiry")]
    Expiry,
}

impl Card {
    /// Checks shape and check digit.
    ///
    /// # Errors
    /// [`BadCard`] names the member; the card's values are in no error.
    pub fn new(number: String, cvc: Option<String>, exp_month: u8, exp_year: u16) -> Result<Self, BadCard> {
        if !is_card_number(&number) {
            return Err(BadCard::Number);
        }
        let cvc_fits = |cvc: &String| (3..=4).contains(&cvc.len()) && cvc.bytes().all(|b| b.is_ascii_digit());
        if !cvc.as_ref().is_none_or(cvc_fits) {
            return Err(BadCard::Cvc);
        }
        if !(1..=12).contains(&exp_month) || !(2000..=2199).contains(&exp_year) {
            return Err(BadCard::Expiry);
        }
        Ok(Self { number: number.into(), cvc: cvc.map(Into::into), exp_month, exp_year })
    }

    /// The primary account number, for the gateway's tokeniser only.
    pub fn number(&self) -> &str {
        self.number.expose_secret()
    }

    /// The card verification code, for the gateway's tokeniser only.
    pub fn cvc(&self) -> Option<&str> {
        self.cvc.as_ref().map(ExposeSecret::expose_secret)
    }

    /// The request body with number and code blanked out, byte for byte otherwise, so that a
    /// fingerprint can be taken over it. `None` when the body writes the digits with escapes.
    pub fn blank_out(&self, body: &[u8]) -> Option<Vec<u8>> {
        let quoted = format!("\"{}\"", self.number());
        body.windows(quoted.len()).position(|window| window == quoted.as_bytes())?;
        let blanked = blank(body, self.number().as_bytes())?;
        match self.cvc() {
            Some(cvc) => blank(&blanked, format!("\"{cvc}\"").as_bytes()),
            None => Some(blanked),
        }
    }
}

/// Replaces every occurrence of `secret` by as many asterisks; `None` when there is none.
fn blank(body: &[u8], secret: &[u8]) -> Option<Vec<u8>> {
    let mut out = body.to_vec();
    let mut found = false;
    let mut at = 0;
    while at + secret.len() <= out.len() {
        if &out[at..at + secret.len()] == secret {
            out[at..at + secret.len()].fill(b'*');
            found = true;
            at += secret.len();
        } else {
            at += 1;
        }
    }
    found.then_some(out)
}

/// Whether a text is a card number: 12 to 19 digits with a right Luhn digit. Also used to refuse a
/// card number where a gateway token belongs.
pub fn is_card_number(text: &str) -> bool {
    if !(12..=19).contains(&text.len()) || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return false;
    }
    let sum: u32 = text
        .bytes()
        .rev()
        .enumerate()
        .map(|(index, byte)| {
            let digit = u32::from(byte - b'0');
            match (index % 2, digit * 2) {
                (0, _) => digit,
                (_, doubled) if doubled > 9 => doubled - 9,
                (_, doubled) => doubled,
            }
        })
        .sum();
    sum.is_multiple_of(10)
}

/// A payment instrument after tokenisation: all that is stored of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instrument {
    /// The gateway's token.
    pub token: String,
    /// Card brand, when the gateway told it.
    pub brand: Option<String>,
    /// Last four digits, when the gateway told them.
    pub last4: Option<String>,
    /// The gateway's stable name for the same card, kept in memory for the request's fingerprint only.
    pub fingerprint: Option<String>,
    /// Country of issue, ISO 3166-1 alpha-2, when the gateway told it.
    pub country: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn card() -> Card {
        Card::new("4242424242424242".to_owned(), Some("123".to_owned()), 12, 2030).unwrap()
    }

    #[test]
    fn a_wrong_check_digit_or_length_is_no_card_number() {
        assert!(is_card_number("4242424242424242"));
        assert!(is_card_number("378282246310005"));
        for text in [
            "4242424242424241",
            "4242 4242 4242 4242",
            "42424242424",
            "",
            "tok_success",
            "42424242424242424242",
        ] {
            assert!(!is_card_number(text), "{text}");
        }
    }

    #[test]
    fn each_member_of_a_card_is_checked() {
        let number = || "4242424242424242".to_owned();
        assert_eq!(Card::new("1234".to_owned(), None, 1, 2030).unwrap_err(), BadCard::Number);
        assert_eq!(Card::new(number(), Some("12".to_owned()), 1, 2030).unwrap_err(), BadCard::Cvc);
        assert_eq!(Card::new(number(), None, 13, 2030).unwrap_err(), BadCard::Expiry);
        assert_eq!(Card::new(number(), None, 1, 30).unwrap_err(), BadCard::Expiry);
    }

    #[test]
    fn debug_shows_nothing_of_a_card() {
        assert_eq!(format!("{:?}", card()), "Card(..)");
    }

    #[test]
    fn number_and_code_are_blanked_and_the_rest_stays() {
        let body = br#"{"number":"4242424242424242","cvc":"123","amount":1234}"#;
        let blanked = card().blank_out(body).unwrap();
        assert_eq!(blanked, br#"{"number":"****************","cvc":*****,"amount":1234}"#);
    }

    #[test]
    fn escaped_digits_are_not_accepted() {
        assert_eq!(card().blank_out(br#"{"number":"\u0034242424242424242","cvc":"123"}"#), None);
    }
}
