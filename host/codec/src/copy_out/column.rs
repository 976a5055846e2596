//! One column of a COPY: the bytes of its fields, as the type's `send` function writes them, into an Arrow array.

use std::sync::Arc;

use arrow::array::builder::NullBufferBuilder;
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, BooleanBufferBuilder, PrimitiveArray, StringArray,
};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Decimal256Type, DecimalType,
    Float32Type, Float64Type, Int16Type, Int32Type, Int64Type, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, i256,
};

use super::{CopyError, Field, Form, numeric};

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
    #[cold]
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
    nulls: NullBufferBuilder,
    nullable: bool,
    data_type: DataType,
    /// The fields of the block in the making.
    fields: Vec<Field>,
}

enum Values {
    Boolean(BooleanBufferBuilder),
    Int16(Vec<i16>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    Decimal128(Vec<i128>, u8, i8),
    Decimal256(Vec<i256>, u8, i8),
    Date(Vec<i32>),
    Time(Vec<i64>),
    Timestamp(Vec<i64>),
    Text(Bytes, Form),
    Binary(Bytes),
}

/// Values of any length, one after the other. That texts are UTF-8 is found of all at once.
#[derive(Default)]
struct Bytes {
    bytes: Vec<u8>,
    ends: Vec<i32>,
}

impl Column {
    /// A column of `data_type`; `None` for a type that is never landed from PostgreSQL.
    pub(super) fn new(data_type: &DataType, form: Form, nullable: bool) -> Option<Self> {
        let values = match data_type {
            DataType::Boolean => Values::Boolean(BooleanBufferBuilder::new(0)),
            DataType::Int16 => Values::Int16(Vec::new()),
            DataType::Int32 => Values::Int32(Vec::new()),
            DataType::Int64 => Values::Int64(Vec::new()),
            DataType::Float32 => Values::Float32(Vec::new()),
            DataType::Float64 => Values::Float64(Vec::new()),
            DataType::Decimal128(precision, scale) => {
                Values::Decimal128(Vec::new(), *precision, *scale)
            }
            DataType::Decimal256(precision, scale) => {
                Values::Decimal256(Vec::new(), *precision, *scale)
            }
            DataType::Utf8 => Values::Text(Bytes::default(), form),
            DataType::Binary => Values::Binary(Bytes::default()),
            DataType::Date32 => Values::Date(Vec::new()),
            DataType::Time64(TimeUnit::Microsecond) => Values::Time(Vec::new()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Values::Timestamp(Vec::new()),
            _ => return None,
        };
        Some(Self {
            values,
            nulls: NullBufferBuilder::new(0),
            nullable,
            data_type: data_type.clone(),
            fields: Vec::new(),
        })
    }

    /// Notes where a field stands in the block.
    #[inline]
    pub(super) fn push(&mut self, field: Field) {
        self.fields.push(field);
    }

    /// Appends the fields that were noted, whose bytes are in `block`.
    pub(super) fn append(&mut self, block: &[u8]) -> Result<(), Misfit> {
        let has_null = self.fields.iter().any(|field| field.is_null());
        if has_null && !self.nullable {
            return Err(Misfit::value("NULL", "value that its NOT NULL allows"));
        }
        match has_null {
            false => self.nulls.append_n_non_nulls(self.fields.len()),
            true => {
                let present = self.fields.iter().map(|field| !field.is_null());
                present.for_each(|present| self.nulls.append(present));
            }
        }
        let fields = Fields {
            fields: &self.fields,
            block,
        };
        self.values.append(fields)?;
        self.fields.clear();
        Ok(())
    }

    /// The values so far as an array; the next batch starts empty.
    pub(super) fn finish(&mut self) -> Result<ArrayRef, Misfit> {
        let nulls = self.nulls.finish();
        let of = &self.data_type;
        Ok(match &mut self.values {
            Values::Boolean(values) => Arc::new(BooleanArray::new(values.finish(), nulls)),
            Values::Int16(values) => primitive::<Int16Type>(values, nulls, of),
            Values::Int32(values) => primitive::<Int32Type>(values, nulls, of),
            Values::Int64(values) => primitive::<Int64Type>(values, nulls, of),
            Values::Float32(values) => primitive::<Float32Type>(values, nulls, of),
            Values::Float64(values) => primitive::<Float64Type>(values, nulls, of),
            Values::Decimal128(values, ..) => primitive::<Decimal128Type>(values, nulls, of),
            Values::Decimal256(values, ..) => primitive::<Decimal256Type>(values, nulls, of),
            Values::Date(values) => primitive::<Date32Type>(values, nulls, of),
            Values::Time(values) => primitive::<Time64MicrosecondType>(values, nulls, of),
            Values::Timestamp(values) => primitive::<TimestampMicrosecondType>(values, nulls, of),
            Values::Text(values, _) => {
                let (ends, bytes) = values.take();
                // A database in the encoding SQL_ASCII stores and sends any bytes.
                let text = StringArray::try_new(ends, bytes, nulls)
                    .map_err(|_| Misfit::value("bytes that are not UTF-8", "text in UTF-8"))?;
                Arc::new(text)
            }
            Values::Binary(values) => {
                let (ends, bytes) = values.take();
                Arc::new(BinaryArray::new(ends, bytes, nulls))
            }
        })
    }
}

impl Bytes {
    /// What there is; the next batch is expected to be of its size.
    fn take(&mut self) -> (OffsetBuffer<i32>, Buffer) {
        let next = Vec::with_capacity(self.bytes.len());
        let bytes = std::mem::replace(&mut self.bytes, next);
        let mut offsets = Vec::with_capacity(self.ends.len() + 1);
        offsets.push(0);
        offsets.append(&mut self.ends);
        (OffsetBuffer::new(offsets.into()), Buffer::from_vec(bytes))
    }
}

/// The fields of one column in a block.
#[derive(Clone, Copy)]
struct Fields<'a> {
    fields: &'a [Field],
    block: &'a [u8],
}

impl Fields<'_> {
    /// Appends the value of every field; what stands for NULL is never looked at.
    #[inline]
    fn collect<T: Default>(
        self,
        values: &mut Vec<T>,
        value: impl Fn(&[u8]) -> Result<T, Misfit>,
    ) -> Result<(), Misfit> {
        values.reserve(self.fields.len());
        for field in self.fields {
            values.push(match field.is_null() {
                false => value(field.of(self.block))?,
                true => T::default(),
            });
        }
        Ok(())
    }

