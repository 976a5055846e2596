//! What the transforms of one landing made.

use std::collections::{BTreeMap, BTreeSet};
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
    /// For every warehouse table that was ever to be rebuilt: when that was done last.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rebuilt: BTreeMap<String, LastRebuild>,
    /// The warehouse tables that this manifest makes anew from all of their history.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub rebuilds: BTreeMap<String, RebuiltTable>,
}

/// The format of processed manifests that say something of a rebuild; the others have [`FORMAT`](super::FORMAT), which
/// versions that know no rebuild read as well.
pub const PROCESSED_FORMAT: u32 = 2;

impl ProcessedManifest {
    /// The same with the format that says what is in it.
    pub fn formatted(mut self) -> Self {
        self.format = match self.rebuilt.is_empty() && self.rebuilds.is_empty() {
            true => super::FORMAT,
            false => PROCESSED_FORMAT,
        };
        self
    }

    /// What a rebuild of `table` made, each landing as if it had a manifest of its own; `None` where it is not rebuilt here.
    pub fn rebuilt_landings(&self, table: &str) -> Option<Vec<(Self, ProcessedTable)>> {
        let rebuilt = self.rebuilds.get(table)?;
        let landings = rebuilt.landings.iter().map(|landing| {
            let manifest = Self {
                run: landing.run.clone(),
                writer: landing.writer.clone(),
                source: rebuilt.source.clone(),
                landing: landing.landing,
                landing_sha256: landing.landing_sha256,
                logical_time: landing.logical_time,
                tables: BTreeMap::new(),
                rebuilds: BTreeMap::new(),
                current: BTreeMap::new(),
                format: self.format,
                sequence: self.sequence,
                tidemill: self.tidemill.clone(),
                through: self.through.clone(),
                rebuilt: self.rebuilt.clone(),
            };
            (manifest, landing.made.clone())
        });
        Some(landings.collect())
    }

    /// Every transform that the manifest names: tables of its own landing first, then those of rebuilds.
    pub fn transforms(&self) -> impl Iterator<Item = Transform<'_>> {
        let made = self.tables.iter().map(|(table, made)| Transform {
            table,
            made,
            run: &self.run,
            source: &self.source,
            landing: self.landing,
            landing_sha256: self.landing_sha256,
            logical_time: self.logical_time,
            writer: &self.writer,
        });
        let rebuilt = self.rebuilds.iter().flat_map(|(table, rebuilt)| {
            rebuilt.landings.iter().map(move |landing| Transform {
                table,
                made: &landing.made,
                run: &landing.run,
                source: &rebuilt.source,
                landing: landing.landing,
                landing_sha256: landing.landing_sha256,
                logical_time: landing.logical_time,
                writer: &landing.writer,
            })
        });
        made.chain(rebuilt)
    }
}

/// One warehouse table as made from one landing, wherever in a manifest that stands.
#[derive(Debug, Clone, Copy)]
pub struct Transform<'m> {
    /// The warehouse table.
    pub table: &'m str,
    /// What was made.
    pub made: &'m ProcessedTable,
    /// The run that made it.
    pub run: &'m RunId,
    /// The source of the landing.
    pub source: &'m str,
    /// The landing.
    pub landing: u64,
    /// The digest of its manifest.
    pub landing_sha256: Digest,
    /// Its logical time.
    pub logical_time: DateTime<Utc>,
    /// The name of the Parquet writer settings.
    pub writer: &'m str,
}

/// When a warehouse table was rebuilt last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastRebuild {
    /// The manifest that did it; `None` where there was nothing yet that could be rebuilt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<u64>,
    /// The promotion of the module that made it: a later one may want another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promotion: Option<u64>,
}

/// A warehouse table made anew by one module: it takes the place of everything that was made of it before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RebuiltTable {
    /// The name of the source.
    pub source: String,
    /// The newest landing that is in it, whether that brought something for the table or not.
    pub through: u64,
    /// Columns that other versions made and this one does not: they go. What else the warehouse's table has is not ours.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub gone: BTreeSet<String>,
    /// What was made of each landing, the oldest first: of an `overwrite` table of the newest alone.
    pub landings: Vec<RebuiltLanding>,
}

/// What a rebuild made of one landing, or found made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RebuiltLanding {
    /// The landing.
    pub landing: u64,
    /// The digest of its manifest.
    pub landing_sha256: Digest,
    /// Its logical time.
    pub logical_time: DateTime<Utc>,
    /// The run that executed the module: an earlier one where its output is used again.
    pub run: RunId,
    /// The name of the Parquet writer settings.
    pub writer: String,
    /// What was made.
    pub made: ProcessedTable,
}

impl Manifest for ProcessedManifest {
    const KNOWN: u32 = PROCESSED_FORMAT;

    fn sequence(&self) -> u64 {
        self.sequence
    }

    fn run(&self) -> &RunId {
        &self.run
    }

    fn objects(&self) -> Vec<&Object> {
        let made = self.transforms().flat_map(|transform| {
            let table = transform.made;
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
    /// The names of its columns, with that of the serial column that the warehouse adds to versions of `table`.
    pub fn names(&self, table: &str) -> BTreeSet<String> {
        let serial = self.record_id.clone();
        let serial = serial.unwrap_or_else(|| format!("{table}_record_id"));
        let serial = (self.mode == LoadMode::AppendVersions).then_some(serial);
        let columns = self.columns.iter().map(|column| column.name.clone());
        columns.chain(serial).collect()
    }

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
