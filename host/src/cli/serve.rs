//! `serve`: runs by the timetable of the project file until it is told to stop.

mod health;
mod service;
mod status;
mod timetable;

use clap::Args;
use tokio::sync::watch;
use tracing::Instrument as _;

use super::UsageError;
use super::answer::{Answer, Exit};
use super::invocation::Invocation;
use super::{failure, run, signals};
use crate::config::{Plan, Schedule};
use crate::error::Error;
use crate::pipeline::Pipeline;
use crate::pipeline::report::{RunReport, Scope};
use crate::run::RunId;
use service::{Outcome, Service};
use status::Status;
use timetable::Timetable;

/// Run by the timetable of the project file until SIGTERM or Ctrl-C.
///
/// Runs never overlap: an entry that is due while it runs already is skipped and logged, and one that is
/// due while another runs waits for it. A failed run is logged and the next one goes on. Health is told on
/// http://127.0.0.1:9464 (/healthz, /readyz, /status) unless `serve.listen` says otherwise.
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
        let plan = call.plan()?;
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
        let health = match plan.serve.listen {
            Some(address) => Some(health::Server::start(address, seen).await?),
            None => None,
        };
        let service = Service {
            timetable,
            clock,
            status,
            grace: plan.serve.grace,
            once: self.once,
            make_run: |name: String| scheduled(name, &plan, call),
        };
        let exit = service.run(signals::stop).await;
        if let Some(health) = health {
            health.stop().await;
        }
        Ok(Answer::written().ending(exit))
    }
}

/// One run of the timetable. Its errors are part of the outcome: the next run goes on.
async fn scheduled(name: String, plan: &Plan, call: &Invocation) -> Outcome {
    let started = call.clock()();
    let made = async {
        let id = call.run_id(started)?;
        let span = tracing::info_span!("run", run_id = %id, schedule = %name);
        let report = make(&id, started, plan.schedule.get(&name), plan, call)
            .instrument(span)
            .await;
        Ok::<_, Error>((id, report?))
    };
    match made.await {
        Ok((id, report)) => told(id, &report),
        Err(error) => {
            let message = failure::text(&error).trim_end().replace("\n  ", "; ");
            tracing::error!(schedule = %name, kind = %error.kind(), error = %message, "run failed");
            Outcome {
                run: None,
                exit: Exit::Failed,
                message: Some(message),
            }
        }
    }
}

async fn make(
    id: &RunId,
    started: chrono::DateTime<chrono::Utc>,
    schedule: Option<&Schedule>,
    plan: &Plan,
    call: &Invocation,
) -> crate::Result<RunReport> {
    let stages = schedule.map(|s| s.stages.clone()).unwrap_or_default();
    let scope = schedule.map_or_else(Scope::default, |schedule| Scope {
        tables: schedule.tables.clone(),
        reconcile: schedule.reconcile,
        full: false,
        accept: Vec::new(),
    });
    let pipeline = Pipeline::open(plan, call.progress().clone()).await?;
    pipeline.run(id, started, &stages, &scope).await
}

fn told(id: RunId, report: &RunReport) -> Outcome {
    let exit = run::exit(report);
    let elapsed_ms = u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX);
    let rejected = report.rejected();
    for failure in run::failures(report) {
        tracing::error!(run_id = %id, stage = %failure.stage, table = %failure.table,
            kind = %failure.kind, error = %failure.message, "table failed");
    }
    tracing::info!(run_id = %id, elapsed_ms, rows_rejected = rejected, exit = exit.code(), "run ended");
    let message = match exit {
        Exit::Failed => run::failures(report).next().map(|f| f.message.clone()),
        Exit::Flawed => Some(super::text::counted(
            rejected,
            "row rejected",
            "rows rejected",
        )),
        _ => None,
    };
    Outcome {
        run: Some(id),
        exit,
        message,
    }
}
