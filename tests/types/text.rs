//! Arrow's values in PostgreSQL's words, by rules of this file's own: what the host decodes is not decoded by the host here.

use anyhow::{Context, Result, bail, ensure};
use arrow::array::{Array, AsArray};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
};

const MICROS_OF_DAY: i64 = 86_400_000_000;

/// Whether a value is what PostgreSQL writes as `expected`; `None` is NULL.
///
/// # Errors
/// With both, when it is not.
pub(crate) fn check(array: &dyn Array, row: usize, expected: Option<&str>) -> Result<()> {
    let Some(expected) = expected else {
        ensure!(array.is_null(row), "{} where NULL is", text(array, row)?);
        return Ok(());
    };
    ensure!(!array.is_null(row), "NULL where {} is", short(expected));
    let same = match array.data_type() {
        DataType::Float32 => same_float(array.as_primitive::<Float32Type>().value(row), expected)?,
        DataType::Float64 => {
            let value = array.as_primitive::<Float64Type>().value(row);
            let expected: f64 = expected.parse().with_context(|| expected.to_owned())?;
            value.to_bits() == expected.to_bits() || (value.is_nan() && expected.is_nan())
        }
        _ => text(array, row)? == expected,
    };
    ensure!(
        same,
        "{} where {} is",
        short(&text(array, row)?),
        short(expected)
    );
    Ok(())
}

fn same_float(value: f32, expected: &str) -> Result<bool> {
    let expected: f32 = expected.parse().with_context(|| expected.to_owned())?;
    Ok(value.to_bits() == expected.to_bits() || (value.is_nan() && expected.is_nan()))
}

/// So much of a text as a message can show.
pub(crate) fn short(text: &str) -> String {
    match text.char_indices().nth(120) {
        Some((end, _)) => format!("{}… ({} bytes)", &text[..end], text.len()),
        None => text.to_owned(),
    }
}

/// The value as a literal of DataFusion's SQL; `None` for NULL and for what is too long to ask for.
pub(crate) fn literal(array: &dyn Array, row: usize) -> Result<Option<String>> {
    if array.is_null(row) {
        return Ok(None);
    }
    let text = text(array, row)?;
    let of_type = |value: String| format!("arrow_cast({value}, '{}')", array.data_type());
    let number = |value: i64| of_type(format!("arrow_cast({value}, 'Int64')"));
    Ok(Some(match array.data_type() {
        DataType::Utf8 if text.len() > 500 => return Ok(None),
        DataType::Binary if text.len() > 500 => return Ok(None),
        DataType::Utf8 => format!("'{}'", text.replace('\'', "''")),
        DataType::Binary => format!("X'{}'", text.trim_start_matches("\\x")),
        DataType::Boolean => text.starts_with('t').to_string(),
        DataType::Date32 => {
            let days = array.as_primitive::<Date32Type>().value(row);
            of_type(format!("arrow_cast({days}, 'Int32')"))
        }
        DataType::Time64(_) => number(array.as_primitive::<Time64MicrosecondType>().value(row)),
        DataType::Timestamp(..) => {
            number(array.as_primitive::<TimestampMicrosecondType>().value(row))
        }
        _ => of_type(format!("'{text}'")),
    }))
}

fn text(array: &dyn Array, row: usize) -> Result<String> {
    if array.is_null(row) {
        return Ok("NULL".into());
    }
    Ok(match array.data_type() {
        DataType::Boolean => match array.as_boolean().value(row) {
            true => "t".into(),
            false => "f".into(),
        },
        DataType::Int16 => array.as_primitive::<Int16Type>().value(row).to_string(),
        DataType::Int32 => array.as_primitive::<Int32Type>().value(row).to_string(),
        DataType::Int64 => array.as_primitive::<Int64Type>().value(row).to_string(),
        DataType::Float32 => array.as_primitive::<Float32Type>().value(row).to_string(),
        DataType::Float64 => array.as_primitive::<Float64Type>().value(row).to_string(),
        DataType::Decimal128(..) => array.as_primitive::<Decimal128Type>().value_as_string(row),
        DataType::Decimal256(..) => array.as_primitive::<Decimal256Type>().value_as_string(row),
        DataType::Utf8 => array.as_string::<i32>().value(row).to_owned(),
        DataType::Binary => {
            let bytes = array.as_binary::<i32>().value(row).iter();
            let digits: String = bytes.map(|byte| format!("{byte:02x}")).collect();
            format!("\\x{digits}")
        }
        DataType::Date32 => date(array.as_primitive::<Date32Type>().value(row).into()),
        DataType::Time64(TimeUnit::Microsecond) => {
            time(array.as_primitive::<Time64MicrosecondType>().value(row))
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            let micros = array.as_primitive::<TimestampMicrosecondType>().value(row);
            let day = date(micros.div_euclid(MICROS_OF_DAY));
            let time = time(micros.rem_euclid(MICROS_OF_DAY));
            let zone = zone.as_ref().map_or("", |_| "+00");
            match day.strip_suffix(" BC") {
                Some(day) => format!("{day} {time}{zone} BC"),
                None => format!("{day} {time}{zone}"),
            }
        }
        other => bail!("{other} is not landed from PostgreSQL"),
    })
}

/// The day so many days after 1970-01-01, by the calendar's own rules: 400 years have 146 097 days.
fn date(days: i64) -> String {
    let days = days + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    match year > 0 {
        true => format!("{year:04}-{month:02}-{day:02}"),
        false => format!("{:04}-{month:02}-{day:02} BC", 1 - year),
    }
}

/// A time of day; the fraction without the zeros at its end.
fn time(micros: i64) -> String {
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let whole = format!(
        "{:02}:{:02}:{:02}",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    match fraction {
        0 => whole,
        _ => format!("{whole}.{fraction:06}")
            .trim_end_matches('0')
            .to_owned(),
    }
}

#[test]
fn days_have_the_names_that_postgresql_gives_them() {
    for (days, name) in [
        (0, "1970-01-01"),
        (-1, "1969-12-31"),
        (11_016, "2000-02-29"),
        (-719_528, "0001-01-01 BC"),
        (-719_162, "0001-01-01"),
        (-2_440_588 + 1, "4714-11-25 BC"),
        (2_145_042_905, "5874897-12-31"),
    ] {
        assert_eq!(date(days), name);
    }
}
