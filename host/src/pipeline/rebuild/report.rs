//! What a rebuild did, for people and programs.

use std::time::Duration;

use serde::Serialize;

use super::rebuilding::Rebuilt;
use crate::contract::ModuleRef;
use crate::pipeline::report::{LoadReport, RejectReason, TableFailure};
use crate::run::RunId;
use crate::warehouse::TableLoaded;

/// What `rebuild` did, or a promotion with a rebuild.
#[derive(Debug, Clone, Serialize)]
pub struct RebuildReport {
    /// The run that did it.
    pub run: RunId,
    /// One per table that was made anew.
    pub tables: Vec<TableRebuilt>,
    /// Tables that were never made, so that the next run makes them whole, or that another run has rebuilt meanwhile.
    pub nothing_to_do: Vec<String>,
    /// Tables that could not be made anew: they are as they were.
    pub failures: Vec<TableFailure>,
    /// What was put into the warehouse.
    pub load: Option<LoadReport>,
    /// How long it took.
    #[serde(
        rename = "elapsed_ms",
        serialize_with = "crate::pipeline::report::as_millis"
    )]
    pub elapsed: Duration,
}

impl RebuildReport {
    pub(super) fn of(run: &RunId) -> Self {
        Self {
            run: run.clone(),
            tables: Vec::new(),
            nothing_to_do: Vec::new(),
            failures: Vec::new(),
            load: None,
            elapsed: Duration::ZERO,
        }
    }

    pub(super) fn add(&mut self, rebuilt: Rebuilt) {
        self.tables.extend(rebuilt.tables);
        self.nothing_to_do.extend(rebuilt.nothing_to_do);
        self.failures.extend(rebuilt.failures);
    }

    /// Rows that modules refused.
    pub fn rejected(&self) -> u64 {
        self.tables.iter().map(|table| table.rows_rejected).sum()
    }
}

/// A table that was made anew.
#[derive(Debug, Clone, Serialize)]
pub struct TableRebuilt {
    /// The warehouse table.
    pub table: String,
    /// The code.
    pub module: ModuleRef,
    /// The newest landing that is in it.
    pub through: u64,
    /// Outputs of landings that had been computed before.
    pub reused: u64,
    /// Outputs of landings that were computed.
    pub recomputed: u64,
    /// Rows given to the module where it was run.
    pub rows_in: u64,
    /// Rows of all outputs.
    pub rows_out: u64,
    /// Refused rows of all outputs.
    pub rows_rejected: u64,
    /// The first reasons of those that were computed, each with how often it occurred.
    pub reasons: Vec<RejectReason>,
    /// Fuel used where the module was run.
    pub fuel: u64,
    /// How long it took.
    #[serde(
        rename = "elapsed_ms",
        serialize_with = "crate::pipeline::report::as_millis"
    )]
    pub elapsed: Duration,
}

/// A rebuild that was loaded.
#[derive(Debug, Clone, Serialize)]
pub struct RebuildLoaded {
    /// The number of its processed manifest.
    pub manifest: u64,
    /// One per table: all rows that are there were inserted, all that were there removed.
    pub tables: Vec<TableLoaded>,
    /// How long it took.
    #[serde(
        rename = "elapsed_ms",
        serialize_with = "crate::pipeline::report::as_millis"
    )]
    pub elapsed: Duration,
}
