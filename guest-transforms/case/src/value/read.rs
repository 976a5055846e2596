//! From JSON to arrays.

mod nested;

use std::sync::Arc;

use arrow_array::builder::{BinaryBuilder, FixedSizeBinaryBuilder, LargeBinaryBuilder};
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type,
    Decimal256Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
    DurationSecondType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalYearMonthType,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{ArrayRef, BooleanArray, LargeStringArray, PrimitiveArray, StringArray};
use arrow_buffer::{IntervalDayTime, IntervalMonthDayNano, i256};
use arrow_schema::{DataType, Field, IntervalUnit, TimeUnit};

use super::{calendar, number};

/// A value that does not belong into its column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Its row, from 0.
    pub row: usize,
    /// What is wrong with it.
    pub message: String,
}

/// A value without parts.
enum Scalar<'a> {
    /// A number as it stands there.
    Number(&'a str),
    Text(String),
}

fn is_null(cell: &str) -> bool {
    cell == "null"
}

fn scalar(cell: &str) -> Result<Scalar<'_>, String> {
    match cell.bytes().next() {
        Some(b'"') => {
            let text = serde_json::from_str(cell).map_err(|error| error.to_string())?;
            Ok(Scalar::Text(text))
        }
        Some(b'-' | b'0'..=b'9') => Ok(Scalar::Number(cell)),
        _ => Err(format!("{cell} is neither a number nor a text")),
    }
}

/// What a number or a text says, where both may say the same.
fn spelled(cell: &str) -> Result<String, String> {
    Ok(match scalar(cell)? {
        Scalar::Number(number) => number.to_owned(),
        Scalar::Text(text) => text,
    })
}

pub(super) fn column(field: &Field, cells: &[&str]) -> Result<ArrayRef, Fault> {
    if !field.is_nullable()
        && let Some(row) = cells.iter().position(|cell| is_null(cell))
    {
        let message = "it is null, and the column always has a value".to_owned();
        return Err(Fault { row, message });
    }
    array(field.data_type(), cells)
}

fn array(data_type: &DataType, cells: &[&str]) -> Result<ArrayRef, Fault> {
    match data_type {
        DataType::Boolean => boolean(cells),
        DataType::Int8 => integer::<Int8Type>(cells),
        DataType::Int16 => integer::<Int16Type>(cells),
        DataType::Int32 => integer::<Int32Type>(cells),
        DataType::Int64 => integer::<Int64Type>(cells),
        DataType::UInt8 => integer::<UInt8Type>(cells),
        DataType::UInt16 => integer::<UInt16Type>(cells),
        DataType::UInt32 => integer::<UInt32Type>(cells),
        DataType::UInt64 => integer::<UInt64Type>(cells),
        DataType::Float16 => primitive::<Float16Type>(data_type, cells, |cell| {
            let half = <Float16Type as ArrowPrimitiveType>::Native::from_f32;
            Ok(half(float::<f32>(cell)?))
        }),
        DataType::Float32 => primitive::<Float32Type>(data_type, cells, float),
        DataType::Float64 => primitive::<Float64Type>(data_type, cells, float),
        DataType::Utf8 => Ok(Arc::new(texts(cells)?.into_iter().collect::<StringArray>())),
        DataType::LargeUtf8 => Ok(Arc::new(
            texts(cells)?.into_iter().collect::<LargeStringArray>(),
        )),
        DataType::Binary | DataType::LargeBinary | DataType::FixedSizeBinary(_) => {
            binary(data_type, cells)
        }
        DataType::Decimal32(..)
        | DataType::Decimal64(..)
        | DataType::Decimal128(..)
        | DataType::Decimal256(..) => decimals(data_type, cells),
        DataType::Date32
        | DataType::Date64
        | DataType::Time32(_)
        | DataType::Time64(_)
        | DataType::Timestamp(..)
        | DataType::Duration(_)
        | DataType::Interval(_) => times(data_type, cells),
        DataType::List(item) => nested::list::<i32>(item, cells),
        DataType::LargeList(item) => nested::list::<i64>(item, cells),
        DataType::FixedSizeList(item, size) => nested::fixed_list(item, *size, cells),
        DataType::Struct(fields) => nested::structs(fields, cells),
        DataType::Map(entries, sorted) => nested::map(entries, *sorted, cells),
        other => Err(Fault {
            row: 0,
            message: format!("no case has values of the type {other}"),
        }),
    }
}

