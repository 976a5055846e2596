//! A new module: the crate of one that makes a table of what a source has, and passes its first case.
//!
//! What is generated is a beginning: every column that the SDK has a word for, under its own name. One table becomes
//! rows of its changes; of several, the first is the one whose rows are made, and the others are looked up in by the
//! column that has the name and the type of their key. What the author is meant to change stands in the code as code.

mod case;
mod code;
mod manifest;

use std::path::{Path, PathBuf};

use arrow::datatypes::{DataType, TimeUnit};
use serde::Serialize;

use super::error::AuthoringError;
use crate::error::{Classify, ErrorKind};
use crate::table::{Column, Table};

pub use manifest::Sdk;

/// A column name that is longer is cut by PostgreSQL, so no warehouse table has one.
const COLUMN_BYTES: usize = 63;
/// Names of modules.
const NAME_BYTES: usize = 64;

/// What a new module is to be.
#[derive(Debug, Clone)]
pub struct Scaffold {
    /// Its name, which is that of its crate: `dim-staff`.
    pub name: String,
    /// The warehouse table that it makes.
    pub to: String,
    /// The source's name in the project file.
    pub source: String,
    /// The tables that it reads, the first being the one whose rows are made.
    pub tables: Vec<Table>,
    /// Where its SDK is.
    pub sdk: Sdk,
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Scaffolded {
    /// The module.
    pub name: String,
    /// The table that it makes.
    pub table: String,
    /// Its crate.
    pub folder: PathBuf,
    /// The files, below the folder.
    pub files: Vec<String>,
    /// Columns that the SDK has no word for, with their types; they stand in the code as comments.
    pub left_out: Vec<String>,
}

/// Why no module is made.
#[derive(Debug, thiserror::Error)]
pub enum ScaffoldError {
    /// No crate, or no module, may have the name.
    #[error("`{name}` is no name for a module: {reason}")]
    Name {
        /// The name.
        name: String,
        /// "it is a word of Rust".
        reason: &'static str,
    },
    /// No warehouse has such a table.
    #[error("`{0}` is no name for a warehouse table")]
    Table(String),
    /// There is something in the folder.
    #[error("{} is there already, and is not empty", .0.display())]
    Taken(PathBuf),
    /// A row of the table cannot be told from the others.
    #[error("the table {0} has no key, by which a module tells its rows")]
    NoKey(String, String),
    /// A part of a key that the SDK has no word for.
    #[error("the key column {table}.{column} is {data_type}, which the SDK has no word for")]
    KeyType {
        /// The source.
        source_name: String,
        /// The table.
        table: String,
        /// The column.
        column: String,
        /// Its type.
        data_type: DataType,
    },
    /// A key of several columns, of another type than the SDK looks up by, or that the first table has not.
    #[error("rows of {table} cannot be looked up for rows of {first}: {reason}")]
    NoJoin {
        /// The table to look up in.
        table: String,
        /// The table whose rows are made.
        first: String,
        /// "no column of staff is called department_id".
        reason: String,
    },
    /// One table twice.
    #[error("the table {0} is named twice")]
    Twice(String),
}

impl Classify for ScaffoldError {
    fn kind(&self) -> ErrorKind {
        ErrorKind::Config
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Name { .. } => {
                "use lower-case letters, digits and hyphens, beginning with a letter, like dim-staff".into()
            }
            Self::Table(_) => {
                "use letters, digits and underscores, beginning with a letter, like dim_staff".into()
            }
            Self::Taken(_) => "name another folder after the options".into(),
            Self::NoKey(table, source) => format!(
                "say in the project file which columns tell its rows: [source.{source}.table.{table}] key = [\"…\"]"
            ),
            Self::KeyType {
                source_name,
                table,
                column,
                ..
            } => format!(
                "land it as text, in the project file: [source.{source_name}.table.{table}] text = [\"{column}\"]"
            ),
            Self::NoJoin { .. } => {
                "name the table first that has the other's key as a column, or one table alone and write the join".into()
            }
            Self::Twice(_) => "name each table once".into(),
        })
    }
}

