//! Publications: numbered records that say which versions of the Delta tables belong together.
//!
//! ```text
//! <folder>/_tidemill/publications/0000000007.json      created only if absent; its creation is COMMIT 2
//! ```
//!
//! Delta has no transaction over several tables. A table's new version counts for nothing until a
//! publication names it; whoever reads takes the newest record and opens exactly the versions in it.
//! Every record is complete, so a reader needs only one. Nothing here knows Arrow or Delta's log. In a bucket the newest
//! is found by its number, and never by a listing.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _};
use object_store::{ObjectMeta, ObjectStore as _, ObjectStoreExt as _, PutMode};
use serde::{Deserialize, Serialize};

use super::failure;
use super::location::{Bucket, Location};
use crate::contract::{LoadMode, ModuleRef};
use crate::numbers;
use crate::run::RunId;
use crate::warehouse::{Ledger, WarehouseError};

/// The format of the records this version writes, and the newest it reads.
const FORMAT: u32 = 1;

/// Records that are listed: one answer of a store.
const FIRST: usize = 1_000;

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

/// Where the records are.
#[derive(Debug, Clone)]
pub(super) struct Publications {
    place: Location,
    /// The record of the highest number that was seen: records do not change and do not go away.
    known: Arc<Mutex<Option<(u64, Bytes)>>>,
}

impl Publications {
    /// The records of the warehouse in `warehouse`.
    pub(super) fn of(warehouse: &Location) -> Self {
        Self {
            place: warehouse.join("_tidemill/publications"),
            known: Arc::default(),
        }
    }

    /// The newest record; `None` when nothing was ever published.
    pub(super) async fn newest(&self) -> Result<Option<Publication>, WarehouseError> {
        let read = match &self.place {
            Location::Folder(folder) => {
                let folder = folder.clone();
                let read = self.blocking(move || newest_file(&folder)).await;
                read.map_err(|cause| self.failed("read", cause))?
            }
            Location::Bucket(bucket) => self.newest_object(bucket).await?,
        };
        read.map(|(number, bytes)| self.parse(number, &bytes))
            .transpose()
    }

    async fn newest_object(&self, bucket: &Bucket) -> Result<Option<(u64, Bytes)>, WarehouseError> {
        let failed = |cause: object_store::Error| failure::of(&self.place, "read", Box::new(cause));
        let exists = |number| async move {
            let found = bucket.join(&name(number)).exists().await;
            found.map_err(failed)
        };
        let known = self.known().clone();
        let begin = match &known {
            None => listed(bucket).await.map_err(failed)?,
            Some((number, _)) => *number,
        };
        let number = numbers::newest(begin, 0, exists).await?;
        if number == 0 || known.as_ref().is_some_and(|(known, _)| *known == number) {
            return Ok(known);
        }
        let record = bucket.join(&name(number));
        let bytes = async { record.objects.get(&record.prefix).await?.bytes().await };
        let bytes = bytes.await.map_err(failed)?;
        self.saw(number, bytes.clone());
        Ok(Some((number, bytes)))
    }

    fn saw(&self, number: u64, bytes: Bytes) {
        let mut known = self.known();
        if known.as_ref().is_none_or(|(known, _)| *known < number) {
            *known = Some((number, bytes));
        }
    }

    fn known(&self) -> MutexGuard<'_, Option<(u64, Bytes)>> {
        // It is replaced whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parse(&self, number: u64, bytes: &[u8]) -> Result<Publication, WarehouseError> {
        let path = self.place.join(&name(number));
        let damaged = |cause: Box<dyn std::error::Error + Send + Sync>| WarehouseError::Damaged {
            record: path.to_string(),
            cause,
        };
        let record: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|cause| damaged(cause.into()))?;
        if let Some(found) = record.get("format").and_then(serde_json::Value::as_u64)
            && found > u64::from(FORMAT)
        {
            return Err(WarehouseError::TooNew {
                record: path.to_string(),
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
        Ok(record)
    }

    /// Makes `publication` the newest, durably, or says `Conflict` when there is one of that number.
    pub(super) async fn publish(&self, publication: &Publication) -> Result<(), WarehouseError> {
        let conflict = || WarehouseError::Conflict {
            target: self.place.to_string(),
        };
        let bytes = serde_json::to_vec_pretty(publication);
        let bytes = bytes.map_err(|cause| self.failed("write", cause.into()))?;
        let number = publication.number;
        match &self.place {
            Location::Folder(folder) => {
                let folder = folder.clone();
                let created = self.blocking(move || create(&folder, number, &bytes)).await;
                created.map_err(|cause| match cause.kind() {
                    io::ErrorKind::AlreadyExists => conflict(),
                    _ => self.failed("write", cause),
                })
            }
            Location::Bucket(bucket) => {
                let record = bucket.join(&name(number)).prefix;
                let bytes = Bytes::from(bytes);
                let payload = bytes.clone().into();
                let put = bucket
                    .objects
                    .put_opts(&record, payload, PutMode::Create.into());
                match put.await {
                    Ok(_) => {
                        self.saw(number, bytes);
                        Ok(())
                    }
                    Err(object_store::Error::AlreadyExists { .. }) => Err(conflict()),
                    Err(cause) => Err(failure::of(&self.place, "write", Box::new(cause))),
                }
            }
        }
    }

    /// Runs file work off the async threads.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> io::Result<T> {
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(|panic| Err(io::Error::other(panic)))
    }

    fn failed(&self, action: &str, cause: io::Error) -> WarehouseError {
        failure::unavailable(&self.place, action, cause.into())
    }
}

