//! What is asked of a project and moves nothing: what a run would do, what is there, whether everything is in place.

use std::collections::HashMap;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;

use super::inputs::Landings;
use super::modules::Made;
use super::report::{Check, PlanReport, RejectReason, RunSummary, TableFailure};
use super::{Pipeline, modules, preview, survey};
use crate::error::Result;
use crate::run::RunId;
use crate::warehouse::BatchStream;

impl Pipeline {
    /// What a run would do.
    ///
    /// # Errors
    /// `Unavailable` when a source or a zone does not answer.
    pub async fn plan(&self) -> Result<PlanReport> {
        let mut report = PlanReport {
            sources: Vec::new(),
            transforms: Vec::new(),
            secrets: survey::secrets(&self.plan),
            warnings: Vec::new(),
        };
        let mut tables = HashMap::new();
        for (name, plan) in &self.plan.sources {
            let landed = Landings::new(self.landed.clone(), name).newest().await?;
            let found =
                survey::source(name, plan, &self.vault, landed.as_ref(), &mut report).await?;
            tables.insert(name.clone(), (found, landed));
        }
        let processed = self.processed_log().newest().await?;
        for (table, loaded) in modules::load_each(&self.shelf()).await {
            report.warnings.extend(survey::failing(table, &loaded));
            let made = loaded.as_ref().ok();
            let landings = made.map(|made| Landings::new(self.landed.clone(), &made.source));
            let mut planned = survey::transform(
                &self.plan,
                table,
                loaded.as_ref(),
                landings.as_ref(),
                processed.as_ref(),
            )
            .await?;
            if made.is_some() && self.is_rebuild_due(table, processed.as_ref()).await? {
                let changed = planned.changed.take().map(|what| what + ", ");
                let changed = changed.unwrap_or_default();
                planned.changed = Some(changed + "made anew from every landing");
            }
            report.transforms.push(planned);
            if let Some(made) = made
                && let Some((found, landed)) = tables.get(&made.source)
            {
                let misfits = survey::misfits(made, found, landed.as_ref());
                report.warnings.extend(misfits);
            }
        }
        Ok(report)
    }

    /// What the module of `table` makes of the first `rows` landed rows, what it refuses, and the sensitive columns in whose
    /// place it got stand-ins; nothing is written.
    ///
    /// # Errors
    /// `Config` when there is no such transform or nothing has been landed, `Module` when it fails.
    pub async fn preview(
        &self,
        table: &str,
        rows: usize,
    ) -> Result<(Vec<RecordBatch>, Vec<RejectReason>, Vec<String>)> {
        let made = modules::load_one(&self.shelf(), table).await?;
        let landings = Landings::new(self.landed.clone(), &made.source);
        preview::preview(&made, &landings, &self.reader(), rows).await
    }

    /// Past runs, the newest first.
    ///
    /// # Errors
    /// `Data` when a manifest is damaged, `Unavailable`.
    pub async fn runs(&self) -> Result<Vec<RunSummary>> {
        survey::runs(self.plan.sources.keys(), &self.landed, &self.processed).await
    }

    /// Runs a read-only query in the warehouse.
    ///
    /// # Errors
    /// `Config` with the engine's message when the SQL is wrong.
    pub async fn query(&self, sql: &str) -> Result<(SchemaRef, BatchStream)> {
        Ok(self.warehouse().await?.query(sql).await?)
    }

    /// Whether everything that a run needs is in place.
    ///
    /// # Errors
    /// None of what it looks at: that is in the checks.
    pub async fn doctor(&self, run: &RunId) -> Result<Vec<Check>> {
        let mut checks = vec![
            survey::zone("ingestion", &self.landed, run).await,
            survey::zone("processed", &self.processed, run).await,
        ];
        for (name, plan) in &self.plan.sources {
            checks.extend(survey::source_checks(name, plan, &self.vault).await);
        }
        checks.extend(survey::origin("warehouse", &self.plan.warehouse.url));
        checks.push(match self.warehouse().await {
            Ok(warehouse) => survey::warehouse(warehouse).await,
            Err(error) => Check::failed("warehouse", &error),
        });
        let (made, failures): (Vec<Made>, Vec<TableFailure>) = modules::load(&self.shelf()).await;
        checks.extend(survey::module_checks(&made, &failures));
        Ok(checks)
    }
}
