//! `serve`: runs by the timetable of the project file until it is told to stop.

mod health;
mod readiness;
mod service;
mod status;
mod timetable;

use std::collections::BTreeSet;
use std::sync::Arc;

use clap::Args;
use tokio::sync::watch;

use super::UsageError;
use super::answer::{Answer, Exit};
use super::invocation::Invocation;
use super::run::{self, Aloud};
use super::signals;
use crate::config::{Plan, Schedule};
use crate::error::Error;
use crate::pipeline::Pipeline;
use crate::pipeline::report::{RunReport, Scope, Silent};
use crate::run::{Halt, RunId, Stage};
use health::Told;
use readiness::Readiness;
use service::{Outcome, Service};
use status::Status;
use timetable::Timetable;

/// Run by the timetable of the project file until SIGTERM or Ctrl-C.
///
/// Runs never overlap: an entry that is due while it runs already is skipped and logged, and one that is
/// due while another runs waits for it. A failed run is logged and the next one goes on. Health and figures are told on
/// http://127.0.0.1:9464 (/healthz, /readyz, /metrics, /status) unless `serve.listen` says otherwise.
///
/// Example: tidemill serve --log-format json
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// Wait for the first run that is due, make it, and end as it ended.
    #[arg(long)]
    once: bool,
}

impl Serve {
    pub(super) async fn answer(self, call: &Invocation) -> crate::Result<Answer> {
        let plan = call.plan().await?;
        let clock = call.clock();
        let timetable = Timetable::new(&plan.schedule, clock());
        if timetable.next_due().is_none() {
            return Err(UsageError::Choice {
                what: "the project file has no schedule that will ever be due".into(),
                hint: "add [schedule.NAME] with every = \"15m\" or a cron expression".into(),
            }
            .into());
        }
        let (status, seen) = watch::channel(Status::new(clock()));
        let meters = call.meters(&plan)?;
        let health = match plan.serve.listen {
            Some(address) => {
                let told = Told {
                    status: seen,
                    readiness: Arc::new(readiness(&plan).await?),
                    meters,
                };
                Some(health::Server::start(address, told).await?)
            }
            None => None,
        };
        let halt = Halt::default();
        let service = Service {
            timetable,
            clock,
            status,
            grace: plan.serve.grace,
            halt: halt.clone(),
            once: self.once,
            make_run: |name: String| scheduled(name, &plan, call, &halt),
        };
        let exit = service.run(signals::stop).await;
        if let Some(health) = health {
            health.stop().await;
        }
        Ok(Answer::written().ending(exit))
    }
}

/// One run of the timetable. Its errors are part of the outcome: the next run goes on.
async fn scheduled(name: String, plan: &Plan, call: &Invocation, halt: &Halt) -> Outcome {
    let started = call.clock()();
    let made = async {
        let id = call.run_id(started)?;
        let span = run::span(&id, Some(&name));
        let pipeline = async {
            let pipeline = Pipeline::open(plan, call.progress().clone()).await?;
            Ok::<_, Error>(pipeline.halted_by(halt.clone()))
        };
        let work = make(&id, started, plan.schedule.get(&name), pipeline);
        let report = run::watched(call, plan, (&id, span), Aloud::Yes, work).await?;
        Ok::<_, Error>((id, report))
    };
    match made.await {
        Ok((id, report)) => ended(id, &report),
        Err(error) => Outcome {
            run: None,
            exit: Exit::Failed,
            message: Some(run::message(&error)),
        },
    }
}

async fn make(
    id: &RunId,
    started: chrono::DateTime<chrono::Utc>,
    schedule: Option<&Schedule>,
    pipeline: impl Future<Output = crate::Result<Pipeline>>,
) -> crate::Result<RunReport> {
    let stages = schedule.map(|s| s.stages.clone()).unwrap_or_default();
    let scope = schedule.map_or_else(Scope::default, |schedule| Scope {
        tables: schedule.tables.clone(),
        reconcile: schedule.reconcile,
        full: false,
        accept: Vec::new(),
    });
    pipeline.await?.run(id, started, &stages, &scope).await
}

fn ended(id: RunId, report: &RunReport) -> Outcome {
    let exit = run::exit(report);
    let message = match exit {
        Exit::Failed => run::failures(report).next().map(|f| f.message.clone()),
        Exit::Flawed => Some(run::rejected(report)),
        _ => None,
    };
    Outcome {
        run: Some(id),
        exit,
        message,
    }
}

/// What the runs of the timetable need to answer, all stages of all entries together.
async fn readiness(plan: &Plan) -> crate::Result<Readiness> {
    let pipeline = Pipeline::open(plan, Arc::new(Silent)).await?;
    let pipeline = Arc::new(pipeline);
    let entries = plan.schedule.values();
    let stages: BTreeSet<Stage> = entries.flat_map(|entry| &entry.stages).copied().collect();
    let stages: Vec<Stage> = stages.into_iter().collect();
    Ok(Readiness::new(move || {
        let (pipeline, stages) = (pipeline.clone(), stages.clone());
        Box::pin(async move { pipeline.ready(&stages, readiness::PATIENCE).await })
    }))
}
