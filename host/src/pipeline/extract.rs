//! Extract: one snapshot of a source to one landing manifest.
//!
//! Every table is read in the same snapshot, several at a time. A table whose rows or settings are wrong
//! keeps its old state and is reported; the others go on. A source that goes away ends the landing, and
//! nothing is committed.

mod choice;
mod error;
mod parts;
mod sources;
mod state;
mod step;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use futures::stream::{self, StreamExt as _};
use tracing::Instrument as _;

use super::access;
use super::claim::Claims;
use super::halt::HaltError;
use super::report::{
    ExtractReport, LeftOver, Observer, Scope, SweepReport, TableExtracted, TableFailure, Why,
};
use super::spans;
use super::sweep::Notes;
use super::temporary::Disk;
use crate::config::SourcePlan;
use crate::error::{ErrorKind, Result};
use crate::manifest::{FORMAT, LandedTable, LandingManifest, ManifestLog};
use crate::run::{Halt, RunId, Stage};
use crate::source::{Snapshot, SourceError};
use crate::table::TableName;
use crate::vault::Vault;
use crate::zone::parquet::WRITER;
use crate::zone::watched::Watched;
pub(super) use choice::{check_marks, gone, is_expected, marked_nowhere, taken};
pub(crate) use error::ExtractError;
use step::Step;

/// The extraction of one source in one run.
pub(super) struct Extraction<'a> {
    /// The source's name in the project file.
    pub(super) name: &'a str,
    /// How it is read.
    pub(super) plan: &'a SourcePlan,
    /// The landing zone.
    pub(super) zone: Watched,
    /// How old is what is swept.
    pub(super) sweep_after: Duration,
    /// The run.
    pub(super) run: &'a RunId,
    /// What was asked for.
    pub(super) scope: &'a Scope,
    /// Whether the project has no other source: a table that is accepted by name must be in this one then.
    pub(super) is_only: bool,
    /// Told of progress.
    pub(super) observer: Arc<dyn Observer>,
    /// What services keep of its URL.
    pub(super) vault: &'a Vault,
    /// Says when to commit what has been read.
    pub(super) halt: &'a Halt,
    /// Where runs share work, the claims of this one.
    pub(super) claims: Option<Claims>,
    /// Tables read at the same time.
    pub(super) at_once: usize,
    /// Where goes what does not fit into memory.
    pub(super) disk: Disk,
    /// Rows of a first landing after which it goes on in another landing; `None` where it is made whole.
    pub(super) part_rows: Option<u64>,
}

/// What became of reading the tables.
struct Reading {
    /// Tables that were read whole, with their new state.
    landed: Vec<(TableName, LandedTable, TableExtracted)>,
    failures: Vec<TableFailure>,
    left: Vec<LeftOver>,
}

/// A landing that was committed.
pub(super) struct Extracted {
    pub(super) report: ExtractReport,
    /// The tables of which further parts follow.
    pub(super) in_parts: Vec<String>,
}

/// What a table came to in a landing.
type LandedStep = (LandedTable, TableExtracted);

