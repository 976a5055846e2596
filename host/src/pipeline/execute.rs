//! One execution: a module, its inputs of one landing, and the objects it gives.
//!
//! The module runs on a blocking thread. Rows reach it and leave it through channels of a few batches, so
//! that memory is bounded by the channels and not by the table. The same execution with a zone that keeps
//! nothing is a replay.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{StringArray, UInt32Array, UInt64Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::record_batch::RecordBatch;
use chrono::{DateTime, Utc};
use futures::StreamExt as _;
use tokio::sync::mpsc;

use super::declared::check;
use super::inputs::{Landings, Reader};
use super::kept::{Held, Keep};
use super::report::Observer;
use super::sensitive::Granted;
use crate::contract::{Delivery, Role};
use crate::digest::Digest;
use crate::error::{Classify, ErrorKind, Result};
use crate::manifest::{CurrentRows, InputObjects, ProcessedTable};
use crate::run::Stage;
use crate::sandbox::{Context, Module, Reject, SandboxError, Session, Step, Usage};
use crate::table::TableName;
use crate::zone::Zone;
use crate::zone::parquet::{PartWriter, Settings};

/// Batches on their way into a module, and steps on their way out: enough that neither side waits for the
/// other within a batch, few enough that a slow zone holds the module back.
const BATCHES_UNDER_WAY: usize = 4;

/// Why an execution ended that is not the module's own fault.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ExecuteError {
    /// The thread of the module ended without an answer.
    #[error("the thread of the module ended without an answer")]
    Lost(#[source] tokio::task::JoinError),
    /// The module did not get to its end, and nobody said why.
    #[error("the module did not get to the end of its inputs")]
    Stopped,
    /// Refused rows could not be written down.
    #[error("the refused rows could not be put together")]
    Rejects(#[source] arrow::error::ArrowError),
    /// A sensitive column has a type that nothing can stand for.
    #[error("a sensitive column has no stand-in that its module could be shown")]
    StandIn(#[source] arrow::error::ArrowError),
}

impl Classify for ExecuteError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Bug
    }
}

/// What a module is run on.
pub(super) struct Execution {
    /// The code.
    pub(super) module: Granted,
    /// Where inputs are read.
    pub(super) reader: Reader,
    /// The objects of each input, in the order of the description.
    pub(super) inputs: Vec<InputObjects>,
    /// The landed key of each input's table.
    pub(super) keys: Vec<Vec<String>>,
    /// The logical time.
    pub(super) logical_time: DateTime<Utc>,
    /// The landing's digest: what the seed is made of.
    pub(super) landing_sha256: Digest,
    /// Where outputs go.
    pub(super) output: Arc<dyn Zone>,
    /// What their keys begin with.
    pub(super) prefix: String,
    /// How they are written: of a replay, as the manifest says that they were.
    pub(super) settings: Settings,
    /// Told of progress.
    pub(super) observer: Arc<dyn Observer>,
    /// Where what the module fails on is kept, if it is to be.
    pub(super) keep: Option<Keep>,
}

/// What running a module took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ran {
    /// What the sandbox counted.
    pub(super) usage: Usage,
    /// How long the module's calls took together.
    pub(super) inside: Duration,
}

/// The objects that a module is given of a landing, with the landed key of each input's table.
///
/// # Errors
/// `Config` when what is landed is not what the module declared.
pub(super) async fn inputs_of(
    landings: &Landings,
    module: &Module,
    landing: u64,
    kept: &BTreeMap<TableName, CurrentRows>,
) -> Result<(Vec<InputObjects>, Vec<Vec<String>>)> {
    let (mut inputs, mut keys) = (Vec::new(), Vec::new());
    for input in &module.description().inputs {
        let at = landings
            .complete(&input.table, input.delivery, landing)
            .await?;
        let objects = landings
            .objects(&input.table, input.delivery, at, kept)
            .await?;
        let state = landings.state(&input.table, at).await?;
        if let Some(state) = &state {
            check(input, state)?;
        }
        keys.push(state.map(|s| s.table.key).unwrap_or_default());
        inputs.push(objects);
    }
    Ok((inputs, keys))
}

