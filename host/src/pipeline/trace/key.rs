//! The key that is looked for: read from words, found in batches, written as SQL.

use std::fmt;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, Scalar, StringArray};
use arrow::compute::kernels::cmp::eq;
use arrow::compute::{CastOptions, and, cast_with_options};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::TraceError;
use super::report::Value;
use crate::manifest::ProcessedOutput;
use crate::printable;

/// The longest value that is shown.
const VALUE_BYTES: usize = 200;

/// A key, part by part.
#[derive(Debug, Clone)]
pub(super) struct Key {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
struct Part {
    column: String,
    data_type: DataType,
    /// As the type writes it.
    text: String,
}

impl Key {
    /// The key of `table` that `words` mean: values in its order, or `column=value`.
    pub(super) fn parse(
        table: &str,
        output: &ProcessedOutput,
        words: &[String],
    ) -> Result<Self, TraceError> {
        let columns = &output.primary_key;
        if columns.is_empty() {
            return Err(TraceError::Keyless(table.to_owned()));
        }
        let values = match named(words, columns) {
            Some(named) => by_name(table, columns, &named)?,
            None if words.len() == columns.len() => words.iter().map(String::as_str).collect(),
            None => {
                return Err(TraceError::Parts {
                    table: table.to_owned(),
                    key: columns.join(", "),
                    given: words.len(),
                });
            }
        };
        let parts = columns.iter().zip(values).map(|(column, value)| {
            let declared = output.columns.iter().find(|c| c.name == *column);
            let data_type = declared.map_or(DataType::Utf8, |c| c.data_type.clone());
            let typed = typed(value, &data_type).ok_or_else(|| TraceError::Type {
                column: column.clone(),
                data_type: data_type.to_string(),
                value: printable::line(value, VALUE_BYTES),
            })?;
            let text = printable::value(&typed, 0)?.unwrap_or_default();
            Ok(Part {
                column: column.clone(),
                data_type,
                text,
            })
        });
        let parts = parts.collect::<Result<_, TraceError>>()?;
        Ok(Self { parts })
    }

    /// The same values under these columns, where they are those of the key, in whatever order.
    pub(super) fn under(&self, columns: &[String]) -> Option<Self> {
        let part = |column: &String| self.parts.iter().find(|part| part.column == *column);
        let parts: Vec<Part> = columns
            .iter()
            .map(|c| part(c).cloned())
            .collect::<Option<_>>()?;
        (!parts.is_empty()).then_some(Self { parts })
    }

    /// The same values under other columns, one for one.
    pub(super) fn renamed(&self, columns: &[String]) -> Option<Self> {
        let parts = self.parts.iter().zip(columns).map(|(part, column)| Part {
            column: column.clone(),
            ..part.clone()
        });
        let parts = parts.collect();
        (columns.len() == self.parts.len()).then_some(Self { parts })
    }

    /// Its columns.
    pub(super) fn columns(&self) -> Vec<String> {
        self.parts.iter().map(|part| part.column.clone()).collect()
    }

    /// The columns with their values.
    pub(super) fn shown(&self) -> Vec<Value> {
        let parts = self.parts.iter().map(|part| Value {
            column: part.column.clone(),
            value: Some(part.text.clone()),
        });
        parts.collect()
    }

    /// The first row of `rows` that has this key.
    pub(super) fn position(&self, rows: &RecordBatch) -> Result<Option<usize>, ArrowError> {
        let mut mask: Option<BooleanArray> = None;
        for part in &self.parts {
            let Some(column) = rows.column_by_name(&part.column) else {
                return Ok(None);
            };
            let Some(value) = typed(&part.text, column.data_type()) else {
                return Ok(None);
            };
            let is_equal = eq(column, &Scalar::new(value))?;
            mask = Some(match mask {
                Some(mask) => and(&mask, &is_equal)?,
                None => is_equal,
            });
        }
        let found =
            mask.and_then(|mask| (0..mask.len()).find(|at| mask.is_valid(*at) && mask.value(*at)));
        Ok(found)
    }

