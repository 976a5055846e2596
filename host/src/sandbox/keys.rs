//! The keys of a session: no primary key comes twice, and none is both made and retracted.
//!
//! Keys that are integers, the common case, are bits of a compressed bitmap: one bit each where the
//! source counts upwards. Where they come in their order, which is how a source hands them out and a landing keeps
//! them, a whole stretch is compared and merged at once. All others are 16 bytes in a hash set, short keys as they are and longer ones
//! by their digest, of which 120 bits make a false alarm impossible in practice. A Bloom filter was
//! rejected: its false alarms would fail honest runs. Sorting on disk was rejected: the set is bounded by
//! [`Limits::remembered_keys`](super::Limits::remembered_keys), and integers never come near it.

use std::collections::HashSet;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use roaring::RoaringTreemap;

use super::error::{Breach, Stream};

/// When a bitmap is first asked whether it is worth its memory; asked again at every doubling.
const FIRST_REVIEW_KEYS: u64 = 65_536;
/// What a hash set takes per key; a bitmap that takes more is turned into one.
const HASHED_BYTES: u64 = 32;
/// Keys that are widened at a time: a batch may have a hundred million rows of one byte.
const SLICE_ROWS: usize = 65_536;
/// The most that one more key can cost in a bitmap: a container of its own, and its place.
const SCATTERED_BYTES: u64 = CONTAINER_BYTES + 16;
/// How many keys come at least between two looks at the size of a bitmap that nears the ceiling.
const LEAST_REVIEW_KEYS: u64 = 1_000_000;
/// What a bitmap spends on each of its containers besides their content.
const CONTAINER_BYTES: u64 = 64;
/// The shortest stretch of ascending keys that is worth a bitmap of its own.
const STRETCH_KEYS: usize = 64;

/// The keys of one session.
#[derive(Debug)]
pub(super) struct Keys {
    columns: Vec<String>,
    converter: Option<RowConverter>,
    made: Seen,
    gone: Seen,
    ceiling: usize,
}

impl Keys {
    /// For the primary key `columns` of `schema`; with no columns, nothing is checked.
    pub(super) fn new(
        schema: &Schema,
        columns: &[String],
        ceiling: usize,
    ) -> Result<Self, ArrowError> {
        let types: Vec<DataType> = columns
            .iter()
            .map(|name| Ok(schema.field_with_name(name)?.data_type().clone()))
            .collect::<Result<_, ArrowError>>()?;
        let whole_numbers = matches!(types.as_slice(), [only] if is_integer(only));
        let converter = if whole_numbers || types.is_empty() {
            None
        } else {
            let fields = types.into_iter().map(SortField::new).collect();
            Some(RowConverter::new(fields)?)
        };
        Ok(Self {
            columns: columns.to_vec(),
            made: Seen::new(converter.is_none()),
            gone: Seen::new(converter.is_none()),
            converter,
            ceiling,
        })
    }

    /// Notes the keys of `batch`, which came in `stream` after `before` rows.
    pub(super) fn note(
        &mut self,
        stream: Stream,
        before: u64,
        batch: &RecordBatch,
    ) -> Result<(), Breach> {
        if self.columns.is_empty() {
            return Ok(());
        }
        for from in (0..batch.num_rows()).step_by(SLICE_ROWS) {
            let rows = SLICE_ROWS.min(batch.num_rows() - from);
            self.note_slice(stream, before + from as u64, &batch.slice(from, rows))?;
        }
        Ok(())
    }

    fn note_slice(
        &mut self,
        stream: Stream,
        before: u64,
        batch: &RecordBatch,
    ) -> Result<(), Breach> {
        let keys = self.keys(batch).map_err(|e| Breach::Stream {
            stream,
            reason: e.to_string(),
        })?;
        match keys {
            Encoded::Integers(keys) => {
                let mut row = before;
                for stretch in stretches(&keys) {
                    if !self.note_stretch(stream, stretch) {
                        self.note_each(stream, row, stretch.iter().copied().map(u128::from))?;
                    }
                    row += stretch.len() as u64;
                }
            }
            Encoded::Compact(keys) => self.note_each(stream, before, keys)?,
        }
        self.check_room()
    }

    /// The keys of a stream, those of the other one, and what the other one is.
    fn sides(&mut self, stream: Stream) -> (&mut Seen, &Seen, Stream) {
        match stream {
            Stream::Rows => (&mut self.made, &self.gone, Stream::Retractions),
            Stream::Retractions => (&mut self.gone, &self.made, Stream::Rows),
        }
    }

