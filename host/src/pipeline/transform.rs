//! Transform: landings to processed manifests, through the modules.
//!
//! Landings are transformed one by one in their order, because a fact keeps every version. Within a
//! landing the tables are made at the same time, as many as there are cores. A table whose module fails
//! stays behind at that landing; the others go on.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use tracing::{Instrument as _, Span};

use super::claim::Claims;
use super::current::current_inputs;
use super::execute::{Outcome, inputs_of};
use super::halt::HaltError;
use super::history;
use super::inputs::{InputError, Landings};
use super::maker::Maker;
use super::modules::Made;
use super::rebuild::Standing;
use super::report::{LeftOver, RejectReason, TableFailure, TableTransformed, TransformReport, Why};
use super::spans;
use super::sweep::{Begun, Notes};
use crate::digest::Digest;
use crate::error::{Classify, ErrorKind, Result};
use crate::manifest::{
    FORMAT, InputObjects, LandingManifest, ManifestError, ManifestLog, ProcessedManifest, Through,
};
use crate::run::{Halt, Stage};
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
    /// Says when to commit what has been made.
    pub(super) halt: &'a Halt,
    /// Where runs share work, the claims of this one.
    pub(super) claims: Option<Claims>,
    /// Tables that failed: they are not tried again.
    pub(super) failed: BTreeSet<String>,
    /// Whether what dead runs left has been looked for.
    pub(super) swept: bool,
}

/// What became of one table of a landing.
enum Attempt {
    /// What was made, and the span in which it was.
    Made(Box<Outcome>, Span),
    Failed(crate::Error),
    /// Another run is at it, or has just made it.
    Elsewhere,
}

/// What is pending of a source.
#[derive(Default)]
struct Backlog {
    /// By table, its landings.
    tables: BTreeMap<String, BTreeSet<u64>>,
    /// Tables of which nothing can be made yet.
    waiting: BTreeSet<String>,
    failures: Vec<TableFailure>,
}

impl Backlog {
    /// The oldest landing of which anything is pending, with the tables that are due.
    fn next(&self) -> Option<(u64, BTreeSet<String>)> {
        let landing = self.tables.values().flatten().min().copied()?;
        let due = self.tables.iter().filter(|(_, l)| l.contains(&landing));
        Some((landing, due.map(|(table, _)| table.clone()).collect()))
    }

    fn done(&mut self, landing: u64) {
        for landings in self.tables.values_mut() {
            landings.remove(&landing);
        }
    }
}

/// One look at the backlog.
struct Pass<'r> {
    backlog: Backlog,
    /// Whether a manifest was committed.
    committed: bool,
    left: BTreeSet<LeftOver>,
    report: &'r mut TransformReport,
}

