//! Stand-ins: values of the same type that take the place of sensitive ones before a module sees them.
//!
//! A preview shows what a module makes. What it makes of stand-ins holds nothing that is sensitive, whatever the module
//! does, and still shows the rest. Equal values have equal stand-ins within one use, whichever table they are of, so that
//! keys stay unique and joins find their rows; they are numbered in the order in which they come, so they tell nothing but
//! that. NULL stays NULL.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, BinaryArray, BooleanArray, Int64Array, StringArray, new_null_array,
};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use arrow::row::{RowConverter, SortField};

/// The numbers of the values that came, by type.
#[derive(Default)]
pub(in crate::pipeline) struct StandIns {
    seen: HashMap<DataType, Numbers>,
}

type Numbers = HashMap<Box<[u8]>, i64>;

impl StandIns {
    /// The same rows with stand-ins in the columns that are named.
    ///
    /// # Errors
    /// A type that has no stand-in, in a column that must have a value.
    pub(in crate::pipeline) fn replace(
        &mut self,
        rows: &RecordBatch,
        is_sensitive: impl Fn(&str) -> bool,
    ) -> Result<RecordBatch, ArrowError> {
        let schema = rows.schema();
        let columns = schema.fields().iter().zip(rows.columns());
        let columns = columns.map(|(field, column)| match is_sensitive(field.name()) {
            true => self.column(column),
            false => Ok(column.clone()),
        });
        let columns = columns.collect::<Result<Vec<_>, _>>()?;
        RecordBatch::try_new(schema, columns)
    }

    fn column(&mut self, column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
        let kind = column.data_type();
        let numbers = self.numbers(column)?;
        let stand_in: ArrayRef = match kind {
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => {
                let texts = numbers.iter().map(|n| n.map(|n| format!("sensitive-{n}")));
                Arc::new(texts.collect::<StringArray>())
            }
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => {
                let bytes: Vec<Option<[u8; 8]>> =
                    numbers.iter().map(|n| n.map(i64::to_be_bytes)).collect();
                Arc::new(
                    bytes
                        .iter()
                        .map(|b| b.as_ref().map(<[u8; 8]>::as_slice))
                        .collect::<BinaryArray>(),
                )
            }
            // Two values are too few to number.
            DataType::Boolean => {
                let falses = numbers.iter().map(|n| n.map(|_| false));
                Arc::new(falses.collect::<BooleanArray>())
            }
            _ => Arc::new(numbers),
        };
        // A number that the type has no room for becomes NULL in a cast, and the schema says whether that may be.
        Ok(as_type(&stand_in, kind).unwrap_or_else(|_| new_null_array(kind, column.len())))
    }

    /// The number of every value, from 1.
    fn numbers(&mut self, column: &ArrayRef) -> Result<Int64Array, ArrowError> {
        let kind = column.data_type();
        let converter = RowConverter::new(vec![SortField::new(kind.clone())])?;
        let rows = converter.convert_columns(std::slice::from_ref(column))?;
        let seen = self.seen.entry(kind.clone()).or_default();
        let mut numbers = Vec::with_capacity(column.len());
        for (at, value) in rows.iter().enumerate() {
            if column.is_null(at) {
                numbers.push(None);
                continue;
            }
            let next = i64::try_from(seen.len())
                .unwrap_or(i64::MAX)
                .saturating_add(1);
            numbers.push(Some(*seen.entry(value.as_ref().into()).or_insert(next)));
        }
        Ok(numbers.into())
    }
}

