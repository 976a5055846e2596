//! One Delta table: its versions, and a commit that is exactly what a load means.
//!
//! A commit is written as the difference between the newest version and what the table must hold: the
//! published files that stay, plus the new ones. So a version that some host wrote and never published
//! is undone and replaced in the same commit, and nothing of it is ever seen. The commit is tried once,
//! on the version it was computed for; another writer in between is a conflict, never a retry on top of it.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use deltalake::kernel::engine::arrow_conversion::TryIntoKernel as _;
use deltalake::kernel::transaction::{
    CommitBuilder, CommitProperties, TableReference, TransactionError,
};
use deltalake::kernel::{
    Action, Add, MetadataExt as _, Protocol, Remove, StructType, Transaction, new_metadata,
};
use deltalake::logstore::get_actions;
use deltalake::protocol::{DeltaOperation, SaveMode};
use deltalake::{DeltaResult, DeltaTable, DeltaTableBuilder, DeltaTableError};
use serde::{Deserialize, Serialize};
use url::Url;

use super::data_file::{DataFile, DataFiles};
use crate::digest::Digest;
use crate::run::RunId;
use crate::warehouse::{TableLoaded, WarehouseError};

/// The key in Delta's commit information that holds a [`Stamp`].
const STAMP: &str = "tidemill";

/// After how many commits the log is summed up in a checkpoint. Whoever opens a table reads the newest checkpoint
/// and the commits since; Delta's own default of 100 makes every load read up to a hundred small files a table.
const CHECKPOINTS: (&str, &str) = ("delta.checkpointInterval", "10");

/// What a commit is part of: two commits with the same identity have the same content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    /// The publication that is to name the commit: it is built on the one before.
    pub(super) publication: u64,
    pub(super) source: String,
    pub(super) landing: u64,
    pub(super) transform_run: RunId,
    pub(super) module: Digest,
}

/// What a commit says of itself, so that whoever completes its load need not do it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stamp {
    pub(super) identity: Identity,
    /// The version of the table of ended versions that belongs to it.
    pub(super) ended: Option<u64>,
    pub(super) next_record_id: i64,
    pub(super) inserted: u64,
    pub(super) updated: u64,
    pub(super) removed: u64,
    pub(super) unchanged: u64,
    pub(super) notes: Vec<String>,
    /// The data files of the version that the commit made. A log whose entries were emptied or lost gives another
    /// number; without it such a table would be read as one with fewer rows.
    #[serde(default)]
    pub(super) files: Option<usize>,
}

impl Stamp {
    /// The report of the load that made the commit.
    pub(super) fn loaded(&self, table: String) -> TableLoaded {
        TableLoaded {
            table,
            already: false,
            inserted: self.inserted,
            updated: self.updated,
            removed: self.removed,
            unchanged: self.unchanged,
            notes: self.notes.clone(),
        }
    }
}

/// What a commit changes, relative to the published version.
#[derive(Debug, Default)]
pub(super) struct Change {
    /// New files.
    pub(super) added: Vec<Add>,
    /// Indexes of published files that go.
    pub(super) dropped: HashSet<usize>,
    /// Whether the rows stay the same and only the files change.
    pub(super) is_compaction: bool,
}

impl Change {
    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.dropped.is_empty()
    }
}

/// The folder of one Delta table.
#[derive(Debug, Clone)]
pub(super) struct TableFolder {
    path: PathBuf,
    url: Url,
}

impl TableFolder {
    /// The table `name` of the warehouse in `warehouse`, an absolute path. Nothing is touched.
    pub(super) fn of(warehouse: &Path, name: &str) -> Result<Self, WarehouseError> {
        let path = warehouse.join(name);
        let url = Url::from_directory_path(&path).map_err(|()| WarehouseError::Url {
            url: path.display().to_string(),
            reason: "it is not an absolute path".into(),
        })?;
        Ok(Self { path, url })
    }

    /// The folder that the table is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The table at a version that was published.
    ///
    /// # Errors
    /// `Data` when it is not the version that was committed.
    pub(super) async fn at(&self, version: u64) -> Result<DeltaTable, WarehouseError> {
        let failed = |cause| self.failed("open", cause);
        let table = DeltaTableBuilder::from_url(self.url.clone())
            .map(|builder| builder.with_version(version))
            .map_err(failed)?
            .load()
            .await
            .map_err(failed)?;
        let Some(stamp) = self.stamp(&table).await? else {
            return Err(self.damaged(format!(
                "version {version} of its log says nothing of its commit"
            )));
        };
        let found = table.snapshot().map_err(failed)?.log_data().iter().count();
        match stamp.files {
            Some(files) if files != found => Err(self.damaged(format!(
                "version {version} has {found} files where {files} were committed"
            ))),
            _ => Ok(table),
        }
    }

