//! The sources of a project, one after the other, and the landings of each.

use super::{ExtractError, Extraction};
use crate::config::SourcePlan;
use crate::error::Result;
use crate::pipeline::report::{ExtractReport, LeftOver, Scope, Why};
use crate::pipeline::temporary::Disk;
use crate::pipeline::{Pipeline, is_halted};
use crate::run::{RunId, Stage};
use crate::zone::watched::Watched;

impl Pipeline {
    /// Lands every source.
    ///
    /// # Errors
    /// Those of [`Pipeline::extract`].
    pub(in crate::pipeline) async fn extract_all(
        &self,
        run: &RunId,
        scope: &Scope,
    ) -> Result<Vec<ExtractReport>> {
        let mut reports = Vec::new();
        let mut elsewhere = None;
        for (name, plan) in &self.plan.sources {
            match self.extract_source((name, plan), run, scope).await {
                Ok(landed) if landed.is_empty() => elsewhere = elsewhere.or(Some(name)),
                Ok(landed) => reports.extend(landed),
                // A table that was asked for is in one of several sources.
                Err(error) if self.is_elsewhere(&error) => {}
                Err(error) => return Err(error.at(Stage::Extract)),
            }
        }
        match elsewhere {
            Some(source) if reports.is_empty() => {
                let error: crate::Error = ExtractError::Elsewhere(source.clone()).into();
                Err(error.at(Stage::Extract))
            }
            _ => Ok(reports),
        }
    }

    /// Lands what changed in one source, and as many further parts of tables that are landed in parts as there is time for;
    /// nothing where another run is at it.
    async fn extract_source(
        &self,
        (name, plan): (&str, &SourcePlan),
        run: &RunId,
        scope: &Scope,
    ) -> Result<Vec<ExtractReport>> {
        let mut reports: Vec<ExtractReport> = Vec::new();
        let mut rest: Vec<String> = Vec::new();
        let why = loop {
            let of_rest = Scope {
                tables: rest.clone(),
                ..Scope::default()
            };
            let extraction = Extraction {
                name,
                plan,
                zone: Watched::new(self.landed.clone()),
                sweep_after: self.plan.zones.sweep_after,
                run,
                scope: if rest.is_empty() { scope } else { &of_rest },
                is_only: self.plan.sources.len() == 1,
                observer: self.observer.clone(),
                vault: &self.vault,
                halt: &self.halt,
                claims: self.claims(&self.landed, name, run),
                at_once: self.plan.limits.at_once(plan.options.connections),
                disk: Disk::of(self.plan.limits.temporary_bytes),
                part_rows: self.sharing.as_ref().map(|sharing| sharing.landing_rows),
            };
            match extraction.run().await {
                Ok(Some(extracted)) => {
                    reports.push(extracted.report);
                    rest = extracted.in_parts;
                    if rest.is_empty() || self.halt.is_called() {
                        break Why::Halted;
                    }
                }
                Ok(None) => break Why::Elsewhere,
                Err(error) if is_halted(&error) && !reports.is_empty() => break Why::Halted,
                Err(error) => return Err(error),
            }
        };
        if let Some(last) = reports.last_mut() {
            let left = rest.into_iter().map(|what| LeftOver { what, why });
            last.left.extend(left);
        }
        Ok(reports)
    }

    fn is_elsewhere(&self, error: &crate::Error) -> bool {
        self.plan.sources.len() > 1
            && matches!(
                error.downcast_ref::<ExtractError>(),
                Some(ExtractError::NoTable { .. })
            )
    }
}
