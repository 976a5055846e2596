//! A case, read from its file.

use std::fmt;
use std::path::{Path, PathBuf};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;

use super::compare::RejectedRow;
use super::written;
use crate::description::Description;

/// What is given and what is expected.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its heading.
    pub title: String,
    /// One per input of the description, in its order.
    pub inputs: Vec<CaseInput>,
    /// The expected rows of the output, in order.
    pub output: RecordBatch,
    /// The expected retractions, in order.
    pub retractions: RecordBatch,
    /// The expected rejects, by input and row.
    pub rejects: Vec<RejectedRow>,
}

/// What an input is given.
#[derive(Debug, Clone)]
pub struct CaseInput {
    /// Its table.
    pub table: String,
    /// Its rows.
    pub rows: RecordBatch,
    /// Its deleted keys.
    pub deleted: RecordBatch,
}

/// Why a file is no case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaseError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 where it is the whole file.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for CaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.message)
    }
}

impl std::error::Error for CaseError {}

/// A section of a file: its heading and its table.
struct Section<'a> {
    line: usize,
    heading: &'a str,
    /// The header and the rows, with their lines.
    table: Vec<(usize, &'a str)>,
}

type Fault = (usize, String);

/// The cells of a row, with its line.
type Row = (usize, Vec<String>);

impl Case {
    /// Reads a case of a module from its file.
    ///
    /// # Errors
    /// The file cannot be read or does not have the form of a case.
    pub fn read(file: &Path, description: &Description) -> Result<Self, CaseError> {
        let text = std::fs::read_to_string(file).map_err(|error| CaseError {
            file: file.to_owned(),
            line: 0,
            message: error.to_string(),
        })?;
        Self::parse(file, &text, description)
    }

    /// Reads a case of a module from its text; `file` is for messages.
    ///
    /// # Errors
    /// The text does not have the form of a case.
    pub fn parse(file: &Path, text: &str, description: &Description) -> Result<Self, CaseError> {
        Self::of(text, description).map_err(|(line, message)| CaseError {
            file: file.to_owned(),
            line,
            message,
        })
    }

    fn of(text: &str, description: &Description) -> Result<Self, Fault> {
        let (title, sections) = sections(text)?;
        let output = &description.output;
        let mut case = Self {
            title: title.to_owned(),
            inputs: description
                .inputs
                .iter()
                .map(|input| CaseInput {
                    table: input.table.clone(),
                    rows: RecordBatch::new_empty(input.schema()),
                    deleted: RecordBatch::new_empty(input.key_schema()),
                })
                .collect(),
            output: RecordBatch::new_empty(output.schema()),
            retractions: RecordBatch::new_empty(output.key_schema()),
            rejects: Vec::new(),
        };
        for section in &sections {
            match section
                .heading
                .split_once(' ')
                .unwrap_or((section.heading, ""))
            {
                ("output", "") => case.output = section.rows(output.schema())?,
                ("retractions", "") => case.retractions = section.rows(output.key_schema())?,
                ("rejects", "") => case.rejects = section.rejects()?,
                ("input", table) => {
                    let input = case.input(section, table)?;
                    input.rows = section.rows(input.rows.schema())?;
                }
                ("deleted", table) => {
                    let input = case.input(section, table)?;
                    input.deleted = section.rows(input.deleted.schema())?;
                }
                _ => {
                    let message = format!(
                        "there is no section {:?}: a case has input TABLE, deleted TABLE, output, retractions and rejects",
                        section.heading
                    );
                    return Err((section.line, message));
                }
            }
        }
        case.rejects.sort();
        Ok(case)
    }

    fn input(&mut self, section: &Section<'_>, table: &str) -> Result<&mut CaseInput, Fault> {
        self.inputs
            .iter_mut()
            .find(|input| input.table == table)
            .ok_or_else(|| (section.line, format!("the module has no input {table}")))
    }
}

