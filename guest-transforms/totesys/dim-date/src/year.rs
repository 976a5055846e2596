//! Calendar years: which one a date lies in, and the days that one has.

use std::sync::Arc;

use tidemill_sdk::arrow::array::{ArrayRef, Date32Array, Int32Array, StringArray};
use tidemill_sdk::calendar::{Civil, DAY_MICROS, civil_from_days, day_of_week, days_from_civil};

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = [
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
    "Sunday",
];

/// A calendar year.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Year(i32);

impl Year {
    fn of_day(days: i32) -> Self {
        Self(civil_from_days(days).year)
    }

    /// Its first day and the one after its last.
    fn bounds(self) -> (i32, i32) {
        let first = |year| {
            days_from_civil(Civil {
                year,
                month: 1,
                day: 1,
            })
        };
        (first(self.0), first(self.0 + 1))
    }

    /// The columns of `dim_date` for its days, in order.
    pub(crate) fn columns(self) -> Vec<ArrayRef> {
        let (first, end) = self.bounds();
        let dates: Vec<Civil> = (first..end).map(civil_from_days).collect();
        let weekdays: Vec<i32> = (first..end).map(day_of_week).collect();
        let number = |of: fn(&Civil) -> u32| -> ArrayRef {
            Arc::new(Int32Array::from_iter_values(
                dates.iter().map(|date| of(date) as i32),
            ))
        };
        let day_names = weekdays.iter().map(|day| name(&DAYS, *day));
        let month_names = dates.iter().map(|date| name(&MONTHS, date.month as i32));
        vec![
            Arc::new(Date32Array::from_iter_values(first..end)),
            Arc::new(Int32Array::from_iter_values(
                dates.iter().map(|date| date.year),
            )),
            number(|date| date.month),
            number(|date| date.day),
            Arc::new(Int32Array::from_iter_values(weekdays.iter().copied())),
            Arc::new(StringArray::from_iter_values(day_names)),
            Arc::new(StringArray::from_iter_values(month_names)),
            number(|date| (date.month - 1) / 3 + 1),
        ]
    }
}

/// The name of what is counted from 1.
fn name(names: &[&'static str], number: i32) -> &'static str {
    let at = usize::try_from(number - 1).ok();
    at.and_then(|at| names.get(at)).copied().unwrap_or_default()
}

/// The years of some days. Neighbours mostly share theirs, so a year is given when it differs from the one before.
pub(crate) struct YearsOfDays<I> {
    days: I,
    known: (i32, i32),
}

impl<I: Iterator<Item = i32>> YearsOfDays<I> {
    pub(crate) fn of(days: I) -> Self {
        Self {
            days,
            known: (0, 0),
        }
    }
}

impl<I: Iterator<Item = i32>> Iterator for YearsOfDays<I> {
    type Item = Year;

    fn next(&mut self) -> Option<Year> {
        let (first, end) = self.known;
        let day = self.days.find(|day| !(first..end).contains(day))?;
        let year = Year::of_day(day);
        self.known = year.bounds();
        Some(year)
    }
}

/// The years of some timestamps, in the same way; a comparison is a tenth of the division that the day would take.
pub(crate) struct YearsOfTimestamps<I> {
    timestamps: I,
    known: (i64, i64),
}

impl<I: Iterator<Item = i64>> YearsOfTimestamps<I> {
    pub(crate) fn of(timestamps: I) -> Self {
        Self {
            timestamps,
            known: (0, 0),
        }
    }
}

impl<I: Iterator<Item = i64>> Iterator for YearsOfTimestamps<I> {
    type Item = Year;

    fn next(&mut self) -> Option<Year> {
        let (first, end) = self.known;
        let micros = self
            .timestamps
            .find(|micros| !(first..end).contains(micros))?;
        let year = Year::of_day(micros.div_euclid(DAY_MICROS) as i32);
        let (first, end) = year.bounds();
        // The first and the last year of a timestamp reach beyond what 64 bits of microseconds hold.
        let micros = |days: i32| i64::from(days).saturating_mul(DAY_MICROS);
        self.known = (micros(first), micros(end));
        Some(year)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_years_of_timestamps_are_those_of_their_days() {
        let micros = [
            -1,
            0,
            1,
            1_667_485_249_962_000,
            1_672_531_199_999_999,
            1_672_531_200_000_000,
            0,
            i64::MIN,
            i64::MAX,
            i64::MIN,
        ];
        let years: Vec<_> = YearsOfTimestamps::of(micros.into_iter())
            .map(|year| year.0)
            .collect();
        assert_eq!(
            years,
            [1969, 1970, 2022, 2023, 1970, -290_308, 294_247, -290_308]
        );
        let days = micros
            .iter()
            .map(|micros| micros.div_euclid(DAY_MICROS) as i32);
        let years: Vec<_> = YearsOfDays::of(days).map(|year| year.0).collect();
        assert_eq!(
            years,
            [1969, 1970, 2022, 2023, 1970, -290_308, 294_247, -290_308]
        );
    }

    #[test]
    fn a_year_has_each_of_its_days_once() {
        for (year, days) in [(2023, 365), (2024, 366), (1900, 365), (2000, 366)] {
            let columns = Year(year).columns();
            assert!(columns.iter().all(|column| column.len() == days), "{year}");
        }
    }
}
