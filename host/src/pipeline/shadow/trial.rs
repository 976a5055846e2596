//! Both versions over every landing that concerns them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::datatypes::Schema;

use super::found::Found;
use super::report::{ShadowReport, SkippedLanding};
use super::{ShadowError, Since};
use crate::contract::LoadMode;
use crate::error::Result;
use crate::manifest::CurrentRows;
use crate::pipeline::execute::{Execution, inputs_of};
use crate::pipeline::inputs::{InputError, Landings, Reader};
use crate::pipeline::report::Observer;
use crate::pipeline::sensitive::Granted;
use crate::sandbox::Module;
use crate::table::TableName;
use crate::zone::discard::Discard;
use crate::zone::parquet::Settings;

/// A trial of one version.
pub(super) struct Trial<'a> {
    /// The version that is in use.
    pub(super) active: Granted,
    /// The version that is tried.
    pub(super) candidate: Granted,
    /// The landings of the source that both read.
    pub(super) landings: &'a Landings,
    /// Rows that were kept: reading begins from them.
    pub(super) kept: BTreeMap<TableName, CurrentRows>,
    /// Both zones.
    pub(super) reader: Reader,
    /// Told of progress.
    pub(super) observer: Arc<dyn Observer>,
}

/// One landing with what is to be run on it.
pub(super) struct Landing {
    pub(super) number: u64,
    pub(super) active: Execution,
    pub(super) candidate: Execution,
}

impl Trial<'_> {
    /// Runs both versions over every landing that concerns them.
    ///
    /// # Errors
    /// `Config` when they cannot be compared, `Module` when one of them fails, `Data` when what is landed is damaged.
    pub(super) async fn run(self, since: Option<Since>) -> Result<ShadowReport> {
        let (was, is) = (self.active.description(), self.candidate.description());
        let key = self.key()?;
        let mut found = Found::new(&self.active, &self.candidate);
        let (mut compared, mut skipped) = (Vec::new(), Vec::new());
        for number in self.numbers(since).await? {
            match self.landing(number).await? {
                Ok(landing) => {
                    found.compare(landing, was, is).await?;
                    compared.push(number);
                }
                Err(landing) => skipped.push(landing),
            }
        }
        if compared.is_empty() && skipped.is_empty() {
            return Err(ShadowError::NoLanding(self.candidate.reference().to_string()).into());
        }
        Ok(found.report(is, key, compared, skipped))
    }

    /// The columns that rows are told by.
    fn key(&self) -> Result<Vec<String>, ShadowError> {
        let (was, is) = (
            &self.active.description().output,
            &self.candidate.description().output,
        );
        if was.table != is.table {
            return Err(ShadowError::OtherTable {
                active: self.active.reference().to_string(),
                table: was.table.clone(),
                candidate: self.candidate.reference().to_string(),
                makes: is.table.clone(),
            });
        }
        let kind = |schema: &Schema, name: &str| {
            let field = schema.field_with_name(name).ok()?;
            Some(field.data_type().clone())
        };
        let is_other = |name: &&String| {
            let both = was.primary_key.contains(name) && is.primary_key.contains(name);
            !both || kind(&was.schema, name) != kind(&is.schema, name)
        };
        match was.primary_key.iter().chain(&is.primary_key).find(is_other) {
            None => Ok(was.primary_key.clone()),
            Some(column) => Err(ShadowError::Key {
                column: column.clone(),
                active: self.active.reference().to_string(),
                candidate: self.candidate.reference().to_string(),
            }),
        }
    }

    /// The landings to compare, the first first.
    async fn numbers(&self, since: Option<Since>) -> Result<Vec<u64>> {
        let Some(newest) = self.landings.newest().await? else {
            return Ok(Vec::new());
        };
        let mut numbers = BTreeSet::new();
        for module in [&self.active, &self.candidate] {
            for input in &module.description().inputs {
                numbers.extend(
                    self.landings
                        .chain(&input.table, 0, newest.sequence)
                        .await?,
                );
            }
        }
        match since {
            Some(Since::Landing(first)) => numbers.retain(|number| *number >= first),
            Some(Since::Time(first)) => {
                let mut later = BTreeSet::new();
                for number in numbers {
                    if self.landings.get(number).await?.0.logical_time >= first {
                        later.insert(number);
                    }
                }
                numbers = later;
            }
            None if self.is_made_anew() => {
                numbers = numbers.last().copied().into_iter().collect();
            }
            None => {}
        }
        Ok(numbers.into_iter().collect())
    }

    fn is_made_anew(&self) -> bool {
        let mode = |module: &Module| module.description().output.mode;
        mode(&self.active) == LoadMode::Overwrite && mode(&self.candidate) == LoadMode::Overwrite
    }

    /// Both versions on one landing, or why one of them cannot be run on it.
    async fn landing(&self, number: u64) -> Result<std::result::Result<Landing, SkippedLanding>> {
        let mut executions = Vec::new();
        for module in [&self.active, &self.candidate] {
            match self.execution(module, number).await {
                Ok(execution) => executions.push(execution),
                Err(error) if error.downcast_ref::<InputError>().is_some() => {
                    return Ok(Err(SkippedLanding {
                        landing: number,
                        module: module.reference().clone(),
                        reason: error.to_string(),
                    }));
                }
                Err(error) => return Err(error),
            }
        }
        let candidate = executions.pop();
        let active = executions.pop();
        Ok(match (active, candidate) {
            (Some(active), Some(candidate)) => Ok(Landing {
                number,
                active,
                candidate,
            }),
            _ => return Err(ShadowError::NoLanding(self.candidate.reference().to_string()).into()),
        })
    }

    async fn execution(&self, module: &Granted, number: u64) -> Result<Execution> {
        let (inputs, keys) = inputs_of(self.landings, module, number, &self.kept).await?;
        let landed = self.landings.get(number).await?;
        Ok(Execution {
            module: module.clone(),
            reader: self.reader.clone(),
            inputs,
            keys,
            logical_time: landed.0.logical_time,
            landing_sha256: landed.1,
            output: Arc::new(Discard),
            prefix: "shadow".into(),
            settings: Settings::default(),
            observer: self.observer.clone(),
            keep: None,
        })
    }
}
