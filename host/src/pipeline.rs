//! The straight line: the only room that knows several others.
//!
//! ```text
//! extract ──▶ landing manifest ──▶ transform ──▶ processed manifest ──▶ load ──▶ ledger
//!   window      index, landing       inputs, execute                      load
//! ```
//!
//! Every stage finds its own work: what is landed and not processed, what is processed and not loaded.
//! So each runs alone or all in one, and recovery is nothing but the next run.

mod access;
mod bounds;
mod bundle;
mod claim;
mod current;
mod cut;
mod declared;
mod execute;
mod extract;
mod halt;
mod history;
mod index;
mod inputs;
mod kept;
mod landing;
pub mod lineage;
mod load;
mod maker;
mod modules;
mod observer;
mod preview;
pub mod publish;
mod questions;
mod ready;
pub mod rebuild;
pub mod report;
mod rows;
mod schema;
mod sensitive;
pub mod shadow;
mod spans;
mod survey;
mod sweep;
mod temporary;
pub mod trace;
mod transform;
mod verify;
mod window;

use std::sync::Arc;
use std::time::Instant;

use chrono::{DateTime, Utc};
use tokio::sync::OnceCell;
use tracing::Instrument as _;

use crate::config::Plan;
use crate::connection::traffic::Traffic;
use crate::error::Result;
use crate::manifest::{LandingManifest, ManifestLog, Object, ProcessedManifest};
use crate::registry::{Registry, Trust};
use crate::run::{Halt, RunId, Stage};
use crate::sandbox::Sandbox;
use crate::table::folder;
use crate::vault::Vault;
use crate::warehouse::{Sweep, SweptFile, Warehouse};
use crate::zone::log::Memory;
use crate::zone::watched::Watched;
use crate::zone::{Zone, parquet::Part};
use claim::Claims;
pub use claim::Sharing;
use extract::ExtractError;
use inputs::{Landings, Reader};
use load::Loading;
use maker::Maker;
use modules::Shelf;
use report::{
    ExtractReport, LoadReport, Observer, RunReport, Scope, SweepReport, SweptObject,
    TransformReport,
};
use sweep::Notes;

/// A project that is ready to run.
pub struct Pipeline {
    plan: Plan,
    observer: Arc<dyn Observer>,
    landed: Arc<dyn Zone>,
    processed: Arc<dyn Zone>,
    modules: Arc<dyn Zone>,
    traffic: Traffic,
    registry: Registry,
    trust: Trust,
    sandbox: Arc<Sandbox>,
    /// Opened by the first who needs it: extracting alone needs no URL of the warehouse.
    warehouse: OnceCell<Box<dyn Warehouse>>,
    /// What services keep of the URLs.
    vault: Arc<Vault>,
    halt: Halt,
    /// How it shares work with others that run at the same time, if it does.
    sharing: Option<Sharing>,
    /// The warehouse tables that it transforms; empty for all.
    only: Vec<String>,
}

impl Pipeline {
    /// Opens the zones, the registry and the sandbox of `plan`. Nothing is contacted yet.
    ///
    /// # Errors
    /// `Config` when a URL is malformed.
    pub async fn open(plan: &Plan, observer: Arc<dyn Observer>) -> Result<Self> {
        let opener = crate::zone::Opener::new(&plan.base, &plan.zones.store);
        // A quarter of the disk of a function that asks for no larger one.
        let room_bytes = match plan.limits.process_bytes {
            Some(_) => 128 << 20,
            None => 1 << 30,
        };
        let opener = opener.keeping(&plan.cache, room_bytes);
        let zone = |url: &str| opener.open(url);
        let modules = zone(&plan.zones.modules)?;
        Ok(Self {
            observer,
            landed: zone(&plan.zones.ingestion)?,
            processed: zone(&plan.zones.processed)?,
            registry: Registry::new(modules.clone()),
            trust: modules::trust(plan)?,
            modules,
            traffic: opener.traffic(),
            sandbox: Arc::new(bounds::sandbox(plan)?),
            warehouse: OnceCell::new(),
            vault: Arc::new(Vault::new(plan.vault.clone())),
            halt: Halt::default(),
            sharing: None,
            only: Vec::new(),
            plan: plan.clone(),
        })
    }

    /// The same pipeline with a vault that others use as well: what was read is not read again.
    #[must_use]
    pub fn asking(self, vault: Arc<Vault>) -> Self {
        Self { vault, ..self }
    }

