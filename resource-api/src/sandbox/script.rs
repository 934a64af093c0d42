//! What the sandbox does when a charge, its capture or its void arrives: a list of steps for each instrument token.

use std::collections::HashMap;

use serde::Deserialize;

/// One reaction to one arrival. While nothing definite is recorded for a key, its n-th arrival takes the n-th step,
/// and the last step stays.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// Collects and says so.
    Capture,
    /// Records a decline with this code and says so.
    Decline(String),
    /// Records nothing and stays silent until the caller gives up.
    Hang,
    /// Records nothing and breaks the answer off.
    Drop,
    /// Collects, and the answer breaks off.
    CaptureThenDrop,
    /// Collects, and stays silent until the caller gives up.
    CaptureThenHang,
    /// Collects, and answers 500.
    CaptureThenServerError,
    /// Collects, and the answer is half a JSON text.
    CaptureThenTruncate,
    /// Collects; the answer breaks off, so many lookups do not find the charge, and until then it cannot be sent
    /// again either.
    CaptureHidden(u32),
    /// Collects and says so after so many milliseconds.
    CaptureAfter(u64),
    /// Records nothing and answers 500.
    ServerError,
    /// Records nothing and answers 200 with something that is no charge.
    Garbage,
    /// Collects one minor unit less than asked and says so.
    CaptureShort,
    /// Collects the same number of another currency's units and says so.
    CaptureOtherCurrency,
    /// Reserves the money and says so; it is collected when it is captured.
    Authorize,
    /// Reserves the money, and the answer breaks off.
    AuthorizeThenDrop,
    /// Sends the payer to a page; confirmed there, the money is collected.
    RequireAction,
    /// Sends the payer to a page; confirmed there, the money is reserved.
    RequireActionThenAuthorize,
    /// Gives the charge up and says so.
    Void,
    /// Gives the charge up, and the answer breaks off.
    VoidThenDrop,
}

/// The scripts by instrument token.
#[derive(Debug)]
pub(super) struct Scripts(HashMap<String, Vec<Step>>);

impl Default for Scripts {
    fn default() -> Self {
        let decline = |code: &str| vec![Step::Decline(code.to_owned())];
        let scripts = [
            ("tok_success", vec![Step::Capture]),
            ("tok_decline", decline("card_declined")),
            ("tok_insufficient_funds", decline("insufficient_funds")),
            ("tok_requires_action", vec![Step::RequireAction]),
            ("tok_requires_action_then_authorized", vec![Step::RequireActionThenAuthorize]),
            ("tok_authorized", vec![Step::Authorize]),
            ("tok_capture_declined", vec![Step::Authorize]),
            ("tok_capture_declined:capture", decline("authorization_expired")),
            ("tok_timeout_then_success", vec![Step::Hang, Step::Capture]),
            ("tok_success_then_lost_answer", vec![Step::CaptureThenDrop]),
            ("tok_success_then_error", vec![Step::CaptureThenServerError]),
            ("tok_hidden_then_success", vec![Step::CaptureHidden(2)]),
            ("tok_wrong_amount", vec![Step::CaptureShort]),
            ("tok_wrong_currency", vec![Step::CaptureOtherCurrency]),
            ("tok_late_success", vec![Step::RequireAction]),
            ("tok_late_success:void", vec![Step::CaptureThenDrop]),
            ("tok_card_visa", vec![Step::Capture]),
            ("tok_card_mastercard", vec![Step::Capture]),
            ("tok_card_decline", decline("card_declined")),
            ("tok_card_insufficient_funds", decline("insufficient_funds")),
            ("tok_card_requires_action", vec![Step::RequireAction]),
            ("tok_card_blocked_country", vec![Step::Capture]),
        ];
        Self(scripts.into_iter().map(|(token, steps)| (token.to_owned(), steps)).collect())
    }
}

impl Scripts {
    /// Sets or replaces the script of a token; an empty list removes it.
    pub(super) fn set(&mut self, token: String, steps: Vec<Step>) {
        if steps.is_empty() {
            self.0.remove(&token);
        } else {
            self.0.insert(token, steps);
        }
    }

    /// The step for the n-th arrival (from 0) of one charge. A token without a script is declined.
    pub(super) fn step(&self, token: &str, arrival: usize) -> Step {
        self.scripted(token, arrival).unwrap_or_else(|| Step::Decline("invalid_instrument".to_owned()))
    }

    /// The step for the n-th arrival (from 0) of a capture or void of a token's charge; `usual` without a script.
    pub(super) fn later_step(&self, token: &str, what: &str, arrival: usize, usual: Step) -> Step {
        self.scripted(&format!("{token}:{what}"), arrival).unwrap_or(usual)
    }

    fn scripted(&self, token: &str, arrival: usize) -> Option<Step> {
        self.0.get(token).and_then(|steps| steps.get(arrival).or_else(|| steps.last())).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_step_stays() {
        let scripts = Scripts::default();
        let steps: Vec<_> = (0..3).map(|arrival| scripts.step("tok_timeout_then_success", arrival)).collect();
        assert_eq!(steps, [Step::Hang, Step::Capture, Step::Capture]);
    }

    #[test]
    fn an_unknown_token_is_declined() {
        assert_eq!(Scripts::default().step("tok_other", 0), Step::Decline("invalid_instrument".to_owned()));
    }

    #[test]
    fn an_empty_script_removes_a_token() {
        let mut scripts = Scripts::default();
        scripts.set("tok_success".to_owned(), Vec::new());
        assert!(matches!(scripts.step("tok_success", 0), Step::Decline(_)));
    }

    #[test]
    fn captures_and_voids_have_scripts_of_their_own() {
        let scripts = Scripts::default();
        assert_eq!(scripts.later_step("tok_success", "capture", 0, Step::Capture), Step::Capture);
        assert_eq!(scripts.later_step("tok_late_success", "void", 3, Step::Void), Step::CaptureThenDrop);
    }
}
