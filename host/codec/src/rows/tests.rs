use super::*;
use arrow::array::{ArrayRef, Int32Array, Int64Array, StringArray};
use std::sync::Arc;

fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true)))
        .unwrap()
}

fn rows_of(batch: &RecordBatch) -> Vec<Digest128> {
    Digester::new(&batch.schema(), &[])
        .unwrap()
        .rows(batch)
        .unwrap()
}

fn ids() -> ArrayRef {
    Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]))
}

fn names() -> ArrayRef {
    Arc::new(StringArray::from(vec![Some("a"), Some(""), None]))
}

#[test]
fn an_added_column_of_nulls_and_another_order_change_no_digest() {
    let before = batch(vec![("id", ids()), ("name", names())]);
    let nulls: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>; 3]));
    let after = batch(vec![("name", names()), ("new", nulls), ("id", ids())]);
    assert_eq!(rows_of(&before), rows_of(&after));
}

#[test]
fn a_widened_integer_changes_no_digest() {
    let wide: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3)]));
    assert_eq!(
        rows_of(&batch(vec![("id", ids())])),
        rows_of(&batch(vec![("id", wide)]))
    );
}

#[test]
fn null_and_the_empty_text_differ() {
    let empty: ArrayRef = Arc::new(StringArray::from(vec![Some("")]));
    let null: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
    assert_ne!(
        rows_of(&batch(vec![("a", empty)])),
        rows_of(&batch(vec![("a", null)]))
    );
}

#[test]
fn a_value_that_moves_to_another_column_changes_the_digest() {
    let text: ArrayRef = Arc::new(StringArray::from(vec![Some("x")]));
    let null: ArrayRef = Arc::new(StringArray::from(vec![None::<&str>]));
    assert_ne!(
        rows_of(&batch(vec![("a", text.clone()), ("b", null.clone())])),
        rows_of(&batch(vec![("a", null), ("b", text)]))
    );
}

#[test]
fn the_encoding_is_the_one_that_was_persisted() {
    let rows = rows_of(&batch(vec![("id", ids()), ("name", names())]));
    let hex: Vec<String> = rows
        .iter()
        .map(|d| d.iter().map(|b| format!("{b:02x}")).collect())
        .collect();
    assert_eq!(
        hex,
        [
            "731171163af53230fd979fb570c8b3b5",
            "1b8751ab97cefb0fa3919ca1599be53c",
            "5853f4f24e4e9e5e1e5858c811748d58",
        ]
    );
}

/// The digest of every row, encoded cell by cell and hashed alone.
fn one_by_one(batch: &RecordBatch) -> Vec<Digest128> {
    let names: Vec<String> = batch
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    let cells = cells(&batch.schema(), &names).unwrap();
    let row = |row: usize| {
        let mut encoded = Vec::new();
        for cell in &cells {
            let values = Values::of(batch.column(cell.column)).unwrap();
            if values.is_valid(row) {
                encoded.extend_from_slice(&cell.tag);
                values.encode(row, &mut encoded);
            }
        }
        let hash = blake3::hash(&encoded);
        Digest128::try_from(&hash.as_bytes()[..16]).unwrap()
    };
    (0..batch.num_rows()).map(row).collect()
}

#[test]
fn blocks_of_columns_give_the_digests_of_cells_one_by_one() {
    use arrow::array::{FixedSizeBinaryArray, ListArray};
    use arrow::datatypes::{Int64Type, TimeUnit};
    let rows = 1_300_i64;
    let some = |row: &i64| row % 7 != 3;
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter(
        (0..rows).map(|n| some(&n).then_some(n % 113)),
    ));
    let micros = TimeUnit::Microsecond;
    let types = [
        DataType::Boolean,
        DataType::Int8,
        DataType::Int16,
        DataType::Int32,
        DataType::Int64,
        DataType::UInt32,
        DataType::UInt64,
        DataType::Float32,
        DataType::Float64,
        DataType::Decimal128(30, 2),
        DataType::Decimal256(60, 2),
        DataType::Time64(micros),
        DataType::Timestamp(micros, None),
        DataType::Timestamp(micros, Some("UTC".into())),
        DataType::Utf8,
    ];
    let mut columns: Vec<(String, ArrayRef)> = types
        .iter()
        .enumerate()
        .map(|(n, to)| (format!("c{n}"), arrow::compute::cast(&numbers, to).unwrap()))
        .collect();
    let int32 = arrow::compute::cast(&numbers, &DataType::Int32).unwrap();
    columns.push((
        "date".into(),
        arrow::compute::cast(&int32, &DataType::Date32).unwrap(),
    ));
    let long: StringArray = (0..rows).map(|n| Some("x".repeat(n as usize))).collect();
    columns.push(("long".into(), Arc::new(long)));
    let fixed = (0..rows).map(|n| some(&n).then(|| n.to_le_bytes()));
    let fixed = FixedSizeBinaryArray::try_from_sparse_iter_with_size(fixed, 8).unwrap();
    columns.push(("fixed".into(), Arc::new(fixed)));
    let lists = (0..rows).map(|n| some(&n).then(|| (0..n % 5).map(Some)));
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(lists);
    columns.push(("list".into(), Arc::new(lists)));
    let batch = RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, array)| (name, array, true)),
    )
    .unwrap();
    assert_eq!(rows_of(&batch), one_by_one(&batch));
    let part = batch.slice(600, 70);
    assert_eq!(rows_of(&part), one_by_one(&batch)[600..670]);
}
