//! Publications: numbered records that say which versions of the Delta tables belong together.
//!
//! ```text
//! <folder>/_tidemill/publications/0000000007.json      created only if absent; its creation is COMMIT 2
//! ```
//!
//! Delta has no transaction over several tables. A table's new version counts for nothing until a
//! publication names it; whoever reads takes the newest record and opens exactly the versions in it.
//! Every record is complete, so a reader needs only one. Nothing here knows Arrow or Delta's log.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::contract::{LoadMode, ModuleRef};
use crate::run::RunId;
use crate::warehouse::{Ledger, WarehouseError};

/// The format of the records this version writes, and the newest it reads.
const FORMAT: u32 = 1;

/// One publication.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Publication {
    /// The version of this format.
    pub(super) format: u32,
    /// Its number: one more than the publication it follows.
    pub(super) number: u64,
    /// The run that published.
    pub(super) run: RunId,
    /// The source of the landing that was loaded.
    pub(super) source: String,
    /// The landing that was loaded.
    pub(super) landing: u64,
    /// The logical time of that landing.
    pub(super) logical_time: DateTime<Utc>,
    /// Every table of the warehouse, also those that this landing did not touch.
    pub(super) tables: BTreeMap<String, Published>,
}

/// A table as published.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Published {
    /// The version of its Delta table.
    pub(super) version: u64,
    /// The version of the Delta table beside it that says which versions of rows were ended: `append-versions` only.
    pub(super) ended: Option<u64>,
    /// How it is loaded.
    pub(super) mode: LoadMode,
    /// The columns that identify a row.
    pub(super) primary_key: Vec<String>,
    /// The serial column: `append-versions` only.
    pub(super) record_id: Option<String>,
    /// The serial number that the next row receives.
    pub(super) next_record_id: i64,
    /// Its second name.
    pub(super) alias: Option<String>,
    /// The code that made the rows loaded last.
    pub(super) module: ModuleRef,
    /// The run that transformed them.
    pub(super) transform_run: RunId,
    /// The ledger: by source, the newest landing that is in the table.
    pub(super) through: BTreeMap<String, u64>,
    /// The ledger: the number of the rebuild that is in the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rebuilt: Option<u64>,
}

impl Publication {
    /// The record that follows `before`, with the same tables.
    pub(super) fn after(before: Option<&Self>, load: &super::Landing) -> Self {
        Self {
            format: FORMAT,
            number: before.map_or(1, |before| before.number.saturating_add(1)),
            run: load.run.clone(),
            source: load.source.clone(),
            landing: load.number,
            logical_time: load.logical_time,
            tables: before
                .map(|before| before.tables.clone())
                .unwrap_or_default(),
        }
    }

    /// What it says has been loaded.
    pub(super) fn ledger(&self) -> Ledger {
        Ledger {
            through: self
                .tables
                .iter()
                .map(|(name, table)| (name.clone(), table.through.clone()))
                .collect(),
            rebuilt: self
                .tables
                .iter()
                .filter_map(|(name, table)| Some((name.clone(), table.rebuilt?)))
                .collect(),
        }
    }
}

/// The folder of the records.
#[derive(Debug, Clone)]
pub(super) struct Publications {
    folder: PathBuf,
}

impl Publications {
    /// The records of the warehouse in `warehouse`.
    pub(super) fn of(warehouse: &Path) -> Self {
        Self {
            folder: warehouse.join("_tidemill").join("publications"),
        }
    }

