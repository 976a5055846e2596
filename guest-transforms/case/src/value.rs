//! Values as a case writes them, both ways and exact.
//!
//! | type | written as |
//! |---|---|
//! | NULL of any type | `null` |
//! | boolean | `true`, `false` |
//! | integers | `7`; beyond 2^53, which other readers of JSON would round, `"9007199254740993"` |
//! | floats | `0.1`, `"NaN"`, `"Infinity"`, `"-Infinity"` |
//! | decimals | `"12.50"`, with all of their decimal places |
//! | texts | `"O'Keefe"` |
//! | bytes | `"00ff"`, hexadecimal |
//! | dates | `"2022-11-03"` |
//! | times of day | `"14:20:52.187"` |
//! | timestamps | `"2022-11-03 14:20:52.187"`, and with a zone, in UTC, `"2022-11-03T14:20:52.187Z"` |
//! | durations | `1500`, in the unit of the type |
//! | intervals | months `14`; `[days, milliseconds]`; `[months, days, nanoseconds]` |
//! | lists, structs, maps | `[1, 2]`, `{"a": 1}`, `[["key", "value"]]` |
//!
//! A date, time or timestamp that no calendar from year 1 to 9999 has is the bare number that Arrow keeps.

mod calendar;
mod number;
mod read;
mod written;

use arrow_array::ArrayRef;
use arrow_schema::{Field, TimeUnit};

pub use number::{bytes, hex};
pub use read::Fault;

/// The array of a column from the JSON text of its values.
///
/// # Errors
/// The first value that is none of this type, or a NULL where the field allows none.
pub fn column(field: &Field, cells: &[&str]) -> Result<ArrayRef, Fault> {
    read::column(field, cells)
}

/// One value of an array as JSON.
pub fn json(array: &ArrayRef, row: usize) -> String {
    written::json(array.as_ref(), row)
}

/// The microseconds since 1970 of an instant that is written `2022-11-03T14:20:52.187Z`.
pub fn instant(text: &str) -> Option<i64> {
    match text.parse() {
        Ok(micros) => Some(micros),
        Err(_) => calendar::timestamp(text, TimeUnit::Microsecond, true),
    }
}

/// How [`instant`] reads it.
pub fn instant_text(micros: i64) -> String {
    let text = calendar::timestamp_text(micros, TimeUnit::Microsecond, true);
    text.unwrap_or_else(|| micros.to_string())
}

#[cfg(test)]
mod tests;
