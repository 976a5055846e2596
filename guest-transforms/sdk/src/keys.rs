//! Keys that are taken back: those of deleted rows, and those of rows that are refused.
//!
//! A row that is refused must not stand in the table as it was before, so for the output it is gone like a deleted
//! one until it is mended. A key that has a NULL is left out of both: no row of the table can have come of it.

use std::collections::BTreeSet;

use arrow_array::{Array, RecordBatch, UInt32Array};

use crate::column::column;
use crate::description::{LoadMode, Role};
use crate::failure::Failure;
use crate::gather::{can_gather, gather};
use crate::transform::{Arrival, Reject};

/// The keys that have no NULL.
pub(crate) fn without_nulls(keys: &RecordBatch) -> Result<Vec<RecordBatch>, Failure> {
    if keys.columns().iter().all(|column| column.null_count() == 0) {
        return Ok(vec![keys.clone()]);
    }
    pick(keys, (0..keys.num_rows()).collect())
}

/// The keys of those rows of an arrival that `rejects` refuse, in the columns of the input's key.
///
/// None for a lookup, whose rows are not those of the table, and none where the output is overwritten: there what
/// is not given is gone by itself.
pub(crate) fn of_refused(
    arrival: &Arrival<'_>,
    rejects: &[Reject],
) -> Result<Vec<RecordBatch>, Failure> {
    let overwritten = arrival.description.output.mode == LoadMode::Overwrite;
    let input = arrival.input().filter(|input| input.role == Role::Streamed);
    let Some(input) = input.filter(|input| !input.key.is_empty()) else {
        return Ok(Vec::new());
    };
    let refused = rejects
        .iter()
        .filter_map(|reject| arrival.position(reject.place));
    let refused: BTreeSet<usize> = refused.collect();
    if refused.is_empty() || overwritten {
        return Ok(Vec::new());
    }
    let schema = input.key_schema();
    let columns = schema
        .fields()
        .iter()
        .map(|field| column(arrival.rows, field).cloned())
        .collect::<Result<_, _>>()?;
    pick(&RecordBatch::try_new(schema, columns)?, refused)
}

/// Some rows of a batch of keys, in their order, but for those with a NULL.
fn pick(keys: &RecordBatch, rows: BTreeSet<usize>) -> Result<Vec<RecordBatch>, Failure> {
    let is_whole = |row: &usize| keys.columns().iter().all(|column| column.is_valid(*row));
    let rows: Vec<usize> = rows.into_iter().filter(is_whole).collect();
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let mut columns = keys.columns().iter();
    if columns.all(|column| can_gather(column.data_type())) {
        let positions: UInt32Array = rows.into_iter().map(|row| row as u32).collect();
        let columns = keys.columns().iter();
        let columns = columns.map(|column| gather(column, &positions));
        let columns = columns.collect::<Result<_, _>>()?;
        return Ok(vec![RecordBatch::try_new(keys.schema(), columns)?]);
    }
    // Keys of other types, which only a transform written by hand can have: neighbours stay together.
    let runs = rows.chunk_by(|row, next| row + 1 == *next);
    Ok(runs
        .filter_map(|run| Some(keys.slice(*run.first()?, run.len())))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::types::Int32Type;
    use arrow_array::{ArrayRef, FixedSizeBinaryArray, Int32Array};
    use arrow_schema::{DataType, Field, Schema};

    use super::*;
    use crate::description::{Description, Input, Output, integer, text};
    use crate::failure::Reason;
    use crate::transform::Place;

    fn described(input: Input, mode: LoadMode) -> Description {
        Description {
            inputs: vec![input],
            output: Output::new("t", mode).key(integer("id")),
            properties: Vec::new(),
        }
    }

    fn numbers(numbers: &[Option<i32>]) -> RecordBatch {
        let schema = Arc::new(Schema::new(vec![integer("id")]));
        RecordBatch::try_new(schema, vec![Arc::new(Int32Array::from(numbers.to_vec()))]).unwrap()
    }

    fn reject(chunk: u32, row: u32) -> Reject {
        let place = Place {
            input: 0,
            chunk,
            row,
        };
        Reject {
            place,
            reason: Reason::new("wrong", "it is wrong"),
        }
    }

    /// The keys of refused rows 10 to 14 of chunk 2.
    fn refused(input: Input, mode: LoadMode, rejects: &[Reject]) -> Vec<i32> {
        let rows = numbers(&[Some(7), None, Some(9), Some(8), Some(6)]);
        let arrival = Arrival {
            description: &described(input, mode),
            input: 0,
            chunk: 2,
            first_row: 10,
            rows: &rows,
        };
        let keys = of_refused(&arrival, rejects).unwrap();
        let keys = keys
            .iter()
            .flat_map(|keys| keys.column(0).as_primitive::<Int32Type>().values().to_vec());
        keys.collect()
    }

    fn changes() -> Input {
        Input::changes("s").key(integer("id"))
    }

    #[test]
    fn a_refused_row_is_taken_back_once_and_one_without_a_key_is_not() {
        let rejects = [10, 11, 13, 10].map(|row| reject(2, row));
        assert_eq!(refused(changes(), LoadMode::Upsert, &rejects), [7, 8]);
        assert_eq!(refused(changes(), LoadMode::Scd2, &rejects), [7, 8]);
        let current = Input::current("s").key(integer("id"));
        assert_eq!(refused(current, LoadMode::AppendVersions, &rejects), [7, 8]);
    }

    #[test]
    fn rows_of_other_chunks_lookups_and_what_is_overwritten_take_nothing_back() {
        let elsewhere = [reject(1, 10), reject(2, 9), reject(2, 15)];
        let none: [i32; 0] = [];
        assert_eq!(refused(changes(), LoadMode::Upsert, &elsewhere), none);
        let here = [reject(2, 10)];
        assert_eq!(refused(changes(), LoadMode::Overwrite, &here), none);
        let lookup = changes().as_lookup();
        assert_eq!(refused(lookup, LoadMode::Upsert, &here), none);
        let without_key = Input::changes("s").column(text("id"));
        assert_eq!(refused(without_key, LoadMode::Upsert, &here), none);
    }

    #[test]
    fn keys_of_any_type_are_taken_back() {
        let uuids = [1_u8, 2, 3, 4].map(|byte| [byte; 16]);
        let uuids = FixedSizeBinaryArray::try_from_iter(uuids.iter()).unwrap();
        let uuids: ArrayRef = Arc::new(uuids);
        let field = Field::new("id", DataType::FixedSizeBinary(16), true);
        let keys = RecordBatch::try_new(Arc::new(Schema::new(vec![field])), vec![uuids]).unwrap();
        let picked = pick(&keys, BTreeSet::from([0, 1, 3])).unwrap();
        assert_eq!(picked, [keys.slice(0, 2), keys.slice(3, 1)]);
    }

    #[test]
    fn a_deleted_key_that_is_null_was_in_no_row() {
        let whole = numbers(&[Some(1), Some(2)]);
        assert_eq!(without_nulls(&whole).unwrap(), [whole]);
        let keys = without_nulls(&numbers(&[None, Some(2)])).unwrap();
        assert_eq!(keys, [numbers(&[Some(2)])]);
        assert!(without_nulls(&numbers(&[None])).unwrap().is_empty());
    }
}
