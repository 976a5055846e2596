//! What Delta's log says of the values in a data file, by which readers skip files.
//!
//! Ranges stand there only where they are exact. Decimals stand in Delta's log as floating point, and times are cut to
//! milliseconds: a reader that skips files by such a range would miss rows. The Parquet files have them exactly.

use arrow::datatypes::{DataType, Schema};
use chrono::{Datelike as _, NaiveDate, TimeDelta};
use parquet::file::metadata::ParquetMetaData;
use parquet::file::statistics::Statistics;
use serde_json::{Map, Value, json};

/// Columns that have statistics: as many as the property `delta.dataSkippingNumIndexedCols` says when it is not set.
const COLUMNS: usize = 32;

/// The statistics of a file of `schema`, in the words of the Delta protocol.
pub(super) fn of(file: &ParquetMetaData, schema: &Schema) -> Value {
    let mut ranges = Ranges::default();
    let leaves = file.file_metadata().schema_descr().columns();
    for (index, leaf) in leaves.iter().enumerate() {
        // A column with parts of its own has the path to each.
        let [name] = leaf.path().parts() else {
            continue;
        };
        let place = schema.column_with_name(name);
        if let Some((_, field)) = place.filter(|(place, _)| *place < COLUMNS) {
            ranges.add(name, field.data_type(), file, index);
        }
    }
    json!({
        "numRecords": file.file_metadata().num_rows(),
        "minValues": ranges.min,
        "maxValues": ranges.max,
        "nullCount": ranges.nulls,
    })
}

#[derive(Default)]
struct Ranges {
    min: Map<String, Value>,
    max: Map<String, Value>,
    nulls: Map<String, Value>,
}

impl Ranges {
    /// Adds a column, of which leaf `index` has the values. A column of which any row group does not say what is in it
    /// has no range, and one that does not say how many NULLs it has no number of them.
    fn add(&mut self, name: &str, data_type: &DataType, file: &ParquetMetaData, index: usize) {
        let groups = || {
            file.row_groups()
                .iter()
                .map(|g| g.column(index).statistics())
        };
        let nulls: Option<u64> = groups().map(|group| group?.null_count_opt()).sum();
        if let Some(nulls) = nulls {
            self.nulls.insert(name.to_owned(), nulls.into());
        }
        let mut range: Option<(Bound, Bound)> = None;
        for (number, group) in groups().enumerate() {
            let rows = file.row_group(number).num_rows().cast_unsigned();
            if group.is_some_and(|group| group.null_count_opt() == Some(rows)) {
                continue;
            }
            let Some((low, high)) = group.and_then(|group| bounds(group, data_type)) else {
                return;
            };
            range = Some(match range {
                Some((min, max)) => (min.min(low), max.max(high)),
                None => (low, high),
            });
        }
        let said = range.and_then(|(min, max)| Some((min.said(data_type)?, max.said(data_type)?)));
        if let Some((min, max)) = said {
            self.min.insert(name.to_owned(), min);
            self.max.insert(name.to_owned(), max);
        }
    }
}

/// A smallest or largest value.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bound {
    Boolean(bool),
    Number(i64),
    Text(String),
}

impl Bound {
    /// `None` for a date whose year has not four digits, which readers take for no date at all.
    fn said(self, data_type: &DataType) -> Option<Value> {
        Some(match self {
            Self::Boolean(value) => value.into(),
            Self::Number(days) if *data_type == DataType::Date32 => {
                let date = NaiveDate::default().checked_add_signed(TimeDelta::days(days))?;
                let is_plain = (1..=9999).contains(&date.year());
                is_plain.then(|| date.to_string())?.into()
            }
            Self::Number(value) => value.into(),
            Self::Text(value) => value.into(),
        })
    }
}

