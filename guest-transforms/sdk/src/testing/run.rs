//! Runs cases natively, from bytes to bytes: everything of the component but its shell.

use std::any::Any;
use std::cell::Cell;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use arrow_select::concat::concat_batches;
use tidemill_case::{
    Case, Failed, FailureKind, InputShape, Made, Outcome, RejectedRow, Shape, compare,
    is_beyond_native,
};

use crate::description::{Description, Role};
use crate::failure::Failure;
use crate::ipc::{Decoder, Encoder};
use crate::session::{Encoded, Session};
use crate::transform::{Context, Transform};

/// The sizes of chunks, in rows, that every case is run with: the smallest, one that leaves a rest, and a
/// usual one.
pub const CHUNK_ROWS: [usize; 3] = [1, 7, 8_192];

/// Names a folder into which outcomes are written instead of being compared with what is expected: whoever sets it
/// compares them itself, with those of the sandbox as well.
const OUTCOMES: &str = "TIDEMILL_OUTCOMES";
/// Names the one case that is to be run.
const CASE: &str = "TIDEMILL_CASE";

/// Checks every case in the folder `cases` of the crate under test, with every size of chunks.
///
/// # Panics
/// A case does not hold, a file is no case, or there is none; the message says all of it.
pub fn check_cases<T: Transform>(transform: impl Fn() -> T) {
    check_cases_with(|_| Ok(transform()));
}

/// As [`check_cases`], for a module whose transform depends on parameters: each case has its own.
///
/// # Panics
/// As [`check_cases`], and when no transform can be made of the parameters of a case.
#[expect(clippy::panic, reason = "it is a test")]
pub fn check_cases_with<T: Transform>(make: impl Fn(&[u8]) -> Result<T, Failure>) {
    let named = variable(CASE).map(PathBuf::from);
    let outcomes = variable(OUTCOMES).map(PathBuf::from);
    let files = match named {
        Some(file) => vec![file],
        None => match tidemill_case::files(Path::new("cases")) {
            Ok(files) if !files.is_empty() => files,
            Err(error) if error.kind() != ErrorKind::NotFound => {
                panic!("the folder cases cannot be read: {error}")
            }
            _ => panic!("the folder cases has no .json file"),
        },
    };
    let mut faults = String::new();
    for file in files {
        if let Err(fault) = check(&make, &file, outcomes.as_deref()) {
            faults.push_str(&format!("\n{}\n", fault.trim_end()));
        }
    }
    if !faults.is_empty() {
        panic!("{faults}");
    }
}

fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name)
}

fn check<T: Transform>(
    make: &impl Fn(&[u8]) -> Result<T, Failure>,
    file: &Path,
    outcomes: Option<&Path>,
) -> Result<(), String> {
    let shown = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| format!("{shown}: {error}"))?;
    let parameters = Case::parameters(file, &text).map_err(|error| error.to_string())?;
    let made = || make(&parameters).map_err(|failure| format!("{shown}: {failure}"));
    let description = made()?.describe().map_err(|failure| failure.to_string())?;
    let shape = shape(&description);
    // Whoever compares outcomes may be about to write anew what is expected.
    let parsed = match outcomes {
        Some(_) => Case::parse_given(file, &text, &shape),
        None => Case::parse(file, &text, &shape),
    };
    let mut case = parsed.map_err(|error| error.to_string())?;
    let came = CHUNK_ROWS.map(|rows| (rows, made().map(|transform| run(transform, &case, rows))));
    let mut usual = None;
    for (rows, outcome) in came.into_iter().rev() {
        let outcome = outcome?;
        // Outcomes are compared by others; here, that the size of chunks makes no difference.
        let expected = match (&usual, outcomes) {
            (Some(usual), Some(_)) => usual,
            (None, Some(_)) => usual.insert(outcome.clone()),
            (_, None) => &case.expected,
        };
        judge(expected, &outcome).map_err(|difference| {
            let title = &case.title;
            format!("{shown} ({title}), in chunks of {rows}:\n{difference}")
        })?;
    }
    if let (Some(folder), Some(usual)) = (outcomes, usual) {
        case.expected = usual;
        let file = folder.join(file.file_name().unwrap_or_default());
        std::fs::write(&file, case.to_json()).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Compares an outcome of a native run with what is expected of the sandbox.
fn judge(expected: &Outcome, came: &Outcome) -> Result<(), tidemill_case::Difference> {
    match is_beyond_native(expected, came) {
        true => Ok(()),
        false => compare(expected, came),
    }
}

/// What a case has to know of a description.
pub fn shape(description: &Description) -> Shape {
    let inputs = description.inputs.iter().map(|input| InputShape {
        table: input.table.clone(),
        rows: input.schema(),
        key: input.key_schema(),
    });
    Shape {
        inputs: inputs.collect(),
        output: description.output.schema(),
        output_key: description.output.key_schema(),
    }
}

/// Cuts rows into pieces of so many; none when there are no rows.
pub fn pieces(rows: &RecordBatch, rows_per_piece: usize) -> Vec<RecordBatch> {
    let rows_per_piece = rows_per_piece.max(1);
    (0..rows.num_rows())
        .step_by(rows_per_piece)
        .map(|start| rows.slice(start, rows_per_piece.min(rows.num_rows() - start)))
        .collect()
}

/// Runs a case natively, every input cut into chunks of so many rows. A panic of the transform is a trap.
pub fn run<T: Transform>(transform: T, case: &Case, rows_per_chunk: usize) -> Outcome {
    let phase = Cell::new("open");
    let ran = catch_unwind(AssertUnwindSafe(|| {
        session(transform, case, rows_per_chunk, &phase)
    }));
    let failed = |kind, code, message| {
        let phase = phase.get().to_owned();
        Outcome::Failed(Failed {
            kind,
            phase,
            code,
            message,
        })
    };
    match ran {
        Ok(Ok(made)) => Outcome::Made(made),
        Ok(Err(failure)) => failed(FailureKind::GaveUp, Some(failure.code), failure.message),
        Err(panic) => failed(FailureKind::Trap, None, said(panic.as_ref())),
    }
}

/// The message of a panic.
fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("it panicked").to_owned()
}

