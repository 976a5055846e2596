//! PostgreSQL's binary values as Arrow arrays: the other direction of `copy`, for the results of queries.
//!
//! Types without an exact Arrow type are asked for as text. `numeric` without declared digits, which sums and
//! averages are, is text too: its scale may change from row to row.

#[cfg(any(test, feature = "fuzzing"))]
pub(super) mod fuzz;
mod number;

use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Decimal128Builder, Decimal256Builder,
    ListBuilder, PrimitiveBuilder, StringBuilder,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Field, Float32Type, Float64Type, Int16Type,
    Int32Type, Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt32Type,
};
use tidemill_codec::copy_out::numeric;
use tokio_postgres::Column;
use tokio_postgres::types::{FromSql, Kind, Type};

use self::number::Number;
use super::types::numeric_digits;
use crate::warehouse::WarehouseError;

const EPOCH_DAYS: i32 = 10_957;
const EPOCH_MICROS: i64 = 946_684_800_000_000;
const DECIMAL128_DIGITS: i32 = 38;
const DECIMAL256_DIGITS: i32 = 76;
const ARRAY_HEADER_BYTES: usize = 12;
const ARRAY_DIMENSION_BYTES: usize = 8;

/// The bytes of a value of any type.
pub(super) struct Raw<'a>(pub(super) &'a [u8]);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn std::error::Error + Sync + Send>> {
        Ok(Self(raw))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

/// Whether the binary form of a column is understood here.
pub(super) fn is_readable(column: &Column) -> bool {
    Form::of(column.type_(), column.type_modifier()).is_some()
}

/// How values are read.
#[derive(Debug, Clone, PartialEq)]
enum Form {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Decimal128(u8, i8),
    Decimal256(u8, i8),
    /// A number without declared digits, as text.
    Number,
    Text,
    Jsonb,
    Uuid,
    Bytea,
    Date,
    Time,
    Timestamp(bool),
    List(Box<Form>),
}

impl Form {
    fn of(of: &Type, modifier: i32) -> Option<Self> {
        if let Kind::Array(element) = of.kind() {
            return match Self::of(element, modifier)? {
                Self::List(_) => None,
                element => Some(Self::List(Box::new(element))),
            };
        }
        if matches!(of.kind(), Kind::Enum(_)) || of.name() == "citext" {
            return Some(Self::Text);
        }
        Some(match *of {
            Type::BOOL => Self::Bool,
            Type::INT2 => Self::Int2,
            Type::INT4 => Self::Int4,
            Type::INT8 => Self::Int8,
            Type::OID => Self::Oid,
            Type::FLOAT4 => Self::Float4,
            Type::FLOAT8 => Self::Float8,
            Type::NUMERIC => Self::numeric(modifier),
            Type::TEXT
            | Type::VARCHAR
            | Type::BPCHAR
            | Type::NAME
            | Type::UNKNOWN
            | Type::JSON
            | Type::XML => Self::Text,
            Type::JSONB => Self::Jsonb,
            Type::UUID => Self::Uuid,
            Type::BYTEA => Self::Bytea,
            Type::DATE => Self::Date,
            Type::TIME => Self::Time,
            Type::TIMESTAMP => Self::Timestamp(false),
            Type::TIMESTAMPTZ => Self::Timestamp(true),
            _ => return None,
        })
    }

    fn numeric(modifier: i32) -> Self {
        match numeric_digits(modifier) {
            // Arrow has more digits after the point than in all only for small numbers; PostgreSQL, too.
            Some((precision, scale @ 0..=DECIMAL128_DIGITS))
                if (scale..=DECIMAL128_DIGITS).contains(&precision) =>
            {
                Self::Decimal128(precision as u8, scale as i8)
            }
            Some((precision, scale @ 0..=DECIMAL256_DIGITS))
                if (scale..=DECIMAL256_DIGITS).contains(&precision) =>
            {
                Self::Decimal256(precision as u8, scale as i8)
            }
            _ => Self::Number,
        }
    }

    fn data_type(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Oid => DataType::UInt32,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Decimal128(precision, scale) => DataType::Decimal128(*precision, *scale),
            Self::Decimal256(precision, scale) => DataType::Decimal256(*precision, *scale),
            Self::Number | Self::Text | Self::Jsonb | Self::Uuid => DataType::Utf8,
            Self::Bytea => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp(zoned) => {
                DataType::Timestamp(TimeUnit::Microsecond, zoned.then(|| "UTC".into()))
            }
            Self::List(element) => DataType::new_list(element.data_type(), true),
        }
    }

    fn builder(&self) -> Box<dyn ArrayBuilder> {
        match self {
            Self::List(element) => Box::new(
                ListBuilder::new(element.builder())
                    .with_field(Field::new_list_field(element.data_type(), true)),
            ),
            _ => arrow::array::make_builder(&self.data_type(), 0),
        }
    }

