//! One run of one table through one module.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use wasmtime::component::ResourceAny;

use super::binding::types;
use super::decode::{Budget, ChunkReader};
use super::encode::ChunkWriter;
use super::error::{Breach, Phase, SandboxError, Stream};
use super::guest::{CODE_BYTES, Instance, Usage};
use super::keys::Keys;
use super::module::Module;
use super::order::Order;
use super::text::is_kebab;
use crate::printable;

/// How much of the message of a reject is kept.
const MESSAGE_BYTES: usize = 1024;
/// What a reject takes besides its texts: its place, and two blocks of memory.
const REJECT_BYTES: usize = size_of::<Reject>() + 32;

/// A row of an input that the module refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// The number of the input.
    pub input: usize,
    /// The row, counted over everything pushed to that input, from 0.
    pub row: u64,
    /// Short and stable: lower-case letters, digits and hyphens.
    pub code: String,
    /// What is wrong with which column; printable.
    pub message: String,
}

/// What one call gave.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// Rows of the output, in its declared schema.
    pub rows: Vec<RecordBatch>,
    /// Keys of the output that are gone, in its key schema.
    pub retractions: Vec<RecordBatch>,
    /// Rows that the module refused.
    pub rejects: Vec<Reject>,
    /// Rows and retractions that the module was given.
    pub rows_in: u64,
}

impl Step {
    /// Rows of the output.
    pub fn rows_out(&self) -> u64 {
        self.rows.iter().map(|batch| batch.num_rows() as u64).sum()
    }

    /// Keys that are gone.
    pub fn rows_retracted(&self) -> u64 {
        let batches = self.retractions.iter();
        batches.map(|batch| batch.num_rows() as u64).sum()
    }

    fn append(&mut self, mut next: Self) {
        self.rows.append(&mut next.rows);
        self.retractions.append(&mut next.retractions);
        self.rejects.append(&mut next.rejects);
        self.rows_in += next.rows_in;
    }
}

/// A session: an instance of its own, thrown away at the end or after the first error.
///
/// Calls come in this order: the inputs of [`Module::input_order`] one after the other, each
/// [`push`](Self::push)\* [`retract`](Self::retract)\* [`end_of_input`](Self::end_of_input); then
/// [`finish`](Self::finish). Every call blocks its thread until the guest has answered or its time is
/// over. After an error every call fails: the instance is gone.
#[derive(Debug)]
pub struct Session {
    module: Module,
    /// `None` after an error.
    guest: Option<(Instance, ResourceAny)>,
    order: Order,
    inputs: Vec<InputState>,
    rows: ChunkReader,
    retractions: ChunkReader,
    keys: Keys,
    budget: Budget,
    reject_bytes_left: usize,
    chunks: u64,
}

/// What has been given to one input.
#[derive(Debug)]
struct InputState {
    pushes: ChunkWriter,
    retracts: ChunkWriter,
    /// For every push, the rows before it; and at the end the rows of all.
    begins: Vec<u64>,
}

impl Session {
    /// Begins a session on a fresh instance.
    pub(super) fn open(module: &Module, context: &types::Context) -> Result<Self, SandboxError> {
        let mut instance = module.instance(Phase::Open)?;
        let handle = instance.open(context)?;
        let description = module.description();
        let output = &description.output;
        let limits = module.limits();
        let misuse = |e: arrow::error::ArrowError| module.misuse(e.to_string());
        let inputs = description
            .inputs
            .iter()
            .map(|input| {
                Ok(InputState {
                    pushes: ChunkWriter::new(&input.schema)?,
                    retracts: ChunkWriter::new(&input.key_schema())?,
                    begins: vec![0],
                })
            })
            .collect::<Result<_, _>>()
            .map_err(misuse)?;
        Ok(Self {
            guest: Some((instance, handle)),
            order: Order::new(description),
            inputs,
            rows: ChunkReader::new(Stream::Rows, output.schema.clone()),
            retractions: ChunkReader::new(Stream::Retractions, output.key_schema()),
            keys: Keys::new(&output.schema, &output.primary_key, limits.remembered_keys)
                .map_err(misuse)?,
            budget: Budget::new(limits.output_rows, limits.output_bytes),
            reject_bytes_left: limits.reject_bytes,
            chunks: 0,
            module: module.clone(),
        })
    }

    /// Gives rows of input number `input`, in chunks of the size that the limits ask for.
    ///
    /// # Errors
    /// `Module` when the module fails or breaks a rule; `Bug` when the batch has not the declared schema
    /// or it is another input's turn.
    pub fn push(&mut self, input: usize, batch: &RecordBatch) -> Result<Step, SandboxError> {
        self.order.push(input).map_err(|e| self.module.misuse(e))?;
        self.give(input, batch, Phase::Push)
    }

