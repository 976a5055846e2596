//! What a shadow run found, for people and programs.

use serde::{Deserialize, Serialize};

use crate::contract::{LoadMode, ModuleRef};

/// What holds for both sides of every report.
pub const IDENTICAL_INPUTS: &str = "both versions were given the same landed objects and logical \
     times: objects never change and are read by their digests, and nothing else enters a module";

/// What differs between what two versions of a module make of the same landed history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowReport {
    /// The warehouse table.
    pub table: String,
    /// How the candidate's rows would be loaded.
    pub mode: LoadMode,
    /// The columns that rows are told by.
    pub key: Vec<String>,
    /// The version that is in use.
    pub active: ShadowSide,
    /// The version that was tried.
    pub candidate: ShadowSide,
    /// The landings of the source that both were run over.
    pub landings: Vec<u64>,
    /// Landings that one of them cannot be run on, and why.
    pub skipped: Vec<SkippedLanding>,
    /// Why the inputs of both are the same.
    pub inputs: String,
    /// Whether rows, columns, retractions or refusals differ.
    pub differs: bool,
    /// Rows that both or one of them made.
    pub rows: RowDifferences,
    /// Every column of either.
    pub columns: Vec<ColumnDifferences>,
    /// Keys that were taken back.
    pub retractions: RowDifferences,
    /// Rows that were refused.
    pub rejects: RejectDifferences,
    /// Columns whose values are not shown, because they may come from columns that are marked sensitive.
    #[serde(default)]
    pub hidden: Vec<String>,
}

/// One of the two versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShadowSide {
    /// Name, version and digest.
    pub module: ModuleRef,
    /// Rows that it was given, all landings together, and lookups.
    pub rows_in: u64,
    /// Rows that it made.
    pub rows_out: u64,
    /// Instructions, roughly: the same whenever it is run.
    pub fuel: u64,
    /// How long its calls took together. Both ran at the same time.
    pub elapsed_us: u64,
    /// The most memory that it had.
    pub peak_memory_bytes: u64,
}

/// A landing that was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SkippedLanding {
    /// Its number.
    pub landing: u64,
    /// The version that cannot be run on it.
    pub module: ModuleRef,
    /// Why.
    pub reason: String,
}

/// How many rows are the same, and which are not. A row that several landings brought counts for each of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowDifferences {
    /// Both made them alike.
    pub same: u64,
    /// Only the candidate made them.
    pub added: u64,
    /// Only the active version made them.
    pub dropped: u64,
    /// Both made them, with other values.
    pub changed: u64,
    /// The first of those that were added.
    pub added_examples: Vec<RowExample>,
    /// The first of those that were dropped.
    pub dropped_examples: Vec<RowExample>,
}

impl RowDifferences {
    /// Whether there are any.
    pub fn any(&self) -> bool {
        self.added > 0 || self.dropped > 0 || self.changed > 0
    }
}

/// A row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowExample {
    /// The landing that brought it.
    pub landing: u64,
    /// Its columns and values as text, NULL as `null`.
    pub values: Vec<(String, Option<String>)>,
}

/// What became of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ColumnChange {
    /// Both have it, of the same type.
    Kept,
    /// Only the candidate has it.
    Added,
    /// Only the active version has it.
    Dropped,
    /// It has another type; values are compared as text.
    Retyped,
}

/// How a column differs in rows that both made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnDifferences {
    /// Its name.
    pub name: String,
    /// What became of it.
    pub change: ColumnChange,
    /// Rows with another value; of a column that one version does not have, rows with a value.
    pub changed: u64,
    /// The first of them.
    pub examples: Vec<ValueExample>,
}

/// A value that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValueExample {
    /// The landing that brought the row.
    pub landing: u64,
    /// The row's key.
    pub key: Vec<String>,
    /// What the active version made, NULL as `null`.
    pub active: Option<String>,
    /// What the candidate made.
    pub candidate: Option<String>,
}

/// How refusals differ.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectDifferences {
    /// Refused by both with the same code.
    pub same: u64,
    /// Refused by the candidate only, or with another code.
    pub added: u64,
    /// Refused by the active version only, or with another code.
    pub dropped: u64,
    /// How often each code was given.
    pub codes: Vec<RejectCode>,
    /// The first that only one of them refused.
    pub examples: Vec<RejectExample>,
}

/// How often a code was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectCode {
    /// The code.
    pub code: String,
    /// Rows that the active version refused with it.
    pub active: u64,
    /// Rows that the candidate refused with it.
    pub candidate: u64,
}

/// A row that only one version refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RejectExample {
    /// The landing that brought it.
    pub landing: u64,
    /// Whether the candidate refused it, and not the active version.
    pub by_candidate: bool,
    /// The input's table.
    pub table: String,
    /// The row, counted from 0 over what the input was given.
    pub row: u64,
    /// The code.
    pub code: String,
    /// What is wrong with it.
    pub message: String,
}
