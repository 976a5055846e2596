//! The index of a landed table: for every live key the digest of its latest landed row.
//!
//! It answers, without reading the history of the table, which rows of a window are new, changed or the
//! same, and which keys are gone. It is a list of segments, each sorted by key digest and cut into
//! objects; every landing that brings something adds a small segment, and [`Index::merged`] folds
//! segments of like size together, so that there are few and an entry is rewritten a logarithmic number
//! of times.
//!
//! An entry is the key's digest, the row's digest (NULL where the key is gone) and the key's own columns,
//! which a deletion is landed with. Key digests are uniform, so a range of them is a fair partition, and
//! the whole thing is compared in partitions of bounded size. Sorting by the key itself would make the
//! look-up of new serial ids free, and was rejected because a full compare would then need the source's
//! rows sorted as well.

mod merge;
mod sorter;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{Array as _, AsArray as _, FixedSizeBinaryArray, UInt32Array};
use arrow::compute::{CastOptions, cast_with_options, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use futures::stream::{self, Stream, StreamExt as _, TryStreamExt as _};
pub(crate) use tidemill_codec::order::partition_of;

use self::merge::{SegmentWriter, merge};
pub(crate) use self::sorter::Sorter;
use super::rows::Digest128;
use crate::error::Result;
use crate::manifest::{IndexPart, IndexSegment};
use crate::zone::parquet::{self, Verified};
use crate::zone::{Zone, ZoneError};

/// Rows in one object of a segment, some 9 MB: what the look-up of a single key reads at most.
const PART_ROWS: u64 = 1 << 18;

/// A segment is folded into the one before it when it has at least this share of its rows.
const FOLD_SHARE: u64 = 4;

/// Row digests by key digest.
pub(crate) type DigestMap = HashMap<Digest128, Digest128, BuildHasherDefault<DigestHasher>>;

/// The last eight bytes of a digest are a hash already. The first are alike within a partition.
#[derive(Default)]
pub(crate) struct DigestHasher(u64);

impl Hasher for DigestHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(last) = bytes.last_chunk() {
            self.0 = u64::from_le_bytes(*last);
        }
    }

    /// The length, which is the same of all.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

/// Batches of entries, sorted by key digest.
type EntryStream = Pin<Box<dyn Stream<Item = Result<RecordBatch, ZoneError>> + Send>>;

/// The schema of entries of a table whose key columns are those of `key_schema`.
fn entry_schema(key_schema: &Schema) -> SchemaRef {
    let mut fields = vec![
        Field::new("_key", DataType::FixedSizeBinary(16), false),
        Field::new("_row", DataType::FixedSizeBinary(16), true),
    ];
    fields.extend(key_schema.fields().iter().map(|field| {
        Field::new(
            format!("key:{}", field.name()),
            field.data_type().clone(),
            field.is_nullable(),
        )
    }));
    Arc::new(Schema::new(fields))
}

/// The index of one table as of its newest landing.
#[derive(Clone)]
pub(crate) struct Index {
    zone: Arc<dyn Zone>,
    key_schema: SchemaRef,
    segments: Vec<IndexSegment>,
}

impl Index {
    /// The index whose segments a manifest names, the oldest first.
    pub(crate) fn new(
        zone: Arc<dyn Zone>,
        key_schema: SchemaRef,
        segments: Vec<IndexSegment>,
    ) -> Self {
        Self {
            zone,
            key_schema,
            segments,
        }
    }

    /// Entries in all segments: an upper bound of live keys.
    pub(crate) fn rows(&self) -> u64 {
        self.segments.iter().map(IndexSegment::rows).sum()
    }