    /// Appends one value, or says what is wrong with it.
    fn append(&self, raw: Option<&[u8]>, to: &mut dyn ArrayBuilder) -> Result<(), &'static str> {
        match self {
            Self::Bool => {
                let value = raw.map(|raw| raw != [0]);
                let to = to.as_any_mut().downcast_mut::<BooleanBuilder>();
                to.ok_or(MISMATCH)?.append_option(value);
                Ok(())
            }
            Self::Int2 => append::<Int16Type, 2>(raw, to, |raw| Ok(i16::from_be_bytes(raw))),
            Self::Int4 => append::<Int32Type, 4>(raw, to, |raw| Ok(i32::from_be_bytes(raw))),
            Self::Int8 => append::<Int64Type, 8>(raw, to, |raw| Ok(i64::from_be_bytes(raw))),
            Self::Oid => append::<UInt32Type, 4>(raw, to, |raw| Ok(u32::from_be_bytes(raw))),
            Self::Float4 => append::<Float32Type, 4>(raw, to, |raw| Ok(f32::from_be_bytes(raw))),
            Self::Float8 => append::<Float64Type, 8>(raw, to, |raw| Ok(f64::from_be_bytes(raw))),
            Self::Decimal128(..) | Self::Decimal256(..) => self.append_decimal(raw, to),
            Self::Number => append_text(raw, to, |raw| {
                Ok(Number::parse(raw).ok_or(BROKEN)?.to_string().into())
            }),
            Self::Text => append_text(raw, to, |raw| Ok(String::from_utf8_lossy(raw))),
            Self::Jsonb => append_text(raw, to, |raw| {
                let text = raw.strip_prefix(&[1]).ok_or(BROKEN)?;
                Ok(String::from_utf8_lossy(text))
            }),
            Self::Uuid => append_text(raw, to, |raw| {
                let raw: [u8; 16] = raw.try_into().map_err(|_| BROKEN)?;
                Ok(uuid(u128::from_be_bytes(raw)).into())
            }),
            Self::Bytea => {
                let to = to.as_any_mut().downcast_mut::<BinaryBuilder>();
                to.ok_or(MISMATCH)?.append_option(raw);
                Ok(())
            }
            // The server uses the two ends of the range for `infinity` and `-infinity`.
            Self::Date => append::<Date32Type, 4>(raw, to, |raw| {
                let days = i32::from_be_bytes(raw);
                let finite = days != i32::MAX && days != i32::MIN;
                days.checked_add(EPOCH_DAYS)
                    .filter(|_| finite)
                    .ok_or(INFINITE)
            }),
            Self::Time => {
                append::<Time64MicrosecondType, 8>(raw, to, |raw| Ok(i64::from_be_bytes(raw)))
            }
            Self::Timestamp(_) => append::<TimestampMicrosecondType, 8>(raw, to, |raw| {
                let micros = i64::from_be_bytes(raw);
                if micros == i64::MAX || micros == i64::MIN {
                    return Err(INFINITE);
                }
                micros.checked_add(EPOCH_MICROS).ok_or(INFINITE)
            }),
            Self::List(element) => append_list(element, raw, to),
        }
    }

    fn append_decimal(
        &self,
        raw: Option<&[u8]>,
        to: &mut dyn ArrayBuilder,
    ) -> Result<(), &'static str> {
        let problem = |fault| match fault {
            numeric::Fault::Malformed => BROKEN,
            numeric::Fault::Value(_) => WIDE,
        };
        if let Self::Decimal128(_, scale) = self {
            let value = raw.map(|raw| numeric::decode_128(raw, *scale).map_err(problem));
            let to = to.as_any_mut().downcast_mut::<Decimal128Builder>();
            to.ok_or(MISMATCH)?.append_option(value.transpose()?);
        } else if let Self::Decimal256(_, scale) = self {
            let value = raw.map(|raw| numeric::decode(raw, *scale).map_err(problem));
            let to = to.as_any_mut().downcast_mut::<Decimal256Builder>();
            to.ok_or(MISMATCH)?.append_option(value.transpose()?);
        }
        Ok(())
    }
}

const INFINITE: &str = "a date or time that is infinite or out of Arrow's range";
const WIDE: &str = "a number that is not finite or has more digits than declared";
const BROKEN: &str = "bytes that are not of its type";
const MISMATCH: &str = "values of two types";

fn append<T: ArrowPrimitiveType, const N: usize>(
    raw: Option<&[u8]>,
    to: &mut dyn ArrayBuilder,
    read: impl Fn([u8; N]) -> Result<T::Native, &'static str>,
) -> Result<(), &'static str> {
    let value = match raw {
        Some(raw) => Some(read(raw.try_into().map_err(|_| BROKEN)?)?),
        None => None,
    };
    let to = to.as_any_mut().downcast_mut::<PrimitiveBuilder<T>>();
    to.ok_or(MISMATCH)?.append_option(value);
    Ok(())
}

