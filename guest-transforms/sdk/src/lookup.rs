//! Joined tables: a whole table in memory, with an index from its key to its rows.

use std::collections::HashMap;

use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type};
use arrow_array::{Array, ArrayRef, ArrowPrimitiveType, RecordBatch, UInt32Array};
use arrow_schema::DataType;

use crate::column::{Rule, column};
use crate::description::Input;
use crate::failure::{Failure, quoted};
use crate::gather::together;

/// Which row of a table belongs to a row of the streamed input.
pub(crate) struct Join {
    /// The table, as a lookup.
    pub(crate) table: Input,
    /// What its key must equal.
    pub(crate) key: Rule,
}

/// A table held in memory, its rows found by their key.
#[derive(Debug)]
pub struct Lookup {
    input: Input,
    arrived: Vec<RecordBatch>,
    indexed: Option<(RecordBatch, Index)>,
}

impl Lookup {
    /// A table that has not arrived yet.
    pub fn new(input: Input) -> Self {
        Self {
            input,
            arrived: Vec::new(),
            indexed: None,
        }
    }

    /// Adds rows.
    pub fn push(&mut self, rows: &RecordBatch) {
        self.arrived.push(rows.clone());
    }

    /// Indexes the rows. After it, none may be added.
    ///
    /// # Errors
    /// The table's key is not one column of whole numbers or texts, or two rows have the same key, or a row
    /// has none.
    pub fn index(&mut self) -> Result<(), Failure> {
        let arrived = std::mem::take(&mut self.arrived);
        let columns = self.input.columns.iter().map(|field| {
            let parts = arrived.iter().map(|rows| column(rows, field));
            together(field.data_type(), &parts.collect::<Result<Vec<_>, _>>()?)
        });
        let columns = columns.collect::<Result<Vec<_>, Failure>>()?;
        let rows = RecordBatch::try_new(self.input.schema(), columns)?;
        let keys = column(&rows, self.key()?)?;
        let index = Index::build(keys).map_err(|fault| {
            let name = self.input.key.join(", ");
            let table = &self.input.table;
            match fault {
                Fault::Type => Failure::new(
                    "lookup-key",
                    format!(
                        "{table} cannot be looked up by {name}: its type is {}",
                        keys.data_type()
                    ),
                ),
                Fault::Missing => {
                    Failure::new("lookup-key", format!("{table} has a row without {name}"))
                }
                Fault::Twice(key) => Failure::new(
                    "lookup-key",
                    format!("{table} has two rows whose {name} is {key}"),
                ),
            }
        })?;
        self.indexed = Some((rows, index));
        Ok(())
    }

    /// The rows by position.
    ///
    /// # Errors
    /// The table has not been indexed.
    pub fn rows(&self) -> Result<&RecordBatch, Failure> {
        self.ready().map(|(rows, _)| rows)
    }

    /// The position of the row of each key; NULL where a key is NULL or has no row.
    ///
    /// # Errors
    /// The table has not been indexed, or the keys have another type than its key.
    pub fn find(&self, keys: &ArrayRef) -> Result<UInt32Array, Failure> {
        let (_, index) = self.ready()?;
        index.find(keys).ok_or_else(|| {
            Failure::new(
                "lookup-key",
                format!(
                    "{} cannot be looked up by a {}",
                    self.input.table,
                    keys.data_type()
                ),
            )
        })
    }

    fn ready(&self) -> Result<&(RecordBatch, Index), Failure> {
        self.indexed.as_ref().ok_or_else(|| {
            Failure::new(
                "call-order",
                format!("{} has not arrived", self.input.table),
            )
        })
    }

    fn key(&self) -> Result<&arrow_schema::Field, Failure> {
        let [name] = self.input.key.as_slice() else {
            return Err(Failure::new(
                "lookup-key",
                format!(
                    "{} cannot be looked up: its key is not one column",
                    self.input.table
                ),
            ));
        };
        self.input
            .columns
            .iter()
            .find(|column| column.name() == name)
            .ok_or_else(|| {
                Failure::new(
                    "lookup-key",
                    format!("{} has no column {name}", self.input.table),
                )
            })
    }
}

