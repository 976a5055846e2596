//! What a module failed on, kept as a case in the processed zone: `_failures/<table>/<landing>-<digest>.json`.
//!
//! While a module runs, the rows that it was given are held, as many as fit ([`HELD_BYTES`]): they are shared with what
//! is being read, so that holding them costs no copy. When it fails, the last rows with the lookups are tried alone, in
//! a session of their own; if they do not give the same failure, everything that was held is. What does is made
//! smaller by halves, and written down once: the name follows landing and module, so a run that fails in the same way
//! again finds it there.
//!
//! No manifest names such a case. `tidemill sweep` removes it, as everything that nobody names, when it is old enough; a
//! run does not, for it is not the leftover of a run that died. Beside the lake's own folders it is as safe, or as
//! open, as the rows that it was taken from; what is marked sensitive is replaced all the same, because a case is made
//! to be passed on.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::error::ArrowError;
use bytes::Bytes;

use super::cut::{CutError, stand_in};
use super::execute::ExecuteError;
use crate::cases::{
    self, Case, CaseContext, CaseInput, Failed, FailureKind, Origin, Outcome, kept_limits,
};
use crate::config::SourceColumn;
use crate::contract::Role;
use crate::digest::Digest;
use crate::error::Error;
use crate::run::RunId;
use crate::sandbox::{Breach, Limits, Module, SandboxError};
use crate::zone::{Zone, ZoneError};

/// The most bytes of rows that are held for a failure that may never come. The columns of a batch are counted whole.
const HELD_BYTES: usize = 8 << 20;
/// How long rows are made fewer.
const SHRINKING: Duration = Duration::from_secs(5);

/// Where what a module failed on is kept.
#[derive(Clone)]
pub(super) struct Keep {
    /// Where the module's rows come from.
    pub(super) source: String,
    /// The run.
    pub(super) run: RunId,
    /// The landing.
    pub(super) landing: u64,
    /// The context of the session.
    pub(super) context: CaseContext,
    /// The limits of the session.
    pub(super) limits: Limits,
    /// Columns whose values are replaced.
    pub(super) sensitive: Arc<BTreeSet<SourceColumn>>,
    /// What it failed on, once it has.
    pub(super) failure: Arc<Mutex<Option<Failure>>>,
}

/// What a module failed on.
#[derive(Debug)]
pub(super) struct Failure {
    held: Held,
    failed: Failed,
    /// Whether it ran into the clock: then it would take as long to be tried again.
    is_time: bool,
}

/// Rows, or keys that are gone, as they were given.
#[derive(Debug, Clone)]
struct Given {
    input: usize,
    gone: bool,
    batch: RecordBatch,
}

/// What a module was given so far.
#[derive(Debug, Default)]
pub(super) struct Held {
    lookups: Vec<Given>,
    streamed: Vec<Given>,
    /// The columns of the batches above.
    bytes: usize,
    /// Rows of streamed inputs that are not held any more.
    dropped_rows: usize,
    /// Whether a lookup was too large.
    without_lookups: bool,
}

impl Held {
    /// Holds what is about to be given.
    pub(super) fn hold(&mut self, module: &Module, input: usize, gone: bool, batch: &RecordBatch) {
        let declared = module.description().inputs.get(input);
        let bytes = batch.get_array_memory_size();
        let given = Given {
            input,
            gone,
            batch: batch.clone(),
        };
        self.bytes += bytes;
        if declared.is_some_and(|input| input.role == Role::Lookup) {
            self.lookups.push(given);
            self.without_lookups |= self.bytes > HELD_BYTES;
            if self.without_lookups {
                // A part of a lookup is another lookup.
                self.lookups.clear();
                self.bytes = 0;
            }
            return;
        }
        if self.bytes > HELD_BYTES {
            // The last rows are held whatever they take: they may be what it fails on.
            let rows = self.streamed.iter().map(|given| given.batch.num_rows());
            self.dropped_rows += rows.sum::<usize>();
            self.streamed.clear();
            let lookups = self
                .lookups
                .iter()
                .map(|given| given.batch.get_array_memory_size());
            self.bytes = lookups.sum::<usize>() + bytes;
        }
        self.streamed.push(given);
    }
}