/// What an execution gave.
pub(super) struct Outcome {
    /// What the manifest records.
    pub(super) table: ProcessedTable,
    /// The refused rows, by input and row.
    pub(super) rejects: Vec<Reject>,
    /// The code.
    module: Granted,
}

impl Outcome {
    /// Rows that the module made.
    pub(super) fn rows_out(&self) -> u64 {
        self.table.rows.iter().map(|o| o.rows).sum()
    }

    /// Keys that it retracted.
    pub(super) fn rows_retracted(&self) -> u64 {
        self.table.retractions.iter().map(|o| o.rows).sum()
    }

    /// Bytes of the rows and keys that it made.
    pub(super) fn bytes(&self) -> u64 {
        let objects = self.table.rows.iter().chain(&self.table.retractions);
        objects.map(|o| o.bytes).sum()
    }

    /// Rows that it refused.
    pub(super) fn rows_rejected(&self) -> u64 {
        self.rejects.len() as u64
    }

    /// The message of a reject as it may be shown.
    pub(super) fn shown<'m>(&self, message: &'m str) -> &'m str {
        self.module.message(message)
    }
}

/// What the module's thread is told.
enum Feed {
    Rows(usize, RecordBatch),
    Gone(usize, RecordBatch),
    End(usize),
    Finish,
}

/// What was collected from the module.
struct Collected {
    rows: PartWriter,
    retractions: PartWriter,
    rejects: Vec<Reject>,
    rows_in: u64,
}

impl Execution {
    /// Runs the module over all of its inputs and writes what it gives.
    ///
    /// # Errors
    /// `Module` when the module fails or lies, `Data` when an input is damaged or does not fit,
    /// `Unavailable` when a zone does not answer. Objects that were written are named by no manifest then.
    pub(super) async fn run(self) -> Result<Outcome> {
        let (give, given) = mpsc::channel(BATCHES_UNDER_WAY);
        let (ran, collected) = tokio::join!(self.stream(give), self.collect(given));
        // The module's own error comes first: the other is what follows from it.
        let ran = ran?;
        let collected = collected?;
        let Some(ran) = ran else {
            return Err(ExecuteError::Stopped.into());
        };
        self.outcome(collected, ran.usage).await
    }

    /// Runs the module over all of its inputs and gives every step to `give`; `None` when nobody took them all.
    ///
    /// # Errors
    /// `Module` when the module fails or lies, `Data` when an input is damaged or does not fit, `Unavailable` when a
    /// zone does not answer.
    pub(super) async fn stream(&self, give: mpsc::Sender<Step>) -> Result<Option<Ran>> {
        let (feed, fed) = mpsc::channel(BATCHES_UNDER_WAY);
        let module = Module::clone(&self.module);
        let context = Context {
            logical_time_micros: self.logical_time.timestamp_micros(),
            seed: seed(&self.landing_sha256),
        };
        let keep = self.keep.clone();
        let thread = tokio::task::spawn_blocking(move || {
            let mut held = Held::default();
            let keeps = keep.is_some().then_some(&mut held);
            let driven = drive(&module, context, fed, give, keeps);
            if let (Some(keep), Err(error)) = (&keep, &driven) {
                keep.take(held, error);
            }
            driven
        });
        let (fed, driven) = tokio::join!(self.feed(feed), thread);
        let ran = driven.map_err(ExecuteError::Lost)??;
        fed?;
        Ok(ran)
    }

    /// Sends every input in the order of the contract: lookups first.
    async fn feed(&self, feed: mpsc::Sender<Feed>) -> Result<()> {
        for role in [Role::Lookup, Role::Streamed] {
            for (number, input) in self.module.description().inputs.iter().enumerate() {
                if input.role == role && !self.feed_one(number, &feed).await? {
                    return Ok(());
                }
            }
        }
        // A closed channel is the end of the module's thread, whose error says why.
        let _ = feed.send(Feed::Finish).await;
        Ok(())
    }

