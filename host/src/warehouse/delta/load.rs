//! Loading one table: from its published version to a committed one that waits to be published.
//!
//! ```text
//! published version ──apply──▶ new files ──commit (ended versions)──▶ commit (rows) ──▶ compaction
//! ```
//!
//! The commit of the rows is the last that decides: whoever finds it stamped with the same identity
//! completes the load without applying anything again. All commits before it are redone.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::Schema;
use deltalake::DeltaTable;
use deltalake::kernel::engine::arrow_conversion::TryIntoArrow as _;

use super::apply::{Application, Applied, compaction};
use super::commit::{Change, Identity, Stamp};
use super::data_file::DataFiles;
use super::delta_table::{TableFolder, version};
use super::layout::{Layout, Provenance, record_id};
use super::lookup::Lookup;
use super::publication::Published;
use super::{Delta, Landing};
use crate::contract::LoadMode;
use crate::warehouse::{TableLoad, TableLoaded, WarehouseError};

/// A Delta table of the warehouse while it is loaded.
pub(super) struct Loading {
    pub(super) folder: TableFolder,
    published: Option<DeltaTable>,
    newest: Option<DeltaTable>,
    /// Whether versions must survive a power cut.
    lasting: bool,
}

impl Loading {
    pub(super) async fn open(
        delta: &Delta,
        name: &str,
        published: Option<u64>,
    ) -> Result<Self, WarehouseError> {
        let folder = TableFolder::of(&delta.place, name)?;
        let published = match published {
            Some(version) => Some(folder.at(version).await?),
            None => None,
        };
        let newest = folder.newest(published.as_ref()).await?;
        Ok(Self {
            folder,
            published,
            newest,
            lasting: delta.lasting,
        })
    }

    /// The table of ended versions beside an `append-versions` table.
    async fn ended(
        delta: &Delta,
        rows: &Layout,
        published: Option<&Published>,
    ) -> Result<Option<(Self, Layout)>, WarehouseError> {
        let Some(record_id) = &rows.record_id else {
            return Ok(None);
        };
        let layout = Layout::ended(&rows.table, record_id);
        let version = published.and_then(|published| published.ended);
        let loading = Self::open(delta, &layout.table, version).await?;
        Ok(Some((loading, layout)))
    }

    /// The columns of the published version.
    fn published_schema(&self) -> Result<Option<Schema>, WarehouseError> {
        let Some(table) = &self.published else {
            return Ok(None);
        };
        let failed = |cause| self.folder.failed("open", cause);
        let schema = table.snapshot().map_err(failed)?.schema();
        let schema: Schema = schema
            .as_ref()
            .try_into_arrow()
            .map_err(|cause| self.folder.refused("open", cause))?;
        Ok(Some(schema))
    }

    pub(super) fn published_files(
        &self,
        layout: &Layout,
    ) -> Result<Arc<DataFiles>, WarehouseError> {
        let files = self.folder.files(self.published.as_ref(), &layout.schema)?;
        Ok(Arc::new(files))
    }

    /// The newest commit, where it was made for `identity` and was never published.
    pub(super) async fn committed(
        &self,
        identity: &Identity,
    ) -> Result<Option<Stamp>, WarehouseError> {
        let Some(newest) = &self.newest else {
            return Ok(None);
        };
        if self.published.as_ref().map(version) == Some(version(newest)) {
            return Ok(None);
        }
        let stamp = self.folder.stamp(newest).await?;
        Ok(stamp.filter(|stamp| stamp.identity == *identity))
    }

    /// Whether a commit is needed though nothing changes: the table is new, or its newest version is an
    /// orphan that other programs would read.
    fn is_unsettled(&self) -> bool {
        let published = self.published.as_ref().map(version);
        published.is_none() || published != self.newest.as_ref().map(version)
    }

    /// Commits, and then the compaction where it is due. Returns the version to publish.
    pub(super) async fn commit(
        &mut self,
        layout: &Layout,
        files: &DataFiles,
        change: Change,
        stamp: &Stamp,
    ) -> Result<u64, WarehouseError> {
        let schema = layout.schema.as_ref();
        let newest = self.newest.as_ref();
        let table = self
            .folder
            .commit(newest, files, change, schema, stamp)
            .await?;
        let files = self.folder.files(Some(&table), &layout.schema)?;
        let table = match compaction(&self.folder, layout, &files).await? {
            None => table,
            Some(change) => {
                let newest = Some(&table);
                self.folder
                    .commit(newest, &files, change, schema, stamp)
                    .await?
            }
        };
        self.newest = Some(table);
        self.settle().await
    }

    /// Makes the newest version durable and returns it.
    pub(super) async fn settle(&self) -> Result<u64, WarehouseError> {
        let Some(newest) = &self.newest else {
            return Ok(0);
        };
        if self.lasting {
            self.folder.settle(self.published.as_ref(), newest).await?;
        }
        Ok(version(newest))
    }
}

