//! Cases in the sandbox: a case of a module, run through its component.
//!
//! What a case is and how it is written is `tidemill_case`'s, which the SDK shares. Here it meets the sandbox: this room
//! knows no crate, no file and no zone. Whoever tests a module (`authoring`) and whoever keeps what a run failed on
//! (`pipeline`) both come here, so that they mean the same by the same failure.

use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use serde::{Deserialize, Serialize};
pub use tidemill_case::Context as CaseContext;
pub use tidemill_case::{
    Case, CaseError, CaseInput, Difference, Failed, FailureKind, InputShape, Made, Origin, Outcome,
    RejectedRow, Shape, batch, cells, compare, value,
};

use tidemill_case::is_beyond_native;

use crate::contract::{Delivery, Description};
use crate::error::{Classify, ErrorKind};
use crate::sandbox::{Breach, Context, Limits, Module, Phase, SandboxError, Session, Step};

/// What became of a case.
#[derive(Debug, Clone, PartialEq)]
pub struct Ran {
    /// What came of it.
    pub outcome: Outcome,
    /// The fuel of the whole session, when it went to its end.
    pub fuel: Option<u64>,
}

/// Why a case says nothing of a module.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The sandbox does not work, or the host has given a module what it did not declare.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The case gives the module what no run would.
    #[error("the case deletes keys of {0}, of which the module is given the current rows")]
    Deleted(String),
    /// What the module gave cannot be put together.
    #[error("what the module gave cannot be put together")]
    Arrow(#[from] ArrowError),
}

impl Classify for RunError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Sandbox(error) => error.kind(),
            Self::Deleted(_) => ErrorKind::Config,
            Self::Arrow(_) => ErrorKind::Bug,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Sandbox(error) => error.hint(),
            Self::Deleted(_) => Some("take `deleted` of that input out of the case".into()),
            Self::Arrow(_) => None,
        }
    }
}

/// What a case has to know of a module.
pub fn shape(description: &Description) -> Shape {
    let inputs = description.inputs.iter().map(|input| InputShape {
        table: input.table.clone(),
        rows: input.schema.clone(),
        key: input.key_schema(),
    });
    Shape {
        inputs: inputs.collect(),
        output: description.output.schema.clone(),
        output_key: description.output.key_schema(),
    }
}

/// Runs a case in the sandbox, every input cut into chunks of so many rows at most.
///
/// # Errors
/// `Config` when the case gives what no run would; else as the sandbox when the failure is not the module's own.
pub fn run(module: &Module, case: &Case, chunk_rows: usize) -> Result<Ran, RunError> {
    let mut given = Given::default();
    let ended = session(module, case, chunk_rows, &mut given);
    match ended {
        Ok(fuel) => Ok(Ran {
            outcome: Outcome::Made(given.made(module.description())?),
            fuel: Some(fuel),
        }),
        Err(RunError::Sandbox(error)) => match failed(&error) {
            Some(failed) => Ok(Ran {
                outcome: Outcome::Failed(failed),
                fuel: None,
            }),
            None => Err(error.into()),
        },
        Err(error) => Err(error),
    }
}

/// As [`run`], in chunks as a run of tidemill would have them.
///
/// # Errors
/// As [`run`].
pub fn run_as_usual(module: &Module, case: &Case) -> Result<Ran, RunError> {
    run(module, case, Limits::default().chunk_rows)
}

fn session(
    module: &Module,
    case: &Case,
    chunk_rows: usize,
    given: &mut Given,
) -> Result<u64, RunError> {
    let described = module.description();
    let mut session = module.open(Context {
        logical_time_micros: case.context.logical_time_micros,
        seed: case.context.seed,
    })?;
    for number in module.input_order() {
        let (Some(input), Some(declared)) = (case.inputs.get(number), described.inputs.get(number))
        else {
            continue;
        };
        if declared.delivery == Delivery::Current && input.deleted.num_rows() > 0 {
            return Err(RunError::Deleted(input.table.clone()));
        }
        give(&mut session, number, input, chunk_rows, described, given)?;
    }
    let (step, usage) = session.finish()?;
    given.take(step, described);
    Ok(usage.fuel)
}

fn give(
    session: &mut Session,
    number: usize,
    input: &CaseInput,
    chunk_rows: usize,
    described: &Description,
    given: &mut Given,
) -> Result<(), SandboxError> {
    for rows in pieces(&input.rows, chunk_rows) {
        given.take(session.push(number, &rows)?, described);
    }
    for keys in pieces(&input.deleted, chunk_rows) {
        given.take(session.retract(number, &keys)?, described);
    }
    given.take(session.end_of_input(number)?, described);
    Ok(())
}

