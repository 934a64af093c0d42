//! The vendor's words for our states. One table each, so that answers and webhooks cannot differ.

use crate::domain::customer::CustomerStatus;
use crate::domain::kyc::KycStatus;

/// Whether the vendor's side may work with a user.
pub(super) fn user(status: CustomerStatus) -> &'static str {
    match status {
        CustomerStatus::Active => "ACTIVE",
        CustomerStatus::Blocked => "BLOCKED",
        CustomerStatus::Restricted | CustomerStatus::Closed => "INACTIVE",
    }
}

/// An identity check as version 0 tells it: three words. What lacks data is refused until the data is there.
pub(super) fn check(status: KycStatus) -> &'static str {
    match status {
        KycStatus::Approved => "ACCEPTED",
        KycStatus::InReview | KycStatus::Processing | KycStatus::NotStarted => "MANUAL_REVIEW",
        KycStatus::Refused | KycStatus::NeedsInput | KycStatus::Expired => "REFUSED",
    }
}

/// An identity check as webhooks tell it.
pub(super) fn assessment(status: KycStatus) -> &'static str {
    match status {
        KycStatus::Approved => "ACCEPTED",
        KycStatus::Refused => "REFUSED",
        KycStatus::InReview => "UNDER_REVIEW",
        KycStatus::Processing | KycStatus::NotStarted => "PENDING",
        KycStatus::NeedsInput | KycStatus::Expired => "REQUESTED_MORE_INFORMATION",
    }
}

/// `LEVEL_1` to `LEVEL_4`; a check that reached no level was one for the first.
pub(super) fn level(level: i64) -> String {
    format!("LEVEL_{}", level.clamp(1, 4))
}

/// A verdict of monitoring as webhooks tell it.
pub(super) fn monitoring(outcome: &str) -> &'static str {
    match outcome {
        "accept" => "ACCEPT",
        "review" => "MANUAL_REVIEW",
        "refuse" => "DENY",
        _ => "PENDING",
    }
}

/// A verdict of monitoring as a transaction log tells it.
pub(super) fn log(outcome: &str) -> &'static str {
    match outcome {
        "accept" => "ACCEPTED",
        "refuse" => "REFUSED",
        _ => "MANUAL_REVIEW",
    }
}

/// The state of a payment. The vendor has no word for a payment that the payer contests: it stays settled until the
/// bank has decided.
pub(super) fn payment(state: &str) -> &'static str {
    match state {
        "completed" | "disputed" => "SETTLED",
        "refused" | "failed" => "REFUSED",
        "cancelled" | "expired" => "CANCELED",
        "partially_refunded" | "refunded" => "REFUNDED",
        "charged_back" => "CHARGED_BACK",
        _ => "PENDING",
    }
}

/// Our reason code in the vendor's list, or as it is in capitals.
pub(super) fn reason(code: &str) -> String {
    match code {
        "transaction_velocity" => "TRANSACTION_VELOCITY_VIOLATION".to_owned(),
        other => other.to_ascii_uppercase(),
    }
}

/// The vendor's member for a field of personal data that is missing.
pub(super) fn field(name: &str) -> &str {
    match name {
        "given_name" => "name.firstName",
        "family_name" => "name.lastName",
        "birth_date" => "dateOfBirth",
        "legal_name" => "businessName",
        "registration_number" => "biis",
        "tax_ids" => "piis",
        "business_type" => "businessType",
        other => other,
    }
}

/// Minor units as a decimal number with all of the currency's digits.
pub(super) fn decimal(amount: i64, exponent: u16) -> String {
    let digits = usize::from(exponent);
    let sign = if amount < 0 { "-" } else { "" };
    let text = format!("{:0width$}", amount.unsigned_abs(), width = digits + 1);
    let (whole, fraction) = text.split_at(text.len() - digits);
    if fraction.is_empty() { format!("{sign}{whole}") } else { format!("{sign}{whole}.{fraction}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fiat_in::FiatInState;

    #[test]
    fn minor_units_are_written_with_the_digits_of_the_currency() {
        for (amount, exponent, text) in [
            (0, 2, "0.00"),
            (5, 2, "0.05"),
            (123_456, 2, "1234.56"),
            (-5, 2, "-0.05"),
            (7, 0, "7"),
            (1_500, 3, "1.500"),
        ] {
            assert_eq!(decimal(amount, exponent), text);
        }
    }

    #[test]
    fn every_state_of_an_order_has_a_word() {
        let words: Vec<_> = FiatInState::ALL.iter().map(|state| payment(state.as_str())).collect();
        let expected = [
            "PENDING",
            "PENDING",
            "PENDING",
            "SETTLED",
            "REFUSED",
            "REFUSED",
            "CANCELED",
            "CANCELED",
            "REFUNDED",
            "REFUNDED",
            "SETTLED",
            "CHARGED_BACK",
        ];
        assert_eq!(words, expected);
    }

    #[test]
    fn levels_are_those_of_the_vendor() {
        assert_eq!([0, 1, 2, 4, 5].map(level), ["LEVEL_1", "LEVEL_1", "LEVEL_2", "LEVEL_4", "LEVEL_4"]);
    }
}
