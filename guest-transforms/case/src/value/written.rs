//! From arrays to JSON.

use arrow_array::cast::AsArray as _;
use arrow_array::types::{
    ArrowPrimitiveType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type,
    Decimal256Type, DurationMicrosecondType, DurationMillisecondType, DurationNanosecondType,
    DurationSecondType, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, IntervalDayTimeType, IntervalMonthDayNanoType, IntervalYearMonthType,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef};
use arrow_buffer::i256;
use arrow_schema::{DataType, IntervalUnit, TimeUnit};

use super::{calendar, number};

/// Whole numbers beyond this are rounded by readers of JSON that know floats only.
const EXACT_IN_FLOATS: u64 = 1 << 53;
const MILLIS_OF_DAY: i64 = 86_400_000;

pub(super) fn json(array: &dyn Array, row: usize) -> String {
    if array.is_null(row) {
        return "null".to_owned();
    }
    match array.data_type() {
        DataType::Boolean => array.as_boolean().value(row).to_string(),
        DataType::Int8 => at::<Int8Type>(array, row).to_string(),
        DataType::Int16 => at::<Int16Type>(array, row).to_string(),
        DataType::Int32 => at::<Int32Type>(array, row).to_string(),
        DataType::Int64 => integer(at::<Int64Type>(array, row).into()),
        DataType::UInt8 => at::<UInt8Type>(array, row).to_string(),
        DataType::UInt16 => at::<UInt16Type>(array, row).to_string(),
        DataType::UInt32 => at::<UInt32Type>(array, row).to_string(),
        DataType::UInt64 => integer(at::<UInt64Type>(array, row).into()),
        DataType::Float16 => float32(at::<Float16Type>(array, row).to_f32()),
        DataType::Float32 => float32(at::<Float32Type>(array, row)),
        DataType::Float64 => float64(at::<Float64Type>(array, row)),
        DataType::Utf8 => text(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => text(array.as_string::<i64>().value(row)),
        DataType::Binary => text(&number::hex(array.as_binary::<i32>().value(row))),
        DataType::LargeBinary => text(&number::hex(array.as_binary::<i64>().value(row))),
        DataType::FixedSizeBinary(_) => text(&number::hex(array.as_fixed_size_binary().value(row))),
        DataType::Decimal32(_, scale) => {
            decimal(i256::from(at::<Decimal32Type>(array, row)), *scale)
        }
        DataType::Decimal64(_, scale) => {
            decimal(i256::from(at::<Decimal64Type>(array, row)), *scale)
        }
        DataType::Decimal128(_, scale) => {
            decimal(i256::from_i128(at::<Decimal128Type>(array, row)), *scale)
        }
        DataType::Decimal256(_, scale) => decimal(at::<Decimal256Type>(array, row), *scale),
        DataType::List(_) => items(&array.as_list::<i32>().value(row)),
        DataType::LargeList(_) => items(&array.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => items(&array.as_fixed_size_list().value(row)),
        DataType::Struct(fields) => {
            let parts = fields.iter().zip(array.as_struct().columns());
            let parts = parts.map(|(field, part)| {
                format!("{}: {}", text(field.name()), json(part.as_ref(), row))
            });
            format!("{{{}}}", parts.collect::<Vec<_>>().join(", "))
        }
        DataType::Map(..) => {
            let pairs = array.as_map().value(row);
            let pairs = (0..pairs.len()).map(|at| {
                let parts = pairs.columns().iter().map(|part| json(part.as_ref(), at));
                format!("[{}]", parts.collect::<Vec<_>>().join(", "))
            });
            format!("[{}]", pairs.collect::<Vec<_>>().join(", "))
        }
        other => time(other, array, row),
    }
}

fn at<T: ArrowPrimitiveType>(array: &dyn Array, row: usize) -> T::Native {
    array.as_primitive::<T>().value(row)
}

fn text(text: &str) -> String {
    // A text is always JSON.
    serde_json::to_string(text).unwrap_or_default()
}

fn integer(number: i128) -> String {
    match number.unsigned_abs() > u128::from(EXACT_IN_FLOATS) {
        true => format!("\"{number}\""),
        false => number.to_string(),
    }
}

fn decimal(unscaled: i256, after_point: i8) -> String {
    format!("\"{}\"", number::decimal_text(unscaled, after_point))
}

fn items(items: &ArrayRef) -> String {
    let items = (0..items.len()).map(|at| json(items.as_ref(), at));
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// The shortest digits that are read back as the same number.
fn float64(number: f64) -> String {
    if number.is_nan() && number.to_bits() != f64::NAN.to_bits() {
        return format!("\"NaN({:x})\"", number.to_bits());
    }
    other_float(number).unwrap_or_else(|| format!("{number:?}"))
}

fn float32(number: f32) -> String {
    if number.is_nan() && number.to_bits() != f32::NAN.to_bits() {
        return format!("\"NaN({:x})\"", number.to_bits());
    }
    other_float(f64::from(number)).unwrap_or_else(|| format!("{number:?}"))
}

fn other_float(number: f64) -> Option<String> {
    let name = match number {
        number if number.is_nan() => "\"NaN\"",
        f64::INFINITY => "\"Infinity\"",
        f64::NEG_INFINITY => "\"-Infinity\"",
        _ => return None,
    };
    Some(name.to_owned())
}

fn time(of: &DataType, array: &dyn Array, row: usize) -> String {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond, Second};
    let (number, readable) = match of {
        DataType::Date32 => {
            let days = i64::from(at::<Date32Type>(array, row));
            (days, calendar::date_text(days))
        }
        DataType::Date64 => {
            let millis = at::<Date64Type>(array, row);
            let is_day = millis.rem_euclid(MILLIS_OF_DAY) == 0;
            let date = calendar::date_text(millis.div_euclid(MILLIS_OF_DAY));
            (millis, date.filter(|_| is_day))
        }
        DataType::Time32(unit) => {
            let time = i64::from(match unit {
                Second => at::<Time32SecondType>(array, row),
                _ => at::<Time32MillisecondType>(array, row),
            });
            (time, calendar::time_text(time, *unit))
        }
        DataType::Time64(unit) => {
            let time = match unit {
                Nanosecond => at::<Time64NanosecondType>(array, row),
                _ => at::<Time64MicrosecondType>(array, row),
            };
            (time, calendar::time_text(time, *unit))
        }
        DataType::Timestamp(unit, zone) => {
            let time = match unit {
                Second => at::<TimestampSecondType>(array, row),
                Millisecond => at::<TimestampMillisecondType>(array, row),
                Microsecond => at::<TimestampMicrosecondType>(array, row),
                Nanosecond => at::<TimestampNanosecondType>(array, row),
            };
            (time, calendar::timestamp_text(time, *unit, zone.is_some()))
        }
        DataType::Duration(unit) => {
            let time = match unit {
                Second => at::<DurationSecondType>(array, row),
                Millisecond => at::<DurationMillisecondType>(array, row),
                Microsecond => at::<DurationMicrosecondType>(array, row),
                Nanosecond => at::<DurationNanosecondType>(array, row),
            };
            (time, None)
        }
        other => return interval(other, array, row),
    };
    readable.map_or_else(|| number.to_string(), |readable| format!("\"{readable}\""))
}

fn interval(of: &DataType, array: &dyn Array, row: usize) -> String {
    match of {
        DataType::Interval(IntervalUnit::YearMonth) => {
            at::<IntervalYearMonthType>(array, row).to_string()
        }
        DataType::Interval(IntervalUnit::DayTime) => {
            let interval = at::<IntervalDayTimeType>(array, row);
            format!("[{}, {}]", interval.days, interval.milliseconds)
        }
        DataType::Interval(IntervalUnit::MonthDayNano) => {
            let interval = at::<IntervalMonthDayNanoType>(array, row);
            let (months, days) = (interval.months, interval.days);
            format!("[{months}, {days}, {}]", interval.nanoseconds)
        }
        // No module has such a column: the sandbox refuses it.
        other => text(&format!("a value of {other}")),
    }
}
