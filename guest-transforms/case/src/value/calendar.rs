//! Dates and times as texts, from year 1 to 9999.

use arrow_schema::TimeUnit;
use chrono::{Datelike as _, NaiveDate};

const SECONDS_OF_DAY: i64 = 86_400;

/// How many of a unit make a second, and the digits behind the point.
fn unit(unit: TimeUnit) -> (i64, usize) {
    match unit {
        TimeUnit::Second => (1, 0),
        TimeUnit::Millisecond => (1_000, 3),
        TimeUnit::Microsecond => (1_000_000, 6),
        TimeUnit::Nanosecond => (1_000_000_000, 9),
    }
}

/// The days since 1970 of `2022-11-03`.
pub(super) fn date(text: &str) -> Option<i64> {
    let date: NaiveDate = text.parse().ok()?;
    let is_plain = (1..=9999).contains(&date.year()) && date.to_string() == text;
    is_plain.then(|| i64::from(date.to_epoch_days()))
}

/// How [`date`] reads it.
pub(super) fn date_text(days: i64) -> Option<String> {
    let date = NaiveDate::from_epoch_days(i32::try_from(days).ok()?)?;
    (1..=9999).contains(&date.year()).then(|| date.to_string())
}

/// The time since midnight, in a unit, of `14:20:52.187`.
pub(super) fn time(text: &str, of: TimeUnit) -> Option<i64> {
    let (per_second, digits) = unit(of);
    let (clock, fraction) = match text.split_once('.') {
        Some((_, "")) => return None,
        Some((clock, fraction)) => (clock, fraction),
        None => (text, ""),
    };
    let mut parts = clock.split(':').map(two_digits);
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    let fits = hours < 24 && minutes < 60 && seconds < 60 && fraction.len() <= digits;
    if !fits || parts.next().is_some() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let padded = format!("{fraction:0<digits$}0");
    // One digit too many, so that it is a number where there is no fraction at all.
    let fraction = padded.parse::<i64>().ok()? / 10;
    Some((hours * 3_600 + minutes * 60 + seconds) * per_second + fraction)
}

fn two_digits(text: &str) -> Option<i64> {
    let is_number = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().ok())?
}

/// How [`time`] reads it.
pub(super) fn time_text(time: i64, of: TimeUnit) -> Option<String> {
    let (per_second, digits) = unit(of);
    let seconds = time.div_euclid(per_second);
    if !(0..SECONDS_OF_DAY).contains(&seconds) {
        return None;
    }
    let clock = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3_600,
        seconds / 60 % 60,
        seconds % 60
    );
    let fraction = format!("{:0digits$}", time.rem_euclid(per_second));
    Some(match fraction.trim_end_matches('0') {
        "" => clock,
        fraction => format!("{clock}.{fraction}"),
    })
}

/// The time since 1970, in a unit, of `2022-11-03 14:20:52.187`, or with a zone `2022-11-03T14:20:52.187Z`.
pub(super) fn timestamp(text: &str, of: TimeUnit, zoned: bool) -> Option<i64> {
    let local = match (text.strip_suffix('Z'), zoned) {
        (Some(local), true) => local,
        (None, false) => text,
        _ => return None,
    };
    let (day, clock) = local.split_once(['T', ' '])?;
    let (per_second, _) = unit(of);
    let day = date(day)?.checked_mul(SECONDS_OF_DAY * per_second)?;
    day.checked_add(time(clock, of)?)
}

/// How [`timestamp`] reads it.
pub(super) fn timestamp_text(value: i64, of: TimeUnit, zoned: bool) -> Option<String> {
    let (per_second, _) = unit(of);
    let of_day = SECONDS_OF_DAY * per_second;
    let (day, clock) = (
        date_text(value.div_euclid(of_day))?,
        time_text(value.rem_euclid(of_day), of)?,
    );
    Some(match zoned {
        true => format!("{day}T{clock}Z"),
        false => format!("{day} {clock}"),
    })
}
