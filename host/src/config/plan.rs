//! The plan: the project file after every reference, unit and name has been checked.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{LimitsPlan, ModulesPlan, Secret, StorePlan, TelemetryPlan, VaultPlan};
use crate::run::Stage;
use crate::source::SourceOptions;
use crate::warehouse::WarehouseOptions;

/// A project, checked and resolved. Plain data; secrets inside do not show themselves.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The project's name; the folder's when the file does not say one.
    pub name: String,
    /// The folder of the project file. Relative paths in URLs are below it.
    pub base: PathBuf,
    /// Where objects are kept.
    pub zones: ZonesPlan,
    /// The systems that rows come from, by name.
    pub sources: BTreeMap<String, SourcePlan>,
    /// Where rows are analysed.
    pub warehouse: WarehousePlan,
    /// The warehouse tables that are made, by name.
    pub transforms: BTreeMap<String, TransformPlan>,
    /// Whose modules are used.
    pub modules: ModulesPlan,
    /// What a module may use.
    pub limits: LimitsPlan,
    /// The private folder of compiled modules.
    pub cache: PathBuf,
    /// A folder of compiled modules that came with the program.
    pub bundled_code: PathBuf,
    /// The program that runs, which compiles modules in processes of their own; `None` outside of it.
    pub program: Option<PathBuf>,
    /// When `serve` runs, by name.
    pub schedule: BTreeMap<String, Schedule>,
    /// How `serve` behaves.
    pub serve: ServePlan,
    /// Where measurements go.
    pub telemetry: TelemetryPlan,
    /// How `lambda` behaves.
    pub lambda: LambdaPlan,
    /// How the services are asked that keep secrets.
    pub vault: VaultPlan,
}

/// The URLs of the three zones.
#[derive(Debug, Clone)]
pub struct ZonesPlan {
    /// Raw rows as they were extracted.
    pub ingestion: String,
    /// Rows as modules made them.
    pub processed: String,
    /// Modules and their promotions.
    pub modules: String,
    /// How old is what no manifest names when it is removed.
    pub sweep_after: Duration,
    /// The store of those zones that are buckets.
    pub store: StorePlan,
}

/// One source and how it is read.
#[derive(Debug, Clone)]
pub struct SourcePlan {
    /// Where it is.
    pub url: Secret,
    /// Tables to take; empty means all. `*` stands for any run of characters.
    pub include: Vec<String>,
    /// Tables to leave out, also where `include` names them.
    pub exclude: Vec<String>,
    /// How changes are found where the table does not say otherwise.
    pub cursor: Cursor,
    /// How often every row is compared with what has been landed; `None` for never.
    pub reconcile: Option<Duration>,
    /// What a table does whose schema changed, where the table does not say otherwise.
    pub on_schema_change: OnSchemaChange,
    /// What is different for single tables.
    pub tables: BTreeMap<String, TablePlan>,
    /// What may be used of the source.
    pub options: SourceOptions,
}

impl SourcePlan {
    /// Whether the project takes `table` from this source.
    pub fn takes(&self, table: &str) -> bool {
        let named = |patterns: &[String]| patterns.iter().any(|pattern| matches(pattern, table));
        (self.include.is_empty() || named(&self.include)) && !named(&self.exclude)
    }

    /// How changes of `table` are found.
    pub fn cursor_of(&self, table: &str) -> &Cursor {
        self.tables
            .get(table)
            .and_then(|table| table.cursor.as_ref())
            .unwrap_or(&self.cursor)
    }

    /// What `table` does when its schema changed.
    pub fn on_schema_change_of(&self, table: &str) -> OnSchemaChange {
        self.tables
            .get(table)
            .and_then(|table| table.on_schema_change)
            .unwrap_or(self.on_schema_change)
    }

    /// The columns of `table` that are sensitive.
    pub fn sensitive_of(&self, table: &str) -> &[String] {
        self.tables
            .get(table)
            .map_or(&[], |table| table.sensitive.as_slice())
    }

