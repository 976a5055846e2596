//! Whether a run could begin: asked every few seconds, so it asks little, writes nothing and waits for nobody long.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};

use super::Pipeline;
use super::inputs::Landings;
use super::report::Check;
use super::survey;
use crate::error::Result;
use crate::run::Stage;

impl Pipeline {
    /// Whether everything that `stages` need answers within `patience`: sources, zones, the warehouse. Each is asked what a
    /// run asks it first.
    ///
    /// # Errors
    /// None: what does not answer is in the checks.
    pub async fn ready(&self, stages: &[Stage], patience: Duration) -> Vec<Check> {
        let needs = |any_of: &[Stage]| any_of.iter().any(|stage| stages.contains(stage));
        let mut asked: Vec<(String, BoxFuture<'_, Result<String>>)> = Vec::new();
        if needs(&[Stage::Extract]) {
            for name in self.plan.sources.keys() {
                asked.push((format!("source {name}"), self.source_answers(name).boxed()));
            }
        }
        if needs(&[Stage::Extract, Stage::Transform]) {
            asked.push(("ingestion zone".into(), self.ingestion_answers().boxed()));
        }
        if needs(&[Stage::Transform, Stage::Load]) {
            asked.push(("processed zone".into(), self.processed_answers().boxed()));
        }
        if needs(&[Stage::Transform]) {
            asked.push(("modules zone".into(), self.modules_answer().boxed()));
        }
        if needs(&[Stage::Load]) {
            asked.push(("warehouse".into(), self.warehouse_answers().boxed()));
        }
        let checks = asked.into_iter();
        join_all(checks.map(|(name, asked)| survey::ready(name, patience, asked))).await
    }

    async fn source_answers(&self, name: &str) -> Result<String> {
        let Some(plan) = self.plan.sources.get(name) else {
            return Ok(String::new());
        };
        let source = crate::source::open(plan.url.expose()?, &plan.options)?;
        source.answers().await?;
        Ok(format!("{} answers", source.target()))
    }

    async fn ingestion_answers(&self) -> Result<String> {
        for source in self.plan.sources.keys() {
            Landings::new(self.landed.clone(), source).newest().await?;
        }
        Ok(format!("{} answers", self.landed.url()))
    }

    async fn processed_answers(&self) -> Result<String> {
        self.processed_log().newest_number().await?;
        Ok(format!("{} answers", self.processed.url()))
    }

    async fn modules_answer(&self) -> Result<String> {
        // What stands at the place is nobody's business: a store that says so has answered.
        self.modules.size("_promotions/0000000001.json").await?;
        Ok(format!("{} answers", self.modules.url()))
    }

    async fn warehouse_answers(&self) -> Result<String> {
        let warehouse = self.warehouse().await?;
        warehouse.ledger().await?;
        Ok(format!("{} answers", warehouse.target()))
    }
}
