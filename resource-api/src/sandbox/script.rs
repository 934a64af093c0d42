//! What the sandbox does when a charge arrives: a list of steps for each instrument token.

use std::collections::HashMap;

use serde::Deserialize;

/// One reaction to one arrival of a charge. While nothing definite is recorded for a key, its n-th
/// arrival takes the n-th step, and the last step stays.
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
    /// Records nothing and answers 500.
    ServerError,
    /// Records nothing and answers 200 with something that is no charge.
    Garbage,
    /// Collects one minor unit less than asked and says so.
    CaptureShort,
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
            ("tok_timeout_then_success", vec![Step::Hang, Step::Capture]),
            ("tok_success_then_lost_answer", vec![Step::CaptureThenDrop]),
            ("tok_card_visa", vec![Step::Capture]),
            ("tok_card_mastercard", vec![Step::Capture]),
            ("tok_card_decline", decline("card_declined")),
            ("tok_card_insufficient_funds", decline("insufficient_funds")),
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
        self.0
            .get(token)
            .and_then(|steps| steps.get(arrival).or_else(|| steps.last()))
            .cloned()
            .unwrap_or_else(|| Step::Decline("invalid_instrument".to_owned()))
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
}
