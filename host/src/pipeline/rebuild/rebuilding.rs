//! One rebuild: from the landings to the manifest that names what became of them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::is_due;
use super::outputs::Outputs;
use super::report::TableRebuilt;
use crate::contract::LoadMode;
use crate::digest::Digest;
use crate::error::{ErrorKind, Result};
use crate::manifest::{
    InputObjects, LandingManifest, LastRebuild, ManifestError, ManifestLog, ProcessedManifest,
    RebuiltLanding, RebuiltTable, rows_of,
};
use crate::pipeline::current::current_inputs;
use crate::pipeline::execute::inputs_of;
use crate::pipeline::folder;
use crate::pipeline::history;
use crate::pipeline::inputs::{InputError, Landings};
use crate::pipeline::maker::Maker;
use crate::pipeline::modules::Made;
use crate::pipeline::report::TableFailure;
use crate::pipeline::sweep::{Begun, Notes};
use crate::pipeline::transform::{inputs_digest, reasons};
use crate::run::{RunId, Stage};
use crate::sandbox::Reject;
use crate::table::TableName;
use crate::zone::Zone;
use crate::zone::parquet::WRITER;

/// How often a rebuild takes the next number when runs were faster. Each time it makes what they have added and no more.
const ATTEMPTS: u32 = 20;

/// A table that is to be made anew.
pub(super) struct Wish {
    /// The table with the module that makes it.
    pub(super) made: Made,
    /// The promotion of that module.
    pub(super) promotion: Option<u64>,
    /// Whether it is made anew even if that has been done for that promotion.
    pub(super) anew: bool,
}

/// What became of the wishes.
#[derive(Debug, Default)]
pub(super) struct Rebuilt {
    pub(super) tables: Vec<TableRebuilt>,
    /// What the manifest says of them.
    pub(super) committed: BTreeMap<String, LastRebuild>,
    pub(super) nothing_to_do: Vec<String>,
    pub(super) failures: Vec<TableFailure>,
}

/// Tables that are made anew together: one manifest, and one commit in the warehouse.
pub(super) struct Rebuilding {
    pub(super) wishes: Vec<Wish>,
    /// The landing zone.
    pub(super) landed: Arc<dyn Zone>,
    /// What makes them.
    pub(super) maker: Maker,
}

/// One landing that a table is made of.
struct Job {
    landing: Arc<(LandingManifest, Digest)>,
    inputs: Vec<InputObjects>,
    keys: Vec<Vec<String>>,
    found: Option<RebuiltLanding>,
}

/// What a job gave.
struct Done {
    landing: RebuiltLanding,
    /// The refused rows where the module was run; `None` where its output was found.
    computed: Option<Vec<Reject>>,
}

