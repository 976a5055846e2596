//! Digests of keys and of rows, as the index keeps them. They are persisted, so the encoding below is a format.
//!
//! A row is encoded as the cells that are not NULL, in the order of their column names; a cell is the
//! first four bytes of the BLAKE3 of its column's name, then its value: integers and booleans as eight
//! little-endian bytes whatever their width, decimals as sixteen or thirty-two, times as eight, floats by
//! their bits, texts and bytes after their length in four bytes, lists as their length and then their
//! items each after a byte that tells NULL. The digest is the first sixteen bytes of the BLAKE3 of that.
//!
//! So a column that is added and is NULL everywhere, columns in another order and a widened integer leave
//! every digest as it was, and nothing is landed again for them. Arrow's own row format would be quicker to
//! use but promises no stability between versions: an upgrade would look like a change of every row.

use arrow::array::{Array, ArrayRef, AsArray as _};
use arrow::datatypes::{
    DataType, Date32Type, Decimal128Type, Decimal256Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, Schema, Time64MicrosecondType, TimeUnit,
    TimestampMicrosecondType, UInt32Type, UInt64Type,
};
use arrow::record_batch::RecordBatch;

use crate::error::{Classify, ErrorKind};

/// The digest of a key or of a row: 128 bits.
pub(crate) type Digest128 = [u8; 16];

/// A batch that cannot be digested.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowsError {
    /// A column is not there.
    #[error("the rows have no column `{0}`, which is part of the key")]
    NoColumn(String),
    /// The type of a column is none that a source lands.
    #[error("column `{column}` has the type {data_type}, which no source lands")]
    Type {
        /// The column.
        column: String,
        /// Its type.
        data_type: DataType,
    },
}

impl Classify for RowsError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::NoColumn(_) => ErrorKind::Config,
            Self::Type { .. } => ErrorKind::Bug,
        }
    }

    fn hint(&self) -> Option<String> {
        matches!(self, Self::NoColumn(_))
            .then(|| "name columns of the table under `key` in the project file".to_owned())
    }
}

/// Digests rows of one schema.
#[derive(Debug, Clone)]
pub(crate) struct Digester {
    /// Positions of key columns, by column name.
    key: Vec<Cell>,
    /// Positions of all columns, by column name.
    row: Vec<Cell>,
}

#[derive(Debug, Clone, Copy)]
struct Cell {
    column: usize,
    tag: [u8; 4],
}

impl Digester {
    /// A digester for rows of `schema` that `key` identifies.
    ///
    /// # Errors
    /// `Config` when a key column is not in the schema.
    pub(crate) fn new(schema: &Schema, key: &[String]) -> Result<Self, RowsError> {
        let all: Vec<String> = schema.fields().iter().map(|f| f.name().clone()).collect();
        Ok(Self {
            key: cells(schema, key)?,
            row: cells(schema, &all)?,
        })
    }

    /// One digest of the key per row.
    ///
    /// # Errors
    /// `Bug` when a column has a type that no source lands.
    pub(crate) fn keys(&self, batch: &RecordBatch) -> Result<Vec<Digest128>, RowsError> {
        digest(batch, &self.key)
    }

    /// One digest of the whole row per row.
    ///
    /// # Errors
    /// As [`Digester::keys`].
    pub(crate) fn rows(&self, batch: &RecordBatch) -> Result<Vec<Digest128>, RowsError> {
        digest(batch, &self.row)
    }
}

fn cells(schema: &Schema, names: &[String]) -> Result<Vec<Cell>, RowsError> {
    let mut names: Vec<&String> = names.iter().collect();
    names.sort();
    names
        .into_iter()
        .map(|name| {
            let column = schema
                .index_of(name)
                .map_err(|_| RowsError::NoColumn(name.clone()))?;
            let [a, b, c, d, ..] = *blake3::hash(name.as_bytes()).as_bytes();
            let tag = [a, b, c, d];
            Ok(Cell { column, tag })
        })
        .collect()
}

fn digest(batch: &RecordBatch, cells: &[Cell]) -> Result<Vec<Digest128>, RowsError> {
    let schema = batch.schema_ref();
    let columns = cells
        .iter()
        .map(|cell| {
            let values = Values::of(batch.column(cell.column)).ok_or_else(|| RowsError::Type {
                column: schema.field(cell.column).name().clone(),
                data_type: batch.column(cell.column).data_type().clone(),
            })?;
            Ok((cell.tag, values))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut encoded = Vec::with_capacity(256);
    let digests = (0..batch.num_rows()).map(|row| {
        encoded.clear();
        for (tag, values) in &columns {
            if values.is_valid(row) {
                encoded.extend_from_slice(tag);
                values.encode(row, &mut encoded);
            }
        }
        first_half(blake3::hash(&encoded))
    });
    Ok(digests.collect())
}

fn first_half(hash: blake3::Hash) -> Digest128 {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, ..] = *hash.as_bytes();
    [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p]
}

/// One column, its type looked at once and not once per row.
enum Values<'a> {
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
    fn of(array: &'a ArrayRef) -> Option<Self> {
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

    fn is_valid(&self, row: usize) -> bool {
        self.array().is_valid(row)
    }

    fn encode(&self, row: usize, out: &mut Vec<u8>) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Array, Int64Array, StringArray};
    use std::sync::Arc;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true)))
            .unwrap()
    }

    fn rows_of(batch: &RecordBatch) -> Vec<Digest128> {
        Digester::new(&batch.schema(), &[])
            .unwrap()
            .rows(batch)
            .unwrap()
    }

    fn ids() -> ArrayRef {
        Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]))
    }

    fn names() -> ArrayRef {
        Arc::new(StringArray::from(vec![Some("a"), Some(""), None]))
    }

    #[test]
    fn an_added_column_of_nulls_and_another_order_change_no_digest() {
        let before = batch(vec![("id", ids()), ("name", names())]);
        let nulls: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>; 3]));
        let after = batch(vec![("name", names()), ("new", nulls), ("id", ids())]);
        assert_eq!(rows_of(&before), rows_of(&after));
    }

    #[test]
    fn a_widened_integer_changes_no_digest() {
        let wide: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
        assert_eq!(
            rows_of(&batch(vec![("id", ids())])),
            rows_of(&batch(vec![("id", wide)]))
        );
    }

    #[test]
    fn null_and_the_empty_text_differ() {
        let empty: ArrayRef = Arc::new(StringArray::from(vec![Some("")]));
        let null: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
        assert_ne!(
            rows_of(&batch(vec![("a", empty)])),
            rows_of(&batch(vec![("a", null)]))
        );
    }

    #[test]
    fn a_value_that_moves_to_another_column_changes_the_digest() {
        let text: ArrayRef = Arc::new(StringArray::from(vec![Some("x")]));
        let null: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
        assert_ne!(
            rows_of(&batch(vec![("a", text.clone()), ("b", null.clone())])),
            rows_of(&batch(vec![("a", null), ("b", text)]))
        );
    }

    #[test]
    fn the_encoding_is_the_one_that_was_persisted() {
        let rows = rows_of(&batch(vec![("id", ids()), ("name", names())]));
        let hex: Vec<String> = rows
            .iter()
            .map(|d| d.iter().map(|b| format!("{b:02x}")).collect())
            .collect();
        assert_eq!(
            hex,
            [
                "731171163af53230fd979fb570c8b3b5",
                "1b8751ab97cefb0fa3919ca1599be53c",
                "5853f4f24e4e9e5e1e5858c811748d58",
            ]
        );
    }
}
