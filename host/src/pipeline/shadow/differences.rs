//! How rows of the same key differ, column by column.

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{is_not_null, or};
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::report::{ColumnChange, ColumnDifferences, RowDifferences, RowExample, ValueExample};
use crate::printable;

/// Examples of each kind of difference.
const EXAMPLES: usize = 5;
/// The longest value that is shown.
const VALUE_BYTES: usize = 120;

/// The columns of two versions of a table, and how they differ so far.
pub(super) struct Columns {
    key: Vec<usize>,
    columns: Vec<Column>,
    rows: RowDifferences,
}

struct Column {
    active: Option<usize>,
    candidate: Option<usize>,
    found: ColumnDifferences,
}

impl Columns {
    /// The columns of both; `key` says where the key is in the active version.
    pub(super) fn new(active: &Schema, candidate: &Schema, key: Vec<usize>) -> Self {
        let place = |schema: &Schema, name: &str| schema.index_of(name).ok();
        let mut names: Vec<&String> = active.fields().iter().map(|field| field.name()).collect();
        let all = candidate.fields().iter().map(|field| field.name());
        names.extend(all.filter(|name| place(active, name).is_none()));
        let columns = names.into_iter().map(|name| {
            let kind = |schema: &Schema| {
                schema
                    .field_with_name(name)
                    .ok()
                    .map(|f| f.data_type().clone())
            };
            let change = match (kind(active), kind(candidate)) {
                (Some(was), Some(is)) if was == is => ColumnChange::Kept,
                (Some(_), Some(_)) => ColumnChange::Retyped,
                (Some(_), None) => ColumnChange::Dropped,
                (None, _) => ColumnChange::Added,
            };
            Column {
                active: place(active, name),
                candidate: place(candidate, name),
                found: ColumnDifferences {
                    name: name.clone(),
                    change,
                    changed: 0,
                    examples: Vec::new(),
                },
            }
        });
        Self {
            columns: columns.collect(),
            key,
            rows: RowDifferences::default(),
        }
    }

    /// Compares rows that have the same keys.
    pub(super) fn compare(
        &mut self,
        landing: u64,
        active: &RecordBatch,
        candidate: &RecordBatch,
    ) -> Result<(), ArrowError> {
        let rows = active.num_rows();
        let mut differs = BooleanArray::from(vec![false; rows]);
        for column in &mut self.columns {
            let was = column.active.map(|at| active.column(at));
            let is = column.candidate.map(|at| candidate.column(at));
            let mask = match (was, is) {
                (Some(was), Some(is)) => differing(was, is)?,
                (Some(only), None) | (None, Some(only)) => is_not_null(only)?,
                (None, None) => continue,
            };
            let changed = mask.true_count();
            if changed == 0 {
                continue;
            }
            column.found.changed += changed as u64;
            let missing = EXAMPLES.saturating_sub(column.found.examples.len());
            for row in mask.values().set_indices().take(missing) {
                column.found.examples.push(ValueExample {
                    landing,
                    key: key_of(active, &self.key, row)?,
                    active: was.map_or(Ok(None), |was| value(was, row))?,
                    candidate: is.map_or(Ok(None), |is| value(is, row))?,
                });
            }
            differs = or(&differs, &mask)?;
        }
        let changed = differs.true_count() as u64;
        self.rows.changed += changed;
        self.rows.same += rows as u64 - changed;
        Ok(())
    }

    /// Counts rows that only the candidate made.
    pub(super) fn added(&mut self, landing: u64, rows: &RecordBatch) -> Result<(), ArrowError> {
        self.rows.added += rows.num_rows() as u64;
        examples(&mut self.rows.added_examples, landing, rows)
    }

    /// Counts rows that only the active version made.
    pub(super) fn dropped(&mut self, landing: u64, rows: &RecordBatch) -> Result<(), ArrowError> {
        self.rows.dropped += rows.num_rows() as u64;
        examples(&mut self.rows.dropped_examples, landing, rows)
    }

    /// What was found.
    pub(super) fn found(self) -> (RowDifferences, Vec<ColumnDifferences>) {
        let columns = self.columns.into_iter().map(|column| column.found);
        (self.rows, columns.collect())
    }
}

/// Where two columns differ; NULL is a value here.
fn differing(was: &ArrayRef, is: &ArrayRef) -> Result<BooleanArray, ArrowError> {
    if was.data_type() == is.data_type() && !is_nested(was.data_type()) {
        return distinct(was, is);
    }
    let rows = 0..was.len();
    rows.map(|row| Ok(Some(shown(was, row)? != shown(is, row)?)))
        .collect::<Result<Vec<_>, ArrowError>>()
        .map(BooleanArray::from)
}

fn is_nested(kind: &DataType) -> bool {
    kind.is_nested() || matches!(kind, DataType::Dictionary(..) | DataType::RunEndEncoded(..))
}

