//! The load modes: what the rows and retractions of a landing change in one table.
//!
//! ```text
//!                   row of a new key   row that differs              equal row   retracted key
//! upsert            written            written, the old one dropped  nothing     dropped
//! overwrite         written            written, the old one dropped  nothing     – every key not given: dropped
//! append-versions   written            written                       nothing     its latest version is ended
//! scd2              written            written, the open one closed  nothing     the open one closed
//! ```
//!
//! An `overwrite` table without a key is written anew, for nothing tells which of its rows is which.
//!
//! All lookups are made against the published version; no key comes twice, so what a chunk writes does not
//! matter to the next. Only files that lose rows are written again.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{BooleanArray, Int64Array, RecordBatch};
use arrow::compute::filter_record_batch;

use super::chunks::Chunks;
use super::commit::Change;
use super::data_file::{DataFile, DataFiles, Pick, Place};
use super::delta_table::TableFolder;
use super::layout::{IS_CURRENT, Layout, Provenance};
use super::lookup::Lookup;
use super::write::{Marks, Positions, WriteError, Writer};
use crate::contract::LoadMode;
use crate::warehouse::{BatchStream, WarehouseError};

/// What a load does to one table, before it is committed.
#[derive(Debug, Default)]
pub(super) struct Applied {
    pub(super) change: Change,
    /// To the table of ended versions.
    pub(super) ended: Change,
    pub(super) next_record_id: i64,
    pub(super) inserted: u64,
    pub(super) updated: u64,
    pub(super) removed: u64,
    pub(super) unchanged: u64,
}

/// One table while a landing is applied to it.
pub(super) struct Application<'a> {
    folder: &'a TableFolder,
    layout: &'a Layout,
    published: Lookup,
    made_by: Provenance,
    writer: Writer,
    /// Rows that go, or are closed, by file; for `overwrite` the rows that stay.
    marked: BTreeMap<usize, Positions>,
    applied: Applied,
}

impl<'a> Application<'a> {
    /// Begins with the published `files`; new serial numbers begin at `next_record_id`.
    pub(super) fn new(
        folder: &'a TableFolder,
        layout: &'a Layout,
        files: Arc<DataFiles>,
        made_by: Provenance,
        next_record_id: i64,
    ) -> Result<Self, WarehouseError> {
        let writer = Writer::new(folder.place(), &layout.schema);
        Ok(Self {
            folder,
            layout,
            published: Lookup::of(folder, layout, files),
            made_by,
            writer: writer.map_err(|cause| folder.refused("write", cause))?,
            marked: BTreeMap::new(),
            applied: Applied {
                next_record_id,
                ..Applied::default()
            },
        })
    }

    /// Applies rows and retractions of an `upsert`, `overwrite` or `scd2` table.
    pub(super) async fn replace(
        mut self,
        rows: BatchStream,
        retractions: BatchStream,
    ) -> Result<Applied, WarehouseError> {
        let pick = match self.layout.mode {
            LoadMode::Scd2 => Pick::Where(IS_CURRENT),
            _ => Pick::Only,
        };
        let mut chunks = Chunks::of(&self.layout.table, Arc::clone(&self.layout.output), rows);
        while let Some(rows) = chunks.next().await? {
            let found = self.published.find(rows, &pick).await?;
            let equal = self.published.equal(&found).await?;
            let mut differs = Vec::with_capacity(equal.len());
            for (place, equal) in found.places.iter().zip(equal) {
                differs.push(!equal);
                match place {
                    None => self.applied.inserted += 1,
                    Some(_) if equal => self.applied.unchanged += 1,
                    Some(_) => self.applied.updated += 1,
                }
                // An overwrite marks what stays, the others what goes.
                if let Some(place) = place
                    && equal == (self.layout.mode == LoadMode::Overwrite)
                {
                    self.mark(*place).await?;
                }
            }
            self.write(&found.rows, differs).await?;
        }
        if self.layout.mode == LoadMode::Overwrite {
            self.mark_the_others().await?;
        } else {
            self.retract(retractions, &pick).await?;
        }
        self.finish().await
    }