impl Rebuilding {
    /// Makes the tables and commits the manifest. Where runs commit meanwhile, it makes what they have added.
    ///
    /// # Errors
    /// `Conflict` when runs were faster too often, `Unavailable`. A table's failure is in what is given back.
    pub(super) async fn run(&self) -> Result<Rebuilt> {
        let zone = self.maker.reader.processed.clone();
        let log = ManifestLog::<ProcessedManifest>::new(zone.clone(), "");
        let notes = Notes::<ProcessedManifest>::new(zone, "");
        let names: BTreeSet<&str> = self.wishes.iter().map(|w| w.made.table.as_str()).collect();
        let mut outputs = Outputs::default();
        let mut begun: Option<Begun> = None;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let newest = log.newest().await?;
            let mut rebuilt = Rebuilt::default();
            let due = self.due(newest.as_ref(), &mut rebuilt);
            let Some(newest) = newest.filter(|_| !due.is_empty()) else {
                if let Some(begun) = &begun {
                    notes.settle(begun, &self.maker.output, None).await;
                }
                return Ok(rebuilt);
            };
            outputs.read(&log, newest.sequence, &names).await?;
            let mut manifest = following(&newest, &self.maker.run);
            let prefixes = names.iter().map(|table| self.below(table)).collect();
            let note = notes
                .begin(&self.maker.run, manifest.sequence, prefixes)
                .await?;
            // What was written for the number that another took is ours by the new note.
            if let Some(before) = begun.take() {
                notes.forget(&before).await;
            }
            let begun = begun.insert(note);
            let made = self.make(
                &newest,
                &due,
                attempt,
                &mut outputs,
                &mut manifest,
                &mut rebuilt,
            );
            made.await?;
            let manifest = manifest.formatted();
            if manifest.rebuilds.is_empty() {
                notes.settle(begun, &self.maker.output, None).await;
                return Ok(rebuilt);
            }
            match log.commit(&manifest).await {
                Ok(()) => {
                    notes
                        .settle(begun, &self.maker.output, Some(&manifest))
                        .await;
                    return Ok(rebuilt);
                }
                Err(ManifestError::Taken { .. }) if attempt < ATTEMPTS => {}
                Err(error) => {
                    notes.settle(begun, &self.maker.output, None).await;
                    return Err(error.into());
                }
            }
        }
    }

    /// The wishes that are not fulfilled yet.
    fn due(&self, newest: Option<&ProcessedManifest>, rebuilt: &mut Rebuilt) -> Vec<&Wish> {
        let (due, done) = self.wishes.iter().partition(|wish| {
            let table = &wish.made.table;
            let is_made = newest.is_some_and(|newest| newest.through.contains_key(table));
            match wish.promotion.filter(|_| !wish.anew) {
                Some(promotion) => is_due(newest, table, promotion),
                None => is_made,
            }
        });
        let done: Vec<&Wish> = done;
        rebuilt.nothing_to_do = done.into_iter().map(|w| w.made.table.clone()).collect();
        due
    }

    /// Makes the tables that are due. One that fails is left out.
    async fn make(
        &self,
        newest: &ProcessedManifest,
        due: &[&Wish],
        attempt: u32,
        outputs: &mut Outputs,
        manifest: &mut ProcessedManifest,
        rebuilt: &mut Rebuilt,
    ) -> Result<()> {
        for wish in due {
            let table = &wish.made.table;
            self.maker.observer.began(Stage::Transform, table, None);
            let made = self
                .table(newest, &wish.made, attempt, outputs, manifest)
                .await;
            let said = match &made {
                Ok((_, told)) => format!("{} reused, {} recomputed", told.reused, told.recomputed),
                Err(error) => format!("failed: {error}"),
            };
            self.maker.observer.ended(Stage::Transform, table, &said);
            match made {
                Ok((made, told)) => {
                    let last = LastRebuild {
                        manifest: Some(manifest.sequence),
                        promotion: wish.promotion,
                    };
                    manifest.rebuilds.insert(table.clone(), made);
                    manifest.rebuilt.insert(table.clone(), last.clone());
                    rebuilt.committed.insert(table.clone(), last);
                    rebuilt.tables.push(told);
                }
                Err(error) if error.kind() == ErrorKind::Unavailable => return Err(error.on(table)),
                Err(error) => {
                    let failure = TableFailure::new(table, Stage::Transform, &error);
                    rebuilt.failures.push(failure);
                }
            }
        }
        Ok(())
    }

    /// Makes one table of every landing that is in it.
    async fn table(
        &self,
        newest: &ProcessedManifest,
        made: &Made,
        attempt: u32,
        outputs: &mut Outputs,
        manifest: &mut ProcessedManifest,
    ) -> Result<(RebuiltTable, TableRebuilt)> {
        let started = Instant::now();
        let landings = Landings::new(self.landed.clone(), &made.source);
        history::check_landed(&made.source, &landings, newest).await?;
        let through = newest.through.get(&made.table).map_or(0, |t| t.landing);
        let numbers = landings_of(&landings, made, through).await?;
        let mut jobs = Vec::with_capacity(numbers.len());
        for landing in numbers {
            let job = self.plan(&landings, made, (landing, attempt), outputs, manifest);
            jobs.push(job.await?);
        }
        let done: Vec<Done> = stream::iter(jobs)
            .map(|job| self.execute(made, job, attempt))
            .buffered(self.maker.at_once.max(1))
            .try_collect()
            .await?;
        for done in &done {
            outputs.add(&made.table, done.landing.clone());
        }
        let mut told = told(made, through, &done);
        told.elapsed = started.elapsed();
        let rebuilt = RebuiltTable {
            source: made.source.clone(),
            through,
            gone: outputs.gone(&made.table, &made.module.description().into()),
            landings: done.into_iter().map(|done| done.landing).collect(),
        };
        Ok((rebuilt, told))
    }

    /// Finds out what the table is made of at a landing, and whether that has been computed.
    async fn plan(
        &self,
        landings: &Landings,
        made: &Made,
        (number, attempt): (u64, u32),
        outputs: &mut Outputs,
        manifest: &mut ProcessedManifest,
    ) -> Result<Job> {
        let landing = landings.get(number).await?;
        let kept = outputs.kept_before(number);
        let (inputs, keys) = inputs_of(landings, &made.module, number, &kept).await?;
        let digest = inputs_digest(&made.module.reference().digest, &inputs, &landing.1);
        let zone = &self.maker.reader.processed;
        let found = outputs.find(zone, &made.table, digest).await?;
        if found.is_none() && made.module.description().output.mode != LoadMode::Overwrite {
            for table in current_inputs(std::iter::once(&*made.module)) {
                let below = self.below(&made.table);
                let prefix = format!("{below}{number:010}-{attempt}/current/{}", folder(table));
                let rows = self
                    .maker
                    .keep_current(landings, (table, number), &kept, prefix);
                if let Some(rows) = rows.await? {
                    let table = TableName::new(table);
                    let newer = manifest.current.get(&table);
                    if newer.is_none_or(|newer| newer.landing < rows.landing) {
                        manifest.current.insert(table.clone(), rows.clone());
                    }
                    outputs.keep(table, rows);
                }
            }
        }
        Ok(Job {
            landing,
            inputs,
            keys,
            found,
        })
    }

    async fn execute(&self, made: &Made, job: Job, attempt: u32) -> Result<Done> {
        if let Some(landing) = job.found {
            let computed = None;
            return Ok(Done { landing, computed });
        }
        let (landing, sha256) = (&job.landing.0, job.landing.1);
        let prefix = format!(
            "{}{:010}-{attempt}",
            self.below(&made.table),
            landing.sequence
        );
        let given = (job.inputs, job.keys);
        let outcome = self.maker.make(made, &job.landing, given, prefix).await?;
        Ok(Done {
            landing: RebuiltLanding {
                landing: landing.sequence,
                landing_sha256: sha256,
                logical_time: landing.logical_time,
                run: self.maker.run.clone(),
                writer: WRITER.to_owned(),
                made: outcome.table,
            },
            computed: Some(outcome.rejects),
        })
    }

    /// What the keys of everything begin with that is written for a table.
    fn below(&self, table: &str) -> String {
        format!("{}/rebuilt/{}/", folder(table), self.maker.run)
    }
}

