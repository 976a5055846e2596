use std::sync::Arc;

use arrow::array::{Int64Array, StringArray};

use super::*;

fn keys_of(batch: &RecordBatch, ceiling: usize) -> Keys {
    let columns: Vec<String> = batch
        .schema()
        .fields()
        .iter()
        .map(|f| f.name().clone())
        .collect();
    Keys::new(&batch.schema(), &columns, ceiling).expect("its own columns")
}

fn texts(values: &[&str]) -> RecordBatch {
    let values: ArrayRef = Arc::new(StringArray::from(values.to_vec()));
    RecordBatch::try_from_iter([("code", values)]).expect("one column")
}

fn numbers(values: impl IntoIterator<Item = i64>) -> RecordBatch {
    let values: ArrayRef = Arc::new(Int64Array::from_iter_values(values));
    RecordBatch::try_from_iter([("id", values)]).expect("one column")
}

#[test]
fn a_key_that_comes_twice_is_found_across_batches() {
    let long = "a text that is longer than sixteen bytes";
    for (first, second) in [("a", "a"), (long, long), ("", "")] {
        let batch = texts(&[first]);
        let mut keys = keys_of(&batch, 100);
        keys.note(Stream::Rows, 0, &batch).expect("new");
        let error = keys
            .note(Stream::Rows, 7, &texts(&["x", second]))
            .expect_err("old");
        assert_eq!(
            error.to_string(),
            "the primary key (code) of row 8 of its rows came before in its rows"
        );
    }
}

#[test]
fn negative_and_scattered_integers_are_told_apart() {
    // Far apart, so that the bitmap is not worth its memory and becomes a hash set on the way.
    let step = i64::from(u32::MAX) * 16;
    let wide = numbers((-70_000..70_000).map(|n| n * step));
    let mut keys = keys_of(&wide, 1_000_000);
    keys.note(Stream::Rows, 0, &wide).expect("all differ");
    assert!(matches!(keys.made, Seen::Hashed(_)));
    let error = keys
        .note(Stream::Rows, 0, &numbers([1, -step]))
        .expect_err("old");
    assert!(error.to_string().contains("row 1"), "{error}");
}

#[test]
fn integers_that_count_upwards_are_not_remembered_one_by_one() {
    let batch = numbers(0..300_000);
    let mut keys = keys_of(&batch, 10);
    keys.note(Stream::Rows, 0, &batch).expect("all differ");
    keys.note(Stream::Rows, 0, &numbers([299_999]))
        .expect_err("old");
}

#[test]
fn a_key_is_not_both_made_and_retracted() {
    let batch = numbers([1, 2]);
    let mut keys = keys_of(&batch, 10);
    keys.note(Stream::Rows, 0, &batch).expect("new");
    let error = keys
        .note(Stream::Retractions, 0, &numbers([3, 2]))
        .expect_err("made");
    assert!(
        error.to_string().contains("row 1 of its retractions"),
        "{error}"
    );
    assert!(error.to_string().ends_with("in its rows"), "{error}");
}

/// Stretches that ascend and then begin again below, without gaps or with every other key left out.
#[test]
fn a_key_among_many_that_ascend_is_found_where_it_came_twice() {
    for step in [1, 2] {
        let many = |from: i64| (from..from + 500).map(move |n| n * step);
        let first = numbers(many(-250).chain(many(10_000)).chain([7_000, 6_000]));
        let mut keys = keys_of(&first, 10);
        keys.note(Stream::Rows, 0, &first).expect("all differ");
        let second = numbers(many(20_000).chain(many(9_600)));
        let error = keys.note(Stream::Rows, 1_002, &second).expect_err("old");
        assert!(error.to_string().contains("row 1902"), "{error}");
        let mut keys = keys_of(&first, 10);
        keys.note(Stream::Rows, 0, &first).expect("all differ");
        let error = keys
            .note(Stream::Retractions, 0, &numbers(many(249)))
            .expect_err("made");
        assert!(
            error.to_string().contains("row 0 of its retractions"),
            "{error}"
        );
        keys.note(Stream::Rows, 0, &numbers(many(300)))
            .expect("what was refused is not remembered");
    }
}

#[test]
fn ascending_keys_far_apart_are_hashed_and_still_found() {
    let step = i64::from(u32::MAX) * 16;
    let wide = numbers((0..140_000).map(|n| n * step));
    let mut keys = keys_of(&wide, 1_000_000);
    keys.note(Stream::Rows, 0, &wide).expect("all differ");
    assert!(matches!(keys.made, Seen::Hashed(_)));
    let again = numbers((139_999..140_200).map(|n| n * step));
    let error = keys.note(Stream::Rows, 0, &again).expect_err("old");
    assert!(error.to_string().contains("row 0"), "{error}");
    let retracted = numbers((139_900..140_200).map(|n| n * step));
    let error = keys.note(Stream::Retractions, 0, &retracted);
    assert!(error.expect_err("made").to_string().contains("row 0"));
}

#[test]
fn a_bitmap_takes_no_more_than_the_ceiling_allows_to_single_keys() {
    // Eight neighbours each, far apart: worth a bitmap, and without an end.
    let batch = numbers((0..2_000_000).map(|n| (n / 8) * (1 << 20) + n % 8));
    let mut keys = keys_of(&batch, 100_000);
    let error = keys.note(Stream::Rows, 0, &batch).expect_err("too many");
    assert!(matches!(keys.made, Seen::Bits { .. }));
    assert!(
        error.to_string().contains("more than 100000 keys"),
        "{error}"
    );
    let dense = numbers(0..2_000_000);
    let mut keys = keys_of(&dense, 100_000);
    keys.note(Stream::Rows, 0, &dense).expect("a bit each");
}

#[test]
fn the_ceiling_is_an_error_that_names_it() {
    let batch = texts(&["a", "b", "c"]);
    let mut keys = keys_of(&batch, 2);
    let error = keys
        .note(Stream::Rows, 0, &batch)
        .expect_err("three are too many");
    assert!(error.to_string().contains("more than 2 keys"), "{error}");
}
