//! Where a row comes from, for people and programs.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::contract::{LoadMode, ModuleRef, Role};
use crate::digest::Digest;
use crate::run::RunId;

/// Where a row of the warehouse comes from.
#[derive(Debug, Clone, Serialize)]
pub struct TraceReport {
    /// The table.
    pub table: String,
    /// Its key and the values that were asked for.
    pub key: Vec<Value>,
    /// How the table is loaded.
    pub mode: LoadMode,
    /// What the warehouse has of the key, the first version first; none when it has gone from there.
    pub versions: Vec<TracedVersion>,
    /// The landings that took the key away, the first first.
    pub removals: Vec<Removal>,
    /// The landings that made the key and are not loaded yet.
    pub waiting: Vec<Making>,
    /// What could not be told, and why.
    pub notes: Vec<String>,
}

/// One version of the row.
#[derive(Debug, Clone, Serialize)]
pub struct TracedVersion {
    /// Whether it counts.
    pub state: VersionState,
    /// Its values in the warehouse, without the columns that say where it comes from. Those that may come from sensitive
    /// columns are replaced.
    pub values: Vec<Value>,
    /// What made it; `None` where that cannot be told.
    pub made: Option<Making>,
}

/// Whether a version counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum VersionState {
    /// It is what the key has now.
    Current,
    /// A later version took its place.
    Superseded,
    /// A landing took its key away.
    Ended,
}

/// A value as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Value {
    /// The column.
    pub column: String,
    /// The value in one line; NULL as `null`.
    pub value: Option<String>,
}

/// What made a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Making {
    /// The source.
    pub source: String,
    /// The landing.
    pub landing: u64,
    /// The source's clock in it.
    pub logical_time: DateTime<Utc>,
    /// The run that made the table of this landing.
    pub run: RunId,
    /// The code.
    pub module: ModuleRef,
    /// The digest of everything that the code was given.
    pub inputs_sha256: Digest,
    /// Where the row is in the processed zone; `None` of a removal.
    pub object: Option<Place>,
    /// What the code was given.
    pub inputs: Vec<TracedInput>,
}

/// A row of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The object's key in its zone.
    pub object: String,
    /// The row in it, from 0.
    pub row: u64,
}

/// One input of the code.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TracedInput {
    /// The landed table.
    pub table: String,
    /// Whether its rows were streamed or looked up; `None` where the code cannot be asked.
    pub role: Option<Role>,
    /// The objects that it was read from, the oldest first.
    pub objects: Vec<String>,
    /// The landed row with the key of the row; `None` where it has no such row, or its key has other columns and it is not
    /// proved that the row made the one that is traced.
    pub row: Option<LandedRow>,
}

/// A row as it came from the source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LandedRow {
    /// The landing that brought it.
    pub landing: u64,
    /// The source's clock in it.
    pub logical_time: DateTime<Utc>,
    /// The run that landed it.
    pub run: RunId,
    /// Where it is in the landing zone.
    pub object: Place,
    /// Whether the landing brought that it is gone, and its key only.
    pub deleted: bool,
    /// Whether the code, given this row alone and its lookups, makes the very row that is traced.
    pub proved: bool,
    /// The columns that the code saw; sensitive values are replaced.
    pub values: Vec<Value>,
}

/// A landing that took a key away.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Removal {
    /// Where that is said in the processed zone; `None` of a table that is made anew, in which the key is missing.
    pub retraction: Option<Place>,
    /// Whether the warehouse has it.
    pub loaded: bool,
    /// Why the code refused the row, where it did; else the source does not have it any more.
    pub refused: Option<String>,
    /// By which code and out of what.
    pub by: Making,
}