/// The landings that a table is made of: those up to `through` in which some input of it changed; of a table that every
/// landing makes whole the newest of them.
async fn landings_of(landings: &Landings, made: &Made, through: u64) -> Result<BTreeSet<u64>> {
    let mut numbers = BTreeSet::new();
    let description = made.module.description();
    for input in &description.inputs {
        numbers.extend(landings.chain(&input.table, 0, through).await?);
    }
    let Some(newest) = numbers.last().copied() else {
        let input = description.inputs.first();
        let table = input.map(|input| input.table.clone()).unwrap_or_default();
        return Err(InputError::NotLanded(table).into());
    };
    Ok(match description.output.mode {
        LoadMode::Overwrite => BTreeSet::from([newest]),
        _ => numbers,
    })
}

/// The manifest after `newest`, with everything that is carried on.
fn following(newest: &ProcessedManifest, run: &RunId) -> ProcessedManifest {
    ProcessedManifest {
        sequence: newest.sequence + 1,
        run: run.clone(),
        tidemill: env!("CARGO_PKG_VERSION").to_owned(),
        writer: WRITER.to_owned(),
        tables: BTreeMap::new(),
        rebuilds: BTreeMap::new(),
        ..newest.clone()
    }
}

fn told(made: &Made, through: u64, done: &[Done]) -> TableRebuilt {
    let computed = || done.iter().filter(|done| done.computed.is_some());
    let outputs = || done.iter().map(|done| &done.landing.made);
    let recomputed = computed().count() as u64;
    let rejects: Vec<Reject> = computed()
        .filter_map(|done| done.computed.as_ref())
        .flatten()
        .cloned()
        .collect();
    TableRebuilt {
        table: made.table.clone(),
        module: made.module.reference().clone(),
        through,
        reused: done.len() as u64 - recomputed,
        recomputed,
        rows_in: computed().map(|done| done.landing.made.rows_in).sum(),
        rows_out: outputs().map(|made| rows_of(&made.rows)).sum(),
        rows_rejected: outputs().map(|made| rows_of(&made.rejects)).sum(),
        reasons: reasons(&rejects, |message| made.module.message(message)),
        fuel: computed().map(|done| done.landing.made.fuel).sum(),
        elapsed: std::time::Duration::ZERO,
    }
}
