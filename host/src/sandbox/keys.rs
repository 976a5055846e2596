//! The keys of a session: no primary key comes twice, and none is both made and retracted.
//!
//! Keys that are integers, the common case, are bits of a compressed bitmap: one bit each where the
//! source counts upwards. Where they come in their order, which is how a source hands them out and a landing keeps
//! them, a whole stretch is compared and merged at once. All others are 16 bytes in a hash set, short keys as they are and longer ones
//! by their digest, of which 120 bits make a false alarm impossible in practice. A Bloom filter was
//! rejected: its false alarms would fail honest runs. Sorting on disk was rejected: the set is bounded by
//! [`Limits::remembered_keys`](super::Limits::remembered_keys), and integers never come near it.

mod seen;
#[cfg(test)]
mod tests;

use arrow::array::{Array as _, ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{
    DataType, Date32Type, Int8Type, Int16Type, Int32Type, Int64Type, Schema, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use roaring::RoaringTreemap;

use super::error::{Breach, Stream};
use seen::{HASHED_BYTES, Seen};

/// Keys that are widened at a time: a batch may have a hundred million rows of one byte.
const SLICE_ROWS: usize = 65_536;
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