fn examples(
    examples: &mut Vec<RowExample>,
    landing: u64,
    rows: &RecordBatch,
) -> Result<(), ArrowError> {
    let missing = EXAMPLES.saturating_sub(examples.len());
    for row in 0..rows.num_rows().min(missing) {
        let schema = rows.schema();
        let columns = schema.fields().iter().zip(rows.columns());
        let values = columns.map(|(field, column)| Ok((field.name().clone(), value(column, row)?)));
        let values = values.collect::<Result<_, ArrowError>>()?;
        examples.push(RowExample { landing, values });
    }
    Ok(())
}

fn key_of(batch: &RecordBatch, key: &[usize], row: usize) -> Result<Vec<String>, ArrowError> {
    key.iter()
        .map(|at| Ok(value(batch.column(*at), row)?.unwrap_or_else(|| "NULL".into())))
        .collect()
}

/// A value as it is shown: in one line, and not endless.
fn value(column: &ArrayRef, row: usize) -> Result<Option<String>, ArrowError> {
    Ok(shown(column, row)?.map(|text| printable::line(&text, VALUE_BYTES)))
}

fn shown(column: &ArrayRef, row: usize) -> Result<Option<String>, ArrowError> {
    if column.is_null(row) {
        return Ok(None);
    }
    let format = FormatOptions::default();
    let formatter = ArrayFormatter::try_new(column.as_ref(), &format)?;
    Ok(Some(formatter.value(row).try_to_string()?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, Int64Array, StringArray};
    use arrow::datatypes::Field;

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
        let fields = columns
            .iter()
            .map(|(name, column)| Field::new(*name, column.data_type().clone(), true));
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let columns = columns.into_iter().map(|(_, column)| column).collect();
        RecordBatch::try_new(schema, columns).expect("a batch")
    }

    fn numbers(values: &[Option<i32>]) -> ArrayRef {
        Arc::new(Int32Array::from(values.to_vec()))
    }

    fn texts(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    fn compared(
        active: &RecordBatch,
        candidate: &RecordBatch,
    ) -> (RowDifferences, Vec<ColumnDifferences>) {
        let mut columns = Columns::new(&active.schema(), &candidate.schema(), vec![0]);
        columns.compare(7, active, candidate).expect("they compare");
        columns.found()
    }

    #[test]
    fn null_is_a_value_and_a_row_that_differs_twice_is_one_row() {
        let key = || numbers(&[Some(1), Some(2), Some(3)]);
        let active = batch(vec![
            ("id", key()),
            ("a", texts(&[Some("x"), None, None])),
            ("b", numbers(&[Some(1), Some(2), Some(3)])),
        ]);
        let candidate = batch(vec![
            ("id", key()),
            ("a", texts(&[Some("x"), Some("y"), None])),
            ("b", numbers(&[Some(1), None, Some(4)])),
        ]);
        let (rows, columns) = compared(&active, &candidate);
        assert_eq!((rows.same, rows.changed), (1, 2));
        let counts: Vec<_> = columns
            .iter()
            .map(|c| (c.name.as_str(), c.changed))
            .collect();
        assert_eq!(counts, [("id", 0), ("a", 1), ("b", 2)]);
        let example = ValueExample {
            landing: 7,
            key: vec!["2".into()],
            active: None,
            candidate: Some("y".into()),
        };
        assert_eq!(columns[1].examples, [example]);
    }

    #[test]
    fn columns_come_go_and_change_their_type() {
        let active = batch(vec![
            ("id", numbers(&[Some(1), Some(2)])),
            ("gone", texts(&[Some("x"), None])),
            ("wide", numbers(&[Some(5), Some(6)])),
        ]);
        let candidate = batch(vec![
            ("id", numbers(&[Some(1), Some(2)])),
            ("wide", Arc::new(Int64Array::from(vec![5, 7]))),
            ("new", texts(&[None, None])),
        ]);
        let (rows, columns) = compared(&active, &candidate);
        let found: Vec<_> = columns
            .iter()
            .map(|c| (c.name.as_str(), c.change, c.changed))
            .collect();
        assert_eq!(
            found,
            [
                ("id", ColumnChange::Kept, 0),
                ("gone", ColumnChange::Dropped, 1),
                ("wide", ColumnChange::Retyped, 1),
                ("new", ColumnChange::Added, 0),
            ]
        );
        assert_eq!((rows.same, rows.changed), (0, 2));
    }

    #[test]
    fn a_few_examples_are_kept_of_many() {
        let keys: Vec<Option<i32>> = (0..100).map(Some).collect();
        let active = batch(vec![("id", numbers(&keys)), ("a", numbers(&keys))]);
        let none = vec![None; 100];
        let candidate = batch(vec![("id", numbers(&keys)), ("a", numbers(&none))]);
        let (rows, columns) = compared(&active, &candidate);
        assert_eq!(rows.changed, 100);
        assert_eq!(columns[1].examples.len(), EXAMPLES);
        let mut columns = Columns::new(&active.schema(), &active.schema(), vec![0]);
        columns.added(1, &active).expect("rows");
        columns.dropped(1, &active).expect("rows");
        let (rows, _) = columns.found();
        assert_eq!((rows.added, rows.dropped), (100, 100));
        assert_eq!(rows.added_examples.len(), EXAMPLES);
    }
}
