//! AMT-1, VEL-1, VEL-2 and GEO-1.

use keys::UnixSeconds;
use serde::{Deserialize, Serialize};

use super::config::MonitoringConfig;

/// Raised whenever a rule's meaning changes; kept with every decision.
const RULE_SET_VERSION: i64 = 1;

/// What becomes of an order. Ordered by severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Goes on.
    Accept,
    /// Waits for a person.
    Review,
    /// Ends here.
    Refuse,
}

impl Outcome {
    /// The stored and published word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Review => "review",
            Self::Refuse => "refuse",
        }
    }
}

/// A customer's orders before this one in the sliding windows. Refused and failed orders do not count.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Window {
    /// Orders within the last hour.
    pub orders_1h: i64,
    /// Orders within the last 24 hours.
    pub orders_24h: i64,
    /// Sum of limit values within the last 24 hours, minor units of EUR.
    pub sum_24h: i64,
    /// Sum of limit values within the last 30 days, minor units of EUR.
    pub sum_30d: i64,
}

impl Window {
    /// The hour, seconds.
    pub const HOUR_S: i64 = 3_600;
    /// The day, seconds.
    pub const DAY_S: i64 = 86_400;
    /// The thirty days, seconds.
    pub const DAYS_30_S: i64 = 30 * 86_400;

    /// Counts one more order, made at `made_at`, in the windows that end at `now`.
    pub fn count(&mut self, limit_value: Option<i64>, made_at: UnixSeconds, now: UnixSeconds) {
        let value = limit_value.unwrap_or(0);
        if made_at > now.plus(-Self::HOUR_S) {
            self.orders_1h = self.orders_1h.saturating_add(1);
        }
        if made_at > now.plus(-Self::DAY_S) {
            self.orders_24h = self.orders_24h.saturating_add(1);
            self.sum_24h = self.sum_24h.saturating_add(value);
        }
        if made_at > now.plus(-Self::DAYS_30_S) {
            self.sum_30d = self.sum_30d.saturating_add(value);
        }
    }
}

/// Everything the rules look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Inputs {
    /// The customer's KYC level, 0 to 3; levels beyond count as 3.
    pub kyc_level: i64,
    /// The order's amount in the limits' currency; `None` when that currency has no rate.
    pub limit_value: Option<i64>,
    /// The customer's earlier orders.
    pub window: Window,
    /// Country of residence, ISO 3166-1 alpha-2.
    pub residence: Option<String>,
    /// Country of the payer's network address.
    pub ip_country: Option<String>,
    /// Country in which the instrument was issued.
    pub instrument_country: Option<String>,
}

/// One rule that spoke against an order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hit {
    /// Rule, for example `VEL-1`.
    pub rule_id: &'static str,
    /// Version of the rule.
    pub rule_version: i64,
    /// Public code, told to the caller.
    pub reason_code: &'static str,
    /// What this rule alone asks for.
    pub outcome: Outcome,
    /// What was seen. Internal.
    pub observed: String,
    /// What it was compared with. Internal: telling it helps those who stay just below.
    pub threshold: String,
}

/// The verdict on one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The severest outcome of all hits.
    pub outcome: Outcome,
    /// All rules that hit, in the order of the rule list.
    pub hits: Vec<Hit>,
    /// Version of the rule list.
    pub rule_set_version: i64,
}

impl Decision {
    /// The public code of the first hit that asked for the final outcome; `None` when accepted.
    pub fn reason_code(&self) -> Option<&'static str> {
        self.hits.iter().find(|hit| hit.outcome == self.outcome).map(|hit| hit.reason_code)
    }
}

/// Runs all rules; none stops another.
pub fn evaluate(config: &MonitoringConfig, inputs: &Inputs) -> Decision {
    let hits: Vec<Hit> = [
        single_amount(config, inputs),
        orders_per_hour(config, inputs),
        orders_per_day(config, inputs),
        sum_per_window(config, inputs),
        blocked_country(config, inputs),
    ]
    .into_iter()
    .flatten()
    .collect();
    let outcome = hits.iter().map(|hit| hit.outcome).max().unwrap_or(Outcome::Accept);
    Decision { outcome, hits, rule_set_version: RULE_SET_VERSION }
}

