//! What the stages say about themselves: plain data for the command line, the logs and `--output json`.

mod planned;
pub(crate) mod samples;

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use self::planned::{
    GrantState, PlanReport, PlannedGrant, PlannedSchema, PlannedSecret, PlannedTable,
    PlannedTransform, SchemaAction,
};
pub use super::observer::{Observer, Silent};
use crate::connection::traffic::Moved;
use crate::contract::ModuleRef;
use crate::error::ErrorKind;
use crate::pipeline::rebuild::report::{RebuildLoaded, TableRebuilt};
use crate::registry::Voucher;
use crate::run::{RunId, Stage};
use crate::table::SchemaChange;
use crate::warehouse::TableLoaded;
use crate::watermark::{Watermark, Window};

/// Which part of the work a run does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scope {
    /// Source tables to extract; empty means all that the project names.
    pub tables: Vec<String>,
    /// Compare every row with what has been landed.
    pub reconcile: bool,
    /// Land every row again as if nothing had been landed, and still keep what is equal out of the changes.
    pub full: bool,
    /// Source tables whose changed schema is accepted.
    pub accept: Vec<String>,
}

/// A run, from its start to its end.
#[derive(Debug, Clone, Serialize)]
pub struct RunReport {
    /// Its id.
    pub run: RunId,
    /// When it began.
    pub started: DateTime<Utc>,
    /// How long it took.
    #[serde(rename = "elapsed_ms", serialize_with = "as_millis")]
    pub elapsed: Duration,
    /// One per source that was read.
    pub extract: Vec<ExtractReport>,
    /// What the modules made, where the stage ran.
    pub transform: Option<TransformReport>,
    /// What was loaded, where the stage ran.
    pub load: Option<LoadReport>,
    /// What was asked of the stores of buckets, where there are such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub store: Option<Moved>,
}

impl RunReport {
    /// A run that has done nothing.
    pub fn empty(run: RunId, started: DateTime<Utc>) -> Self {
        Self {
            run,
            started,
            elapsed: Duration::ZERO,
            extract: Vec::new(),
            transform: None,
            load: None,
            store: None,
        }
    }

    /// What the stages left to other runs.
    pub fn left(&self) -> impl Iterator<Item = &LeftOver> {
        let extract = self.extract.iter().flat_map(|e| &e.left);
        let transform = self.transform.iter().flat_map(|t| &t.left);
        let load = self.load.iter().flat_map(|l| &l.left);
        extract.chain(transform).chain(load)
    }

    /// Whether a table failed in any stage.
    pub fn has_failures(&self) -> bool {
        self.extract.iter().any(|e| !e.failures.is_empty())
            || self
                .transform
                .as_ref()
                .is_some_and(|t| !t.failures.is_empty())
            || self.load.as_ref().is_some_and(|l| !l.failures.is_empty())
    }

    /// Rows that modules refused.
    pub fn rejected(&self) -> u64 {
        let transforms = || self.transform.iter();
        let made = transforms().flat_map(|t| &t.tables);
        let rebuilt = transforms().flat_map(|t| &t.rebuilt);
        let made = made.map(|t| t.rows_rejected);
        made.chain(rebuilt.map(|t| t.rows_rejected)).sum()
    }
}

/// Work that a run found and left to another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct LeftOver {
    /// The table: the source's in extract, the warehouse's in transform; in load the landing.
    pub what: String,
    /// Why.
    pub why: Why,
}

/// Why work is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The run was told to stop.
    Halted,
    /// Another run is at it.
    Elsewhere,
    /// A source table that it needs has not been landed yet, and is to be.
    NotLanded,
}

/// What was swept: objects that no manifest names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SweepReport {
    /// The objects, or in a rehearsal those that would have been.
    pub swept: Vec<SweptObject>,
    /// Objects of runs that may still commit them.
    pub kept: u64,
    /// Objects that were looked at, records not counted; runs look at what dead runs left only.
    pub looked_at: u64,
}

impl SweepReport {
    /// Adds another zone's.
    pub fn add(&mut self, other: Self) {
        self.swept.extend(other.swept);
        self.kept += other.kept;
        self.looked_at += other.looked_at;
    }

    /// The size of everything swept.
    pub fn bytes(&self) -> u64 {
        self.swept.iter().map(|object| object.bytes).sum()
    }
}

/// An object that was swept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SweptObject {
    /// The zone, or the folder of the warehouse.
    pub zone: String,
    /// Its key.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// When it was created, by the zone's clock.
    pub created: DateTime<Utc>,
}

