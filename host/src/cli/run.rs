//! `run`, and its three stages by themselves.

mod told;
mod watched;

pub(super) use told::{refused, table_rows};
pub(super) use watched::{Aloud, message, rejected, span, watched};

use clap::{Args, ValueEnum};

use super::answer::{Answer, Exit};
use super::invocation::Invocation;
use crate::pipeline::Pipeline;
use crate::pipeline::report::{RunReport, Scope, TableFailure};
use crate::run::Stage;
use crate::telemetry::metric::Outcome;

/// Extract, transform and load whatever is new.
///
/// A run finds what changed in the sources since the last landing, lands it, runs the module of every
/// warehouse table over it and loads the result. Running again when nothing changed changes nothing.
///
/// Example: tidemill run --table sales_order --table payment
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Run these stages only, separated by commas.
    #[arg(long, value_enum, value_delimiter = ',', value_name = "STAGE")]
    stage: Vec<StageName>,
    #[command(flatten)]
    extraction: Extraction,
}

/// Land what changed in the sources, and stop there.
///
/// Example: tidemill extract --reconcile
#[derive(Debug, Args)]
pub(super) struct Extract {
    #[command(flatten)]
    extraction: Extraction,
}

/// Run the modules over what is landed, and stop there.
///
/// Example: tidemill transform
#[derive(Debug, Args)]
pub(super) struct Transform {}

/// Load what is transformed into the warehouse.
///
/// Example: tidemill load
#[derive(Debug, Args)]
pub(super) struct Load {}

/// What to extract.
#[derive(Debug, Args)]
struct Extraction {
    /// Extract this source table only; may be given more than once.
    #[arg(long, value_name = "TABLE")]
    table: Vec<String>,
    /// Compare every row with what has been landed: finds what a cursor cannot see.
    #[arg(long)]
    reconcile: bool,
    /// Read every row as if nothing had been landed; what is equal still does not count as changed.
    #[arg(long)]
    full: bool,
    /// Go on with this source table as it is now, although its columns changed in a way that stops it; may be
    /// given more than once. What was landed stays.
    #[arg(long, value_name = "TABLE")]
    accept: Vec<String>,
}

impl Extraction {
    fn scope(self) -> Scope {
        Scope {
            tables: self.table,
            reconcile: self.reconcile,
            full: self.full,
            accept: self.accept,
        }
    }
}

/// A stage as a flag names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StageName {
    Extract,
    Transform,
    Load,
}

impl From<StageName> for Stage {
    fn from(name: StageName) -> Self {
        match name {
            StageName::Extract => Self::Extract,
            StageName::Transform => Self::Transform,
            StageName::Load => Self::Load,
        }
    }
}

const ALL: [Stage; 3] = [Stage::Extract, Stage::Transform, Stage::Load];

impl Run {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let asked: Vec<Stage> = self.stage.into_iter().map(Stage::from).collect();
        let stages: Vec<Stage> = ALL
            .into_iter()
            .filter(|stage| asked.is_empty() || asked.contains(stage))
            .collect();
        run(call, &stages, &self.extraction.scope()).await
    }
}

impl Extract {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        run(call, &[Stage::Extract], &self.extraction.scope()).await
    }
}

impl Transform {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        run(call, &[Stage::Transform], &Scope::default()).await
    }
}

impl Load {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        run(call, &[Stage::Load], &Scope::default()).await
    }
}

async fn run(call: &Invocation, stages: &[Stage], scope: &Scope) -> crate::Result<Answer> {
    let started = call.clock()();
    let id = call.run_id(started)?;
    let plan = call.plan().await?;
    let aloud = if call.logs_json() {
        Aloud::Yes
    } else {
        Aloud::No
    };
    let work = async {
        let pipeline = Pipeline::open(&plan, call.progress().clone()).await?;
        pipeline.run(&id, started, stages, scope).await
    };
    let report = watched(call, &plan, (&id, span(&id, None)), aloud, work).await?;
    Ok(answer(&report, call.paint()))
}

fn answer(report: &RunReport, paint: super::text::Paint) -> Answer {
    let mut answer = Answer::new(told::report(report, paint), report).ending(exit(report));
    answer.failures = failures(report).cloned().collect();
    answer
}

/// How a program ends that made this run.
pub(super) fn exit(report: &RunReport) -> Exit {
    match report.outcome() {
        Outcome::Done => Exit::Done,
        Outcome::Rejects => Exit::Flawed,
        Outcome::Failed | Outcome::Conflict => Exit::Failed,
        Outcome::Interrupted => Exit::Interrupted,
    }
}

/// The tables that failed, in the order of the stages.
pub(super) fn failures(report: &RunReport) -> impl Iterator<Item = &TableFailure> {
    let extract = report.extract.iter().flat_map(|e| &e.failures);
    let transform = report.transform.iter().flat_map(|t| &t.failures);
    let load = report.load.iter().flat_map(|l| &l.failures);
    extract.chain(transform).chain(load)
}
