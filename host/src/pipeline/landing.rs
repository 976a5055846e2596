//! The landing of one table in the making: which rows are kept, and the objects they are written to.
//!
//! ```text
//! batches ──digest──▶ compare with the index ──▶ part-*.parquet      rows that are new or differ
//!                                            ──▶ deletes-*.parquet   keys that are gone
//!                                            ──▶ index-*.parquet     their digests
//! ```

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use futures::{StreamExt as _, TryStreamExt as _};

use super::index::{Index, Sorter, partition_of};
use super::rows::{Digest128, Digester, RowsError};
use crate::error::{Classify, ErrorKind, Result};
use crate::manifest::{IndexSegment, Object};
use crate::source::BatchStream;
use crate::table::Table;
use crate::zone::Zone;
use crate::zone::parquet::PartWriter;

/// Candidate rows that are looked up in the index at a time. Their rows are held meanwhile, so this bounds
/// memory: 65 536 rows of a fact are some 10 MB, and a look-up reads each object of the index at most once.
const LOOK_UP_ROWS: usize = 1 << 16;

/// Keys in one partition of a full compare: some 100 MB of digests.
const PARTITION_KEYS: u64 = 2_000_000;

/// Partitions at most, each with an open temporary file and a buffer.
const PARTITIONS: usize = 256;

/// What is wrong with the rows of a source.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LandingError {
    /// Two rows of one snapshot have the same key.
    #[error("two rows have the same key")]
    DuplicateKey,
    /// The rows do not have the columns that were discovered.
    #[error("the source sent rows that do not have the columns of the table")]
    Rows(#[source] arrow::error::ArrowError),
    /// The digest of a row cannot be made.
    #[error(transparent)]
    Digest(#[from] RowsError),
    /// A temporary file could not be used.
    #[error("a temporary file for comparing could not be used")]
    Spill(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Classify for LandingError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::DuplicateKey => ErrorKind::Data,
            Self::Rows(_) => ErrorKind::Bug,
            Self::Digest(error) => error.kind(),
            Self::Spill(_) => ErrorKind::Unavailable,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::DuplicateKey => Some(
                "name columns that are unique together under `key` of the table in the project file".into(),
            ),
            Self::Digest(error) => error.hint(),
            Self::Spill(_) => Some("check that the temporary folder has space, or set TMPDIR".into()),
            Self::Rows(_) => None,
        }
    }
}

/// What a landing of a table came to.
#[derive(Debug, Default)]
pub(crate) struct Landed {
    pub(crate) changed: Vec<Object>,
    pub(crate) deleted: Vec<Object>,
    pub(crate) index: Vec<IndexSegment>,
    /// Whether `changed` is the whole table.
    pub(crate) replaces: bool,
    /// Of a table without a key: the sum of its row digests.
    pub(crate) content: Option<String>,
    pub(crate) counts: Counts,
}

/// Rows by what became of them.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Rows that the source sent.
    pub(crate) read: u64,
    /// Rows whose key was not live before.
    pub(crate) new: u64,
    /// Rows whose key was live with another digest.
    pub(crate) changed: u64,
    /// Live keys that are gone.
    pub(crate) deleted: u64,
}

/// Writes the landing of one table. Dropped before `finish`, it leaves nothing that a manifest names.
pub(crate) struct Landing {
    zone: Arc<dyn Zone>,
    prefix: String,
    digester: Digester,
    key_positions: Vec<usize>,
    key_schema: SchemaRef,
    index: Index,
    rows: PartWriter,
    gone: PartWriter,
    entries: Sorter,
    counts: Counts,
    /// Whether a row is landed although its digest is the landed one.
    anew: bool,
    /// Told the rows and bytes of every batch that the source sent.
    progress: Box<dyn Fn(u64, u64) + Send + Sync>,
}