    /// The row digests of those `keys` that are live.
    ///
    /// Reads, of each segment, the objects whose range holds one of the keys.
    pub(crate) async fn look_up(
        &self,
        keys: &[Digest128],
    ) -> Result<HashMap<Digest128, Digest128>> {
        let mut wanted = keys.to_vec();
        wanted.sort_unstable();
        let mut found: HashMap<Digest128, Option<Digest128>> = HashMap::with_capacity(keys.len());
        for part in self
            .segments
            .iter()
            .rev()
            .flat_map(|segment| &segment.parts)
        {
            let (first, last) = range(part)?;
            let from = wanted.partition_point(|key| *key < first);
            let to = wanted.partition_point(|key| *key <= last);
            let Some(here) = wanted.get(from..to).filter(|here| !here.is_empty()) else {
                continue;
            };
            let mut entries = self.part(part);
            while let Some(batch) = entries.try_next().await? {
                let entries = Entries::of(&batch);
                for row in 0..batch.num_rows() {
                    let key = entries.key(row);
                    if here.binary_search(&key).is_ok() {
                        found.entry(key).or_insert_with(|| entries.row(row));
                    }
                }
            }
        }
        Ok(found
            .into_iter()
            .filter_map(|(key, row)| row.map(|row| (key, row)))
            .collect())
    }

    /// The live entries of one of `partitions` equal ranges of key digests.
    pub(crate) async fn partition(&self, partition: usize, partitions: usize) -> Result<DigestMap> {
        let expected = self.rows() / partitions.max(1) as u64;
        let expected = usize::try_from(expected).unwrap_or_default();
        let mut live = DigestMap::with_capacity_and_hasher(expected, Default::default());
        for part in self.segments.iter().flat_map(|segment| &segment.parts) {
            let (first, last) = range(part)?;
            let touched = partition_of(&first, partitions)..=partition_of(&last, partitions);
            if !touched.contains(&partition) {
                continue;
            }
            let mut entries = self.part(part);
            while let Some(batch) = entries.try_next().await? {
                let entries = Entries::of(&batch);
                for row in 0..batch.num_rows() {
                    let key = entries.key(row);
                    if partition_of(&key, partitions) != partition {
                        continue;
                    }
                    match entries.row(row) {
                        Some(digest) => live.insert(key, digest),
                        None => live.remove(&key),
                    };
                }
            }
        }
        Ok(live)
    }

    /// The key columns of the live entries whose key digests are `wanted`, as batches of the key schema.
    pub(crate) async fn keys_of(&self, wanted: HashSet<Digest128>) -> Result<Vec<RecordBatch>> {
        let mut open = wanted;
        let mut keys = Vec::new();
        for part in self
            .segments
            .iter()
            .rev()
            .flat_map(|segment| &segment.parts)
        {
            if open.is_empty() {
                break;
            }
            let mut entries = self.part(part);
            while let Some(batch) = entries.try_next().await? {
                let entries = Entries::of(&batch);
                let rows: Vec<u32> = (0..batch.num_rows())
                    .filter(|row| open.remove(&entries.key(*row)))
                    .map(|row| row as u32)
                    .collect();
                if !rows.is_empty() {
                    keys.push(self.key_columns(&batch, rows)?);
                }
            }
        }
        Ok(keys)
    }

    fn key_columns(&self, batch: &RecordBatch, rows: Vec<u32>) -> Result<RecordBatch> {
        let taken = take_record_batch(batch, &UInt32Array::from(rows)).map_err(broken)?;
        let columns = taken.columns().iter().skip(2).cloned().collect();
        Ok(RecordBatch::try_new(self.key_schema.clone(), columns).map_err(broken)?)
    }

    /// The segments after `added` is one more, folded where the newest are of like size. Objects that are
    /// no longer named stay for the manifests before.
    pub(crate) async fn merged(
        &self,
        added: IndexSegment,
        prefix: &str,
    ) -> Result<Vec<IndexSegment>> {
        let mut segments = self.segments.clone();
        if !added.parts.is_empty() {
            segments.push(added);
        }
        let Some(from) = fold_from(&segments) else {
            return Ok(segments);
        };
        let folded = segments.split_off(from);
        let newest_first = folded
            .iter()
            .rev()
            .map(|segment| self.segment(segment))
            .collect();
        let keep_gone = from > 0;
        let writer = SegmentWriter::new(self.zone.clone(), prefix, entry_schema(&self.key_schema));
        segments.push(merge(newest_first, writer, keep_gone).await?);
        Ok(segments)
    }

