//! Calendar dates without a time zone: birth dates and ages (proleptic Gregorian calendar).

use std::str::FromStr;

use keys::UnixSeconds;

/// A day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: i64,
    month: i64,
    day: i64,
}

/// The text is not an existing day written `YYYY-MM-DD`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a date")]
pub struct BadDate;

impl Date {
    /// The day a moment falls on in UTC.
    pub fn of(moment: UnixSeconds) -> Self {
        // Days to civil date by eras of 400 years that begin on 1 March (Hinnant's algorithm).
        let shifted = moment.0.div_euclid(86_400) + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        Self { year, month, day }
    }

    /// Full years from this day to `today`; negative when this day lies ahead. A birthday on 29 February counts
    /// from 1 March in a common year.
    pub fn full_years_until(self, today: Self) -> i64 {
        let had_birthday = (today.month, today.day) >= (self.month, self.day);
        today.year - self.year - i64::from(!had_birthday)
    }
}

impl FromStr for Date {
    type Err = BadDate;

    fn from_str(text: &str) -> Result<Self, BadDate> {
        let bytes = text.as_bytes();
        let shape = bytes.len() == 10
            && bytes
                .iter()
                .enumerate()
                .all(|(at, b)| if at == 4 || at == 7 { *b == b'-' } else { b.is_ascii_digit() });
        if !shape {
            return Err(BadDate);
        }
        let number =
            |range: std::ops::Range<usize>| text.get(range).and_then(|part| part.parse().ok()).ok_or(BadDate);
        let (year, month, day): (i64, i64, i64) = (number(0..4)?, number(5..7)?, number(8..10)?);
        let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let last = match month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => return Err(BadDate),
        };
        if (1..=last).contains(&day) { Ok(Self { year, month, day }) } else { Err(BadDate) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn moments_fall_on_their_day() {
        for (seconds, day) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (951_782_400, "2000-02-29"),
            (1_709_251_199, "2024-02-29"),
            (1_795_305_600, "2026-11-22"),
        ] {
            assert_eq!(Date::of(UnixSeconds(seconds)), date(day), "{seconds}");
        }
    }

    #[test]
    fn ages_are_full_years() {
        let today = date("2026-11-22");
        for (born, years) in [("2008-11-22", 18), ("2008-11-23", 17), ("2026-11-23", -1), ("2000-02-29", 26)]
        {
            assert_eq!(date(born).full_years_until(today), years, "{born}");
        }
        assert_eq!(date("2008-02-29").full_years_until(date("2026-02-28")), 17);
    }

    #[test]
    fn days_that_do_not_exist_are_refused() {
        for bad in [
            "2023-02-29",
            "1900-02-29",
            "2024-13-01",
            "2024-00-10",
            "2024-04-31",
            "24-04-30",
            "2024-4-30",
            "x",
        ] {
            assert_eq!(bad.parse::<Date>(), Err(BadDate), "{bad}");
        }
    }
}
