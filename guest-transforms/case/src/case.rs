//! A case: what is given and what is expected, and how it is read from its file.

use std::fmt;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use serde::{Deserialize, Serialize};

use crate::FORMAT;
use crate::document::{Document, Format, WrittenContext, WrittenTable};
use crate::table;
use crate::value;

/// What a case has to know of a module: the schemas that it declares.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Its inputs, in the order of their numbers.
    pub inputs: Vec<InputShape>,
    /// The rows of its output.
    pub output: SchemaRef,
    /// The retractions of its output: the primary key.
    pub output_key: SchemaRef,
}

/// What a case has to know of one input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputShape {
    /// The table.
    pub table: String,
    /// Its rows.
    pub rows: SchemaRef,
    /// Its deleted keys.
    pub key: SchemaRef,
}

/// What is given to a module and what is expected of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// What it is about, in a few words.
    pub title: String,
    /// What it shows, in a sentence or more.
    pub about: String,
    /// Where it comes from, when a run left it behind or it was cut out of landed data.
    pub origin: Option<Origin>,
    /// Everything that the session may depend on besides its inputs.
    pub context: Context,
    /// One per input of the module, in their order.
    pub inputs: Vec<CaseInput>,
    /// What must come of it.
    pub expected: Outcome,
    /// The fuel of the whole session in the sandbox, its inputs in chunks of the usual size.
    pub fuel: Option<u64>,
    /// By how much the fuel of this case may grow, where it is not what the call says.
    pub fuel_tolerance_percent: Option<u32>,
}

/// Where a case comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// The number of the landing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub landing: Option<u64>,
    /// The table of the warehouse.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table: Option<String>,
    /// The module as `name@version`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub module: Option<String>,
    /// Its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The limits of the session that were not the usual ones and that its failure speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<serde_json::Value>,
    /// What was left out, where it was too much to keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_out: Option<String>,
}

/// Everything that a session may depend on besides its inputs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    /// The logical time: microseconds since 1970-01-01T00:00:00Z.
    pub logical_time_micros: i64,
    /// The seed.
    pub seed: u64,
    /// The parameters.
    pub parameters: Vec<u8>,
}

/// What an input is given.
#[derive(Debug, Clone, PartialEq)]
pub struct CaseInput {
    /// Its table.
    pub table: String,
    /// Its rows.
    pub rows: RecordBatch,
    /// Its deleted keys.
    pub deleted: RecordBatch,
}

/// What came of a case, or must come.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// The session went to its end.
    Made(Made),
    /// The session ended before.
    Failed(Failed),
}

/// What a session gave.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// The rows of the output, in the order in which they came.
    pub output: RecordBatch,
    /// The retractions, in the order in which they came.
    pub retractions: RecordBatch,
    /// The rejects, by input and row.
    pub rejects: Vec<RejectedRow>,
}

/// A refused row, found in the whole input.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RejectedRow {
    /// The table of the input.
    pub input: String,
    /// The row, from 1, over the whole input.
    pub row: u64,
    /// The code.
    pub code: String,
    /// The message.
    pub message: String,
}

impl fmt::Display for RejectedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            input,
            row,
            code,
            message,
        } = self;
        write!(f, "row {row} of {input}: {code}: {message}")
    }
}

/// How a session ended before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failed {
    /// What kind of end it was.
    pub kind: FailureKind,
    /// In which call: `open`, `push`, `retract`, `end-of-input`, `finish`.
    pub phase: String,
    /// The module's own code, when it gave up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// The module's own words, or what it did.
    pub message: String,
}

/// What kind of end a session came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The module said that it cannot go on.
    GaveUp,
    /// It stopped itself: natively, a panic.
    Trap,
    /// It took more time, memory or room than it may.
    Limit,
    /// What it gave is not what it declared.
    Breach,
}

impl fmt::Display for FailureKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::GaveUp => "gave up",
            Self::Trap => "trapped",
            Self::Limit => "went over a limit",
            Self::Breach => "broke a rule",
        })
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it {} in {}: {}", self.kind, self.phase, self.message)?;
        match &self.code {
            Some(code) => write!(f, " [{code}]"),
            None => Ok(()),
        }
    }
}

/// Why a file is no case of a module.
#[derive(Debug)]
pub struct CaseError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong, and where.
    pub message: String,
}

impl fmt::Display for CaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.message)
    }
}

impl std::error::Error for CaseError {}

impl Case {
    /// Reads a case of a module from its file.
    ///
    /// # Errors
    /// The file cannot be read, or is no case of such a module.
    pub fn read(file: &Path, shape: &Shape) -> Result<Self, CaseError> {
        let text = std::fs::read_to_string(file).map_err(|error| CaseError {
            file: file.to_owned(),
            message: error.to_string(),
        })?;
        Self::parse(file, &text, shape)
    }

    /// Reads a case of a module from its text; `file` is for messages.
    ///
    /// # Errors
    /// The text is no case of such a module.
    pub fn parse(file: &Path, text: &str, shape: &Shape) -> Result<Self, CaseError> {
        document(text)
            .and_then(|document| Self::of(document, shape))
            .map_err(|message| CaseError {
                file: file.to_owned(),
                message,
            })
    }

