//! Decimal amounts as vendors write them, turned into integer minor units without a float.
//!
//! Only plain decimals are read: digits, one point, more digits. A sign, an exponent, a leading zero
//! or more fraction digits than the currency has are refused, so one amount has no odd twins.

use super::money::AMOUNT_MAX;

/// Why a text is not an amount of a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadDecimal {
    /// Not a plain decimal number.
    #[error("not a plain decimal number")]
    Malformed,
    /// More fraction digits than the currency has minor digits.
    #[error("more decimals than the currency has")]
    TooPrecise,
    /// Beyond [`AMOUNT_MAX`].
    #[error("amount is too large")]
    TooLarge,
}

/// Reads a plain decimal as minor units: `"10.5"` with two minor digits is 1050.
///
/// # Errors
/// [`BadDecimal`] says what is wrong; nothing is rounded.
pub fn to_minor_units(text: &str, digits: u16) -> Result<i64, BadDecimal> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(whole) || !all_digits(fraction) || (whole.len() > 1 && whole.starts_with('0')) {
        return Err(BadDecimal::Malformed);
    }
    let fraction = if fraction == "0" { "" } else { fraction };
    let missing = usize::from(digits).checked_sub(fraction.len()).ok_or(BadDecimal::TooPrecise)?;
    let mut amount: i64 = 0;
    let zeros = std::iter::repeat_n(b'0', missing);
    for digit in whole.bytes().chain(fraction.bytes()).chain(zeros) {
        amount = amount
            .checked_mul(10)
            .and_then(|shifted| shifted.checked_add(i64::from(digit - b'0')))
            .filter(|amount| *amount <= AMOUNT_MAX)
            .ok_or(BadDecimal::TooLarge)?;
    }
    Ok(amount)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn plain_decimals_become_minor_units() {
        let cases = [
            ("10", 2, 1000),
            ("10.0", 2, 1000),
            ("10.5", 2, 1050),
            ("10.05", 2, 1005),
            ("0.01", 2, 1),
            ("0", 2, 0),
            ("150", 0, 150),
            ("150.0", 0, 150),
            ("1.234", 3, 1234),
            ("90071992547409.91", 2, AMOUNT_MAX),
        ];
        for (text, digits, amount) in cases {
            assert_eq!(to_minor_units(text, digits), Ok(amount), "{text}");
        }
    }

    #[test]
    fn odd_twins_of_an_amount_are_refused() {
        for text in [
            "", ".", "1.", ".5", "+10", "-0", "010", "1e1", "1E1", " 10", "10 ", "١٠", "NaN", "1,5", "0x1",
            "1.2.3",
        ] {
            assert_eq!(to_minor_units(text, 2), Err(BadDecimal::Malformed), "{text}");
        }
    }

    #[test]
    fn more_decimals_than_the_currency_has_are_refused() {
        assert_eq!(to_minor_units("10.005", 2), Err(BadDecimal::TooPrecise));
        assert_eq!(to_minor_units("1.50", 0), Err(BadDecimal::TooPrecise));
        assert_eq!(to_minor_units("10.000", 2), Err(BadDecimal::TooPrecise));
    }

    #[test]
    fn amounts_beyond_exact_json_integers_are_refused() {
        for text in ["90071992547409.92", "9223372036854775808", "99999999999999999999999999"] {
            assert_eq!(to_minor_units(text, 2), Err(BadDecimal::TooLarge), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_amount_with_two_decimals_is_read_back_exactly(amount in 0..=AMOUNT_MAX) {
            let text = format!("{}.{:02}", amount / 100, amount % 100);
            prop_assert_eq!(to_minor_units(&text, 2), Ok(amount));
        }

        #[test]
        fn no_text_makes_the_reader_panic(text in ".{0,40}", digits in 0u16..5) {
            let read = to_minor_units(&text, digits);
            prop_assert!(read.is_err() || read.is_ok_and(|amount| (0..=AMOUNT_MAX).contains(&amount)));
        }
    }
}
