//! Keys: how rows are compared, and which files need not be opened to find them.

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, Schema};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;

use super::data_file::DataFile;

/// Rows as bytes that are equal exactly when the rows are, NULL like any other value.
pub(super) struct Rows(RowConverter);

impl Rows {
    /// For rows with the columns of `schema`.
    pub(super) fn of(schema: &Schema) -> Result<Self, ArrowError> {
        let fields = schema
            .fields()
            .iter()
            .map(|field| SortField::new(field.data_type().clone()))
            .collect();
        Ok(Self(RowConverter::new(fields)?))
    }

    /// One entry for each row.
    pub(super) fn encode(&self, columns: &[ArrayRef]) -> Result<arrow::row::Rows, ArrowError> {
        self.0.convert_columns(columns)
    }
}

/// The values of an integer key, sorted: files and row groups whose range holds none are not read.
///
/// Only integers: ids are what grows, and their statistics are exact. Text may be cut off in statistics,
/// decimals are floats in Delta's log.
pub(super) struct KeyRange {
    column: String,
    values: Vec<i64>,
}

impl KeyRange {
    /// `None` where keys do not begin with an integer.
    pub(super) fn of(keys: &RecordBatch) -> Result<Option<Self>, ArrowError> {
        let schema = keys.schema();
        let (Some(field), Some(values)) = (schema.fields().first(), keys.columns().first()) else {
            return Ok(None);
        };
        if !matches!(
            field.data_type(),
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::Int64
        ) || values.null_count() > 0
        {
            return Ok(None);
        }
        let values = cast(values, &DataType::Int64)?;
        let mut values = values.as_primitive::<Int64Type>().values().to_vec();
        values.sort_unstable();
        Ok(Some(Self {
            column: field.name().clone(),
            values,
        }))
    }

    /// Whether `file` can have one of them.
    pub(super) fn may_be_in(&self, file: &DataFile) -> bool {
        file.range(&self.column)
            .is_none_or(|(min, max)| self.any_between(min, max))
    }

    /// Whether `group` can have one of them.
    pub(super) fn may_be_in_group(&self, group: &RowGroupMetaData) -> bool {
        let statistics = group
            .columns()
            .iter()
            .find(|column| column.column_path().parts() == [self.column.as_str()])
            .and_then(|column| column.statistics());
        let range = match statistics {
            Some(Statistics::Int32(range)) => range
                .min_opt()
                .zip(range.max_opt())
                .map(|(min, max)| (i64::from(*min), i64::from(*max))),
            Some(Statistics::Int64(range)) => range
                .min_opt()
                .zip(range.max_opt())
                .map(|(min, max)| (*min, *max)),
            _ => None,
        };
        range.is_none_or(|(min, max)| self.any_between(min, max))
    }

    fn any_between(&self, min: i64, max: i64) -> bool {
        let from = self.values.partition_point(|value| *value < min);
        self.values.get(from).is_some_and(|value| *value <= max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int32Array, StringArray};
    use arrow::datatypes::Field;
    use std::sync::Arc;

    #[test]
    fn a_range_is_skipped_only_when_no_key_is_in_it() {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Int32, false)]));
        let ids: ArrayRef = Arc::new(Int32Array::from(vec![30, -5, 10]));
        let keys = RecordBatch::try_new(schema, vec![ids]).expect("keys");
        let range = KeyRange::of(&keys).expect("integers").expect("a range");
        for (min, max, any) in [
            (-9, -6, false),
            (-9, -5, true),
            (-4, 9, false),
            (10, 10, true),
            (11, 29, false),
            (0, 100, true),
            (31, i64::MAX, false),
        ] {
            assert_eq!(range.any_between(min, max), any, "{min}..={max}");
        }
    }

    #[test]
    fn keys_of_text_have_no_range() {
        let schema = Arc::new(Schema::new(vec![Field::new("id", DataType::Utf8, false)]));
        let ids: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        let keys = RecordBatch::try_new(schema, vec![ids]).expect("keys");
        assert!(KeyRange::of(&keys).expect("readable").is_none());
    }
}