    /// Reads what a case gives and not what it expects, which may be of another version of the module: to be written
    /// anew. What it gives that this version does not declare is left out, for it would not be given that by a run.
    ///
    /// # Errors
    /// The text is no case, or lacks what such a module takes.
    pub fn parse_given(file: &Path, text: &str, shape: &Shape) -> Result<Self, CaseError> {
        let given = |mut document: Document| {
            (document.output, document.retractions) = (None, None);
            (document.rejects, document.failure) = (None, None);
            document.keep_declared(shape);
            Self::of(document, shape)
        };
        document(text).and_then(given).map_err(|message| CaseError {
            file: file.to_owned(),
            message,
        })
    }

    /// The parameters of a case, before it is known what the module declares: that depends on them.
    ///
    /// # Errors
    /// The text is no case.
    pub fn parameters(file: &Path, text: &str) -> Result<Vec<u8>, CaseError> {
        document(text)
            .and_then(|document| context(&document.context))
            .map(|context| context.parameters)
            .map_err(|message| CaseError {
                file: file.to_owned(),
                message,
            })
    }

    /// A case that gives these rows, and expects that nothing comes of them.
    pub fn new(title: &str, context: Context, inputs: Vec<CaseInput>, shape: &Shape) -> Self {
        Self {
            title: title.to_owned(),
            about: String::new(),
            origin: None,
            context,
            inputs,
            expected: Outcome::Made(Made::nothing(shape)),
            fuel: None,
            fuel_tolerance_percent: None,
        }
    }

    fn of(document: Document, shape: &Shape) -> Result<Self, String> {
        let context = context(&document.context)?;
        let mut written = document.inputs;
        let mut inputs = Vec::new();
        for input in &shape.inputs {
            let mut given = CaseInput::nothing(input);
            if let Some(written) = written.remove(&input.table) {
                let place = format!("input {}", input.table);
                if !written.columns.is_empty() || !written.rows.is_empty() {
                    given.rows = table::read(&place, &written.columns, &written.rows, &input.rows)?;
                }
                given.deleted = rows(&format!("{place}, deleted"), written.deleted, &input.key)?;
            }
            inputs.push(given);
        }
        if let Some(stranger) = written.keys().next() {
            let known: Vec<_> = shape.inputs.iter().map(|i| i.table.as_str()).collect();
            let known = known.join(", ");
            return Err(format!(
                "the module has no input {stranger}; it has {known}"
            ));
        }
        let made = document.output.is_some()
            || document.retractions.is_some()
            || document.rejects.is_some();
        let expected = match document.failure {
            Some(_) if made => {
                return Err(
                    "a case that expects a failure expects no output, retractions or rejects"
                        .to_owned(),
                );
            }
            Some(failure) => Outcome::Failed(failure),
            None => {
                let mut rejects = document.rejects.unwrap_or_default();
                rejects.sort();
                Outcome::Made(Made {
                    output: rows("output", document.output, &shape.output)?,
                    retractions: rows("retractions", document.retractions, &shape.output_key)?,
                    rejects,
                })
            }
        };
        Ok(Self {
            title: document.title,
            about: document.about,
            origin: document.origin,
            context,
            inputs,
            expected,
            fuel: document.fuel,
            fuel_tolerance_percent: document.fuel_tolerance_percent,
        })
    }

    /// How many rows and deleted keys it gives.
    pub fn rows_in(&self) -> u64 {
        let given = self.inputs.iter();
        given
            .map(|input| (input.rows.num_rows() + input.deleted.num_rows()) as u64)
            .sum()
    }
}

impl Made {
    /// What comes of nothing.
    pub fn nothing(shape: &Shape) -> Self {
        Self {
            output: RecordBatch::new_empty(shape.output.clone()),
            retractions: RecordBatch::new_empty(shape.output_key.clone()),
            rejects: Vec::new(),
        }
    }
}

impl CaseInput {
    /// An input that is given nothing.
    pub fn nothing(input: &InputShape) -> Self {
        Self {
            table: input.table.clone(),
            rows: RecordBatch::new_empty(input.rows.clone()),
            deleted: RecordBatch::new_empty(input.key.clone()),
        }
    }
}

/// A text as the document that it is, if it has a version that is known here.
fn document(text: &str) -> Result<Document, String> {
    let version: Format = serde_json::from_str(text).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => {
            format!("it is no case, which begins with \"format\": {FORMAT}: {error}")
        }
        _ => error.to_string(),
    })?;
    if version.format == 0 || version.format > FORMAT {
        return Err(format!(
            "it has format {}, and this tidemill reads formats up to {FORMAT}",
            version.format
        ));
    }
    serde_json::from_str(text).map_err(|error| error.to_string())
}

fn context(written: &WrittenContext) -> Result<Context, String> {
    let logical_time_micros = match &written.logical_time {
        None => 0,
        Some(text) => value::instant(text).ok_or_else(|| {
            format!("the logical time {text:?} is none like 2022-11-03T14:20:52Z")
        })?,
    };
    let parameters = match (&written.parameters, &written.parameters_hex) {
        (None, None) => Vec::new(),
        (Some(text), None) => text.clone().into_bytes(),
        (None, Some(digits)) => {
            value::bytes(digits).ok_or("parameters_hex is not made of hexadecimal digits")?
        }
        (Some(_), Some(_)) => return Err("parameters stand there twice".to_owned()),
    };
    Ok(Context {
        logical_time_micros,
        seed: written.seed,
        parameters,
    })
}

fn rows(
    place: &str,
    written: Option<WrittenTable>,
    schema: &SchemaRef,
) -> Result<RecordBatch, String> {
    match written {
        None => Ok(RecordBatch::new_empty(schema.clone())),
        Some(written) => table::read(place, &written.columns, &written.rows, schema),
    }
}