    fn damaged(&self, reason: String) -> WarehouseError {
        WarehouseError::Damaged {
            record: self.path.display().to_string(),
            cause: reason.into(),
        }
    }

    /// The newest version, published or not; `None` when the table does not exist.
    pub(super) async fn newest(
        &self,
        published: Option<&DeltaTable>,
    ) -> Result<Option<DeltaTable>, WarehouseError> {
        if let Some(published) = published {
            let newest = published.get_latest_version().await;
            if newest.map_err(|cause| self.failed("open", cause))? == version(published) {
                return Ok(Some(published.clone()));
            }
        }
        fs::create_dir_all(&self.path).map_err(|cause| self.unavailable(cause))?;
        let mut table = DeltaTableBuilder::from_url(self.url.clone())
            .and_then(DeltaTableBuilder::build)
            .map_err(|cause| self.failed("open", cause))?;
        let exists = table.verify_deltatable_existence().await;
        if !exists.map_err(|cause| self.failed("open", cause))? {
            return Ok(None);
        }
        let loaded = table.load().await;
        loaded.map_err(|cause| self.failed("open", cause))?;
        Ok(Some(table))
    }

    /// The data files of a version.
    pub(super) fn files(
        &self,
        table: Option<&DeltaTable>,
        schema: &Arc<Schema>,
    ) -> Result<DataFiles, WarehouseError> {
        let mut files = Vec::new();
        if let Some(table) = table {
            let snapshot = table
                .snapshot()
                .map_err(|cause| self.failed("open", cause))?;
            for view in snapshot.log_data().iter() {
                let file = DataFile::of(&view, &self.path);
                if file.add.deletion_vector.is_some() {
                    return Err(WarehouseError::Table {
                        table: self.path.display().to_string(),
                        problem: "has deletion vectors, which another program wrote".into(),
                    });
                }
                files.push(file);
            }
        }
        Ok(DataFiles {
            files,
            schema: Arc::clone(schema),
        })
    }

    /// What the commit that made this version of `table` says of itself; `None` when it is not ours.
    ///
    /// Read from the log itself: `DeltaTable::history` answers with whatever commit is newest by now, and with
    /// nothing when the folder's name needs escaping.
    pub(super) async fn stamp(&self, table: &DeltaTable) -> Result<Option<Stamp>, WarehouseError> {
        let failed = |cause| self.failed("read the log", cause);
        let version = version(table);
        let log = table.log_store();
        let Some(entry) = log.read_commit_entry(version).await.map_err(failed)? else {
            return Ok(None);
        };
        let stamp = get_actions(version, &entry)
            .map_err(failed)?
            .into_iter()
            .find_map(|action| match action {
                Action::CommitInfo(commit) => commit.info.get(STAMP).cloned(),
                _ => None,
            });
        Ok(stamp.and_then(|stamp| serde_json::from_value(stamp).ok()))
    }

    /// Commits `change` to `published` as the version after `newest` and returns the table as it is then.
    ///
    /// # Errors
    /// `Conflict` when `newest` is not the newest any more; nothing was written to the log then.
    pub(super) async fn commit(
        &self,
        newest: Option<&DeltaTable>,
        published: &DataFiles,
        change: Change,
        schema: &Schema,
        stamp: &Stamp,
    ) -> Result<DeltaTable, WarehouseError> {
        let failed = |cause| self.failed("write", cause);
        let mut table = match newest {
            Some(newest) => newest.clone(),
            None => DeltaTableBuilder::from_url(self.url.clone())
                .and_then(DeltaTableBuilder::build)
                .map_err(failed)?,
        };
        let files = file_actions(newest, published, &change).map_err(failed)?;
        let (definition, operation) = self
            .definition(newest, schema, &change, &files)
            .map_err(failed)?;
        let actions = definition.into_iter().chain(files).collect();
        let stamp = Stamp {
            files: Some(published.files.len() - change.dropped.len() + change.added.len()),
            ..stamp.clone()
        };
        let stamped = serde_json::to_value(&stamp).map_err(|cause| self.refused("write", cause))?;
        let landing = i64::try_from(stamp.identity.landing).unwrap_or(i64::MAX);
        let application = format!("tidemill/{}", stamp.identity.source);
        let properties = CommitProperties::default()
            .with_metadata([(STAMP.to_owned(), stamped)])
            .with_application_transaction(Transaction::new(application, landing))
            // The version that a publication names may be older than Delta's retention.
            .with_cleanup_expired_logs(Some(false))
            .with_max_retries(0);
        let state = newest
            .map(DeltaTable::snapshot)
            .transpose()
            .map_err(failed)?;
        let version = CommitBuilder::from(properties)
            .with_actions(actions)
            .build(
                state.map(|state| state as &dyn TableReference),
                table.log_store(),
                operation,
            )
            .await
            .map_err(failed)?
            .version();
        table
            .update_incremental(Some(version))
            .await
            .map_err(failed)?;
        Ok(table)
    }