fn append_text<'a>(
    raw: Option<&'a [u8]>,
    to: &mut dyn ArrayBuilder,
    read: impl Fn(&'a [u8]) -> Result<std::borrow::Cow<'a, str>, &'static str>,
) -> Result<(), &'static str> {
    let to = to
        .as_any_mut()
        .downcast_mut::<StringBuilder>()
        .ok_or(MISMATCH)?;
    match raw {
        Some(raw) => to.append_value(read(raw)?),
        None => to.append_null(),
    }
    Ok(())
}

/// Dimensions, whether there are NULLs, element type; per dimension length and first index; elements.
fn append_list(
    element: &Form,
    raw: Option<&[u8]>,
    to: &mut dyn ArrayBuilder,
) -> Result<(), &'static str> {
    let to = to
        .as_any_mut()
        .downcast_mut::<ListBuilder<Box<dyn ArrayBuilder>>>()
        .ok_or(MISMATCH)?;
    let Some(raw) = raw else {
        to.append_null();
        return Ok(());
    };
    let (header, mut rest) = raw.split_at_checked(ARRAY_HEADER_BYTES).ok_or(BROKEN)?;
    let count = match header
        .first_chunk::<4>()
        .map(|raw| i32::from_be_bytes(*raw))
    {
        Some(0) => 0,
        Some(1) => {
            let (dimension, elements) =
                rest.split_at_checked(ARRAY_DIMENSION_BYTES).ok_or(BROKEN)?;
            rest = elements;
            take_i32(&mut { dimension }).ok_or(BROKEN)?
        }
        _ => return Err("an array of several dimensions"),
    };
    for _ in 0..count {
        let length = take_i32(&mut rest).ok_or(BROKEN)?;
        let value = match usize::try_from(length) {
            Ok(length) => {
                let (value, after) = rest.split_at_checked(length).ok_or(BROKEN)?;
                rest = after;
                Some(value)
            }
            Err(_) => None,
        };
        element.append(value, to.values())?;
    }
    to.append(true);
    Ok(())
}

fn take_i32(raw: &mut &[u8]) -> Option<i32> {
    let (value, rest) = raw.split_first_chunk::<4>()?;
    *raw = rest;
    Some(i32::from_be_bytes(*value))
}

fn uuid(value: u128) -> String {
    let digits = format!("{value:032x}");
    let groups = [0..8, 8..12, 12..16, 16..20, 20..32];
    let groups: Vec<&str> = groups
        .into_iter()
        .filter_map(|group| digits.get(group))
        .collect();
    groups.join("-")
}

/// One column of a result while its batch grows.
pub(super) struct Cells {
    name: String,
    form: Form,
    builder: Box<dyn ArrayBuilder>,
}

impl Cells {
    pub(super) fn of(column: &Column) -> Result<Self, WarehouseError> {
        let form = Form::of(column.type_(), column.type_modifier()).ok_or_else(|| {
            WarehouseError::Query(format!(
                "column `{}` is of type {}, which cannot be read; cast it to text",
                column.name(),
                column.type_().name()
            ))
        })?;
        Ok(Self {
            name: column.name().to_owned(),
            builder: form.builder(),
            form,
        })
    }

    pub(super) fn field(&self) -> Field {
        Field::new(&self.name, self.form.data_type(), true)
    }

    pub(super) fn push(&mut self, raw: Option<&[u8]>) -> Result<(), WarehouseError> {
        self.form
            .append(raw, &mut *self.builder)
            .map_err(|problem| {
                WarehouseError::Query(format!(
                    "column `{}` holds {problem}; cast it to text",
                    self.name
                ))
            })
    }

    pub(super) fn finish(&mut self) -> ArrayRef {
        self.builder.finish()
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    #[test]
    fn broken_arrays_are_refused() {
        let list = Form::List(Box::new(Form::Int4));
        for length in 0..24 {
            let mut raw = BytesMut::new();
            raw.extend_from_slice(&1_i32.to_be_bytes());
            raw.extend_from_slice(&0_i32.to_be_bytes());
            raw.extend_from_slice(&23_u32.to_be_bytes());
            raw.extend_from_slice(&1_i32.to_be_bytes());
            raw.extend_from_slice(&1_i32.to_be_bytes());
            raw.extend_from_slice(&4_i32.to_be_bytes());
            raw.truncate(length);
            let mut builder = list.builder();
            assert_eq!(list.append(Some(&raw), &mut *builder), Err(BROKEN));
        }
    }

    #[test]
    fn a_uuid_is_written_in_groups() {
        assert_eq!(
            uuid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef),
            "01234567-89ab-cdef-0123-456789abcdef"
        );
    }
}
