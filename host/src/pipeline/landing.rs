//! The landing of one table in the making: which rows are kept, and the objects they are written to.
//!
//! ```text
//! batches ──digest──▶ compare with the index ──▶ part-*.parquet      rows that are new or differ
//!                                            ──▶ deletes-*.parquet   keys that are gone
//!                                            ──▶ index-*.parquet     their digests
//! ```

mod digested;
mod spill;

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use self::digested::{Digested, DigestedStream};
use self::spill::Spill;
use super::index::{DigestMap, Index, Sorter};
use super::rows::{Digest128, Digester, RowsError};
use super::temporary::Disk;
use crate::error::{Classify, ErrorKind, Result};
use crate::manifest::{IndexSegment, Object};
use crate::source::BatchStream;
use crate::table::Table;
use crate::zone::Zone;
use crate::zone::parquet::PartWriter;

/// Candidate rows that are looked up in the index at a time. Their rows are held meanwhile, so this bounds
/// memory: 65 536 rows of a fact are some 10 MB, and a look-up reads each object of the index at most once.
const LOOK_UP_ROWS: usize = 1 << 16;

/// Bytes of candidate rows after which no more are held: rows may have texts of megabytes.
const LOOK_UP_BYTES: usize = 64 * 1024 * 1024;

/// Keys in one partition of a full compare: some 40 to 70 MB of digests.
const PARTITION_KEYS: u64 = 1_000_000;