    /// The schema and the protocol where the commit must state them, and what Delta calls the operation.
    fn definition(
        &self,
        newest: Option<&DeltaTable>,
        schema: &Schema,
        change: &Change,
        files: &[Action],
    ) -> DeltaResult<(Vec<Action>, DeltaOperation)> {
        let wanted: StructType = schema.try_into_kernel()?;
        let Some(newest) = newest else {
            // Log files of versions that a publication names must stay.
            let settings = [("delta.enableExpiredLogCleanup", "false"), CHECKPOINTS];
            let metadata = new_metadata(&wanted, Vec::<String>::new(), settings)?;
            let protocol = protocol(schema)?;
            let operation = DeltaOperation::Create {
                mode: SaveMode::ErrorIfExists,
                location: self.url.clone(),
                protocol: protocol.clone(),
                metadata: metadata.clone(),
            };
            return Ok((vec![protocol.into(), metadata.into()], operation));
        };
        let state = newest.snapshot()?;
        let mut actions = Vec::new();
        let (name, value) = CHECKPOINTS;
        let evolves = *state.schema() != wanted;
        // Of a table that an earlier version made.
        let has_few_checkpoints = !state.metadata().configuration().contains_key(name);
        if evolves && has_local_timestamps(schema) && state.protocol().min_reader_version() < 3 {
            actions.push(protocol(schema)?.into());
        }
        if evolves || has_few_checkpoints {
            let metadata = state.metadata().clone().with_schema(&wanted)?;
            let metadata = metadata.add_config_key(name.to_owned(), value.to_owned())?;
            actions.push(metadata.into());
        }
        let operation = if change.is_compaction {
            DeltaOperation::Optimize {
                predicate: None,
                target_size: super::write::TARGET_FILE_BYTES.cast_signed(),
            }
        } else {
            let replaces = files
                .iter()
                .any(|action| matches!(action, Action::Remove(_)));
            DeltaOperation::Write {
                mode: if replaces {
                    SaveMode::Overwrite
                } else {
                    SaveMode::Append
                },
                partition_by: None,
                predicate: None,
            }
        };
        Ok((actions, operation))
    }

    /// Makes the commits after `before` up to `table`'s version survive a power cut, with their files.
    pub(super) async fn settle(
        &self,
        before: Option<&DeltaTable>,
        table: &DeltaTable,
    ) -> Result<(), WarehouseError> {
        let known = before
            .map(paths)
            .transpose()
            .map_err(|c| self.failed("open", c))?;
        let known = known.unwrap_or_default();
        let files = paths(table).map_err(|cause| self.failed("open", cause))?;
        let log = self.path.join("_delta_log");
        let mut names: Vec<PathBuf> = files
            .difference(&known)
            .map(|path| self.path.join(path))
            .collect();
        for number in before.map_or(0, |before| version(before) + 1)..=version(table) {
            names.push(log.join(format!("{number:020}.json")));
            names.push(log.join(format!("{number:020}.checkpoint.parquet")));
        }
        names.extend([log.join("_last_checkpoint"), log, self.path.clone()]);
        match tokio::task::spawn_blocking(move || sync(&names)).await {
            Ok(synced) => synced.map_err(|cause| self.unavailable(cause)),
            Err(cause) => Err(self.refused("write", cause)),
        }
    }