/// Whether rows can be found by keys of this type.
pub(crate) fn can_index(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int32 | DataType::Int64 | DataType::Utf8
    )
}

/// From key to row.
#[derive(Debug)]
enum Index {
    /// Keys of a serial column lie close together: the row stands at key − first. [`NO_ROW`] where there is none.
    Dense { first: i64, rows: Vec<u32> },
    /// Keys far apart.
    Sparse(HashMap<i64, u32>),
    /// Texts.
    Texts(HashMap<Box<str>, u32>),
}

const NO_ROW: u32 = u32::MAX;

enum Fault {
    Type,
    Missing,
    Twice(String),
}

impl Index {
    fn build(keys: &ArrayRef) -> Result<Self, Fault> {
        if keys.null_count() > 0 {
            return Err(Fault::Missing);
        }
        match keys.data_type() {
            DataType::Int32 => Self::numbers(&numbers::<Int32Type>(keys)),
            DataType::Int64 => Self::numbers(&numbers::<Int64Type>(keys)),
            DataType::Utf8 => Self::texts(keys),
            _ => Err(Fault::Type),
        }
    }

    fn numbers(keys: &[i64]) -> Result<Self, Fault> {
        let first = keys.iter().copied().min().unwrap_or(0);
        let last = keys.iter().copied().max().unwrap_or(0);
        let span = usize::try_from(i128::from(last) - i128::from(first)).unwrap_or(usize::MAX);
        // Up to four times the rows plus a page, the array is smaller than a hash map and needs no hashing.
        if span < keys.len().saturating_mul(4).saturating_add(1_024) {
            let mut rows = vec![NO_ROW; span + 1];
            for (row, key) in keys.iter().enumerate() {
                let slot = usize::try_from(key - first)
                    .ok()
                    .and_then(|at| rows.get_mut(at));
                match slot {
                    Some(slot) if *slot == NO_ROW => *slot = row as u32,
                    _ => return Err(Fault::Twice(key.to_string())),
                }
            }
            return Ok(Self::Dense { first, rows });
        }
        let mut rows = HashMap::with_capacity(keys.len());
        for (row, key) in keys.iter().enumerate() {
            if rows.insert(*key, row as u32).is_some() {
                return Err(Fault::Twice(key.to_string()));
            }
        }
        Ok(Self::Sparse(rows))
    }

    fn texts(keys: &ArrayRef) -> Result<Self, Fault> {
        let keys = keys.as_string::<i32>();
        let mut rows = HashMap::with_capacity(keys.len());
        for (row, key) in keys.iter().flatten().enumerate() {
            if rows.insert(key.into(), row as u32).is_some() {
                return Err(Fault::Twice(quoted(key)));
            }
        }
        Ok(Self::Texts(rows))
    }

    /// `None` when the keys have a type that cannot be in the index.
    fn find(&self, keys: &ArrayRef) -> Option<UInt32Array> {
        let found = match (self, keys.data_type()) {
            (Self::Texts(rows), DataType::Utf8) => keys
                .as_string::<i32>()
                .iter()
                .map(|key| rows.get(key?).copied())
                .collect(),
            (Self::Dense { .. } | Self::Sparse(_), DataType::Int32) => keys
                .as_primitive::<Int32Type>()
                .iter()
                .map(|key| self.row(key?.into()))
                .collect(),
            (Self::Dense { .. } | Self::Sparse(_), DataType::Int64) => keys
                .as_primitive::<Int64Type>()
                .iter()
                .map(|key| self.row(key?))
                .collect(),
            _ => return None,
        };
        Some(found)
    }