    /// Applies rows of an `overwrite` table without a key.
    pub(super) async fn replace_all(
        mut self,
        rows: BatchStream,
    ) -> Result<Applied, WarehouseError> {
        let mut chunks = Chunks::of(&self.layout.table, Arc::clone(&self.layout.output), rows);
        while let Some(rows) = chunks.next().await? {
            self.applied.inserted += rows.num_rows() as u64;
            self.write(&rows, vec![true; rows.num_rows()]).await?;
        }
        self.mark_the_others().await?;
        self.finish().await
    }

    /// Applies rows and retractions of an `append-versions` table.
    pub(super) async fn append(
        mut self,
        rows: BatchStream,
        retractions: BatchStream,
        ended: &Lookup,
    ) -> Result<Applied, WarehouseError> {
        let pick = Pick::Latest(self.layout.record_id.clone().unwrap_or_default());
        let mut chunks = Chunks::of(&self.layout.table, Arc::clone(&self.layout.output), rows);
        while let Some(rows) = chunks.next().await? {
            let found = self.published.find(rows, &pick).await?;
            let equal = self.published.equal(&found).await?;
            let is_ended = ended.holds(&found.places).await?;
            let is_new: Vec<bool> = equal
                .iter()
                .zip(is_ended)
                .map(|(equal, ended)| !equal || ended)
                .collect();
            let count = is_new.iter().filter(|new| **new).count() as u64;
            self.applied.inserted += count;
            self.applied.unchanged += is_new.len() as u64 - count;
            self.write(&found.rows, is_new).await?;
        }
        self.end(retractions, &pick, ended).await?;
        self.finish().await
    }

    async fn retract(
        &mut self,
        retractions: BatchStream,
        pick: &Pick,
    ) -> Result<(), WarehouseError> {
        let mut chunks = Chunks::of(&self.layout.table, self.layout.key_schema(), retractions);
        while let Some(keys) = chunks.next().await? {
            let found = self.published.find(keys, pick).await?;
            for place in found.places.into_iter().flatten() {
                self.mark(place).await?;
                self.applied.removed += 1;
            }
        }
        Ok(())
    }

    async fn end(
        &mut self,
        retractions: BatchStream,
        pick: &Pick,
        ended: &Lookup,
    ) -> Result<(), WarehouseError> {
        let refused = |cause: WriteError| ended.folder().refused("write", cause);
        let mut writer =
            Writer::new(ended.folder().place(), &ended.layout().schema).map_err(refused)?;
        let mut chunks = Chunks::of(&self.layout.table, self.layout.key_schema(), retractions);
        while let Some(keys) = chunks.next().await? {
            let found = self.published.find(keys, pick).await?;
            let is_ended = ended.holds(&found.places).await?;
            let ids: Vec<i64> = found
                .places
                .iter()
                .zip(is_ended)
                .filter(|(_, is_ended)| !is_ended)
                .filter_map(|(place, _)| place.map(|place| place.record_id))
                .collect();
            self.applied.removed += ids.len() as u64;
            let ids = RecordBatch::try_new(
                Arc::clone(&ended.layout().output),
                vec![Arc::new(Int64Array::from(ids))],
            );
            let rows = ids
                .and_then(|ids| ended.layout().complete(&ids, 0, &self.made_by))
                .map_err(|cause| refused(cause.into()))?;
            writer.write(rows).await.map_err(refused)?;
        }
        self.applied.ended.added = writer.finish().await.map_err(refused)?;
        Ok(())
    }

    async fn mark(&mut self, place: Place) -> Result<(), WarehouseError> {
        if !self.marked.contains_key(&place.file) {
            let rows = match self.published.files().files.get(place.file) {
                Some(file) => {
                    let rows = file.rows().await;
                    rows.map_err(|cause| self.folder.refused("read", cause))?
                }
                None => 0,
            };
            self.marked.insert(place.file, Positions::none(rows));
        }
        if let Some(positions) = self.marked.get_mut(&place.file) {
            positions.insert(place.row);
        }
        Ok(())
    }