    fn part(&self, part: &IndexPart) -> EntryStream {
        self.typed(vec![(part.object.key.clone(), part.object.sha256)])
    }

    /// The entries of some objects in the key types of now: a key may have been widened since they were written. Objects
    /// are read where they are nearest, because every run reads the same ones.
    fn typed(&self, objects: Vec<Verified>) -> EntryStream {
        let (schema, zone) = (entry_schema(&self.key_schema), self.zone.clone());
        stream::iter(objects)
            .then(move |(key, sha256)| {
                let zone = zone.clone();
                async move {
                    let bytes = parquet::read_kept(zone.as_ref(), &key, sha256).await?;
                    let object = format!("{}/{key}", zone.url());
                    parquet::decode(&object, bytes, None).map(stream::iter)
                }
            })
            .try_flatten()
            .map(move |batch| widened(batch?, &schema))
            .boxed()
    }

    fn segment(&self, segment: &IndexSegment) -> EntryStream {
        let objects = segment
            .parts
            .iter()
            .map(|part| (part.object.key.clone(), part.object.sha256))
            .collect();
        self.typed(objects)
    }
}

fn widened(batch: RecordBatch, schema: &SchemaRef) -> Result<RecordBatch, ZoneError> {
    if batch.schema_ref().fields() == schema.fields() {
        return Ok(batch);
    }
    let strict = CastOptions {
        safe: false,
        ..CastOptions::default()
    };
    let columns = schema.fields().iter().map(|field| {
        let column = batch.column_by_name(field.name()).ok_or_else(|| {
            let missing = format!("it has no column {}", field.name());
            broken(arrow::error::ArrowError::SchemaError(missing))
        })?;
        cast_with_options(column, field.data_type(), &strict).map_err(broken)
    });
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    RecordBatch::try_new(schema.clone(), columns).map_err(broken)
}

/// The first segment of the tail to fold, if any: as long as the tail has a fair share of the one before.
fn fold_from(segments: &[IndexSegment]) -> Option<usize> {
    let mut from = segments.len().checked_sub(1)?;
    let mut tail = segments.get(from)?.rows();
    while from > 0 {
        let before = segments.get(from - 1)?.rows();
        if tail.saturating_mul(FOLD_SHARE) < before {
            break;
        }
        tail += before;
        from -= 1;
    }
    (from + 1 < segments.len()).then_some(from)
}

/// The two digest columns of a batch of entries.
struct Entries<'a> {
    keys: &'a FixedSizeBinaryArray,
    rows: &'a FixedSizeBinaryArray,
}

impl<'a> Entries<'a> {
    fn of(batch: &'a RecordBatch) -> Self {
        Self {
            keys: batch.column(0).as_fixed_size_binary(),
            rows: batch.column(1).as_fixed_size_binary(),
        }
    }

    fn key(&self, row: usize) -> Digest128 {
        self.keys.value(row).try_into().unwrap_or_default()
    }

    fn row(&self, row: usize) -> Option<Digest128> {
        let is_live = self.rows.is_valid(row);
        is_live.then(|| self.rows.value(row).try_into().unwrap_or_default())
    }
}

/// Entries that do not fit their own schema are damage: nobody else writes them.
fn broken(error: arrow::error::ArrowError) -> ZoneError {
    ZoneError::Damaged {
        object: "the index of landed keys".into(),
        reason: error.to_string(),
    }
}

fn hex(digest: &Digest128) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The range of key digests that a manifest says an object holds.
fn range(part: &IndexPart) -> Result<(Digest128, Digest128), ZoneError> {
    let parse = |text: &str| {
        u128::from_str_radix(text, 16)
            .map(u128::to_be_bytes)
            .map_err(|error| ZoneError::Damaged {
                object: part.object.key.clone(),
                reason: format!("its range `{text}` in the manifest is not hexadecimal: {error}"),
            })
    };
    Ok((parse(&part.first)?, parse(&part.last)?))
}

#[cfg(test)]
mod tests;
