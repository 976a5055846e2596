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

use std::collections::{HashMap, HashSet};
use std::pin::Pin;
use std::sync::Arc;

use arrow::array::{
    Array as _, AsArray as _, FixedSizeBinaryArray, FixedSizeBinaryBuilder, UInt32Array,
};
use arrow::compute::{
    CastOptions, cast_with_options, concat_batches, interleave_record_batch, take_record_batch,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use futures::stream::{self, Stream, StreamExt as _, TryStreamExt as _};

use super::rows::Digest128;
use crate::error::Result;
use crate::manifest::{IndexPart, IndexSegment};
use crate::zone::parquet::{self, BATCH_ROWS, PartWriter};
use crate::zone::{Zone, ZoneError};

/// Rows in one object of a segment, some 9 MB: what the look-up of a single key reads at most.
const PART_ROWS: u64 = 1 << 18;

/// Entries that are sorted in memory at a time: some 64 MB.
const SORT_ROWS: usize = 1 << 20;

/// A segment is folded into the one before it when it has at least this share of its rows.
const FOLD_SHARE: u64 = 4;

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
    pub(crate) async fn partition(
        &self,
        partition: usize,
        partitions: usize,
    ) -> Result<HashMap<Digest128, Digest128>> {
        let mut live = HashMap::new();
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
        let writer = SegmentWriter::new(self.zone.clone(), prefix, &self.key_schema);
        segments.push(merge(newest_first, writer, keep_gone).await?);
        Ok(segments)
    }

    fn part(&self, part: &IndexPart) -> EntryStream {
        let object = (part.object.key.clone(), part.object.sha256);
        self.typed(parquet::read(self.zone.clone(), vec![object], None))
    }

    /// The entries in the key types of now: a key may have been widened since they were written.
    fn typed(&self, entries: EntryStream) -> EntryStream {
        let schema = entry_schema(&self.key_schema);
        entries.map(move |batch| widened(batch?, &schema)).boxed()
    }

    fn segment(&self, segment: &IndexSegment) -> EntryStream {
        let objects = segment
            .parts
            .iter()
            .map(|part| (part.object.key.clone(), part.object.sha256))
            .collect();
        self.typed(parquet::read(self.zone.clone(), objects, None))
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

/// Which of `partitions` equal ranges a key digest falls into.
pub(crate) fn partition_of(key: &Digest128, partitions: usize) -> usize {
    let [a, b, ..] = *key;
    (usize::from(u16::from_be_bytes([a, b])) * partitions) >> 16
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

/// Collects the entries of one landing in any order and writes them as one sorted segment.
pub(crate) struct Sorter {
    schema: SchemaRef,
    held: Vec<RecordBatch>,
    held_rows: usize,
    runs: Vec<std::fs::File>,
}

impl Sorter {
    /// A sorter of entries of a table with these key columns.
    pub(crate) fn new(key_schema: &Schema) -> Self {
        Self {
            schema: entry_schema(key_schema),
            held: Vec::new(),
            held_rows: 0,
            runs: Vec::new(),
        }
    }

    /// Adds entries: a key digest, a row digest or `None` where the key is gone, and the key's columns.
    pub(crate) fn add(
        &mut self,
        keys: &[Digest128],
        rows: &[Option<Digest128>],
        key_columns: &RecordBatch,
    ) -> Result<()> {
        let mut key_digests = FixedSizeBinaryBuilder::with_capacity(keys.len(), 16);
        for key in keys {
            key_digests.append_value(key).map_err(broken)?;
        }
        let mut row_digests = FixedSizeBinaryBuilder::with_capacity(rows.len(), 16);
        for row in rows {
            match row {
                Some(digest) => row_digests.append_value(digest).map_err(broken)?,
                None => row_digests.append_null(),
            }
        }
        let mut columns: Vec<arrow::array::ArrayRef> = vec![
            Arc::new(key_digests.finish()),
            Arc::new(row_digests.finish()),
        ];
        columns.extend(key_columns.columns().iter().cloned());
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(broken)?;
        self.held_rows += batch.num_rows();
        self.held.push(batch);
        if self.held_rows >= SORT_ROWS {
            let run = self.spill()?;
            self.runs.push(run);
        }
        Ok(())
    }

    /// Writes the segment into objects whose keys begin with `prefix`.
    ///
    /// # Errors
    /// `Data` when two entries have the same key.
    pub(crate) async fn finish(
        mut self,
        zone: Arc<dyn Zone>,
        prefix: &str,
    ) -> Result<IndexSegment> {
        let last = self.sorted()?;
        let mut sorted: Vec<EntryStream> = vec![slices(last)];
        for run in self.runs {
            let reader = arrow::ipc::reader::FileReader::try_new(run, None).map_err(broken)?;
            sorted.push(stream::iter(reader.map(|batch| batch.map_err(broken))).boxed());
        }
        let writer = SegmentWriter {
            parts: PartWriter::new(zone, prefix, self.schema).with_part_rows(PART_ROWS),
            ranges: Vec::new(),
            unique: true,
        };
        merge(sorted, writer, true).await
    }

    fn sorted(&mut self) -> Result<RecordBatch> {
        let held = std::mem::take(&mut self.held);
        self.held_rows = 0;
        let batch = concat_batches(&self.schema, &held).map_err(broken)?;
        let entries = Entries::of(&batch);
        let mut order: Vec<(Digest128, u32)> = (0..batch.num_rows())
            .map(|row| (entries.key(row), row as u32))
            .collect();
        order.sort_unstable();
        let order: Vec<u32> = order.into_iter().map(|(_, row)| row).collect();
        Ok(take_record_batch(&batch, &UInt32Array::from(order)).map_err(broken)?)
    }

    fn spill(&mut self) -> Result<std::fs::File> {
        let sorted = self.sorted()?;
        let file = tempfile::tempfile().map_err(no_spill)?;
        let mut writer = arrow::ipc::writer::FileWriter::try_new(
            file.try_clone().map_err(no_spill)?,
            &self.schema,
        )
        .map_err(broken)?;
        for slice in cut(&sorted) {
            writer.write(&slice).map_err(broken)?;
        }
        writer.finish().map_err(broken)?;
        Ok(file)
    }
}

fn cut(batch: &RecordBatch) -> impl Iterator<Item = RecordBatch> + use<> {
    let batch = batch.clone();
    (0..batch.num_rows())
        .step_by(BATCH_ROWS)
        .map(move |from| batch.slice(from, BATCH_ROWS.min(batch.num_rows() - from)))
}

fn slices(batch: RecordBatch) -> EntryStream {
    stream::iter(cut(&batch).map(Ok)).boxed()
}

fn no_spill(error: std::io::Error) -> ZoneError {
    ZoneError::Unavailable {
        action: "create",
        object: "a temporary file for sorting".into(),
        cause: Box::new(error),
    }
}

/// Entries that do not fit their own schema are damage: nobody else writes them.
fn broken(error: arrow::error::ArrowError) -> ZoneError {
    ZoneError::Damaged {
        object: "the index of landed keys".into(),
        reason: error.to_string(),
    }
}

/// Writes sorted entries as the objects of one segment and notes the range of each.
struct SegmentWriter {
    parts: PartWriter,
    /// First and last key digest of every batch, with the rows up to its end.
    ranges: Vec<(Digest128, Digest128, u64)>,
    /// Whether two entries of one key are an error instead of an older version.
    unique: bool,
}

impl SegmentWriter {
    fn new(zone: Arc<dyn Zone>, prefix: &str, key_schema: &Schema) -> Self {
        Self {
            parts: PartWriter::new(zone, prefix, entry_schema(key_schema))
                .with_part_rows(PART_ROWS),
            ranges: Vec::new(),
            unique: false,
        }
    }

    async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let Some(last) = batch.num_rows().checked_sub(1) else {
            return Ok(());
        };
        self.parts.write(batch).await?;
        let entries = Entries::of(batch);
        self.ranges
            .push((entries.key(0), entries.key(last), self.parts.rows()));
        Ok(())
    }

    async fn finish(self) -> Result<IndexSegment> {
        let mut ranges = self.ranges.into_iter();
        let mut parts = Vec::new();
        let mut end = 0;
        for part in self.parts.finish().await? {
            end += part.rows;
            let mut range: Option<(Digest128, Digest128)> = None;
            for (first, last, rows) in ranges.by_ref() {
                range = Some((range.map_or(first, |(first, _)| first), last));
                if rows == end {
                    break;
                }
            }
            let (first, last) = range.unwrap_or_default();
            parts.push(IndexPart {
                object: super::object(part),
                first: hex(&first),
                last: hex(&last),
            });
        }
        Ok(IndexSegment { parts })
    }
}

/// One sorted stream in a merge.
struct Cursor {
    entries: EntryStream,
    batch: RecordBatch,
    row: usize,
}

impl Cursor {
    /// Moves to the next batch with rows; false at the end of the stream.
    async fn refill(&mut self) -> Result<bool> {
        while let Some(batch) = self.entries.try_next().await? {
            if batch.num_rows() > 0 {
                self.batch = batch;
                self.row = 0;
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn key(&self) -> Digest128 {
        Entries::of(&self.batch).key(self.row)
    }

    fn is_live(&self) -> bool {
        Entries::of(&self.batch).row(self.row).is_some()
    }
}

/// Merges sorted streams, the newest first: of equal keys the first stream's entry stays.
async fn merge(
    newest_first: Vec<EntryStream>,
    mut writer: SegmentWriter,
    keep_gone: bool,
) -> Result<IndexSegment> {
    let mut cursors = Vec::new();
    for entries in newest_first {
        let mut cursor = Cursor {
            entries,
            batch: RecordBatch::new_empty(Arc::new(Schema::empty())),
            row: 0,
        };
        if cursor.refill().await? {
            cursors.push(cursor);
        }
    }
    let mut picked: Vec<(usize, usize)> = Vec::with_capacity(BATCH_ROWS);
    let mut last: Option<Digest128> = None;
    while let Some((at, key)) = cursors
        .iter()
        .map(Cursor::key)
        .enumerate()
        .min_by_key(|(at, key)| (*key, *at))
    {
        let Some(cursor) = cursors.get_mut(at) else {
            break;
        };
        if last == Some(key) && writer.unique {
            return Err(super::landing::LandingError::DuplicateKey.into());
        }
        if last != Some(key) && (keep_gone || cursor.is_live()) {
            picked.push((at, cursor.row));
        }
        last = Some(key);
        cursor.row += 1;
        let is_spent = cursor.row == cursor.batch.num_rows();
        if is_spent || picked.len() == BATCH_ROWS {
            write_picked(&cursors, &mut picked, &mut writer).await?;
        }
        if is_spent
            && let Some(cursor) = cursors.get_mut(at)
            && !cursor.refill().await?
        {
            cursors.remove(at);
        }
    }
    writer.finish().await
}

async fn write_picked(
    cursors: &[Cursor],
    picked: &mut Vec<(usize, usize)>,
    writer: &mut SegmentWriter,
) -> Result<()> {
    if picked.is_empty() {
        return Ok(());
    }
    let batches: Vec<&RecordBatch> = cursors.iter().map(|cursor| &cursor.batch).collect();
    let batch = interleave_record_batch(&batches, picked).map_err(broken)?;
    picked.clear();
    writer.write(&batch).await
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
mod tests {
    use super::*;
    use crate::zone::memory::MemoryZone;
    use arrow::array::{Int32Array, Int64Array};
    use arrow::datatypes::{Int32Type, Int64Type};

    fn key_schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("id", DataType::Int32, false)]))
    }

    fn digest(id: i32) -> Digest128 {
        super::super::rows::Digester::new(&key_schema(), &["id".into()])
            .and_then(|digester| digester.keys(&key(id)))
            .unwrap()[0]
    }

    fn key(id: i32) -> RecordBatch {
        RecordBatch::try_new(key_schema(), vec![Arc::new(Int32Array::from(vec![id]))]).unwrap()
    }

    fn version(n: u8) -> Digest128 {
        [n; 16]
    }

    /// An index after landings that each say, by key, the version or that the key is gone.
    async fn landed(landings: &[&[(i32, Option<u8>)]]) -> Result<Index> {
        let zone: Arc<dyn Zone> = Arc::new(MemoryZone::default());
        let mut index = Index::new(zone.clone(), key_schema(), Vec::new());
        for (number, landing) in landings.iter().enumerate() {
            let mut sorter = Sorter::new(&key_schema());
            for (id, row) in *landing {
                sorter.add(&[digest(*id)], &[row.map(version)], &key(*id))?;
            }
            let added = sorter
                .finish(zone.clone(), &format!("{number}/index"))
                .await?;
            index.segments = index.merged(added, &format!("{number}/folded")).await?;
        }
        Ok(index)
    }

    async fn live(index: &Index, ids: std::ops::Range<i32>) -> Vec<(i32, u8)> {
        let keys: Vec<Digest128> = ids.clone().map(digest).collect();
        let found = index.look_up(&keys).await.unwrap();
        ids.filter_map(|id| found.get(&digest(id)).map(|row| (id, row[0])))
            .collect()
    }

    #[tokio::test]
    async fn a_later_landing_wins_and_a_key_that_is_gone_is_not_live() {
        let index = landed(&[
            &[(1, Some(1)), (2, Some(1)), (3, Some(1))],
            &[(2, Some(2)), (3, None)],
        ])
        .await
        .unwrap();
        assert_eq!(live(&index, 0..5).await, vec![(1, 1), (2, 2)]);
        let whole = index.partition(0, 1).await.unwrap();
        assert_eq!(whole.len(), 2);
    }

    #[tokio::test]
    async fn a_key_that_comes_back_is_live_again() {
        let index = landed(&[&[(1, Some(1))], &[(1, None)], &[(1, Some(1))]])
            .await
            .unwrap();
        assert_eq!(live(&index, 0..3).await, vec![(1, 1)]);
    }

    #[tokio::test]
    async fn many_small_landings_leave_few_segments_and_lose_nothing() {
        let first: Vec<_> = (0..1_000).map(|id| (id, Some(1))).collect();
        let mut landings: Vec<Vec<(i32, Option<u8>)>> = vec![first];
        landings.extend((0..100).map(|n| vec![(n * 7, Some(2)), (n * 7 + 1, None)]));
        let landings: Vec<&[(i32, Option<u8>)]> = landings.iter().map(Vec::as_slice).collect();
        let index = landed(&landings).await.unwrap();
        assert!(
            index.segments.len() <= 5,
            "{} segments",
            index.segments.len()
        );
        let expected: Vec<(i32, u8)> = (0..1_000)
            .filter(|id| !(*id < 700 && id % 7 == 1))
            .map(|id| (id, if id < 700 && id % 7 == 0 { 2 } else { 1 }))
            .collect();
        assert_eq!(live(&index, 0..1_000).await, expected);
        let live: usize = {
            let mut live = 0;
            for partition in 0..8 {
                live += index.partition(partition, 8).await.unwrap().len();
            }
            live
        };
        assert_eq!(live, expected.len());
    }

    #[tokio::test]
    async fn the_columns_of_keys_come_back_for_deletions() {
        let index = landed(&[&[(1, Some(1)), (2, Some(1))], &[(2, Some(2))]])
            .await
            .unwrap();
        let keys = index
            .keys_of([digest(2)].into_iter().collect())
            .await
            .unwrap();
        assert_eq!(keys.len(), 1);
        assert_eq!(keys[0].column(0).as_primitive::<Int32Type>().values(), &[2]);
    }

    #[tokio::test]
    async fn two_rows_of_one_key_in_one_landing_are_refused() {
        let error = landed(&[&[(1, Some(1)), (1, Some(2))]])
            .await
            .err()
            .unwrap();
        assert_eq!(error.to_string(), "two rows have the same key");
    }

    #[tokio::test]
    async fn keys_that_were_written_narrow_are_read_wide() {
        let narrow = landed(&[&[(1, Some(1)), (2, Some(1)), (3, Some(1))]]).await;
        let Index { zone, segments, .. } = narrow.unwrap();
        let wide: SchemaRef = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, false)]));
        let index = Index::new(zone.clone(), wide.clone(), segments);
        let keys = index.keys_of([digest(2)].into()).await.unwrap();
        let ids = keys[0].column(0).as_primitive::<Int64Type>();
        assert_eq!(ids.values(), &[2]);
        let gone = Arc::new(Int64Array::from(vec![2]));
        let gone = RecordBatch::try_new(wide.clone(), vec![gone]).unwrap();
        let mut sorter = Sorter::new(&wide);
        sorter.add(&[digest(2)], &[None], &gone).unwrap();
        let added = sorter.finish(zone.clone(), "wide/index").await.unwrap();
        let folded = index.merged(added, "wide/folded").await.unwrap();
        assert_eq!(folded.len(), 1, "both are in one segment");
        let index = Index::new(zone, wide, folded);
        let live = index.look_up(&[digest(1), digest(2), digest(3)]).await;
        assert_eq!(live.unwrap().len(), 2);
    }
}