/// Days and short times are numbers of 32 bits only.
fn as_type(stand_in: &ArrayRef, kind: &DataType) -> Result<ArrayRef, ArrowError> {
    match kind {
        DataType::Date32 | DataType::Time32(_) => cast(&cast(stand_in, &DataType::Int32)?, kind),
        _ => cast(stand_in, kind),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray as _, Decimal128Array, StructArray, TimestampMicrosecondArray};
    use arrow::datatypes::{Date32Type, Field, Int64Type, Schema, TimeUnit};

    use super::*;

    fn batch(columns: Vec<(&str, ArrayRef, bool)>) -> RecordBatch {
        let fields = columns.iter().map(|(name, column, nullable)| {
            Field::new(*name, column.data_type().clone(), *nullable)
        });
        let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
        let columns = columns.into_iter().map(|(_, column, _)| column).collect();
        RecordBatch::try_new(schema, columns).expect("a batch")
    }

    fn texts(values: &[Option<&str>]) -> ArrayRef {
        Arc::new(StringArray::from(values.to_vec()))
    }

    #[test]
    fn equal_values_have_equal_stand_ins_over_all_tables_and_null_stays() {
        let mut stand_ins = StandIns::default();
        let staff = batch(vec![
            ("id", Arc::new(Int64Array::from(vec![7, 8, 9])), false),
            ("email", texts(&[Some("ada@x"), None, Some("bob@x")]), true),
        ]);
        let staff = stand_ins
            .replace(&staff, |name| name == "email")
            .expect("rows");
        let emails: Vec<_> = staff.column(1).as_string::<i32>().iter().collect();
        assert_eq!(emails, [Some("sensitive-1"), None, Some("sensitive-2")]);
        assert_eq!(
            staff.column(0).as_primitive::<Int64Type>().values(),
            &[7, 8, 9]
        );
        let mails = batch(vec![("to", texts(&[Some("bob@x"), Some("eve@x")]), false)]);
        let mails = stand_ins.replace(&mails, |_| true).expect("rows");
        let to: Vec<_> = mails
            .column(0)
            .as_string::<i32>()
            .iter()
            .flatten()
            .collect();
        assert_eq!(to, ["sensitive-2", "sensitive-3"]);
    }

    #[test]
    fn a_stand_in_has_the_type_of_its_value() {
        let decimal = Decimal128Array::from(vec![Some(1250), None])
            .with_precision_and_scale(10, 2)
            .expect("a decimal");
        let time = TimestampMicrosecondArray::from(vec![1_700_000_000_000_000, 1]);
        let columns: Vec<(&str, ArrayRef, bool)> = vec![
            ("money", Arc::new(decimal), true),
            ("seen", Arc::new(time), false),
            (
                "born",
                Arc::new(arrow::array::Date32Array::from(vec![11_000, 12_000])),
                false,
            ),
            (
                "flag",
                Arc::new(BooleanArray::from(vec![true, false])),
                false,
            ),
            (
                "raw",
                Arc::new(BinaryArray::from_vec(vec![b"pass", b"word"])),
                false,
            ),
            (
                "short",
                Arc::new(arrow::array::Int16Array::from(vec![400, 400])),
                false,
            ),
        ];
        let before = batch(columns);
        let after = StandIns::default()
            .replace(&before, |_| true)
            .expect("rows");
        assert_eq!(after.schema(), before.schema());
        assert_eq!(
            after.schema().field(1).data_type(),
            &DataType::Timestamp(TimeUnit::Microsecond, None)
        );
        assert_eq!(
            after.column(2).as_primitive::<Date32Type>().values(),
            &[1, 2]
        );
        assert_eq!(after.column(3).as_boolean().true_count(), 0);
        for (column, (was, is)) in before.columns().iter().zip(after.columns()).enumerate() {
            assert_eq!(was.null_count(), is.null_count(), "column {column}");
            assert_ne!(was, is, "column {column}");
        }
    }

    #[test]
    fn what_has_no_stand_in_is_null_or_refused() {
        let part: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let field = Arc::new(Field::new("part", DataType::Int64, false));
        let whole: ArrayRef = Arc::new(StructArray::from(vec![(field, part)]));
        let rows = |nullable| batch(vec![("whole", whole.clone(), nullable)]);
        let replaced = StandIns::default().replace(&rows(true), |_| true);
        assert_eq!(replaced.expect("rows").column(0).null_count(), 2);
        assert!(StandIns::default().replace(&rows(false), |_| true).is_err());
    }
}