/// Cuts rows into pieces of so many; none when there are no rows.
fn pieces(rows: &RecordBatch, rows_per_piece: usize) -> impl Iterator<Item = RecordBatch> {
    let rows_per_piece = rows_per_piece.max(1);
    (0..rows.num_rows())
        .step_by(rows_per_piece)
        .map(move |start| rows.slice(start, rows_per_piece.min(rows.num_rows() - start)))
}

/// What a session has given so far.
#[derive(Debug, Default)]
struct Given {
    rows: Vec<RecordBatch>,
    retractions: Vec<RecordBatch>,
    rejects: Vec<RejectedRow>,
}

impl Given {
    fn take(&mut self, step: Step, described: &Description) {
        self.rows.extend(step.rows);
        self.retractions.extend(step.retractions);
        for reject in step.rejects {
            let input = described.inputs.get(reject.input);
            self.rejects.push(RejectedRow {
                input: input.map(|input| input.table.clone()).unwrap_or_default(),
                row: reject.row + 1,
                code: reject.code,
                message: reject.message,
            });
        }
    }

    fn made(mut self, described: &Description) -> Result<Made, ArrowError> {
        self.rejects.sort();
        let output = &described.output;
        Ok(Made {
            output: concat_batches(&output.schema, &self.rows)?,
            retractions: concat_batches(&output.key_schema(), &self.retractions)?,
            rejects: self.rejects,
        })
    }
}

/// The module's own failure, in the words of a case; `None` when it is not the module's.
pub fn failed(error: &SandboxError) -> Option<Failed> {
    let (kind, phase, code, message) = match error {
        SandboxError::Failure {
            phase,
            code,
            message,
            ..
        } => (
            FailureKind::GaveUp,
            phase,
            Some(code.clone()),
            message.clone(),
        ),
        SandboxError::Stopped { phase, breach, .. } => {
            (kind(breach), phase, None, breach.to_string())
        }
        _ => return None,
    };
    if *phase == Phase::Describe {
        return None;
    }
    Some(Failed {
        kind,
        phase: phase.to_string(),
        code,
        message,
    })
}

fn kind(breach: &Breach) -> FailureKind {
    match breach {
        Breach::Trap(_) => FailureKind::Trap,
        Breach::Time { .. }
        | Breach::Fuel { .. }
        | Breach::Memory { .. }
        | Breach::TooMuch { .. } => FailureKind::Limit,
        _ => FailureKind::Breach,
    }
}

/// Compares what the native run gave with what the sandbox gave.
///
/// # Errors
/// Everything that differs, with the native outcome as what was expected.
pub fn compare_native(native: &Outcome, sandbox: &Outcome) -> Result<(), Difference> {
    match is_beyond_native(sandbox, native) {
        true => Ok(()),
        false => compare(native, sandbox),
    }
}

/// The limits of a session that may differ from the usual ones, as a case keeps them: a failure may speak of one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeptLimits {
    memory_bytes: usize,
    call_time_ms: u64,
    session_time_ms: u64,
    output_rows: u64,
    output_bytes: u64,
}

/// How a case keeps the limits of its session; nothing where they are the usual ones.
pub fn kept_limits(limits: &Limits) -> Option<serde_json::Value> {
    if *limits == Limits::default() {
        return None;
    }
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let kept = KeptLimits {
        memory_bytes: limits.memory_bytes,
        call_time_ms: millis(limits.call_time),
        session_time_ms: millis(limits.session_time),
        output_rows: limits.output_rows,
        output_bytes: limits.output_bytes,
    };
    serde_json::to_value(kept).ok()
}

/// The limits of a case that came from somewhere: the usual ones, or those that it keeps.
///
/// # Errors
/// What is kept are no limits.
pub fn limits_of(origin: &Origin) -> Result<Limits, serde_json::Error> {
    let Some(kept) = &origin.limits else {
        return Ok(Limits::default());
    };
    let kept = KeptLimits::deserialize(kept)?;
    Ok(Limits {
        memory_bytes: kept.memory_bytes,
        call_time: Duration::from_millis(kept.call_time_ms),
        session_time: Duration::from_millis(kept.session_time_ms),
        output_rows: kept.output_rows,
        output_bytes: kept.output_bytes,
        ..Limits::default()
    })
}

#[cfg(test)]
mod tests;
