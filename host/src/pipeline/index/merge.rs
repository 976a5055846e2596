//! Merging: sorted streams of entries into the objects of one segment.

use std::sync::Arc;

use arrow::compute::interleave_record_batch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use futures::stream::TryStreamExt as _;

use super::{Digest128, Entries, EntryStream, PART_ROWS, broken, hex};
use crate::error::Result;
use crate::manifest::{IndexPart, IndexSegment};
use crate::zone::Zone;
use crate::zone::parquet::{BATCH_ROWS, PartWriter};

/// Writes sorted entries as the objects of one segment and notes the range of each.
pub(super) struct SegmentWriter {
    parts: PartWriter,
    /// First and last key digest of every batch, with the rows up to its end.
    ranges: Vec<(Digest128, Digest128, u64)>,
}

impl SegmentWriter {
    pub(super) fn new(zone: Arc<dyn Zone>, prefix: &str, schema: SchemaRef) -> Self {
        Self {
            parts: PartWriter::new(zone, prefix, schema)
                .with_part_rows(PART_ROWS)
                .keeping(),
            ranges: Vec::new(),
        }
    }

    pub(super) async fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        let Some(last) = batch.num_rows().checked_sub(1) else {
            return Ok(());
        };
        self.parts.write(batch).await?;
        let entries = Entries::of(batch);
        self.ranges
            .push((entries.key(0), entries.key(last), self.parts.rows()));
        Ok(())
    }

    pub(super) async fn finish(self) -> Result<IndexSegment> {
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
                object: crate::pipeline::object(part),
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
pub(super) async fn merge(
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