    #[inline]
    fn row(&self, key: i64) -> Option<u32> {
        match self {
            Self::Dense { first, rows } => {
                let at = usize::try_from(key.checked_sub(*first)?).ok()?;
                rows.get(at).copied().filter(|row| *row != NO_ROW)
            }
            Self::Sparse(rows) => rows.get(&key).copied(),
            Self::Texts(_) => None,
        }
    }
}

fn numbers<T>(keys: &ArrayRef) -> Vec<i64>
where
    T: ArrowPrimitiveType,
    T::Native: Into<i64>,
{
    keys.as_primitive::<T>()
        .values()
        .iter()
        .map(|key| (*key).into())
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Int32Array, Int64Array, StringArray};

    use super::*;
    use crate::description::{big_integer, integer, text};

    fn lookup(input: Input, keys: ArrayRef) -> Result<Lookup, Failure> {
        let mut lookup = Lookup::new(input);
        let rows = RecordBatch::try_new(lookup.input.schema(), vec![keys]).unwrap();
        let half = rows.num_rows() / 2;
        lookup.push(&rows.slice(0, half));
        lookup.push(&rows.slice(half, rows.num_rows() - half));
        lookup.index()?;
        Ok(lookup)
    }

    #[test]
    fn rows_are_found_by_close_and_by_distant_numbers_and_by_texts() {
        let close = lookup(
            Input::current("t").key(integer("id")),
            Arc::new(Int32Array::from(vec![7, -3, 5])),
        );
        let found = close.unwrap().find(
            &(Arc::new(Int32Array::from(vec![
                Some(5),
                None,
                Some(6),
                Some(-3),
                Some(i32::MIN),
            ])) as _),
        );
        assert_eq!(
            found.unwrap(),
            UInt32Array::from(vec![Some(2), None, None, Some(1), None])
        );

        let distant = lookup(
            Input::current("t").key(big_integer("id")),
            Arc::new(Int64Array::from(vec![i64::MAX, i64::MIN, 0])),
        );
        let found = distant
            .unwrap()
            .find(&(Arc::new(Int64Array::from(vec![i64::MIN, 1, i64::MAX])) as _));
        assert_eq!(
            found.unwrap(),
            UInt32Array::from(vec![Some(1), None, Some(0)])
        );

        let texts = lookup(
            Input::current("t").key(text("code")),
            Arc::new(StringArray::from(vec!["", "a"])),
        );
        let found = texts.unwrap().find(
            &(Arc::new(StringArray::from(vec![
                Some("a"),
                None,
                Some(""),
                Some("b"),
            ])) as _),
        );
        assert_eq!(
            found.unwrap(),
            UInt32Array::from(vec![Some(1), None, Some(0), None])
        );
    }

    #[test]
    fn an_empty_table_has_no_row_for_any_key() {
        let empty = lookup(
            Input::current("t").key(integer("id")),
            Arc::new(Int32Array::from(Vec::<i32>::new())),
        )
        .unwrap();
        let found = empty
            .find(&(Arc::new(Int32Array::from(vec![0, 1])) as _))
            .unwrap();
        assert_eq!(found.null_count(), 2);
    }

    #[test]
    fn two_rows_of_one_key_and_a_row_without_one_are_failures() {
        let input = || Input::current("department").key(integer("department_id"));
        let twice = lookup(input(), Arc::new(Int32Array::from(vec![1, 2, 1]))).unwrap_err();
        assert_eq!(
            twice.message,
            "department has two rows whose department_id is 1"
        );
        let twice = lookup(input(), Arc::new(Int32Array::from(vec![1, 1_000_000, 1]))).unwrap_err();
        assert_eq!(
            twice.message,
            "department has two rows whose department_id is 1"
        );
        let missing = lookup(input(), Arc::new(Int32Array::from(vec![Some(1), None]))).unwrap_err();
        assert_eq!(
            missing.message,
            "department has a row without department_id"
        );
    }
}