    /// As a condition in the SQL of every warehouse.
    pub(super) fn condition(&self) -> String {
        let parts: Vec<String> = self.parts.iter().map(Part::condition).collect();
        parts.join(" AND ")
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.parts.iter();
        let parts: Vec<String> = parts.map(|p| format!("{} {}", p.column, p.text)).collect();
        f.write_str(&printable::line(&parts.join(", "), VALUE_BYTES))
    }
}

impl Part {
    fn condition(&self) -> String {
        let (column, text) = (quoted(&self.column), literal(&self.text));
        match &self.data_type {
            kind if kind.is_integer() => format!("{column} = {}", self.text),
            DataType::Boolean => format!("{column} = {}", self.text),
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                format!("{column} = {text}")
            }
            DataType::Date32 => format!("{column} = DATE {text}"),
            DataType::Decimal128(precision, scale) | DataType::Decimal256(precision, scale) => {
                format!("{column} = CAST({text} AS DECIMAL({precision}, {scale}))")
            }
            DataType::Timestamp(_, None) => format!("{column} = CAST({text} AS TIMESTAMP)"),
            // What both write alike.
            _ => format!("CAST({column} AS VARCHAR) = {text}"),
        }
    }
}

/// `column=value` by column, where every word has that form with a column of the key before it.
fn named<'w>(words: &'w [String], columns: &[String]) -> Option<Vec<(&'w str, &'w str)>> {
    let split: Option<Vec<_>> = words.iter().map(|word| word.split_once('=')).collect();
    let split = split?;
    let is_key = |name: &str| columns.iter().any(|column| column == name);
    // A single value may hold an equals sign itself.
    let is_named = match words.len() == columns.len() {
        true => split.iter().any(|(name, _)| is_key(name)),
        false => true,
    };
    is_named.then_some(split)
}

fn by_name<'w>(
    table: &str,
    columns: &[String],
    named: &[(&'w str, &'w str)],
) -> Result<Vec<&'w str>, TraceError> {
    let wrong = |column: &str, problem| TraceError::Column {
        table: table.to_owned(),
        key: columns.join(", "),
        column: column.to_owned(),
        problem,
    };
    for (name, _) in named {
        if !columns.iter().any(|column| column == name) {
            return Err(wrong(name, "not in it"));
        }
    }
    columns
        .iter()
        .map(|column| {
            let mut given = named.iter().filter(|(name, _)| name == column);
            match (given.next(), given.next()) {
                (Some((_, value)), None) => Ok(*value),
                (Some(_), Some(_)) => Err(wrong(column, "given twice")),
                (None, _) => Err(wrong(column, "not given")),
            }
        })
        .collect()
}

/// A word as one value of a type; `None` when it is none.
fn typed(word: &str, kind: &DataType) -> Option<ArrayRef> {
    let text: ArrayRef = Arc::new(StringArray::from(vec![word]));
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let typed = cast_with_options(&text, kind, &strict).ok()?;
    typed.is_valid(0).then_some(typed)
}

/// The values of a row, in one line each.
pub(super) fn values(rows: &RecordBatch, row: usize) -> Result<Vec<Value>, TraceError> {
    let schema = rows.schema();
    let columns = schema.fields().iter().zip(rows.columns());
    let values = columns.map(|(field, column)| {
        let value = printable::value(column, row)?;
        Ok(Value {
            column: field.name().clone(),
            value: value.map(|text| printable::line(&text, VALUE_BYTES)),
        })
    });
    values.collect()
}