impl Extraction<'_> {
    /// Lands what changed and commits the manifest; `None` where another run is at it.
    ///
    /// # Errors
    /// `Unavailable` when the source goes away, or the word to stop came before a table was read; `Conflict` when another
    /// run committed meanwhile, `Config` when nothing of it can be read. A single table's error is in the report instead.
    pub(super) async fn run(&self) -> Result<Option<Extracted>> {
        let log = ManifestLog::<LandingManifest>::new(self.zone.unwatched(), self.name);
        if self.claims.is_some() {
            // Another may have landed since this run has looked.
            log.look_again();
        }
        let previous = log.newest().await?;
        let Some(claims) = &self.claims else {
            return self.land_all(previous).await.map(Some);
        };
        let next = previous.as_ref().map_or(1, |m| m.sequence + 1);
        if !claims.take(&format!("{next:010}")).await? {
            return Ok(None);
        }
        let report = self.land_all(previous).await;
        claims.release_all().await;
        report.map(Some)
    }

    async fn land_all(&self, previous: Option<LandingManifest>) -> Result<Extracted> {
        let started = Instant::now();
        let notes = Notes::<LandingManifest>::new(self.zone.unwatched(), self.name);
        let (_source, snapshot) = access::source(self.plan, self.vault).await?;
        let discovered = taken(self.plan, snapshot.tables().await?);
        let choice = self.choose(snapshot.as_ref(), &discovered, previous.as_ref())?;

        let mut manifest = self.manifest(snapshot.clock(), previous.as_ref());
        let sequence = manifest.sequence;
        let prefixes = choice
            .steps
            .iter()
            .map(|step| self.prefix(step, snapshot.clock(), sequence));
        // A run that finds nothing new leaves nothing behind and makes no note.
        let begun = Arc::new(notes.announce(self.run, sequence, prefixes.collect()));
        self.zone.announce(begun.clone());
        let read = self.read_all(snapshot.as_ref(), choice.steps, sequence);
        let mut read = read.await?;
        if read.landed.is_empty() && !read.left.is_empty() {
            notes.settle(&begun, &self.zone, None).await;
            let error: crate::Error = HaltError::new(&read.left).into();
            return Err(error.at(Stage::Extract));
        }
        read.failures.splice(0..0, choice.failures);
        let mut report = ExtractReport {
            source: self.name.to_owned(),
            landing: sequence,
            logical_time: manifest.logical_time,
            tables: Vec::new(),
            left_out: choice.left_out,
            left: read.left,
            failures: read.failures,
            swept: SweepReport::default(),
            elapsed: Duration::ZERO,
        };
        let mut in_parts = Vec::new();
        for (name, landed, extracted) in read.landed {
            if landed.reached.is_some() {
                in_parts.push(name.as_str().to_owned());
            }
            manifest.tables.insert(name, landed);
            report.tables.push(extracted);
        }
        report.tables.sort_by(|a, b| a.table.cmp(&b.table));
        let waits = |table: &TableName| !manifest.tables.contains_key(table);
        manifest.waiting = choice.wanted.into_iter().filter(waits).collect();
        let manifest = manifest.formatted();
        notes.commit(&begun, &self.zone, &manifest).await?;
        report.swept = notes.sweep(&begun, self.sweep_after).await;
        notes.settle(&begun, &self.zone, Some(&manifest)).await;
        report.elapsed = started.elapsed();
        Ok(Extracted { report, in_parts })
    }

    /// Reads the tables of `steps`, several at a time, until all are read or the word to stop comes: what is not read by
    /// then is left, but for those parts that a table is landed in.
    async fn read_all(
        &self,
        snapshot: &dyn Snapshot,
        steps: Vec<Step<'_>>,
        sequence: u64,
    ) -> Result<Reading> {
        let mut reading = Reading {
            landed: Vec::new(),
            failures: Vec::new(),
            left: Vec::new(),
        };
        let mut landings = stream::iter(steps)
            .map(|step| async move {
                let name = step.table().name.clone();
                let span = spans::table(Stage::Extract, self.name, name.as_str());
                let disk = self.disk.share();
                let landing = self.land(snapshot, step, sequence, &disk);
                let landed = landing.instrument(span.clone()).await;
                let landed = landed.map_err(|error| match disk.full() {
                    Some(most_bytes) => ExtractError::DiskFull { most_bytes }.into(),
                    None => error,
                });
                if landed.is_err() {
                    spans::failed(&span);
                }
                (name, landed)
            })
            .buffer_unordered(self.at_once.max(1));
        while let Some((name, landed)) = landings.next().await {
            match landed {
                Ok(Some((landed, extracted))) => reading.landed.push((name, landed, extracted)),
                Ok(None) => reading.left.push(LeftOver {
                    what: name.as_str().to_owned(),
                    why: Why::Halted,
                }),
                Err(error) if stops_all(&error) => {
                    return Err(error.at(Stage::Extract).on(name.as_str()));
                }
                Err(error) => {
                    reading
                        .failures
                        .push(TableFailure::new(name.as_str(), Stage::Extract, &error))
                }
            }
        }
        reading.left.sort();
        Ok(reading)
    }

    fn manifest(
        &self,
        clock: DateTime<Utc>,
        previous: Option<&LandingManifest>,
    ) -> LandingManifest {
        let mut tables = previous.map(|m| m.tables.clone()).unwrap_or_default();
        for table in tables.values_mut() {
            table.window = None;
            table.changed.clear();
            table.deleted.clear();
            table.replaces = false;
        }
        LandingManifest {
            format: FORMAT,
            sequence: previous.map_or(1, |m| m.sequence + 1),
            run: self.run.clone(),
            source: self.name.to_owned(),
            tidemill: env!("CARGO_PKG_VERSION").to_owned(),
            writer: WRITER.to_owned(),
            logical_time: clock,
            tables,
            waiting: BTreeSet::new(),
        }
    }

    /// `<source>/<table>/<yyyy>/<mm>/<dd>/<run>`, with the landing's number where one run may land a table several times.
    fn prefix(&self, step: &Step<'_>, clock: DateTime<Utc>, sequence: u64) -> String {
        let prefix = format!(
            "{}/{}/{}/{}",
            self.name,
            super::folder(step.table().name.as_str()),
            clock.format("%Y/%m/%d"),
            self.run
        );
        let mut previous = step.previous.iter();
        match previous.any(|previous| previous.reached.is_some()) {
            true => format!("{prefix}-{sequence:010}"),
            false => prefix,
        }
    }
}

/// A source that went away, or another run, ends the landing: the snapshot cannot be completed. A table that
/// is locked or was changed meanwhile stops by itself, and its next landing finds what it is by then.
fn stops_all(error: &crate::Error) -> bool {
    let of_one_table = error.downcast_ref::<SourceError>();
    !of_one_table.is_some_and(SourceError::is_of_one_table)
        && matches!(
            error.kind(),
            ErrorKind::Unavailable | ErrorKind::Conflict | ErrorKind::Bug
        )
}