/// What one source gave.
#[derive(Debug, Clone, Serialize)]
pub struct ExtractReport {
    /// The source's name.
    pub source: String,
    /// The landing manifest that was committed.
    pub landing: u64,
    /// The source's clock in its snapshot.
    pub logical_time: DateTime<Utc>,
    /// One per table that was read, in name order.
    pub tables: Vec<TableExtracted>,
    /// Tables that are new where the policy takes no new ones.
    pub left_out: Vec<String>,
    /// What was left to another run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<LeftOver>,
    /// Tables that could not be read; the others are landed.
    pub failures: Vec<TableFailure>,
    /// Objects of dead runs that were swept from the landing zone.
    #[serde(serialize_with = "as_count")]
    pub swept: SweepReport,
    /// How long it took.
    #[serde(rename = "elapsed_ms", serialize_with = "as_millis")]
    pub elapsed: Duration,
}

/// What one source table gave.
#[derive(Debug, Clone, Serialize)]
pub struct TableExtracted {
    /// The table.
    pub table: String,
    /// What was read and why.
    pub window: Window,
    /// What is different in its schema since the last landing.
    pub changes: Vec<SchemaChange>,
    /// What the source has and the policy leaves out.
    pub ignored: Vec<SchemaChange>,
    /// The cursor before.
    pub watermark_before: Option<Watermark>,
    /// The cursor after.
    pub watermark_after: Option<Watermark>,
    /// Rows that the source sent.
    pub rows_read: u64,
    /// Rows with a key that was not there before.
    pub rows_new: u64,
    /// Rows that differ from their latest landed version.
    pub rows_changed: u64,
    /// Keys that are gone.
    pub rows_deleted: u64,
    /// Rows live after this landing.
    pub rows_live: u64,
    /// Bytes landed.
    pub bytes: u64,
    /// How long it took.
    #[serde(rename = "elapsed_ms", serialize_with = "as_millis")]
    pub elapsed: Duration,
}

/// What the modules made.
#[derive(Debug, Clone, Default, Serialize)]
pub struct TransformReport {
    /// One per warehouse table and landing that was transformed.
    pub tables: Vec<TableTransformed>,
    /// One per warehouse table that a promotion wanted made anew.
    pub rebuilt: Vec<TableRebuilt>,
    /// What was left to another run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<LeftOver>,
    /// Tables whose module failed; they catch up once it is fixed.
    pub failures: Vec<TableFailure>,
    /// Objects of dead runs that were swept from the processed zone.
    #[serde(serialize_with = "as_count")]
    pub swept: SweepReport,
    /// The module of every table that could be loaded, whether it had something to do or not.
    #[serde(skip)]
    pub modules: BTreeMap<String, ModuleRef>,
    /// How long it took.
    #[serde(rename = "elapsed_ms", serialize_with = "as_millis")]
    pub elapsed: Duration,
}

/// What one module made of one landing.
#[derive(Debug, Clone, Serialize)]
pub struct TableTransformed {
    /// The warehouse table.
    pub table: String,
    /// The landing.
    pub landing: u64,
    /// The code.
    pub module: ModuleRef,
    /// Rows given to the module.
    pub rows_in: u64,
    /// Rows it made.
    pub rows_out: u64,
    /// Keys it retracted.
    pub rows_retracted: u64,
    /// Rows it refused.
    pub rows_rejected: u64,
    /// Bytes of the rows and keys that it made.
    pub bytes: u64,
    /// The first reasons, each with how often it occurred: at most eight.
    pub reasons: Vec<RejectReason>,
    /// Fuel used.
    pub fuel: u64,
    /// How long it took.
    #[serde(rename = "elapsed_ms", serialize_with = "as_millis")]
    pub elapsed: Duration,
}

/// Why rows were refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RejectReason {
    /// The module's code for it.
    pub code: String,
    /// The message of the first row.
    pub message: String,
    /// Rows.
    pub rows: u64,
}

/// What was loaded.
#[derive(Debug, Clone, Default, Serialize)]
pub struct LoadReport {
    /// One per landing that was loaded, in order.
    pub landings: Vec<LandingLoaded>,
    /// One per rebuild that was put into the place of what was there.
    pub rebuilds: Vec<RebuildLoaded>,
    /// What was left to another run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left: Vec<LeftOver>,
    /// Tables that are not loaded, and why.
    pub failures: Vec<TableFailure>,
    /// Files of undone commits that were swept from the warehouse.
    #[serde(serialize_with = "as_count")]
    pub swept: SweepReport,
    /// How long it took.
    #[serde(rename = "elapsed_ms", serialize_with = "as_millis")]
    pub elapsed: Duration,
}

/// What was loaded of one landing.
#[derive(Debug, Clone, Serialize)]
pub struct LandingLoaded {
    /// The source's name.
    pub source: String,
    /// The landing.
    pub landing: u64,
    /// One per table, in the order in which they were applied.
    pub tables: Vec<TableLoaded>,
    /// How long it took.
    #[serde(rename = "elapsed_ms", serialize_with = "as_millis")]
    pub elapsed: Duration,
}

