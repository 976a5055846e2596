//! What a module says of itself, as plain data: the native face of `wit/transform.wit`.

use std::collections::BTreeMap;
use std::fmt;

use arrow::datatypes::{Schema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// What of a table an input receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// The rows that changed in one landing, and the keys that were deleted.
    Changes,
    /// The latest row of every key over everything landed so far.
    Current,
}

/// When an input arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Whole, before any streamed input.
    Lookup,
    /// Chunk by chunk, after every lookup.
    Streamed,
}

/// How the warehouse applies the rows of an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadMode {
    /// A row replaces the row of the same key; a retracted key is removed.
    Upsert,
    /// A row that differs from the latest version of its key is a new version; a retracted key ends it.
    AppendVersions,
    /// The table equals the rows of the run.
    Overwrite,
    /// A row that differs closes the open version of its key and opens another.
    Scd2,
}

impl fmt::Display for LoadMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Upsert => "upsert",
            Self::AppendVersions => "append-versions",
            Self::Overwrite => "overwrite",
            Self::Scd2 => "scd2",
        })
    }
}

/// One input of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The table in the landing zone.
    pub table: String,
    /// Exactly the columns that the module may see, in its order.
    pub schema: SchemaRef,
    /// The columns that identify a row.
    pub key: Vec<String>,
    /// What it receives.
    pub delivery: Delivery,
    /// When it arrives.
    pub role: Role,
}

impl Input {
    /// The schema of a retraction of this input: its key columns, in key order.
    pub fn key_schema(&self) -> SchemaRef {
        project(&self.schema, &self.key)
    }
}

/// The output of a module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// The table in the warehouse.
    pub table: String,
    /// Its columns, without those that the warehouse adds.
    pub schema: SchemaRef,
    /// The columns that are unique over the rows of one run.
    pub primary_key: Vec<String>,
    /// How the warehouse applies it.
    pub mode: LoadMode,
}

impl Output {
    /// The schema of a retraction: the primary key columns, in key order.
    pub fn key_schema(&self) -> SchemaRef {
        project(&self.schema, &self.primary_key)
    }
}

/// What a module says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// Its name: `dim-staff`.
    pub name: String,
    /// Its semantic version.
    pub version: String,
    /// Its inputs, in the order of their numbers.
    pub inputs: Vec<Input>,
    /// Its output.
    pub output: Output,
    /// Everything else, by name. Known: [`RECORD_ID`], [`ALIAS`].
    pub properties: BTreeMap<String, String>,
}

/// The property that names the serial column the warehouse adds to an `append-versions` output.
pub const RECORD_ID: &str = "record-id";
/// The property that names a view over the output under a second name.
pub const ALIAS: &str = "alias";

/// Which code made something: written into manifests, reports and warehouse rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleRef {
    /// Its name.
    pub name: String,
    /// Its semantic version.
    pub version: String,
    /// The digest of component and parameters.
    pub digest: Digest,
}

impl fmt::Display for ModuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}@{} ({})",
            self.name,
            self.version,
            self.digest.short()
        )
    }
}

fn project(schema: &Schema, names: &[String]) -> SchemaRef {
    let fields: Vec<_> = names
        .iter()
        .filter_map(|name| schema.field_with_name(name).ok().cloned())
        .collect();
    Schema::new(fields).into()
}
