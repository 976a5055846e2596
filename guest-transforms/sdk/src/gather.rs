//! Picks rows by their position, and puts batches one after the other.
//!
//! Of its own, though Arrow has kernels for both: those are written for every type there is, and with them
//! each module would be several times as large and as long to compile for the host. These are for the types
//! that a [`Column`](crate::Column) can have.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Decimal128Type, Int32Type, Int64Type, Time64MicrosecondType,
    TimestampMicrosecondType,
};
use arrow_array::{
    Array, ArrayRef, ArrowPrimitiveType, BooleanArray, PrimitiveArray, StringArray, UInt32Array,
};
use arrow_buffer::{ArrowNativeType, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, TimeUnit};

use crate::failure::Failure;

/// Whether rows of this type can be picked.
pub(crate) fn can_gather(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Int32
            | DataType::Int64
            | DataType::Decimal128(..)
            | DataType::Date32
            | DataType::Time64(TimeUnit::Microsecond)
            | DataType::Timestamp(TimeUnit::Microsecond, None)
            | DataType::Boolean
            | DataType::Utf8
    )
}

/// The rows at some positions, in their order; NULL where a position is NULL.
pub(crate) fn gather(values: &ArrayRef, positions: &UInt32Array) -> Result<ArrayRef, Failure> {
    let nulls = nulls(values, positions);
    match values.data_type() {
        DataType::Int32 => Ok(primitive::<Int32Type>(values, positions, nulls)),
        DataType::Int64 => Ok(primitive::<Int64Type>(values, positions, nulls)),
        DataType::Decimal128(..) => Ok(primitive::<Decimal128Type>(values, positions, nulls)),
        DataType::Date32 => Ok(primitive::<Date32Type>(values, positions, nulls)),
        DataType::Time64(TimeUnit::Microsecond) => {
            Ok(primitive::<Time64MicrosecondType>(values, positions, nulls))
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) => Ok(
            primitive::<TimestampMicrosecondType>(values, positions, nulls),
        ),
        DataType::Boolean => {
            let values = values.as_boolean().values();
            let picked = positions.values().iter().map(|at| {
                let at = at.as_usize();
                at < values.len() && values.value(at)
            });
            Ok(Arc::new(BooleanArray::new(picked.collect(), nulls)))
        }
        DataType::Utf8 => texts(values.as_string(), positions, nulls),
        other => Err(unknown(other)),
    }
}

/// The values of several arrays of one type, one after the other.
pub(crate) fn together(data_type: &DataType, parts: &[&ArrayRef]) -> Result<ArrayRef, Failure> {
    fn primitive<T: ArrowPrimitiveType>(data_type: &DataType, parts: &[&ArrayRef]) -> ArrayRef {
        let values = parts.iter().flat_map(|part| part.as_primitive::<T>());
        Arc::new(
            values
                .collect::<PrimitiveArray<T>>()
                .with_data_type(data_type.clone()),
        )
    }
    match data_type {
        DataType::Int32 => Ok(primitive::<Int32Type>(data_type, parts)),
        DataType::Int64 => Ok(primitive::<Int64Type>(data_type, parts)),
        DataType::Decimal128(..) => Ok(primitive::<Decimal128Type>(data_type, parts)),
        DataType::Date32 => Ok(primitive::<Date32Type>(data_type, parts)),
        DataType::Time64(TimeUnit::Microsecond) => {
            Ok(primitive::<Time64MicrosecondType>(data_type, parts))
        }
        DataType::Timestamp(TimeUnit::Microsecond, None) => {
            Ok(primitive::<TimestampMicrosecondType>(data_type, parts))
        }
        DataType::Boolean => {
            let values = parts.iter().flat_map(|part| part.as_boolean());
            Ok(Arc::new(values.collect::<BooleanArray>()))
        }
        DataType::Utf8 => {
            let values = parts.iter().flat_map(|part| part.as_string::<i32>());
            Ok(Arc::new(values.collect::<StringArray>()))
        }
        other => Err(unknown(other)),
    }
}

fn unknown(data_type: &DataType) -> Failure {
    Failure::new(
        "column-type",
        format!("a table cannot have columns of type {data_type}"),
    )
}

/// Which of the picked rows are NULL: those whose position is, and those that were.
fn nulls(values: &ArrayRef, positions: &UInt32Array) -> Option<NullBuffer> {
    let picked = values
        .nulls()
        .filter(|nulls| nulls.null_count() > 0)
        .map(|nulls| {
            let picked = positions.values().iter().map(|at| {
                let at = at.as_usize();
                at < nulls.len() && nulls.is_valid(at)
            });
            NullBuffer::new(picked.collect())
        });
    NullBuffer::union(picked.as_ref(), positions.nulls())
}

