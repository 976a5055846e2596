//! Arrays whose types and values come out of the fuzzer's bytes.

use std::sync::Arc;

use arbitrary::{Arbitrary, Result, Unstructured};
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Decimal128Array, Decimal256Array, FixedSizeBinaryBuilder,
    ListArray, PrimitiveArray, RecordBatch, RecordBatchOptions, StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Decimal128Type, Decimal256Type, DecimalType, Field,
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, SchemaRef,
    Time64MicrosecondType, TimeUnit, TimestampMicrosecondType, UInt64Type, i256,
};

/// Rows of a batch at most: what goes wrong, goes wrong with few.
const MOST_ROWS: usize = 12;
/// Elements of a list at most.
const MOST_ELEMENTS: usize = 3;
/// Bytes of a text at most.
const MOST_BYTES: usize = 24;

/// A batch of `schema`.
pub(super) fn batch(input: &mut Unstructured<'_>, schema: &SchemaRef) -> Result<RecordBatch> {
    let rows = input.int_in_range(0..=MOST_ROWS)?;
    let columns = schema
        .fields()
        .iter()
        .map(|field| array(input, field, rows))
        .collect::<Result<Vec<_>>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(
        RecordBatch::try_new_with_options(schema.clone(), columns, &options)
            .expect("the arrays are of the schema's types"),
    )
}

/// A type that the whole line carries, from PostgreSQL to PostgreSQL.
pub(super) fn scalar_type(input: &mut Unstructured<'_>) -> Result<DataType> {
    Ok(match input.int_in_range(0..=13_u8)? {
        0 => DataType::Boolean,
        1 => DataType::Int16,
        2 => DataType::Int32,
        3 => DataType::Int64,
        4 => DataType::Float32,
        5 => DataType::Float64,
        6 => DataType::Utf8,
        7 => DataType::Binary,
        8 => DataType::Date32,
        9 => DataType::Time64(TimeUnit::Microsecond),
        10 => DataType::Timestamp(TimeUnit::Microsecond, None),
        11 => DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
        12 => {
            let precision = input.int_in_range(1..=38)?;
            DataType::Decimal128(precision, input.int_in_range(0..=precision as i8)?)
        }
        _ => {
            let precision = input.int_in_range(39..=76)?;
            DataType::Decimal256(precision, input.int_in_range(0..=precision as i8)?)
        }
    })
}

fn array(input: &mut Unstructured<'_>, field: &Field, rows: usize) -> Result<ArrayRef> {
    let nullable = field.is_nullable();
    let data_type = field.data_type();
    Ok(match data_type {
        DataType::Boolean => {
            Arc::new(values(input, rows, nullable, bool::arbitrary)?.collect::<BooleanArray>())
        }
        DataType::Int8 => primitives::<Int8Type>(input, rows, field, i8::arbitrary)?,
        DataType::Int16 => primitives::<Int16Type>(input, rows, field, i16::arbitrary)?,
        DataType::Int32 => primitives::<Int32Type>(input, rows, field, i32::arbitrary)?,
        DataType::Int64 => primitives::<Int64Type>(input, rows, field, i64::arbitrary)?,
        DataType::UInt64 => primitives::<UInt64Type>(input, rows, field, u64::arbitrary)?,
        DataType::Float32 => primitives::<Float32Type>(input, rows, field, f32::arbitrary)?,
        DataType::Float64 => primitives::<Float64Type>(input, rows, field, f64::arbitrary)?,
        DataType::Date32 => primitives::<Date32Type>(input, rows, field, i32::arbitrary)?,
        DataType::Time64(_) => primitives::<Time64MicrosecondType>(input, rows, field, |input| {
            input.int_in_range(0..=86_399_999_999)
        })?,
        DataType::Timestamp(..) => {
            primitives::<TimestampMicrosecondType>(input, rows, field, i64::arbitrary)?
        }
        DataType::Decimal128(precision, _) => {
            let array = values(input, rows, nullable, |input| {
                digits::<Decimal128Type>(i128::arbitrary(input)?, *precision)
            })?
            .collect::<Decimal128Array>();
            Arc::new(array.with_data_type(data_type.clone()))
        }
        DataType::Decimal256(precision, _) => {
            let array = values(input, rows, nullable, |input| {
                let (low, high) = (u128::arbitrary(input)?, i128::arbitrary(input)?);
                digits::<Decimal256Type>(i256::from_parts(low, high), *precision)
            })?
            .collect::<Decimal256Array>();
            Arc::new(array.with_data_type(data_type.clone()))
        }
        DataType::Utf8 => Arc::new(values(input, rows, nullable, text)?.collect::<StringArray>()),
        DataType::Binary => {
            Arc::new(values(input, rows, nullable, bytes)?.collect::<BinaryArray>())
        }
        DataType::FixedSizeBinary(size) => fixed(input, rows, *size, nullable)?,
        DataType::List(item) => {
            let lengths = (0..rows)
                .map(|_| input.int_in_range(0..=MOST_ELEMENTS))
                .collect::<Result<Vec<_>>>()?;
            let items = array(input, item, lengths.iter().sum())?;
            let nulls = nulls(input, rows, nullable)?;
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(ListArray::new(item.clone(), offsets, items, nulls))
        }
        DataType::Struct(parts) => {
            let columns = parts
                .iter()
                .map(|part| array(input, part, rows))
                .collect::<Result<Vec<_>>>()?;
            let nulls = nulls(input, rows, nullable)?;
            Arc::new(StructArray::new(parts.clone(), columns, nulls))
        }
        other => unreachable!("no target asks for {other}"),
    })
}

