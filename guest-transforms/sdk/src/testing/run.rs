//! Runs cases natively, from bytes to bytes: everything of the component but its shell.

use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::case::Case;
use super::compare::{Outcome, RejectedRow};
use crate::description::{Description, Role};
use crate::failure::Failure;
use crate::ipc::{Decoder, Encoder};
use crate::session::{Encoded, Session};
use crate::transform::{Context, Transform};

/// The sizes of chunks, in rows, that every case is run with: the smallest, one that leaves a rest, and a
/// usual one.
pub const CHUNK_ROWS: [usize; 3] = [1, 7, 8_192];

/// Checks every case in the folder `cases` of the crate under test, with every size of chunks.
///
/// # Panics
/// A case does not hold, a file is no case, or there is none; the message says all of it.
#[allow(clippy::panic)]
pub fn check_cases<T: Transform>(transform: impl Fn() -> T) {
    let description = transform()
        .describe()
        .unwrap_or_else(|failure| panic!("{failure}"));
    let files = files(Path::new("cases"));
    assert!(!files.is_empty(), "the folder cases has no .md file");
    let mut faults = String::new();
    for file in files {
        if let Err(fault) = check(&transform, &description, &file) {
            faults.push_str(&format!("\n{}\n", fault.trim_end()));
        }
    }
    assert!(faults.is_empty(), "{faults}");
}

fn check<T: Transform>(
    transform: &impl Fn() -> T,
    description: &Description,
    file: &Path,
) -> Result<(), String> {
    let case = Case::read(file, description).map_err(|error| error.to_string())?;
    for rows in CHUNK_ROWS {
        let name = format!("{} ({}), in chunks of {rows}", file.display(), case.title);
        let outcome =
            run(transform(), &case, rows).map_err(|failure| format!("{name}: {failure}"))?;
        case.compare(&outcome)
            .map_err(|difference| format!("{name}:\n{difference}"))?;
    }
    Ok(())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    files.sort();
    files
}

/// Cuts rows into pieces of so many; none when there are no rows.
pub fn pieces(rows: &RecordBatch, rows_per_piece: usize) -> Vec<RecordBatch> {
    let rows_per_piece = rows_per_piece.max(1);
    (0..rows.num_rows())
        .step_by(rows_per_piece)
        .map(|start| rows.slice(start, rows_per_piece.min(rows.num_rows() - start)))
        .collect()
}

/// Runs a case natively, every input cut into chunks of so many rows.
///
/// # Errors
/// The session fails, or what it counts is not what it gives.
pub fn run<T: Transform>(
    transform: T,
    case: &Case,
    rows_per_chunk: usize,
) -> Result<Outcome, Failure> {
    let mut run = Run::open(transform, rows_per_chunk)?;
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
    let last = run.session.finish()?;
    run.take(last, 0)?;
    Ok(run.outcome)
}

struct Run<T> {
    session: Session<T>,
    description: Description,
    rows_per_chunk: usize,
    rows: Decoder,
    retractions: Decoder,
    outcome: Outcome,
}

impl<T: Transform> Run<T> {
    fn open(transform: T, rows_per_chunk: usize) -> Result<Self, Failure> {
        let description = transform.describe()?;
        let output = &description.output;
        Ok(Self {
            session: Session::open(transform, &Context::default())?,
            rows: Decoder::new("the output".to_owned(), output.schema()),
            retractions: Decoder::new("the retractions".to_owned(), output.key_schema()),
            description,
            rows_per_chunk,
            outcome: Outcome::default(),
        })
    }

    fn input(
        &mut self,
        input: u32,
        rows: &RecordBatch,
        deleted: &RecordBatch,
    ) -> Result<(), Failure> {
        for (chunk, rows) in chunks(rows, self.rows_per_chunk)? {
            let step = self.session.push(input, chunk)?;
            self.take(step, rows)?;
        }
        for (chunk, rows) in chunks(deleted, self.rows_per_chunk)? {
            let step = self.session.retract(input, chunk)?;
            self.take(step, rows)?;
        }
        let step = self.session.end_of_input(input)?;
        self.take(step, 0)
    }

    fn take(&mut self, step: Encoded, rows_in: usize) -> Result<(), Failure> {
        let came = decode(&mut self.rows, step.rows, &mut self.outcome.rows)?;
        let retracted = decode(
            &mut self.retractions,
            step.retractions,
            &mut self.outcome.retractions,
        )?;
        if (step.rows_in, step.rows_out, step.rows_retracted) != (rows_in as u64, came, retracted) {
            return Err(Failure::new(
                "counts",
                "a step counts other rows than it holds",
            ));
        }
        for reject in step.rejects {
            let input = self.description.inputs.get(reject.place.input as usize);
            self.outcome.rejects.push(RejectedRow::of_chunk(
                input.map_or("no such input", |input| &input.table),
                self.rows_per_chunk,
                reject.place.chunk,
                reject.place.row,
                reject.reason.code,
                &reject.reason.message,
            ));
        }
        Ok(())
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
