//! One column of SQLite values into an Arrow builder, each value checked against the declared type.
//!
//! A column that is landed as text takes every value: a text as it is, a number in the fewest digits that stand for
//! it alone, a blob as SQL writes it. SQLite's own `CAST(… AS TEXT)` was rejected: it rounds doubles to 15
//! digits, and takes the bytes of a blob for text.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Decimal256Builder,
    Float64Builder, Int16Builder, Int32Builder, Int64Builder, StringBuilder,
    Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, DecimalType, TimeUnit, i256};
use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Timelike};
use rusqlite::types::{Type, ValueRef};

/// Integers up to this are exact as doubles.
const EXACT_DOUBLE: u64 = 1 << 53;

/// Why a value has no place in its column.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// What was found, without the value.
    pub(super) found: &'static str,
    /// What would fit.
    pub(super) expected: String,
}

/// The values of one column so far.
pub(super) struct Column {
    values: Values,
    nullable: bool,
}

enum Values {
    Boolean(BooleanBuilder),
    Int16(Int16Builder),
    Int32(Int32Builder),
    Int64(Int64Builder),
    Float64(Float64Builder),
    Decimal128(Decimal128Builder, u8, i8),
    Decimal256(Decimal256Builder, u8, i8),
    Utf8(StringBuilder),
    /// A value of any type, as text.
    Any(StringBuilder),
    Binary(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    TimestampTz(TimestampMicrosecondBuilder),
}

impl Column {
    /// The builder for `data_type`; `None` for a type that is never landed from SQLite.
    pub(super) fn new(data_type: &DataType, nullable: bool) -> Option<Self> {
        let timestamp = || TimestampMicrosecondBuilder::new().with_data_type(data_type.clone());
        let values = match data_type {
            DataType::Boolean => Values::Boolean(BooleanBuilder::new()),
            DataType::Int16 => Values::Int16(Int16Builder::new()),
            DataType::Int32 => Values::Int32(Int32Builder::new()),
            DataType::Int64 => Values::Int64(Int64Builder::new()),
            DataType::Float64 => Values::Float64(Float64Builder::new()),
            DataType::Decimal128(precision, scale) => Values::Decimal128(
                Decimal128Builder::new().with_data_type(data_type.clone()),
                *precision,
                *scale,
            ),
            DataType::Decimal256(precision, scale) => Values::Decimal256(
                Decimal256Builder::new().with_data_type(data_type.clone()),
                *precision,
                *scale,
            ),
            DataType::Utf8 => Values::Utf8(StringBuilder::new()),
            DataType::Binary => Values::Binary(BinaryBuilder::new()),
            DataType::Date32 => Values::Date(Date32Builder::new()),
            DataType::Time64(TimeUnit::Microsecond) => {
                Values::Time(Time64MicrosecondBuilder::new())
            }
            DataType::Timestamp(TimeUnit::Microsecond, None) => Values::Timestamp(timestamp()),
            DataType::Timestamp(TimeUnit::Microsecond, Some(_)) => Values::TimestampTz(timestamp()),
            _ => return None,
        };
        Some(Self { values, nullable })
    }

    /// The builder of a column that is landed as text whatever its values are.
    pub(super) fn of_any(nullable: bool) -> Self {
        Self {
            values: Values::Any(StringBuilder::new()),
            nullable,
        }
    }

    /// Appends one value.
    pub(super) fn append(&mut self, value: ValueRef<'_>) -> Result<(), Misfit> {
        if matches!(value, ValueRef::Null) {
            if !self.nullable {
                return Err(misfit(value, "value that its NOT NULL or its key allows"));
            }
            self.values.append_null();
            return Ok(());
        }
        self.values.append(value)
    }