impl Keep {
    /// Takes note of what a module failed on. An error that is not the module's own leaves nothing.
    pub(super) fn take(&self, held: Held, error: &SandboxError) {
        let Some(failed) = cases::failed(error) else {
            return;
        };
        let is_time = matches!(error, SandboxError::Stopped { breach, .. } if matches!(**breach, Breach::Time { .. }));
        let failure = Failure {
            held,
            failed,
            is_time,
        };
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
    }

    fn smallest(&self, module: &Module, failure: &Failure) -> Result<Case, ArrowError> {
        let Failure {
            held,
            failed,
            is_time,
        } = failure;
        let last = held
            .streamed
            .last()
            .cloned()
            .into_iter()
            .collect::<Vec<_>>();
        let ends_in_rows = matches!(failed.phase.as_str(), "push" | "retract");
        let mut attempts = Vec::new();
        if ends_in_rows && (held.streamed.len() > 1 || held.dropped_rows > 0) {
            attempts.push(self.case(module, &held.lookups, &last, failed)?);
        }
        attempts.push(self.case(module, &held.lookups, &held.streamed, failed)?);
        // Whoever runs into the clock takes as long to be tried again.
        let found = attempts
            .iter()
            .find(|case| !*is_time && fails(module, case, failed));
        let Some(found) = found else {
            let mut case = attempts.swap_remove(0);
            let reason = match (*is_time, held.without_lookups) {
                (true, _) => {
                    "unknown: what runs into the clock takes as long again, so it was not tried"
                        .to_owned()
                }
                (_, true) => "a lookup, which was too large; the failure may need it".to_owned(),
                _ => format!(
                    "{} rows that came before; the failure may need them, or what was replaced",
                    held.dropped_rows
                ),
            };
            if let Some(origin) = &mut case.origin {
                origin.left_out = Some(reason);
            }
            return Ok(case);
        };
        Ok(shrink(module, found.clone(), failed))
    }

    /// The case of some rows. What is sensitive is replaced before it is tried, so that what is kept is what fails.
    fn case(
        &self,
        module: &Module,
        lookups: &[Given],
        streamed: &[Given],
        failed: &Failed,
    ) -> Result<Case, ArrowError> {
        let described = module.description();
        let shape = cases::shape(described);
        let mut inputs: Vec<CaseInput> = shape.inputs.iter().map(CaseInput::nothing).collect();
        for (number, input) in inputs.iter_mut().enumerate() {
            let of = |gone: bool| {
                let given = lookups.iter().chain(streamed);
                let given = given.filter(move |given| given.input == number && given.gone == gone);
                given.map(|given| &given.batch)
            };
            input.rows = concat_batches(&input.rows.schema(), of(false))?;
            input.deleted = concat_batches(&input.deleted.schema(), of(true))?;
        }
        let replaced = stand_in(&self.source, &mut inputs, &self.sensitive)?;
        let reference = module.reference();
        let title = format!("{} on landing {}", reference.name, self.landing);
        let mut case = Case::new(&title, self.context.clone(), inputs, &shape);
        case.about = format!("What {reference} failed on in run {}.", self.run);
        if !replaced.is_empty() {
            case.about.push_str(&format!(
                " Replaced, because it is sensitive: {}.",
                replaced.join(", ")
            ));
        }
        case.expected = Outcome::Failed(failed.clone());
        case.origin = Some(Origin {
            run: Some(self.run.to_string()),
            landing: Some(self.landing),
            table: Some(described.output.table.clone()),
            module: Some(format!("{}@{}", reference.name, reference.version)),
            digest: Some(reference.digest.to_string()),
            limits: kept_limits(&self.limits),
            left_out: None,
        });
        Ok(case)
    }

    /// Writes down what the module failed on, unless that was done before, and says in the error where. Whatever goes
    /// wrong with that, the error stays.
    pub(super) async fn tell(&self, module: &Module, zone: &Arc<dyn Zone>, error: Error) -> Error {
        let failure = self
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let Some(failure) = failure else {
            return error;
        };
        let key = format!(
            "_failures/{}/{:010}-{}.json",
            super::folder(&module.description().output.table),
            self.landing,
            module.digest().short()
        );
        if let Err(cause) = self.write(module, zone, &key, failure).await {
            tracing::warn!(%cause, "cannot keep what the module failed on");
            return error;
        }
        let place = format!("{}/{key}", zone.url().trim_end_matches('/'));
        let place = place.strip_prefix("file://").unwrap_or(&place);
        let hint = error
            .hint()
            .map(|hint| format!("{hint}; "))
            .unwrap_or_default();
        let hint = format!("{hint}what it failed on is kept: tidemill module test --case {place}");
        error.hinting(hint)
    }

