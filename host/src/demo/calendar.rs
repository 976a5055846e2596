//! Working days: Monday to Friday from the first day of the company, numbered from 0. There are no holidays.

use chrono::{Days, NaiveDate};

/// The first working day, a Thursday.
pub(super) const FIRST_DAY: NaiveDate =
    NaiveDate::from_ymd_opt(2022, 11, 3).expect("a day of the calendar");

/// The Monday of the first week.
const FIRST_MONDAY: NaiveDate =
    NaiveDate::from_ymd_opt(2022, 10, 31).expect("a day of the calendar");

/// Working days between the first Monday and the first working day.
const MISSED: u32 = 3;

/// The date of working day number `day`.
pub(super) fn date_of(day: u32) -> NaiveDate {
    let counted = u64::from(day) + u64::from(MISSED);
    after(FIRST_MONDAY, counted / 5 * 7 + counted % 5)
}

/// The number of the first working day on or after `date`.
pub(super) fn day_on_or_after(date: NaiveDate) -> u32 {
    let passed = u32::try_from((date - FIRST_MONDAY).num_days()).unwrap_or(0);
    let counted = passed / 7 * 5 + (passed % 7).min(5);
    counted.saturating_sub(MISSED)
}

/// `days` after `date`; the end of the calendar stays the end.
pub(super) fn after(date: NaiveDate, days: u64) -> NaiveDate {
    date.checked_add_days(Days::new(days))
        .unwrap_or(NaiveDate::MAX)
}

#[cfg(test)]
mod tests {
    use chrono::Datelike;

    use super::*;

    #[test]
    fn working_days_are_counted_over_weekends() {
        let dates: Vec<String> = (0..4).map(|day| date_of(day).to_string()).collect();
        assert_eq!(
            dates,
            ["2022-11-03", "2022-11-04", "2022-11-07", "2022-11-08"]
        );
        for day in 0..2000 {
            assert!(date_of(day).weekday().number_from_monday() <= 5);
            assert_eq!(day_on_or_after(date_of(day)), day);
        }
    }

    #[test]
    fn a_weekend_belongs_to_the_monday_after_it() {
        let saturday = after(FIRST_DAY, 2);
        assert_eq!(date_of(day_on_or_after(saturday)).to_string(), "2022-11-07");
        assert_eq!(
            date_of(day_on_or_after(after(saturday, 1))).to_string(),
            "2022-11-07"
        );
    }
}
