//! What the declared schema promises of the values: NOT NULL at every depth, and digits of decimals.
//!
//! The decoder has already checked lengths, offsets and UTF-8. It does not say which column is at fault,
//! and it does not look at the digits of a decimal, so both are looked at here.

use arrow::array::{
    Array, ArrayRef, AsArray as _, FixedSizeListArray, GenericListArray, MapArray, OffsetSizeTrait,
    StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{
    ArrowNativeType as _, DataType, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    DecimalType, Field, Fields, Schema,
};

use super::error::{Breach, Stream};

/// Refuses values that `schema` does not allow; `before` rows of the stream came earlier.
pub(super) fn check(
    stream: Stream,
    before: u64,
    schema: &Schema,
    columns: &[ArrayRef],
) -> Result<(), Breach> {
    for (field, column) in schema.fields().iter().zip(columns) {
        check_column(field, column, None, field.name(), &Rows::Each).map_err(|fault| {
            Breach::Value {
                stream,
                column: fault.column,
                declared: fault.declared,
                row: before + fault.row,
                found: fault.found,
            }
        })?;
    }
    Ok(())
}

/// A value that is not allowed.
struct Fault {
    column: String,
    declared: String,
    row: u64,
    found: &'static str,
}

/// Which row of the batch an element of a nested array belongs to.
enum Rows<'a> {
    /// Element and row are the same.
    Each,
    /// Elements of the lists that begin at these offsets.
    Of(&'a dyn Fn(usize) -> usize, &'a Rows<'a>),
}

impl Rows<'_> {
    fn row(&self, element: usize) -> usize {
        match self {
            Rows::Each => element,
            Rows::Of(parent, rows) => rows.row(parent(element)),
        }
    }
}

/// Checks one array. Where `parents` is NULL, the value beneath does not exist and may be anything.
fn check_column(
    field: &Field,
    array: &ArrayRef,
    parents: Option<&NullBuffer>,
    path: &str,
    rows: &Rows<'_>,
) -> Result<(), Fault> {
    let fault = |element: usize, declared: String, found: &'static str| Fault {
        column: path.to_owned(),
        declared,
        row: rows.row(element) as u64,
        found,
    };
    if !field.is_nullable() && array.null_count() > 0 {
        let visible = |at: &usize| array.is_null(*at) && parents.is_none_or(|p| p.is_valid(*at));
        if let Some(at) = (0..array.len()).find(visible) {
            return Err(fault(at, "NOT NULL".into(), "NULL"));
        }
    }
    if let Some(at) = too_many_digits(array) {
        return Err(fault(at, array.data_type().to_string(), "more digits"));
    }
    let present = NullBuffer::union(parents, array.nulls());
    check_children(field.data_type(), array, present.as_ref(), path, rows)
}

/// Checks what is nested in an array of the declared type `data_type`.
fn check_children(
    data_type: &DataType,
    array: &ArrayRef,
    present: Option<&NullBuffer>,
    path: &str,
    rows: &Rows<'_>,
) -> Result<(), Fault> {
    match data_type {
        DataType::Struct(parts) => check_struct(array.as_struct(), parts, present, path, rows),
        DataType::List(item) => check_list::<i32>(array.as_list(), item, path, rows),
        DataType::LargeList(item) => check_list::<i64>(array.as_list(), item, path, rows),
        DataType::FixedSizeList(item, size) => {
            check_fixed(array.as_fixed_size_list(), item, *size, path, rows)
        }
        DataType::Map(entries, _) => check_map(array.as_map(), entries, path, rows),
        _ => Ok(()),
    }
}

fn check_struct(
    array: &StructArray,
    parts: &Fields,
    present: Option<&NullBuffer>,
    path: &str,
    rows: &Rows<'_>,
) -> Result<(), Fault> {
    for (part, child) in parts.iter().zip(array.columns()) {
        let path = format!("{path}.{}", part.name());
        check_column(part, child, present, &path, rows)?;
    }
    Ok(())
}

fn check_list<O: OffsetSizeTrait>(
    array: &GenericListArray<O>,
    item: &Field,
    path: &str,
    rows: &Rows<'_>,
) -> Result<(), Fault> {
    let offsets = array.value_offsets();
    let list_of = |element: usize| {
        offsets
            .partition_point(|o| o.as_usize() <= element)
            .saturating_sub(1)
    };
    let rows = Rows::Of(&list_of, rows);
    check_column(item, array.values(), None, &format!("{path}[]"), &rows)
}

