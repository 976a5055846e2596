//! Sweeping: files of the warehouse that nobody has needed for long.
//!
//! Which data files those are, Delta's own vacuum says, asked in a rehearsal: files that no version names, and files
//! that a version gave up longer ago than the age. What the published version names is kept besides, for the newest
//! may be a commit that is to be undone. It is not let do the work itself, because it would commit to the log that it
//! did, and a version that no publication names is an orphan to every load.
//!
//! Ages are told by the clock of the disk, or of the store. So whoever reads a version goes on doing so for at least that long after a
//! load replaced it, and Delta's time travel by other programs reaches back as far.

mod objects;

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, Metadata};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use deltalake::operations::vacuum::{Clock, VacuumMode};
use tempfile::NamedTempFile;

use super::Delta;
use super::delta_table::{TableFolder, paths};
use super::failure;
use super::location::Location;
use super::publication::Publication;
use super::rebuild;
use crate::warehouse::{Sweep, SweptFile, WarehouseError};

/// A run looks for files at most this often.
const INTERVAL: TimeDelta = TimeDelta::days(1);

/// Its time of writing says when files were last looked for.
const MARK: &str = "swept";

/// Removes what has not been needed for `age`.
pub(super) async fn sweep(
    delta: &Delta,
    age: Duration,
    how: Sweep,
) -> Result<Vec<SweptFile>, WarehouseError> {
    let Some(publication) = delta.newest().await? else {
        return Ok(Vec::new());
    };
    let folder = match &delta.place {
        Location::Folder(folder) => folder,
        Location::Bucket(bucket) => {
            return objects::sweep(delta, bucket, &publication, age, how).await;
        }
    };
    let ours = folder.join("_tidemill");
    let unavailable = |cause: io::Error| failure::unavailable(&delta.place, "sweep", cause.into());
    let mark = NamedTempFile::new_in(&ours).map_err(unavailable)?;
    let now = written(&mark.as_file().metadata().map_err(unavailable)?).map_err(unavailable)?;
    if how == Sweep::WhenDue && !is_due(&ours.join(MARK), now) {
        return Ok(Vec::new());
    }
    let age = TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
    let mut broom = Broom {
        warehouse: folder,
        before: now - age,
        rehearsal: how == Sweep::Rehearsal,
        swept: Vec::new(),
    };
    for (name, version) in versions(&publication) {
        for file in unneeded(delta, &name, version, now, age).await? {
            broom
                .file(&folder.join(&name).join(file))
                .map_err(unavailable)?;
        }
        broom.drafts(&folder.join(&name)).map_err(unavailable)?;
        let log = folder.join(&name).join("_delta_log");
        broom.drafts(&log).map_err(unavailable)?;
    }
    broom
        .drafts(&ours.join("publications"))
        .map_err(unavailable)?;
    for folder in rebuild::leftovers(folder).map_err(unavailable)? {
        broom.tree(&folder).map_err(unavailable)?;
    }
    if !broom.rehearsal {
        let kept = mark.persist(ours.join(MARK));
        kept.map_err(|error| unavailable(error.error))?;
    }
    Ok(broom.swept)
}

/// The published versions of all Delta tables.
fn versions(publication: &Publication) -> impl Iterator<Item = (String, u64)> {
    publication.tables.iter().flat_map(|(name, published)| {
        let ended = published
            .ended
            .map(|version| (format!("{name}_ended"), version));
        [(name.clone(), published.version)].into_iter().chain(ended)
    })
}

/// Whether nobody has looked within the interval.
fn is_due(mark: &Path, now: DateTime<Utc>) -> bool {
    let last = fs::metadata(mark).and_then(|metadata| written(&metadata));
    last.map_or(true, |last| now - last >= INTERVAL)
}

fn written(metadata: &Metadata) -> io::Result<DateTime<Utc>> {
    Ok(metadata.modified()?.into())
}

/// The names of the data files of a table that no version has needed for `age`.
async fn unneeded(
    delta: &Delta,
    name: &str,
    version: u64,
    now: DateTime<Utc>,
    age: TimeDelta,
) -> Result<Vec<String>, WarehouseError> {
    let folder = TableFolder::of(&delta.place, name)?;
    let failed = |cause| folder.failed("look for files to sweep in", cause);
    let published = folder.at(version).await?;
    let Some(newest) = folder.newest(Some(&published)).await? else {
        return Ok(Vec::new());
    };
    let needed: HashSet<String> = paths(&published).map_err(failed)?;
    let (_, found) = newest
        .vacuum()
        .with_mode(VacuumMode::Full)
        .with_retention_period(age)
        // The age may be shorter than what Delta's own settings say.
        .with_enforce_retention_duration(false)
        .with_clock(Arc::new(ClockOfDisk(now.timestamp_millis())))
        .with_dry_run(true)
        .await
        .map_err(failed)?;
    let is_plain = |file: &String| !file.contains(['/', '\\', '%']);
    Ok(found
        .files_deleted
        .into_iter()
        .filter(|file| !needed.contains(file))
        // Our data files lie in the folder itself. What another program put elsewhere is its own business.
        .filter(is_plain)
        .collect())
}

/// What the disk says the time is.
#[derive(Debug)]
struct ClockOfDisk(i64);

impl Clock for ClockOfDisk {
    fn current_timestamp_millis(&self) -> i64 {
        self.0
    }
}

/// Removes files that were last written to before a time.
struct Broom<'a> {
    warehouse: &'a Path,
    before: DateTime<Utc>,
    rehearsal: bool,
    swept: Vec<SweptFile>,
}

impl Broom<'_> {
    /// Removes files of `folder` that never got their name.
    fn drafts(&mut self, folder: &Path) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if is_draft(&entry.file_name()) {
                self.file(&entry.path())?;
            }
        }
        Ok(())
    }

    /// Removes what is in a folder, and then the folder where nothing is left in it.
    fn tree(&mut self, folder: &Path) -> io::Result<()> {
        let entries = match fs::read_dir(folder) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        // Asked first, for what is removed from it makes it young.
        let is_old = written(&fs::metadata(folder)?)? < self.before;
        for entry in entries {
            let path = entry?.path();
            match path.is_dir() {
                true => self.tree(&path)?,
                false => self.file(&path)?,
            }
        }
        if is_old && !self.rehearsal && fs::read_dir(folder)?.next().is_none() {
            fs::remove_dir(folder)?;
        }
        Ok(())
    }

    fn file(&mut self, file: &Path) -> io::Result<()> {
        let metadata = match fs::metadata(file) {
            Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        let written = written(&metadata)?;
        if written >= self.before || !metadata.is_file() {
            return Ok(());
        }
        if !self.rehearsal {
            match fs::remove_file(file) {
                // Another host sweeps as well.
                Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
                other => other?,
            }
        }
        let name = file.strip_prefix(self.warehouse).unwrap_or(file);
        self.swept.push(SweptFile {
            folder: self.warehouse.display().to_string(),
            name: name.display().to_string(),
            bytes: metadata.len(),
            written,
        });
        Ok(())
    }
}

/// Whether a file is one in the making: `NAME#1` as Delta's file store calls it, `.draft-…` as ours.
fn is_draft(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else {
        return false;
    };
    let is_staged = name.rsplit_once('#').is_some_and(|(_, number)| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    });
    is_staged || name.starts_with(".draft-")
}
