//! One column of a COPY: a field's bytes, as the type's `send` function writes them, into an Arrow builder.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder,
    Decimal256Builder, Float32Builder, Float64Builder, Int16Builder, Int32Builder, Int64Builder,
    StringArray, Time64MicrosecondBuilder, TimestampMicrosecondBuilder,
};
use arrow::datatypes::{DataType, Decimal128Type, Decimal256Type, DecimalType, TimeUnit, i256};

use super::{CopyError, Wire, numeric};

/// Days from 1970-01-01 to 2000-01-01, where PostgreSQL's dates begin.
const EPOCH_DAYS: i32 = 10_957;

/// Microseconds from 1970-01-01 to 2000-01-01.
const EPOCH_MICROS: i64 = EPOCH_DAYS as i64 * DAY_MICROS;

const DAY_MICROS: i64 = 86_400_000_000;

/// Where the digits of each byte of a uuid stand in its text.
const UUID_DIGITS: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];

/// Both digits of every byte.
#[expect(
    clippy::indexing_slicing,
    reason = "the compiler does it, and would say so"
)]
const HEXADECIMAL: [[u8; 2]; 256] = {
    let digits = b"0123456789abcdef";
    let mut all = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        all[byte] = [digits[byte >> 4], digits[byte & 15]];
        byte += 1;
    }
    all
};

/// Why a field has no place in its column.
#[derive(Debug)]
pub(super) enum Misfit {
    /// It has another number of bytes than its type.
    Length(usize, &'static str),
    /// It is well formed, and not representable.
    Value(String, String),
}

impl Misfit {
    fn value(value: impl Into<String>, expected: impl Into<String>) -> Self {
        Self::Value(value.into(), expected.into())
    }

    /// The error, said of the column at `position`.
    pub(super) fn at(self, position: usize) -> CopyError {
        match self {
            Self::Length(bytes, of) => CopyError::Format(format!(
                "field {} has {bytes} bytes, which is not the length of {of}",
                position + 1
            )),
            Self::Value(value, expected) => CopyError::Value {
                column: position,
                value,
                expected,
            },
        }
    }
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
    Float32(Float32Builder),
    Float64(Float64Builder),
    Decimal128(Decimal128Builder, u8, i8),
    Decimal256(Decimal256Builder, u8, i8),
    /// Bytes until the batch is complete: they are found to be text all at once.
    Utf8(BinaryBuilder),
    Uuid(BinaryBuilder),
    Jsonb(BinaryBuilder),
    Binary(BinaryBuilder),
    Date(Date32Builder),
    Time(Time64MicrosecondBuilder),
    Timestamp(TimestampMicrosecondBuilder),
}

impl Column {
    /// The builder for `data_type`; `None` for a type that is never landed from PostgreSQL.
    pub(super) fn new(data_type: &DataType, wire: Wire, nullable: bool) -> Option<Self> {
        let values = match data_type {
            DataType::Utf8 if wire == Wire::Uuid => Values::Uuid(BinaryBuilder::new()),
            DataType::Utf8 if wire == Wire::Jsonb => Values::Jsonb(BinaryBuilder::new()),
            DataType::Boolean => Values::Boolean(BooleanBuilder::new()),
            DataType::Int16 => Values::Int16(Int16Builder::new()),
            DataType::Int32 => Values::Int32(Int32Builder::new()),
            DataType::Int64 => Values::Int64(Int64Builder::new()),
            DataType::Float32 => Values::Float32(Float32Builder::new()),
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
            DataType::Utf8 => Values::Utf8(BinaryBuilder::new()),
            DataType::Binary => Values::Binary(BinaryBuilder::new()),
            DataType::Date32 => Values::Date(Date32Builder::new()),
            DataType::Time64(TimeUnit::Microsecond) => {
                Values::Time(Time64MicrosecondBuilder::new())
            }
            DataType::Timestamp(TimeUnit::Microsecond, _) => Values::Timestamp(
                TimestampMicrosecondBuilder::new().with_data_type(data_type.clone()),
            ),
            _ => return None,
        };
        Some(Self { values, nullable })
    }

