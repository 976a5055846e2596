//! Sorting: the entries of one landing in any order, as one sorted segment.
//!
//! Entries beyond what is held in memory are dealt out by the first bits of their key digests into buckets of a
//! temporary file. Digests are uniform, so the buckets are of one size; read one after the other and sorted in
//! memory, they are the segment. Rejected: sorted runs that are merged, which hold a batch of every run and
//! compare every entry with all of them.

use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeBinaryArray, UInt32Array};
use arrow::buffer::NullBuffer;
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use arrow::ipc::reader::FileReader;
use arrow::ipc::writer::FileWriter;
use arrow::record_batch::RecordBatch;
use tidemill_codec::order;
use tokio::sync::mpsc;

use super::merge::SegmentWriter;
use super::{Digest128, Entries, broken, entry_schema};
use crate::error::Result;
use crate::manifest::IndexSegment;
use crate::pipeline::landing::LandingError;
use crate::pipeline::rows::digest_array;
use crate::pipeline::temporary::{Disk, TemporaryFile};
use crate::zone::parquet::BATCH_ROWS;
use crate::zone::{Zone, ZoneError};

/// Entries that are held in memory: some 6 MB.
const HELD_ROWS: usize = 1 << 17;

/// Buckets of the temporary file. Of 40 million entries one holds some 30 MB.
const BUCKETS: usize = 64;

/// Sorted batches that wait to be written, some 300 kB each: while they are, the next bucket is sorted.
const SORTED_AHEAD: usize = 8;

/// Collects the entries of one landing in any order and writes them as one sorted segment.
pub(crate) struct Sorter {
    schema: SchemaRef,
    held: Vec<RecordBatch>,
    held_rows: usize,
    buckets: Option<Buckets>,
    disk: Disk,
}

impl Sorter {
    /// A sorter of entries of a table with these key columns.
    pub(crate) fn new(key_schema: &Schema) -> Self {
        Self {
            schema: entry_schema(key_schema),
            held: Vec::new(),
            held_rows: 0,
            buckets: None,
            disk: Disk::of(None),
        }
    }

    /// Says where entries go that are too many for memory.
    pub(crate) fn set_disk(&mut self, disk: &Disk) {
        self.disk = disk.clone();
    }

