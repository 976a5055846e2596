//! What `serve` tells about itself.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::run::RunId;

/// The state of the service, as `/status` shows it.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Status {
    pub(super) since: DateTime<Utc>,
    /// Whether it has been told to stop.
    pub(super) stopping: bool,
    pub(super) running: Option<Running>,
    pub(super) last: Option<Last>,
    pub(super) next: Option<Next>,
    /// Runs that have ended, whatever their end.
    pub(super) runs: u64,
    pub(super) failures: u64,
    /// Failures since the last run that went well.
    pub(super) failures_in_a_row: u64,
    /// Times left out because the entry was running already.
    pub(super) skipped: u64,
}

/// The run at work.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Running {
    pub(super) schedule: String,
    pub(super) since: DateTime<Utc>,
}

/// The last run that ended.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Last {
    pub(super) schedule: String,
    pub(super) run: Option<RunId>,
    pub(super) started: DateTime<Utc>,
    pub(super) ended: DateTime<Utc>,
    /// The code that `tidemill run` would have ended with.
    pub(super) exit: u8,
    /// What went wrong, where something did.
    pub(super) message: Option<String>,
}

/// The next entry that is due.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Next {
    pub(super) schedule: String,
    pub(super) at: DateTime<Utc>,
}

impl Status {
    /// A service that has just begun.
    pub(super) fn new(since: DateTime<Utc>) -> Self {
        Self {
            since,
            stopping: false,
            running: None,
            last: None,
            next: None,
            runs: 0,
            failures: 0,
            failures_in_a_row: 0,
            skipped: 0,
        }
    }
}