    /// Notes ascending keys in one go; false, and nothing is noted, when that cannot be done or one of them came
    /// before: then each has to be looked at to find which.
    fn note_stretch(&mut self, stream: Stream, keys: &[u64]) -> bool {
        if keys.len() < STRETCH_KEYS {
            return false;
        }
        let (own, other, _) = self.sides(stream);
        if !matches!(own, Seen::Bits { .. }) {
            return false;
        }
        let Some(bitmap) = bitmap_of(keys) else {
            return false;
        };
        other.is_disjoint(&bitmap) && own.merge(bitmap, keys.len() as u64)
    }

    fn note_each(
        &mut self,
        stream: Stream,
        before: u64,
        keys: impl IntoIterator<Item = u128>,
    ) -> Result<(), Breach> {
        let (own, other, other_stream) = self.sides(stream);
        for (row, key) in (before..).zip(keys) {
            let before = if other.contains(key) {
                other_stream
            } else if !own.insert(key) {
                stream
            } else {
                continue;
            };
            return Err(Breach::DuplicateKey {
                columns: self.columns.join(", "),
                stream,
                row,
                before,
            });
        }
        Ok(())
    }

    fn check_room(&mut self) -> Result<(), Breach> {
        let ceiling = self.ceiling as u64;
        let room = ceiling.saturating_mul(HASHED_BYTES);
        let keys = self.made.hashed() + self.gone.hashed();
        if keys > ceiling || self.made.bitmap_bytes(room) + self.gone.bitmap_bytes(room) > room {
            return Err(Breach::TooMuch {
                what: "keys that must be remembered one by one",
                limit: ceiling,
            });
        }
        Ok(())
    }

    fn keys(&self, batch: &RecordBatch) -> Result<Encoded, ArrowError> {
        let columns: Vec<ArrayRef> = self
            .columns
            .iter()
            .map(|name| {
                batch.column_by_name(name).cloned().ok_or_else(|| {
                    ArrowError::SchemaError(format!("the key column `{name}` is missing"))
                })
            })
            .collect::<Result<_, _>>()?;
        match (&self.converter, columns.as_slice()) {
            (None, [column]) => Ok(Encoded::Integers(integers(column))),
            (Some(converter), columns) => {
                let rows = converter.convert_columns(columns)?;
                let keys = rows.iter().map(|row| compact(row.as_ref()));
                Ok(Encoded::Compact(keys.collect()))
            }
            (None, _) => Ok(Encoded::Integers(Vec::new())),
        }
    }
}

/// The keys of a batch, row by row.
enum Encoded {
    Integers(Vec<u64>),
    Compact(Vec<u128>),
}

/// The longest stretches of strictly ascending keys, one after the other.
fn stretches(keys: &[u64]) -> impl Iterator<Item = &[u64]> {
    keys.chunk_by(|one, next| one < next)
}

/// Ascending keys as a bitmap; `None` if they do not ascend.
fn bitmap_of(keys: &[u64]) -> Option<RoaringTreemap> {
    let (first, last) = (*keys.first()?, *keys.last()?);
    // Ascending and as many as lie between the ends: none is left out.
    if last.checked_sub(first)? == keys.len() as u64 - 1 {
        let mut bitmap = RoaringTreemap::new();
        bitmap.insert_range(first..=last);
        return Some(bitmap);
    }
    RoaringTreemap::from_sorted_iter(keys.iter().copied()).ok()
}

/// A row's encoded key in 16 bytes: itself when it has at most 15, or else its digest. The last byte
/// keeps the two apart.
fn compact(key: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    if let Some(place) = bytes.get_mut(..key.len()).filter(|place| place.len() < 16) {
        place.copy_from_slice(key);
        bytes[15] = key.len() as u8;
    } else {
        bytes.copy_from_slice(&blake3::hash(key).as_bytes()[..16]);
        bytes[15] = u8::MAX;
    }
    u128::from_le_bytes(bytes)
}

fn is_integer(data_type: &DataType) -> bool {
    data_type.is_integer() || *data_type == DataType::Date32
}