    /// Appends one field; `None` is NULL.
    pub(super) fn append(&mut self, field: Option<&[u8]>) -> Result<(), Misfit> {
        match field {
            Some(field) => self.values.append(field),
            None if self.nullable => {
                self.values.append_null();
                Ok(())
            }
            None => Err(Misfit::value("NULL", "value that its NOT NULL allows")),
        }
    }

    /// The values so far as an array; the next batch starts empty.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, Misfit> {
        Ok(match &mut self.values {
            Values::Boolean(builder) => Arc::new(builder.finish()),
            Values::Int16(builder) => Arc::new(builder.finish()),
            Values::Int32(builder) => Arc::new(builder.finish()),
            Values::Int64(builder) => Arc::new(builder.finish()),
            Values::Float32(builder) => Arc::new(builder.finish()),
            Values::Float64(builder) => Arc::new(builder.finish()),
            Values::Decimal128(builder, ..) => Arc::new(builder.finish()),
            Values::Decimal256(builder, ..) => Arc::new(builder.finish()),
            Values::Utf8(builder) | Values::Uuid(builder) | Values::Jsonb(builder) => {
                Arc::new(text(builder.finish())?)
            }
            Values::Binary(builder) => Arc::new(builder.finish()),
            Values::Date(builder) => Arc::new(builder.finish()),
            Values::Time(builder) => Arc::new(builder.finish()),
            Values::Timestamp(builder) => Arc::new(builder.finish()),
        })
    }
}

impl Values {
    fn append_null(&mut self) {
        match self {
            Self::Boolean(builder) => builder.append_null(),
            Self::Int16(builder) => builder.append_null(),
            Self::Int32(builder) => builder.append_null(),
            Self::Int64(builder) => builder.append_null(),
            Self::Float32(builder) => builder.append_null(),
            Self::Float64(builder) => builder.append_null(),
            Self::Decimal128(builder, ..) => builder.append_null(),
            Self::Decimal256(builder, ..) => builder.append_null(),
            Self::Utf8(builder) | Self::Uuid(builder) | Self::Jsonb(builder) => {
                builder.append_null();
            }
            Self::Binary(builder) => builder.append_null(),
            Self::Date(builder) => builder.append_null(),
            Self::Time(builder) => builder.append_null(),
            Self::Timestamp(builder) => builder.append_null(),
        }
    }

    fn append(&mut self, field: &[u8]) -> Result<(), Misfit> {
        match self {
            Self::Boolean(builder) => {
                let [byte] = fixed(field, "a boolean")?;
                builder.append_value(byte != 0);
            }
            Self::Int16(builder) => {
                builder.append_value(i16::from_be_bytes(fixed(field, "a smallint")?));
            }
            Self::Int32(builder) => {
                builder.append_value(i32::from_be_bytes(fixed(field, "an integer")?));
            }
            Self::Int64(builder) => builder.append_value(long(field)?),
            Self::Float32(builder) => {
                builder.append_value(f32::from_be_bytes(fixed(field, "a real")?));
            }
            Self::Float64(builder) => {
                builder.append_value(f64::from_be_bytes(fixed(field, "a double precision")?));
            }
            Self::Decimal128(builder, precision, scale) => {
                builder.append_value(decimal::<i128, Decimal128Type>(field, *precision, *scale)?);
            }
            Self::Decimal256(builder, precision, scale) => {
                builder.append_value(decimal::<i256, Decimal256Type>(field, *precision, *scale)?);
            }
            Self::Utf8(builder) => builder.append_value(field),
            Self::Uuid(builder) => builder.append_value(uuid(fixed(field, "a uuid")?)),
            Self::Jsonb(builder) => builder.append_value(jsonb(field)?),
            Self::Binary(builder) => builder.append_value(field),
            Self::Date(builder) => builder.append_value(date(field)?),
            Self::Time(builder) => builder.append_value(time(field)?),
            Self::Timestamp(builder) => builder.append_value(timestamp(field)?),
        }
        Ok(())
    }
}

