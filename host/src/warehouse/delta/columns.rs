//! Column types: what an output declares, and what a Delta table holds instead where it has no such type.
//!
//! ```text
//! time                      string `HH:MM:SS.ffffff`, so that every reader sees a time and it sorts as one
//! unsigned integers         the next larger signed one; 64 bits: decimal(20,0)
//! uuid (16 fixed bytes)     binary
//! decimal over 38 digits    string
//! timestamps in s or ms     microseconds; with a zone: UTC
//! lists of these            arrays of these
//! ```
//!
//! The declared type is kept in the Delta column's own metadata under [`DECLARED`], and our queries cast
//! back to it. Rejected for a time: `bigint` microseconds (no other reader knows what the number means)
//! and a timestamp on 1970-01-01 (it shows a date that nobody wrote). What cannot be held without loss
//! (nanoseconds, a Float16) is refused, and so are structs, maps and lists of lists, which no source lands.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, ListArray, RecordBatch, StringBuilder, new_null_array,
};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{
    DataType, Field, FieldRef, Schema, SchemaRef, Time64MicrosecondType, TimeUnit::Microsecond,
    TimeUnit::Millisecond, TimeUnit::Second,
};
use arrow::error::ArrowError;

/// The key in a Delta column's metadata that holds the declared type, in Arrow's notation.
const DECLARED: &str = "tidemill.type";

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// The column that holds `field` in a Delta table; `None` when no type holds it without loss.
pub(super) fn stored(field: &Field) -> Option<Field> {
    let data_type = stored_type(field.data_type())?;
    let mut stored = Field::new(field.name(), data_type, field.is_nullable());
    if stored.data_type() != field.data_type() {
        let declared = field.data_type().to_string();
        stored.set_metadata([(DECLARED.to_owned(), declared)].into());
    }
    Some(stored)
}

/// The type that was declared for a column of a Delta table.
pub(super) fn declared(stored: &Field) -> DataType {
    stored
        .metadata()
        .get(DECLARED)
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| stored.data_type().clone())
}

fn stored_type(declared: &DataType) -> Option<DataType> {
    use DataType::*;
    Some(match declared {
        Boolean | Int8 | Int16 | Int32 | Int64 | Float32 | Float64 | Date32 => declared.clone(),
        Utf8 | LargeUtf8 | Utf8View | Time32(_) | Time64(Microsecond) => Utf8,
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => Binary,
        UInt8 => Int16,
        UInt16 => Int32,
        UInt32 => Int64,
        UInt64 => Decimal128(20, 0),
        Decimal32(precision, scale)
        | Decimal64(precision, scale)
        | Decimal128(precision, scale)
            if *scale >= 0 =>
        {
            Decimal128(*precision, *scale)
        }
        Decimal256(precision, scale) if *precision <= 38 && *scale >= 0 => {
            Decimal128(*precision, *scale)
        }
        Decimal256(_, _) => Utf8,
        Timestamp(Second | Millisecond | Microsecond, None) => Timestamp(Microsecond, None),
        Timestamp(Second | Millisecond | Microsecond, Some(_)) => {
            Timestamp(Microsecond, Some("UTC".into()))
        }
        List(item) | LargeList(item) | FixedSizeList(item, _) if !item.data_type().is_nested() => {
            List(element(stored_type(item.data_type())?))
        }
        _ => return None,
    })
}

/// The item of a list as Delta names it.
fn element(data_type: DataType) -> FieldRef {
    Arc::new(Field::new("element", data_type, true))
}

/// The columns of `schema`, by name, out of `batch`: cast to the stored types, NULL where `batch` has none.
///
/// # Errors
/// When a value does not fit, or a column that may not be NULL has one.
pub(super) fn conform(batch: &RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let columns = schema
        .fields()
        .iter()
        .map(|field| match batch.column_by_name(field.name()) {
            Some(column) => store(column, field.data_type()),
            None => Ok(new_null_array(field.data_type(), batch.num_rows())),
        })
        .collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new_with_options(
        Arc::clone(schema),
        columns,
        &arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows())),
    )
}

/// The same columns without metadata: what is written into data files.
pub(super) fn plain(schema: &Schema) -> SchemaRef {
    Arc::new(Schema::new(
        schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone().with_metadata([].into()))
            .collect::<Vec<_>>(),
    ))
}

fn store(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    match column.data_type() {
        from if from == to => Ok(Arc::clone(column)),
        DataType::Time32(_) | DataType::Time64(_) => time_as_text(column),
        DataType::List(from) | DataType::LargeList(from) | DataType::FixedSizeList(from, _) => {
            match to {
                DataType::List(item) => list(column, from.data_type(), item),
                _ => exact_cast(column, to),
            }
        }
        _ => exact_cast(column, to),
    }
}

