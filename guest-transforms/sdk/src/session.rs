//! A session from bytes to bytes: what the component does, without being one.
//!
//! It decodes chunks, keeps the order of the calls, asks the transform, and encodes what that gives. The
//! component's shell only translates types, so everything here is tested natively.

use crate::description::{Description, Role};
use crate::failure::Failure;
use crate::ipc::{Decoder, Encoder};
use crate::transform::{Arrival, Context, Reject, Step, Transform};

/// What one call gave, encoded.
#[derive(Debug, Default)]
pub struct Encoded {
    /// The next chunks of the output's stream.
    pub rows: Vec<Vec<u8>>,
    /// The next chunks of the retraction stream.
    pub retractions: Vec<Vec<u8>>,
    /// Refused rows.
    pub rejects: Vec<Reject>,
    /// Rows decoded from the chunk of this call.
    pub rows_in: u64,
    /// Rows in `rows`.
    pub rows_out: u64,
    /// Rows in `retractions`.
    pub rows_retracted: u64,
}

/// One run of one table.
pub struct Session<T> {
    transform: T,
    description: Description,
    inputs: Vec<Stream>,
    rows: Encoder,
    retractions: Encoder,
    finished: bool,
}

/// Where one input stands.
struct Stream {
    rows: Decoder,
    keys: Decoder,
    chunks: u32,
    retracting: bool,
    ended: bool,
}

impl<T: Transform> Session<T> {
    /// Begins a session of a transform.
    ///
    /// # Errors
    /// The transform cannot describe itself or does not take the context.
    pub fn open(mut transform: T, context: &Context) -> Result<Self, Failure> {
        let description = transform.describe()?;
        transform.open(context)?;
        let inputs = description
            .inputs
            .iter()
            .map(|input| Stream {
                rows: Decoder::new(format!("the input {}", input.table), input.schema()),
                keys: Decoder::new(
                    format!("the deleted keys of {}", input.table),
                    input.key_schema(),
                ),
                chunks: 0,
                retracting: false,
                ended: false,
            })
            .collect();
        let output = &description.output;
        let retractions = format!("the retractions of {}", output.table);
        Ok(Self {
            inputs,
            rows: Encoder::new(format!("the output {}", output.table), output.schema())?,
            retractions: Encoder::new(retractions, output.key_schema())?,
            transform,
            description,
            finished: false,
        })
    }

    /// Takes a chunk of rows.
    ///
    /// # Errors
    /// The call is out of order, the chunk cannot be read, or the transform fails.
    pub fn push(&mut self, input: u32, chunk: Vec<u8>) -> Result<Encoded, Failure> {
        let index = self.turn_of(input)?;
        let stream = at(&mut self.inputs, index)?;
        if stream.retracting {
            return Err(out_of_order("rows after deleted keys"));
        }
        let number = stream.chunks;
        stream.chunks += 1;
        let batches = stream.rows.decode(chunk)?;
        let mut step = Step::default();
        let mut rows_in = 0;
        for batch in &batches {
            let arrival = Arrival {
                description: &self.description,
                input: index,
                chunk: number,
                first_row: u32::try_from(rows_in).unwrap_or(u32::MAX),
                rows: batch,
            };
            self.transform.push(&arrival, &mut step)?;
            rows_in += batch.num_rows() as u64;
        }
        self.encode(step, rows_in)
    }

    /// Takes a chunk of deleted keys.
    ///
    /// # Errors
    /// The call is out of order, the chunk cannot be read, or the transform fails.
    pub fn retract(&mut self, input: u32, chunk: Vec<u8>) -> Result<Encoded, Failure> {
        let index = self.turn_of(input)?;
        let stream = at(&mut self.inputs, index)?;
        stream.retracting = true;
        let batches = stream.keys.decode(chunk)?;
        let mut step = Step::default();
        let mut rows_in = 0;
        for batch in &batches {
            let arrival = Arrival {
                description: &self.description,
                input: index,
                chunk: stream.chunks,
                first_row: u32::try_from(rows_in).unwrap_or(u32::MAX),
                rows: batch,
            };
            self.transform.retract(&arrival, &mut step)?;
            rows_in += batch.num_rows() as u64;
        }
        self.encode(step, rows_in)
    }

    /// Takes note that an input has ended.
    ///
    /// # Errors
    /// The call is out of order, or the transform fails.
    pub fn end_of_input(&mut self, input: u32) -> Result<Encoded, Failure> {
        let index = self.turn_of(input)?;
        let stream = at(&mut self.inputs, index)?;
        stream.ended = true;
        let mut step = Step::default();
        self.transform.end_of_input(index, &mut step)?;
        self.encode(step, 0)
    }

    /// Gives what is left.
    ///
    /// # Errors
    /// An input has not ended, or the transform fails.
    pub fn finish(&mut self) -> Result<Encoded, Failure> {
        if self.finished || self.inputs.iter().any(|input| !input.ended) {
            return Err(out_of_order("finish before the end of every input"));
        }
        self.finished = true;
        let mut step = Step::default();
        self.transform.finish(&mut step)?;
        self.encode(step, 0)
    }

    fn encode(&mut self, step: Step, rows_in: u64) -> Result<Encoded, Failure> {
        let (rows, rows_out) = self.rows.encode(&step.rows)?;
        let (retractions, rows_retracted) = self.retractions.encode(&step.retractions)?;
        Ok(Encoded {
            rows,
            retractions,
            rejects: step.rejects,
            rows_in,
            rows_out,
            rows_retracted,
        })
    }

    /// The position of an input that may be called now: it has not ended, and every lookup has if it is streamed,
    /// and so have the streamed inputs before it.
    fn turn_of(&self, input: u32) -> Result<usize, Failure> {
        let index = input as usize;
        let (Some(stream), Some(declared)) =
            (self.inputs.get(index), self.description.inputs.get(index))
        else {
            return Err(out_of_order(&format!("there is no input {input}")));
        };
        if stream.ended {
            return Err(out_of_order(&format!("{} has ended", declared.table)));
        }
        let waits_for = self
            .description
            .inputs
            .iter()
            .zip(&self.inputs)
            .enumerate()
            .find(|(position, (other, stream))| {
                let comes_first = other.role == Role::Lookup || *position < index;
                declared.role == Role::Streamed && comes_first && !stream.ended
            });
        match waits_for {
            None => Ok(index),
            Some((_, (other, _))) => Err(out_of_order(&format!(
                "{} comes after the end of {}",
                declared.table, other.table
            ))),
        }
    }
}

fn at(inputs: &mut [Stream], index: usize) -> Result<&mut Stream, Failure> {
    inputs
        .get_mut(index)
        .ok_or_else(|| out_of_order(&format!("there is no input {index}")))
}

fn out_of_order(what: &str) -> Failure {
    Failure::new("call-order", format!("calls are out of order: {what}"))
}
