//! What is sent: the text of an event as a webhook body. The same event gives the same bytes each time.

use keys::UnixSeconds;

use super::events::StoredEvent;

impl StoredEvent {
    /// The webhook body: `{"id","type","occurred_at","seq","data"}`, members in this order, no spaces.
    pub fn body(&self) -> String {
        let quoted = |text: &str| serde_json::Value::from(text).to_string();
        format!(
            r#"{{"id":{},"type":{},"occurred_at":{},"seq":{},"data":{}}}"#,
            quoted(&self.event_id),
            quoted(&self.kind),
            quoted(&rfc3339(self.occurred_at)),
            self.seq,
            self.data,
        )
    }
}

/// The moment as an RFC 3339 §5.6 timestamp in UTC, seconds precision: `2026-02-28T23:59:59Z`.
pub fn rfc3339(at: UnixSeconds) -> String {
    let (days, second) = (at.0.div_euclid(86_400), at.0.rem_euclid(86_400));
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// Year, month and day of a day counted from 1970-01-01 in the proleptic Gregorian calendar.
/// The year is taken to begin in March, so that the leap day is its last.
fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468; // days since 0000-03-01
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_as_rfc_3339_in_utc() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (-1, "1969-12-31T23:59:59Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (1_709_251_199, "2024-02-29T23:59:59Z"),
            (1_709_251_200, "2024-03-01T00:00:00Z"),
            (1_767_225_599, "2025-12-31T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ];
        for (second, text) in cases {
            assert_eq!(rfc3339(UnixSeconds(second)), text);
        }
    }

    #[test]
    fn a_body_has_the_five_members_and_keeps_the_stored_data() {
        let event = StoredEvent {
            event_id: "evt_1".to_owned(),
            partner_id: "par_1".to_owned(),
            seq: 1_042,
            kind: "fiat_in.completed".to_owned(),
            schema_version: 1,
            occurred_at: UnixSeconds(0),
            data: r#"{"state":"completed","amount":10000}"#.to_owned(),
        };
        let expected = concat!(
            r#"{"id":"evt_1","type":"fiat_in.completed","occurred_at":"1970-01-01T00:00:00Z","seq":1042,"#,
            r#""data":{"state":"completed","amount":10000}}"#
        );
        assert_eq!(event.body(), expected);
        assert!(serde_json::from_str::<serde_json::Value>(&event.body()).is_ok());
    }
}
