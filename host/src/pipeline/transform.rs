//! Transform: landings to processed manifests, through the modules.
//!
//! Landings are transformed one by one in their order, because a fact keeps every version. Within a
//! landing the tables are made at the same time, as many as there are cores. A table whose module fails
//! stays behind at that landing; the others go on.

mod backlog;
mod commit;
mod making;
mod sources;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::claim::Claims;
use super::current::current_inputs;
use super::halt::HaltError;
use super::history;
use super::inputs::Landings;
use super::maker::Maker;
use super::modules::Made;
use super::rebuild::Standing;
use super::report::{LeftOver, TableFailure, TransformReport, Why};
use super::spans;
use super::sweep::Notes;
use crate::error::{Classify, ErrorKind, Result};
use crate::manifest::{FORMAT, ManifestLog, ProcessedManifest, Through};
use crate::run::{Halt, Stage};
use crate::table::TableName;
use crate::zone::parquet::WRITER;
use backlog::Pass;
pub(super) use backlog::pending_landings;
use making::{Attempt, transformed};
pub(super) use making::{inputs_digest, reasons};

/// Why a table is not transformed, though its module could make it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransformError {
    /// It may be of another version now.
    #[error("another run has made {0} anew meanwhile")]
    Rebuilt(String),
}

impl Classify for TransformError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Conflict
    }

    fn hint(&self) -> Option<String> {
        Some("run again: it then goes on with the version that made it".into())
    }
}

/// The transforms of one source in one run.
pub(super) struct Transformation<'a> {
    /// The source's name in the project file.
    pub(super) source: &'a str,
    /// Its landings.
    pub(super) landings: Landings,
    /// The tables that are made from it, with their modules.
    pub(super) tables: Vec<Made>,
    /// What makes them.
    pub(super) maker: Maker,
    /// How old is what is swept.
    pub(super) sweep_after: Duration,
    /// What was known of rebuilds when the modules were loaded.
    pub(super) standing: &'a Standing,
    /// Says when to commit what has been made.
    pub(super) halt: &'a Halt,
    /// Where runs share work, the claims of this one.
    pub(super) claims: Option<Claims>,
    /// Tables that failed: they are not tried again.
    pub(super) failed: BTreeSet<String>,
    /// Whether what dead runs left has been looked for.
    pub(super) swept: bool,
}