    /// The values so far as an array; the next batch starts empty.
    pub(super) fn finish(&mut self) -> ArrayRef {
        match &mut self.values {
            Values::Boolean(builder) => Arc::new(builder.finish()),
            Values::Int16(builder) => Arc::new(builder.finish()),
            Values::Int32(builder) => Arc::new(builder.finish()),
            Values::Int64(builder) => Arc::new(builder.finish()),
            Values::Float64(builder) => Arc::new(builder.finish()),
            Values::Decimal128(builder, ..) => Arc::new(builder.finish()),
            Values::Decimal256(builder, ..) => Arc::new(builder.finish()),
            Values::Utf8(builder) | Values::Any(builder) => Arc::new(builder.finish()),
            Values::Binary(builder) => Arc::new(builder.finish()),
            Values::Date(builder) => Arc::new(builder.finish()),
            Values::Time(builder) => Arc::new(builder.finish()),
            Values::Timestamp(builder) | Values::TimestampTz(builder) => Arc::new(builder.finish()),
        }
    }
}

impl Values {
    fn append_null(&mut self) {
        match self {
            Self::Boolean(builder) => builder.append_null(),
            Self::Int16(builder) => builder.append_null(),
            Self::Int32(builder) => builder.append_null(),
            Self::Int64(builder) => builder.append_null(),
            Self::Float64(builder) => builder.append_null(),
            Self::Decimal128(builder, ..) => builder.append_null(),
            Self::Decimal256(builder, ..) => builder.append_null(),
            Self::Utf8(builder) | Self::Any(builder) => builder.append_null(),
            Self::Binary(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Time(builder) => builder.append_null(),
            Self::Timestamp(builder) | Self::TimestampTz(builder) => builder.append_null(),
        }
    }

    fn append(&mut self, value: ValueRef<'_>) -> Result<(), Misfit> {
        match self {
            Self::Boolean(builder) => match value {
                ValueRef::Integer(bit @ (0 | 1)) => builder.append_value(bit == 1),
                _ => return Err(misfit(value, "boolean, which is 0 or 1")),
            },
            Self::Int16(builder) => builder.append_value(integer(value, "16-bit integer")?),
            Self::Int32(builder) => builder.append_value(integer(value, "32-bit integer")?),
            Self::Int64(builder) => builder.append_value(integer(value, "64-bit integer")?),
            Self::Float64(builder) => builder.append_value(double(value)?),
            Self::Decimal128(builder, precision, scale) => {
                builder.append_value(decimal::<i128, Decimal128Type>(value, *precision, *scale)?);
            }
            Self::Decimal256(builder, precision, scale) => {
                builder.append_value(decimal::<i256, Decimal256Type>(value, *precision, *scale)?);
            }
            Self::Utf8(builder) => builder.append_value(text(value, "text in UTF-8")?),
            Self::Any(builder) => builder.append_value(any(value)),
            Self::Binary(builder) => match value {
                ValueRef::Blob(bytes) => builder.append_value(bytes),
                _ => return Err(misfit(value, "blob")),
            },
            Self::Date(builder) => builder.append_value(date(value)?),
            Self::Time(builder) => builder.append_value(time(value)?),
            Self::Timestamp(builder) => builder.append_value(timestamp(value)?),
            Self::TimestampTz(builder) => builder.append_value(timestamp_tz(value)?),
        }
        Ok(())
    }
}

fn misfit(value: ValueRef<'_>, expected: impl Into<String>) -> Misfit {
    Misfit {
        found: match value.data_type() {
            Type::Null => "NULL",
            Type::Integer => "an integer",
            Type::Real => "a real",
            Type::Text => "a text",
            Type::Blob => "a blob",
        },
        expected: expected.into(),
    }
}

fn integer<T: TryFrom<i64>>(value: ValueRef<'_>, expected: &str) -> Result<T, Misfit> {
    match value {
        ValueRef::Integer(number) => T::try_from(number).map_err(|_| misfit(value, expected)),
        _ => Err(misfit(value, expected)),
    }
}

fn double(value: ValueRef<'_>) -> Result<f64, Misfit> {
    match value {
        ValueRef::Real(number) => Ok(number),
        ValueRef::Integer(number) if number.unsigned_abs() <= EXACT_DOUBLE => Ok(number as f64),
        _ => Err(misfit(value, "double")),
    }
}

fn text<'a>(value: ValueRef<'a>, expected: &str) -> Result<&'a str, Misfit> {
    match value {
        ValueRef::Text(bytes) => std::str::from_utf8(bytes).map_err(|_| misfit(value, expected)),
        _ => Err(misfit(value, expected)),
    }
}