fn session<T: Transform>(
    transform: T,
    case: &Case,
    rows_per_chunk: usize,
    phase: &Cell<&'static str>,
) -> Result<Made, Failure> {
    let mut run = Run::open(transform, case, rows_per_chunk, phase)?;
    for role in [Role::Lookup, Role::Streamed] {
        for (index, input) in case.inputs.iter().enumerate() {
            if run
                .description
                .inputs
                .get(index)
                .is_some_and(|input| input.role == role)
            {
                run.input(index as u32, &input.rows, &input.deleted)?;
            }
        }
    }
    phase.set("finish");
    let last = run.session.finish()?;
    run.take(last, 0)?;
    run.made()
}

struct Run<'a, T> {
    session: Session<T>,
    description: Description,
    rows_per_chunk: usize,
    phase: &'a Cell<&'static str>,
    rows: Decoder,
    retractions: Decoder,
    output: Vec<RecordBatch>,
    retracted: Vec<RecordBatch>,
    rejects: Vec<RejectedRow>,
}

impl<'a, T: Transform> Run<'a, T> {
    fn open(
        transform: T,
        case: &Case,
        rows_per_chunk: usize,
        phase: &'a Cell<&'static str>,
    ) -> Result<Self, Failure> {
        let description = transform.describe()?;
        let output = &description.output;
        let context = Context {
            logical_time: case.context.logical_time_micros,
            seed: case.context.seed,
            parameters: case.context.parameters.clone(),
        };
        Ok(Self {
            session: Session::open(transform, &context)?,
            rows: Decoder::new("the output".to_owned(), output.schema()),
            retractions: Decoder::new("the retractions".to_owned(), output.key_schema()),
            description,
            rows_per_chunk,
            phase,
            output: Vec::new(),
            retracted: Vec::new(),
            rejects: Vec::new(),
        })
    }

    fn input(
        &mut self,
        input: u32,
        rows: &RecordBatch,
        deleted: &RecordBatch,
    ) -> Result<(), Failure> {
        self.phase.set("push");
        for (chunk, rows) in chunks(rows, self.rows_per_chunk)? {
            let step = self.session.push(input, chunk)?;
            self.take(step, rows)?;
        }
        self.phase.set("retract");
        for (chunk, rows) in chunks(deleted, self.rows_per_chunk)? {
            let step = self.session.retract(input, chunk)?;
            self.take(step, rows)?;
        }
        self.phase.set("end-of-input");
        let step = self.session.end_of_input(input)?;
        self.take(step, 0)
    }

    fn take(&mut self, step: Encoded, rows_in: usize) -> Result<(), Failure> {
        let came = decode(&mut self.rows, step.rows, &mut self.output)?;
        let retracted = decode(&mut self.retractions, step.retractions, &mut self.retracted)?;
        if (step.rows_in, step.rows_out, step.rows_retracted) != (rows_in as u64, came, retracted) {
            return Err(Failure::new(
                "counts",
                "a step counts other rows than it holds",
            ));
        }
        for reject in step.rejects {
            let input = self.description.inputs.get(reject.place.input as usize);
            let before = u64::from(reject.place.chunk) * self.rows_per_chunk as u64;
            self.rejects.push(RejectedRow {
                input: input
                    .map_or("no such input", |input| &input.table)
                    .to_owned(),
                row: before + u64::from(reject.place.row) + 1,
                code: reject.reason.code.to_owned(),
                message: reject.reason.message,
            });
        }
        Ok(())
    }

    fn made(mut self) -> Result<Made, Failure> {
        self.rejects.sort();
        let output = &self.description.output;
        Ok(Made {
            output: concat_batches(&output.schema(), &self.output)?,
            retractions: concat_batches(&output.key_schema(), &self.retracted)?,
            rejects: self.rejects,
        })
    }
}

fn chunks(rows: &RecordBatch, rows_per_chunk: usize) -> Result<Vec<(Vec<u8>, usize)>, Failure> {
    let schema: SchemaRef = rows.schema();
    let mut encoder = Encoder::new("a case".to_owned(), schema)?;
    let mut chunks = Vec::new();
    for piece in pieces(rows, rows_per_chunk) {
        let (encoded, rows) = encoder.encode(std::slice::from_ref(&piece))?;
        // A piece of a case is far below the size at which it would be cut again.
        chunks.extend(encoded.into_iter().map(|chunk| (chunk, rows as usize)));
    }
    Ok(chunks)
}

fn decode(
    decoder: &mut Decoder,
    chunks: Vec<Vec<u8>>,
    into: &mut Vec<RecordBatch>,
) -> Result<u64, Failure> {
    let mut rows = 0;
    for chunk in chunks {
        for batch in decoder.decode(chunk)? {
            rows += batch.num_rows() as u64;
            into.push(batch);
        }
    }
    Ok(rows)
}

#[cfg(test)]
mod tests;
