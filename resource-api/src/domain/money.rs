//! Money: integer minor units and an ISO 4217 currency. Nothing here knows a fraction.

use std::str::FromStr;

use super::refusal::Refusal;

/// The largest amount on the wire: every JSON reader holds it exactly.
pub const AMOUNT_MAX: i64 = (1 << 53) - 1;

/// An ISO 4217 currency that has minor units (so neither a metal nor a test code).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency(iso_currency::Currency);

/// The text is not the upper-case code of a currency money is kept in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a currency code")]
pub struct BadCurrency;

impl Currency {
    /// The three upper-case letters.
    pub fn code(self) -> &'static str {
        self.0.code()
    }

    /// Digits after the decimal point (JPY 0, EUR 2, KWD 3).
    pub fn exponent(self) -> u16 {
        self.0.exponent().unwrap_or_default()
    }
}

impl FromStr for Currency {
    type Err = BadCurrency;

    fn from_str(text: &str) -> Result<Self, BadCurrency> {
        let found = iso_currency::Currency::from_code(text).ok_or(BadCurrency)?;
        // `XTS` is for tests and `XXX` says "none"; metals and units of account have no exponent.
        let held = found.code() == text && !["XTS", "XXX"].contains(&text) && found.exponent().is_some();
        if held { Ok(Self(found)) } else { Err(BadCurrency) }
    }
}

/// An amount above zero in minor units of a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Money {
    /// Minor units, 1 to [`AMOUNT_MAX`].
    pub amount: i64,
    /// The currency the amount counts.
    pub currency: Currency,
}

impl Money {
    /// Checks what a caller sent; `pointer` is where it stood (for example `/money`).
    ///
    /// # Errors
    /// 422 `amount_not_positive`, `amount_too_large` or `unknown_currency`, with the member's pointer.
    pub fn checked(amount: i64, currency: &str, pointer: &str) -> Result<Self, Refusal> {
        let at = |member: &str| format!("{pointer}/{member}");
        if amount <= 0 {
            let detail = "an amount is at least one minor unit";
            return Err(Refusal::unprocessable("amount_not_positive", &at("amount"), detail));
        }
        if amount > AMOUNT_MAX {
            let detail = "an amount is at most 2^53 - 1 minor units";
            return Err(Refusal::unprocessable("amount_too_large", &at("amount"), detail));
        }
        let currency = currency.parse().map_err(|BadCurrency| {
            let detail = "not an upper-case ISO 4217 code of a currency with minor units";
            Refusal::unprocessable("unknown_currency", &at("currency"), detail)
        })?;
        Ok(Self { amount, currency })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn currencies_of_every_exponent_are_known_by_their_upper_case_code() {
        for (code, exponent) in [("JPY", 0), ("EUR", 2), ("USD", 2), ("KWD", 3)] {
            let currency: Currency = code.parse().unwrap();
            assert_eq!((currency.code(), currency.exponent()), (code, exponent));
        }
        for bad in ["eur", "Eur", "EU", "EURO", "", "XXX", "XTS", "XAU", "ZZZ", " EUR"] {
            assert!(bad.parse::<Currency>().is_err(), "{bad}");
        }
    }

    #[test]
    fn an_amount_is_between_one_and_two_to_the_fifty_third() {
        for (amount, code) in
            [(0, "amount_not_positive"), (-5, "amount_not_positive"), (AMOUNT_MAX + 1, "amount_too_large")]
        {
            let refusal = Money::checked(amount, "EUR", "/money").unwrap_err();
            assert_eq!((refusal.code, refusal.fields[0].pointer.as_str()), (code, "/money/amount"));
        }
        assert_eq!(Money::checked(AMOUNT_MAX, "EUR", "/money").unwrap().amount, AMOUNT_MAX);
        assert_eq!(Money::checked(1, "EURO", "/money").unwrap_err().fields[0].pointer, "/money/currency");
    }
}