/// The values of an integer column as bits. Two's complement keeps neighbours together.
fn integers(column: &ArrayRef) -> Vec<u64> {
    macro_rules! widen {
        ($type:ty, $as:ty) => {
            column
                .as_primitive::<$type>()
                .values()
                .iter()
                .map(|value| u64::from(*value as $as))
                .collect()
        };
    }
    match column.data_type() {
        DataType::Int8 => widen!(Int8Type, u8),
        DataType::Int16 => widen!(Int16Type, u16),
        DataType::Int32 => widen!(Int32Type, u32),
        DataType::Int64 => widen!(Int64Type, u64),
        DataType::UInt8 => widen!(UInt8Type, u8),
        DataType::UInt16 => widen!(UInt16Type, u16),
        DataType::UInt32 => widen!(UInt32Type, u32),
        DataType::UInt64 => widen!(UInt64Type, u64),
        DataType::Date32 => widen!(Date32Type, u32),
        _ => Vec::new(),
    }
}

/// A set of keys.
#[derive(Debug)]
enum Seen {
    Bits {
        keys: RoaringTreemap,
        count: u64,
        review_at: u64,
        /// Its size when it was last looked at, and how many keys it had.
        seen: (u64, u64),
    },
    Hashed(HashSet<u128>),
}

impl Seen {
    fn new(whole_numbers: bool) -> Self {
        if whole_numbers {
            Self::Bits {
                keys: RoaringTreemap::new(),
                count: 0,
                review_at: FIRST_REVIEW_KEYS,
                seen: (0, 0),
            }
        } else {
            Self::Hashed(HashSet::new())
        }
    }

    fn contains(&self, key: u128) -> bool {
        match self {
            Self::Bits { keys, .. } => u64::try_from(key).is_ok_and(|key| keys.contains(key)),
            Self::Hashed(keys) => keys.contains(&key),
        }
    }

    /// Adds a key; false when it was there.
    fn insert(&mut self, key: u128) -> bool {
        match self {
            Self::Hashed(keys) => keys.insert(key),
            Self::Bits { keys, count, .. } => {
                let is_new = u64::try_from(key).is_ok_and(|key| keys.insert(key));
                *count += u64::from(is_new);
                self.review();
                is_new
            }
        }
    }

    fn is_disjoint(&self, others: &RoaringTreemap) -> bool {
        match self {
            Self::Bits { keys, .. } => keys.is_empty() || keys.is_disjoint(others),
            Self::Hashed(keys) => {
                keys.is_empty() || others.iter().all(|key| !keys.contains(&key.into()))
            }
        }
    }

    /// Adds as many keys as `others` has; false, and nothing is added, when one was there or these keys are not
    /// held as bits.
    fn merge(&mut self, others: RoaringTreemap, added: u64) -> bool {
        let Self::Bits { keys, count, .. } = self else {
            return false;
        };
        if !keys.is_disjoint(&others) {
            return false;
        }
        *keys |= others;
        *count += added;
        self.review();
        true
    }

    /// Turns a bitmap that is not worth its memory into a hash set.
    fn review(&mut self) {
        let Self::Bits {
            keys,
            count,
            review_at,
            ..
        } = self
        else {
            return;
        };
        if *count < *review_at {
            return;
        }
        while *review_at <= *count {
            *review_at = review_at.saturating_mul(2);
        }
        if bitmap_bytes(keys) > *count * HASHED_BYTES {
            *self = Self::Hashed(keys.iter().map(u128::from).collect());
        }
    }

    /// How many keys are held one by one.
    fn hashed(&self) -> u64 {
        match self {
            Self::Bits { .. } => 0,
            Self::Hashed(keys) => keys.len() as u64,
        }
    }

    /// The most that a bitmap may take. It is looked at only when it could have reached `room`.
    fn bitmap_bytes(&mut self, room: u64) -> u64 {
        let Self::Bits {
            keys, count, seen, ..
        } = self
        else {
            return 0;
        };
        let since = *count - seen.1;
        let most = seen.0 + since * SCATTERED_BYTES;
        if most <= room || since < LEAST_REVIEW_KEYS {
            return seen.0;
        }
        *seen = (bitmap_bytes(keys), *count);
        seen.0
    }
}

fn bitmap_bytes(keys: &RoaringTreemap) -> u64 {
    keys.bitmaps()
        .map(|(_, bitmap)| {
            let found = bitmap.statistics();
            CONTAINER_BYTES * (1 + u64::from(found.n_containers))
                + found.n_bytes_array_containers
                + found.n_bytes_bitset_containers
                + found.n_bytes_run_containers
        })
        .sum()
}

#[cfg(test)]
mod tests {
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
}
