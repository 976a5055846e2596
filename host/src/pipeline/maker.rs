//! Whatever makes tables of landings, in a run or in a rebuild: where it reads and writes, for which run, told to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::current;
use super::execute::{Execution, Outcome};
use super::inputs::{Landings, Reader};
use super::kept::{self, Keep};
use super::modules::Made;
use super::report::Observer;
use crate::config::SourceColumn;
use crate::digest::Digest;
use crate::error::Result;
use crate::manifest::{CurrentRows, InputObjects, LandingManifest};
use crate::run::RunId;
use crate::table::TableName;
use crate::zone::parquet::Settings;
use crate::zone::watched::Watched;

/// What makes tables of landings.
pub(super) struct Maker {
    /// Both zones.
    pub(super) reader: Reader,
    /// The processed zone, where rows go.
    pub(super) output: Watched,
    /// The run.
    pub(super) run: RunId,
    /// Told of progress.
    pub(super) observer: Arc<dyn Observer>,
    /// Columns whose values are not to leave the zones.
    pub(super) sensitive: Arc<BTreeSet<SourceColumn>>,
    /// Executions at the same time.
    pub(super) at_once: usize,
}

impl Maker {
    /// Makes one table of a landing, out of the objects of its inputs and the landed keys of their tables, below
    /// `prefix`. What the module fails on is kept, and the error says where.
    ///
    /// # Errors
    /// The module's own, `Data` when a landed object is damaged, `Unavailable`.
    pub(super) async fn make(
        &self,
        made: &Made,
        landing: &(LandingManifest, Digest),
        (inputs, keys): (Vec<InputObjects>, Vec<Vec<String>>),
        prefix: String,
    ) -> Result<Outcome> {
        let (landing, sha256) = (&landing.0, landing.1);
        let micros = landing.logical_time.timestamp_micros();
        let parameters = made.module.parameters().to_vec();
        let keep = Keep {
            source: made.source.clone(),
            run: self.run.clone(),
            landing: landing.sequence,
            context: kept::context(micros, &sha256, parameters),
            limits: made.module.limits().clone(),
            sensitive: self.sensitive.clone(),
            failure: Arc::default(),
        };
        let execution = Execution {
            module: made.module.clone(),
            reader: self.reader.clone(),
            inputs,
            keys,
            logical_time: landing.logical_time,
            landing_sha256: sha256,
            output: Arc::new(self.output.clone()),
            prefix,
            settings: Settings::default(),
            observer: self.observer.clone(),
            keep: Some(keep.clone()),
        };
        match execution.run().await {
            Ok(outcome) => Ok(outcome),
            Err(error) => Err(keep.tell(&made.module, &self.reader.processed, error).await),
        }
    }

    /// Keeps the live rows of a landed table as of a landing, where much has landed on top of those that are `kept`;
    /// `None` where not.
    ///
    /// # Errors
    /// `Data` when a landed object is damaged, `Unavailable`.
    pub(super) async fn keep_current(
        &self,
        landings: &Landings,
        at: (&str, u64),
        kept: &BTreeMap<TableName, CurrentRows>,
        prefix: String,
    ) -> Result<Option<CurrentRows>> {
        let output = Arc::new(self.output.clone());
        current::keep(landings, &self.reader, output, at, kept, prefix).await
    }
}