    /// The same pipeline, whose stages commit what is complete and end when this word is given.
    #[must_use]
    pub fn halted_by(self, halt: Halt) -> Self {
        Self { halt, ..self }
    }

    /// The same pipeline, which leaves alone what another is at that shares the work, and commits beside it.
    #[must_use]
    pub fn sharing(self, sharing: Sharing) -> Self {
        Self {
            sharing: Some(sharing),
            ..self
        }
    }

    /// The same pipeline, which transforms these tables only; all, if none is named.
    #[must_use]
    pub fn making(self, only: Vec<String>) -> Self {
        Self { only, ..self }
    }

    /// Lands what changed in every source since the last landing.
    ///
    /// # Errors
    /// `Unavailable` when a source goes away, `Conflict` when another run committed meanwhile, `Config`.
    /// A single table's error is in the report instead.
    pub async fn extract(&self, run: &RunId, scope: &Scope) -> Result<Vec<ExtractReport>> {
        in_stage(Stage::Extract, self.extract_all(run, scope)).await
    }

    /// Tables made at the same time.
    fn at_once(&self) -> usize {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        self.plan.limits.at_once(cores)
    }

    fn claims(&self, zone: &Arc<dyn Zone>, prefix: &str, run: &RunId) -> Option<Claims> {
        let sharing = self.sharing.as_ref()?;
        Some(Claims::new(zone.clone(), prefix, run, sharing))
    }

    /// Makes every table of every landing that is not transformed yet.
    ///
    /// # Errors
    /// `Conflict` when another run committed meanwhile, `Unavailable` when a zone does not answer. A
    /// single table's error is in the report instead.
    pub async fn transform(&self, run: &RunId) -> Result<TransformReport> {
        in_stage(Stage::Transform, self.transform_all(run)).await
    }

    /// Loads every processed landing that the warehouse does not have.
    ///
    /// # Errors
    /// The warehouse's own; what was loaded before stays, landing by landing.
    pub async fn load(&self, run: &RunId) -> Result<LoadReport> {
        in_stage(Stage::Load, self.load_all(run)).await
    }

    async fn load_all(&self, run: &RunId) -> Result<LoadReport> {
        let started = Instant::now();
        let mut report = LoadReport::default();
        let loading = Loading {
            zone: self.processed.clone(),
            warehouse: self.warehouse().await?,
            run,
            observer: self.observer.clone(),
            halt: &self.halt,
        };
        loading
            .run(&mut report)
            .await
            .map_err(|error| error.at(Stage::Load))?;
        if !report.landings.is_empty() || !report.rebuilds.is_empty() {
            let warehouse = self.warehouse().await?;
            match warehouse
                .sweep(self.plan.zones.sweep_after, Sweep::WhenDue)
                .await
            {
                Ok(files) => report.swept.swept = files.into_iter().map(swept).collect(),
                // What was loaded is loaded.
                Err(error) => tracing::warn!(%error, "cannot sweep the warehouse"),
            }
        }
        report.elapsed = started.elapsed();
        Ok(report)
    }

    /// Removes what no manifest names and no run can name any more, after looking at every object there is.
    ///
    /// # Errors
    /// `Data` or `Config` when a manifest cannot be read: nothing of its zone is removed then. `Unavailable`.
    pub async fn sweep(&self, run: &RunId, rehearsal: bool) -> Result<SweepReport> {
        let age = self.plan.zones.sweep_after;
        let mut report = SweepReport::default();
        for source in self.plan.sources.keys() {
            let notes = Notes::<LandingManifest>::new(self.landed.clone(), source);
            report.add(notes.sweep_all(run, age, rehearsal).await?);
        }
        let notes = Notes::<ProcessedManifest>::new(self.processed.clone(), "");
        report.add(notes.sweep_all(run, age, rehearsal).await?);
        report.add(sweep::sweep_unfinished(&self.modules, run, age, rehearsal).await?);
        let how = match rehearsal {
            true => Sweep::Rehearsal,
            false => Sweep::Now,
        };
        let files = self.warehouse().await?.sweep(age, how).await?;
        report.swept.extend(files.into_iter().map(swept));
        Ok(report)
    }

