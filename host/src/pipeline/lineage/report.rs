//! What is known of where columns come from, for people and programs.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::contract::{Delivery, LoadMode, ModuleRef, Role};
use crate::run::RunId;

/// What is certain of every lineage, and what is not.
pub const CERTAIN: &str = "a module is given the columns that it declares and no others, so nothing else can be in what it \
     makes; which of them is in which column is the module's own: each may be in each";

/// Where columns of the warehouse come from.
#[derive(Debug, Clone, Serialize)]
pub struct LineageReport {
    /// The project.
    pub project: String,
    /// What is certain of it.
    pub certain: String,
    /// The tables, in name order.
    pub tables: Vec<TableLineage>,
}

/// Where the columns of one table come from.
#[derive(Debug, Clone, Serialize)]
pub struct TableLineage {
    /// The warehouse table.
    pub table: String,
    /// How it is loaded.
    pub mode: LoadMode,
    /// The modules that made its rows, the first first. A module that came back stands here twice.
    pub makers: Vec<Maker>,
    /// The module that will make the next landing, where that is another one than the last.
    pub next: Option<Maker>,
    /// Its columns as the last module that made rows of it declared them, or else the next; and those that the warehouse
    /// adds.
    pub columns: Vec<ColumnLineage>,
    /// Other names of it, over the same columns.
    pub views: Vec<View>,
}

/// A module and what it was given.
#[derive(Debug, Clone, Serialize)]
pub struct Maker {
    /// The code.
    pub module: ModuleRef,
    /// The source that its inputs come from.
    pub source: String,
    /// The first landing that it made; `None` when it made none yet.
    pub first_landing: Option<u64>,
    /// The last.
    pub last_landing: Option<u64>,
    /// The run that made the last.
    pub run: Option<RunId>,
    /// The source's clock of the last.
    pub logical_time: Option<DateTime<Utc>>,
    /// What it was given.
    pub inputs: Vec<InputLineage>,
}

/// A landed table as a module sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InputLineage {
    /// The table.
    pub table: String,
    /// Whether its rows are streamed or looked up.
    pub role: Role,
    /// What of it arrives.
    pub delivery: Delivery,
    /// What tells its rows.
    pub key: Vec<String>,
    /// All columns that the module sees.
    pub columns: Vec<SourceField>,
}

/// A column that a module sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceField {
    /// Its name.
    pub name: String,
    /// Its type in Arrow's notation, as declared.
    pub data_type: String,
    /// Whether the project marks it sensitive.
    pub sensitive: bool,
}

/// A column of the warehouse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ColumnLineage {
    /// Its name.
    pub name: String,
    /// Its type in Arrow's notation; `None` of what the warehouse adds.
    pub data_type: Option<String>,
    /// Whether it is part of the key.
    pub key: bool,
    /// Who fills it.
    pub origin: Origin,
    /// The columns of the source that may be in it: `source.table.column`.
    pub from: Vec<String>,
}

/// Who fills a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The module, out of its inputs.
    Module,
    /// The warehouse numbers versions.
    RecordId,
    /// The warehouse, out of the logical times of landings.
    Validity,
    /// tidemill: which run, module and landing made the row.
    Provenance,
}

/// Another name of a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct View {
    /// The name.
    pub name: String,
    /// Whether it holds the current version of every key only.
    pub current: bool,
}

impl Maker {
    pub(super) fn of(module: ModuleRef, source: String) -> Self {
        Self {
            module,
            source,
            first_landing: None,
            last_landing: None,
            run: None,
            logical_time: None,
            inputs: Vec::new(),
        }
    }

    /// Every column that it sees: `source.table.column`.
    pub fn fields(&self) -> Vec<String> {
        let inputs = self.inputs.iter();
        let fields = inputs.flat_map(|input| {
            let columns = input.columns.iter();
            columns.map(|column| format!("{}.{}.{}", self.source, input.table, column.name))
        });
        fields.collect()
    }
}