    /// Adds entries: key digests, row digests or `None` where the keys are gone, and the keys' columns.
    pub(crate) fn add(
        &mut self,
        keys: &[Digest128],
        rows: Option<&[Digest128]>,
        key_columns: &RecordBatch,
    ) -> Result<()> {
        let rows = match rows {
            Some(rows) => digest_array(rows),
            None => {
                let (width, bytes, _) = digest_array(keys).into_parts();
                FixedSizeBinaryArray::new(width, bytes, Some(NullBuffer::new_null(keys.len())))
            }
        };
        let mut columns: Vec<ArrayRef> = vec![Arc::new(digest_array(keys)), Arc::new(rows)];
        columns.extend(key_columns.columns().iter().cloned());
        let batch = RecordBatch::try_new(self.schema.clone(), columns).map_err(broken)?;
        self.held_rows += batch.num_rows();
        self.held.push(batch);
        if self.held_rows >= HELD_ROWS {
            self.spill()?;
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
        let mut writer = SegmentWriter::new(zone, prefix, self.schema.clone());
        if self.buckets.is_some() {
            self.spill()?;
        }
        let (give, mut sorted) = mpsc::channel(SORTED_AHEAD);
        let sorting = tokio::task::spawn_blocking(move || self.sort(&give));
        let written = async {
            while let Some(batch) = sorted.recv().await {
                writer.write(&batch).await?;
            }
            writer.finish().await
        };
        let written = written.await;
        drop(sorted);
        sorting.await.map_err(LandingError::Lost)??;
        written
    }

    /// Gives the entries in their order, as long as they are taken.
    fn sort(self, give: &mpsc::Sender<RecordBatch>) -> Result<()> {
        let Some(buckets) = self.buckets else {
            give_sorted(&self.schema, &self.held, give)?;
            return Ok(());
        };
        let mut buckets = buckets.read()?;
        for bucket in 0..BUCKETS {
            let entries = buckets.bucket(bucket)?;
            if !give_sorted(&self.schema, &entries, give)? {
                break;
            }
        }
        Ok(())
    }

    fn spill(&mut self) -> Result<(), ZoneError> {
        let held = std::mem::take(&mut self.held);
        self.held_rows = 0;
        let batch = concat_batches(&self.schema, &held).map_err(broken)?;
        drop(held);
        let buckets = match &mut self.buckets {
            Some(buckets) => buckets,
            empty => empty.insert(Buckets::new(&self.schema, &self.disk)?),
        };
        buckets.write(&batch)
    }
}

/// Sorts entries and gives them away; false when nobody takes them any more.
fn give_sorted(
    schema: &SchemaRef,
    entries: &[RecordBatch],
    give: &mpsc::Sender<RecordBatch>,
) -> Result<bool> {
    let batch = concat_batches(schema, entries).map_err(broken)?;
    let order = order::sorted(Entries::of(&batch).keys).ok_or(LandingError::DuplicateKey)?;
    for rows in order.chunks(BATCH_ROWS) {
        let rows = UInt32Array::from(rows.to_vec());
        let sorted = take_record_batch(&batch, &rows).map_err(broken)?;
        if give.blocking_send(sorted).is_err() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A temporary file of blocks, each of entries of one bucket.
struct Buckets {
    file: TemporaryFile,
    writer: FileWriter<std::io::BufWriter<TemporaryFile>>,
    /// The numbers of each bucket's blocks.
    blocks: Vec<Vec<usize>>,
    written: usize,
}

impl Buckets {
    fn new(schema: &Schema, disk: &Disk) -> Result<Self, ZoneError> {
        let file = disk.file().map_err(no_spill)?;
        let sink = file.try_clone().map_err(no_spill)?;
        Ok(Self {
            writer: FileWriter::try_new_buffered(sink, schema).map_err(broken)?,
            file,
            blocks: vec![Vec::new(); BUCKETS],
            written: 0,
        })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), ZoneError> {
        let rows = order::dealt(Entries::of(batch).keys, BUCKETS);
        for (rows, blocks) in rows.into_iter().zip(&mut self.blocks) {
            if !rows.is_empty() {
                let taken = take_record_batch(batch, &UInt32Array::from(rows)).map_err(broken)?;
                self.writer.write(&taken).map_err(broken)?;
                blocks.push(self.written);
                self.written += 1;
            }
        }
        Ok(())
    }

    fn read(mut self) -> Result<SpilledBuckets, ZoneError> {
        self.writer.finish().map_err(broken)?;
        drop(self.writer);
        Ok(SpilledBuckets {
            reader: FileReader::try_new(self.file, None).map_err(broken)?,
            blocks: self.blocks,
        })
    }
}

/// The same, written and to be read.
struct SpilledBuckets {
    reader: FileReader<TemporaryFile>,
    blocks: Vec<Vec<usize>>,
}

impl SpilledBuckets {
    fn bucket(&mut self, bucket: usize) -> Result<Vec<RecordBatch>, ZoneError> {
        let blocks = self
            .blocks
            .get(bucket)
            .map(Vec::as_slice)
            .unwrap_or_default();
        let mut batches = Vec::with_capacity(blocks.len());
        for block in blocks {
            self.reader.set_index(*block).map_err(broken)?;
            if let Some(batch) = self.reader.next() {
                batches.push(batch.map_err(broken)?);
            }
        }
        Ok(batches)
    }
}

fn no_spill(error: std::io::Error) -> ZoneError {
    ZoneError::Unavailable {
        action: "create",
        object: "a temporary file for sorting".into(),
        cause: Box::new(error),
    }
}
