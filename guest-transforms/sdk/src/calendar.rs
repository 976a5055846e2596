//! Calendar dates as Arrow holds them: days since 1970-01-01 in the proleptic Gregorian calendar.
//!
//! Of its own, without a date library: two formulas, and a parser that has to be strict and quick, for it runs
//! twice per order. The formulas are those of Howard Hinnant, "chrono-compatible low-level date algorithms":
//! years begin in March, so that the leap day is the last of its year.

/// Microseconds of a day.
pub const DAY_MICROS: i64 = 86_400_000_000;

/// A calendar date taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Civil {
    /// The year; 0 is 1 BC.
    pub year: i32,
    /// The month, from 1.
    pub month: u32,
    /// The day of the month, from 1.
    pub day: u32,
}

/// The days from 1970-01-01 to a date.
#[inline]
pub fn days_from_civil(date: Civil) -> i32 {
    let year = date.year - i32::from(date.month <= 2);
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let month_from_march = (date.month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + date.day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year as i32;
    era * 146_097 + day_of_era - 719_468
}

/// The date that is so many days from 1970-01-01.
#[inline]
pub fn civil_from_days(days: i32) -> Civil {
    // In 64 bits, for the shift to the year 0 must not overflow on any day of a Date32.
    let days = i64::from(days) + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    Civil {
        year: (year_of_era + era * 400) as i32 + i32::from(month <= 2),
        month: month as u32,
        day: day as u32,
    }
}

/// The number of days of a month.
#[inline]
pub fn days_of_month(year: i32, month: u32) -> u32 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Whether a year has a leap day.
#[inline]
pub fn is_leap(year: i32) -> bool {
    year.rem_euclid(4) == 0 && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0)
}

/// The day of the week as ISO 8601 counts it: Monday is 1, Sunday is 7.
#[inline]
pub fn day_of_week(days: i32) -> i32 {
    // 1970-01-01 was a Thursday.
    (i64::from(days) + 3).rem_euclid(7) as i32 + 1
}

/// Reads a date written as `YYYY-MM-DD`, from 0001-01-01 to 9999-12-31; `None` for everything else, also for
/// blanks around it and for days that no calendar has.
#[inline]
pub fn parse_date(text: &str) -> Option<i32> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text.as_bytes() else {
        return None;
    };
    let year = number(&[y1, y2, y3, y4])?;
    let month = number(&[m1, m2])?;
    let day = number(&[d1, d2])?;
    let year = year as i32;
    let real =
        year >= 1 && (1..=12).contains(&month) && (1..=days_of_month(year, month)).contains(&day);
    real.then(|| days_from_civil(Civil { year, month, day }))
}

#[inline]
fn number(digits: &[u8]) -> Option<u32> {
    let mut number = 0;
    for digit in digits {
        let digit = digit.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number * 10 + u32::from(digit);
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_ten_thousand_years_goes_there_and_back_and_follows_the_one_before() {
        let mut expected = Civil {
            year: 1,
            month: 1,
            day: 1,
        };
        let mut days = days_from_civil(expected);
        while expected.year < 10_000 {
            assert_eq!(civil_from_days(days), expected);
            assert_eq!(days_from_civil(expected), days);
            let written = format!(
                "{:04}-{:02}-{:02}",
                expected.year, expected.month, expected.day
            );
            assert_eq!(parse_date(&written), Some(days), "{written}");
            days += 1;
            expected.day += 1;
            if expected.day > days_of_month(expected.year, expected.month) {
                expected.day = 1;
                expected.month += 1;
            }
            if expected.month > 12 {
                expected.month = 1;
                expected.year += 1;
            }
        }
    }

    #[test]
    fn known_days_are_where_they_belong() {
        assert_eq!(parse_date("1970-01-01"), Some(0));
        assert_eq!(parse_date("2022-11-03"), Some(19_299));
        assert_eq!(day_of_week(0), 4);
        assert_eq!(day_of_week(19_299), 4);
        assert_eq!(day_of_week(-1), 3);
    }

    #[test]
    fn the_first_and_last_days_that_arrow_knows_do_not_overflow() {
        assert_eq!(civil_from_days(i32::MIN).year, -5_877_641);
        assert_eq!(civil_from_days(i32::MAX).year, 5_881_580);
    }

    #[test]
    fn what_is_no_calendar_date_is_none() {
        for text in [
            "",
            "2023-02-29",
            "1900-02-29",
            "2023-04-31",
            "2023-00-10",
            "2023-13-01",
            "2023-01-00",
            "2023-01-32",
            "0000-01-01",
            "2023-1-1",
            "2023/01/01",
            "01-02-2023",
            "20230101",
            " 2023-01-01",
            "2023-01-01 ",
            "2023-01-01T00",
            "+023-01-01",
            "-023-01-01",
            "2023-+1-01",
            "NULL",
            "２０23-01-01",
            "12345-01-01",
        ] {
            assert_eq!(parse_date(text), None, "{text:?}");
        }
        assert!(parse_date("2000-02-29").is_some());
        assert!(parse_date("0001-01-01").is_some());
        assert!(parse_date("9999-12-31").is_some());
    }
}