    /// After an overwrite marked the rows that stay: marks the rows that go instead.
    async fn mark_the_others(&mut self) -> Result<(), WarehouseError> {
        let mut gone = 0;
        for (index, file) in self.published.files().files.iter().enumerate() {
            let staying = match self.marked.remove(&index) {
                Some(staying) => staying,
                None => {
                    let rows = file.rows().await;
                    Positions::none(rows.map_err(|cause| self.folder.refused("read", cause))?)
                }
            };
            let others = staying.inverted();
            if others.count() > 0 {
                gone += others.count() as u64;
                self.marked.insert(index, others);
            }
        }
        self.applied.removed = gone - self.applied.updated;
        Ok(())
    }

    /// Writes the rows of `wanted`, with the warehouse's own columns.
    async fn write(&mut self, rows: &RecordBatch, wanted: Vec<bool>) -> Result<(), WarehouseError> {
        let refused = |cause: WriteError| self.folder.refused("write", cause);
        let rows = filter_record_batch(rows, &BooleanArray::from(wanted))
            .map_err(|cause| refused(cause.into()))?;
        let first_id = self.applied.next_record_id;
        let rows = self
            .layout
            .complete(&rows, first_id, &self.made_by)
            .map_err(|cause| refused(cause.into()))?;
        let count = i64::try_from(rows.num_rows()).unwrap_or(i64::MAX);
        self.applied.next_record_id = first_id.saturating_add(count);
        self.writer.write(rows).await.map_err(refused)
    }

    /// Writes the files again that have marked rows, and says what the commit changes.
    async fn finish(mut self) -> Result<Applied, WarehouseError> {
        let refused = |cause: WriteError| self.folder.refused("write", cause);
        let marks = match self.layout.mode {
            LoadMode::Scd2 => Marks::Closed(self.made_by.logical_time),
            _ => Marks::Removed,
        };
        for (index, positions) in std::mem::take(&mut self.marked) {
            let Some(file) = self.published.files().files.get(index) else {
                continue;
            };
            self.applied.change.dropped.insert(index);
            let is_gone = matches!(marks, Marks::Removed) && positions.count() == positions.rows();
            if !is_gone {
                let marked = positions.into_bits();
                self.writer
                    .rewrite(file, &marked, marks)
                    .await
                    .map_err(refused)?;
            }
        }
        self.applied.change.added = self.writer.finish().await.map_err(refused)?;
        Ok(self.applied)
    }
}

/// Files smaller than this count as small.
const SMALL_FILE_BYTES: i64 = 16 * 1024 * 1024;

/// A table with more small files than this has them written into one. A landing makes one, so an hourly run
/// does this every third day. Measured on a fact of 200 000 rows, two busy cores: a landing of 20 rows costs
/// 50 ms with one file, 120 to 220 ms with 64, half a second when it compacts.
const SMALL_FILES: usize = 64;

/// The change that writes the small files of a version into one, where there are too many.
///
/// Own work instead of deltalake's `optimize`, which commits by itself and retries on top of another host's
/// commit: the version that is published must hold what this load means and nothing else.
pub(super) async fn compaction(
    folder: &TableFolder,
    layout: &Layout,
    files: &DataFiles,
) -> Result<Option<Change>, WarehouseError> {
    let mut small: Vec<(usize, &DataFile)> = files
        .files
        .iter()
        .enumerate()
        .filter(|(_, file)| file.add.size < SMALL_FILE_BYTES)
        .collect();
    if small.len() <= SMALL_FILES {
        return Ok(None);
    }
    let refused = |cause: WriteError| folder.refused("compact", cause);
    let mut writer = Writer::new(folder.place(), &layout.schema).map_err(refused)?;
    // Oldest first, so that keys that grow stay in few row groups.
    small.sort_by_key(|(_, file)| (file.add.modification_time, file.add.path.as_str()));
    for (_, file) in &small {
        let rows = file
            .rows()
            .await
            .map_err(|cause| folder.refused("compact", cause))?;
        let nothing = Positions::none(rows).into_bits();
        writer
            .rewrite(file, &nothing, Marks::Removed)
            .await
            .map_err(refused)?;
    }
    Ok(Some(Change {
        added: writer.finish().await.map_err(refused)?,
        dropped: small.into_iter().map(|(index, _)| index).collect(),
        is_compaction: true,
    }))
}