    /// What a failure of deltalake means to the operator.
    pub(super) fn failed(&self, action: &str, cause: DeltaTableError) -> WarehouseError {
        match cause {
            DeltaTableError::VersionAlreadyExists(_)
            | DeltaTableError::Transaction {
                source:
                    TransactionError::MaxCommitAttempts(_)
                    | TransactionError::CommitConflict(_)
                    | TransactionError::VersionAlreadyExists(_),
            } => WarehouseError::Conflict {
                target: self.path.display().to_string(),
            },
            cause => self.refused(action, cause),
        }
    }

    /// What stops this table: the disk, or files that are not what they were. Nothing here depends on settings.
    pub(super) fn refused(
        &self,
        action: &str,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> WarehouseError {
        let cause = cause.into();
        let path = self.path.display().to_string();
        match disk_error(cause.as_ref()) {
            Some(kind) if kind != io::ErrorKind::NotFound => WarehouseError::Folder {
                path,
                action: action.to_owned(),
                cause,
            },
            _ => WarehouseError::Damaged {
                record: path,
                cause,
            },
        }
    }

    fn unavailable(&self, cause: io::Error) -> WarehouseError {
        WarehouseError::Folder {
            path: self.path.display().to_string(),
            action: "write".into(),
            cause: cause.into(),
        }
    }
}

/// What the disk said, where that is what is at the bottom of an error.
fn disk_error(error: &(dyn std::error::Error + 'static)) -> Option<io::ErrorKind> {
    let mut error = Some(error);
    while let Some(cause) = error {
        if let Some(disk) = cause.downcast_ref::<io::Error>() {
            return Some(disk.kind());
        }
        error = cause.source();
    }
    None
}

/// Waits until the disk has the files. One that does not exist is none: few versions have a checkpoint.
fn sync(names: &[PathBuf]) -> io::Result<()> {
    for name in names {
        match fs::File::open(name).and_then(|file| file.sync_all()) {
            Err(cause) if cause.kind() != io::ErrorKind::NotFound => return Err(cause),
            Ok(()) | Err(_) => {}
        }
    }
    Ok(())
}

/// The version of a table that is loaded.
pub(super) fn version(table: &DeltaTable) -> u64 {
    table.version().unwrap_or_default()
}

/// The data files that a version names.
pub(super) fn paths(table: &DeltaTable) -> DeltaResult<HashSet<String>> {
    let snapshot = table.snapshot()?;
    Ok(snapshot
        .log_data()
        .iter()
        .map(|view| view.path().into_owned())
        .collect())
}

/// From the newest version's files to the published ones that stay and the new ones.
fn file_actions(
    newest: Option<&DeltaTable>,
    published: &DataFiles,
    change: &Change,
) -> DeltaResult<Vec<Action>> {
    let data_change = !change.is_compaction;
    let staying: Vec<&DataFile> = published
        .files
        .iter()
        .enumerate()
        .filter(|(index, _)| !change.dropped.contains(index))
        .map(|(_, file)| file)
        .collect();
    let wanted: HashSet<&str> = staying.iter().map(|file| file.add.path.as_str()).collect();
    let mut there = HashSet::new();
    let mut actions: Vec<Action> = Vec::new();
    if let Some(newest) = newest {
        for view in newest.snapshot()?.log_data().iter() {
            let path = view.path().into_owned();
            if !wanted.contains(path.as_str()) {
                actions.push(Remove::into(view.remove_action(data_change)));
            }
            there.insert(path);
        }
    }
    let restored = staying
        .into_iter()
        .filter(|file| !there.contains(&file.add.path))
        .map(|file| file.add.clone());
    let added = change.added.iter().cloned().map(|mut add| {
        add.data_change = data_change;
        add
    });
    actions.extend(restored.chain(added).map(Action::Add));
    Ok(actions)
}

/// The oldest protocol that can hold the columns, so that most readers can read the table.
fn protocol(schema: &Schema) -> DeltaResult<Protocol> {
    let protocol = if has_local_timestamps(schema) {
        serde_json::json!({
            "minReaderVersion": 3,
            "minWriterVersion": 7,
            "readerFeatures": ["timestampNtz"],
            "writerFeatures": ["timestampNtz"],
        })
    } else {
        serde_json::json!({ "minReaderVersion": 1, "minWriterVersion": 2 })
    };
    Ok(serde_json::from_value(protocol)?)
}

fn has_local_timestamps(schema: &Schema) -> bool {
    schema
        .fields()
        .iter()
        .any(|field| matches!(field.data_type(), DataType::Timestamp(_, None)))
}