/// The newest number that a listing shows, where it shows all before it: where the search begins, and no more than that.
/// It also tells a bucket that is missing from a record that is: a head has no body that says so.
async fn listed(bucket: &Bucket) -> object_store::Result<u64> {
    let listing = bucket.objects.list(Some(&bucket.prefix)).take(FIRST);
    let listed: Vec<ObjectMeta> = listing.try_collect().await?;
    let numbers = listed.iter().filter_map(|object| {
        let name = object.location.filename()?.strip_suffix(".json")?;
        name.parse::<u64>().ok()
    });
    let newest = numbers.max().unwrap_or(0);
    Ok(if newest == listed.len() as u64 {
        newest
    } else {
        0
    })
}

fn name(number: u64) -> String {
    format!("{number:010}.json")
}

/// A record is written whole beside its place and then linked to it: a link fails where a name exists
/// already, so nobody ever sees half a record and of two writers one wins. A rename would replace.
fn create(folder: &Path, number: u64, bytes: &[u8]) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    let mut draft = tempfile::Builder::new()
        .prefix(".draft-")
        .make_in(folder, |path| fs::File::create_new(path))?;
    draft.write_all(bytes)?;
    draft.as_file().sync_all()?;
    fs::hard_link(draft.path(), folder.join(name(number)))?;
    draft.close()?;
    // The names above the record must survive a power cut as well.
    for folder in folder.ancestors().take(3) {
        fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

/// The number and the bytes of the newest record in a folder.
fn newest_file(folder: &Path) -> io::Result<Option<(u64, Bytes)>> {
    let entries = match fs::read_dir(folder) {
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut newest = None;
    for entry in entries {
        let file = entry?.file_name();
        let number = file
            .to_str()
            .and_then(|file| file.strip_suffix(".json"))
            .and_then(|digits| digits.parse::<u64>().ok());
        newest = newest.max(number);
    }
    let Some(number) = newest else {
        return Ok(None);
    };
    let bytes = fs::read(folder.join(name(number)))?;
    Ok(Some((number, bytes.into())))
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

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

    /// The same in a folder and in a bucket.
    fn each(folder: &Path) -> [Publications; 2] {
        let bucket = Bucket {
            name: "lake".into(),
            objects: Arc::new(InMemory::new()),
            prefix: "star".into(),
        };
        let places = [
            Location::Folder(folder.to_owned()),
            Location::Bucket(bucket),
        ];
        places.map(|place| Publications::of(&place))
    }

    #[tokio::test]
    async fn the_newest_record_is_read_and_a_new_place_has_none() {
        let folder = tempfile::tempdir().expect("a folder");
        for publications in each(folder.path()) {
            assert_eq!(publications.newest().await.expect("readable"), None);
            for number in 1..=10 {
                let record = publication(number, "a");
                publications.publish(&record).await.expect("free");
                let newest = publications.newest().await.expect("readable");
                assert_eq!(newest, Some(record));
            }
        }
    }

    #[tokio::test]
    async fn of_two_that_publish_the_same_number_one_wins_and_nothing_is_left_behind() {
        let folder = tempfile::tempdir().expect("a folder");
        for publications in each(folder.path()) {
            let (ours, theirs) = (publication(1, "a"), publication(1, "b"));
            publications.publish(&ours).await.expect("free");
            let error = publications.publish(&theirs).await.expect_err("taken");
            assert!(matches!(error, WarehouseError::Conflict { .. }), "{error}");
            let newest = publications.newest().await.expect("readable");
            assert_eq!(newest.expect("one").run.as_str(), "a");
        }
        let records = folder.path().join("_tidemill/publications");
        assert_eq!(fs::read_dir(records).expect("there").count(), 1);
    }

    #[tokio::test]
    async fn a_damaged_or_newer_record_is_an_error_that_names_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let [publications, _] = each(folder.path());
        publications
            .publish(&publication(1, "a"))
            .await
            .expect("free");
        let mut newer = serde_json::to_value(publication(2, "a")).expect("JSON");
        newer["format"] = 2.into();
        let second = folder.path().join("_tidemill/publications").join(name(2));
        for text in ["", "{", "{}", "[1]", &newer.to_string()] {
            fs::write(&second, text).expect("written");
            let error = publications.newest().await.expect_err(text);
            assert!(error.to_string().contains("0000000002.json"), "{error}");
            assert!(error.hint().is_some());
        }
    }
}
