//! A session from bytes to bytes: what the component does, without being one.
//!
//! It decodes chunks, keeps the order of the calls, asks the transform, and encodes what that gives. The
//! component's shell only translates types, so everything here is tested natively.

use crate::description::{Description, Role};
use crate::failure::Failure;
use crate::ipc::{Decoder, Encoder};
use crate::keys;
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
            for rows in &keys::of_refused(&arrival, &step.rejects)? {
                let keys = Arrival { rows, ..arrival };
                self.transform.refused(&keys, &mut step)?;
            }
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
            for rows in &keys::without_nulls(batch)? {
                let keys = Arrival {
                    description: &self.description,
                    input: index,
                    chunk: stream.chunks,
                    first_row: u32::try_from(rows_in).unwrap_or(u32::MAX),
                    rows,
                };
                self.transform.retract(&keys, &mut step)?;
            }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::cast::AsArray;
    use arrow_array::types::Int32Type;
    use arrow_array::{ArrayRef, Int32Array, RecordBatch, StringArray};

    use super::*;
    use crate::description::{Input, integer};
    use crate::failure::Reason;
    use crate::table::Table;

    /// Input 0 is `note`, streamed; input 1 is `author`, looked up.
    fn notes() -> Table {
        let note = Input::changes("note").key(integer("note_id"));
        let author = Input::current("author")
            .key(integer("author_id"))
            .look_up(note.integer("author_id"));
        Table::upsert("note")
            .key("id", note.integer("note_id"))
            .optional("author", author.text("name"))
    }

    fn open() -> Session<Table> {
        Session::open(notes(), &Context::default()).unwrap()
    }

    fn chunk(schema: arrow_schema::SchemaRef, columns: Vec<ArrayRef>) -> Vec<u8> {
        let rows = RecordBatch::try_new(schema.clone(), columns).unwrap();
        let mut encoder = Encoder::new("a test".to_owned(), schema).unwrap();
        encoder.encode(&[rows]).unwrap().0.remove(0)
    }

    fn note_rows() -> Vec<u8> {
        let ids: ArrayRef = Arc::new(Int32Array::from(vec![Some(1), None, Some(3)]));
        chunk(
            notes().describe().unwrap().inputs[0].schema(),
            vec![ids.clone(), ids],
        )
    }

    fn note_keys() -> Vec<u8> {
        let schema = notes().describe().unwrap().inputs[0].key_schema();
        chunk(schema, vec![Arc::new(Int32Array::from(vec![8, 9]))])
    }

    fn author_rows() -> Vec<u8> {
        let ids = Arc::new(Int32Array::from(vec![1]));
        let names = Arc::new(StringArray::from(vec!["Ada"]));
        chunk(
            notes().describe().unwrap().inputs[1].schema(),
            vec![ids, names],
        )
    }

    #[test]
    fn a_whole_session_counts_what_it_gives() {
        let mut session = open();
        assert_eq!(session.push(1, author_rows()).unwrap().rows_in, 1);
        session.end_of_input(1).unwrap();
        let step = session.push(0, note_rows()).unwrap();
        assert_eq!((step.rows_in, step.rows_out, step.rejects.len()), (3, 2, 1));
        assert_eq!(step.rows.len(), 1);
        let step = session.retract(0, note_keys()).unwrap();
        assert_eq!(
            (step.rows_in, step.rows_out, step.rows_retracted),
            (2, 0, 2)
        );
        session.end_of_input(0).unwrap();
        let step = session.finish().unwrap();
        assert!(step.rows.is_empty() && step.retractions.is_empty());
    }

    #[test]
    fn a_reject_names_its_push_and_its_row_in_it() {
        let mut session = open();
        session.end_of_input(1).unwrap();
        let whole = note_rows();
        session.push(0, whole.clone()).unwrap();
        // The second chunk goes on without a schema.
        let schema = notes().describe().unwrap().inputs[0].schema();
        let head = crate::ipc::encode_schema(&schema).unwrap().len() - 8;
        let step = session.push(0, whole[head..].to_vec()).unwrap();
        let place = step.rejects[0].place;
        assert_eq!((place.input, place.chunk, place.row), (0, 1, 1));
    }

    #[test]
    fn calls_out_of_order_are_failures() {
        let order = |calls: &dyn Fn(&mut Session<Table>) -> Result<Encoded, Failure>| {
            calls(&mut open()).unwrap_err().message
        };
        for (message, expected) in [
            (
                order(&|s| s.push(0, note_rows())),
                "calls are out of order: note comes after the end of author",
            ),
            (
                order(&|s| s.push(2, Vec::new())),
                "calls are out of order: there is no input 2",
            ),
            (
                order(&|s| s.end_of_input(1).and_then(|_| s.push(1, author_rows()))),
                "calls are out of order: author has ended",
            ),
            (
                order(&|s| {
                    s.end_of_input(1)?;
                    s.retract(0, note_keys())?;
                    s.push(0, note_rows())
                }),
                "calls are out of order: rows after deleted keys",
            ),
            (
                order(&|s| s.end_of_input(1).and_then(|_| s.finish())),
                "calls are out of order: finish before the end of every input",
            ),
        ] {
            assert_eq!(message, expected);
        }
    }

    #[test]
    fn a_deleted_key_that_is_null_takes_nothing_back() {
        let mut session = open();
        session.end_of_input(1).unwrap();
        let schema = notes().describe().unwrap().inputs[0].key_schema();
        let keys = chunk(
            schema,
            vec![Arc::new(Int32Array::from(vec![None, Some(4)]))],
        );
        let step = session.retract(0, keys).unwrap();
        assert_eq!((step.rows_in, step.rows_retracted), (2, 1));
    }

    /// A note must have a known author here.
    fn signed_notes() -> Table {
        let note = Input::changes("note").key(integer("note_id"));
        let author = Input::current("author")
            .key(integer("author_id"))
            .look_up(note.integer("author_id"));
        Table::append_versions("note")
            .key("id", note.integer("note_id"))
            .required("author", author.text("name"))
    }

    #[test]
    fn a_refused_row_takes_back_its_key_and_one_without_a_key_nothing() {
        let mut session = Session::open(signed_notes(), &Context::default()).unwrap();
        session.push(1, author_rows()).unwrap();
        session.end_of_input(1).unwrap();
        // Note 1 is by Ada; the second has no key; nobody knows the author of note 3.
        let step = session.push(0, note_rows()).unwrap();
        assert_eq!((step.rows_in, step.rows_out, step.rejects.len()), (3, 1, 2));
        assert_eq!((step.retractions.len(), step.rows_retracted), (1, 1));
        let step = session.retract(0, note_keys()).unwrap();
        assert_eq!(step.rows_retracted, 2);
    }

    /// Of rows with the same key the first stands: the others are refused, and it is not taken back for them.
    #[derive(Default)]
    struct FirstOfEach(std::collections::BTreeSet<i32>);

    impl Transform for FirstOfEach {
        fn describe(&self) -> Result<Description, Failure> {
            notes().describe().map(|described| Description {
                inputs: vec![Input::changes("note").key(integer("note_id"))],
                output: crate::Output::new("note", crate::LoadMode::Upsert).key(integer("id")),
                ..described
            })
        }

        fn push(&mut self, rows: &Arrival<'_>, step: &mut Step) -> Result<(), Failure> {
            let ids = rows.rows.column(0).as_primitive::<Int32Type>();
            for (row, id) in ids.iter().enumerate() {
                if !self.0.insert(id.unwrap_or_default()) {
                    step.refuse(rows.place(row), Reason::new("twice", "it comes twice"));
                }
            }
            Ok(())
        }

        fn refused(&mut self, _: &Arrival<'_>, _: &mut Step) -> Result<(), Failure> {
            Ok(())
        }
    }

    #[test]
    fn a_transform_may_keep_the_key_of_a_row_that_it_refuses() {
        let transform: Box<dyn Transform> = Box::new(FirstOfEach::default());
        let mut session = Session::open(transform, &Context::default()).unwrap();
        let schema = FirstOfEach::default().describe().unwrap().inputs[0].schema();
        let rows = chunk(schema, vec![Arc::new(Int32Array::from(vec![5, 5]))]);
        let step = session.push(0, rows).unwrap();
        assert_eq!((step.rejects.len(), step.rows_retracted), (1, 0));
    }
}
