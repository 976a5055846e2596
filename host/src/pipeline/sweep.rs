//! Sweeping: what runs left behind that no manifest names, removed by age.
//!
//! ```text
//! note the run, its number n and where it will write ──▶ objects ──▶ manifest n ──▶ take back what n does not name,
//! <prefix>/_begun/<run>.json                                                        remove the note
//! ```
//!
//! A run that dies leaves its note, so whoever comes later reads a few notes and never lists a zone: the cost of a
//! run follows what died and not what has ever landed. Listing the zone once a day was rejected for that reason, and
//! because it would have to decide by age alone.
//!
//! **Age is not what makes it safe.** A note says under which number its run will commit. Numbers are created only
//! if absent, so once number n belongs to another run, the run of the note can never commit: its objects are nobody's
//! for ever, whatever any clock says. While n is free the run may be alive, and nothing of it is touched. The age
//! only leaves time to look at what a dead run wrote; it is told by the zone's own clock, as the distance between
//! two notes, so a host whose clock is a day off changes nothing.
//!
//! By hand, `tidemill sweep` looks at every object of a zone instead: objects of a version that made no notes are
//! found, too. It lists first, then reads the notes, then the manifests. A run that was in flight during the listing
//! is seen by its note, or by its manifest if it has ended since.
//!
//! A run that writes no objects makes no note, and looks for nothing that others left: it costs nobody anything until
//! there is something to write again.
//!
//! A stage that may not remove objects, as `tidemill policy` has it, removes its notes and leaves the rest to that.
//!
//! What a manifest names is never removed, and neither are kept live rows that a later manifest does without:
//! `verify` makes everything again from what its manifest names.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use super::report::{SweepReport, SweptObject};
use crate::error::Result;
use crate::manifest::{Manifest, ManifestError, ManifestLog};
use crate::run::RunId;
use crate::zone::watched::{Announcement, Watched};
use crate::zone::{Entry, Zone, ZoneError};

/// The version of a note that this version writes, and the newest it reads.
const FORMAT: u32 = 1;

/// What a run writes down before its first object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Note {
    format: u32,
    run: RunId,
    /// The number under which it will commit.
    number: u64,
    /// What the keys of its objects begin with.
    prefixes: Vec<String>,
}

/// A run that has begun, and the note of it: made before its first object at the latest.
#[derive(Debug)]
pub(super) struct Begun {
    zone: Arc<dyn Zone>,
    /// Where the note is to be.
    key: String,
    bytes: bytes::Bytes,
    /// Where it is.
    made: OnceCell<String>,
}

impl Begun {
    /// Where the note is; nowhere while the run has written nothing.
    fn key(&self) -> Option<&str> {
        self.made.get().map(String::as_str)
    }
}

#[async_trait]
impl Announcement for Begun {
    async fn make(&self) -> Result<(), ZoneError> {
        let making = async {
            // A run that failed to commit this number may try it with the next landing.
            let mut turn = 0;
            loop {
                let key = match turn {
                    0 => self.key.clone(),
                    turn => self.key.replace(".json", &format!("-{turn}.json")),
                };
                match self.zone.create(&key, self.bytes.clone()).await {
                    Ok(_) => return Ok(key),
                    Err(ZoneError::Exists { .. }) => turn += 1,
                    Err(error) => return Err(error),
                }
            }
        };
        self.made.get_or_try_init(|| making).await.map(drop)
    }
}

/// The notes beside the manifests of one log.
pub(super) struct Notes<M> {
    zone: Arc<dyn Zone>,
    log: ManifestLog<M>,
    folder: String,
    prefix: String,
}

impl<M: Manifest> Notes<M> {
    /// The notes below `prefix` of `zone`, beside the log of the same prefix.
    pub(super) fn new(zone: Arc<dyn Zone>, prefix: &str) -> Self {
        let below = |name: &str| match prefix {
            "" => name.to_owned(),
            prefix => format!("{prefix}/{name}"),
        };
        Self {
            log: ManifestLog::new(zone.clone(), prefix),
            folder: below("_begun/"),
            prefix: below(""),
            zone,
        }
    }

    /// Notes that `run` will commit manifest `number` and write below `prefixes` until then.
    pub(super) async fn begin(
        &self,
        run: &RunId,
        number: u64,
        prefixes: Vec<String>,
    ) -> Result<Begun> {
        let begun = self.announce(run, number, prefixes);
        begun.make().await?;
        Ok(begun)
    }

    /// The same for a run that may write nothing: the note is made when it is asked for.
    pub(super) fn announce(&self, run: &RunId, number: u64, prefixes: Vec<String>) -> Begun {
        let note = Note {
            format: FORMAT,
            run: run.clone(),
            number,
            prefixes,
        };
        let bytes = serde_json::to_vec_pretty(&note).expect("a note is plain data");
        Begun {
            zone: self.zone.clone(),
            key: format!("{}{run}-{number:010}.json", self.folder),
            bytes: bytes.into(),
            made: OnceCell::new(),
        }
    }

