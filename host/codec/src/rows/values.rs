//! The values of one column, and the bytes of a cell.

use arrow::array::{Array, ArrayRef, AsArray as _};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, Time64MicrosecondType, TimeUnit, TimestampMicrosecondType,
    UInt32Type, UInt64Type,
};

/// One column, its type looked at once and not once per row.
pub(super) enum Values<'a> {
    Bool(&'a arrow::array::BooleanArray),
    I8(&'a arrow::array::PrimitiveArray<Int8Type>),
    I16(&'a arrow::array::PrimitiveArray<Int16Type>),
    I32(&'a arrow::array::PrimitiveArray<Int32Type>),
    I64(&'a arrow::array::PrimitiveArray<Int64Type>),
    U32(&'a arrow::array::PrimitiveArray<UInt32Type>),
    U64(&'a arrow::array::PrimitiveArray<UInt64Type>),
    F32(&'a arrow::array::PrimitiveArray<Float32Type>),
    F64(&'a arrow::array::PrimitiveArray<Float64Type>),
    D128(&'a arrow::array::PrimitiveArray<Decimal128Type>),
    D256(&'a arrow::array::PrimitiveArray<Decimal256Type>),
    Date(&'a arrow::array::PrimitiveArray<Date32Type>),
    Time(&'a arrow::array::PrimitiveArray<Time64MicrosecondType>),
    Timestamp(&'a arrow::array::PrimitiveArray<TimestampMicrosecondType>),
    Text(&'a arrow::array::StringArray),
    Bytes(&'a arrow::array::BinaryArray),
    Fixed(&'a arrow::array::FixedSizeBinaryArray),
    List(&'a arrow::array::ListArray),
}

impl<'a> Values<'a> {
    pub(super) fn of(array: &'a ArrayRef) -> Option<Self> {
        Some(match array.data_type() {
            DataType::Boolean => Self::Bool(array.as_boolean()),
            DataType::Int8 => Self::I8(array.as_primitive()),
            DataType::Int16 => Self::I16(array.as_primitive()),
            DataType::Int32 => Self::I32(array.as_primitive()),
            DataType::Int64 => Self::I64(array.as_primitive()),
            DataType::UInt32 => Self::U32(array.as_primitive()),
            DataType::UInt64 => Self::U64(array.as_primitive()),
            DataType::Float32 => Self::F32(array.as_primitive()),
            DataType::Float64 => Self::F64(array.as_primitive()),
            DataType::Decimal128(_, _) => Self::D128(array.as_primitive()),
            DataType::Decimal256(_, _) => Self::D256(array.as_primitive()),
            DataType::Date32 => Self::Date(array.as_primitive()),
            DataType::Time64(TimeUnit::Microsecond) => Self::Time(array.as_primitive()),
            DataType::Timestamp(TimeUnit::Microsecond, _) => Self::Timestamp(array.as_primitive()),
            DataType::Utf8 => Self::Text(array.as_string()),
            DataType::Binary => Self::Bytes(array.as_binary()),
            DataType::FixedSizeBinary(_) => Self::Fixed(array.as_fixed_size_binary()),
            DataType::List(field) => {
                let list = array.as_list();
                Self::of(list.values())?;
                debug_assert_eq!(field.data_type(), list.values().data_type());
                Self::List(list)
            }
            _ => return None,
        })
    }

    fn array(&self) -> &'a dyn Array {
        match self {
            Self::Bool(a) => *a,
            Self::I8(a) => *a,
            Self::I16(a) => *a,
            Self::I32(a) => *a,
            Self::I64(a) => *a,
            Self::U32(a) => *a,
            Self::U64(a) => *a,
            Self::F32(a) => *a,
            Self::F64(a) => *a,
            Self::D128(a) => *a,
            Self::D256(a) => *a,
            Self::Date(a) => *a,
            Self::Time(a) => *a,
            Self::Timestamp(a) => *a,
            Self::Text(a) => *a,
            Self::Bytes(a) => *a,
            Self::Fixed(a) => *a,
            Self::List(a) => *a,
        }
    }

    /// Which of its cells are not NULL; `None` when all are.
    pub(super) fn nulls(&self) -> Option<&'a NullBuffer> {
        self.array().nulls().filter(|nulls| nulls.null_count() > 0)
    }

    /// Bytes of a cell, for types where every cell has as many.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::F32(_) => 4,
            Self::D128(_) => 16,
            Self::D256(_) => 32,
            _ => 8,
        }
    }

    pub(super) fn is_valid(&self, row: usize) -> bool {
        self.array().is_valid(row)
    }

    pub(super) fn encode(&self, row: usize, out: &mut Vec<u8>) {
        match self {
            Self::Bool(a) => put_integer(out, i64::from(a.value(row))),
            Self::I8(a) => put_integer(out, a.value(row).into()),
            Self::I16(a) => put_integer(out, a.value(row).into()),
            Self::I32(a) => put_integer(out, a.value(row).into()),
            Self::I64(a) => put_integer(out, a.value(row)),
            Self::U32(a) => put_integer(out, a.value(row).into()),
            Self::U64(a) => out.extend_from_slice(&a.value(row).to_le_bytes()),
            Self::F32(a) => out.extend_from_slice(&a.value(row).to_bits().to_le_bytes()),
            Self::F64(a) => out.extend_from_slice(&a.value(row).to_bits().to_le_bytes()),
            Self::D128(a) => out.extend_from_slice(&a.value(row).to_le_bytes()),
            Self::D256(a) => out.extend_from_slice(&a.value(row).to_le_bytes()),
            Self::Date(a) => put_integer(out, a.value(row).into()),
            Self::Time(a) => put_integer(out, a.value(row)),
            Self::Timestamp(a) => put_integer(out, a.value(row)),
            Self::Text(a) => put_bytes(out, a.value(row).as_bytes()),
            Self::Bytes(a) => put_bytes(out, a.value(row)),
            Self::Fixed(a) => put_bytes(out, a.value(row)),
            Self::List(a) => put_list(out, &a.value(row)),
        }
    }
}

fn put_integer(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// A length beyond 32 bits cannot be: Arrow's own offsets in these arrays are 32 bits wide.
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

fn put_list(out: &mut Vec<u8>, items: &ArrayRef) {
    out.extend_from_slice(&(items.len() as u32).to_le_bytes());
    if let Some(values) = Values::of(items) {
        for item in 0..items.len() {
            out.push(u8::from(values.is_valid(item)));
            if values.is_valid(item) {
                values.encode(item, out);
            }
        }
    }
}