/// A table that failed while the others went on.
#[derive(Debug, Clone, Serialize)]
pub struct TableFailure {
    /// The table: the source's in extract, the warehouse's elsewhere.
    pub table: String,
    /// The stage.
    pub stage: Stage,
    /// What the operator does about it.
    pub kind: ErrorKind,
    /// What failed, with its causes.
    pub message: String,
    /// The next step.
    pub hint: Option<String>,
}

impl TableFailure {
    /// The failure of `table` in `stage` for `error`, its causes written out.
    pub fn new(table: impl Into<String>, stage: Stage, error: &crate::Error) -> Self {
        Self {
            table: table.into(),
            stage,
            kind: error.kind(),
            message: error.story(),
            hint: error.hint().map(str::to_owned),
        }
    }
}

/// What `verify` found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Landing manifests checked.
    pub landings: u64,
    /// Landed objects read and compared with their digests.
    pub landed_objects: u64,
    /// Transforms executed again.
    pub transforms: u64,
    /// Processed objects compared.
    pub processed_objects: u64,
    /// Everything that differs, one sentence each: which object, how.
    pub differences: Vec<String>,
    /// Checks of an interrupted verification that were not made again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumed_after: Option<u64>,
    /// Why it was to go on and began again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun_again: Option<String>,
}

impl VerifyReport {
    /// Adds what was found besides.
    pub(super) fn add(&mut self, found: Self) {
        self.landings += found.landings;
        self.landed_objects += found.landed_objects;
        self.transforms += found.transforms;
        self.processed_objects += found.processed_objects;
        self.differences.extend(found.differences);
    }
}

/// A past run, put together from the manifests.
#[derive(Debug, Clone, Serialize)]
pub struct RunSummary {
    /// Its id.
    pub run: RunId,
    /// What it landed: source and sequence.
    pub landings: Vec<LandingSummary>,
    /// What it transformed: table, landing, module, rows out, rows rejected.
    pub transforms: Vec<TransformSummary>,
}

/// A landing as `runs` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct LandingSummary {
    /// The source's name.
    pub source: String,
    /// The manifest's number.
    pub landing: u64,
    /// The source's clock.
    pub logical_time: DateTime<Utc>,
    /// Tables that brought something.
    pub tables: Vec<LandedSummary>,
}

/// A landed table as `runs` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct LandedSummary {
    /// The table.
    pub table: String,
    /// What was read and why.
    pub window: Window,
    /// Rows landed.
    pub rows_changed: u64,
    /// Keys landed as gone.
    pub rows_deleted: u64,
}

/// A transform as `runs` shows it.
#[derive(Debug, Clone, Serialize)]
pub struct TransformSummary {
    /// The warehouse table.
    pub table: String,
    /// The landing.
    pub landing: u64,
    /// The code.
    pub module: ModuleRef,
    /// Rows given to it.
    pub rows_in: u64,
    /// Rows it made.
    pub rows_out: u64,
    /// Rows it refused.
    pub rows_rejected: u64,
    /// Whether a rebuild found it computed by an earlier run.
    pub reused: bool,
}

/// One finding of `doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// What was looked at: "warehouse".
    pub name: String,
    /// Whether it is as it should be.
    pub ok: bool,
    /// What was found, in one sentence without secrets.
    pub detail: String,
    /// The next step, where it is not.
    pub hint: Option<String>,
}

impl Check {
    /// It could not be found out, or is not as it should be, for `error`.
    pub fn failed(name: impl Into<String>, error: &crate::Error) -> Self {
        Self {
            name: name.into(),
            ok: false,
            detail: error.story(),
            hint: error.hint().map(str::to_owned),
        }
    }
}

/// A module in the modules zone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ModuleListing {
    /// The code.
    pub module: ModuleRef,
    /// Whether a project that asks for its major version gets this one.
    pub active: bool,
    /// When it was last promoted; `None` when it never was.
    pub promoted: Option<DateTime<Utc>>,
    /// Who promoted it.
    pub by: Option<String>,
    /// Why, in their words.
    pub why: Option<String>,
    /// Who vouches for it; `None` where the project does not trust it, or its signature is wrong.
    pub vouched_by: Option<Voucher>,
    /// The size of the component.
    pub bytes: u64,
}

fn as_count<S: serde::Serializer>(swept: &SweepReport, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(swept.swept.len() as u64)
}

#[allow(clippy::trivially_copy_pass_by_ref)]
pub(super) fn as_millis<S: serde::Serializer>(
    elapsed: &Duration,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
}