    /// Commits `manifest`. Where another run has its number, what was written for it is taken back.
    ///
    /// # Errors
    /// As [`ManifestLog::commit`].
    pub(super) async fn commit(
        &self,
        begun: &Begun,
        written: &Watched,
        manifest: &M,
    ) -> Result<()> {
        let committed = self.log.commit(manifest).await;
        if let Err(ManifestError::Taken { .. }) = &committed {
            self.settle(begun, written, None).await;
        }
        Ok(committed?)
    }

    /// Ends what was begun, after `manifest` was committed or nothing was: takes back what was written and is
    /// not named, then removes the note. What cannot be removed now is swept later.
    pub(super) async fn settle(&self, begun: &Begun, written: &Watched, manifest: Option<&M>) {
        let named = names(manifest);
        let leftovers = written.take();
        let leftovers = leftovers.iter().filter(|key| !named.contains(key.as_str()));
        let settled = async {
            for key in leftovers {
                self.take_back(key).await?;
            }
            match begun.key() {
                Some(note) => self.zone.delete(note).await,
                None => Ok(()),
            }
        };
        if let Err(error) = settled.await {
            tracing::warn!(zone = self.zone.url(), %error, "cannot take back what is not needed");
        }
    }

    /// Removes an object that is nobody's; false where this run may not remove any. Then it is left to `tidemill sweep`,
    /// which has the right to, and looks at every object there is: a stage needs no right to remove anything but notes.
    async fn take_back(&self, key: &str) -> Result<bool, ZoneError> {
        match self.zone.delete(key).await {
            Err(error) if error.is_denied() => {
                tracing::info!(zone = self.zone.url(), key, "left for the sweep");
                Ok(false)
            }
            deleted => deleted.map(|()| true),
        }
    }

    /// Removes the note of what was begun, for the objects below its prefixes stand in another.
    pub(super) async fn forget(&self, begun: &Begun) {
        let Some(note) = begun.key() else {
            return;
        };
        if let Err(error) = self.zone.delete(note).await {
            tracing::warn!(zone = self.zone.url(), %error, "cannot take back what is not needed");
        }
    }

    /// Removes what dead runs left whose notes are at least `age` older than the note of this one. Whatever goes
    /// wrong is no reason to fail a run that has committed. A run that wrote nothing looks for nothing.
    pub(super) async fn sweep(&self, begun: &Begun, age: Duration) -> SweepReport {
        let mut report = SweepReport::default();
        let Some(ours) = begun.key() else {
            return report;
        };
        let swept = async {
            let (ours, notes): (Vec<Entry>, Vec<Entry>) = self
                .zone
                .list(&self.folder)
                .await?
                .into_iter()
                .partition(|entry| entry.key == ours);
            // Its own tells what the zone says the time is.
            let Some(ours) = ours.first() else {
                return Ok(());
            };
            let before = ours.created - distance(age);
            self.sweep_notes(&notes, before, false, &mut report).await?;
            self.sweep_unfinished(&notes, before, false, &mut report)
                .await
        };
        if let Err(error) = swept.await {
            let error: &crate::Error = &error;
            tracing::warn!(zone = self.zone.url(), %error, "cannot sweep what dead runs left");
        }
        report
    }

    /// Looks at every object there is and removes those that belong to nothing.
    ///
    /// # Errors
    /// `Data` or `Config` when a manifest cannot be read: nothing is removed then.
    pub(super) async fn sweep_all(
        &self,
        run: &RunId,
        age: Duration,
        rehearsal: bool,
    ) -> Result<SweepReport> {
        let mut report = SweepReport::default();
        let Some(now) = clock(&self.zone, &self.prefix, run).await? else {
            return Ok(report);
        };
        let before = now - distance(age);
        let mut unnamed = self.old_objects(before, &mut report).await?;
        let notes = self.zone.list(&self.folder).await?;
        let in_flight = self.in_flight(&notes).await?;
        if !unnamed.is_empty() {
            for number in 1..=self.log.newest_number().await?.unwrap_or(0) {
                for object in self.log.read(number).await?.objects() {
                    unnamed.remove(&object.key);
                }
            }
        }
        for (_, object) in unnamed {
            if in_flight
                .iter()
                .any(|prefix| object.key.starts_with(prefix))
            {
                report.kept += 1;
                continue;
            }
            self.remove(object, rehearsal, &mut report).await?;
        }
        self.sweep_notes(&notes, before, rehearsal, &mut report)
            .await?;
        self.sweep_unfinished(&notes, before, rehearsal, &mut report)
            .await?;
        Ok(report)
    }

    /// Every object that is no record and was created before `before`, by key. Younger ones are counted as kept
    /// only where nobody could name them; that is not known here.
    async fn old_objects(
        &self,
        before: DateTime<Utc>,
        report: &mut SweepReport,
    ) -> Result<BTreeMap<String, Entry>> {
        let manifests = format!("{}_manifests/", self.prefix);
        let mut old = BTreeMap::new();
        for entry in self.zone.list(&self.prefix).await? {
            if entry.key.starts_with(&manifests) || entry.key.starts_with(&self.folder) {
                continue;
            }
            report.looked_at += 1;
            if entry.created < before {
                old.insert(entry.key.clone(), entry);
            }
        }
        Ok(old)
    }

