//! How rows of the same key differ, column by column.

use std::collections::BTreeSet;

use arrow::array::{Array, ArrayRef, BooleanArray};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::{is_not_null, or};
use arrow::datatypes::{DataType, Schema};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::report::{ColumnChange, ColumnDifferences, RowDifferences, RowExample, ValueExample};
use crate::pipeline::sensitive::PLACEHOLDER;
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
    /// Columns whose values are not shown.
    hidden: BTreeSet<String>,
}

struct Column {
    active: Option<usize>,
    candidate: Option<usize>,
    found: ColumnDifferences,
}

impl Columns {
    /// The columns of both; `key` says where the key is in the active version, `hidden` which values are not shown.
    pub(super) fn new(
        active: &Schema,
        candidate: &Schema,
        key: Vec<usize>,
        hidden: BTreeSet<String>,
    ) -> Self {
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
            hidden,
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
                let hidden = self.hidden.contains(&column.found.name);
                let shown = |column: Option<&ArrayRef>| match column {
                    Some(column) => value(column, row, hidden),
                    None => Ok(None),
                };
                column.found.examples.push(ValueExample {
                    landing,
                    key: key_of(active, &self.key, row, &self.hidden)?,
                    active: shown(was)?,
                    candidate: shown(is)?,
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
        examples(&mut self.rows.added_examples, landing, rows, &self.hidden)
    }

    /// Counts rows that only the active version made.
    pub(super) fn dropped(&mut self, landing: u64, rows: &RecordBatch) -> Result<(), ArrowError> {
        self.rows.dropped += rows.num_rows() as u64;
        examples(&mut self.rows.dropped_examples, landing, rows, &self.hidden)
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
    rows.map(|row| {
        Ok(Some(
            printable::value(was, row)? != printable::value(is, row)?,
        ))
    })
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
    hidden: &BTreeSet<String>,
) -> Result<(), ArrowError> {
    let missing = EXAMPLES.saturating_sub(examples.len());
    for row in 0..rows.num_rows().min(missing) {
        let schema = rows.schema();
        let columns = schema.fields().iter().zip(rows.columns());
        let values = columns.map(|(field, column)| {
            let name = field.name();
            Ok((name.clone(), value(column, row, hidden.contains(name))?))
        });
        let values = values.collect::<Result<_, ArrowError>>()?;
        examples.push(RowExample { landing, values });
    }
    Ok(())
}

fn key_of(
    batch: &RecordBatch,
    key: &[usize],
    row: usize,
    hidden: &BTreeSet<String>,
) -> Result<Vec<String>, ArrowError> {
    let schema = batch.schema();
    let part = |at: &usize| {
        let hidden = hidden.contains(schema.field(*at).name());
        let value = value(batch.column(*at), row, hidden)?;
        Ok(value.unwrap_or_else(|| "NULL".into()))
    };
    key.iter().map(part).collect()
}

/// A value as it is shown: in one line, and not endless; or what stands for it.
fn value(column: &ArrayRef, row: usize, hidden: bool) -> Result<Option<String>, ArrowError> {
    if hidden {
        return Ok(column.is_valid(row).then(|| PLACEHOLDER.to_owned()));
    }
    Ok(printable::value(column, row)?.map(|text| printable::line(&text, VALUE_BYTES)))
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
        let mut columns = Columns::new(
            &active.schema(),
            &candidate.schema(),
            vec![0],
            BTreeSet::new(),
        );
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
    fn what_is_hidden_is_counted_and_not_shown() {
        let active = batch(vec![
            ("id", numbers(&[Some(1), Some(2)])),
            ("a", texts(&[Some("ada@example.org"), None])),
        ]);
        let candidate = batch(vec![
            ("id", numbers(&[Some(1), Some(2)])),
            (
                "a",
                texts(&[Some("ADA@example.org"), Some("bob@example.org")]),
            ),
        ]);
        let hidden = BTreeSet::from(["a".to_owned(), "id".to_owned()]);
        let mut columns = Columns::new(&active.schema(), &candidate.schema(), vec![0], hidden);
        columns
            .compare(1, &active, &candidate)
            .expect("they compare");
        let (rows, columns) = columns.found();
        assert_eq!((rows.changed, columns[1].changed), (2, 2));
        let hidden = || Some(PLACEHOLDER.to_owned());
        for (example, active) in columns[1].examples.iter().zip([hidden(), None]) {
            assert_eq!(example.key, [PLACEHOLDER]);
            assert_eq!((&example.active, &example.candidate), (&active, &hidden()));
        }
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
        let mut columns = Columns::new(
            &active.schema(),
            &active.schema(),
            vec![0],
            BTreeSet::from(["a".to_owned()]),
        );
        columns.added(1, &active).expect("rows");
        columns.dropped(1, &active).expect("rows");
        let (rows, _) = columns.found();
        assert_eq!((rows.added, rows.dropped), (100, 100));
        assert_eq!(rows.added_examples.len(), EXAMPLES);
        let shown = |value: &str| Some(value.to_owned());
        let first = vec![("id".into(), shown("0")), ("a".into(), shown(PLACEHOLDER))];
        assert_eq!(rows.added_examples[0].values, first);
    }
}