/// Loads one table of a landing and returns what the publication says of it.
pub(super) async fn load_table(
    delta: &Delta,
    landing: &Landing,
    publication: u64,
    published: Option<&Published>,
    load: TableLoad,
) -> Result<(Published, TableLoaded), WarehouseError> {
    check_identity(&load, published)?;
    let name = load.table.clone();
    let mut rows = Loading::open(delta, &name, published.map(|p| p.version)).await?;
    let (layout, notes) = Layout::of(&load, rows.published_schema()?.as_ref())?;
    let identity = identity(&load, landing, publication);
    let mut next = next(published, &load, landing);
    let stamp = match rows.committed(&identity).await? {
        Some(stamp) => {
            next.version = rows.settle().await?;
            stamp
        }
        None => {
            let files = rows.published_files(&layout)?;
            let first_id = published.map_or(1, |published| published.next_record_id);
            let made_by = made_by(&load, landing);
            let known = Arc::clone(&files);
            let folder = rows.folder.clone();
            let application = Application::new(&folder, &layout, known, made_by, first_id)?;
            let ended = Loading::ended(delta, &layout, published).await?;
            let (applied, stamp) = apply(application, ended, load, identity, notes).await?;
            let ended_changed = stamp.ended != published.and_then(|published| published.ended);
            let is_same = applied.change.is_empty() && !layout.evolved && !ended_changed;
            if !is_same || rows.is_unsettled() {
                next.version = rows.commit(&layout, &files, applied.change, &stamp).await?;
            }
            stamp
        }
    };
    next.ended = stamp.ended;
    next.next_record_id = stamp.next_record_id;
    Ok((next, stamp.loaded(name)))
}

/// Applies the rows and retractions; of an `append-versions` table, also commits which versions were ended.
async fn apply(
    application: Application<'_>,
    ended: Option<(Loading, Layout)>,
    load: TableLoad,
    identity: Identity,
    notes: Vec<String>,
) -> Result<(Applied, Stamp), WarehouseError> {
    let (rows, retractions) = (load.rows, load.retractions);
    let Some((mut beside, layout)) = ended else {
        let applied = match load.primary_key.is_empty() {
            true => application.replace_all(rows).await?,
            false => application.replace(rows, retractions).await?,
        };
        let stamp = stamped(&applied, identity, None, notes);
        return Ok((applied, stamp));
    };
    let files = beside.published_files(&layout)?;
    let lookup = Lookup::of(&beside.folder, &layout, Arc::clone(&files));
    let mut applied = application.append(rows, retractions, &lookup).await?;
    let published = beside.published.as_ref().map(version);
    let mut stamp = stamped(&applied, identity, published, notes);
    let change = std::mem::take(&mut applied.ended);
    if beside.is_unsettled() || !change.is_empty() {
        stamp.ended = Some(beside.commit(&layout, &files, change, &stamp).await?);
    }
    Ok((applied, stamp))
}

pub(super) fn identity(load: &TableLoad, landing: &Landing, publication: u64) -> Identity {
    Identity {
        publication,
        source: landing.source.clone(),
        landing: landing.number,
        transform_run: load.transform_run.clone(),
        module: load.module.digest,
        rebuild: None,
    }
}

fn made_by(load: &TableLoad, landing: &Landing) -> Provenance {
    Provenance {
        run: load.transform_run.clone(),
        module: load.module.clone(),
        source: landing.source.clone(),
        landing: i64::try_from(landing.number).unwrap_or(i64::MAX),
        logical_time: landing.logical_time.timestamp_micros(),
    }
}

fn stamped(applied: &Applied, identity: Identity, ended: Option<u64>, notes: Vec<String>) -> Stamp {
    Stamp {
        identity,
        ended,
        next_record_id: applied.next_record_id,
        inserted: applied.inserted,
        updated: applied.updated,
        removed: applied.removed,
        unchanged: applied.unchanged,
        notes,
        // Told when it is committed.
        files: None,
    }
}

/// What the publication says of the table when nothing changes but the ledger.
pub(super) fn next(
    published: Option<&Published>,
    load: &TableLoad,
    landing: &Landing,
) -> Published {
    let mut through: BTreeMap<String, u64> = published
        .map(|published| published.through.clone())
        .unwrap_or_default();
    through.insert(landing.source.clone(), landing.number);
    Published {
        version: published.map_or(0, |published| published.version),
        ended: published.and_then(|published| published.ended),
        mode: load.mode,
        primary_key: load.primary_key.clone(),
        record_id: record_id(load),
        next_record_id: published.map_or(1, |published| published.next_record_id),
        alias: load.alias.clone(),
        module: load.module.clone(),
        transform_run: load.transform_run.clone(),
        through,
        rebuilt: published.and_then(|published| published.rebuilt),
    }
}

/// What a table is cannot change: its history would mean something else.
fn check_identity(load: &TableLoad, published: Option<&Published>) -> Result<(), WarehouseError> {
    let Some(published) = published else {
        return Ok(());
    };
    let changed = |what: &str, was: &str, is: &str| {
        Err(WarehouseError::Table {
            table: load.table.clone(),
            problem: format!("has {what} {was}, and the module says {is}"),
        })
    };
    if load.mode != published.mode {
        let (was, is) = (published.mode.to_string(), load.mode.to_string());
        return changed("the load mode", &was, &is);
    }
    if load.primary_key != published.primary_key {
        let (was, is) = (
            published.primary_key.join(", "),
            load.primary_key.join(", "),
        );
        return changed("the key", &was, &is);
    }
    match (&published.record_id, record_id(load)) {
        (Some(was), Some(is)) if load.mode == LoadMode::AppendVersions && *was != is => {
            changed("the record id", was, &is)
        }
        _ => Ok(()),
    }
}
