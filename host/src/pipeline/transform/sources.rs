//! The sources of a project, one after the other, and the tables that are made of each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::Transformation;
use crate::error::Result;
use crate::pipeline::inputs::Landings;
use crate::pipeline::modules::{self, Made};
use crate::pipeline::report::{LeftOver, TransformReport, Why};
use crate::pipeline::{Pipeline, halt};
use crate::run::{RunId, Stage};

impl Pipeline {
    /// Transforms every source.
    ///
    /// # Errors
    /// Those of [`Pipeline::transform`].
    pub(in crate::pipeline) async fn transform_all(&self, run: &RunId) -> Result<TransformReport> {
        let started = Instant::now();
        let mut report = TransformReport::default();
        let at_transform = |error: crate::Error| error.at(Stage::Transform);
        let mut standing = self.standing().await.map_err(at_transform)?;
        self.check_only()?;
        let (mut made, mut failures) = modules::load(&self.shelf()).await;
        let is_wanted = |table: &String| self.only.is_empty() || self.only.contains(table);
        made.retain(|made| is_wanted(&made.table));
        failures.retain(|failure| is_wanted(&failure.table));
        report.failures = failures;
        let used = made.iter();
        let used = used.map(|made| (made.table.clone(), made.module.reference().clone()));
        report.modules = used.collect();
        tokio::select! {
            biased;
            rebuilt = self.rebuild_due(run, &mut standing, &mut made, &mut report) => {
                rebuilt.map_err(at_transform)?;
            }
            // As if it had died: the next run goes on with it.
            () = self.halt.called() => {
                let left = made.into_iter().map(|made| LeftOver { what: made.table, why: Why::Halted });
                let left: Vec<LeftOver> = left.collect();
                return Err(at_transform(halt::HaltError::new(&left).into()));
            }
        }
        let mut by_source: BTreeMap<String, Vec<Made>> = BTreeMap::new();
        for made in made {
            by_source.entry(made.source.clone()).or_default().push(made);
        }
        for (source, tables) in by_source {
            let mut transformation = Transformation {
                source: &source,
                landings: Landings::new(self.landed.clone(), &source),
                tables,
                maker: self.maker(run),
                sweep_after: self.plan.zones.sweep_after,
                standing: &standing,
                halt: &self.halt,
                claims: self.claims(&self.processed, "", run),
                failed: BTreeSet::new(),
                swept: false,
            };
            transformation
                .run(&mut report)
                .await
                .map_err(at_transform)?;
        }
        report.elapsed = started.elapsed();
        Ok(report)
    }

    /// Whether the project makes every table that was named.
    fn check_only(&self) -> Result<()> {
        let known = || self.plan.transforms.keys();
        match self
            .only
            .iter()
            .find(|table| !known().any(|known| known == *table))
        {
            None => Ok(()),
            Some(unknown) => Err(modules::ModuleError::NoTransform {
                table: unknown.clone(),
                known: known().cloned().collect(),
            }
            .into()),
        }
    }
}