    /// Runs `stages` one after the other.
    ///
    /// # Errors
    /// Those of the stages. A table's failure does not keep the later stages from the other tables.
    pub async fn run(
        &self,
        run: &RunId,
        started: DateTime<Utc>,
        stages: &[Stage],
        scope: &Scope,
    ) -> Result<RunReport> {
        let clock = Instant::now();
        let before = self.traffic.moved();
        let mut report = RunReport::empty(run.clone(), started);
        let zones = [&self.landed, &self.processed, &self.modules];
        let memory = zones.into_iter().find_map(|zone| zone.memory());
        let moment = memory.map(Memory::moment);
        let done = self.stages(run, stages, scope, &mut report).await;
        drop(moment);
        if let Some(memory) = memory {
            memory.note().await;
        }
        done?;
        report.elapsed = clock.elapsed();
        let moved = self.traffic.moved().since(&before);
        report.store = (moved.requests() > 0).then_some(moved);
        Ok(report)
    }

    async fn stages(
        &self,
        run: &RunId,
        stages: &[Stage],
        scope: &Scope,
        report: &mut RunReport,
    ) -> Result<()> {
        if stages.contains(&Stage::Extract) {
            if stages.contains(&Stage::Transform) {
                self.check_landed().await?;
            }
            report.extract = self.extract(run, scope).await?;
        }
        // What a run that is told to stop has not begun is left to the next one, which finds it by itself.
        if stages.contains(&Stage::Transform) && !self.halt.is_called() {
            report.transform = Some(self.transform(run).await?);
        }
        if stages.contains(&Stage::Load) && !self.halt.is_called() {
            report.load = Some(self.load(run).await?);
        }
        Ok(())
    }

    /// Whether the landing zone has what was transformed: seen before anything is landed on top of it.
    async fn check_landed(&self) -> Result<()> {
        // A processed zone that cannot be read keeps nobody from landing; the next stage says what is wrong.
        let Ok(Some(processed)) = self.processed_log().newest().await else {
            return Ok(());
        };
        for source in self.plan.sources.keys() {
            let landings = Landings::new(self.landed.clone(), source);
            history::check_landed(source, &landings, &processed)
                .await
                .map_err(|error| error.at(Stage::Extract))?;
        }
        Ok(())
    }

    async fn warehouse(&self) -> Result<&dyn Warehouse> {
        let (plan, base) = (&self.plan.warehouse, &self.plan.base);
        let opened = self
            .warehouse
            .get_or_try_init(|| access::warehouse(plan, base, &self.vault, &self.traffic))
            .await?;
        Ok(opened.as_ref())
    }

    /// Where the project's modules come from.
    fn shelf(&self) -> Shelf<'_> {
        Shelf {
            plan: &self.plan,
            registry: &self.registry,
            trust: &self.trust,
            sandbox: &self.sandbox,
        }
    }

    /// What makes tables in this run.
    fn maker(&self, run: &RunId) -> Maker {
        Maker {
            reader: self.reader(),
            output: Watched::new(self.processed.clone()),
            run: run.clone(),
            observer: self.observer.clone(),
            sensitive: Arc::new(self.plan.sensitive().collect()),
            at_once: self.at_once(),
        }
    }

    fn reader(&self) -> Reader {
        Reader {
            landed: self.landed.clone(),
            processed: self.processed.clone(),
        }
    }

    fn processed_log(&self) -> ManifestLog<ProcessedManifest> {
        ManifestLog::new(self.processed.clone(), "")
    }
}

/// Whether a stage did nothing because another run that shares the work is at all of it.
pub fn is_elsewhere(error: &crate::Error) -> bool {
    matches!(error.downcast_ref(), Some(ExtractError::Elsewhere(_)))
}

/// Whether a run was told to stop before any of its work was complete.
pub fn is_halted(error: &crate::Error) -> bool {
    error.downcast_ref::<halt::HaltError>().is_some()
}

/// Runs a stage in its span.
async fn in_stage<R>(stage: Stage, work: impl Future<Output = Result<R>>) -> Result<R> {
    let span = spans::stage(stage);
    let done = work.instrument(span.clone()).await;
    if done.is_err() {
        spans::failed(&span);
    }
    done
}

fn swept(file: SweptFile) -> SweptObject {
    SweptObject {
        zone: file.folder,
        key: file.name,
        bytes: file.bytes,
        created: file.written,
    }
}

/// A written object as a manifest names it.
fn object(part: Part) -> Object {
    Object {
        key: part.key,
        rows: part.rows,
        bytes: part.bytes,
        sha256: part.sha256,
    }
}
