//! Transform: landings to processed manifests, through the modules.
//!
//! Landings are transformed one by one in their order, because a fact keeps every version. Within a
//! landing the tables are made at the same time, as many as there are cores. A table whose module fails
//! stays behind at that landing; the others go on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use tracing::{Instrument as _, Span};

use super::current::current_inputs;
use super::execute::{Outcome, inputs_of};
use super::history;
use super::inputs::{InputError, Landings};
use super::maker::Maker;
use super::modules::Made;
use super::rebuild::Standing;
use super::report::{RejectReason, TableFailure, TableTransformed, TransformReport};
use super::spans;
use super::sweep::Notes;
use crate::digest::Digest;
use crate::error::{Classify, ErrorKind, Result};
use crate::manifest::{FORMAT, InputObjects, ManifestLog, ProcessedManifest, Through};
use crate::run::Stage;
use crate::sandbox::Reject;
use crate::table::TableName;
use crate::zone::parquet::WRITER;

/// Reasons of refused rows that a report shows.
const REASONS: usize = 8;

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
}

impl Transformation<'_> {
    /// Transforms every pending landing and commits a manifest for each.
    ///
    /// # Errors
    /// `Conflict` when another run committed meanwhile, `Unavailable` when a zone does not answer.
    pub(super) async fn run(&mut self, report: &mut TransformReport) -> Result<()> {
        let log = ManifestLog::<ProcessedManifest>::new(self.maker.reader.processed.clone(), "");
        let notes = Notes::<ProcessedManifest>::new(self.maker.reader.processed.clone(), "");
        let mut swept = false;
        let mut newest = log.newest().await?;
        if let Some(newest) = &newest {
            history::check_landed(self.source, &self.landings, newest).await?;
        }
        let Some(through) = self.landings.newest().await?.map(|m| m.sequence) else {
            return Ok(());
        };
        self.leave_rebuilt(newest.as_ref(), report);
        let mut pending = self.pending(newest.as_ref(), through, report).await?;
        while let Some(landing) = pending.values().flatten().min().copied() {
            let due: BTreeSet<String> = pending
                .iter()
                .filter(|(_, landings)| landings.contains(&landing))
                .map(|(table, _)| table.clone())
                .collect();
            let mut manifest = self.manifest(landing, newest.as_ref()).await?;
            let begun = notes
                .begin(
                    &self.maker.run,
                    manifest.sequence,
                    self.prefixes(&manifest, &due),
                )
                .await?;
            let outcomes = self.make(&manifest, &due).await;
            for (table, span, elapsed, outcome) in outcomes {
                if outcome.is_err() {
                    spans::failed(&span);
                }
                match outcome {
                    Ok(outcome) => {
                        let made = transformed(&table, landing, &outcome, elapsed);
                        span.in_scope(|| spans::transformed(&made));
                        report.tables.push(made);
                        self.note(&mut manifest, &table, landing);
                        manifest.tables.insert(table, outcome.table);
                    }
                    Err(error) if error.kind() == ErrorKind::Unavailable => {
                        return Err(error.at(Stage::Transform).on(table));
                    }
                    Err(error) => {
                        pending.remove(&table);
                        report
                            .failures
                            .push(TableFailure::new(table, Stage::Transform, &error));
                    }
                }
            }
            for landings in pending.values_mut() {
                landings.remove(&landing);
            }
            if manifest.tables.is_empty() {
                notes.settle(&begun, &self.maker.output, None).await;
                continue;
            }
            self.keep_current(&mut manifest).await?;
            let manifest = manifest.formatted();
            notes.commit(&begun, &self.maker.output, &manifest).await?;
            if !std::mem::replace(&mut swept, true) {
                report
                    .swept
                    .add(notes.sweep(&begun, self.sweep_after).await);
            }
            notes
                .settle(&begun, &self.maker.output, Some(&manifest))
                .await;
            newest = Some(manifest);
        }
        Ok(())
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

    /// By table, the landings that are to be transformed.
    async fn pending(
        &self,
        newest: Option<&ProcessedManifest>,
        through: u64,
        report: &mut TransformReport,
    ) -> Result<BTreeMap<String, BTreeSet<u64>>> {
        let mut pending = BTreeMap::new();
        for made in &self.tables {
            let through_of = newest.and_then(|m| m.through.get(&made.table));
            let done = through_of.map_or(0, |through| through.landing);
            match pending_landings(&self.landings, made, done, through).await {
                Ok(landings) => {
                    pending.insert(made.table.clone(), landings);
                }
                Err(error) if error.downcast_ref::<InputError>().is_some() => report
                    .failures
                    .push(TableFailure::new(&made.table, Stage::Transform, &error)),
                Err(error) => return Err(error),
            }
        }
        Ok(pending)
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

    /// Makes the tables that are due, several at a time.
    async fn make(
        &self,
        manifest: &ProcessedManifest,
        due: &BTreeSet<String>,
    ) -> Vec<(String, Span, Duration, Result<Outcome>)> {
        let due: Vec<&Made> = self
            .tables
            .iter()
            .filter(|made| due.contains(&made.table))
            .collect();
        stream::iter(due)
            .map(|made| async move {
                let started = Instant::now();
                let observer = &self.maker.observer;
                observer.began(Stage::Transform, &made.table, None);
                let span = spans::table(Stage::Transform, &made.source, &made.table);
                let making = self.make_one(manifest, made);
                let outcome = making.instrument(span.clone()).await;
                let said = match &outcome {
                    Ok(outcome) => format!(
                        "{} rows, {} rejected",
                        outcome.rows_out(),
                        outcome.rows_rejected()
                    ),
                    Err(error) => format!("failed: {error}"),
                };
                observer.ended(Stage::Transform, &made.table, &said);
                (made.table.clone(), span, started.elapsed(), outcome)
            })
            .buffered(self.maker.at_once.max(1))
            .collect()
            .await
    }

    async fn make_one(&self, manifest: &ProcessedManifest, made: &Made) -> Result<Outcome> {
        let (landing, kept) = (manifest.landing, &manifest.current);
        let (inputs, keys) = inputs_of(&self.landings, &made.module, landing, kept).await?;
        let landing = self.landings.get(landing).await?;
        let prefix = self.made_below(manifest, &made.table);
        self.maker
            .make(made, &landing, (inputs, keys), prefix)
            .await
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

/// The landings after `done` in which some input of the table changed.
///
/// # Errors
/// `Config` when an input's table has never been landed.
pub(super) async fn pending_landings(
    landings: &Landings,
    made: &Made,
    done: u64,
    through: u64,
) -> Result<BTreeSet<u64>> {
    let mut pending = BTreeSet::new();
    for input in &made.module.description().inputs {
        if landings.state(&input.table, through).await?.is_none() {
            return Err(InputError::NotLanded(input.table.clone()).into());
        }
        pending.extend(landings.chain(&input.table, done, through).await?);
    }
    Ok(pending)
}

fn transformed(
    table: &str,
    landing: u64,
    outcome: &Outcome,
    elapsed: Duration,
) -> TableTransformed {
    TableTransformed {
        table: table.to_owned(),
        landing,
        module: outcome.table.module.clone(),
        rows_in: outcome.table.rows_in,
        rows_out: outcome.rows_out(),
        rows_retracted: outcome.rows_retracted(),
        rows_rejected: outcome.rows_rejected(),
        bytes: outcome.bytes(),
        reasons: reasons(&outcome.rejects, |message| outcome.shown(message)),
        fuel: outcome.table.fuel,
        elapsed,
    }
}

/// The commonest reasons for which rows were refused, at most [`REASONS`].
///
/// `shown` makes of a message what may be shown of it.
pub(super) fn reasons<'r>(
    rejects: &'r [Reject],
    shown: impl Fn(&'r str) -> &'r str,
) -> Vec<RejectReason> {
    let mut by_code: BTreeMap<&str, RejectReason> = BTreeMap::new();
    for reject in rejects {
        by_code
            .entry(&reject.code)
            .or_insert_with(|| RejectReason {
                code: reject.code.clone(),
                message: shown(&reject.message).to_owned(),
                rows: 0,
            })
            .rows += 1;
    }
    let mut reasons: Vec<RejectReason> = by_code.into_values().collect();
    reasons.sort_by(|a, b| b.rows.cmp(&a.rows).then_with(|| a.code.cmp(&b.code)));
    reasons.truncate(REASONS);
    reasons
}

/// What a table of a landing is made from, as one digest: the landing, the module with its parameters, and every object
/// in its order. What else decides about the bytes is how they are written.
pub(super) fn inputs_digest(module: &Digest, inputs: &[InputObjects], landing: &Digest) -> Digest {
    let mut parts: Vec<Vec<u8>> = vec![landing.as_bytes().to_vec(), module.as_bytes().to_vec()];
    for input in inputs {
        parts.push(input.table.as_str().as_bytes().to_vec());
        parts.extend(input.base.iter().map(|o| o.sha256.as_bytes().to_vec()));
        for landed in &input.landings {
            parts.push(landed.landing.to_le_bytes().to_vec());
            parts.extend(landed.changed.iter().map(|o| o.sha256.as_bytes().to_vec()));
            parts.push(b"deleted".to_vec());
            parts.extend(landed.deleted.iter().map(|o| o.sha256.as_bytes().to_vec()));
        }
    }
    Digest::of_parts(parts.iter().map(Vec::as_slice))
}
