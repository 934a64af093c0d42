//! What a person writes down when settling something by hand: enough for another person to find it again, and nothing
//! that must not be kept.

use super::card::is_card_number;
use super::refusal::Refusal;

/// Longest evidence, characters.
pub const EVIDENCE_CHARS_MAX: usize = 500;

/// Checks evidence and trims it. It is stored, shown and audited, so a card number or an e-mail address in it is
/// refused.
///
/// # Errors
/// 422 `evidence_required`, `evidence_too_long`, `evidence_not_allowed` at `/evidence`.
pub fn checked_evidence(text: &str) -> Result<String, Refusal> {
    let text = text.trim();
    let refused = |code, detail: &str| Err(Refusal::unprocessable(code, "/evidence", detail));
    if text.is_empty() {
        return refused(
            "evidence_required",
            "say what the outcome rests on, such as the gateway's own reference",
        );
    }
    if text.chars().count() > EVIDENCE_CHARS_MAX {
        return refused("evidence_too_long", "at most 500 characters");
    }
    if text.chars().any(char::is_control) {
        return refused("evidence_not_allowed", "write it in one line");
    }
    if text.contains('@') || holds_card_number(text) {
        return refused(
            "evidence_not_allowed",
            "leave out card numbers and e-mail addresses: this text is kept",
        );
    }
    Ok(text.to_owned())
}

/// Whether digits, also when grouped by single spaces or dashes, make a card number.
fn holds_card_number(text: &str) -> bool {
    let mut digits = String::new();
    let mut grouped = false;
    for c in text.chars().chain(['.']) {
        match c {
            '0'..='9' => {
                digits.push(c);
                grouped = false;
            }
            ' ' | '-' if !digits.is_empty() && !grouped => grouped = true,
            _ => {
                if is_card_number(&digits) {
                    return true;
                }
                digits.clear();
                grouped = false;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn evidence_is_trimmed_and_of_reasonable_length() {
        assert_eq!(checked_evidence("  seen in report 2026-01-02 ").unwrap(), "seen in report 2026-01-02");
        for (text, code) in [
            ("", "evidence_required"),
            (" \t ", "evidence_required"),
            (&*"x".repeat(501), "evidence_too_long"),
            ("a\nb", "evidence_not_allowed"),
        ] {
            assert_eq!(checked_evidence(text).unwrap_err().code, code, "{text}");
        }
        assert!(checked_evidence(&"é".repeat(500)).is_ok());
    }

    #[test]
    fn a_card_number_in_any_grouping_and_an_address_are_refused() {
        for text in [
            "4242424242424242",
            "card 4242 4242 4242 4242, captured",
            "4242-4242-4242-4242.",
            "paid with 5555555555554444",
            "ask quirina@example.com",
        ] {
            assert_eq!(checked_evidence(text).unwrap_err().code, "evidence_not_allowed", "{text}");
        }
        for text in ["gch_019b76da", "settlement 2026-01-02 line 4 of 1050", "4242424242424241"] {
            assert!(checked_evidence(text).is_ok(), "{text}");
        }
    }
}