fn check_fixed(
    array: &FixedSizeListArray,
    item: &Field,
    size: i32,
    path: &str,
    rows: &Rows<'_>,
) -> Result<(), Fault> {
    let size = usize::try_from(size).unwrap_or(1).max(1);
    // Here a NULL list has items too; they do not exist.
    let present = array.nulls().map(|nulls| nulls.expand(size));
    let list_of = |element: usize| element / size;
    let rows = Rows::Of(&list_of, rows);
    let path = format!("{path}[]");
    check_column(item, array.values(), present.as_ref(), &path, &rows)
}

fn check_map(array: &MapArray, entries: &Field, path: &str, rows: &Rows<'_>) -> Result<(), Fault> {
    let offsets = array.value_offsets();
    let map_of = |element: usize| {
        offsets
            .partition_point(|o| o.as_usize() <= element)
            .saturating_sub(1)
    };
    let rows = Rows::Of(&map_of, rows);
    match entries.data_type() {
        DataType::Struct(parts) => {
            let found = array.entries();
            check_struct(found, parts, found.nulls(), path, &rows)
        }
        _ => Ok(()),
    }
}

/// The first element that has more digits than its type.
fn too_many_digits(array: &ArrayRef) -> Option<usize> {
    match array.data_type() {
        DataType::Decimal32(precision, _) => first_too_long::<Decimal32Type>(array, *precision),
        DataType::Decimal64(precision, _) => first_too_long::<Decimal64Type>(array, *precision),
        DataType::Decimal128(precision, _) => first_too_long::<Decimal128Type>(array, *precision),
        DataType::Decimal256(precision, _) => first_too_long::<Decimal256Type>(array, *precision),
        _ => None,
    }
}

fn first_too_long<T: DecimalType>(array: &ArrayRef, precision: u8) -> Option<usize> {
    let decimals = array.as_primitive::<T>();
    let fits = |value: &T::Native| T::is_valid_decimal_precision(*value, precision);
    // What stands in place of a NULL is nobody's value, but it is mostly 0: all are looked at first, without asking
    // for each whether it is one.
    if decimals.values().iter().all(fits) {
        return None;
    }
    (0..decimals.len()).find(|at| {
        decimals.is_valid(*at) && !T::is_valid_decimal_precision(decimals.value(*at), precision)
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{Int32Array, Int32Builder, ListBuilder};

    use super::*;

    fn fault(field: Field, column: ArrayRef) -> Option<String> {
        let schema = Schema::new(vec![field]);
        let breach = check(Stream::Rows, 100, &schema, &[column]).err()?;
        Some(breach.to_string())
    }

    /// A struct whose parts are as `parts` says, and whose second row is NULL.
    fn pairs(parts: Vec<Option<i32>>) -> ArrayRef {
        let inner = Arc::new(Field::new("part", DataType::Int32, true));
        let present = NullBuffer::from(vec![true, false, true]);
        Arc::new(StructArray::new(
            Fields::from(vec![inner]),
            vec![Arc::new(Int32Array::from(parts))],
            Some(present),
        ))
    }

    #[test]
    fn a_null_in_a_struct_is_named_by_its_path_and_row() {
        let part = Field::new("part", DataType::Int32, false);
        let field = Field::new("pair", DataType::Struct(Fields::from(vec![part])), true);
        let good = pairs(vec![Some(1), None, Some(3)]);
        let found = fault(field.clone(), good);
        assert_eq!(found, None, "what is in a NULL does not exist");
        let bad = pairs(vec![Some(1), None, None]);
        assert_eq!(
            fault(field, bad).as_deref(),
            Some("column `pair.part` of its rows is declared NOT NULL, but row 102 holds NULL")
        );
    }

    #[test]
    fn a_null_in_a_list_is_found_in_the_row_of_its_list() {
        let mut lists = ListBuilder::new(Int32Builder::new());
        lists.append_value([Some(1), Some(2)]);
        lists.append_value([]);
        lists.append_value([Some(3), None]);
        let item = Arc::new(Field::new("item", DataType::Int32, false));
        let field = Field::new("many", DataType::List(item), false);
        assert_eq!(
            fault(field, Arc::new(lists.finish())).as_deref(),
            Some("column `many[]` of its rows is declared NOT NULL, but row 102 holds NULL")
        );
    }
}
