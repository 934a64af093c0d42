//! Limits and lists the rules compare with. Defaults are small: an operator raises them knowingly.

use std::collections::BTreeMap;

use serde::Deserialize;

/// Settings of the monitoring rules. Amounts are minor units of EUR.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MonitoringConfig {
    /// AMT-1: largest single amount for KYC level 0, 1, 2 and 3.
    pub amount_max: [i64; 4],
    /// VEL-1: more orders of one customer than this within an hour go to review.
    pub orders_1h_max: i64,
    /// VEL-1: more orders of one customer than this within 24 hours are refused.
    pub orders_24h_max: i64,
    /// VEL-2: largest sum of one customer within 24 hours, for KYC level 0 to 3.
    pub sum_24h_max: [i64; 4],
    /// VEL-2: largest sum of one customer within 30 days, for KYC level 0 to 3.
    pub sum_30d_max: [i64; 4],
    /// GEO-1: countries (ISO 3166-1 alpha-2) from which no order is taken.
    pub blocked_countries: Vec<String>,
    /// Minor units of a currency that count as 100 EUR (10,000 minor units) in the limits. Used for
    /// limits only, nothing is converted by it; an order in a currency without a rate goes to review.
    pub per_100_eur: BTreeMap<String, i64>,
    /// How long an order may wait for a reviewer, seconds; then it expires.
    pub review_ttl_s: i64,
}

impl Default for MonitoringConfig {
    fn default() -> Self {
        let rates = [
            ("EUR", 10_000),
            ("USD", 11_500),
            ("GBP", 8_700),
            ("CHF", 9_300),
            ("PLN", 42_500),
            ("UAH", 480_000),
            ("JPY", 17_500),
            ("KWD", 35_000),
        ];
        Self {
            amount_max: [5_000, 15_000, 100_000, 1_000_000],
            orders_1h_max: 5,
            orders_24h_max: 15,
            sum_24h_max: [10_000, 45_000, 500_000, 5_000_000],
            sum_30d_max: [15_000, 150_000, 1_500_000, 20_000_000],
            blocked_countries: ["KP", "IR", "MM"].map(str::to_owned).to_vec(),
            per_100_eur: rates.into_iter().map(|(code, units)| (code.to_owned(), units)).collect(),
            review_ttl_s: 3 * 86_400,
        }
    }
}

impl MonitoringConfig {
    /// Every problem at once, so that an operator fixes the file in one go.
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        let growing = [
            ("amount_max", &self.amount_max),
            ("sum_24h_max", &self.sum_24h_max),
            ("sum_30d_max", &self.sum_30d_max),
        ];
        for (name, levels) in growing {
            if levels[0] < 0 || levels.windows(2).any(|pair| pair[0] > pair[1]) {
                found.push(format!(
                    "monitoring.{name}: four amounts, none negative, none below the one before"
                ));
            }
        }
        if self.orders_1h_max < 1 || self.orders_24h_max < self.orders_1h_max {
            found.push(
                "monitoring.orders_1h_max, orders_24h_max: at least 1, the day's not below the hour's"
                    .to_owned(),
            );
        }
        let country = |code: &String| code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_uppercase());
        if !self.blocked_countries.iter().all(country) {
            found.push("monitoring.blocked_countries: two upper-case letters each".to_owned());
        }
        if self.per_100_eur.values().any(|units| *units < 1) {
            found.push("monitoring.per_100_eur: rates are at least 1".to_owned());
        }
        if !(60..=30 * 86_400).contains(&self.review_ttl_s) {
            found.push("monitoring.review_ttl_s: 60 to 2592000 (30 days)".to_owned());
        }
        found
    }

    /// What an amount counts for in the limits: minor units of EUR, rounded up; `None` without a rate.
    pub fn limit_value(&self, amount: i64, currency: &str) -> Option<i64> {
        let units = i128::from(*self.per_100_eur.get(currency)?);
        let scaled = i128::from(amount) * 10_000;
        i64::try_from((scaled + units - 1).div_euclid(units)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_have_no_problems() {
        assert_eq!(MonitoringConfig::default().problems(), Vec::<String>::new());
    }

    #[test]
    fn every_problem_is_named_at_once() {
        let config = MonitoringConfig {
            amount_max: [4, 3, 2, 1],
            orders_1h_max: 0,
            blocked_countries: vec!["Iran".to_owned()],
            per_100_eur: [("EUR".to_owned(), 0)].into(),
            review_ttl_s: 0,
            ..MonitoringConfig::default()
        };
        assert_eq!(config.problems().len(), 5);
    }

    #[test]
    fn limit_values_are_rounded_up_and_never_overflow() {
        let config = MonitoringConfig::default();
        assert_eq!(config.limit_value(12_345, "EUR"), Some(12_345));
        assert_eq!(config.limit_value(1, "UAH"), Some(1));
        assert_eq!(config.limit_value(11_500, "USD"), Some(10_000));
        assert_eq!(config.limit_value(11_501, "USD"), Some(10_001));
        assert_eq!(config.limit_value(1, "XXX"), None);
        assert_eq!(config.limit_value(i64::MAX, "EUR"), Some(i64::MAX));
    }
}
