//! Calendar dates as Arrow holds them: days since 1970-01-01 in the proleptic Gregorian calendar.
//!
//! Of its own, without a date library: two formulas, and a parser that has to be strict and quick, for it runs
//! twice per order. The formulas are those of Howard Hinnant, "chrono-compatible low-level date algorithms":
//! years begin in March, so that the leap day is the last of its year.

/// Microseconds of a day.
pub const DAY_MICROS: i64 = 86_400_000_000;
/// A day has `DAY_PARTS` parts of `1 << PART_BITS` microseconds, and no larger power of two is in it.
const PART_BITS: u32 = 13;
const DAY_PARTS: u64 = 10_546_875;
/// Days by which a timestamp is shifted so that none is negative: the earliest is 106 751 992 days before 1970.
const SHIFT_DAYS: u64 = 1 << 27;

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

/// The days from 1970-01-01 to a timestamp, rounded down, and the microseconds since that day began.
///
/// A division by a number that is not known to be small is an instruction of its own for WebAssembly, many times as
/// slow as the two multiplications here. They estimate the day from its upper bits, one too low at most: the bits
/// that are left out make less than a tenth of a day, and rounding the factor less than another.
#[inline]
pub fn day_and_time(micros: i64) -> (i32, i64) {
    const ESTIMATE_BITS: u32 = 20;
    const SCALE_BITS: u32 = 35;
    const FACTOR: u64 = (1 << (ESTIMATE_BITS + SCALE_BITS)) / DAY_PARTS;
    let parts = ((micros >> PART_BITS) as u64).wrapping_add(SHIFT_DAYS * DAY_PARTS);
    let estimate = ((parts >> ESTIMATE_BITS) * FACTOR) >> SCALE_BITS;
    let rest = parts - estimate * DAY_PARTS;
    let is_low = rest >= DAY_PARTS;
    let day = estimate + u64::from(is_low);
    let rest = if is_low { rest - DAY_PARTS } else { rest };
    let time = (rest << PART_BITS) as i64 | (micros & ((1 << PART_BITS) - 1));
    ((day as i64 - SHIFT_DAYS as i64) as i32, time)
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
    parse_date_bytes(text.as_bytes())
}

/// [`parse_date`] of bytes: all digits at once, in one word of eight bytes and one of two, and one branch for all that
/// makes a date.
#[inline]
pub(crate) fn parse_date_bytes(text: &[u8]) -> Option<i32> {
    const HYPHENS: u64 = 0xff00_00ff_0000_0000;
    let text: &[u8; 10] = text.try_into().ok()?;
    let (head, tail) = (text.first_chunk::<8>()?, text.last_chunk::<2>()?);
    // Every byte becomes its digit, and the two hyphens become 0; anything else has bits that neither has.
    let head = u64::from_le_bytes(*head) ^ u64::from_le_bytes(*b"0000-00-");
    let tail = u64::from(u16::from_le_bytes(*tail) ^ u16::from_le_bytes(*b"00"));
    // Above 9, adding 6 reaches the upper half of the byte.
    let above_nine =
        |digits: u64, ones: u64| (digits.wrapping_add(6 * ones) | digits) & (0xf0 * ones);
    let strange =
        (head & HYPHENS) | above_nine(head, 0x0001_0100_0101_0101) | above_nine(tail, 0x0101);
    // Each byte becomes ten times its digit and the digit after it.
    let pairs = head.wrapping_mul(10).wrapping_add(head >> 8);
    let pair = |byte: u32| (pairs >> (8 * byte)) as u32 & 0xff;
    let (century, of_century, month) = (pair(0), pair(2), pair(5));
    let day = (tail as u32 & 0xff) * 10 + (tail as u32 >> 8);
    let leaps_by = if of_century == 0 { century } else { of_century };
    let is_leap = leaps_by.is_multiple_of(4);
    let last = match month {
        2 => 28 + u32::from(is_leap),
        _ => 30 + ((month + (month >> 3)) & 1),
    };
    let is_date = (strange == 0)
        & (century + of_century > 0)
        & (month.wrapping_sub(1) < 12)
        & (day.wrapping_sub(1) < last);
    is_date.then(|| days_from_common_era(century * 100 + of_century, month, day))
}

/// [`days_from_civil`] of a year from 1 to 9999, without the care that other years need.
#[inline]
fn days_from_common_era(year: u32, month: u32, day: u32) -> i32 {
    let is_before_march = month <= 2;
    let year = year - u32::from(is_before_march);
    let month = if is_before_march { month + 12 } else { month };
    let century = year / 100;
    // The days from the first of March to the first of a month from 3 to 14.
    let months = (979 * month - 2_919) >> 5;
    (year * 365 + year / 4 - century + century / 4 + months + day) as i32 - 719_469
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
    fn a_byte_that_is_no_digit_makes_no_date_wherever_it_stands() {
        for place in 0..10 {
            for byte in 0..=u8::MAX {
                let mut text = *b"2024-11-12";
                text[place] = byte;
                let digits = text.iter().enumerate().all(|(at, byte)| match at {
                    4 | 7 => *byte == b'-',
                    _ => byte.is_ascii_digit(),
                });
                let number = |digits: &[u8]| {
                    let digits = std::str::from_utf8(digits).ok()?;
                    digits.parse::<u32>().ok()
                };
                let expected = || {
                    let (year, month) = (number(&text[..4])?, number(&text[5..7])?);
                    let (year, day) = (year as i32, number(&text[8..])?);
                    let real = (1..=12).contains(&month)
                        && (1..=days_of_month(year, month)).contains(&day);
                    real.then(|| days_from_civil(Civil { year, month, day }))
                };
                let expected = digits.then(expected).flatten();
                assert_eq!(parse_date_bytes(&text), expected, "{text:?}");
            }
        }
    }

    #[test]
    fn days_and_times_are_those_of_a_division_whatever_the_timestamp() {
        let check = |micros: i64| {
            let expected = (
                micros.div_euclid(DAY_MICROS) as i32,
                micros.rem_euclid(DAY_MICROS),
            );
            assert_eq!(day_and_time(micros), expected, "{micros}");
        };
        let first = i64::MIN / DAY_MICROS;
        let last = i64::MAX / DAY_MICROS;
        for day in (first..=last)
            .step_by(9_973)
            .chain(-1_000..1_000)
            .chain([first, last])
        {
            let begin = day * DAY_MICROS;
            for around in [-8_193, -8_192, -1, 0, 1, 8_191, 8_192, DAY_MICROS / 2] {
                check(begin.saturating_add(around));
            }
        }
        let mut micros = i64::MIN;
        while let Some(next) = micros.checked_add(12_345_678_901_234_567) {
            check(micros);
            micros = next;
        }
        check(i64::MIN);
        check(i64::MAX);
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