    /// Whether the project file names `table`, and not only a pattern that it fits: then it is wanted.
    pub fn names(&self, table: &str) -> bool {
        self.tables.contains_key(table) || self.include.iter().any(|pattern| pattern == table)
    }
}

/// What a table does whose schema changed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnSchemaChange {
    /// New tables, new columns and wider types are landed; every other change stops the table.
    #[default]
    Evolve,
    /// The tables, columns and types that were landed first go on; what is new is left out.
    Freeze,
    /// Any change stops the table.
    Reject,
}

impl OnSchemaChange {
    /// The policy of that name.
    pub(super) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "evolve" => Self::Evolve,
            "freeze" => Self::Freeze,
            "reject" => Self::Reject,
            _ => return None,
        })
    }
}

impl fmt::Display for OnSchemaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Evolve => "evolve",
            Self::Freeze => "freeze",
            Self::Reject => "reject",
        })
    }
}

/// How changes of a table are found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cursor {
    /// By what the source itself can tell between two of its snapshots.
    Snapshot,
    /// By a column that grows with every change.
    Column {
        /// The column.
        name: String,
        /// What is read again before the watermark, for rows that were committed late.
        overlap: Duration,
    },
}

/// What is different for one source table.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TablePlan {
    /// How its changes are found.
    pub cursor: Option<Cursor>,
    /// What it does when its schema changed.
    pub on_schema_change: Option<OnSchemaChange>,
    /// Its key, where the source declares none or another is wanted.
    pub key: Option<Vec<String>>,
    /// Columns that are landed as the source's own text.
    pub text: Vec<String>,
    /// Columns that are sensitive.
    pub sensitive: Vec<String>,
}

/// The warehouse.
#[derive(Debug, Clone)]
pub struct WarehousePlan {
    /// Where it is.
    pub url: Secret,
    /// What may be used of it.
    pub options: WarehouseOptions,
}

/// One warehouse table and the module that makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransformPlan {
    /// Name and version: `dim-staff@1` is the 1.x that was promoted last.
    pub module: String,
    /// The source its inputs come from, where several have a table of that name.
    pub source: Option<String>,
    /// The sensitive columns that the module may read, each as a [`SourceColumn`](super::SourceColumn) is written.
    pub grants: Vec<String>,
}

/// One entry of the timetable.
#[derive(Debug, Clone)]
pub struct Schedule {
    /// When it is due.
    pub when: When,
    /// What it does, in the order of the straight line.
    pub stages: Vec<Stage>,
    /// Source tables to extract; empty means all.
    pub tables: Vec<String>,
    /// Whether every row is compared with what has been landed.
    pub reconcile: bool,
}

/// When a scheduled run is due.
#[derive(Debug, Clone)]
pub enum When {
    /// At the times of a cron expression, on the clocks of a time zone.
    Cron {
        /// The expression.
        expression: Box<croner::Cron>,
        /// The zone.
        zone: chrono_tz::Tz,
    },
    /// At a fixed distance, counted from the start of `serve`.
    Every(Duration),
}

/// How `serve` behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServePlan {
    /// Where health is told; `None` for nowhere.
    pub listen: Option<SocketAddr>,
    /// How long a running run may go on after a signal to stop.
    pub grace: Duration,
}

/// How `lambda` behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LambdaPlan {
    /// How long before its deadline a function commits what is complete.
    pub margin: Duration,
    /// Rows of the first landing of a table after which it goes on in another landing.
    pub landing_rows: u64,
}

/// Whether `name` fits `pattern`, in which `*` stands for any run of characters.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((head, tail)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(rest) = name.strip_prefix(head) else {
        return false;
    };
    rest.char_indices()
        .map(|(at, _)| at)
        .chain([rest.len()])
        .filter_map(|at| rest.get(at..))
        .any(|rest| matches(tail, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_run_of_characters() {
        for (pattern, name, fits) in [
            ("staff", "staff", true),
            ("staff", "staffs", false),
            ("_prisma_*", "_prisma_migrations", true),
            ("*_old", "staff_old", true),
            ("*_old", "staff_older", false),
            ("a*b*c", "a-b-b-c", true),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), fits, "{pattern} {name}");
        }
    }
}