/// An identifier as SQL.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use arrow::array::{Date32Array, Int32Array};
    use arrow::datatypes::{Field, Schema};

    use super::*;
    use crate::contract::LoadMode;
    use crate::error::Classify as _;
    use crate::manifest::ProcessedColumn;

    fn output(key: &[(&str, DataType)]) -> ProcessedOutput {
        let column = |(name, data_type): &(&str, DataType)| ProcessedColumn {
            name: (*name).to_owned(),
            data_type: data_type.clone(),
            nullable: false,
        };
        ProcessedOutput {
            columns: key.iter().map(column).collect(),
            primary_key: key.iter().map(|(name, _)| (*name).to_owned()).collect(),
            mode: LoadMode::Upsert,
            record_id: None,
            alias: None,
        }
    }

    fn parse(key: &[(&str, DataType)], words: &[&str]) -> Result<Key, TraceError> {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        Key::parse("t", &output(key), &words)
    }

    fn two() -> Vec<(&'static str, DataType)> {
        vec![("a", DataType::Int32), ("b", DataType::Utf8)]
    }

    #[test]
    fn a_key_is_given_in_its_order_or_by_name() {
        for words in [&["1", "x"][..], &["b=x", "a=1"], &["a=1", "b=x"]] {
            let key = parse(&two(), words).expect("a key");
            assert_eq!(key.to_string(), "a 1, b x");
            assert_eq!(key.condition(), "\"a\" = 1 AND \"b\" = 'x'");
        }
        // An equals sign may be part of a value.
        let key = parse(&[("b", DataType::Utf8)], &["x=y"]).expect("a key");
        assert_eq!(key.to_string(), "b x=y");
        let key = parse(&[("b", DataType::Utf8)], &["O'Keefe"]).expect("a key");
        assert_eq!(key.condition(), "\"b\" = 'O''Keefe'");
        let key = parse(&[("d", DataType::Date32)], &["2026-01-31"]).expect("a key");
        assert_eq!(key.condition(), "\"d\" = DATE '2026-01-31'");
    }

    #[test]
    fn what_is_no_key_says_which_part_is_wrong() {
        for (words, told, hint) in [
            (
                &["1"][..],
                "the key of `t` is (a, b), and 1 values are given",
                "write it as `tidemill trace t a=… b=…`",
            ),
            (
                &["a=1", "c=2"],
                "the key of `t` is (a, b), and `c` is not in it",
                "write it as `tidemill trace t a=… b=…`",
            ),
            (
                &["a=1", "a=2"],
                "the key of `t` is (a, b), and `a` is given twice",
                "write it as `tidemill trace t a=… b=…`",
            ),
            (
                &["a=1"],
                "the key of `t` is (a, b), and `b` is not given",
                "write it as `tidemill trace t a=… b=…`",
            ),
            (
                &["one", "x"],
                "`a` is of type Int32, and `one` is none",
                "write it as `tidemill query` shows it",
            ),
            (
                &["1; DROP", "x"],
                "`a` is of type Int32, and `1; DROP` is none",
                "write it as `tidemill query` shows it",
            ),
            (
                &["99999999999", "x"],
                "`a` is of type Int32, and `99999999999` is none",
                "write it as `tidemill query` shows it",
            ),
        ] {
            let error = parse(&two(), words).expect_err(told);
            assert_eq!(
                (error.to_string().as_str(), error.hint().as_deref()),
                (told, Some(hint))
            );
        }
        assert!(matches!(parse(&[], &[]), Err(TraceError::Keyless(_))));
    }

    #[test]
    fn a_row_is_found_by_all_parts_of_its_key_whatever_their_landed_types() {
        let fields = vec![
            Field::new("b", DataType::LargeUtf8, true),
            Field::new("a", DataType::Int64, true),
        ];
        let texts =
            arrow::array::LargeStringArray::from(vec![Some("x"), Some("y"), None, Some("x")]);
        let numbers = arrow::array::Int64Array::from(vec![Some(2), Some(1), Some(1), Some(1)]);
        let rows = RecordBatch::try_new(
            Arc::new(Schema::new(fields)),
            vec![Arc::new(texts), Arc::new(numbers)],
        );
        let rows = rows.expect("a batch");
        let at = |words: &[&str]| {
            parse(&two(), words)
                .expect("a key")
                .position(&rows)
                .expect("it compares")
        };
        assert_eq!(at(&["1", "x"]), Some(3));
        assert_eq!(at(&["2", "x"]), Some(0));
        assert_eq!(at(&["3", "x"]), None);
        let others = vec![
            Field::new("a", DataType::Date32, true),
            Field::new("b", DataType::Int32, true),
        ];
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Date32Array::from(vec![1])),
            Arc::new(Int32Array::from(vec![1])),
        ];
        let others = RecordBatch::try_new(Arc::new(Schema::new(others)), columns).expect("a batch");
        assert_eq!(
            parse(&two(), &["1", "x"])
                .expect("a key")
                .position(&others)
                .expect("it compares"),
            None
        );
    }

    #[test]
    fn a_key_is_known_under_its_own_columns_only() {
        let key = parse(&two(), &["1", "x"]).expect("a key");
        let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            key.under(&names(&["b", "a"])).map(|key| key.columns()),
            Some(names(&["b", "a"]))
        );
        assert!(key.under(&names(&["a", "c"])).is_none());
        assert!(key.under(&[]).is_none());
        let renamed = key.renamed(&names(&["c", "d"])).map(|key| key.to_string());
        assert_eq!(renamed.as_deref(), Some("c 1, d x"));
        assert!(key.renamed(&names(&["c"])).is_none());
    }
}
