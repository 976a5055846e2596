//! The trait that a module implements, and what one call of it is given and gives.

use arrow_array::RecordBatch;

use crate::description::{Description, Input};
use crate::failure::{Failure, Reason};

/// Everything that a session may depend on besides its inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The source's clock when the landing was taken: microseconds since 1970-01-01T00:00:00Z.
    pub logical_time: i64,
    /// The same for every replay of the same landing.
    pub seed: u64,
    /// The bytes kept beside the component in the registry.
    pub parameters: Vec<u8>,
}

/// One table's transform: a pure function of its inputs and its context.
///
/// The SDK calls one value from one thread: [`describe`](Self::describe) at any time; [`open`](Self::open) once;
/// then for every lookup `push`* and `end_of_input`; then for the streamed inputs in the order of the description
/// `push`*, `retract`*, `end_of_input`; then `finish`, once. After a `push` that refused rows comes `refused` with
/// their keys. A call out of this order does not arrive here. The rows of an arrival have exactly the columns of the
/// input's declaration. An error ends the session; a row that cannot be used is refused with [`Step::refuse`], and
/// the rest goes on.
///
/// Where a table is a list of columns with a rule each, [`Table`](crate::Table) implements this already.
pub trait Transform {
    /// What this module reads and makes: the same answer always.
    ///
    /// # Errors
    /// The declaration contradicts itself, or the parameters cannot be used.
    fn describe(&self) -> Result<Description, Failure>;

    /// The name under which this module is published: that of its crate, unless its parameters give it another. A
    /// component that serves many tables has one for each.
    fn name(&self) -> Option<&str> {
        None
    }

    /// Begins a session.
    ///
    /// # Errors
    /// The context cannot be used.
    fn open(&mut self, _context: &Context) -> Result<(), Failure> {
        Ok(())
    }

    /// Takes rows of an input.
    ///
    /// # Errors
    /// The module cannot go on.
    fn push(&mut self, rows: &Arrival<'_>, step: &mut Step) -> Result<(), Failure>;

    /// Takes keys that are gone from an input, none with a NULL. By default they become retractions of the output: the columns of
    /// the key are renamed to the primary key of the output by their position.
    ///
    /// # Errors
    /// The module cannot go on.
    fn retract(&mut self, keys: &Arrival<'_>, step: &mut Step) -> Result<(), Failure> {
        let columns = keys.rows.columns().to_vec();
        let schema = keys.description.output.key_schema();
        let renamed = RecordBatch::try_new(schema, columns).map_err(|error| {
            Failure::new(
                "retraction",
                format!(
                    "the deleted keys of {} are no keys of {}: {error}",
                    keys.input().map_or("an input", |input| &input.table),
                    keys.description.output.table
                ),
            )
        })?;
        step.retractions.push(renamed);
        Ok(())
    }

    /// Takes the keys of the rows of a streamed input that the last `push` refused, each once, in the columns of the
    /// input's key. By default they are gone from the output like deleted keys, so that no row stands there that the
    /// source no longer has; the warehouse keeps its history, and a key that it does not have does no harm. A
    /// transform that refuses a row because another one of the same key stands leaves such keys out.
    ///
    /// Not called where the output is overwritten, nor for keys with a NULL.
    ///
    /// # Errors
    /// The module cannot go on.
    fn refused(&mut self, keys: &Arrival<'_>, step: &mut Step) -> Result<(), Failure> {
        self.retract(keys, step)
    }

    /// Takes note that an input has ended.
    ///
    /// # Errors
    /// The module cannot go on.
    fn end_of_input(&mut self, _input: usize, _step: &mut Step) -> Result<(), Failure> {
        Ok(())
    }

    /// Gives what is left.
    ///
    /// # Errors
    /// The module cannot go on.
    fn finish(&mut self, _step: &mut Step) -> Result<(), Failure> {
        Ok(())
    }
}

/// Rows or keys of one input, with where they stand in it; keys of refused rows stand where the rows did, but for
/// their own order.
#[derive(Debug, Clone, Copy)]
pub struct Arrival<'a> {
    /// What the module said of itself.
    pub description: &'a Description,
    /// The position of the input in the description.
    pub input: usize,
    /// The number of the push of this input, from 0.
    pub chunk: u32,
    /// The position in the chunk of the first row of `rows`.
    pub first_row: u32,
    /// The rows.
    pub rows: &'a RecordBatch,
}

impl Arrival<'_> {
    /// The declaration of the input.
    pub fn input(&self) -> Option<&Input> {
        self.description.inputs.get(self.input)
    }

    /// Where a row of `rows` stands.
    pub fn place(&self, row: usize) -> Place {
        Place {
            input: u32::try_from(self.input).unwrap_or(u32::MAX),
            chunk: self.chunk,
            row: self
                .first_row
                .saturating_add(u32::try_from(row).unwrap_or(u32::MAX)),
        }
    }

    /// The row of `rows` that stands at a place, if it is one of them.
    pub(crate) fn position(&self, place: Place) -> Option<usize> {
        let here = (place.input as usize, place.chunk) == (self.input, self.chunk);
        let row = place.row.checked_sub(self.first_row)? as usize;
        (here && row < self.rows.num_rows()).then_some(row)
    }
}

/// Where a row stands in the inputs of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The position of the input in the description.
    pub input: u32,
    /// The number of the push of that input, from 0.
    pub chunk: u32,
    /// The row within the chunk, from 0.
    pub row: u32,
}

/// A row that the module refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Which row.
    pub place: Place,
    /// Why.
    pub reason: Reason,
}

/// What one call gives.
#[derive(Debug, Clone, Default)]
pub struct Step {
    /// Rows of the output.
    pub rows: Vec<RecordBatch>,
    /// Keys of the output that are gone.
    pub retractions: Vec<RecordBatch>,
    /// Rows that are refused.
    pub rejects: Vec<Reject>,
}

impl Step {
    /// Refuses a row of the arrival that is being pushed. What becomes of an earlier row of its key is said by
    /// [`Transform::refused`]; for a row of an earlier arrival, a transform adds the retraction itself.
    pub fn refuse(&mut self, place: Place, reason: Reason) {
        self.rejects.push(Reject { place, reason });
    }
}

impl<T: Transform + ?Sized> Transform for Box<T> {
    fn describe(&self) -> Result<Description, Failure> {
        (**self).describe()
    }

    fn name(&self) -> Option<&str> {
        (**self).name()
    }

    fn open(&mut self, context: &Context) -> Result<(), Failure> {
        (**self).open(context)
    }

    fn push(&mut self, rows: &Arrival<'_>, step: &mut Step) -> Result<(), Failure> {
        (**self).push(rows, step)
    }

    fn retract(&mut self, keys: &Arrival<'_>, step: &mut Step) -> Result<(), Failure> {
        (**self).retract(keys, step)
    }

    fn refused(&mut self, keys: &Arrival<'_>, step: &mut Step) -> Result<(), Failure> {
        (**self).refused(keys, step)
    }

    fn end_of_input(&mut self, input: usize, step: &mut Step) -> Result<(), Failure> {
        (**self).end_of_input(input, step)
    }

    fn finish(&mut self, step: &mut Step) -> Result<(), Failure> {
        (**self).finish(step)
    }
}