impl Pass<'_> {
    fn leave(&mut self, table: String, why: Why) {
        self.backlog.tables.remove(&table);
        self.left.insert(LeftOver { what: table, why });
    }
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

    /// Commits a manifest. Where runs share the work and another was faster with this number, it is put on top of that
    /// one's, with those of its tables that nobody else has made: what a table is made of does not depend on it.
    async fn commit(
        &self,
        notes: &Notes<ProcessedManifest>,
        begun: Begun,
        manifest: ProcessedManifest,
        base: Option<ProcessedManifest>,
    ) -> Result<Committed> {
        if self.claims.is_none() {
            notes.commit(&begun, &self.maker.output, &manifest).await?;
            return Ok(Committed {
                newest: manifest,
                begun,
                ours: true,
            });
        }
        let log = ManifestLog::<ProcessedManifest>::new(self.maker.reader.processed.clone(), "");
        let (mut begun, mut manifest) = (begun, manifest);
        loop {
            match log.commit(&manifest).await {
                Ok(()) => {
                    return Ok(Committed {
                        newest: manifest,
                        begun,
                        ours: true,
                    });
                }
                Err(ManifestError::Taken { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            let Some(newest) = log.newest().await? else {
                continue;
            };
            let on_top = self.on_top(manifest, base.as_ref(), &newest).await?;
            if on_top.tables.is_empty() {
                return Ok(Committed {
                    newest,
                    begun,
                    ours: false,
                });
            }
            // The new note before the old one goes: an object is never without one.
            let due = on_top.tables.keys().cloned().collect();
            let next = notes
                .begin(
                    &self.maker.run,
                    on_top.sequence,
                    self.prefixes(&on_top, &due),
                )
                .await?;
            notes.forget(&begun).await;
            tracing::info!(
                manifest = on_top.sequence,
                "another run was faster: on top of it"
            );
            (begun, manifest) = (next, on_top);
        }
    }

    /// What of `ours`, which was made on top of `base`, is still to be done on top of `newest`.
    async fn on_top(
        &self,
        ours: ProcessedManifest,
        base: Option<&ProcessedManifest>,
        newest: &ProcessedManifest,
    ) -> Result<ProcessedManifest> {
        let mut manifest = self.manifest(ours.landing, Some(newest)).await?;
        for (table, made) in ours.tables {
            let before = base.and_then(|base| base.through.get(&table));
            let rebuilt = base.and_then(|base| base.rebuilt.get(&table));
            let is_ours =
                newest.through.get(&table) == before && newest.rebuilt.get(&table) == rebuilt;
            if is_ours {
                self.note(&mut manifest, &table, ours.landing);
                manifest.tables.insert(table, made);
            }
        }
        for (table, kept) in ours.current {
            let known = manifest.current.get(&table).map(|known| known.landing);
            if known.is_none_or(|known| known < kept.landing) {
                manifest.current.insert(table, kept);
            }
        }
        Ok(manifest.formatted())
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

    /// What is to be transformed.
    async fn backlog(
        &self,
        newest: Option<&ProcessedManifest>,
        landed: &LandingManifest,
    ) -> Result<Backlog> {
        let mut backlog = Backlog::default();
        let open = |made: &&Made| !self.failed.contains(&made.table);
        for made in self.tables.iter().filter(open) {
            let through_of = newest.and_then(|m| m.through.get(&made.table));
            let done = through_of.map_or(0, |through| through.landing);
            let table = made.table.clone();
            match pending_landings(&self.landings, made, done, landed.sequence).await {
                Ok(landings) => {
                    backlog.tables.insert(table, landings);
                }
                Err(error) => match error.downcast_ref::<InputError>() {
                    Some(InputError::NotLanded(input))
                        if self.claims.is_some()
                            && landed.waiting.iter().any(|waits| waits.as_str() == input) =>
                    {
                        backlog.waiting.insert(table);
                    }
                    Some(_) => {
                        let failure = TableFailure::new(table, Stage::Transform, &error);
                        backlog.failures.push(failure);
                    }
                    None => return Err(error),
                },
            }
        }
        Ok(backlog)
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

    /// Makes the tables that are due, several at a time, until the word to stop comes.
    async fn make(
        &self,
        manifest: &ProcessedManifest,
        due: &BTreeSet<String>,
    ) -> Vec<(String, Duration, Attempt)> {
        let mut due: Vec<&Made> = self
            .tables
            .iter()
            .filter(|made| due.contains(&made.table))
            .collect();
        if self.claims.is_some() && !due.is_empty() {
            // Runs that begin at the same time do not all ask for the same table first.
            let first = self
                .maker
                .run
                .as_str()
                .bytes()
                .map(usize::from)
                .sum::<usize>()
                % due.len();
            due.rotate_left(first);
        }
        let mut attempts: Vec<_> = stream::iter(due.into_iter().enumerate())
            .map(|(place, made)| async move {
                let started = Instant::now();
                let attempt = self.attempt(manifest, made).await;
                (place, (made.table.clone(), started.elapsed(), attempt))
            })
            // Not in their order: what is complete must not wait for what is not.
            .buffer_unordered(self.maker.at_once.max(1))
            .take_until(Box::pin(self.halt.called()))
            .collect()
            .await;
        attempts.sort_by_key(|(place, _)| *place);
        attempts.into_iter().map(|(_, attempt)| attempt).collect()
    }

    async fn attempt(&self, manifest: &ProcessedManifest, made: &Made) -> Attempt {
        match self.claim(manifest, made).await {
            Ok(true) => {}
            Ok(false) => return Attempt::Elsewhere,
            Err(error) => return Attempt::Failed(error),
        }
        let observer = &self.maker.observer;
        observer.began(Stage::Transform, &made.table, None);
        let span = spans::table(Stage::Transform, &made.source, &made.table);
        let making = self.make_one(manifest, made).instrument(span.clone());
        let outcome = making.await;
        let said = match &outcome {
            Ok(outcome) => format!(
                "{} rows, {} rejected",
                outcome.rows_out(),
                outcome.rows_rejected()
            ),
            Err(error) => format!("failed: {error}"),
        };
        observer.ended(Stage::Transform, &made.table, &said);
        match outcome {
            Ok(outcome) => Attempt::Made(Box::new(outcome), span),
            Err(error) => {
                spans::failed(&span);
                Attempt::Failed(error)
            }
        }
    }

    /// Takes a table of a landing where runs share the work; false where another has it, or has just made it.
    async fn claim(&self, manifest: &ProcessedManifest, made: &Made) -> Result<bool> {
        let Some(claims) = &self.claims else {
            return Ok(true);
        };
        let work = format!("{}/{:010}", super::folder(&made.table), manifest.landing);
        if !claims.take(&work).await? {
            return Ok(false);
        }
        let log = ManifestLog::<ProcessedManifest>::new(self.maker.reader.processed.clone(), "");
        if log.find(manifest.sequence).await?.is_some() {
            // Somebody has committed since the backlog was looked at.
            let newest = log.newest().await?;
            let through = newest.as_ref().and_then(|n| n.through.get(&made.table));
            if through.is_some_and(|through| through.landing >= manifest.landing) {
                claims.release(&work).await;
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn make_one(&self, manifest: &ProcessedManifest, made: &Made) -> Result<Outcome> {
        let (landing, kept) = (manifest.landing, &manifest.current);
        let (inputs, keys) = inputs_of(&self.landings, &made.module, landing, kept).await?;
        let landing = self.landings.get(landing).await?;
        let prefix = self.made_below(manifest, &made.table);
        let given = (inputs, keys);
        self.maker.make(made, &landing, given, prefix).await
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

/// A manifest that stands in the log.
struct Committed {
    /// The newest one.
    newest: ProcessedManifest,
    /// The note of it.
    begun: Begun,
    /// Whether this run committed it; if not, others have made all of it.
    ours: bool,
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
        reasons: reasons(&outcome.rejects, |message| outcome.shown(message)),
        fuel: outcome.table.fuel,
        bytes: outcome.bytes(),
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