    /// The newest record; `None` when nothing was ever published.
    pub(super) fn newest(&self) -> Result<Option<Publication>, WarehouseError> {
        let Some(number) = self.newest_number()? else {
            return Ok(None);
        };
        let path = self.path(number);
        let bytes = fs::read(&path).map_err(|cause| self.failed("read", cause))?;
        let damaged = |cause: Box<dyn std::error::Error + Send + Sync>| WarehouseError::Damaged {
            record: path.display().to_string(),
            cause,
        };
        let record: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|cause| damaged(cause.into()))?;
        if let Some(found) = record.get("format").and_then(serde_json::Value::as_u64)
            && found > u64::from(FORMAT)
        {
            return Err(WarehouseError::TooNew {
                record: path.display().to_string(),
                found,
                known: FORMAT,
            });
        }
        let record: Publication =
            serde_json::from_value(record).map_err(|cause| damaged(cause.into()))?;
        if record.number != number {
            return Err(damaged(
                format!("it says that it is number {}", record.number).into(),
            ));
        }
        Ok(Some(record))
    }

    /// Makes `publication` the newest, durably, or says `Conflict` when there is one of that number.
    pub(super) fn publish(&self, publication: &Publication) -> Result<(), WarehouseError> {
        match self.create(publication) {
            Ok(()) => Ok(()),
            Err(cause) if cause.kind() == io::ErrorKind::AlreadyExists => {
                Err(WarehouseError::Conflict {
                    target: self.folder.display().to_string(),
                })
            }
            Err(cause) => Err(self.failed("write", cause)),
        }
    }

    /// A record is written whole beside its place and then linked to it: a link fails where a name exists
    /// already, so nobody ever sees half a record and of two writers one wins. A rename would replace.
    fn create(&self, publication: &Publication) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let mut draft = tempfile::Builder::new()
            .prefix(".draft-")
            .make_in(&self.folder, |path| fs::File::create_new(path))?;
        draft.write_all(&serde_json::to_vec_pretty(publication)?)?;
        draft.as_file().sync_all()?;
        fs::hard_link(draft.path(), self.path(publication.number))?;
        draft.close()?;
        // The names above the record must survive a power cut as well.
        for folder in self.folder.ancestors().take(3) {
            fs::File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    fn newest_number(&self) -> Result<Option<u64>, WarehouseError> {
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(self.failed("read", cause)),
        };
        let mut newest = None;
        for entry in entries {
            let name = entry
                .map_err(|cause| self.failed("read", cause))?
                .file_name();
            let number = name
                .to_str()
                .and_then(|name| name.strip_suffix(".json"))
                .and_then(|digits| digits.parse::<u64>().ok());
            newest = newest.max(number);
        }
        Ok(newest)
    }

    fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:010}.json"))
    }

    fn failed(&self, action: &str, cause: io::Error) -> WarehouseError {
        WarehouseError::Folder {
            path: self.folder.display().to_string(),
            action: action.to_owned(),
            cause: cause.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Classify as _;

    fn publication(number: u64, run: &str) -> Publication {
        Publication {
            format: FORMAT,
            number,
            run: RunId::from(run.to_owned()),
            source: "totesys".into(),
            landing: number,
            logical_time: DateTime::UNIX_EPOCH,
            tables: BTreeMap::new(),
        }
    }

    #[test]
    fn the_newest_record_is_read_and_a_new_folder_has_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let publications = Publications::of(folder.path());
        assert_eq!(publications.newest().expect("readable"), None);
        for number in [1, 2, 10] {
            let record = publication(number, "a");
            publications.publish(&record).expect("free");
            assert_eq!(publications.newest().expect("readable"), Some(record));
        }
    }

    #[test]
    fn of_two_that_publish_the_same_number_one_wins_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        let publications = Publications::of(folder.path());
        publications.publish(&publication(1, "a")).expect("free");
        let error = publications
            .publish(&publication(1, "b"))
            .expect_err("taken");
        assert!(matches!(error, WarehouseError::Conflict { .. }));
        let newest = publications.newest().expect("readable").expect("one");
        assert_eq!(newest.run.as_str(), "a");
        let names = fs::read_dir(&publications.folder).expect("there").count();
        assert_eq!(names, 1);
    }

    #[test]
    fn a_damaged_or_newer_record_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let publications = Publications::of(folder.path());
        publications.publish(&publication(1, "a")).expect("free");
        let mut newer = serde_json::to_value(publication(2, "a")).expect("JSON");
        newer["format"] = 2.into();
        for text in ["", "{", "{}", "[1]", &newer.to_string()] {
            fs::write(publications.path(2), text).expect("written");
            let error = publications.newest().expect_err(text);
            assert!(error.to_string().contains("0000000002.json"), "{error}");
            assert!(error.hint().is_some());
        }
    }
}