/// Between what the values of a row group are, where that is exact. Parquet cuts long texts so that they lie between.
fn bounds(group: &Statistics, data_type: &DataType) -> Option<(Bound, Bound)> {
    match (group, data_type) {
        (Statistics::Boolean(values), DataType::Boolean) => Some((
            Bound::Boolean(*values.min_opt()?),
            Bound::Boolean(*values.max_opt()?),
        )),
        (Statistics::Int32(values), kind) if kind.is_integer() || *kind == DataType::Date32 => {
            Some((
                Bound::Number((*values.min_opt()?).into()),
                Bound::Number((*values.max_opt()?).into()),
            ))
        }
        (Statistics::Int64(values), kind) if kind.is_integer() => Some((
            Bound::Number(*values.min_opt()?),
            Bound::Number(*values.max_opt()?),
        )),
        (Statistics::ByteArray(values), DataType::Utf8) => Some((
            Bound::Text(values.min_opt()?.as_utf8().ok()?.to_owned()),
            Bound::Text(values.max_opt()?.as_utf8().ok()?.to_owned()),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        ArrayRef, BooleanArray, Date32Array, Decimal128Array, Int16Array, Int64Array, RecordBatch,
        StringArray,
    };
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;

    use super::*;

    /// What is said of a file of these columns, with row groups of two rows.
    fn said(columns: Vec<(&str, ArrayRef)>) -> Value {
        let rows = RecordBatch::try_from_iter_with_nullable(
            columns
                .into_iter()
                .map(|(name, column)| (name, column, true)),
        )
        .expect("columns of one length");
        let groups = WriterProperties::builder().set_max_row_group_row_count(Some(2));
        let mut file =
            ArrowWriter::try_new(Vec::new(), rows.schema(), Some(groups.build())).expect("a file");
        file.write(&rows).expect("rows");
        of(&file.close().expect("an end"), &rows.schema())
    }

    #[test]
    fn the_range_of_a_column_is_that_of_all_its_row_groups() {
        let said = said(vec![
            (
                "whole",
                Arc::new(Int64Array::from(vec![
                    Some(7),
                    None,
                    None,
                    None,
                    Some(i64::MAX),
                ])),
            ),
            ("small", Arc::new(Int16Array::from(vec![3, -2, 5, 1, 0]))),
            (
                "flag",
                Arc::new(BooleanArray::from(vec![true, true, false, true, true])),
            ),
            (
                "text",
                Arc::new(StringArray::from(vec!["b", "é", "", "c", "a"])),
            ),
            (
                "day",
                Arc::new(Date32Array::from(vec![0, 1, 18_993, -1, 2])),
            ),
            ("nothing", Arc::new(Int64Array::from(vec![None; 5]))),
        ]);
        let expected = json!({
            "numRecords": 5,
            "minValues": {"whole": 7, "small": -2, "flag": false, "text": "", "day": "1969-12-31"},
            "maxValues": {"whole": i64::MAX, "small": 5, "flag": true, "text": "é", "day": "2022-01-01"},
            "nullCount": {"whole": 3, "small": 0, "flag": 0, "text": 0, "day": 0, "nothing": 5},
        });
        assert_eq!(said, expected);
    }

    #[test]
    fn a_long_text_lies_between_what_is_said() {
        let long = format!("a{}", "z".repeat(5000));
        let said = said(vec![(
            "text",
            Arc::new(StringArray::from(vec![long.as_str()])),
        )]);
        let [min, max] = ["minValues", "maxValues"]
            .map(|range| said[range]["text"].as_str().expect("a text").to_owned());
        assert!(min <= long && long <= max, "{said}");
    }

    #[test]
    fn what_delta_cannot_say_exactly_has_no_range() {
        let price = Decimal128Array::from(vec![1]).with_precision_and_scale(38, 2);
        let said = said(vec![
            ("price", Arc::new(price.expect("a type"))),
            ("far", Arc::new(Date32Array::from(vec![2_145_042_905]))),
            ("before", Arc::new(Date32Array::from(vec![-719_163]))),
            ("late", Arc::new(Date32Array::from(vec![2_932_897]))),
        ]);
        assert_eq!(said["minValues"], json!({}));
        assert_eq!(said["maxValues"], json!({}));
        assert_eq!(
            said["nullCount"],
            json!({"price": 0, "far": 0, "before": 0, "late": 0})
        );
    }

    #[test]
    fn columns_after_the_thirty_second_are_left_to_parquet() {
        let ones: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let names: Vec<String> = (0..40).map(|number| format!("c{number}")).collect();
        let columns = names.iter().map(|name| (name.as_str(), ones.clone()));
        let said = said(columns.collect());
        let count = said["minValues"].as_object().map(Map::len);
        assert_eq!(count, Some(COLUMNS));
        assert!(said["minValues"]["c32"].is_null() && said["minValues"]["c31"] == 1);
    }
}