/// Any value but NULL, as text.
fn any(value: ValueRef<'_>) -> Cow<'_, str> {
    match value {
        ValueRef::Null => Cow::Borrowed(""),
        ValueRef::Integer(number) => Cow::Owned(number.to_string()),
        ValueRef::Real(number) if number.is_infinite() => {
            Cow::Borrowed(if number > 0.0 { "Inf" } else { "-Inf" })
        }
        // The shortest text that is this double and no other.
        ValueRef::Real(number) => Cow::Owned(format!("{number:?}")),
        ValueRef::Text(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(format!("CAST({} AS TEXT)", literal(bytes))),
        },
        ValueRef::Blob(bytes) => Cow::Owned(literal(bytes)),
    }
}

/// Bytes as SQL writes them: `x'00ff'`.
fn literal(bytes: &[u8]) -> String {
    let mut literal = String::with_capacity(2 * bytes.len() + 3);
    literal.push_str("x'");
    for byte in bytes {
        // Writing to a String does not fail.
        let _ = write!(literal, "{byte:02x}");
    }
    literal.push('\'');
    literal
}

fn decimal<V: std::str::FromStr + Copy, T: DecimalType<Native = V>>(
    value: ValueRef<'_>,
    precision: u8,
    scale: i8,
) -> Result<V, Misfit> {
    let expected = || misfit(value, format!("numeric({precision},{scale})"));
    let places = usize::try_from(scale).map_err(|_| expected())?;
    let digits = match value {
        ValueRef::Integer(number) => unscaled(&number.to_string(), places),
        ValueRef::Text(_) => unscaled(text(value, "")?, places),
        // SQLite turns '12.50' into a double on its own. It stands for the decimal if it is the double
        // nearest to it; a sum of doubles that is off by a bit is not.
        ValueRef::Real(number) => Some(format!("{number:.places$}"))
            .filter(|text| text.parse() == Ok(number))
            .and_then(|text| unscaled(&text, places)),
        ValueRef::Null | ValueRef::Blob(_) => None,
    };
    let unscaled: V = digits
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(expected)?;
    T::validate_decimal_precision(unscaled, precision, scale).map_err(|_| expected())?;
    Ok(unscaled)
}

/// The digits of a decimal number times ten to the power of `places`; `None` when it is none, or has more
/// places than that.
fn unscaled(number: &str, places: usize) -> Option<String> {
    let (sign, magnitude) = match number.strip_prefix('-') {
        Some(magnitude) => ("-", magnitude),
        None => ("", number),
    };
    let (whole, fraction) = magnitude.split_once('.').unwrap_or((magnitude, "0"));
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    if !is_number(whole) || !is_number(fraction) {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    (fraction.len() <= places).then(|| format!("{sign}{whole}{fraction:0<places$}"))
}

fn date(value: ValueRef<'_>) -> Result<i32, Misfit> {
    let expected = "date like 2022-11-03";
    let date = NaiveDate::parse_from_str(text(value, expected)?, "%Y-%m-%d")
        .map_err(|_| misfit(value, expected))?;
    i32::try_from((date - NaiveDate::default()).num_days()).map_err(|_| misfit(value, expected))
}

fn time(value: ValueRef<'_>) -> Result<i64, Misfit> {
    let expected = "time like 14:20:51.563";
    let text = text(value, expected)?;
    let time = NaiveTime::parse_from_str(text, "%H:%M:%S%.f")
        .or_else(|_| NaiveTime::parse_from_str(text, "%H:%M"))
        .ok()
        .filter(whole_micros)
        .ok_or_else(|| misfit(value, expected))?;
    Ok(i64::from(time.num_seconds_from_midnight()) * 1_000_000
        + i64::from(time.nanosecond() / 1_000))
}

fn timestamp(value: ValueRef<'_>) -> Result<i64, Misfit> {
    let expected = "timestamp like 2022-11-03 14:20:51.563";
    let text = text(value, expected)?.replacen('T', " ", 1);
    NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M:%S%.f")
        .or_else(|_| NaiveDateTime::parse_from_str(&text, "%Y-%m-%d %H:%M"))
        .ok()
        .filter(whole_micros)
        .map(|time| time.and_utc().timestamp_micros())
        .ok_or_else(|| misfit(value, expected))
}

fn timestamp_tz(value: ValueRef<'_>) -> Result<i64, Misfit> {
    let expected = "timestamp with an offset like 2022-11-03T14:20:51.563Z";
    DateTime::parse_from_rfc3339(&text(value, expected)?.replacen(' ', "T", 1))
        .ok()
        .filter(whole_micros)
        .map(|time| time.timestamp_micros())
        .ok_or_else(|| misfit(value, expected))
}

/// Whether a time is no finer than a microsecond and no leap second: both would be lost.
fn whole_micros(time: &impl Timelike) -> bool {
    time.nanosecond() < 1_000_000_000 && time.nanosecond().is_multiple_of(1_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::util::display::array_value_to_string;

    fn shown(data_type: &DataType, value: ValueRef<'_>) -> Result<String, Misfit> {
        let mut column = Column::new(data_type, true).expect("the type is known");
        column.append(ValueRef::Null).expect("it may be NULL");
        column.append(value)?;
        let array = column.finish();
        assert!(array.is_null(0));
        Ok(array_value_to_string(&array, 1).expect("it can be shown"))
    }

    const MICROS: TimeUnit = TimeUnit::Microsecond;

    #[test]
    fn values_of_the_declared_type_are_taken_exactly() {
        let tz = DataType::Timestamp(MICROS, Some("UTC".into()));
        for (data_type, value, expected) in [
            (DataType::Boolean, ValueRef::Integer(1), "true"),
            (DataType::Int16, ValueRef::Integer(-32_768), "-32768"),
            (
                DataType::Int64,
                ValueRef::Integer(i64::MIN),
                "-9223372036854775808",
            ),
            (DataType::Float64, ValueRef::Real(0.1), "0.1"),
            (DataType::Float64, ValueRef::Integer(3), "3.0"),
            (
                DataType::Decimal128(10, 2),
                ValueRef::Real(12_345_678.9),
                "12345678.90",
            ),
            (
                DataType::Decimal128(10, 2),
                ValueRef::Text(b"-0.05000"),
                "-0.05",
            ),
            (DataType::Decimal128(10, 2), ValueRef::Integer(7), "7.00"),
            (
                DataType::Decimal256(50, 1),
                ValueRef::Text(b"9876543210987654321098765432109876543210.5"),
                "9876543210987654321098765432109876543210.5",
            ),
            (DataType::Utf8, ValueRef::Text("🚢".as_bytes()), "🚢"),
            (DataType::Binary, ValueRef::Blob(&[0, 255]), "00ff"),
            (
                DataType::Date32,
                ValueRef::Text(b"1969-12-31"),
                "1969-12-31",
            ),
            (
                DataType::Time64(MICROS),
                ValueRef::Text(b"23:59:59.999999"),
                "23:59:59.999999",
            ),
            (
                DataType::Timestamp(MICROS, None),
                ValueRef::Text(b"2022-11-03T14:20:51.563"),
                "2022-11-03T14:20:51.563",
            ),
            (
                tz,
                ValueRef::Text(b"2022-11-03 14:20:51+02:00"),
                "2022-11-03T12:20:51Z",
            ),
        ] {
            assert_eq!(shown(&data_type, value).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_column_of_any_values_keeps_each_apart() {
        let mut column = Column::of_any(true);
        for (value, expected) in [
            (ValueRef::Null, ""),
            (ValueRef::Integer(i64::MIN), "-9223372036854775808"),
            (ValueRef::Real(0.1 + 0.2), "0.30000000000000004"),
            (ValueRef::Real(-0.0), "-0.0"),
            (ValueRef::Real(1e300), "1e300"),
            (ValueRef::Real(f64::NEG_INFINITY), "-Inf"),
            (ValueRef::Text("🚢".as_bytes()), "🚢"),
            (ValueRef::Text(&[b'a', 0xff]), "CAST(x'61ff' AS TEXT)"),
            (ValueRef::Blob(b"a"), "x'61'"),
        ] {
            column.append(value).expect("any value is taken");
            let array = column.finish();
            assert_eq!(array.is_null(0), matches!(value, ValueRef::Null));
            assert_eq!(array_value_to_string(&array, 0).expect("text"), expected);
        }
    }

    #[test]
    fn values_of_another_type_are_refused() {
        for (data_type, value) in [
            (DataType::Boolean, ValueRef::Integer(2)),
            (DataType::Int16, ValueRef::Integer(32_768)),
            (DataType::Int64, ValueRef::Text(b"7")),
            (
                DataType::Float64,
                ValueRef::Integer(EXACT_DOUBLE as i64 + 1),
            ),
            (DataType::Decimal128(10, 2), ValueRef::Real(0.1 + 0.2)),
            (DataType::Decimal128(10, 2), ValueRef::Real(1.005)),
            (DataType::Decimal128(10, 2), ValueRef::Real(f64::INFINITY)),
            (DataType::Decimal128(4, 2), ValueRef::Integer(100)),
            (DataType::Decimal128(10, 2), ValueRef::Text(b"1e3")),
            (DataType::Decimal128(10, 2), ValueRef::Text(b"")),
            (DataType::Utf8, ValueRef::Integer(7)),
            (DataType::Utf8, ValueRef::Text(&[0xff])),
            (DataType::Date32, ValueRef::Text(b"03/11/2022")),
            (DataType::Date32, ValueRef::Integer(0)),
            (DataType::Time64(MICROS), ValueRef::Text(b"24:00:00")),
            (
                DataType::Time64(MICROS),
                ValueRef::Text(b"12:00:00.0000001"),
            ),
            (
                DataType::Timestamp(MICROS, None),
                ValueRef::Text(b"2022-11-03 14:20:51Z"),
            ),
            (
                DataType::Timestamp(MICROS, Some("UTC".into())),
                ValueRef::Text(b"2022-11-03 14:20:51"),
            ),
        ] {
            assert!(shown(&data_type, value).is_err(), "{data_type} {value:?}");
        }
    }
}