impl Landing {
    /// A landing of `table` into objects whose keys begin with `prefix`, compared with `index`.
    ///
    /// # Errors
    /// `Config` when a key column is not in the table.
    pub(crate) fn new(
        zone: Arc<dyn Zone>,
        prefix: String,
        table: &Table,
        index: Index,
        progress: Box<dyn Fn(u64, u64) + Send + Sync>,
    ) -> Result<Self> {
        let schema = table.schema();
        let key_schema = table.key_schema();
        let digester = Digester::new(&schema, &table.key)?;
        let key_positions = table
            .key
            .iter()
            .map(|name| schema.index_of(name).map_err(LandingError::Rows))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            rows: PartWriter::new(zone.clone(), format!("{prefix}/part"), schema),
            gone: PartWriter::new(
                zone.clone(),
                format!("{prefix}/deletes"),
                key_schema.clone(),
            ),
            entries: Sorter::new(&key_schema),
            zone,
            prefix,
            digester,
            key_positions,
            key_schema,
            index,
            counts: Counts::default(),
            anew: false,
            progress,
        })
    }

    /// Lands every row, also one whose digest was landed before: the digest was made of other types. What was
    /// landed before is void then, except for telling which keys are new and which are gone.
    pub(crate) fn land_anew(&mut self) {
        self.anew = true;
    }

    /// Lands every row of a table that has not been landed before.
    pub(crate) async fn land_all(&mut self, mut batches: BatchStream) -> Result<()> {
        while let Some(batch) = batches.try_next().await? {
            let digested = self.digest(batch)?;
            self.keep(&digested, |_, _| Some(Change::New)).await?;
        }
        Ok(())
    }

    /// Lands those of some candidate rows that differ from their latest landed version.
    ///
    /// A few are looked up in the index; from [`LOOK_UP_ROWS`] on they are compared with the whole of it.
    pub(crate) async fn land_candidates(&mut self, mut batches: BatchStream) -> Result<()> {
        let mut held: Vec<RecordBatch> = Vec::new();
        let mut held_rows = 0;
        while let Some(batch) = batches.try_next().await? {
            held_rows += batch.num_rows();
            held.push(batch);
            if held_rows >= LOOK_UP_ROWS {
                let held = futures::stream::iter(held.into_iter().map(Ok));
                let all = Box::pin(held.chain(batches));
                return self.compare(all, Deletes::Unknown).await;
            }
        }
        let held = held
            .into_iter()
            .map(|batch| self.digest(batch))
            .collect::<Result<Vec<_>>>()?;
        let keys: Vec<Digest128> = held.iter().flat_map(|d| d.keys.iter().copied()).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let live = self.index.look_up(&keys).await?;
        for digested in held {
            self.keep(&digested, |key, row| Change::of(live.get(key), row))
                .await?;
        }
        Ok(())
    }

    /// Lands the differences between every row of the table and what has been landed, deletions included.
    pub(crate) async fn land_differences(&mut self, batches: BatchStream) -> Result<()> {
        self.compare(batches, Deletes::WhatIsNotSeen).await
    }

    async fn compare(&mut self, batches: BatchStream, deletes: Deletes) -> Result<()> {
        let wanted = self.index.rows().div_ceil(PARTITION_KEYS);
        let partitions = usize::try_from(wanted)
            .unwrap_or(PARTITIONS)
            .clamp(1, PARTITIONS);
        if partitions == 1 {
            return self.compare_partition(batches, 0, 1, deletes).await;
        }
        let spilled = self.spill(batches, partitions).await?;
        for (partition, batches) in spilled.into_iter().enumerate() {
            self.compare_partition(batches, partition, partitions, deletes)
                .await?;
        }
        Ok(())
    }

    async fn compare_partition(
        &mut self,
        mut batches: BatchStream,
        partition: usize,
        partitions: usize,
        deletes: Deletes,
    ) -> Result<()> {
        let mut live = self.index.partition(partition, partitions).await?;
        let (is_spilled, anew) = (partitions > 1, self.anew);
        while let Some(batch) = batches.try_next().await? {
            let digested = if is_spilled {
                self.digest_again(batch)?
            } else {
                self.digest(batch)?
            };
            self.keep(&digested, |key, row| {
                let before = live.remove(key);
                let same = (anew && before.is_some()).then_some(Change::Changed);
                Change::of(before.as_ref(), row).or(same)
            })
            .await?;
        }
        match deletes {
            Deletes::WhatIsNotSeen => self.delete(live).await,
            Deletes::Unknown => Ok(()),
        }
    }

    /// Cuts the rows into partitions of the key digest, each in a temporary file.
    async fn spill(
        &mut self,
        mut batches: BatchStream,
        partitions: usize,
    ) -> Result<Vec<BatchStream>> {
        let mut spills = (0..partitions)
            .map(|_| Spill::new(self.rows.schema()))
            .collect::<Result<Vec<_>, _>>()?;
        while let Some(batch) = batches.try_next().await? {
            let digested = self.digest(batch)?;
            let places: Vec<usize> = digested
                .keys
                .iter()
                .map(|key| partition_of(key, partitions))
                .collect();
            for (partition, spill) in spills.iter_mut().enumerate() {
                let mask: BooleanArray = places
                    .iter()
                    .map(|place| Some(*place == partition))
                    .collect();
                if mask.true_count() > 0 {
                    spill.write(
                        &filter_record_batch(&digested.batch, &mask).map_err(LandingError::Rows)?,
                    )?;
                }
            }
        }
        spills.into_iter().map(|spill| Ok(spill.read()?)).collect()
    }

    async fn delete(&mut self, gone: HashMap<Digest128, Digest128>) -> Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        let gone: HashSet<Digest128> = gone.into_keys().collect();
        for keys in self.index.keys_of(gone).await? {
            let digests = Digester::new(keys.schema_ref(), &self.key_names())?.keys(&keys)?;
            self.entries
                .add(&digests, &vec![None; digests.len()], &keys)?;
            self.gone.write(&keys).await?;
            self.counts.deleted += keys.num_rows() as u64;
        }
        Ok(())
    }

    fn key_names(&self) -> Vec<String> {
        self.key_schema
            .fields()
            .iter()
            .map(|f| f.name().clone())
            .collect()
    }

    /// Makes everything durable. The manifest makes it count.
    pub(crate) async fn finish(self) -> Result<Landed> {
        let changed = self.rows.finish().await?;
        let deleted = self.gone.finish().await?;
        let added = self
            .entries
            .finish(self.zone.clone(), &format!("{}/index", self.prefix))
            .await?;
        let folded = format!("{}/index-folded", self.prefix);
        Ok(Landed {
            changed: changed.into_iter().map(super::object).collect(),
            deleted: deleted.into_iter().map(super::object).collect(),
            index: self.index.merged(added, &folded).await?,
            replaces: self.anew,
            content: None,
            counts: self.counts,
        })
    }

    /// Lands every row of a table without a key, unless its content is the one `before`.
    ///
    /// The content is told by the number of rows and the sum of their digests, in which order does not
    /// count and a row that is there twice does.
    pub(crate) async fn land_content(
        mut self,
        mut batches: BatchStream,
        before: Option<&str>,
    ) -> Result<Landed> {
        let mut sum = 0_u128;
        while let Some(batch) = batches.try_next().await? {
            let digested = self.digest(batch)?;
            for row in &digested.rows {
                sum = sum.wrapping_add(u128::from_be_bytes(*row));
            }
            self.rows.write(&digested.batch).await?;
        }
        let content = format!("{}:{sum:032x}", self.counts.read);
        let mut landed = Landed {
            counts: self.counts,
            content: Some(content),
            ..Landed::default()
        };
        if landed.content.as_deref() != before {
            landed.changed = self
                .rows
                .finish()
                .await?
                .into_iter()
                .map(super::object)
                .collect();
            landed.counts.changed = landed.counts.read;
            landed.replaces = true;
        }
        Ok(landed)
    }

    fn digest(&mut self, batch: RecordBatch) -> Result<Digested> {
        self.counts.read += batch.num_rows() as u64;
        (self.progress)(
            batch.num_rows() as u64,
            batch.get_array_memory_size() as u64,
        );
        self.digest_again(batch)
    }

    fn digest_again(&self, batch: RecordBatch) -> Result<Digested> {
        Ok(Digested {
            keys: self.digester.keys(&batch)?,
            rows: self.digester.rows(&batch)?,
            batch,
        })
    }

    /// Writes those rows of a batch that `change` finds to be changes.
    async fn keep(
        &mut self,
        digested: &Digested,
        mut change: impl FnMut(&Digest128, &Digest128) -> Option<Change>,
    ) -> Result<()> {
        let changes: Vec<Option<Change>> = digested
            .keys
            .iter()
            .zip(&digested.rows)
            .map(|(key, row)| change(key, row))
            .collect();
        let mask: BooleanArray = changes
            .iter()
            .map(|change| Some(change.is_some()))
            .collect();
        if mask.true_count() == 0 {
            return Ok(());
        }
        let batch = filter_record_batch(&digested.batch, &mask).map_err(LandingError::Rows)?;
        let kept = || changes.iter().map(Option::is_some);
        let keys: Vec<_> = digested
            .keys
            .iter()
            .zip(kept())
            .filter(|(_, k)| *k)
            .map(|(d, _)| *d)
            .collect();
        let rows: Vec<_> = digested
            .rows
            .iter()
            .zip(kept())
            .filter(|(_, k)| *k)
            .map(|(d, _)| Some(*d))
            .collect();
        let key_columns = batch
            .project(&self.key_positions)
            .map_err(LandingError::Rows)?;
        self.entries.add(&keys, &rows, &key_columns)?;
        self.rows.write(&batch).await?;
        for change in changes.into_iter().flatten() {
            match change {
                Change::New => self.counts.new += 1,
                Change::Changed => self.counts.changed += 1,
            }
        }
        Ok(())
    }
}

