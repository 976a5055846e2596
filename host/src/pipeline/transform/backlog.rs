//! What is to be transformed, and one look at it.

use std::collections::{BTreeMap, BTreeSet};

use super::Transformation;
use crate::contract::Delivery;
use crate::error::Result;
use crate::manifest::{LandingManifest, ProcessedManifest};
use crate::pipeline::inputs::{InputError, Landings};
use crate::pipeline::modules::Made;
use crate::pipeline::report::{LeftOver, TableFailure, TransformReport, Why};
use crate::run::Stage;

/// What is pending of a source.
#[derive(Default)]
pub(super) struct Backlog {
    /// By table, its landings.
    pub(super) tables: BTreeMap<String, BTreeSet<u64>>,
    /// Tables of which nothing can be made yet.
    pub(super) waiting: BTreeSet<String>,
    pub(super) failures: Vec<TableFailure>,
}

impl Backlog {
    /// The oldest landing of which anything is pending, with the tables that are due.
    pub(super) fn next(&self) -> Option<(u64, BTreeSet<String>)> {
        let landing = self.tables.values().flatten().min().copied()?;
        let due = self.tables.iter().filter(|(_, l)| l.contains(&landing));
        Some((landing, due.map(|(table, _)| table.clone()).collect()))
    }

    pub(super) fn done(&mut self, landing: u64) {
        for landings in self.tables.values_mut() {
            landings.remove(&landing);
        }
    }
}

/// One look at the backlog.
pub(super) struct Pass<'r> {
    pub(super) backlog: Backlog,
    /// Whether a manifest was committed.
    pub(super) committed: bool,
    pub(super) left: BTreeSet<LeftOver>,
    pub(super) report: &'r mut TransformReport,
}

impl Pass<'_> {
    pub(super) fn leave(&mut self, table: String, why: Why) {
        self.backlog.tables.remove(&table);
        self.left.insert(LeftOver { what: table, why });
    }
}

impl Transformation<'_> {
    /// What is to be transformed.
    pub(super) async fn backlog(
        &self,
        newest: Option<&ProcessedManifest>,
        landed: &LandingManifest,
    ) -> Result<Backlog> {
        let mut backlog = Backlog::default();
        let open = |made: &&Made| !self.failed.contains(&made.table);
        for made in self.tables.iter().filter(open) {
            let through_of = newest.and_then(|m| m.through.get(&made.table));
            let done = through_of.map_or(0, |through| through.landing);
            let table = made.table.clone();
            match pending_landings(&self.landings, made, done, landed.sequence).await {
                Ok(landings) => {
                    backlog.tables.insert(table, landings);
                }
                Err(error) => match error.downcast_ref::<InputError>() {
                    Some(InputError::NotLanded(input))
                        if self.claims.is_some()
                            && landed.waiting.iter().any(|waits| waits.as_str() == input) =>
                    {
                        backlog.waiting.insert(table);
                    }
                    Some(InputError::InParts(_)) => {
                        backlog.waiting.insert(table);
                    }
                    Some(_) => {
                        let failure = TableFailure::new(table, Stage::Transform, &error);
                        backlog.failures.push(failure);
                    }
                    None => return Err(error),
                },
            }
        }
        Ok(backlog)
    }
}

/// The landings after `done` in which some input of the table changed. Parts of a table that is read whole count with the
/// last of them.
///
/// # Errors
/// `Config` when an input's table has never been landed, `Unavailable` when the last part of it is not there yet.
pub(in crate::pipeline) async fn pending_landings(
    landings: &Landings,
    made: &Made,
    done: u64,
    through: u64,
) -> Result<BTreeSet<u64>> {
    let mut pending = BTreeSet::new();
    for input in &made.module.description().inputs {
        if landings.state(&input.table, through).await?.is_none() {
            return Err(InputError::NotLanded(input.table.clone()).into());
        }
        landings
            .complete(&input.table, input.delivery, through)
            .await?;
        for landing in landings.chain(&input.table, done, through).await? {
            let is_part = match input.delivery {
                Delivery::Changes => false,
                Delivery::Current => {
                    let state = landings.state(&input.table, landing).await?;
                    state.is_some_and(|state| state.reached.is_some())
                }
            };
            if !is_part {
                pending.insert(landing);
            }
        }
    }
    Ok(pending)
}
