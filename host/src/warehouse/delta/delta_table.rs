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

use arrow::datatypes::Schema;
use deltalake::kernel::transaction::{
    CommitBuilder, CommitProperties, TableReference, TransactionError,
};
use deltalake::kernel::{Action, Transaction};
use deltalake::logstore::get_actions;
use deltalake::{DeltaResult, DeltaTable, DeltaTableBuilder, DeltaTableError};
use url::Url;

use super::commit::{Change, Stamp, definition, file_actions};
use super::data_file::{DataFile, DataFiles};
use crate::warehouse::WarehouseError;

/// The key in Delta's commit information that holds a [`Stamp`].
const STAMP: &str = "tidemill";

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
        let (definition, operation) =
            definition(&self.url, newest, schema, &change, &files).map_err(failed)?;
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
