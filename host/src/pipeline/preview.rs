//! Preview: what a module makes of the first rows, with nothing written.

use arrow::record_batch::RecordBatch;
use futures::StreamExt as _;

use super::declared::check;
use super::execute::ExecuteError;
use super::inputs::{InputError, Landings, Reader};
use super::modules::Made;
use super::report::RejectReason;
use super::sensitive::StandIns;
use crate::contract::{Delivery, Role};
use crate::error::Result;
use crate::sandbox::{Context, Module, Reject, SandboxError, Step};

/// The rows of one input, in the order in which they are pushed.
pub(super) type Fed = Vec<(usize, Vec<RecordBatch>)>;

/// What the module makes of the first `rows` rows of each streamed input, over what has been landed.
///
/// Lookups are given whole. A `changes` input is given the latest rows as well, because the last landing
/// may have brought nothing. In the place of sensitive values the module gets stand-ins; which columns those are of is
/// given last.
///
/// # Errors
/// `Config` when an input has not been landed, `Module` when the module fails.
pub(super) async fn preview(
    made: &Made,
    landings: &Landings,
    reader: &Reader,
    rows: usize,
) -> Result<(Vec<RecordBatch>, Vec<RejectReason>, Vec<String>)> {
    let sensitive = made.module.sensitive();
    let mut stand_ins = StandIns::default();
    let inputs = &made.module.description().inputs;
    let nothing =
        || InputError::NotLanded(inputs.first().map_or_else(String::new, |i| i.table.clone()));
    let newest = landings.newest().await?.ok_or_else(nothing)?;
    let mut fed: Fed = Vec::new();
    for role in [Role::Lookup, Role::Streamed] {
        for (number, input) in inputs.iter().enumerate().filter(|(_, i)| i.role == role) {
            let state = landings.state(&input.table, newest.sequence).await?;
            let state = state.ok_or_else(|| InputError::NotLanded(input.table.clone()))?;
            check(input, &state)?;
            let objects = landings
                .objects(
                    &input.table,
                    Delivery::Current,
                    newest.sequence,
                    &Default::default(),
                )
                .await?;
            let mut stream = reader.rows(input, &objects, &state.table.key).await?;
            let mut left = if role == Role::Lookup {
                usize::MAX
            } else {
                rows
            };
            let mut batches = Vec::new();
            while left > 0
                && let Some(batch) = stream.next().await
            {
                let batch = batch?;
                let batch = batch.slice(0, batch.num_rows().min(left));
                left -= batch.num_rows();
                let is_sensitive = |name: &str| {
                    let mut marked = sensitive.iter();
                    marked.any(|column| column.table == input.table && column.column == name)
                };
                let batch = stand_ins.replace(&batch, is_sensitive);
                batches.push(batch.map_err(ExecuteError::StandIn)?);
            }
            fed.push((number, batches));
        }
    }
    let context = Context {
        logical_time_micros: newest.logical_time.timestamp_micros(),
        seed: 0,
    };
    let module = Module::clone(&made.module);
    let steps = tokio::task::spawn_blocking(move || drive(&module, context, fed))
        .await
        .map_err(ExecuteError::Lost)??;
    let rejects: Vec<Reject> = steps.iter().flat_map(|step| step.rejects.clone()).collect();
    let rows = steps.into_iter().flat_map(|step| step.rows).collect();
    let replaced = sensitive.iter().map(ToString::to_string).collect();
    // What a module says of stand-ins may be said.
    let reasons = super::transform::reasons(&rejects, |message| message);
    Ok((rows, reasons, replaced))
}

/// Runs a session on inputs that are at hand.
pub(super) fn drive(
    module: &Module,
    context: Context,
    fed: Fed,
) -> Result<Vec<Step>, SandboxError> {
    let mut session = module.open(context)?;
    let mut steps = Vec::new();
    for (input, batches) in fed {
        for batch in batches {
            steps.push(session.push(input, &batch)?);
        }
        steps.push(session.end_of_input(input)?);
    }
    steps.push(session.finish()?.0);
    Ok(steps)
}
