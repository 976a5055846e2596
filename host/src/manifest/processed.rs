//! What the transforms of one landing made.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Manifest, Object};
use crate::contract::{ALIAS, Description, LoadMode, ModuleRef, RECORD_ID};
use crate::digest::Digest;
use crate::run::RunId;
use crate::table::TableName;

/// The record that transforms of one landing are done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessedManifest {
    /// [`FORMAT`](super::FORMAT) when it was written.
    pub format: u32,
    /// Its number.
    pub sequence: u64,
    /// The run that wrote it.
    pub run: RunId,
    /// The version of tidemill that wrote it.
    pub tidemill: String,
    /// The name of the Parquet writer settings.
    pub writer: String,
    /// The name of the source.
    pub source: String,
    /// The landing manifest that was transformed.
    pub landing: u64,
    /// Its digest.
    pub landing_sha256: Digest,
    /// Its logical time.
    pub logical_time: DateTime<Utc>,
    /// The warehouse tables that were made.
    pub tables: BTreeMap<String, ProcessedTable>,
    /// For every warehouse table ever made: the newest landing that is transformed.
    pub through: BTreeMap<String, Through>,
    /// For every landed table that some module reads as `current`: the rows to begin from.
    pub current: BTreeMap<TableName, CurrentRows>,
}

impl Manifest for ProcessedManifest {
    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn run(&self) -> &RunId {
        &self.run
    }

    fn objects(&self) -> Vec<&Object> {
        let made = self.tables.values().flat_map(|table| {
            let base = table.inputs.iter().flat_map(|input| &input.base);
            let rows = table.rows.iter().chain(&table.retractions);
            rows.chain(&table.rejects).chain(base)
        });
        let kept = self.current.values().flat_map(|kept| &kept.rows);
        made.chain(kept).collect()
    }
}

/// How far a warehouse table is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Through {
    /// The source its inputs come from.
    pub source: String,
    /// The newest landing of it that is transformed.
    pub landing: u64,
}

/// The live rows of a landed table as of one landing, kept so that nobody reads all of its history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CurrentRows {
    /// The landing.
    pub landing: u64,
    /// Objects in the processed zone, in order.
    pub rows: Vec<Object>,
}

/// One warehouse table made from one landing by one module.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessedTable {
    /// The code.
    pub module: ModuleRef,
    /// What the code said of its output, so that loading needs no module.
    pub output: ProcessedOutput,
    /// The digest of everything the module was given: schemas, objects, order, logical time, seed, parameters.
    pub inputs_sha256: Digest,
    /// The objects that were read, one entry per input of the module, in its order.
    pub inputs: Vec<InputObjects>,
    /// Output rows.
    pub rows: Vec<Object>,
    /// Retracted keys.
    pub retractions: Vec<Object>,
    /// Refused rows with their reasons.
    pub rejects: Vec<Object>,
    /// Rows given to the module.
    pub rows_in: u64,
    /// Fuel used: the same for every replay.
    pub fuel: u64,
}

/// The output of a module as a manifest records it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessedOutput {
    /// Its columns, in order.
    pub columns: Vec<ProcessedColumn>,
    /// The columns that identify a row.
    pub primary_key: Vec<String>,
    /// How the warehouse applies the rows.
    pub mode: LoadMode,
    /// The serial column that the warehouse adds.
    pub record_id: Option<String>,
    /// A second name of the table.
    pub alias: Option<String>,
}

/// A column of an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProcessedColumn {
    /// Its name.
    pub name: String,
    /// Its Arrow type, in Arrow's own notation.
    #[serde(with = "crate::table::arrow_notation")]
    pub data_type: DataType,
    /// Whether it may be NULL.
    pub nullable: bool,
}

impl ProcessedOutput {
    /// The Arrow schema of the rows.
    pub fn schema(&self) -> SchemaRef {
        let field = |c: &ProcessedColumn| Field::new(&c.name, c.data_type.clone(), c.nullable);
        Arc::new(Schema::new(
            self.columns.iter().map(field).collect::<Vec<_>>(),
        ))
    }
}

impl From<&Description> for ProcessedOutput {
    fn from(description: &Description) -> Self {
        let columns = description
            .output
            .schema
            .fields()
            .iter()
            .map(|field| ProcessedColumn {
                name: field.name().clone(),
                data_type: field.data_type().clone(),
                nullable: field.is_nullable(),
            });
        Self {
            columns: columns.collect(),
            primary_key: description.output.primary_key.clone(),
            mode: description.output.mode,
            record_id: description.properties.get(RECORD_ID).cloned(),
            alias: description.properties.get(ALIAS).cloned(),
        }
    }
}

/// The objects one input was read from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputObjects {
    /// The landed table.
    pub table: TableName,
    /// Kept live rows in the processed zone, to begin from.
    pub base: Vec<Object>,
    /// What landed, the oldest first. A later landing wins over an earlier one and over `base`.
    pub landings: Vec<LandedObjects>,
}

/// What one landing brought for one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LandedObjects {
    /// The landing.
    pub landing: u64,
    /// Objects with rows.
    pub changed: Vec<Object>,
    /// Objects with keys that are gone.
    pub deleted: Vec<Object>,
}
