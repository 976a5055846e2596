//! A case as its file has it: what serde reads, before a value has a type.

use std::collections::BTreeMap;

use arrow_schema::SchemaRef;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::case::{Failed, Origin, RejectedRow, Shape};

/// A whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    /// Checked before the rest is read, see [`Format`].
    #[serde(rename = "format")]
    _format: IgnoredAny,
    #[serde(default)]
    pub(crate) title: String,
    #[serde(default)]
    pub(crate) about: String,
    #[serde(default)]
    pub(crate) origin: Option<Origin>,
    #[serde(default)]
    pub(crate) context: WrittenContext,
    #[serde(default)]
    pub(crate) inputs: BTreeMap<String, WrittenInput>,
    #[serde(default)]
    pub(crate) output: Option<WrittenTable>,
    #[serde(default)]
    pub(crate) retractions: Option<WrittenTable>,
    #[serde(default)]
    pub(crate) rejects: Option<Vec<RejectedRow>>,
    #[serde(default)]
    pub(crate) failure: Option<Failed>,
    #[serde(default)]
    pub(crate) fuel: Option<u64>,
    #[serde(default)]
    pub(crate) fuel_tolerance_percent: Option<u32>,
}

impl Document {
    /// Leaves out the inputs that a module does not have, and their columns that it does not declare.
    pub(crate) fn keep_declared(&mut self, shape: &Shape) {
        self.inputs
            .retain(|table, _| shape.inputs.iter().any(|input| input.table == *table));
        for input in &shape.inputs {
            let Some(written) = self.inputs.get_mut(&input.table) else {
                continue;
            };
            keep_columns(&mut written.columns, &mut written.rows, &input.rows);
            if let Some(deleted) = &mut written.deleted {
                keep_columns(&mut deleted.columns, &mut deleted.rows, &input.key);
            }
        }
    }
}

/// Leaves out the columns that a schema does not have. A row of another length stays as it is: it is refused later.
fn keep_columns(columns: &mut Vec<String>, rows: &mut [Vec<Box<RawValue>>], schema: &SchemaRef) {
    let kept: Vec<bool> = columns
        .iter()
        .map(|column| schema.field_with_name(column).is_ok())
        .collect();
    for row in rows.iter_mut().filter(|row| row.len() == kept.len()) {
        let mut keep = kept.iter();
        row.retain(|_| keep.next().copied().unwrap_or(true));
    }
    let mut keep = kept.iter();
    columns.retain(|_| keep.next().copied().unwrap_or(true));
}

/// Only the version, to tell a newer file from a wrong one.
#[derive(Debug, Deserialize)]
pub(crate) struct Format {
    pub(crate) format: u32,
}

/// The context of a session; what is left out is empty.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenContext {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) logical_time: Option<String>,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) seed: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parameters: Option<String>,
    /// Parameters that are no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) parameters_hex: Option<String>,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// What an input is given.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenInput {
    #[serde(default)]
    pub(crate) columns: Vec<String>,
    #[serde(default)]
    pub(crate) rows: Vec<Vec<Box<RawValue>>>,
    #[serde(default)]
    pub(crate) deleted: Option<WrittenTable>,
}

/// Rows under a list of columns.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WrittenTable {
    pub(crate) columns: Vec<String>,
    #[serde(default)]
    pub(crate) rows: Vec<Vec<Box<RawValue>>>,
}