    /// Gives keys that are gone from input number `input`.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn retract(&mut self, input: usize, keys: &RecordBatch) -> Result<Step, SandboxError> {
        let description = self.module.description();
        self.order
            .retract(input, description)
            .map_err(|e| self.module.misuse(e))?;
        self.give(input, keys, Phase::Retract)
    }

    /// Ends input number `input`.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn end_of_input(&mut self, input: usize) -> Result<Step, SandboxError> {
        self.order.end(input).map_err(|e| self.module.misuse(e))?;
        let number = u32::try_from(input).unwrap_or(u32::MAX);
        let step = self.call(|guest, handle| {
            guest.call(Phase::EndOfInput, |exports, store| {
                exports.session().call_end_of_input(store, handle, number)
            })
        })?;
        self.accept(Phase::EndOfInput, step, 0)
    }

    /// Ends the session.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub fn finish(mut self) -> Result<(Step, Usage), SandboxError> {
        self.order.finish().map_err(|e| self.module.misuse(e))?;
        let step = self.call(|guest, handle| {
            guest.call(Phase::Finish, |exports, store| {
                exports.session().call_finish(store, handle)
            })
        })?;
        let step = self.accept(Phase::Finish, step, 0)?;
        let usage = self.guest.as_ref().map(|(guest, _)| guest.usage());
        let usage = Usage {
            chunks: self.chunks,
            ..usage.unwrap_or_default()
        };
        Ok((step, usage))
    }

    fn give(
        &mut self,
        input: usize,
        batch: &RecordBatch,
        phase: Phase,
    ) -> Result<Step, SandboxError> {
        let batch = self.declared(input, batch, phase)?;
        let (mut step, mut from) = (Step::default(), 0);
        while from < batch.num_rows() {
            let rest = batch.slice(from, batch.num_rows() - from);
            let (given, rows) = self.give_chunk(input, &rest, phase)?;
            from += rows;
            step.append(self.accept(phase, given, rows as u64)?);
        }
        Ok(step)
    }

    /// Gives the first rows of `batch` that make a chunk; how many those were.
    fn give_chunk(
        &mut self,
        input: usize,
        batch: &RecordBatch,
        phase: Phase,
    ) -> Result<(types::Step, usize), SandboxError> {
        let Self {
            guest,
            inputs,
            module,
            ..
        } = self;
        let unknown = || module.misuse(format!("there is no input {input}"));
        let (instance, handle) = guest.as_mut().ok_or_else(|| module.over())?;
        let state = inputs.get_mut(input).ok_or_else(unknown)?;
        let writer = match phase {
            Phase::Retract => &mut state.retracts,
            _ => &mut state.pushes,
        };
        let (chunk, rows) = writer
            .chunk(batch, module.limits())
            .map_err(|e| module.misuse(e.to_string()))?;
        if phase == Phase::Push {
            let before = state.begins.last().copied().unwrap_or(0);
            state.begins.push(before + rows as u64);
        }
        let (number, handle) = (u32::try_from(input).unwrap_or(u32::MAX), *handle);
        self.chunks += 1;
        let step = instance.call(phase, |exports, store| match phase {
            Phase::Retract => exports.session().call_retract(store, handle, number, chunk),
            _ => exports.session().call_push(store, handle, number, chunk),
        });
        if step.is_err() {
            self.guest = None;
        }
        Ok((step?, rows))
    }

    fn call<T>(
        &mut self,
        call: impl FnOnce(&mut Instance, ResourceAny) -> Result<T, SandboxError>,
    ) -> Result<T, SandboxError> {
        let (instance, handle) = self.guest.as_mut().ok_or_else(|| self.module.over())?;
        let result = call(instance, *handle);
        if result.is_err() {
            self.guest = None;
        }
        result
    }

    /// The batch under the declared schema, when it has exactly its columns.
    fn declared(
        &self,
        input: usize,
        batch: &RecordBatch,
        phase: Phase,
    ) -> Result<RecordBatch, SandboxError> {
        let inputs = &self.module.description().inputs;
        let unknown = || self.module.misuse(format!("there is no input {input}"));
        let declared = inputs.get(input).ok_or_else(unknown)?;
        let schema: SchemaRef = match phase {
            Phase::Retract => declared.key_schema(),
            _ => declared.schema.clone(),
        };
        let given = batch.schema();
        let names = |schema: &SchemaRef| -> Vec<String> {
            schema.fields().iter().map(|f| f.name().clone()).collect()
        };
        if names(&given) != names(&schema) {
            return Err(self.module.misuse(format!(
                "the columns of input {input} (`{}`) are {:?} instead of {:?}",
                declared.table,
                names(&given),
                names(&schema)
            )));
        }
        RecordBatch::try_new(schema, batch.columns().to_vec()).map_err(|e| {
            self.module
                .misuse(format!("input {input} (`{}`): {e}", declared.table))
        })
    }

    /// Checks what a call gave. A breach ends the session.
    fn accept(
        &mut self,
        phase: Phase,
        step: types::Step,
        rows_in: u64,
    ) -> Result<Step, SandboxError> {
        let checked = self.check(step, rows_in);
        checked.map_err(|breach| match self.guest.take() {
            Some((instance, _)) => instance.stopped(phase, breach),
            None => self.module.over(),
        })
    }

    fn check(&mut self, step: types::Step, rows_in: u64) -> Result<Step, Breach> {
        let counts = step.counts;
        let checked = Step {
            rows: self.check_stream(Stream::Rows, step.rows)?,
            retractions: self.check_stream(Stream::Retractions, step.retractions)?,
            rejects: self.check_rejects(step.rejects)?,
            rows_in,
        };
        let rejected = checked.rejects.len() as u64;
        for (what, claimed, actual) in [
            ("rows in", counts.rows_in, rows_in),
            ("rows out", counts.rows_out, checked.rows_out()),
            (
                "rows retracted",
                counts.rows_retracted,
                checked.rows_retracted(),
            ),
            ("rows rejected", counts.rows_rejected, rejected),
        ] {
            if claimed != actual {
                return Err(Breach::Counts {
                    what,
                    claimed,
                    actual,
                });
            }
        }
        Ok(checked)
    }

    fn check_stream(
        &mut self,
        stream: Stream,
        chunks: Vec<Vec<u8>>,
    ) -> Result<Vec<RecordBatch>, Breach> {
        let reader = match stream {
            Stream::Rows => &mut self.rows,
            Stream::Retractions => &mut self.retractions,
        };
        let mut batches = Vec::new();
        for chunk in chunks {
            for (before, batch) in reader.read(chunk, &mut self.budget)? {
                self.keys.note(stream, before, &batch)?;
                batches.push(batch);
            }
        }
        Ok(batches)
    }

    fn check_rejects(&mut self, rejects: Vec<types::Reject>) -> Result<Vec<Reject>, Breach> {
        self.budget.take_rows(rejects.len() as u64)?;
        let mut checked = Vec::with_capacity(rejects.len());
        for (number, reject) in rejects.into_iter().enumerate() {
            let reject = self
                .check_reject(reject)
                .map_err(|reason| Breach::Reject { number, reason })?;
            self.keep(&reject)?;
            checked.push(reject);
        }
        Ok(checked)
    }

    /// Makes room for a reject: they stay in memory until the session has ended.
    fn keep(&mut self, reject: &Reject) -> Result<(), Breach> {
        let bytes = REJECT_BYTES + reject.code.len() + reject.message.len();
        let left = self.reject_bytes_left.checked_sub(bytes);
        self.reject_bytes_left = left.ok_or(Breach::TooMuch {
            what: "bytes of rejects",
            limit: self.module.limits().reject_bytes as u64,
        })?;
        Ok(())
    }

    /// Translates the place of a reject from chunk and row to the row of the input.
    fn check_reject(&self, reject: types::Reject) -> Result<Reject, String> {
        let types::Reject {
            input, chunk, row, ..
        } = reject;
        let number = input as usize;
        let state = self.inputs.get(number).ok_or_else(|| {
            format!(
                "points at input {input}, but there are {}",
                self.inputs.len()
            )
        })?;
        let at = chunk as usize;
        let (Some(begin), Some(end)) = (state.begins.get(at), state.begins.get(at + 1)) else {
            return Err(format!(
                "points at chunk {chunk} of input {input}, but {} were given",
                state.begins.len() - 1
            ));
        };
        let place = begin + u64::from(row);
        if place >= *end {
            return Err(format!(
                "points at row {row} of chunk {chunk} of input {input}, which has {} rows",
                end - begin
            ));
        }
        if !is_kebab(&reject.code, CODE_BYTES) {
            return Err(format!(
                "has the code `{}`, which is not made of lower-case letters, digits and hyphens",
                printable::line(&reject.code, CODE_BYTES)
            ));
        }
        Ok(Reject {
            input: number,
            row: place,
            code: reject.code,
            message: printable::line(&reject.message, MESSAGE_BYTES),
        })
    }
}
