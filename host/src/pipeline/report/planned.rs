//! What a run would do.

use serde::Serialize;

use crate::config::OnSchemaChange;
use crate::contract::ModuleRef;
use crate::table::SchemaChange;
use crate::watermark::Window;

/// What a run would do, found without moving data.
#[derive(Debug, Clone, Serialize)]
pub struct PlanReport {
    /// One per source table.
    pub sources: Vec<PlannedTable>,
    /// One per warehouse table.
    pub transforms: Vec<PlannedTransform>,
    /// Where each secret comes from.
    pub secrets: Vec<PlannedSecret>,
    /// Things that will stop a table or lose exactness unless they are dealt with.
    pub warnings: Vec<String>,
}

impl PlanReport {
    /// Whether a run would do something that it did not do last time: exit code 4.
    pub fn has_changes(&self) -> bool {
        self.sources.iter().any(|t| t.changed.is_some())
            || self
                .transforms
                .iter()
                .any(|t| t.changed.is_some() || t.pending > 0)
    }
}

/// Where a secret comes from; never what it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedSecret {
    /// The setting that holds it: `source.totesys.url`.
    pub setting: String,
    /// In words: "the environment variable TOTESYS_URL".
    pub from: String,
}

/// How one source table would be read.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedTable {
    /// The source's name.
    pub source: String,
    /// The table.
    pub table: String,
    /// What would be read and why; `None` where nothing would be.
    pub window: Option<Window>,
    /// The key columns.
    pub key: Vec<String>,
    /// Rows as the source estimates them.
    pub rows_estimate: Option<u64>,
    /// Columns landed as text, with the reason: `(column, source type, reason)`.
    pub as_text: Vec<(String, String, String)>,
    /// What is new since the last landing: "new table", "column x added".
    pub changed: Option<String>,
    /// The same one by one, and what becomes of it; `None` where the schema is as it was.
    pub schema: Option<PlannedSchema>,
}

/// What becomes of a table whose schema is not the landed one.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedSchema {
    /// The policy.
    pub policy: OnSchemaChange,
    /// What it comes to.
    pub action: SchemaAction,
    /// What is different.
    pub changes: Vec<SchemaChange>,
    /// What the source has and the policy leaves out.
    pub ignored: Vec<SchemaChange>,
    /// Whether every row is landed again, because digests of both schemas cannot be compared.
    pub anew: bool,
    /// The next step, where the table is not landed.
    pub hint: Option<String>,
}

impl PlannedSchema {
    /// Nothing, where nothing is different.
    pub(in crate::pipeline) fn if_any(self) -> Option<Self> {
        let is_same = self.changes.is_empty() && self.ignored.is_empty();
        (!is_same).then_some(self)
    }
}

/// What becomes of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SchemaAction {
    /// It is landed as it is now.
    Land,
    /// It is new and not taken.
    LeaveOut,
    /// It stays as it was landed, and the run ends with 1.
    Stop,
}

/// How one warehouse table would be made.
#[derive(Debug, Clone, Serialize)]
pub struct PlannedTransform {
    /// The warehouse table.
    pub table: String,
    /// The module as the project file names it: `dim-staff@1`.
    pub requested: String,
    /// What that resolves to.
    pub module: Option<ModuleRef>,
    /// The source tables it reads, with the columns it may see.
    pub inputs: Vec<(String, Vec<String>)>,
    /// Landings that are not transformed yet.
    pub pending: u64,
    /// What is new since the last run: "dim-staff 1.0.0 → 1.1.0".
    pub changed: Option<String>,
    /// The sensitive columns that it is granted, and those that it reads without a grant.
    pub grants: Vec<PlannedGrant>,
}

/// A sensitive column of one warehouse table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlannedGrant {
    /// Source, table and column: `totesys.staff.email_address`.
    pub column: String,
    /// What is with it.
    pub state: GrantState,
}

/// What is with a grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum GrantState {
    /// The module reads the column, and may.
    Used,
    /// The module reads the column, and may not: the table is not made.
    Missing,
    /// The module does not read the column.
    Unused,
    /// The column is not marked sensitive, or there is none.
    NotSensitive,
    /// The module cannot be loaded, so nobody knows what it reads.
    Unknown,
}