/// The title and the sections of a case.
fn sections(text: &str) -> Result<(&str, Vec<Section<'_>>), Fault> {
    let mut title = None;
    let mut has_prose = false;
    let mut sections: Vec<Section<'_>> = Vec::new();
    for (line, content) in text.lines().enumerate() {
        let (line, content) = (line + 1, content.trim());
        if let Some(heading) = content.strip_prefix("## ") {
            let heading = heading.trim();
            if sections.iter().any(|section| section.heading == heading) {
                return Err((line, format!("the section {heading:?} comes twice")));
            }
            sections.push(Section {
                line,
                heading,
                table: Vec::new(),
            });
        } else if let Some(heading) = content.strip_prefix("# ") {
            if title.replace(heading.trim()).is_some() {
                return Err((line, "a case has one title".to_owned()));
            }
        } else if content.starts_with('|') {
            match sections.last_mut() {
                Some(section) => section.table.push((line, content)),
                None => return Err((line, "a table stands before the first section".to_owned())),
            }
        } else {
            has_prose |= !content.is_empty();
        }
    }
    match title {
        Some(title) if has_prose => Ok((title, sections)),
        Some(_) => Err((
            1,
            "a case says in a line of prose what it is about".to_owned(),
        )),
        None => Err((
            1,
            "a case begins with a title: # What it is about".to_owned(),
        )),
    }
}

impl Section<'_> {
    /// The names of the columns and the cells of each row.
    fn cells(&self) -> Result<(Vec<String>, Vec<Row>), Fault> {
        let mut lines = Vec::new();
        for (line, content) in &self.table {
            lines.push((
                *line,
                written::cells(content).map_err(|message| (*line, message))?,
            ));
        }
        let mut lines = lines.into_iter();
        let (Some((_, names)), Some((line, rule))) = (lines.next(), lines.next()) else {
            return Err((
                self.line,
                "a section has a table with a header and a line of dashes".to_owned(),
            ));
        };
        let is_rule =
            |cell: &String| cell.contains('-') && cell.trim_matches(['-', ':']).is_empty();
        if rule.len() != names.len() || !rule.iter().all(is_rule) {
            return Err((
                line,
                "a line of dashes, one per column, follows the header".to_owned(),
            ));
        }
        let rows: Vec<_> = lines.collect();
        match rows.iter().find(|(_, row)| row.len() != names.len()) {
            Some((line, row)) => Err((
                *line,
                format!(
                    "the row has {} cells and the header {}",
                    row.len(),
                    names.len()
                ),
            )),
            None => Ok((names, rows)),
        }
    }

    /// Its rows as a batch.
    fn rows(&self, schema: SchemaRef) -> Result<RecordBatch, Fault> {
        let (names, rows) = self.cells()?;
        let known = |name: &String| schema.fields().iter().any(|field| field.name() == name);
        if let Some(stranger) = names.iter().find(|name| !known(name)) {
            return Err((self.line, format!("there is no column {stranger}")));
        }
        if names.len() > schema.fields().len() {
            return Err((self.line, "a column comes twice".to_owned()));
        }
        let mut columns = Vec::new();
        for field in schema.fields() {
            let Some(at) = names.iter().position(|name| name == field.name()) else {
                return Err((self.line, format!("the column {} is missing", field.name())));
            };
            let mut values = Vec::new();
            for (line, row) in &rows {
                let cell = row.get(at).map_or("", String::as_str);
                values.push(written::value(cell).map_err(|message| (*line, message))?);
            }
            columns.push(written::column(field, values).map_err(|message| (self.line, message))?);
        }
        RecordBatch::try_new(schema, columns).map_err(|error| (self.line, error.to_string()))
    }

    fn rejects(&self) -> Result<Vec<RejectedRow>, Fault> {
        let (names, rows) = self.cells()?;
        if names != ["input", "row", "code", "message"] {
            return Err((
                self.line,
                "rejects have the columns input, row, code, message".to_owned(),
            ));
        }
        let mut rejects = Vec::new();
        for (line, row) in rows {
            let texts = row
                .iter()
                .map(|cell| written::value(cell).map(Option::unwrap_or_default))
                .collect::<Result<Vec<_>, _>>()
                .map_err(|message| (line, message))?;
            let [input, row, code, message] = texts.as_slice() else {
                return Err((line, "a reject has four cells".to_owned()));
            };
            rejects.push(RejectedRow {
                input: input.clone(),
                row: row
                    .parse()
                    .map_err(|_| (line, format!("{row} is no row number")))?,
                code: code.clone(),
                message: message.clone(),
            });
        }
        Ok(rejects)
    }
}