fn primitive<T: ArrowPrimitiveType>(
    values: &ArrayRef,
    positions: &UInt32Array,
    nulls: Option<NullBuffer>,
) -> ArrayRef {
    let array = values.as_primitive::<T>();
    let values = array.values();
    // The position of a NULL is anything; what is picked for it is never looked at.
    let picked: ScalarBuffer<T::Native> = positions
        .values()
        .iter()
        .map(|at| values.get(at.as_usize()).copied().unwrap_or_default())
        .collect();
    let picked = PrimitiveArray::<T>::new(picked, nulls).with_data_type(array.data_type().clone());
    Arc::new(picked)
}

fn texts(
    values: &StringArray,
    positions: &UInt32Array,
    nulls: Option<NullBuffer>,
) -> Result<ArrayRef, Failure> {
    let bytes = values.value_data();
    let offsets = values.value_offsets();
    let mut lengths = Vec::with_capacity(positions.len());
    let mut picked = Vec::new();
    for (row, at) in positions.values().iter().enumerate() {
        let is_null = nulls.as_ref().is_some_and(|nulls| nulls.is_null(row));
        let text = match offsets.get(at.as_usize()..) {
            Some(&[start, end, ..]) if !is_null => bytes.get(start.as_usize()..end.as_usize()),
            _ => None,
        };
        let text = text.unwrap_or_default();
        picked.extend_from_slice(text);
        lengths.push(text.len());
    }
    if i32::try_from(picked.len()).is_err() {
        return Err(Failure::new(
            "too-large",
            "the texts of one column of one chunk exceed 2 GiB",
        ));
    }
    let offsets = OffsetBuffer::from_lengths(lengths);
    Ok(Arc::new(StringArray::try_new(
        offsets,
        picked.into(),
        nulls,
    )?))
}

#[cfg(test)]
mod tests {
    use arrow_array::{Date32Array, Decimal128Array, Int32Array, TimestampMicrosecondArray};

    use super::*;

    fn check(values: impl Array + 'static, expected: impl Array + 'static) {
        let positions = UInt32Array::from(vec![Some(2), None, Some(0), Some(1), Some(2)]);
        // A slice, so that nothing may assume that values begin where their buffer does.
        let values: ArrayRef = Arc::new(values);
        let sliced = values.slice(1, values.len() - 1);
        let picked = gather(&sliced, &positions).unwrap();
        assert_eq!(picked.to_data(), expected.to_data());
        assert!(can_gather(picked.data_type()));
    }

    #[test]
    fn rows_are_picked_by_position_whatever_their_type() {
        check(
            Int32Array::from(vec![Some(9), Some(1), None, Some(3)]),
            Int32Array::from(vec![Some(3), None, Some(1), None, Some(3)]),
        );
        check(
            Date32Array::from(vec![9, 1, 2, 3]),
            Date32Array::from(vec![Some(3), None, Some(1), Some(2), Some(3)]),
        );
        check(
            TimestampMicrosecondArray::from(vec![9, 1, 2, 3]),
            TimestampMicrosecondArray::from(vec![Some(3), None, Some(1), Some(2), Some(3)]),
        );
        let decimal = |values: Vec<Option<i128>>| {
            Decimal128Array::from(values)
                .with_precision_and_scale(10, 2)
                .unwrap()
        };
        check(
            decimal(vec![Some(9), Some(1), None, Some(3)]),
            decimal(vec![Some(3), None, Some(1), None, Some(3)]),
        );
        check(
            BooleanArray::from(vec![Some(true), Some(false), None, Some(true)]),
            BooleanArray::from(vec![Some(true), None, Some(false), None, Some(true)]),
        );
        check(
            StringArray::from(vec![Some("long before"), Some(""), None, Some("Zürich")]),
            StringArray::from(vec![Some("Zürich"), None, Some(""), None, Some("Zürich")]),
        );
    }

    #[test]
    fn nothing_is_picked_from_nothing() {
        let none: ArrayRef = Arc::new(StringArray::from(Vec::<&str>::new()));
        let picked = gather(&none, &UInt32Array::from(vec![None, None])).unwrap();
        assert_eq!((picked.len(), picked.null_count()), (2, 2));
    }
}
