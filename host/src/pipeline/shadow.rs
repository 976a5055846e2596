//! Shadow: what a version of a module would have made of landed history, beside what the active version makes of it.
//!
//! ```text
//!                    ┌──▶ active ────┐
//! landed objects ────┤               ├──▶ pairs by key ──▶ differences
//!                    └──▶ candidate ─┘
//! ```
//!
//! Both run at the same time in the same engine, landing by landing, over the same objects, and their rows are compared
//! as they come: nothing is written, neither into a zone nor into the warehouse. What is compared is what each landing
//! brings and not the table that it adds up to, because a landing is what a run makes. A table that is made anew by
//! every landing is compared at the newest only, unless it is said since when.

mod comparison;
mod differences;
mod found;
mod pairs;
pub mod report;
mod trial;

use arrow::error::ArrowError;
use chrono::{DateTime, Utc};

use super::Pipeline;
use super::inputs::Landings;
use super::modules::{self, Made};
use super::sensitive::Granted;
use crate::error::{Classify, ErrorKind, Result};
use crate::sandbox::Module;
use report::ShadowReport;
use trial::Trial;

/// Why two versions cannot be compared.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShadowError {
    /// They make other tables.
    #[error("{candidate} makes the table `{makes}`, and {active} makes `{table}`")]
    OtherTable {
        /// The version that is in use.
        active: String,
        /// What it makes.
        table: String,
        /// The version to try.
        candidate: String,
        /// What it makes.
        makes: String,
    },
    /// There is nothing to compare it with.
    #[error("no version of {0} is in use")]
    NothingActive(String),
    /// Rows of the one cannot be told from those of the other.
    #[error("{active} and {candidate} do not tell rows by the same key: `{column}`")]
    Key {
        /// The column.
        column: String,
        /// The version that is in use.
        active: String,
        /// The version to try.
        candidate: String,
    },
    /// No landing is left that both can be run on.
    #[error("there is no landing to run {0} on")]
    NoLanding(String),
    /// Rows could not be compared.
    #[error("the rows of both versions cannot be compared")]
    Rows(#[from] ArrowError),
}

impl Classify for ShadowError {
    fn kind(&self) -> ErrorKind {
        match self {
            Self::Rows(_) => ErrorKind::Bug,
            _ => ErrorKind::Config,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::OtherTable { .. } => {
                Some("try a version that makes the same table".into())
            }
            Self::NothingActive(name) => Some(format!(
                "promote one with `tidemill module promote {name}@VERSION`; `tidemill preview` shows what it makes"
            )),
            Self::Key { .. } => Some(
                "a table with another key is another table: give it another name, and compare them by queries".into(),
            ),
            Self::NoLanding(_) => Some("extract first, or go further back with --since".into()),
            Self::Rows(_) => None,
        }
    }
}

/// From which landing on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// The landing of that number.
    Landing(u64),
    /// The first whose logical time is not before that.
    Time(DateTime<Utc>),
}

impl Pipeline {
    /// What a version of a module would have made of landed history, beside what the version in use makes of it;
    /// nothing is written.
    ///
    /// # Errors
    /// `Config` when there is no such version, nothing to compare it with or nothing landed, `Module` when one of them
    /// fails.
    pub async fn shadow(&self, wanted: &str, since: Option<Since>) -> Result<ShadowReport> {
        let resolved = self.registry.resolve(wanted).await?;
        let stored = self.registry.fetch(&resolved).await?;
        let (component, parameters) = (stored.component, stored.parameters);
        let candidate =
            modules::compile(&self.sandbox, component, parameters, resolved.clone()).await?;
        let made = self.in_use(&candidate).await?;
        let candidate = Granted::new(&self.plan, &made.table, &made.source, candidate)?;
        let landings = Landings::new(self.landed.clone(), &made.source);
        let processed = self.processed_log().newest().await?;
        let trial = Trial {
            active: made.module,
            candidate,
            landings: &landings,
            kept: processed.map(|m| m.current).unwrap_or_default(),
            reader: self.reader(),
            observer: self.observer.clone(),
        };
        trial.run(since).await
    }

    /// What makes the table of `candidate` now: what the project file asks for, or else the active version.
    async fn in_use(&self, candidate: &Module) -> Result<Made> {
        let table = &candidate.description().output.table;
        if self.plan.transforms.contains_key(table) {
            return modules::load_one(&self.shelf(), table).await;
        }
        let name = &candidate.reference().name;
        let active = self.registry.active(name).await?;
        let active = active.ok_or_else(|| ShadowError::NothingActive(name.clone()))?;
        let stored = self.registry.fetch(&active.module()).await?;
        let (component, parameters) = (stored.component, stored.parameters);
        let module =
            modules::compile(&self.sandbox, component, parameters, active.module()).await?;
        let source = modules::source_of(&self.plan, None)?;
        Ok(Made {
            table: table.clone(),
            module: Granted::new(&self.plan, table, &source, module)?,
            source,
        })
    }
}