    /// Appends what `write` makes of every field, nothing for NULL.
    #[inline]
    fn write(
        self,
        values: &mut Bytes,
        write: impl Fn(&[u8], &mut Vec<u8>) -> Result<(), Misfit>,
    ) -> Result<(), Misfit> {
        values.ends.reserve(self.fields.len());
        for field in self.fields {
            if !field.is_null() {
                write(field.of(self.block), &mut values.bytes)?;
            }
            let end = i32::try_from(values.bytes.len());
            let end = end.map_err(|_| Misfit::value("values of more than 2 GiB", "batch of less"));
            values.ends.push(end?);
        }
        Ok(())
    }
}

impl Values {
    fn append(&mut self, fields: Fields<'_>) -> Result<(), Misfit> {
        match self {
            Self::Boolean(values) => {
                for field in fields.fields {
                    let [byte] = match field.is_null() {
                        false => fixed(field.of(fields.block), "a boolean")?,
                        true => [0],
                    };
                    values.append(byte != 0);
                }
                Ok(())
            }
            Self::Int16(values) => fields.collect(values, |field| {
                fixed(field, "a smallint").map(i16::from_be_bytes)
            }),
            Self::Int32(values) => fields.collect(values, |field| {
                fixed(field, "an integer").map(i32::from_be_bytes)
            }),
            Self::Int64(values) => fields.collect(values, long),
            Self::Float32(values) => fields.collect(values, |field| {
                fixed(field, "a real").map(f32::from_be_bytes)
            }),
            Self::Float64(values) => fields.collect(values, |field| {
                fixed(field, "a double precision").map(f64::from_be_bytes)
            }),
            Self::Decimal128(values, precision, scale) => {
                let limit = 10_u128.checked_pow((*precision).into());
                fields.collect(values, |field| decimal(field, limit, *precision, *scale))
            }
            Self::Decimal256(values, precision, scale) => {
                fields.collect(values, |field| wide_decimal(field, *precision, *scale))
            }
            Self::Date(values) => fields.collect(values, date),
            Self::Time(values) => fields.collect(values, time),
            Self::Timestamp(values) => fields.collect(values, timestamp),
            Self::Text(values, Form::Uuid) => fields.write(values, |field, text| {
                text.extend_from_slice(&uuid(fixed(field, "a uuid")?));
                Ok(())
            }),
            Self::Text(values, Form::Jsonb) => fields.write(values, |field, text| {
                text.extend_from_slice(jsonb(field)?);
                Ok(())
            }),
            Self::Text(values, Form::Plain) | Self::Binary(values) => {
                fields.write(values, |field, bytes| {
                    bytes.extend_from_slice(field);
                    Ok(())
                })
            }
        }
    }
}