/// A list whose items are stored like columns of their type.
fn list(column: &ArrayRef, from: &DataType, to: &FieldRef) -> Result<ArrayRef, ArrowError> {
    let lists = exact_cast(column, &DataType::List(element(from.clone())))?;
    let (_, offsets, items, nulls) = lists.as_list::<i32>().clone().into_parts();
    let items = store(&items, to.data_type())?;
    Ok(Arc::new(ListArray::try_new(
        Arc::clone(to),
        offsets,
        items,
        nulls,
    )?))
}

fn exact_cast(column: &ArrayRef, to: &DataType) -> Result<ArrayRef, ArrowError> {
    let options = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    cast_with_options(column, to, &options)
}

fn time_as_text(column: &ArrayRef) -> Result<ArrayRef, ArrowError> {
    let times = exact_cast(column, &DataType::Time64(Microsecond))?;
    let times = times.as_primitive::<Time64MicrosecondType>();
    let mut text = StringBuilder::with_capacity(times.len(), times.len() * 15);
    for time in times {
        match time {
            None => text.append_null(),
            Some(micros) if (0..MICROS_PER_DAY).contains(&micros) => {
                let seconds = micros / 1_000_000;
                let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
                // Writing into a builder cannot fail.
                let _ = write!(
                    text,
                    "{hour:02}:{minute:02}:{second:02}.{:06}",
                    micros % 1_000_000
                );
                text.append_value("");
            }
            Some(micros) => {
                return Err(ArrowError::ComputeError(format!(
                    "{micros} µs is not a time of day"
                )));
            }
        }
    }
    Ok(Arc::new(text.finish()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Decimal256Array, FixedSizeBinaryArray, Time64MicrosecondArray};
    use arrow::array::{TimestampMillisecondArray, UInt64Array};
    use arrow::datatypes::{TimeUnit, i256};

    fn there_and_back(column: ArrayRef) -> (DataType, ArrayRef) {
        let field = Field::new("c", column.data_type().clone(), true);
        let stored_field = stored(&field).expect("a type that can be held");
        let stored = store(&column, stored_field.data_type()).expect("it fits");
        let back = exact_cast(&stored, &declared(&stored_field)).expect("it casts back");
        assert_eq!(&back, &column);
        (stored_field.data_type().clone(), stored)
    }

    #[test]
    fn a_time_is_text_that_casts_back_to_the_microsecond() {
        let times = Time64MicrosecondArray::from(vec![
            Some(0),
            None,
            Some(28_511_000_000),
            Some(86_399_999_999),
        ]);
        let (_, stored) = there_and_back(Arc::new(times));
        let text = stored.as_string::<i32>();
        assert_eq!(text.value(0), "00:00:00.000000");
        assert!(text.is_null(1));
        assert_eq!(text.value(2), "07:55:11.000000");
        assert_eq!(text.value(3), "23:59:59.999999");
    }

    #[test]
    fn types_that_delta_does_not_know_come_back_exactly() {
        let biggest = Arc::new(UInt64Array::from(vec![Some(u64::MAX), None]));
        assert_eq!(there_and_back(biggest).0, DataType::Decimal128(20, 0));
        let uuid = FixedSizeBinaryArray::try_from_iter([[7u8; 16]].into_iter()).expect("16 bytes");
        assert_eq!(there_and_back(Arc::new(uuid)).0, DataType::Binary);
        let long = Decimal256Array::from(vec![i256::from_string(&"9".repeat(70)), None])
            .with_precision_and_scale(76, 4)
            .expect("76 digits");
        assert_eq!(there_and_back(Arc::new(long)).0, DataType::Utf8);
        let zoned = TimestampMillisecondArray::from(vec![1, -1]).with_timezone("+02:00");
        let utc = DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()));
        assert_eq!(there_and_back(Arc::new(zoned)).0, utc);
    }

    #[test]
    fn the_items_of_a_list_are_stored_like_columns() {
        let times = vec![
            Some(vec![Some(28_511_000_001), None]),
            None,
            Some(Vec::new()),
        ];
        let times = ListArray::from_iter_primitive::<Time64MicrosecondType, _, _>(times);
        let (stored, rows) = there_and_back(Arc::new(times));
        assert_eq!(stored, DataType::List(element(DataType::Utf8)));
        let first = rows.as_list::<i32>().value(0);
        assert_eq!(first.as_string::<i32>().value(0), "07:55:11.000001");
        let nested = DataType::new_list(DataType::new_list(DataType::Int8, true), true);
        assert_eq!(stored_type(&nested), None);
    }

    #[test]
    fn what_would_lose_digits_is_refused() {
        for data_type in [
            DataType::Timestamp(TimeUnit::Nanosecond, None),
            DataType::Time64(TimeUnit::Nanosecond),
            DataType::Duration(TimeUnit::Second),
        ] {
            assert_eq!(stored(&Field::new("c", data_type, true)), None);
        }
    }

    #[test]
    fn a_time_past_midnight_is_an_error_and_not_another_time() {
        let late: ArrayRef = Arc::new(Time64MicrosecondArray::from(vec![MICROS_PER_DAY]));
        let error = store(&late, &DataType::Utf8).expect_err("not a time of day");
        assert!(error.to_string().contains("86400000000"));
    }
}