    /// What the runs of `notes` write below that may still commit.
    async fn in_flight(&self, notes: &[Entry]) -> Result<Vec<String>> {
        let mut prefixes = Vec::new();
        for entry in notes {
            if let Some(note) = self.note(&entry.key).await?
                && self.log.find(note.number).await?.is_none()
            {
                prefixes.extend(note.prefixes);
            }
        }
        Ok(prefixes)
    }

    /// Removes what the runs of those `notes` left that are from before `before`, where they can never commit it.
    async fn sweep_notes(
        &self,
        notes: &[Entry],
        before: DateTime<Utc>,
        rehearsal: bool,
        report: &mut SweepReport,
    ) -> Result<()> {
        for entry in notes {
            if entry.created >= before {
                continue;
            }
            let Some(note) = self.note(&entry.key).await? else {
                continue;
            };
            let Some(decided) = self.log.find(note.number).await? else {
                continue;
            };
            let ours = (*decided.run() == note.run).then_some(&decided);
            let named = names(ours);
            for prefix in &note.prefixes {
                for object in self.zone.list(prefix).await? {
                    let is_known = report.swept.iter().any(|swept| swept.key == object.key);
                    let is_nobodys = !is_known && !named.contains(object.key.as_str());
                    if is_nobodys && (rehearsal || self.take_back(&object.key).await?) {
                        self.note_swept(object, rehearsal, report);
                    }
                }
            }
            if !rehearsal {
                self.zone.delete(&entry.key).await?;
            }
        }
        Ok(())
    }

    /// Removes what was never finished. While a run may still commit, one of these may be its manifest.
    async fn sweep_unfinished(
        &self,
        notes: &[Entry],
        before: DateTime<Utc>,
        rehearsal: bool,
        report: &mut SweepReport,
    ) -> Result<()> {
        if !self.in_flight(notes).await?.is_empty() {
            return Ok(());
        }
        for entry in self.zone.sweep_unfinished(before, rehearsal).await? {
            report.swept.push(swept(&self.zone, entry));
        }
        Ok(())
    }

    async fn remove(&self, object: Entry, rehearsal: bool, report: &mut SweepReport) -> Result<()> {
        if !rehearsal {
            self.zone.delete(&object.key).await?;
        }
        self.note_swept(object, rehearsal, report);
        Ok(())
    }

    fn note_swept(&self, object: Entry, rehearsal: bool, report: &mut SweepReport) {
        tracing::info!(zone = self.zone.url(), key = object.key, rehearsal, "swept");
        report.swept.push(swept(&self.zone, object));
    }

    /// A note; `None` where another host has removed it, or a later version wrote it.
    async fn note(&self, key: &str) -> Result<Option<Note>> {
        let bytes = match self.zone.read(key).await {
            Err(ZoneError::Missing { .. }) => return Ok(None),
            read => read?,
        };
        let note: Option<Note> = serde_json::from_slice(&bytes).ok();
        Ok(note.filter(|note| note.format <= FORMAT))
    }
}

/// Removes what was never finished in a zone that has no manifests.
///
/// # Errors
/// `Unavailable`.
pub(super) async fn sweep_unfinished(
    zone: &Arc<dyn Zone>,
    run: &RunId,
    age: Duration,
    rehearsal: bool,
) -> Result<SweepReport> {
    let mut report = SweepReport::default();
    if let Some(now) = clock(zone, "", run).await? {
        let unfinished = zone
            .sweep_unfinished(now - distance(age), rehearsal)
            .await?;
        report.swept = unfinished
            .into_iter()
            .map(|entry| swept(zone, entry))
            .collect();
    }
    Ok(report)
}

/// What the zone says the time is. What a kill leaves of the question, the next sweep by hand finds.
async fn clock(zone: &Arc<dyn Zone>, prefix: &str, run: &RunId) -> Result<Option<DateTime<Utc>>> {
    let probe = format!("{prefix}_probe/{run}");
    zone.create(&probe, bytes::Bytes::new()).await?;
    let now = created(zone, &probe).await;
    zone.delete(&probe).await?;
    now
}

/// When an object was created, by the zone's clock.
async fn created(zone: &Arc<dyn Zone>, key: &str) -> Result<Option<DateTime<Utc>>> {
    let page = zone.page(key, None).await?;
    let entry = page.entries.into_iter().find(|entry| entry.key == key);
    Ok(entry.map(|entry| entry.created))
}

fn swept(zone: &Arc<dyn Zone>, entry: Entry) -> SweptObject {
    SweptObject {
        zone: zone.url().to_owned(),
        key: entry.key,
        bytes: entry.bytes,
        created: entry.created,
    }
}

/// The keys that a manifest names.
fn names<M: Manifest>(manifest: Option<&M>) -> HashSet<&str> {
    let objects = manifest.into_iter().flat_map(Manifest::objects);
    objects.map(|object| object.key.as_str()).collect()
}

fn distance(age: Duration) -> TimeDelta {
    TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests;
