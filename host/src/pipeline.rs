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
pub mod trace;
mod transform;
mod verify;
mod window;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Instant;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, Utc};
use tokio::sync::OnceCell;
use tracing::Instrument as _;

use crate::config::{LimitsPlan, Plan};
use crate::connection::traffic::Traffic;
use crate::error::Result;
use crate::manifest::{LandingManifest, ManifestLog, Object, ProcessedManifest};
use crate::registry::{Registry, Trust};
use crate::run::{Halt, RunId, Stage};
use crate::sandbox::{Compiler, Limits, Sandbox};
use crate::table::folder;
use crate::vault::Vault;
use crate::warehouse::{BatchStream, Sweep, SweptFile, Warehouse};
use crate::zone::log::Memory;
use crate::zone::watched::Watched;
use crate::zone::{Zone, parquet::Part};
use claim::Claims;
pub use claim::Sharing;
use extract::{ExtractError, Extraction};
use inputs::{Landings, Reader};
use load::Loading;
use maker::Maker;
use modules::{Made, Shelf};
use report::{
    Check, ExtractReport, LeftOver, LoadReport, Observer, PlanReport, RejectReason, RunReport,
    RunSummary, Scope, SweepReport, SweptObject, TableFailure, TransformReport, Why,
};
use sweep::Notes;
use transform::Transformation;

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
            sandbox: Arc::new(sandbox(plan)?),
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

    async fn extract_all(&self, run: &RunId, scope: &Scope) -> Result<Vec<ExtractReport>> {
        let mut reports = Vec::new();
        let mut elsewhere = None;
        for (name, plan) in &self.plan.sources {
            let extraction = Extraction {
                name,
                plan,
                zone: Watched::new(self.landed.clone()),
                sweep_after: self.plan.zones.sweep_after,
                run,
                scope,
                is_only: self.plan.sources.len() == 1,
                observer: self.observer.clone(),
                vault: &self.vault,
                halt: &self.halt,
                claims: self.claims(&self.landed, name, run),
            };
            match extraction.run().await {
                Ok(Some(report)) => reports.push(report),
                Ok(None) => elsewhere = elsewhere.or(Some(name)),
                // A table that was asked for is in one of several sources.
                Err(error) if self.is_elsewhere(&error) => {}
                Err(error) => return Err(error.at(Stage::Extract)),
            }
        }
        match elsewhere {
            Some(source) if reports.is_empty() => {
                let error: crate::Error = ExtractError::Elsewhere(source.clone()).into();
                Err(error.at(Stage::Extract))
            }
            _ => Ok(reports),
        }
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

    /// Whether the project makes every table that was named.
    fn check_only(&self) -> Result<()> {
        let known = || self.plan.transforms.keys();
        match self
            .only
            .iter()
            .find(|table| !known().any(|known| known == *table))
        {
            None => Ok(()),
            Some(unknown) => Err(modules::ModuleError::NoTransform {
                table: unknown.clone(),
                known: known().cloned().collect(),
            }
            .into()),
        }
    }

    fn is_elsewhere(&self, error: &crate::Error) -> bool {
        self.plan.sources.len() > 1
            && matches!(
                error.downcast_ref::<ExtractError>(),
                Some(ExtractError::NoTable { .. })
            )
    }

    /// Makes every table of every landing that is not transformed yet.
    ///
    /// # Errors
    /// `Conflict` when another run committed meanwhile, `Unavailable` when a zone does not answer. A
    /// single table's error is in the report instead.
    pub async fn transform(&self, run: &RunId) -> Result<TransformReport> {
        in_stage(Stage::Transform, self.transform_all(run)).await
    }

    async fn transform_all(&self, run: &RunId) -> Result<TransformReport> {
        let started = Instant::now();
        let mut report = TransformReport::default();
        let at_transform = |error: crate::Error| error.at(Stage::Transform);
        let mut standing = self.standing().await.map_err(at_transform)?;
        self.check_only()?;
        let (mut made, mut failures) = modules::load(&self.shelf()).await;
        let is_wanted = |table: &String| self.only.is_empty() || self.only.contains(table);
        made.retain(|made| is_wanted(&made.table));
        failures.retain(|failure| is_wanted(&failure.table));
        report.failures = failures;
        let used = made.iter();
        let used = used.map(|made| (made.table.clone(), made.module.reference().clone()));
        report.modules = used.collect();
        tokio::select! {
            biased;
            rebuilt = self.rebuild_due(run, &mut standing, &mut made, &mut report) => {
                rebuilt.map_err(at_transform)?;
            }
            // As if it had died: the next run goes on with it.
            () = self.halt.called() => {
                let left = made.into_iter().map(|made| LeftOver { what: made.table, why: Why::Halted });
                let left: Vec<LeftOver> = left.collect();
                return Err(at_transform(halt::HaltError::new(&left).into()));
            }
        }
        let mut by_source: BTreeMap<String, Vec<Made>> = BTreeMap::new();
        for made in made {
            by_source.entry(made.source.clone()).or_default().push(made);
        }
        for (source, tables) in by_source {
            let mut transformation = Transformation {
                source: &source,
                landings: Landings::new(self.landed.clone(), &source),
                tables,
                maker: self.maker(run),
                sweep_after: self.plan.zones.sweep_after,
                standing: &standing,
                halt: &self.halt,
                claims: self.claims(&self.processed, "", run),
                failed: BTreeSet::new(),
                swept: false,
            };
            transformation
                .run(&mut report)
                .await
                .map_err(at_transform)?;
        }
        report.elapsed = started.elapsed();
        Ok(report)
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

    /// What a run would do.
    ///
    /// # Errors
    /// `Unavailable` when a source or a zone does not answer.
    pub async fn plan(&self) -> Result<PlanReport> {
        let mut report = PlanReport {
            sources: Vec::new(),
            transforms: Vec::new(),
            secrets: survey::secrets(&self.plan),
            warnings: Vec::new(),
        };
        let mut tables = HashMap::new();
        for (name, plan) in &self.plan.sources {
            let landed = Landings::new(self.landed.clone(), name).newest().await?;
            let found =
                survey::source(name, plan, &self.vault, landed.as_ref(), &mut report).await?;
            tables.insert(name.clone(), (found, landed));
        }
        let processed = self.processed_log().newest().await?;
        for (table, loaded) in modules::load_each(&self.shelf()).await {
            report.warnings.extend(survey::failing(table, &loaded));
            let made = loaded.as_ref().ok();
            let landings = made.map(|made| Landings::new(self.landed.clone(), &made.source));
            let mut planned = survey::transform(
                &self.plan,
                table,
                loaded.as_ref(),
                landings.as_ref(),
                processed.as_ref(),
            )
            .await?;
            if made.is_some() && self.is_rebuild_due(table, processed.as_ref()).await? {
                let changed = planned.changed.take().map(|what| what + ", ");
                let changed = changed.unwrap_or_default();
                planned.changed = Some(changed + "made anew from every landing");
            }
            report.transforms.push(planned);
            if let Some(made) = made
                && let Some((found, landed)) = tables.get(&made.source)
            {
                let misfits = survey::misfits(made, found, landed.as_ref());
                report.warnings.extend(misfits);
            }
        }
        Ok(report)
    }

    /// What the module of `table` makes of the first `rows` landed rows, what it refuses, and the sensitive columns in whose
    /// place it got stand-ins; nothing is written.
    ///
    /// # Errors
    /// `Config` when there is no such transform or nothing has been landed, `Module` when it fails.
    pub async fn preview(
        &self,
        table: &str,
        rows: usize,
    ) -> Result<(Vec<RecordBatch>, Vec<RejectReason>, Vec<String>)> {
        let made = modules::load_one(&self.shelf(), table).await?;
        let landings = Landings::new(self.landed.clone(), &made.source);
        preview::preview(&made, &landings, &self.reader(), rows).await
    }

    /// Past runs, the newest first.
    ///
    /// # Errors
    /// `Data` when a manifest is damaged, `Unavailable`.
    pub async fn runs(&self) -> Result<Vec<RunSummary>> {
        survey::runs(self.plan.sources.keys(), &self.landed, &self.processed).await
    }

    /// Runs a read-only query in the warehouse.
    ///
    /// # Errors
    /// `Config` with the engine's message when the SQL is wrong.
    pub async fn query(&self, sql: &str) -> Result<(SchemaRef, BatchStream)> {
        Ok(self.warehouse().await?.query(sql).await?)
    }

    /// Whether everything that a run needs is in place.
    ///
    /// # Errors
    /// None of what it looks at: that is in the checks.
    pub async fn doctor(&self, run: &RunId) -> Result<Vec<Check>> {
        let mut checks = vec![
            survey::zone("ingestion", &self.landed, run).await,
            survey::zone("processed", &self.processed, run).await,
        ];
        for (name, plan) in &self.plan.sources {
            checks.extend(survey::source_checks(name, plan, &self.vault).await);
        }
        checks.extend(survey::origin("warehouse", &self.plan.warehouse.url));
        checks.push(match self.warehouse().await {
            Ok(warehouse) => survey::warehouse(warehouse).await,
            Err(error) => Check::failed("warehouse", &error),
        });
        let (made, failures): (Vec<Made>, Vec<TableFailure>) = modules::load(&self.shelf()).await;
        checks.extend(survey::module_checks(&made, &failures));
        Ok(checks)
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

/// The sandbox. A program compiles in processes of its own; where there is none, a library does what it can.
fn sandbox(plan: &Plan) -> Result<Sandbox> {
    let compiler = plan.program.clone();
    let compiler = compiler.map_or(Compiler::InProcess, Compiler::Program);
    let sandbox = Sandbox::new(limits(&plan.limits), &plan.cache)?;
    let sandbox = match plan.limits.process_bytes {
        // Half of the disk of a function that asks for no larger one.
        Some(_) => sandbox.keeping_at_most(256 << 20),
        None => sandbox,
    };
    let sandbox = sandbox.bundled(&plan.bundled_code);
    Ok(sandbox.compiled_by(compiler))
}

/// The sandbox's limits with what the project file says of them.
fn limits(plan: &LimitsPlan) -> Limits {
    let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
    let wide = Limits::default();
    // A process that may use little compiles with half of it and holds an eighth of it at once.
    let part = |of: usize, share: u64| {
        let bytes = plan
            .process_bytes
            .map_or(usize::MAX, |bytes| size(bytes / share));
        of.min(bytes)
    };
    Limits {
        compile_memory_bytes: part(wide.compile_memory_bytes, 2),
        step_bytes: part(wide.step_bytes, 8),
        reject_bytes: part(wide.reject_bytes, 16),
        // Sixteen bytes each, where they are remembered one by one.
        remembered_keys: part(wide.remembered_keys, 8 * 16),
        memory_bytes: size(plan.memory_bytes),
        // A call may take a fifth of the whole, so that one limit is enough to say.
        call_time: plan.time.div_f64(5.0).max(wide.call_time),
        session_time: plan.time,
        output_rows: plan.output_rows,
        output_bytes: plan.output_bytes,
        log_lines: u32::try_from(plan.log_lines).unwrap_or(u32::MAX),
        log_bytes: size(plan.log_bytes),
        ..wide
    }
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