    async fn write(
        &self,
        module: &Module,
        zone: &Arc<dyn Zone>,
        key: &str,
        failure: Failure,
    ) -> Result<(), Error> {
        // A module that fails again fails on the same: it is not tried again and again.
        if zone.size(key).await?.is_some() {
            return Ok(());
        }
        let (keep, module) = (self.clone(), module.clone());
        let trying = tokio::task::spawn_blocking(move || keep.smallest(&module, &failure));
        let case = trying
            .await
            .map_err(ExecuteError::Lost)?
            .map_err(CutError::Rows)?;
        match zone.create(key, Bytes::from(case.to_json())).await {
            Ok(_) | Err(ZoneError::Exists { .. }) => Ok(()),
            Err(cause) => Err(cause.into()),
        }
    }
}

/// The first eight bytes of the landing's digest, as a session has them, with its logical time.
pub(super) fn context(
    logical_time_micros: i64,
    landing: &Digest,
    parameters: Vec<u8>,
) -> CaseContext {
    CaseContext {
        logical_time_micros,
        seed: super::execute::seed(landing),
        parameters,
    }
}

fn fails(module: &Module, case: &Case, failed: &Failed) -> bool {
    let ran = cases::run_as_usual(module, case);
    ran.is_ok_and(|ran| same(&ran.outcome, failed))
}

/// Whether it is the same failure. The row that a broken rule names is another when there are fewer rows.
fn same(outcome: &Outcome, failed: &Failed) -> bool {
    let Outcome::Failed(came) = outcome else {
        return false;
    };
    let shown = |failed: &Failed| -> String {
        match failed.kind {
            FailureKind::GaveUp => failed.message.clone(),
            _ => failed
                .message
                .chars()
                .filter(|c| !c.is_ascii_digit())
                .collect(),
        }
    };
    (came.kind, &came.phase, &came.code) == (failed.kind, &failed.phase, &failed.code)
        && shown(came) == shown(failed)
}

/// Leaves out halves of the rows, then quarters, and so on, as long as it fails in the same way and there is time. The
/// case then expects what the fewer rows give.
fn shrink(module: &Module, mut case: Case, failed: &Failed) -> Case {
    let begun = Instant::now();
    for input in 0..case.inputs.len() {
        for gone in [false, true] {
            let rows = |case: &Case| part(case, input, gone).map_or(0, RecordBatch::num_rows);
            let mut size = rows(&case).div_ceil(2);
            while size > 0 {
                let mut from = 0;
                while from < rows(&case) && begun.elapsed() < SHRINKING {
                    match without(&case, input, gone, from, size)
                        .filter(|fewer| fails(module, fewer, failed))
                    {
                        Some(fewer) => case = fewer,
                        None => from += size,
                    }
                }
                size /= 2;
            }
        }
    }
    // In its own words: what it was given holds stand-ins for all that must not be shown.
    if let Ok(ran) = cases::run_as_usual(&module.keeping_words(), &case) {
        case.expected = ran.outcome;
    }
    case
}

fn part(case: &Case, input: usize, gone: bool) -> Option<&RecordBatch> {
    let input = case.inputs.get(input)?;
    Some(if gone { &input.deleted } else { &input.rows })
}

/// The case without some rows of an input; `None` when there would be none left out.
fn without(case: &Case, input: usize, gone: bool, from: usize, rows: usize) -> Option<Case> {
    let batch = part(case, input, gone)?;
    let until = batch.num_rows().min(from + rows);
    let rest = [
        batch.slice(0, from),
        batch.slice(until, batch.num_rows() - until),
    ];
    let fewer = concat_batches(&batch.schema(), &rest).ok()?;
    let mut made = case.clone();
    let input = made.inputs.get_mut(input)?;
    if gone {
        input.deleted = fewer;
    } else {
        input.rows = fewer;
    }
    Some(made)
}