impl Scaffold {
    /// Writes the crate into `folder`, which must be empty or not there.
    ///
    /// # Errors
    /// `Config` when no such module can be made, or there is something in the folder; `Unavailable` when it cannot be
    /// written.
    pub fn write(&self, folder: &Path) -> crate::Result<Scaffolded> {
        self.check()?;
        let plan = code::Made::of(self)?;
        if std::fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some())
            || folder.is_file()
        {
            return Err(ScaffoldError::Taken(folder.to_owned()).into());
        }
        let member = manifest::is_member(folder);
        let files = [
            ("Cargo.toml", manifest::manifest(self, &member)),
            ("src/lib.rs", code::code(self, &plan)),
            ("cases/rows.json", case::first(&plan)),
            ("README.md", self.readme()),
            (".gitignore", "/target\n".to_owned()),
        ];
        for (name, text) in &files {
            let file = folder.join(name);
            write(&file, text).map_err(|cause| AuthoringError::Write { file, cause })?;
        }
        Ok(Scaffolded {
            name: self.name.clone(),
            table: self.to.clone(),
            folder: folder.to_owned(),
            files: files.iter().map(|(name, _)| (*name).to_owned()).collect(),
            left_out: plan.left_out,
        })
    }

    fn check(&self) -> Result<(), ScaffoldError> {
        let name = |reason| {
            Err(ScaffoldError::Name {
                name: self.name.clone(),
                reason,
            })
        };
        let plain = self
            .name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if !self
            .name
            .starts_with(|first: char| first.is_ascii_lowercase())
            || !plain
        {
            return name("it has other characters, or does not begin with a letter");
        }
        if self.name.len() > NAME_BYTES {
            return name("it is longer than 64 bytes");
        }
        if self.name.ends_with('-') || self.name.contains("--") {
            return name("a hyphen stands between two words");
        }
        if code::is_word_of_rust(&self.function()) {
            return name("it is a word of Rust or of its libraries");
        }
        let is_identifier = self
            .to
            .starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && self
                .to
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && self.to.len() <= COLUMN_BYTES;
        if !is_identifier {
            return Err(ScaffoldError::Table(self.to.clone()));
        }
        Ok(())
    }

    /// The name of the function that makes the transform.
    fn function(&self) -> String {
        self.name.replace('-', "_")
    }

    fn readme(&self) -> String {
        let (name, to, source) = (&self.name, &self.to, &self.source);
        let tables: Vec<_> = self
            .tables
            .iter()
            .map(|t| format!("`{}`", t.name))
            .collect();
        let (tables, sdk) = (tables.join(", "), self.sdk.told());
        format!(
            "# {name}\n\nMakes the warehouse table `{to}` from {tables} of the source `{source}`.\n\
             The rules are in `src/lib.rs`; what they make of which rows is in `cases/`, one JSON file each.\n\n\
             - `tidemill module test` runs the cases natively and in the sandbox; `--update` rewrites what they expect.\n\
             - `cargo test` runs them natively, where a debugger can follow.\n\
             - `tidemill module build`, `module push` and `module promote` put it to use, as `[transform.{to}]`.\n\
             - The SDK is published nowhere: {sdk}.\n"
        )
    }
}

fn write(file: &Path, text: &str) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut options = std::fs::OpenOptions::new();
    let mut file = options.write(true).create_new(true).open(file)?;
    std::io::Write::write_all(&mut file, text.as_bytes())
}

/// The SDK's word for a column, with what stands behind the name: `decimal` and `, 10, 2`.
fn word(column: &Column) -> Option<(&'static str, String)> {
    let plain = |word| Some((word, String::new()));
    match &column.data_type {
        DataType::Int32 => plain("integer"),
        DataType::Int64 => plain("big_integer"),
        DataType::Utf8 => plain("text"),
        DataType::Boolean => plain("boolean"),
        DataType::Date32 => plain("date"),
        DataType::Timestamp(TimeUnit::Microsecond, None) => plain("timestamp"),
        DataType::Decimal128(digits, after_point) => {
            Some(("decimal", format!(", {digits}, {after_point}")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