/// What it means that a live key is not among the rows.
#[derive(Debug, Clone, Copy)]
enum Deletes {
    /// Every row of the table is compared: the key is gone.
    WhatIsNotSeen,
    /// Only some rows are compared: nothing.
    Unknown,
}

/// What a row is in comparison with its latest landed version.
#[derive(Debug, Clone, Copy)]
enum Change {
    New,
    Changed,
}

impl Change {
    fn of(before: Option<&Digest128>, row: &Digest128) -> Option<Self> {
        match before {
            None => Some(Self::New),
            Some(before) if before != row => Some(Self::Changed),
            Some(_) => None,
        }
    }
}

/// A batch with one key and one row digest per row.
struct Digested {
    batch: RecordBatch,
    keys: Vec<Digest128>,
    rows: Vec<Digest128>,
}

/// Rows of one partition in a temporary file without a name.
struct Spill {
    file: std::fs::File,
    writer: arrow::ipc::writer::StreamWriter<std::io::BufWriter<std::fs::File>>,
}

fn no_spill(error: impl std::error::Error + Send + Sync + 'static) -> LandingError {
    LandingError::Spill(Box::new(error))
}

impl Spill {
    fn new(schema: SchemaRef) -> Result<Self, LandingError> {
        let file = tempfile::tempfile().map_err(no_spill)?;
        let sink = std::io::BufWriter::new(file.try_clone().map_err(no_spill)?);
        let writer = arrow::ipc::writer::StreamWriter::try_new(sink, &schema).map_err(no_spill)?;
        Ok(Self { file, writer })
    }

    fn write(&mut self, batch: &RecordBatch) -> Result<(), LandingError> {
        self.writer.write(batch).map_err(no_spill)
    }

    fn read(mut self) -> Result<BatchStream, LandingError> {
        use std::io::Seek as _;
        self.writer.finish().map_err(no_spill)?;
        drop(self.writer);
        self.file.rewind().map_err(no_spill)?;
        let reader = arrow::ipc::reader::StreamReader::try_new_buffered(self.file, None)
            .map_err(no_spill)?;
        let batches = reader.map(|batch| {
            batch.map_err(|error| crate::source::SourceError::Protocol {
                target: "a temporary file for comparing".into(),
                reason: error.to_string(),
            })
        });
        Ok(Box::pin(futures::stream::iter(batches)))
    }
}

#[cfg(test)]
mod tests;