/// Reads every value that is not NULL.
fn each<V>(
    cells: &[&str],
    read: impl Fn(&str) -> Result<V, String>,
) -> Result<Vec<Option<V>>, Fault> {
    let read = |(row, cell): (usize, &&str)| match is_null(cell) {
        true => Ok(None),
        false => read(cell)
            .map(Some)
            .map_err(|message| Fault { row, message }),
    };
    cells.iter().enumerate().map(read).collect()
}

fn primitive<T: ArrowPrimitiveType>(
    data_type: &DataType,
    cells: &[&str],
    read: impl Fn(&str) -> Result<T::Native, String>,
) -> Result<ArrayRef, Fault> {
    let values: PrimitiveArray<T> = each(cells, read)?.into_iter().collect();
    Ok(Arc::new(values.with_data_type(data_type.clone())))
}

fn integer<T: ArrowPrimitiveType>(cells: &[&str]) -> Result<ArrayRef, Fault>
where
    T::Native: std::str::FromStr,
{
    primitive::<T>(&T::DATA_TYPE, cells, |cell| {
        let spelled = spelled(cell)?;
        let parsed = spelled.parse();
        parsed.map_err(|_| format!("{cell} is no value of {}", T::DATA_TYPE))
    })
}

/// A number that may be infinite, or none at all with the bits that it has.
trait Float: std::str::FromStr {
    const NAN: Self;
    const INFINITY: Self;
    const NEG_INFINITY: Self;
    fn of_bits(digits: &str) -> Option<Self>;
}

macro_rules! floats {
    ($($float:ident, $bits:ident;)*) => {$(
        impl Float for $float {
            const NAN: Self = $float::NAN;
            const INFINITY: Self = $float::INFINITY;
            const NEG_INFINITY: Self = $float::NEG_INFINITY;
            fn of_bits(digits: &str) -> Option<Self> {
                $bits::from_str_radix(digits, 16).ok().map($float::from_bits)
            }
        }
    )*};
}

floats! { f32, u32; f64, u64; }

fn float<F: Float>(cell: &str) -> Result<F, String> {
    let no_number = || format!("{cell} is no number");
    match scalar(cell)? {
        Scalar::Number(number) => number.parse().map_err(|_| no_number()),
        Scalar::Text(text) => match text.as_str() {
            "NaN" => Ok(F::NAN),
            "Infinity" => Ok(F::INFINITY),
            "-Infinity" => Ok(F::NEG_INFINITY),
            other => {
                let bits = other
                    .strip_prefix("NaN(")
                    .and_then(|rest| rest.strip_suffix(')'));
                bits.and_then(F::of_bits).ok_or_else(no_number)
            }
        },
    }
}

fn boolean(cells: &[&str]) -> Result<ArrayRef, Fault> {
    let values = each(cells, |cell| match cell {
        "true" => Ok(true),
        "false" => Ok(false),
        other => Err(format!("{other} is neither true nor false")),
    })?;
    Ok(Arc::new(values.into_iter().collect::<BooleanArray>()))
}

fn texts(cells: &[&str]) -> Result<Vec<Option<String>>, Fault> {
    each(cells, |cell| match scalar(cell) {
        Ok(Scalar::Text(text)) => Ok(text),
        _ => Err(format!("{cell} is no text: write it in quotes")),
    })
}

fn binary(data_type: &DataType, cells: &[&str]) -> Result<ArrayRef, Fault> {
    let values = each(cells, |cell| {
        let digits = spelled(cell)?;
        number::bytes(&digits).ok_or_else(|| format!("{cell} is not made of hexadecimal digits"))
    })?;
    Ok(match data_type {
        DataType::FixedSizeBinary(size) => {
            let mut builder = FixedSizeBinaryBuilder::with_capacity(values.len(), *size);
            for (row, value) in values.iter().enumerate() {
                let appended = match value {
                    Some(value) => builder.append_value(value),
                    None => {
                        builder.append_null();
                        Ok(())
                    }
                };
                appended.map_err(|_| Fault {
                    row,
                    message: format!("it has not {size} bytes"),
                })?;
            }
            Arc::new(builder.finish())
        }
        DataType::LargeBinary => {
            let mut builder = LargeBinaryBuilder::new();
            values
                .iter()
                .for_each(|value| builder.append_option(value.as_ref()));
            Arc::new(builder.finish())
        }
        _ => {
            let mut builder = BinaryBuilder::new();
            values
                .iter()
                .for_each(|value| builder.append_option(value.as_ref()));
            Arc::new(builder.finish())
        }
    })
}

