//! What a person found out about an outcome that the gateway never told, as far as it is the same for charges and
//! refunds.

use crate::domain::evidence::checked_evidence;
use crate::domain::refusal::Refusal;
use crate::domain::transfer::is_reference;

/// The code of a decline by hand without another.
const DECLINED: &str = "declined";

/// As it was sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stated {
    /// What the outcome rests on.
    pub(crate) evidence: String,
    /// The gateway's own id.
    pub(crate) provider_ref: Option<String>,
    /// The gateway's code of a decline.
    pub(crate) decline_code: Option<String>,
}

/// As it is taken.
#[derive(Debug, Clone)]
pub(crate) struct Testimony {
    /// What the outcome rests on, trimmed.
    pub(crate) evidence: String,
    /// The gateway's own id.
    pub(crate) provider_ref: Option<String>,
    /// Code of the decline; `None`: the gateway did what was asked of it.
    pub(crate) decline: Option<String>,
}

impl Testimony {
    /// Checks what a person says. `declined`: it is the outcome that has a code.
    ///
    /// # Errors
    /// 422 `evidence_required`, `evidence_too_long`, `evidence_not_allowed`, `provider_ref_not_allowed`,
    /// `decline_code_not_allowed`.
    pub(crate) fn checked(stated: Stated, declined: bool) -> Result<Self, Refusal> {
        let evidence = checked_evidence(&stated.evidence)?;
        let usable = |name: &str| checked_evidence(name).is_ok() && is_reference(name);
        if !stated.provider_ref.as_deref().is_none_or(usable) {
            let detail = "1 to 64 of A-Z a-z 0-9 . _ - : /";
            return Err(Refusal::unprocessable("provider_ref_not_allowed", "/provider_ref", detail));
        }
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        let fits = |code: &str| (1..=64).contains(&code.len()) && code.bytes().all(plain);
        let decline = match (declined, stated.decline_code) {
            (false, None) => None,
            (true, code) if code.as_deref().is_none_or(fits) => {
                Some(code.unwrap_or_else(|| DECLINED.to_owned()))
            }
            _ => {
                let detail = "1 to 64 of a-z _, and only with an outcome that is a decline";
                return Err(Refusal::unprocessable("decline_code_not_allowed", "/decline_code", detail));
            }
        };
        Ok(Self { evidence, provider_ref: stated.provider_ref, decline })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(declined: bool, reference: Option<&str>, code: Option<&str>) -> Result<Testimony, Refusal> {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        let stated = Stated {
            evidence: "seen there".to_owned(),
            provider_ref: owned(reference),
            decline_code: owned(code),
        };
        Testimony::checked(stated, declined)
    }

    #[test]
    fn a_decline_code_goes_with_a_decline_only() {
        assert!(checked(false, Some("gch_1"), None).is_ok());
        assert!(checked(true, None, Some("card_declined")).is_ok());
        let wrong = checked(false, None, Some("card_declined")).unwrap_err();
        assert_eq!(wrong.code, "decline_code_not_allowed");
        for code in ["", "Card", "4242", "a b"] {
            assert_eq!(checked(true, None, Some(code)).unwrap_err().code, "decline_code_not_allowed");
        }
    }

    #[test]
    fn a_decline_without_a_code_gets_a_plain_one() {
        assert_eq!(checked(true, None, None).unwrap().decline.as_deref(), Some(DECLINED));
        assert_eq!(checked(false, None, None).unwrap().decline, None);
    }

    #[test]
    fn a_gateway_reference_is_a_plain_name_and_no_card_number() {
        for name in ["", "a b", "4242424242424242", &"x".repeat(65)] {
            let refused = checked(false, Some(name), None).unwrap_err();
            assert_eq!(refused.code, "provider_ref_not_allowed", "{name}");
        }
    }

    #[test]
    fn nothing_counts_without_evidence() {
        assert_eq!(Testimony::checked(Stated::default(), true).unwrap_err().code, "evidence_required");
    }
}