    /// Sends one input; false when the module's thread has ended.
    async fn feed_one(&self, number: usize, feed: &mpsc::Sender<Feed>) -> Result<bool> {
        let description = self.module.description();
        let (Some(input), Some(objects), Some(key)) = (
            description.inputs.get(number),
            self.inputs.get(number),
            self.keys.get(number),
        ) else {
            return Ok(false);
        };
        let mut rows = self.reader.rows(input, objects, key).await?;
        while let Some(batch) = rows.next().await {
            let batch = batch?;
            self.observer.advanced(
                Stage::Transform,
                &description.output.table,
                batch.num_rows() as u64,
                batch.get_array_memory_size() as u64,
            );
            if feed.send(Feed::Rows(number, batch)).await.is_err() {
                return Ok(false);
            }
        }
        if input.delivery == Delivery::Changes {
            let mut gone = self.reader.gone(input, objects);
            while let Some(batch) = gone.next().await {
                if feed.send(Feed::Gone(number, batch?)).await.is_err() {
                    return Ok(false);
                }
            }
        }
        Ok(feed.send(Feed::End(number)).await.is_ok())
    }

    fn writer(&self, name: &str, schema: SchemaRef) -> PartWriter {
        let prefix = format!("{}/{name}", self.prefix);
        PartWriter::new(self.output.clone(), prefix, schema).with_settings(self.settings)
    }

    async fn collect(&self, mut given: mpsc::Receiver<Step>) -> Result<Collected> {
        let output = &self.module.description().output;
        let mut collected = Collected {
            rows: self.writer("part", output.schema.clone()),
            retractions: self.writer("retractions", output.key_schema()),
            rejects: Vec::new(),
            rows_in: 0,
        };
        while let Some(step) = given.recv().await {
            for batch in &step.rows {
                collected.rows.write(batch).await?;
            }
            for batch in &step.retractions {
                collected.retractions.write(batch).await?;
            }
            collected.rejects.extend(step.rejects);
            collected.rows_in += step.rows_in;
        }
        Ok(collected)
    }

    async fn outcome(self, collected: Collected, usage: Usage) -> Result<Outcome> {
        let mut rejects = collected.rejects;
        rejects.sort_by_key(|reject| (reject.input, reject.row));
        let objects = |parts: Vec<_>| parts.into_iter().map(super::object).collect();
        let mut table = ProcessedTable {
            module: self.module.reference().clone(),
            output: self.module.description().into(),
            inputs_sha256: self.landing_sha256,
            rows: objects(collected.rows.finish().await?),
            retractions: objects(collected.retractions.finish().await?),
            rejects: objects(self.write_rejects(&rejects).await?),
            rows_in: collected.rows_in,
            fuel: usage.fuel,
            inputs: self.inputs,
        };
        let module = &table.module.digest;
        table.inputs_sha256 =
            super::transform::inputs_digest(module, &table.inputs, &self.landing_sha256);
        Ok(Outcome {
            table,
            rejects,
            module: self.module,
        })
    }

    /// Writes the refused rows into quarantine: each with its reason and the values that the module saw.
    ///
    /// The inputs are read again for it, so that nobody keeps rows for the case that they are refused.
    async fn write_rejects(&self, rejects: &[Reject]) -> Result<Vec<crate::zone::parquet::Part>> {
        let mut writer = self.writer("rejects", reject_schema());
        let description = self.module.description();
        for of_input in rejects.chunk_by(|a, b| a.input == b.input) {
            let number = of_input.first().map_or(0, |reject| reject.input);
            let (Some(input), Some(objects), Some(key)) = (
                description.inputs.get(number),
                self.inputs.get(number),
                self.keys.get(number),
            ) else {
                continue;
            };
            let mut rows = self.reader.rows(input, objects, key).await?;
            let mut begins = 0_u64;
            let mut rest = of_input;
            while let Some(batch) = rows.next().await {
                let batch = batch?;
                let ends = begins + batch.num_rows() as u64;
                let (here, later) = rest.split_at(rest.partition_point(|reject| reject.row < ends));
                if !here.is_empty() {
                    writer
                        .write(&reject_rows(&input.table, begins, &batch, here)?)
                        .await?;
                }
                (begins, rest) = (ends, later);
                if rest.is_empty() {
                    break;
                }
            }
        }
        Ok(writer.finish().await?)
    }
}