fn hit(rule_id: &'static str, reason_code: &'static str, outcome: Outcome, seen: (String, String)) -> Hit {
    let (observed, threshold) = seen;
    Hit { rule_id, rule_version: 1, reason_code, outcome, observed, threshold }
}

fn level(inputs: &Inputs) -> usize {
    usize::try_from(inputs.kyc_level.clamp(0, 3)).unwrap_or(0)
}

/// AMT-1: a single amount over the cap of the customer's KYC level is refused. An amount that cannot
/// be compared goes to review: a rule that cannot look never lets money pass.
fn single_amount(config: &MonitoringConfig, inputs: &Inputs) -> Option<Hit> {
    let Some(value) = inputs.limit_value else {
        return Some(hit("AMT-1", "manual_check", Outcome::Review, ("no rate".to_owned(), String::new())));
    };
    let cap = config.amount_max[level(inputs)];
    if value <= cap {
        return None;
    }
    Some(hit("AMT-1", "amount_limit", Outcome::Refuse, (value.to_string(), cap.to_string())))
}

/// VEL-1 within an hour: review.
fn orders_per_hour(config: &MonitoringConfig, inputs: &Inputs) -> Option<Hit> {
    let orders = inputs.window.orders_1h.saturating_add(1);
    if orders <= config.orders_1h_max {
        return None;
    }
    let seen = (orders.to_string(), config.orders_1h_max.to_string());
    Some(hit("VEL-1", "transaction_velocity", Outcome::Review, seen))
}

/// VEL-1 within 24 hours: refuse.
fn orders_per_day(config: &MonitoringConfig, inputs: &Inputs) -> Option<Hit> {
    let orders = inputs.window.orders_24h.saturating_add(1);
    if orders <= config.orders_24h_max {
        return None;
    }
    let seen = (orders.to_string(), config.orders_24h_max.to_string());
    Some(hit("VEL-1", "transaction_velocity", Outcome::Refuse, seen))
}

/// VEL-2: the sum with this order over the level's day or month is refused.
fn sum_per_window(config: &MonitoringConfig, inputs: &Inputs) -> Option<Hit> {
    let value = inputs.limit_value?;
    let level = level(inputs);
    let windows = [
        (inputs.window.sum_24h, config.sum_24h_max[level]),
        (inputs.window.sum_30d, config.sum_30d_max[level]),
    ];
    let (sum, max) = windows
        .into_iter()
        .map(|(before, max)| (before.saturating_add(value), max))
        .find(|(sum, max)| sum > max)?;
    Some(hit("VEL-2", "transaction_velocity", Outcome::Refuse, (sum.to_string(), max.to_string())))
}

