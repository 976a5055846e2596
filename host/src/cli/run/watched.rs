//! A run that is watched: its span, what is said of its end, and what is measured of it.

use std::time::Instant;

use tracing::{Instrument as _, Span};

use super::super::invocation::Invocation;
use super::super::{failure, text};
use super::{exit, failures};
use crate::config::Plan;
use crate::error::{Error, Result};
use crate::pipeline::report::{RunReport, samples};
use crate::run::RunId;
use crate::telemetry::Meters;
use crate::telemetry::metric::Outcome;

/// Whether a run's end is said in log lines. Otherwise whoever called says it, to people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Aloud {
    Yes,
    No,
}

/// A run's span.
pub(in crate::cli) fn span(id: &RunId, schedule: Option<&str>) -> Span {
    tracing::info_span!("run", run_id = %id, schedule, otel.status_code = tracing::field::Empty)
}

/// Makes a run in its span, and gives what is measured of it to the meters of the plan.
///
/// Dropped before its end, it counts as interrupted.
///
/// # Errors
/// Those of the run.
pub(in crate::cli) async fn watched(
    call: &Invocation,
    plan: &Plan,
    (id, span): (&RunId, Span),
    aloud: Aloud,
    work: impl Future<Output = Result<RunReport>>,
) -> Result<RunReport> {
    let meters = call.meters(plan)?;
    let mut unfinished = Unfinished {
        call,
        meters: &meters,
        id,
        begun: Instant::now(),
        is_over: false,
    };
    let made = work.instrument(span.clone()).await;
    unfinished.is_over = true;
    let ended = call.clock()();
    let elapsed = unfinished.begun.elapsed();
    let samples = match &made {
        Ok(report) => report.samples(ended),
        Err(error) => samples::of_error(error, elapsed, ended),
    };
    meters.record(Some(id), &samples);
    if made.as_ref().map_or(true, RunReport::has_failures) {
        span.record("otel.status_code", "ERROR");
    }
    if aloud == Aloud::Yes {
        span.in_scope(|| match &made {
            Ok(report) => said(report),
            Err(error) => say_error(error),
        });
    }
    made
}

/// What is measured of a run that nobody waits for any more.
struct Unfinished<'r> {
    call: &'r Invocation,
    meters: &'r Meters,
    id: &'r RunId,
    begun: Instant,
    is_over: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let ended = self.call.clock()();
            let samples = samples::of_run(Outcome::Interrupted, self.begun.elapsed(), ended);
            self.meters.record(Some(self.id), &samples);
        }
    }
}

fn said(report: &RunReport) {
    for failure in failures(report) {
        tracing::error!(stage = %failure.stage, table = %failure.table, kind = %failure.kind,
            error = %failure.message, hint = failure.hint, "table failed");
    }
    let elapsed_ms = u64::try_from(report.elapsed.as_millis()).unwrap_or(u64::MAX);
    let exit = exit(report).code();
    tracing::info!(elapsed_ms, rows_rejected = report.rejected(), exit, outcome = %report.outcome(),
        "run ended");
}

fn say_error(error: &Error) {
    let stage = error.stage().map(tracing::field::display);
    let message = message(error);
    let (table, kind) = (error.table(), error.kind());
    match samples::outcome_of(error) {
        Outcome::Interrupted => {
            tracing::warn!(stage, table, %kind, error = %message, "run interrupted");
        }
        Outcome::Conflict => {
            tracing::warn!(stage, table, %kind, error = %message, "another run was faster");
        }
        _ => tracing::error!(stage, table, %kind, error = %message, "run failed"),
    }
}

/// An error with its causes and its hint in one line.
pub(in crate::cli) fn message(error: &Error) -> String {
    failure::text(error).trim_end().replace("\n  ", "; ")
}

/// How many rows were refused, in words.
pub(in crate::cli) fn rejected(report: &RunReport) -> String {
    text::counted(report.rejected(), "row rejected", "rows rejected")
}