/// The first eight bytes of the landing's digest.
pub(super) fn seed(landing: &Digest) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *landing.as_bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

/// Runs the module's session on this thread; `None` when the feed ended early or nobody takes what it gives.
fn drive(
    module: &Module,
    context: Context,
    mut fed: mpsc::Receiver<Feed>,
    give: mpsc::Sender<Step>,
    mut held: Option<&mut Held>,
) -> Result<Option<Ran>, SandboxError> {
    let mut begun = Instant::now();
    let mut session: Session = module.open(context)?;
    let mut inside = begun.elapsed();
    while let Some(feed) = fed.blocking_recv() {
        if let Some(held) = &mut held {
            match &feed {
                Feed::Rows(input, batch) => held.hold(module, *input, false, batch),
                Feed::Gone(input, keys) => held.hold(module, *input, true, keys),
                Feed::End(_) | Feed::Finish => {}
            }
        }
        begun = Instant::now();
        let step = match feed {
            Feed::Rows(input, batch) => session.push(input, &batch)?,
            Feed::Gone(input, keys) => session.retract(input, &keys)?,
            Feed::End(input) => session.end_of_input(input)?,
            Feed::Finish => {
                let (step, usage) = session.finish()?;
                inside += begun.elapsed();
                let module = module.reference();
                let in_module_us = inside.as_micros() as u64;
                tracing::debug!(%module, in_module_us, fuel = usage.fuel, "module is done");
                let taken = give.blocking_send(step).is_ok();
                return Ok(taken.then_some(Ran { usage, inside }));
            }
        };
        inside += begun.elapsed();
        if give.blocking_send(step).is_err() {
            break;
        }
    }
    Ok(None)
}

/// Columns of quarantine: which input and row, why, and the row as JSON in the columns the module saw.
fn reject_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("input_table", DataType::Utf8, false),
        Field::new("input_row", DataType::UInt64, false),
        Field::new("code", DataType::Utf8, false),
        Field::new("message", DataType::Utf8, false),
        Field::new("row", DataType::Utf8, false),
    ]))
}

fn reject_rows(
    table: &str,
    begins: u64,
    batch: &RecordBatch,
    rejects: &[Reject],
) -> Result<RecordBatch, ExecuteError> {
    let places: UInt32Array = rejects
        .iter()
        .map(|reject| u32::try_from(reject.row - begins).unwrap_or(u32::MAX))
        .collect::<Vec<_>>()
        .into();
    let rows = take_record_batch(batch, &places).map_err(ExecuteError::Rejects)?;
    let json = json_lines(&rows).map_err(ExecuteError::Rejects)?;
    let text = |values: Vec<&str>| Arc::new(StringArray::from(values));
    RecordBatch::try_new(
        reject_schema(),
        vec![
            text(vec![table; rejects.len()]),
            Arc::new(UInt64Array::from_iter_values(rejects.iter().map(|r| r.row))),
            text(rejects.iter().map(|r| r.code.as_str()).collect()),
            text(rejects.iter().map(|r| r.message.as_str()).collect()),
            text(json.lines().collect()),
        ],
    )
    .map_err(ExecuteError::Rejects)
}

fn json_lines(rows: &RecordBatch) -> Result<String, arrow::error::ArrowError> {
    let mut json = Vec::new();
    let mut writer = arrow::json::writer::WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, arrow::json::writer::LineDelimited>(&mut json);
    writer.write(rows)?;
    writer.finish()?;
    drop(writer);
    String::from_utf8(json).map_err(|error| arrow::error::ArrowError::JsonError(error.to_string()))
}
