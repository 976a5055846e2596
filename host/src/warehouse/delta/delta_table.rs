//! One Delta table: its versions, and a commit that is exactly what a load means.
//!
//! A commit is written as the difference between the newest version and what the table must hold: the
//! published files that stay, plus the new ones. So a version that some host wrote and never published
//! is undone and replaced in the same commit, and nothing of it is ever seen. The commit is tried once,
//! on the version it was computed for; another writer in between is a conflict, never a retry on top of it.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use arrow::datatypes::Schema;
use deltalake::kernel::transaction::{
    CommitBuilder, CommitProperties, TableReference, TransactionError,
};
use deltalake::kernel::{Action, Transaction};
use deltalake::logstore::get_actions;
use deltalake::{DeltaResult, DeltaTable, DeltaTableError};
use url::Url;

use super::commit::{Change, Stamp, definition, file_actions};
use super::data_file::{DataFile, DataFiles};
use super::failure;
use super::location::{Bucket, Location};
use crate::numbers;
use crate::warehouse::WarehouseError;

/// The key in Delta's commit information that holds a [`Stamp`].
const STAMP: &str = "tidemill";

/// The folder of one Delta table, or what stands for one in a bucket.
#[derive(Debug, Clone)]
pub(super) struct TableFolder {
    place: Location,
    url: Url,
}

impl TableFolder {
    /// The table `name` of the warehouse in `warehouse`. Nothing is touched.
    pub(super) fn of(warehouse: &Location, name: &str) -> Result<Self, WarehouseError> {
        let place = warehouse.join(name);
        let url = place.url()?;
        Ok(Self { place, url })
    }

    /// Where the table is.
    pub(super) fn place(&self) -> &Location {
        &self.place
    }

    /// The table at a version that was published.
    ///
    /// # Errors
    /// `Data` when it is not the version that was committed.
    pub(super) async fn at(&self, version: u64) -> Result<DeltaTable, WarehouseError> {
        let failed = |cause| self.failed("open", cause);
        let mut table = self.place.table(&self.url).map_err(failed)?;
        table.load_version(version).await.map_err(failed)?;
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
            record: self.place.to_string(),
            cause: reason.into(),
        }
    }

    /// The newest version, published or not; `None` when the table does not exist.
    pub(super) async fn newest(
        &self,
        published: Option<&DeltaTable>,
    ) -> Result<Option<DeltaTable>, WarehouseError> {
        let path = match &self.place {
            Location::Bucket(bucket) => return self.newest_object(bucket, published).await,
            Location::Folder(path) => path,
        };
        if let Some(published) = published {
            let newest = published.get_latest_version().await;
            if newest.map_err(|cause| self.failed("open", cause))? == version(published) {
                return Ok(Some(published.clone()));
            }
        }
        fs::create_dir_all(path).map_err(|cause| self.unavailable(cause))?;
        let mut table = self
            .place
            .table(&self.url)
            .map_err(|cause| self.failed("open", cause))?;
        let exists = table.verify_deltatable_existence().await;
        if !exists.map_err(|cause| self.failed("open", cause))? {
            return Ok(None);
        }
        let loaded = table.load().await;
        loaded.map_err(|cause| self.failed("open", cause))?;
        Ok(Some(table))
    }

    /// The same in a bucket: commits are asked for by their numbers, and no listing is trusted.
    async fn newest_object(
        &self,
        bucket: &Bucket,
        published: Option<&DeltaTable>,
    ) -> Result<Option<DeltaTable>, WarehouseError> {
        // Versions begin at 0, and numbers at 1.
        let exists = |number: u64| async move {
            let entry = format!("_delta_log/{:020}.json", number.saturating_sub(1));
            let found = bucket.join(&entry).exists().await;
            found.map_err(|cause| self.refused("open", cause))
        };
        let known = published.map_or(0, |published| version(published) + 1);
        let newest = numbers::newest(known, 0, exists).await?;
        if newest == known {
            return Ok(published.cloned());
        }
        let failed = |cause| self.failed("open", cause);
        let mut table = self.place.table(&self.url).map_err(failed)?;
        table.load_version(newest - 1).await.map_err(failed)?;
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
                let file = DataFile::of(&view, &self.place);
                if file.add.deletion_vector.is_some() {
                    return Err(WarehouseError::Table {
                        table: self.place.to_string(),
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
            None => self.place.table(&self.url).map_err(failed)?,
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

    /// Makes the commits after `before` up to `table`'s version survive a power cut, with their files. What is in a
    /// bucket does.
    pub(super) async fn settle(
        &self,
        before: Option<&DeltaTable>,
        table: &DeltaTable,
    ) -> Result<(), WarehouseError> {
        let Location::Folder(path) = &self.place else {
            return Ok(());
        };
        let known = before
            .map(paths)
            .transpose()
            .map_err(|c| self.failed("open", c))?;
        let known = known.unwrap_or_default();
        let files = paths(table).map_err(|cause| self.failed("open", cause))?;
        let log = path.join("_delta_log");
        let mut names: Vec<PathBuf> = files
            .difference(&known)
            .map(|file| path.join(file))
            .collect();
        for number in before.map_or(0, |before| version(before) + 1)..=version(table) {
            names.push(log.join(format!("{number:020}.json")));
            names.push(log.join(format!("{number:020}.checkpoint.parquet")));
        }
        names.extend([log.join("_last_checkpoint"), log, path.clone()]);
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
                target: self.place.to_string(),
            },
            // It is what is left of an answer that a store did not give.
            DeltaTableError::Generic(text) if matches!(self.place, Location::Bucket(_)) => {
                failure::unavailable(&self.place, action, text.into())
            }
            cause => self.refused(action, cause),
        }
    }

    /// What stops this table: the disk or the store, or files that are not what they were.
    pub(super) fn refused(
        &self,
        action: &str,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> WarehouseError {
        failure::of(&self.place, action, cause.into())
    }

    fn unavailable(&self, cause: io::Error) -> WarehouseError {
        failure::unavailable(&self.place, "write", cause.into())
    }
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