/// Batches that are digested before the first of them is taken: one while another is compared and written.
const DIGESTS_AHEAD: usize = 2;

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
    /// The thread that made digests ended without an answer.
    #[error("the digests of some rows could not be made")]
    Lost(#[source] tokio::task::JoinError),
    /// A temporary file could not be used.
    #[error("a temporary file for comparing could not be used")]
    Spill(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Classify for LandingError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::DuplicateKey => ErrorKind::Data,
            Self::Rows(_) | Self::Lost(_) => ErrorKind::Bug,
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
            Self::Rows(_) | Self::Lost(_) => None,
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
    digester: Arc<Digester>,
    key_positions: Vec<usize>,
    key_schema: SchemaRef,
    index: Index,
    rows: PartWriter,
    gone: PartWriter,
    entries: Sorter,
    counts: Counts,
    /// Whether a row is landed although its digest is the landed one.
    anew: bool,
    /// Where rows and entries go that are too many for memory.
    disk: Disk,
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
        let digester = Arc::new(Digester::new(&schema, &table.key)?);
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
            disk: Disk::of(None),
            progress,
        })
    }

    /// The same landing with its temporary files on this disk.
    pub(crate) fn within(mut self, disk: &Disk) -> Self {
        self.entries.set_disk(disk);
        self.disk = disk.clone();
        self
    }

    /// Lands every row, also one whose digest was landed before: the digest was made of other types. What was
    /// landed before is void then, except for telling which keys are new and which are gone.
    pub(crate) fn land_anew(&mut self) {
        self.anew = true;
    }

    /// Lands every row of a table that has not been landed before.
    pub(crate) async fn land_all(&mut self, batches: BatchStream) -> Result<()> {
        let mut batches = self.digested(batches);
        while let Some(digested) = batches.try_next().await? {
            self.read(&digested);
            self.keep_all(&digested).await?;
            self.counts.new += digested.keys.len() as u64;
        }
        Ok(())
    }

    /// Lands those of some candidate rows that differ from their latest landed version.
    ///
    /// A few are looked up in the index; from [`LOOK_UP_ROWS`] or [`LOOK_UP_BYTES`] on they are compared with the
    /// whole of it.
    pub(crate) async fn land_candidates(&mut self, batches: BatchStream) -> Result<()> {
        let mut batches = self.digested(batches);
        let mut held: Vec<Digested> = Vec::new();
        let (mut held_rows, mut held_bytes) = (0, 0);
        while let Some(digested) = batches.try_next().await? {
            held_rows += digested.keys.len();
            held_bytes += digested.batch.get_array_memory_size();
            held.push(digested);
            if held_rows >= LOOK_UP_ROWS || held_bytes >= LOOK_UP_BYTES {
                let held = stream::iter(held.into_iter().map(Ok));
                let all = held.chain(batches).boxed();
                return self.compare(all, Deletes::Unknown).await;
            }
        }
        for digested in &held {
            self.read(digested);
        }
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
        let batches = self.digested(batches);
        self.compare(batches, Deletes::WhatIsNotSeen).await
    }

    async fn compare(&mut self, mut batches: DigestedStream, deletes: Deletes) -> Result<()> {
        let wanted = self.index.rows().div_ceil(PARTITION_KEYS);
        let partitions = usize::try_from(wanted)
            .unwrap_or(PARTITIONS)
            .clamp(1, PARTITIONS);
        if partitions == 1 {
            let mut live = self.index.partition(0, 1).await?;
            while let Some(digested) = batches.try_next().await? {
                self.read(&digested);
                self.keep_differences(&digested, &mut live).await?;
            }
            return self.delete_rest(live, deletes).await;
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
        mut batches: DigestedStream,
        partition: usize,
        partitions: usize,
        deletes: Deletes,
    ) -> Result<()> {
        let mut live = self.index.partition(partition, partitions).await?;
        while let Some(digested) = batches.try_next().await? {
            self.keep_differences(&digested, &mut live).await?;
        }
        self.delete_rest(live, deletes).await
    }

    /// Takes the keys of a batch out of `live`, and keeps the rows that differ from what is there.
    async fn keep_differences(&mut self, digested: &Digested, live: &mut DigestMap) -> Result<()> {
        let anew = self.anew;
        self.keep(digested, |key, row| {
            let before = live.remove(key);
            let same = (anew && before.is_some()).then_some(Change::Changed);
            Change::of(before.as_ref(), row).or(same)
        })
        .await
    }

    async fn delete_rest(&mut self, live: DigestMap, deletes: Deletes) -> Result<()> {
        match deletes {
            Deletes::WhatIsNotSeen => self.delete(live).await,
            Deletes::Unknown => Ok(()),
        }
    }

    /// Cuts the rows into partitions of the key digest, each in a temporary file.
    async fn spill(
        &mut self,
        mut batches: DigestedStream,
        partitions: usize,
    ) -> Result<Vec<DigestedStream>> {
        let mut spills = (0..partitions)
            .map(|_| Spill::new(self.rows.schema(), &self.disk))
            .collect::<Result<Vec<_>, _>>()?;
        while let Some(digested) = batches.try_next().await? {
            self.read(&digested);
            for (partition, part) in digested.partitioned(partitions)? {
                if let Some(spill) = spills.get_mut(partition) {
                    spill.write(&part)?;
                }
            }
        }
        spills.into_iter().map(|spill| Ok(spill.read()?)).collect()
    }

    async fn delete(&mut self, gone: DigestMap) -> Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        let gone: HashSet<Digest128> = gone.into_keys().collect();
        for keys in self.index.keys_of(gone).await? {
            let digests = Digester::new(keys.schema_ref(), &self.key_names())?.keys(&keys)?;
            self.entries.add(&digests, None, &keys)?;
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
        batches: BatchStream,
        before: Option<&str>,
    ) -> Result<Landed> {
        let mut sum = 0_u128;
        let mut batches = self.digested(batches);
        while let Some(digested) = batches.try_next().await? {
            self.read(&digested);
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

    /// The batches with their digests, which are made on threads for such work.
    fn digested(&self, batches: BatchStream) -> DigestedStream {
        let digester = self.digester.clone();
        batches
            .map(move |batch| {
                let digester = digester.clone();
                async move {
                    let batch = batch?;
                    tokio::task::spawn_blocking(move || Digested::new(&digester, batch))
                        .await
                        .map_err(LandingError::Lost)?
                }
            })
            .buffered(DIGESTS_AHEAD)
            .boxed()
    }

    /// Counts the rows of a batch that the source sent.
    fn read(&mut self, digested: &Digested) {
        let rows = digested.keys.len() as u64;
        self.counts.read += rows;
        (self.progress)(rows, digested.batch.get_array_memory_size() as u64);
    }

    async fn keep_all(&mut self, digested: &Digested) -> Result<()> {
        let key_columns = digested
            .batch
            .project(&self.key_positions)
            .map_err(LandingError::Rows)?;
        self.entries
            .add(&digested.keys, Some(&digested.rows), &key_columns)?;
        Ok(self.rows.write(&digested.batch).await?)
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
        let kept = changes.iter().filter(|change| change.is_some()).count();
        if kept == 0 {
            return Ok(());
        }
        if kept == changes.len() {
            self.keep_all(digested).await?;
        } else {
            self.keep_all(&digested.filtered(&changes)?).await?;
        }
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

#[cfg(test)]
mod tests;