fn fixed<const N: usize>(field: &[u8], of: &'static str) -> Result<[u8; N], Misfit> {
    field
        .try_into()
        .map_err(|_| Misfit::Length(field.len(), of))
}

/// Eight bytes with a sign, or the four bytes without one of an `oid`, which is landed as 64 bits too.
fn long(field: &[u8]) -> Result<i64, Misfit> {
    if let Ok(oid) = <[u8; 4]>::try_from(field) {
        return Ok(i64::from(u32::from_be_bytes(oid)));
    }
    Ok(i64::from_be_bytes(fixed(field, "a bigint")?))
}

fn decimal<V: numeric::Unscaled, T: DecimalType<Native = V>>(
    field: &[u8],
    precision: u8,
    scale: i8,
) -> Result<V, Misfit> {
    let expected = || format!("numeric({precision},{scale})");
    let value = numeric::decode(field, scale).map_err(|fault| match fault {
        numeric::Fault::Malformed => Misfit::Length(field.len(), "a numeric"),
        numeric::Fault::Value(what) => Misfit::value(what, expected()),
    })?;
    T::validate_decimal_precision(value, precision, scale)
        .map_err(|_| Misfit::value("a number with more digits", expected()))?;
    Ok(value)
}

fn text(values: BinaryArray) -> Result<StringArray, Misfit> {
    // A database in the encoding SQL_ASCII stores and sends any bytes.
    StringArray::try_from_binary(values)
        .map_err(|_| Misfit::value("bytes that are not UTF-8", "text in UTF-8"))
}

/// The text of a uuid: 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12.
fn uuid(bytes: [u8; 16]) -> [u8; 36] {
    let mut text = [b'-'; 36];
    for (byte, at) in bytes.iter().zip(UUID_DIGITS) {
        let digits = HEXADECIMAL.get(usize::from(*byte));
        if let (Some(digits), Some(place)) = (digits, text.get_mut(at..at + 2)) {
            place.copy_from_slice(digits);
        }
    }
    text
}

/// The text behind the version of a jsonb, of which there has been one.
fn jsonb(field: &[u8]) -> Result<&[u8], Misfit> {
    match field.split_first() {
        Some((1, text)) => Ok(text),
        Some((version, _)) => Err(Misfit::value(
            format!("a jsonb of version {version}"),
            "jsonb of version 1",
        )),
        None => Err(Misfit::Length(0, "a jsonb")),
    }
}

fn date(field: &[u8]) -> Result<i32, Misfit> {
    match i32::from_be_bytes(fixed(field, "a date")?) {
        i32::MAX => Err(Misfit::value("infinity", "day")),
        i32::MIN => Err(Misfit::value("-infinity", "day")),
        days => days
            .checked_add(EPOCH_DAYS)
            .ok_or_else(|| Misfit::value("a day too far off", "day within 32 bits of 1970")),
    }
}

fn time(field: &[u8]) -> Result<i64, Misfit> {
    match i64::from_be_bytes(fixed(field, "a time")?) {
        micros @ 0..DAY_MICROS => Ok(micros),
        DAY_MICROS => Err(Misfit::value("24:00:00", "time before midnight")),
        _ => Err(Misfit::value("a time outside the day", "time of day")),
    }
}

fn timestamp(field: &[u8]) -> Result<i64, Misfit> {
    match i64::from_be_bytes(fixed(field, "a timestamp")?) {
        i64::MAX => Err(Misfit::value("infinity", "point in time")),
        i64::MIN => Err(Misfit::value("-infinity", "point in time")),
        micros => micros.checked_add(EPOCH_MICROS).ok_or_else(|| {
            Misfit::value(
                "a time after the year 294246",
                "time within 64 bits of microseconds of 1970",
            )
        }),
    }
}