fn decimals(data_type: &DataType, cells: &[&str]) -> Result<ArrayRef, Fault> {
    let read = |cell: &str, digits: u8, after_point: i8| {
        number::decimal(&spelled(cell)?, digits, after_point)
    };
    let narrow = |value: i256| {
        value
            .to_i128()
            .ok_or_else(|| "it has too many digits".to_owned())
    };
    match *data_type {
        DataType::Decimal32(digits, scale) => {
            primitive::<Decimal32Type>(data_type, cells, |cell| {
                let value = narrow(read(cell, digits, scale)?)?;
                i32::try_from(value).map_err(|error| error.to_string())
            })
        }
        DataType::Decimal64(digits, scale) => {
            primitive::<Decimal64Type>(data_type, cells, |cell| {
                let value = narrow(read(cell, digits, scale)?)?;
                i64::try_from(value).map_err(|error| error.to_string())
            })
        }
        DataType::Decimal256(digits, scale) => {
            primitive::<Decimal256Type>(data_type, cells, |cell| read(cell, digits, scale))
        }
        DataType::Decimal128(digits, scale) => {
            primitive::<Decimal128Type>(data_type, cells, |cell| narrow(read(cell, digits, scale)?))
        }
        _ => Err(Fault {
            row: 0,
            message: "it is no decimal".to_owned(),
        }),
    }
}

/// Values that are numbers within, each with a text that people read.
fn counted<T: ArrowPrimitiveType>(
    data_type: &DataType,
    cells: &[&str],
    read: impl Fn(&str) -> Option<i64>,
) -> Result<ArrayRef, Fault>
where
    T::Native: TryFrom<i64>,
{
    primitive::<T>(data_type, cells, |cell| {
        let value = match scalar(cell)? {
            Scalar::Number(number) => number.parse().ok(),
            Scalar::Text(text) => read(&text),
        };
        let value = value.and_then(|value| T::Native::try_from(value).ok());
        value.ok_or_else(|| format!("{cell} is no value of {data_type}"))
    })
}

fn times(of: &DataType, cells: &[&str]) -> Result<ArrayRef, Fault> {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    const MILLIS_OF_DAY: i64 = 86_400_000;
    let time = |unit: TimeUnit| move |text: &str| calendar::time(text, unit);
    match of {
        DataType::Date32 => counted::<Date32Type>(of, cells, calendar::date),
        DataType::Date64 => counted::<Date64Type>(of, cells, |text| {
            calendar::date(text).map(|days| days * MILLIS_OF_DAY)
        }),
        DataType::Time32(Second) => counted::<Time32SecondType>(of, cells, time(Second)),
        DataType::Time32(_) => counted::<Time32MillisecondType>(of, cells, time(Millisecond)),
        DataType::Time64(Nanosecond) => {
            counted::<Time64NanosecondType>(of, cells, time(Nanosecond))
        }
        DataType::Time64(_) => counted::<Time64MicrosecondType>(of, cells, time(Microsecond)),
        DataType::Timestamp(unit, zone) => {
            let read = |text: &str| calendar::timestamp(text, *unit, zone.is_some());
            match unit {
                Second => counted::<TimestampSecondType>(of, cells, read),
                Millisecond => counted::<TimestampMillisecondType>(of, cells, read),
                Microsecond => counted::<TimestampMicrosecondType>(of, cells, read),
                Nanosecond => counted::<TimestampNanosecondType>(of, cells, read),
            }
        }
        DataType::Duration(unit) => {
            let read = |text: &str| text.parse().ok();
            match unit {
                Second => counted::<DurationSecondType>(of, cells, read),
                Millisecond => counted::<DurationMillisecondType>(of, cells, read),
                Microsecond => counted::<DurationMicrosecondType>(of, cells, read),
                Nanosecond => counted::<DurationNanosecondType>(of, cells, read),
            }
        }
        DataType::Interval(IntervalUnit::YearMonth) => integer::<IntervalYearMonthType>(cells),
        DataType::Interval(IntervalUnit::DayTime) => {
            primitive::<IntervalDayTimeType>(of, cells, |cell| {
                let parts: (i32, i32) = serde_json::from_str(cell).map_err(|e| e.to_string())?;
                Ok(IntervalDayTime::new(parts.0, parts.1))
            })
        }
        _ => primitive::<IntervalMonthDayNanoType>(of, cells, |cell| {
            let parts: (i32, i32, i64) = serde_json::from_str(cell).map_err(|e| e.to_string())?;
            Ok(IntervalMonthDayNano::new(parts.0, parts.1, parts.2))
        }),
    }
}