fn primitive<T: ArrowPrimitiveType>(
    values: &mut Vec<T::Native>,
    nulls: Option<NullBuffer>,
    of: &DataType,
) -> ArrayRef {
    let next = Vec::with_capacity(values.len());
    let values = std::mem::replace(values, next);
    Arc::new(PrimitiveArray::<T>::new(values.into(), nulls).with_data_type(of.clone()))
}

#[inline(always)]
fn fixed<const N: usize>(field: &[u8], of: &'static str) -> Result<[u8; N], Misfit> {
    field
        .try_into()
        .map_err(|_| Misfit::Length(field.len(), of))
}

/// Eight bytes with a sign, or the four bytes without one of an `oid`, which is landed as 64 bits too.
#[inline]
fn long(field: &[u8]) -> Result<i64, Misfit> {
    if let Ok(oid) = <[u8; 4]>::try_from(field) {
        return Ok(i64::from(u32::from_be_bytes(oid)));
    }
    Ok(i64::from_be_bytes(fixed(field, "a bigint")?))
}

/// A value of at most `precision` digits, `scale` of them behind the point: below `limit`.
#[inline]
fn decimal(field: &[u8], limit: Option<u128>, precision: u8, scale: i8) -> Result<i128, Misfit> {
    let value = numeric::decode_128(field, scale)
        .map_err(|fault| no_decimal(fault, field, precision, scale))?;
    match limit {
        Some(limit) if value.unsigned_abs() >= limit => Err(too_many_digits(precision, scale)),
        _ => Ok(value),
    }
}

/// The same of more than 38 digits.
fn wide_decimal(field: &[u8], precision: u8, scale: i8) -> Result<i256, Misfit> {
    let value = numeric::decode(field, scale)
        .map_err(|fault| no_decimal(fault, field, precision, scale))?;
    Decimal256Type::validate_decimal_precision(value, precision, scale)
        .map_err(|_| too_many_digits(precision, scale))?;
    Ok(value)
}

fn no_decimal(fault: numeric::Fault, field: &[u8], precision: u8, scale: i8) -> Misfit {
    match fault {
        numeric::Fault::Malformed => Misfit::Length(field.len(), "a numeric"),
        numeric::Fault::Value(what) => Misfit::value(what, format!("numeric({precision},{scale})")),
    }
}

fn too_many_digits(precision: u8, scale: i8) -> Misfit {
    Misfit::value(
        "a number with more digits",
        format!("numeric({precision},{scale})"),
    )
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

#[inline]
fn date(field: &[u8]) -> Result<i32, Misfit> {
    match i32::from_be_bytes(fixed(field, "a date")?) {
        i32::MAX => Err(Misfit::value("infinity", "day")),
        i32::MIN => Err(Misfit::value("-infinity", "day")),
        days => days
            .checked_add(EPOCH_DAYS)
            .ok_or_else(|| Misfit::value("a day too far off", "day within 32 bits of 1970")),
    }
}

#[inline]
fn time(field: &[u8]) -> Result<i64, Misfit> {
    match i64::from_be_bytes(fixed(field, "a time")?) {
        micros @ 0..DAY_MICROS => Ok(micros),
        DAY_MICROS => Err(Misfit::value("24:00:00", "time before midnight")),
        _ => Err(Misfit::value("a time outside the day", "time of day")),
    }
}

#[inline]
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