/// As many values as there are rows, some of them NULL where that is allowed.
fn values<'a, T>(
    input: &mut Unstructured<'a>,
    rows: usize,
    nullable: bool,
    mut value: impl FnMut(&mut Unstructured<'a>) -> Result<T>,
) -> Result<std::vec::IntoIter<Option<T>>> {
    let values = (0..rows)
        .map(|_| match nullable && input.ratio(1, 4)? {
            true => Ok(None),
            false => value(input).map(Some),
        })
        .collect::<Result<Vec<_>>>()?;
    Ok(values.into_iter())
}

fn primitives<'a, T: ArrowPrimitiveType>(
    input: &mut Unstructured<'a>,
    rows: usize,
    field: &Field,
    value: impl FnMut(&mut Unstructured<'a>) -> Result<T::Native>,
) -> Result<ArrayRef> {
    let values = values(input, rows, field.is_nullable(), value)?;
    let array: PrimitiveArray<T> = PrimitiveArray::from_iter(values);
    Ok(Arc::new(array.with_data_type(field.data_type().clone())))
}

/// The value, or zero where it has more digits than its type.
fn digits<T: DecimalType>(value: T::Native, precision: u8) -> Result<T::Native>
where
    T::Native: Default,
{
    let fits = T::is_valid_decimal_precision(value, precision);
    Ok(if fits { value } else { T::Native::default() })
}

fn fixed(input: &mut Unstructured<'_>, rows: usize, size: i32, nullable: bool) -> Result<ArrayRef> {
    let mut builder = FixedSizeBinaryBuilder::new(size);
    for _ in 0..rows {
        if nullable && input.ratio(1, 4)? {
            builder.append_null();
        } else {
            let length = usize::try_from(size).unwrap_or(0);
            let value: Vec<u8> = (0..length)
                .map(|_| input.arbitrary())
                .collect::<Result<_>>()?;
            builder.append_value(value).expect("it has the size");
        }
    }
    Ok(Arc::new(builder.finish()))
}

fn nulls(input: &mut Unstructured<'_>, rows: usize, nullable: bool) -> Result<Option<NullBuffer>> {
    let valid = values(input, rows, nullable, |_| Ok(()))?;
    Ok(nullable.then(|| {
        valid
            .map(|value| value.is_some())
            .collect::<Vec<_>>()
            .into()
    }))
}

fn bytes<'a>(input: &mut Unstructured<'a>) -> Result<&'a [u8]> {
    let length = input.int_in_range(0..=MOST_BYTES)?.min(input.len());
    input.bytes(length)
}

fn text(input: &mut Unstructured<'_>) -> Result<String> {
    Ok(String::from_utf8_lossy(bytes(input)?).into_owned())
}