/// GEO-1: residence, network or instrument in a blocked country is refused.
fn blocked_country(config: &MonitoringConfig, inputs: &Inputs) -> Option<Hit> {
    let places = [&inputs.residence, &inputs.ip_country, &inputs.instrument_country];
    let place = places.into_iter().flatten().find(|place| config.blocked_countries.contains(place))?;
    Some(hit("GEO-1", "blocked_jurisdiction", Outcome::Refuse, (place.clone(), String::new())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs() -> Inputs {
        Inputs {
            kyc_level: 2,
            limit_value: Some(10_000),
            window: Window::default(),
            residence: Some("DE".to_owned()),
            ip_country: Some("DE".to_owned()),
            instrument_country: None,
        }
    }

    fn verdict(inputs: &Inputs) -> (Outcome, Option<&'static str>) {
        let decision = evaluate(&MonitoringConfig::default(), inputs);
        (decision.outcome, decision.reason_code())
    }

    #[test]
    fn an_ordinary_order_is_accepted_without_a_hit() {
        let decision = evaluate(&MonitoringConfig::default(), &inputs());
        assert_eq!((decision.outcome, decision.hits.len()), (Outcome::Accept, 0));
    }

    #[test]
    fn the_amount_cap_depends_on_the_kyc_level_to_the_cent() {
        let caps = MonitoringConfig::default().amount_max;
        for (level, cap) in (0..).zip(caps) {
            let at = |value| Inputs { kyc_level: level, limit_value: Some(value), ..inputs() };
            assert_eq!(verdict(&at(cap)).0, Outcome::Accept, "level {level}");
            assert_eq!(verdict(&at(cap + 1)), (Outcome::Refuse, Some("amount_limit")), "level {level}");
        }
        assert_eq!(verdict(&Inputs { kyc_level: -1, ..inputs() }).0, Outcome::Refuse);
        assert_eq!(verdict(&Inputs { kyc_level: 9, ..inputs() }).0, Outcome::Accept);
    }

    #[test]
    fn a_currency_without_a_rate_goes_to_review() {
        assert_eq!(
            verdict(&Inputs { limit_value: None, ..inputs() }),
            (Outcome::Review, Some("manual_check"))
        );
    }

    #[test]
    fn the_sixth_order_of_an_hour_goes_to_review_and_the_sixteenth_of_a_day_is_refused() {
        let with = |orders_1h, orders_24h| Inputs {
            limit_value: Some(1),
            window: Window { orders_1h, orders_24h, ..Window::default() },
            ..inputs()
        };
        assert_eq!(verdict(&with(4, 4)).0, Outcome::Accept);
        assert_eq!(verdict(&with(5, 5)), (Outcome::Review, Some("transaction_velocity")));
        assert_eq!(verdict(&with(0, 14)).0, Outcome::Accept);
        assert_eq!(verdict(&with(5, 15)), (Outcome::Refuse, Some("transaction_velocity")));
    }

    #[test]
    fn sums_are_held_for_a_day_and_for_thirty_days() {
        let with = |sum_24h, sum_30d| Inputs {
            window: Window { sum_24h, sum_30d, ..Window::default() },
            ..inputs()
        };
        assert_eq!(verdict(&with(490_000, 490_000)).0, Outcome::Accept);
        assert_eq!(verdict(&with(490_001, 490_001)).0, Outcome::Refuse);
        assert_eq!(verdict(&with(0, 1_490_000)).0, Outcome::Accept);
        assert_eq!(verdict(&with(0, 1_490_001)).0, Outcome::Refuse);
        assert_eq!(verdict(&with(i64::MAX, i64::MAX)).0, Outcome::Refuse);
    }

    #[test]
    fn an_order_counts_in_the_windows_that_reach_back_to_it() {
        let now = UnixSeconds(10_000_000);
        let counted = |age_s: i64| {
            let mut window = Window::default();
            window.count(Some(7), now.plus(-age_s), now);
            (window.orders_1h, window.orders_24h, window.sum_24h, window.sum_30d)
        };
        assert_eq!(counted(0), (1, 1, 7, 7));
        assert_eq!(counted(Window::HOUR_S), (0, 1, 7, 7));
        assert_eq!(counted(Window::DAY_S), (0, 0, 0, 7));
        assert_eq!(counted(Window::DAYS_30_S), (0, 0, 0, 0));
    }

    #[test]
    fn any_of_the_three_countries_can_block() {
        let blocked = Some("KP".to_owned());
        let cases = [
            Inputs { residence: blocked.clone(), ..inputs() },
            Inputs { ip_country: blocked.clone(), ..inputs() },
            Inputs { instrument_country: blocked, ..inputs() },
        ];
        for case in cases {
            assert_eq!(verdict(&case), (Outcome::Refuse, Some("blocked_jurisdiction")));
        }
    }

    #[test]
    fn all_rules_run_and_the_severest_outcome_wins() {
        let all = Inputs {
            limit_value: Some(600_000),
            window: Window { orders_1h: 7, orders_24h: 20, sum_24h: 0, sum_30d: 0 },
            residence: Some("IR".to_owned()),
            ..inputs()
        };
        let decision = evaluate(&MonitoringConfig::default(), &all);
        let rules: Vec<_> = decision.hits.iter().map(|hit| hit.rule_id).collect();
        assert_eq!(rules, ["AMT-1", "VEL-1", "VEL-1", "VEL-2", "GEO-1"]);
        assert_eq!(decision.outcome, Outcome::Refuse);
        assert_eq!(decision.reason_code(), Some("amount_limit"));
    }
}