impl Transformation<'_> {
    /// Transforms every pending landing and commits a manifest for each. Where runs share the work it looks again until
    /// there is nothing that no other run is at: what another left to this one is found then.
    ///
    /// # Errors
    /// `Conflict` when another run committed meanwhile, `Unavailable` when a zone does not answer, or the word to stop
    /// came before anything was made.
    pub(super) async fn run(&mut self, report: &mut TransformReport) -> Result<()> {
        loop {
            let (committed, left) = self.pass(report).await?;
            if self.claims.is_some() && committed && !self.halt.is_called() {
                let zone = self.maker.reader.processed.clone();
                ManifestLog::<ProcessedManifest>::new(zone, "").look_again();
                self.landings.look_again();
                continue;
            }
            let halted: Vec<LeftOver> = left
                .iter()
                .filter(|left| left.why == Why::Halted)
                .cloned()
                .collect();
            if !halted.is_empty() && report.tables.is_empty() && report.rebuilt.is_empty() {
                return Err(HaltError::new(&halted).into());
            }
            report.left.extend(left);
            return Ok(());
        }
    }

    async fn pass(&mut self, report: &mut TransformReport) -> Result<(bool, BTreeSet<LeftOver>)> {
        let log = ManifestLog::<ProcessedManifest>::new(self.maker.reader.processed.clone(), "");
        let mut newest = log.newest().await?;
        if let Some(newest) = &newest {
            history::check_landed(self.source, &self.landings, newest).await?;
        }
        let Some(landed) = self.landings.newest().await? else {
            return Ok((false, BTreeSet::new()));
        };
        self.leave_rebuilt(newest.as_ref(), report);
        let mut pass = Pass {
            backlog: self.backlog(newest.as_ref(), &landed).await?,
            committed: false,
            left: BTreeSet::new(),
            report,
        };
        pass.report.failures.append(&mut pass.backlog.failures);
        for table in std::mem::take(&mut pass.backlog.waiting) {
            pass.leave(table, Why::NotLanded);
        }
        while let Some((landing, due)) = pass.backlog.next() {
            if self.halt.is_called() {
                due.into_iter()
                    .for_each(|table| pass.leave(table, Why::Halted));
                continue;
            }
            let done = self.landing(landing, &due, newest.take(), &mut pass).await;
            if let Some(claims) = &self.claims {
                claims.release_all().await;
            }
            newest = done?;
            pass.backlog.done(landing);
        }
        Ok((pass.committed, pass.left))
    }

    /// Makes the tables that are due of one landing and commits what was made; gives the newest manifest.
    async fn landing(
        &mut self,
        landing: u64,
        due: &BTreeSet<String>,
        newest: Option<ProcessedManifest>,
        pass: &mut Pass<'_>,
    ) -> Result<Option<ProcessedManifest>> {
        let notes = Notes::<ProcessedManifest>::new(self.maker.reader.processed.clone(), "");
        let mut manifest = self.manifest(landing, newest.as_ref()).await?;
        let begun = notes
            .begin(
                &self.maker.run,
                manifest.sequence,
                self.prefixes(&manifest, due),
            )
            .await?;
        let mut unmade = due.clone();
        let mut made = Vec::new();
        for (table, elapsed, attempt) in self.make(&manifest, due).await {
            unmade.remove(&table);
            match attempt {
                Attempt::Made(outcome, span) => {
                    let told = transformed(&table, landing, &outcome, elapsed);
                    span.in_scope(|| spans::transformed(&told));
                    made.push(told);
                    self.note(&mut manifest, &table, landing);
                    manifest.tables.insert(table, outcome.table);
                }
                Attempt::Elsewhere => pass.leave(table, Why::Elsewhere),
                Attempt::Failed(error) if error.kind() == ErrorKind::Unavailable => {
                    return Err(error.at(Stage::Transform).on(table));
                }
                Attempt::Failed(error) => {
                    pass.backlog.tables.remove(&table);
                    self.failed.insert(table.clone());
                    let failure = TableFailure::new(table, Stage::Transform, &error);
                    pass.report.failures.push(failure);
                }
            }
        }
        // What the word to stop kept from being made.
        for table in unmade {
            pass.leave(table, Why::Halted);
        }
        if manifest.tables.is_empty() {
            notes.settle(&begun, &self.maker.output, None).await;
            return Ok(newest);
        }
        self.keep_current(&mut manifest).await?;
        let committed = self.commit(&notes, begun, manifest.formatted(), newest);
        let committed = committed.await?;
        let ours = committed.ours.then_some(&committed.newest);
        if ours.is_some() && !std::mem::replace(&mut self.swept, true) {
            let swept = notes.sweep(&committed.begun, self.sweep_after).await;
            pass.report.swept.add(swept);
        }
        notes
            .settle(&committed.begun, &self.maker.output, ours)
            .await;
        pass.committed |= committed.ours;
        // What others made meanwhile is theirs.
        made.retain(|made| ours.is_some_and(|ours| ours.tables.contains_key(&made.table)));
        pass.report.tables.append(&mut made);
        Ok(Some(committed.newest))
    }

    /// Leaves alone what another run has made anew since the modules were loaded, perhaps with another version. What is
    /// rebuilt from here on takes the number of the manifest that this run would commit.
    fn leave_rebuilt(&mut self, newest: Option<&ProcessedManifest>, report: &mut TransformReport) {
        let rebuilt = |table: &str| newest.and_then(|newest| newest.rebuilt.get(table));
        let known = &self.standing.rebuilt;
        self.tables.retain(|made| {
            let table = &made.table;
            let is_same = rebuilt(table) == known.get(table);
            if !is_same {
                let error = TransformError::Rebuilt(table.clone()).into();
                let failure = TableFailure::new(table, Stage::Transform, &error);
                report.failures.push(failure);
            }
            is_same
        });
    }

    /// Notes how far a table is made by now.
    fn note(&self, manifest: &mut ProcessedManifest, table: &str, landing: u64) {
        let source = self.source.to_owned();
        let through = Through { source, landing };
        let before = manifest.through.insert(table.to_owned(), through);
        // Of a table that is made for the first time there is nothing to rebuild.
        if let (None, Some(promotion)) = (before, self.standing.wishes.get(table)) {
            let last = manifest.rebuilt.entry(table.to_owned()).or_default();
            last.promotion = Some(*promotion);
        }
    }

    async fn manifest(
        &self,
        landing: u64,
        newest: Option<&ProcessedManifest>,
    ) -> Result<ProcessedManifest> {
        let landed = self.landings.get(landing).await?;
        Ok(ProcessedManifest {
            format: FORMAT,
            sequence: newest.map_or(1, |m| m.sequence + 1),
            run: self.maker.run.clone(),
            tidemill: env!("CARGO_PKG_VERSION").to_owned(),
            writer: WRITER.to_owned(),
            source: self.source.to_owned(),
            landing,
            landing_sha256: landed.1,
            logical_time: landed.0.logical_time,
            tables: BTreeMap::new(),
            through: newest.map(|m| m.through.clone()).unwrap_or_default(),
            current: newest.map(|m| m.current.clone()).unwrap_or_default(),
            rebuilt: newest.map(|m| m.rebuilt.clone()).unwrap_or_default(),
            rebuilds: BTreeMap::new(),
        })
    }

    fn current_inputs(&self) -> BTreeSet<&str> {
        current_inputs(self.tables.iter().map(|made| &*made.module))
    }

    /// What the keys of everything begin with that may be written for `manifest`.
    fn prefixes(&self, manifest: &ProcessedManifest, due: &BTreeSet<String>) -> Vec<String> {
        let made = due.iter().map(|table| self.made_below(manifest, table));
        let current = self.current_inputs();
        let kept = current
            .into_iter()
            .map(|table| self.kept_below(manifest, table));
        made.chain(kept).collect()
    }

    fn made_below(&self, manifest: &ProcessedManifest, table: &str) -> String {
        format!(
            "{}/{}/{}-{:010}",
            super::folder(table),
            manifest.logical_time.format("%Y/%m/%d"),
            self.maker.run,
            manifest.landing
        )
    }

    fn kept_below(&self, manifest: &ProcessedManifest, table: &str) -> String {
        format!(
            "_current/{}/{}/{}-{:010}",
            self.source,
            super::folder(table),
            self.maker.run,
            manifest.landing
        )
    }

    /// Keeps the live rows of those `current` inputs on which much has landed since they were last kept.
    async fn keep_current(&self, manifest: &mut ProcessedManifest) -> Result<()> {
        for table in self.current_inputs() {
            let (prefix, at) = (self.kept_below(manifest, table), (table, manifest.landing));
            let (maker, kept) = (&self.maker, &manifest.current);
            let kept = maker.keep_current(&self.landings, at, kept, prefix).await?;
            if let Some(kept) = kept {
                manifest.current.insert(TableName::new(table), kept);
            }
        }
        Ok(())
    }
}
