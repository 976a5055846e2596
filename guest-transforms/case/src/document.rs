//! A case as its file has it: what serde reads, before a value has a type.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::case::{Failed, Origin, RejectedRow};

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
